package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/eventsource-wasm/eventsource-wasm/server/cmd/internal/cli"
	"github.com/eventsource-wasm/eventsource-wasm/server/cmd/internal/cmdtest"
)

func TestMain(m *testing.M) { cmdtest.Main(m, main) }

const form = cmdtest.Form

var (
	do          = cmdtest.Do
	write       = cmdtest.WriteFile
	environment = cmdtest.Environment
)

const testPage = `<!doctype html><script src="/dist/eventsource.js"></script><script>run()</script>`

// pageAndDist makes a folder with a page and a dist, and returns their paths.
func pageAndDist(t *testing.T) (page, dist string) {
	t.Helper()
	folder := t.TempDir()
	page, dist = filepath.Join(folder, "index.html"), filepath.Join(folder, "dist")
	if err := os.MkdirAll(filepath.Join(dist, "docs"), 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, page, testPage)
	write(t, filepath.Join(dist, "docs", "index.html"), testPage)
	return page, dist
}

// launch runs the program on a free port.
func launch(t *testing.T, args ...string) (url string, stop func() error) {
	t.Helper()
	return cmdtest.Launch(t, &cmdtest.Journal{}, func(ctx context.Context, log io.Writer) error {
		return run(ctx, append([]string{"-log-format", "json"}, args...), environment("PORT", "0"), io.Discard, log)
	})
}

func TestRun(t *testing.T) {
	page, dist := pageAndDist(t)
	url, stop := launch(t, "-page", page, "-dist", dist)
	if !strings.HasPrefix(url, "http://localhost:") || strings.HasSuffix(url, ":0") {
		t.Fatalf("printed %q", url)
	}
	if response, _ := do(t, "GET", url+"/healthz", ""); response.StatusCode != http.StatusOK {
		t.Errorf("status %d", response.StatusCode)
	}
	stream, _ := do(t, "GET", url+"/events", "")
	if err := stop(); err != nil {
		t.Errorf("run: %v", err)
	}
	if _, err := io.ReadAll(stream.Body); err != nil {
		t.Errorf("the stream was cut at shutdown: %v", err)
	}
}

func TestRunFails(t *testing.T) {
	page, dist := pageAndDist(t)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	_, port, _ := net.SplitHostPort(taken.Addr().String())
	tests := map[string]struct {
		args []string
		env  []string
		want []string // words of the error
	}{
		"port in use":          {[]string{"-page", page, "-dist", dist}, []string{"PORT", port}, []string{port, "in use", "PORT="}},
		"missing dist":         {[]string{"-page", page, "-dist", dist + "x"}, nil, []string{"distx", "make build"}},
		"dist is a file":       {[]string{"-page", page, "-dist", page}, nil, []string{"make build"}},
		"missing page":         {[]string{"-page", page + "x", "-dist", dist}, nil, []string{"index.htmlx", "-page"}},
		"argument":             {[]string{"serve"}, nil, []string{cli.ErrInvalid.Error(), "serve"}},
		"a server's flag":      {[]string{"-public", ">"}, nil, []string{cli.ErrInvalid.Error(), "-public"}},
		"the cluster's page":   {[]string{"-cluster", "-page", page}, nil, []string{cli.ErrInvalid.Error(), "-page", "-cluster"}},
		"the cluster's token":  {[]string{"-cluster", "-token", "x"}, nil, []string{cli.ErrInvalid.Error(), "-token", "-cluster"}},
		"an empty token":       {[]string{"-token", ""}, nil, []string{cli.ErrInvalid.Error(), "-token"}},
		"an origin's slash":    {[]string{"-cors", "https://a.example/"}, nil, []string{cli.ErrInvalid.Error(), "https://a.example/"}},
		"a Unix socket":        {[]string{"-addr", "unix:/x"}, nil, []string{cli.ErrInvalid.Error(), "-addr", "host:port"}},
		"a host with a scheme": {[]string{"-hosts", "http://a"}, nil, []string{cli.ErrInvalid.Error(), "-hosts"}},
		"log format":           {[]string{"-log-format", "xml"}, nil, []string{cli.ErrInvalid.Error(), "text or json"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			var stdout bytes.Buffer
			err := run(t.Context(), test.args, environment(test.env...), &stdout, io.Discard)
			if err == nil || strings.Contains(err.Error(), "\n") {
				t.Fatalf("run: %v", err)
			}
			for _, word := range test.want {
				if !strings.Contains(err.Error(), word) {
					t.Errorf("the error %q does not mention %q", err, word)
				}
			}
			if stdout.Len() > 0 {
				t.Errorf("printed %q", stdout.String())
			}
		})
	}
}

// Requests with the host name of another site are refused, even if that name points to this machine.
func TestHosts(t *testing.T) {
	page, dist := pageAndDist(t)
	url, _ := launch(t, "-page", page, "-dist", dist, "-hosts", "demo.lan")
	port := url[strings.LastIndex(url, ":"):]
	for host, want := range map[string]int{"localhost" + port: 201, "127.0.0.1" + port: 201, "[::1]" + port: 201, "demo.lan": 201, "demo.lan" + port: 201, "evil.example" + port: 421} {
		response, _ := do(t, "POST", url+"/events", "topic=chat&data=x", "Host", host, "Origin", "http://"+host)
		if response.StatusCode != want {
			t.Errorf("%s: status %d, want %d", host, response.StatusCode, want)
		}
	}
	for _, path := range []string{"/", "/healthz", "/demo/config", "/conformance/"} {
		if response, _ := do(t, "GET", url+path, "", "Host", "evil.example"+port); response.StatusCode != 421 {
			t.Errorf("%s: status %d", path, response.StatusCode)
		}
	}
}

// The demo ignores environment variables of the server.
func TestConfigure(t *testing.T) {
	c, err := configure(nil, environment("EVENTSOURCE_PUBLIC", ">", "EVENTSOURCE_TOKEN", "secret", "PORT", "9"), io.Discard)
	if err != nil || c.token != demoToken || c.addr != "localhost:9" {
		t.Errorf("configure: %+v, %v", c, err)
	}
	if c, err := configure([]string{"-addr", ":1"}, environment("PORT", "9"), io.Discard); err != nil || c.addr != ":1" {
		t.Errorf("configure: %+v, %v", c, err)
	}
}

func TestHelp(t *testing.T) {
	var stderr bytes.Buffer
	err := run(t.Context(), []string{"-h"}, nil, io.Discard, &stderr)
	if !errors.Is(err, flag.ErrHelp) || !strings.Contains(stderr.String(), "-cluster") {
		t.Errorf("run: %v, %s", err, stderr.String())
	}
}
