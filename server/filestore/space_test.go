//go:build linux

package filestore_test

import (
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/eventsource-wasm/eventsource-wasm/server"
	"github.com/eventsource-wasm/eventsource-wasm/server/filestore"
	"github.com/eventsource-wasm/eventsource-wasm/sse"
)

// A disk that is about to be full refuses what is published, and what is stored is read as before; with space again,
// all goes on.
func TestFullDisk(t *testing.T) {
	disk := t.TempDir()
	if err := syscall.Mount("tmpfs", disk, "tmpfs", 0, "size=48m"); err != nil {
		t.Skipf("a disk of 48 MB cannot be had: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(disk, 0); err != nil {
			t.Error(err)
		}
	})
	ballast := filepath.Join(disk, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 20<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	n := startNode(t, filestore.Options{Dir: filepath.Join(disk, "store"), Reserve: 16 << 20}, &server.Broker{MaxEvents: 5})
	event := sse.Event{Data: strings.Repeat("x", 100_000)}
	var first, last string
	for {
		id, err := n.broker.Publish("t", event)
		if errors.Is(err, server.ErrStoreFull) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if last = id; first == "" {
			first = id
		}
	}
	response, err := http.Post(n.http.URL, "application/json", strings.NewReader(`{"topic":"t"}`))
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if response.StatusCode != http.StatusServiceUnavailable || response.Header.Get("Retry-After") == "" {
		t.Errorf("publishing is answered %d, %v", response.StatusCode, response.Header)
	}
	_, body := n.stream(t, "", first)
	read(t, body, last)
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	var next string
	eventually(t, "publishing is possible again", func() bool {
		next, err = n.broker.Publish("t", event)
		return err == nil
	})
	if got := read(t, body, next); got != encode(t, next, event) {
		t.Errorf("%d bytes follow", len(got))
	}
	n.stop(t)
}
