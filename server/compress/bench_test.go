//go:build unix

package compress_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http/httptest"
	"runtime"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/eventsource-wasm/eventsource-wasm/server"
	"github.com/eventsource-wasm/eventsource-wasm/server/compress"
	"github.com/eventsource-wasm/eventsource-wasm/sse"
)

// BenchmarkDelivery measures what compression costs in CPU time per delivery and in memory per client, and what it saves
// on the wire, compared with uncompressed streams on the same path. Clients are part of the process. They only read
// bytes.
func BenchmarkDelivery(b *testing.B) {
	for _, size := range []int{100, 1000} {
		for _, window := range []int{1, 16} {
			for _, coding := range []server.Coding{nil, compress.Gzip(), compress.Zstd()} {
				name := "identity"
				if coding != nil {
					name = coding.Name()
				}
				b.Run(fmt.Sprintf("bytes=%d/window=%d/%s", size, window, name), func(b *testing.B) { deliver(b, coding, size, window) })
			}
		}
	}
}

const clients = 1000

func deliver(b *testing.B, coding server.Coding, size, window int) {
	broker := &server.Broker{}
	handler := &server.Handler{Broker: broker, NoHijack: true, Logger: quiet}
	accept := "identity"
	if coding != nil {
		handler.MinSharing, handler.Codings, accept = 1, []server.Coding{coding}, coding.Name()
	}
	s := httptest.NewServer(handler)
	defer s.Close()
	before := memory()
	var wire atomic.Int64
	for range clients {
		conn, err := net.Dial("tcp", s.Listener.Addr().String())
		if err != nil {
			b.Fatal(err)
		}
		defer conn.Close()
		if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\nAccept-Encoding: "+accept+"\r\n\r\n"); err != nil {
			b.Fatal(err)
		}
		go count(conn, &wire)
	}
	published := 0
	publish := func() {
		for range window {
			published++
			data := text(published)
			for len(data) < size {
				data += text(published + len(data))
			}
			if _, err := broker.Publish(context.Background(), "t", sse.Event{Data: data[:size]}); err != nil {
				b.Fatal(err)
			}
		}
		for broker.Stats().Delivered < int64(published*clients) {
			time.Sleep(100 * time.Microsecond)
		}
	}
	for broker.Stats().Connections < clients {
		time.Sleep(time.Millisecond)
	}
	publish()
	held := memory() - before
	wire.Store(0)
	start := cpu()
	begin := published
	for b.Loop() {
		publish()
	}
	deliveries := float64((published - begin) * clients)
	b.ReportMetric(float64((cpu()-start).Nanoseconds())/deliveries, "cpu-ns/delivery")
	b.ReportMetric(float64(wire.Load())/deliveries, "wire-B/delivery")
	b.ReportMetric(float64(held)/clients/1000, "kB/client")
	b.ReportMetric(0, "ns/op")
}

func count(conn net.Conn, wire *atomic.Int64) {
	for buffer := make([]byte, 4<<10); ; {
		n, err := conn.Read(buffer)
		if err != nil {
			return
		}
		wire.Add(int64(n))
	}
}

func memory() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapInuse + m.StackInuse)
}

func cpu() time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		panic(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
