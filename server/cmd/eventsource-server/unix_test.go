//go:build unix

package main

import (
	"bufio"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/eventsource-wasm/eventsource-wasm/server/cmd/internal/serve"
)

// Everything that works over TCP also works over a Unix socket, even after the program was killed.
func TestUnixSocket(t *testing.T) {
	folder, err := os.MkdirTemp("", "s") // the path of a socket must be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(folder) })
	addr := "unix:" + filepath.Join(folder, "http.sock")
	args := []string{"-addr", addr, "-unix-mode", "0600", "-public", ">", "-token", "secret", "-max-connections-per-ip", "1",
		"-trusted-proxies", "127.0.0.1", "-drain", "1ms"}
	killed, cmd := child(t, args...)
	cmd.Process.Kill()
	killed.stop()
	p, cmd := child(t, args...)
	if info, err := os.Stat(filepath.Join(folder, "http.sock")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the socket: %v, %v", info, err)
	}
	if err := run(t.Context(), append([]string{"-healthcheck"}, args...), nil, io.Discard, io.Discard); err != nil {
		t.Error(err)
	}
	if err := run(t.Context(), args, nil, io.Discard, io.Discard); !errors.Is(err, serve.ErrSocketInUse) {
		t.Errorf("a second program: %v", err)
	}
	transport, host := serve.Client(addr)
	ask := func(method, client string) *http.Response {
		t.Helper()
		url, body := "http://"+host+"/events?topic=a", ""
		if method == http.MethodPost {
			url, body = "http://"+host+"/events", "topic=a&data=x"
		}
		request, _ := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
		request.Header.Set("Content-Type", form)
		request.Header.Set("X-Forwarded-For", client)
		if method == http.MethodPost {
			request.Header.Set("Authorization", "Bearer secret")
		}
		response, err := transport.RoundTrip(request)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { response.Body.Close() })
		return response
	}
	stream := ask(http.MethodGet, "192.0.2.1")
	if ask(http.MethodGet, "192.0.2.1").StatusCode != 429 || ask(http.MethodGet, "192.0.2.2").StatusCode != 200 {
		t.Error("X-Forwarded-For was ignored")
	}
	if response := ask(http.MethodPost, "192.0.2.1"); response.StatusCode != 201 {
		t.Errorf("publishing: status %d", response.StatusCode)
	}
	lines := bufio.NewReader(stream.Body)
	for line := ""; line != "data: x\n"; {
		if line, err = lines.ReadString('\n'); err != nil {
			t.Fatal(err)
		}
	}
	cmd.Process.Signal(syscall.SIGTERM)
	if _, err := io.ReadAll(lines); err != nil {
		t.Errorf("the stream ended with %v", err)
	}
	if err := p.stop(); err != nil {
		t.Errorf("%v:\n%s", err, p.log)
	}
	if _, err := os.Lstat(filepath.Join(folder, "http.sock")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the socket was not removed: %v", err)
	}
	if err := run(t.Context(), append([]string{"-healthcheck"}, args...), nil, io.Discard, io.Discard); err == nil {
		t.Error("the health check of a stopped server succeeded")
	}
}
