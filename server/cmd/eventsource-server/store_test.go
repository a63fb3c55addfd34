package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	nats "github.com/nats-io/nats-server/v2/server"
)

func TestStoreFlags(t *testing.T) {
	tests := map[string]struct {
		args, env []string
		want      string // word of the error; empty means none
	}{
		"memory":               {[]string{"-store", "memory"}, nil, ""},
		"folder":               {[]string{"-store", "file:/x", "-store-fsync", "always", "-store-age", "1h", "-store-events-per-topic", "5"}, nil, ""},
		"folder, by variables": {nil, []string{"EVENTSOURCE_STORE", "file:/x", "EVENTSOURCE_STORE_FSYNC", "1s"}, ""},
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
				t.Errorf("%v does not mention %q, or contains a secret", err, test.want)
			}
		})
	}
}

// The events in the folder survive the program. If the folder cannot be opened, the program reports that.
func TestStoreInFolder(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "store")
	args := []string{"-public", ">", "-token", "t", "-store", "file:" + folder}
	first := launch(t, args...)
	response, answer := do(t, "POST", first.url+"/events", "topic=t&data=x", "Authorization", "Bearer t")
	if response.StatusCode != http.StatusCreated {
		t.Fatalf("publishing: status %d, %s", response.StatusCode, answer)
	}
	if err := run(t.Context(), append(args, "-addr", "127.0.0.1:0"), environment(), io.Discard, io.Discard); err == nil || !strings.Contains(err.Error(), folder) {
		t.Errorf("a second program with the folder: %v", err)
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
		t.Errorf("%s gets %v, %q, %v", id, stream.Header, text[:n], err)
	}
}

// An invalid URL ends the program. The error does not contain its password.
func TestStoreOpenFails(t *testing.T) {
	err := run(t.Context(), []string{"-public", ">", "-store", "nats://user:secret@host:port"}, environment(), io.Discard, io.Discard)
	if err == nil || !strings.Contains(err.Error(), "-store") || strings.Contains(err.Error(), "secret") {
		t.Errorf("run: %v", err)
	}
}

// startNATS starts a NATS server, or restarts it with the same port and folder.
func startNATS(t *testing.T, port int, dir string) *nats.Server {
	t.Helper()
	s, err := nats.NewServer(&nats.Options{Host: "127.0.0.1", Port: port, JetStream: true, StoreDir: dir, NoSigs: true, NoLog: true})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() { stopNATS(s) })
	return s
}

func stopNATS(s *nats.Server) {
	s.Shutdown()
	s.WaitForShutdown()
}

// awaitReady waits until /readyz has the status.
func (p *launched) awaitReady(t *testing.T, want int) {
	t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); ; <-time.After(10 * time.Millisecond) {
		response, _ := do(t, "GET", p.url+"/readyz", "")
		if response.StatusCode == want {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("/readyz: status %d, want %d", response.StatusCode, want)
		}
	}
}

func (p *launched) mustPublish(t *testing.T, data string) (id string) {
	t.Helper()
	ids, err := postEvents(t.Context(), p.url, data, 1)
	if err != nil {
		t.Fatal(err)
	}
	return ids[0]
}

// A program that starts before NATS waits for it. If NATS returns without its data, or with older data, the program is
// not ready until it has begun a new epoch. It logs that, and clients get a gap event.
func TestStoreInNATS(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port, dir := l.Addr().(*net.TCPAddr).Port, filepath.Join(t.TempDir(), "nats")
	l.Close()
	p := launch(t, "-public", ">", "-token", crashToken, "-store", fmt.Sprintf("nats://127.0.0.1:%d", port))
	if response, body := do(t, "GET", p.url+"/readyz", ""); response.StatusCode != http.StatusServiceUnavailable || body != "the store is unavailable\n" {
		t.Errorf("without NATS, /readyz: status %d, %q", response.StatusCode, body)
	}
	if response, _ := do(t, "GET", p.url+"/healthz", ""); response.StatusCode != http.StatusOK {
		t.Errorf("without NATS, /healthz: status %d", response.StatusCode)
	}
	s := startNATS(t, port, dir)
	p.awaitReady(t, http.StatusOK)
	first := p.mustPublish(t, "1")

	stopNATS(s)
	p.awaitReady(t, http.StatusServiceUnavailable)
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	s = startNATS(t, port, dir)
	p.log.wait(t, "stream is gone with all its events: creating it again with a new epoch", "had")
	p.awaitReady(t, http.StatusOK)
	second := p.mustPublish(t, "2")
	if gap := gapOf(t, p.url, first); gap != "epoch" || epochOf(first) == epochOf(second) {
		t.Errorf("%s is followed by %s with the gap %q", first, second, gap)
	}

	stopNATS(s)
	copied := filepath.Join(t.TempDir(), "copy")
	if err := os.CopyFS(copied, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	s = startNATS(t, port, dir)
	p.awaitReady(t, http.StatusOK)
	var third string
	for range 5 {
		third = p.mustPublish(t, "lost")
	}
	stopNATS(s)
	p.awaitReady(t, http.StatusServiceUnavailable)
	if err := errors.Join(os.RemoveAll(dir), os.Rename(copied, dir)); err != nil {
		t.Fatal(err)
	}
	startNATS(t, port, dir)
	p.log.wait(t, "stream lost stored events: starting a new epoch, clients get a gap event", "had")
	p.awaitReady(t, http.StatusOK)
	fourth := p.mustPublish(t, "4")
	if gap := gapOf(t, p.url, third); gap != "epoch" || epochOf(third) == epochOf(fourth) {
		t.Errorf("%s is followed by %s with the gap %q", third, fourth, gap)
	}
	if gap := gapOf(t, p.url, second); gap != "epoch" {
		t.Errorf("%s gets the gap %q", second, gap)
	}
	if err := p.stop(); err != nil {
		t.Error(err)
	}
}

func epochOf(id string) string {
	epoch, _, _ := strings.Cut(id, "-")
	return epoch
}

func gapOf(t *testing.T, url, lastEventID string) string {
	t.Helper()
	return from(t, url, lastEventID).Header.Get("Event-Gap")
}

func from(t *testing.T, url, lastEventID string) *http.Response {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url+"/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Last-Event-ID", lastEventID)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { response.Body.Close() })
	return response
}
