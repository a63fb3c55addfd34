// Package client_test measures the cost of an event for Go clients: ours and its peers.
package client_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	launchdarkly "github.com/launchdarkly/eventsource"
	r3labs "github.com/r3labs/sse/v2"
	tmaxmax "github.com/tmaxmax/go-sse"

	"github.com/eventsource-wasm/eventsource-wasm/wasm/eventsource"
)

// A transport responds to every request with an endless stream, in reads of at most 16 KiB. So clients use net/http's
// types, but no network.
type transport []byte

func (t transport) RoundTrip(r *http.Request) (*http.Response, error) {
	return &http.Response{
		StatusCode: 200,
		Proto:      "HTTP/1.1",
		Header:     http.Header{"Content-Type": {"text/event-stream"}},
		Body:       &body{r.Context(), bytes.NewReader(t)},
		Request:    r,
	}, nil
}

type body struct {
	ctx    context.Context
	stream io.Reader
}

func (b *body) Read(p []byte) (int, error) {
	if n, err := b.stream.Read(p[:min(len(p), 16<<10)]); err == nil {
		return n, nil
	}
	<-b.ctx.Done()
	return 0, b.ctx.Err()
}

func (*body) Close() error { return nil }

// clients receive events until receive, which is called with their data, returns false.
var clients = map[string]func(b *testing.B, client *http.Client, receive func(data string) bool){
	"ours": func(b *testing.B, client *http.Client, receive func(string) bool) {
		source, err := eventsource.New("http://a.example/", eventsource.Options{Transport: eventsource.Transport{Client: client}})
		if err != nil {
			b.Fatal(err)
		}
		for event, err := range source.Events(b.Context()) {
			if err != nil {
				b.Fatal(err)
			}
			if !receive(event.Data) {
				return
			}
		}
	},
	"tmaxmax": func(b *testing.B, client *http.Client, receive func(string) bool) {
		ctx, cancel := context.WithCancel(b.Context())
		defer cancel()
		request, err := http.NewRequestWithContext(ctx, "GET", "http://a.example/", nil)
		if err != nil {
			b.Fatal(err)
		}
		connection := (&tmaxmax.Client{HTTPClient: client}).NewConnection(request)
		connection.Buffer(nil, 1<<20)
		connection.SubscribeToAll(func(event tmaxmax.Event) {
			if !receive(event.Data) {
				cancel()
			}
		})
		connection.Connect()
	},
	"r3labs": func(b *testing.B, client *http.Client, receive func(string) bool) {
		ctx, cancel := context.WithCancel(b.Context())
		defer cancel()
		c := r3labs.NewClient("http://a.example/", r3labs.ClientMaxBufferSize(1<<20))
		c.Connection = client
		c.SubscribeRawWithContext(ctx, func(event *r3labs.Event) {
			if !receive(string(event.Data)) {
				cancel()
			}
		})
	},
	"launchdarkly": func(b *testing.B, client *http.Client, receive func(string) bool) {
		request, err := http.NewRequestWithContext(b.Context(), "GET", "http://a.example/", nil)
		if err != nil {
			b.Fatal(err)
		}
		stream, err := launchdarkly.SubscribeWithRequestAndOptions(request, launchdarkly.StreamOptionHTTPClient(client))
		if err != nil {
			b.Fatal(err)
		}
		defer stream.Close()
		for event := range stream.Events {
			if !receive(event.Data()) {
				return
			}
		}
	},
}

func BenchmarkClient(b *testing.B) {
	for _, size := range []int{100, 10_000} {
		const count = 10_000
		data := strings.Repeat("x", size)
		var stream bytes.Buffer
		for i := range count {
			fmt.Fprintf(&stream, "id: %d\nevent: tick\ndata: %s\n\n", i, data)
		}
		client := &http.Client{Transport: transport(stream.Bytes())}
		for _, name := range []string{"ours", "tmaxmax", "r3labs", "launchdarkly"} {
			b.Run(fmt.Sprintf("%d_bytes/%s", size, name), func(b *testing.B) {
				b.ReportAllocs()
				b.SetBytes(int64(stream.Len()))
				for b.Loop() {
					received := 0
					clients[name](b, client, func(got string) bool {
						if got != data {
							b.Fatalf("received %.40q", got)
						}
						received++
						return received < count
					})
					if received != count {
						b.Fatalf("received %d of %d events", received, count)
					}
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*count), "ns/event")
			})
		}
	}
}
