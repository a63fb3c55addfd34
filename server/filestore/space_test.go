//go:build linux

package filestore_test

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/eventsource-wasm/eventsource-wasm/server"
	"github.com/eventsource-wasm/eventsource-wasm/server/filestore"
	"github.com/eventsource-wasm/eventsource-wasm/sse"
)

// When the disk is almost full, publishing fails and reading continues. When there is space again, publishing works
// again.
func TestFullDisk(t *testing.T) {
	disk := t.TempDir()
	if err := syscall.Mount("tmpfs", disk, "tmpfs", 0, "size=48m"); err != nil {
		t.Skipf("cannot mount a disk of 48 MB: %v", err)
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
		id, err := n.broker.Publish(t.Context(), "t", event)
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
		t.Errorf("publishing: status %d, %v", response.StatusCode, response.Header)
	}
	_, body := n.stream(t, "", first)
	read(t, body, last)
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	var next string
	eventually(t, "publishing is possible again", func() bool {
		next, err = n.broker.Publish(t.Context(), "t", event)
		return err == nil
	})
	if got := read(t, body, next); got != encode(t, next, event) {
		t.Errorf("the replay has %d bytes", len(got))
	}
	n.stop(t)
}

// When another program has filled the disk completely, publishing fails and nothing is lost. When there is space again,
// publishing works without a restart.
func TestDiskWithoutSpace(t *testing.T) {
	disk := t.TempDir()
	if err := syscall.Mount("tmpfs", disk, "tmpfs", 0, "size=8m"); err != nil {
		t.Skipf("cannot mount a disk of 8 MB: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(disk, 0); err != nil {
			t.Error(err)
		}
	})
	o := filestore.Options{Dir: filepath.Join(disk, "store"), Reserve: -1, MaxBytes: 5 << 20}
	n := startNode(t, o, &server.Broker{MaxEvents: 5})
	first := publish(t, n.broker, "t", sse.Event{Data: "first"})
	last := first
	ballast := filepath.Join(disk, "ballast")
	for round := range 3 {
		file, err := os.Create(ballast)
		if err != nil {
			t.Fatal(err)
		}
		for size := 64 << 10; size > 0; size /= 2 {
			for err = nil; err == nil; _, err = file.Write(make([]byte, size)) {
			}
		}
		file.Close()
		event := sse.Event{Data: fmt.Sprint(round) + strings.Repeat("x", 100_000)}
		refused := 0
		for range 10 { // a little may fit into the file's last block
			id, err := n.broker.Publish(t.Context(), "t", event)
			switch {
			case err == nil:
				last = id
			case errors.Is(err, server.ErrStoreFull):
				refused++
			default:
				t.Fatal(err)
			}
		}
		if refused < 8 {
			t.Errorf("%d of 10 publications were refused", refused)
		}
		if err := os.Remove(ballast); err != nil {
			t.Fatal(err)
		}
		for range 8 { // enough for another file
			last = publish(t, n.broker, "t", event)
		}
	}
	_, body := n.stream(t, "", first)
	count := strings.Count(read(t, body, last), "data: ")
	if want := sequenceOf(last) - 1; count != want {
		t.Errorf("%d events follow the first, want %d", count, want)
	}
	n.stop(t)
	n = startNode(t, o, &server.Broker{})
	if next := publish(t, n.broker, "t", sse.Event{}); sequenceOf(next) != sequenceOf(last)+1 || next[:8] != last[:8] {
		t.Errorf("after a restart %s follows %s", next, last)
	}
	n.stop(t)
}

func sequenceOf(id string) int {
	_, digits, _ := strings.Cut(id, "-")
	n, _ := strconv.Atoi(digits)
	return n
}
