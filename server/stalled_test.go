package server_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/eventsource-wasm/eventsource-wasm/server"
)

// flood publishes until a client that does not read has stalled, and returns the number of events. Other clients lag by at
// most one event.
func flood(t *testing.T, broker *server.Broker) (events int) {
	t.Helper()
	data := strings.Repeat("x", 50_000)
	for {
		before := broker.Stats()
		if before.Stalled > 0 {
			return events
		}
		publish(t, broker, "t", data)
		events++
		eventually(t, "the event is written, or the socket is full", func() bool {
			now := broker.Stats()
			return now.Delivered > before.Delivered || now.Stalled > 0
		})
	}
}

// A client that stops reading delays no others, and gets everything when it reads again.
func TestStalledClient(t *testing.T) {
	if !canDetach {
		t.Skip("no fast path on " + runtime.GOOS)
	}
	broker := &server.Broker{MaxBytes: -1}
	url := start(t, &server.Handler{Broker: broker, MaxLag: -1, Logger: quiet})
	slow, fast := connect(t, url), opened(t, url)
	slow.next()
	fast.next()
	var reading sync.WaitGroup
	ids := make(chan string, 10_000)
	reading.Go(func() {
		for {
			b, err := fast.read()
			if err != nil {
				return
			}
			ids <- b["id"]
		}
	})
	count := flood(t, broker)
	for range 20 {
		publish(t, broker, "t", "more")
	}
	count += 20
	for i := range count { // while the slow client does not read
		if id := <-ids; number(id) != i+1 {
			t.Fatalf("the fast client got %s, want number %d", id, i+1)
		}
	}
	for i := range count {
		if b := slow.next(); number(b["id"]) != i+1 {
			t.Fatalf("the slow client got %s, want number %d", b["id"], i+1)
		}
	}
	publish(t, broker, "t", "both again")
	slow.wantData("both again")
	broker.Close()
	slow.wantEnd()
	reading.Wait()
	if stats := broker.Stats(); stats.Delivered != int64(2*(count+1)) || stats.Gaps+stats.Lagged+stats.TimedOut > 0 {
		t.Errorf("stats %+v", stats)
	}
}

// A late or repeated report of room does nothing if the client has accepted everything meanwhile.
func TestStalledClientCatchesUp(t *testing.T) {
	const events = 8
	data := strings.Repeat("x", 500_000)
	broker := &server.Broker{MaxBytes: -1}
	url := start(t, &server.Handler{Broker: broker, MaxLag: -1, Logger: quiet})
	for round := range 20 {
		c := connect(t, url)
		c.next()
		for range events {
			publish(t, broker, "t", data)
		}
		for range events {
			c.wantData(data)
		}
		c.conn.Close()
		wantConnections(t, broker, 0)
		if t.Failed() {
			t.Fatalf("in round %d", round)
		}
	}
}

func TestStalledClientTimesOut(t *testing.T) {
	if !canDetach {
		t.Skip("no fast path on " + runtime.GOOS)
	}
	broker := &server.Broker{}
	url := start(t, &server.Handler{Broker: broker, MaxLag: -1, WriteTimeout: 300 * time.Millisecond, Logger: quiet})
	slow := connect(t, url)
	slow.next()
	flood(t, broker)
	wantConnections(t, broker, 0)
	if got := broker.Stats().TimedOut; got != 1 {
		t.Errorf("%d timed out", got)
	}
	for {
		if _, err := slow.read(); err != nil {
			if err == io.EOF {
				t.Error("the disconnected stream ended cleanly")
			}
			break
		}
	}
}

func TestStalledClientLags(t *testing.T) {
	if !canDetach {
		t.Skip("no fast path on " + runtime.GOOS)
	}
	for name, policy := range map[string]server.LagPolicy{"end": server.EndLagging, "skip": server.SkipLagging} {
		t.Run(name, func(t *testing.T) {
			broker := &server.Broker{}
			h := &server.Handler{Broker: broker, MaxLag: 60_000, WriteTimeout: -1, LagPolicy: policy, Logger: quiet}
			slow := connect(t, start(t, h))
			slow.next()
			flood(t, broker)
			publish(t, broker, "t", strings.Repeat("lost", 25_000))
			var last block
			for {
				b, err := slow.read()
				if err == io.EOF && policy == server.EndLagging {
					break
				}
				if err != nil {
					t.Fatal(err)
				}
				if last = b; b["event"] == "gap" {
					break
				}
			}
			if strings.HasPrefix(last["data"], "lost") {
				t.Error("the client did not lag")
			}
			if policy == server.SkipLagging {
				publish(t, broker, "t", "after the gap")
				slow.wantData("after the gap")
			}
			if got := broker.Stats().Lagged; got != 1 {
				t.Errorf("lagged %d times", got)
			}
		})
	}
}

// After a panic of a writer, for example of a middleware's, nothing of its stream is left.
func TestWriterPanics(t *testing.T) {
	broker := &server.Broker{MaxEvents: 10}
	reasons := make(chan error, 1)
	h := &server.Handler{Broker: broker, Logger: quiet, Trace: func(*http.Request) func(server.StreamEnd) {
		return func(end server.StreamEnd) { reasons <- end.Reason }
	}}
	url := start(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { h.ServeHTTP(panickingWriter{w}, r) }))
	opened(t, url)
	publish(t, broker, "a", "panic")
	if reason := <-reasons; !errors.Is(reason, server.ErrPanicked) {
		t.Errorf("ended by %v", reason)
	}
	wantConnections(t, broker, 0)
	for i := range 100 {
		publish(t, broker, "a", fmt.Sprint(i, strings.Repeat("x", 1000)))
	}
	if s := broker.Stats(); s.Lag != 0 || s.Pinned != 0 {
		t.Errorf("without a connection: lag %d, pinned %d", s.Lag, s.Pinned)
	}
}

// A panickingWriter has only what a stream needs, so that it is not hijacked.
type panickingWriter struct{ http.ResponseWriter }

func (w panickingWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w panickingWriter) Write(p []byte) (int, error) {
	if bytes.Contains(p, []byte("panic")) {
		panic(http.ErrAbortHandler)
	}
	return w.ResponseWriter.Write(p)
}
