package server_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime/debug"
	"runtime/metrics"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/eventsource-wasm/eventsource-wasm/server"
)

// memoryBytes returns the memory that Go has obtained from the system and not yet returned.
func memoryBytes() float64 {
	samples := []metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
	metrics.Read(samples)
	return float64(samples[0].Value.Uint64() - samples[1].Value.Uint64())
}

// BenchmarkAttack opens 2,000 connections that each send a body of one byte less than a mebibyte and then stall. It
// reports the peak memory, how many were refused, and the delays of a client that publishes meanwhile. The attackers are
// part of the measured process.
func BenchmarkAttack(b *testing.B) {
	for _, who := range []string{"strangers", "publishers"} {
		b.Run(who, func(b *testing.B) {
			for b.Loop() {
				attack(b, map[string]string{"strangers": "", "publishers": "Authorization: Bearer secret\r\n"}[who])
			}
		})
	}
}

func attack(b *testing.B, credentials string) {
	const clients, size = 2000, 1<<20 - 1
	s := httptest.NewServer(&server.Handler{Broker: &server.Broker{}, Authorize: server.BearerToken("secret"), Logger: quiet})
	defer s.Close()
	defer s.CloseClientConnections()
	text := []byte("topic=a&data=" + strings.Repeat("x", size-20))
	debug.FreeOSMemory()
	before := memoryBytes()
	var answered, stalled atomic.Int64
	var attackers sync.WaitGroup
	slots := make(chan struct{}, 100) // of those that are sending
	for range clients {
		attackers.Go(func() {
			slots <- struct{}{}
			conn, err := net.Dial("tcp", s.Listener.Addr().String())
			if err != nil {
				<-slots
				return
			}
			defer conn.Close()
			fmt.Fprintf(conn, "POST / HTTP/1.1\r\nHost: test\r\n%sContent-Type: %s\r\nContent-Length: %d\r\n\r\n", credentials, form, size)
			conn.Write(text)
			stalled.Add(1)
			<-slots
			if answer, err := http.ReadResponse(bufio.NewReader(conn), nil); err == nil && answer.StatusCode != http.StatusCreated {
				answered.Add(1)
			}
		})
	}
	var peak float64
	var delays []time.Duration
	for stalled.Load() < clients || len(delays) < 50 {
		begun := time.Now()
		r, _ := http.NewRequest(http.MethodPost, s.URL, strings.NewReader("topic=a"))
		r.Header = http.Header{"Content-Type": {form}, "Authorization": {"Bearer secret"}}
		if answer, err := http.DefaultTransport.RoundTrip(r); err == nil {
			io.Copy(io.Discard, answer.Body)
			answer.Body.Close()
		}
		delays = append(delays, time.Since(begun))
		peak = max(peak, memoryBytes()-before)
	}
	slices.Sort(delays)
	b.ReportMetric(peak/1e6, "MB-peak")
	b.ReportMetric(float64(answered.Load()), "refused")
	b.ReportMetric(float64(delays[len(delays)/2].Microseconds())/1e3, "ms-median")
	b.ReportMetric(float64(delays[len(delays)*99/100].Microseconds())/1e3, "ms-99%")
	s.CloseClientConnections()
	attackers.Wait()
}

// BenchmarkHostileBody measures bodies of a mebibyte with only unknown fields.
func BenchmarkHostileBody(b *testing.B) {
	var object, pairs strings.Builder
	object.WriteString(`{"topic":"a"`)
	for i := 0; object.Len() < 1<<20-20; i++ {
		fmt.Fprintf(&object, `,"%d":0`, i)
	}
	object.WriteString("}")
	for i := 0; pairs.Len() < 1<<20-20; i++ {
		fmt.Fprintf(&pairs, "&k%d=", i)
	}
	for name, test := range map[string][2]string{"JSON": {jsonType, object.String()}, "form": {form, pairs.String()}} {
		b.Run(name, func(b *testing.B) {
			h := &server.Handler{Broker: &server.Broker{}, OpenPublish: true}
			b.ReportAllocs()
			for b.Loop() {
				if answer := post(h, test[0], test[1]); answer.Code != http.StatusBadRequest {
					b.Fatal(answer.Code)
				}
			}
		})
	}
}

// BenchmarkPost measures a small publication over HTTP, without the network.
func BenchmarkPost(b *testing.B) {
	for name, test := range map[string][2]string{
		"JSON":  {jsonType, `{"topic":"orders.new","type":"order","data":"` + benchmarkData + `"}`},
		"form":  {form, "topic=orders.new&type=order&data=" + benchmarkData},
		"batch": {ndjson, strings.Repeat(`{"topic":"orders.new","type":"order","data":"`+benchmarkData+"\"}\n", 100)},
	} {
		b.Run(name, func(b *testing.B) {
			h := &server.Handler{Broker: &server.Broker{}, OpenPublish: true}
			b.ReportAllocs()
			for b.Loop() {
				if answer := post(h, test[0], test[1]); answer.Code != http.StatusCreated {
					b.Fatal(answer.Code)
				}
			}
		})
	}
}
