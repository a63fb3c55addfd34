package server_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/eventsource-wasm/eventsource-wasm/server"
	"github.com/eventsource-wasm/eventsource-wasm/sse"
)

// An event's data, which with its fields is 128 bytes on the wire. Readers count events by the mark.
var benchmarkData = "!" + strings.Repeat("x", 97)

// BenchmarkDelivery publishes windows of events and waits until every client has read them. It reports the time per
// delivery of one event to one client. Clients are part of the measured process, and cost both implementations the same.
// The metric "of-channels" is our time divided by that of a common channel-based fan-out: below 1 is faster.
func BenchmarkDelivery(b *testing.B) {
	for _, clients := range []int{1, 100, 1000} {
		for _, window := range []int{1, 16} {
			var channels float64
			b.Run(fmt.Sprintf("clients=%d/window=%d/channels", clients, window), func(b *testing.B) {
				f := &fanout{clients: map[chan []byte]bool{}}
				channels = deliver(b, f, f.publish, clients, window)
			})
			for _, noHijack := range []bool{true, false} {
				name := map[bool]string{true: "default", false: "fast"}[noHijack]
				b.Run(fmt.Sprintf("clients=%d/window=%d/%s", clients, window, name), func(b *testing.B) {
					broker := &server.Broker{}
					publish := func() { broker.Publish(context.Background(), "t", sse.Event{Data: benchmarkData}) }
					h := &server.Handler{Broker: broker, NoHijack: noHijack, Logger: quiet}
					b.ReportMetric(deliver(b, h, publish, clients, window)/channels, "of-channels")
				})
			}
		}
	}
}

// BenchmarkPublish measures Publish without clients.
func BenchmarkPublish(b *testing.B) {
	broker := &server.Broker{}
	b.ReportAllocs()
	for b.Loop() {
		broker.Publish(context.Background(), "t", sse.Event{Data: benchmarkData})
	}
}

func deliver(b *testing.B, h http.Handler, publish func(), clients, window int) (nsPerDelivery float64) {
	s := httptest.NewServer(h)
	defer s.Close()
	var received sync.WaitGroup
	received.Add(clients) // the greetings
	conns := make([]net.Conn, clients)
	for i := range conns {
		conns[i] = dial(b, s.Listener.Addr().String())
		defer conns[i].Close()
		go countMarks(conns[i], window, &received)
	}
	received.Wait()

	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for b.Loop() {
		received.Add(clients)
		for range window {
			publish()
		}
		received.Wait()
	}
	runtime.ReadMemStats(&after)
	deliveries := float64(b.N * clients * window)
	nsPerDelivery = float64(b.Elapsed().Nanoseconds()) / deliveries
	b.ReportMetric(nsPerDelivery, "ns/delivery")
	b.ReportMetric(float64(after.Mallocs-before.Mallocs)/deliveries, "allocs/delivery")
	b.ReportMetric(0, "ns/op") // hides the time of a window, which is not comparable
	return nsPerDelivery
}

func dial(b *testing.B, addr string) net.Conn {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		b.Fatal(err)
	}
	if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		b.Fatal(err)
	}
	return conn
}

// countMarks reads the greeting and then windows of events, and reports each.
func countMarks(conn net.Conn, window int, received *sync.WaitGroup) {
	buffer := make([]byte, 8<<10)
	for seen := 0; !bytes.Contains(buffer[:seen], []byte("\n: \n")); {
		n, err := conn.Read(buffer[seen:])
		if err != nil {
			return
		}
		seen += n
	}
	received.Done()
	for count := 0; ; {
		n, err := conn.Read(buffer)
		if err != nil {
			return
		}
		if count += bytes.Count(buffer[:n], []byte("!")); count == window {
			count = 0
			received.Done()
		}
	}
}

// A fanout is the comparison: a channel for each client, and a flush for each event. It has no history, topics, ids,
// heartbeats or deadlines. A client that stops reading stops the publisher and all other clients.
type fanout struct {
	mu       sync.Mutex
	clients  map[chan []byte]bool
	sequence int
}

func (f *fanout) publish() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.sequence++
	block, _ := sse.Append(nil, sse.Event{ID: fmt.Sprintf("12345678-%d", f.sequence), Data: benchmarkData})
	for client := range f.clients {
		client <- block
	}
}

func (f *fanout) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	events := make(chan []byte, 64)
	f.mu.Lock()
	f.clients[events] = true
	f.mu.Unlock()
	w.Header().Set("Content-Type", sse.ContentType)
	io.WriteString(w, ": \n")
	w.(http.Flusher).Flush()
	for {
		select {
		case block := <-events:
			w.Write(block)
			w.(http.Flusher).Flush()
		case <-r.Context().Done():
			f.mu.Lock()
			delete(f.clients, events)
			f.mu.Unlock()
			return
		}
	}
}
