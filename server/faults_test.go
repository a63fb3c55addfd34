package server_test

import (
	"bufio"
	"errors"
	"flag"
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
)

// The race detector limits goroutines. Without it, the limit is the number of file descriptors.
var crowd = flag.Int("crowd", 2000, "the `number` of clients of TestThousandsConnectAtOnce, each of which takes two files")

// Thousands of clients connect at once while events are published. Each gets all events after its greeting, in order.
func TestThousandsConnectAtOnce(t *testing.T) {
	onEachPath(t, func(t *testing.T, noHijack bool) {
		broker := &server.Broker{MaxConnections: -1}
		before, files := runtime.NumGoroutine(), openFiles()
		stop, url := startStopping(t, &server.Handler{Broker: broker, NoHijack: noHijack, Logger: quiet})
		last := make([]int, *crowd)
		ready := make(chan bool, *crowd)
		var tasks sync.WaitGroup
		for i := range last {
			tasks.Go(func() {
				var err error
				if last[i], err = follow(url, ready); err != nil {
					t.Errorf("client %d, after event %d: %v", i, last[i], err)
				}
			})
		}
		for n := range *crowd {
			<-ready
			if n%100 == 0 {
				publish(t, broker, "t", "while they connect")
			}
		}
		published := number(publish(t, broker, "t", "all are connected"))
		broker.Close()
		tasks.Wait()
		for i, n := range last {
			if n != published {
				t.Errorf("client %d got up to event %d of %d", i, n, published)
			}
		}
		stop()
		wantAsBefore(t, before, files)
	})
}

// follow reads a stream to its end and returns the number of the last event. The numbers must be consecutive. It sends to ready
// when the greeting has arrived or the stream has failed.
func follow(url string, ready chan<- bool) (last int, err error) {
	greeted := sync.OnceFunc(func() { ready <- true })
	defer greeted()
	conn, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: test\r\n\r\n"); err != nil {
		return 0, err
	}
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return 0, err
	}
	c := &client{reader: bufio.NewReader(response.Body)}
	for first := true; ; first = false {
		b, err := c.read()
		if errors.Is(err, io.EOF) {
			return last, nil
		}
		if err != nil {
			return last, err
		}
		if n := number(b["id"]); !first && n != last+1 {
			return last, fmt.Errorf("unexpected %v", b)
		}
		last = number(b["id"])
		greeted()
	}
}

// A client that stops reading pins at most the memory of one write, however much is published meanwhile. When it reads
// again, it gets a gap event.
func TestStalledReadersPinLittle(t *testing.T) {
	onEachPath(t, func(t *testing.T, noHijack bool) {
		const (
			clients  = 8
			maxBytes = 1 << 20
			write    = 64 << 10 // at most, and as much again as a chunk
			flooded  = 64 << 20
			most     = maxBytes + clients*2*write + 2<<20 // for goroutines and buffers
		)
		broker := &server.Broker{MaxBytes: maxBytes}
		before, files := runtime.NumGoroutine(), openFiles()
		h := &server.Handler{Broker: broker, NoHijack: noHijack, MaxLag: -1, WriteTimeout: -1, Heartbeat: -1, Logger: quiet}
		stop, url := startStopping(t, h)
		var silent []*socket
		for range clients {
			silent = append(silent, roomy(t, url))
		}
		held := heap()
		data := strings.Repeat("x", 30_000)
		for range flooded / len(data) {
			publish(t, broker, "t", data)
		}
		got := heap() - held
		t.Logf("%d bytes are pinned", got)
		if got > most {
			t.Errorf("pinned more than %d bytes", most)
		}
		if stats := broker.Stats(); stats.Bytes > maxBytes || stats.Connections != clients {
			t.Errorf("stats %+v", stats)
		}
		wantGapAndRest(t, silent[0], broker)
		for _, s := range silent {
			s.conn.Close()
		}
		wantConnections(t, broker, 0)
		stop()
		wantAsBefore(t, before, files)
	})
}

// roomy opens a stream over a connection with default buffers, which makes reading the rest faster.
func roomy(t *testing.T, url string) *socket {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	s := request(t, conn)
	s.next()
	return s
}

// wantGapAndRest reads on, in order, up to the newest event, with a gap in between.
func wantGapAndRest(t *testing.T, s *socket, broker *server.Broker) {
	t.Helper()
	last, gaps := 0, 0
	for newest := int(broker.Stats().Published); last < newest; {
		b := s.next()
		n := number(b["id"])
		if b["event"] == "gap" {
			gaps++
		} else if n != last+1 {
			t.Fatalf("event %d follows %d", n, last)
		}
		last = n
	}
	if gaps == 0 {
		t.Error("the client missed no event, so the test published too little")
	}
}

func heap() int64 {
	runtime.GC()
	runtime.GC() // the second run empties pools
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return int64(stats.HeapAlloc)
}

// startStopping is like start, for a test that checks what is left afterwards.
func startStopping(t *testing.T, h http.Handler) (stop func(), url string) {
	s := httptest.NewServer(h)
	stop = sync.OnceFunc(func() {
		s.CloseClientConnections()
		s.Close()
	})
	t.Cleanup(stop)
	return stop, s.URL
}

// wantAsBefore waits until no additional goroutine or file is left.
func wantAsBefore(t *testing.T, goroutines, files int) {
	t.Helper()
	eventually(t, "goroutines and files are as before", func() bool {
		return runtime.NumGoroutine() <= goroutines && openFiles() <= files
	})
}
