package main

import (
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestStoreFlags(t *testing.T) {
	tests := map[string]struct {
		args, env []string
		want      string // word of the error; empty means none
	}{
		"memory":               {[]string{"-store", "memory"}, nil, ""},
		"folder":               {[]string{"-store", "file:/x", "-store-fsync", "always", "-store-age", "1h", "-store-events-per-topic", "5"}, nil, ""},
		"folder, from outside": {nil, []string{"EVENTSOURCE_STORE", "file:/x", "EVENTSOURCE_STORE_FSYNC", "1s"}, ""},
		"cluster":              {[]string{"-store", "nats://a:4222,nats://b:4222", "-store-replicas", "3", "-store-credentials", "f"}, nil, ""},
		"cluster, TLS":         {[]string{"-store", "tls://a"}, nil, ""},
		"no folder":            {[]string{"-store", "file:"}, nil, "file:DIR"},
		"something else":       {[]string{"-store", "redis://user:secret@host"}, nil, "nats://"},
		"limits of memory":     {[]string{"-store-bytes", "1"}, nil, "-store-bytes"},
		"fsync of a cluster":   {[]string{"-store", "nats://a", "-store-fsync", "always"}, nil, "sync_interval"},
		"replicas of a folder": {[]string{"-store", "file:/x", "-store-replicas", "3"}, nil, "-store-replicas"},
		"too many replicas":    {[]string{"-store", "nats://a", "-store-replicas", "6"}, nil, "1 to 5"},
		"fsync, no time":       {[]string{"-store", "file:/x", "-store-fsync", "never"}, nil, "250ms"},
		"fsync, zero":          {[]string{"-store", "file:/x", "-store-fsync", "0"}, nil, "250ms"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := configure(test.args, environment(test.env...), io.Discard)
			switch {
			case (err == nil) != (test.want == ""):
				t.Errorf("configure: %v", err)
			case err != nil && (!strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "secret")):
				t.Errorf("%v does not mention %q, or tells a secret", err, test.want)
			}
		})
	}
}

// What is in the folder outlives the program, and a folder that cannot be had is told.
func TestStoreInFolder(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "store")
	args := []string{"-public", ">", "-token", "t", "-store", "file:" + folder}
	first := launch(t, args...)
	response, answer := do(t, "POST", first.url+"/events", "topic=t&data=x", "Authorization", "Bearer t")
	if response.StatusCode != http.StatusCreated {
		t.Fatalf("publishing is answered %d, %s", response.StatusCode, answer)
	}
	if err := run(t.Context(), append(args, "-addr", "127.0.0.1:0"), environment(), io.Discard, io.Discard); err == nil || !strings.Contains(err.Error(), folder) {
		t.Errorf("a second program on the folder: %v", err)
	}
	if err := first.stop(); err != nil {
		t.Fatal(err)
	}
	second := launch(t, args...)
	id := strings.TrimSuffix(strings.Split(answer, `"`)[3], "1") + "0"
	request, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, second.url+"/events", nil)
	request.Header.Set("Last-Event-ID", id)
	stream, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Body.Close()
	text := make([]byte, 200)
	n, err := io.ReadAtLeast(stream.Body, text, len(": \nid: ")+len(id))
	if err != nil || stream.Header.Get("Event-Gap") != "" {
		t.Errorf("%s is met with %v, %q, %v", id, stream.Header, text[:n], err)
	}
}

func TestStoreCannotBeReached(t *testing.T) {
	start := time.Now()
	err := run(t.Context(), []string{"-public", ">", "-store", "nats://user:secret@127.0.0.1:1"}, environment(), io.Discard, io.Discard)
	if err == nil || !strings.Contains(err.Error(), "-store") || strings.Contains(err.Error(), "secret") || time.Since(start) > openTimeout {
		t.Errorf("run: %v", err)
	}
}
