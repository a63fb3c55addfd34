//go:build !js

package eventsource_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/eventsource-wasm/eventsource-wasm/server"
	"github.com/eventsource-wasm/eventsource-wasm/sse"
	"github.com/eventsource-wasm/eventsource-wasm/wasm/eventsource"
)

// A client whose connections are killed while events are published receives each event once, in order.
func TestKilledConnectionsLoseNothing(t *testing.T) {
	const events, kills = 2000, 20
	broker := &server.Broker{}
	s := httptest.NewServer(&server.Handler{Broker: broker, Authorize: server.BearerToken("secret")})
	defer s.Close()
	defer broker.Close()
	conns := &connections{}
	client := &http.Client{Transport: &http.Transport{DialContext: conns.dial}}
	defer client.CloseIdleConnections()

	opened := make(chan struct{}, kills+1)
	resumed := 0
	source, err := eventsource.New(s.URL+"?topic=numbers", eventsource.Options{
		Header:    http.Header{"Authorization": {"Bearer secret"}},
		Retry:     &eventsource.Retry{Initial: time.Millisecond, Max: 10 * time.Millisecond},
		Transport: eventsource.Transport{Client: client},
		OnOpen: func(r eventsource.Response) {
			if r.Resumed {
				resumed++
			}
			opened <- struct{}{}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		for n := range events {
			if n%(events/kills) == 0 {
				<-opened
			}
			if _, err := broker.Publish(t.Context(), "numbers", sse.Event{Data: strconv.Itoa(n)}); err != nil {
				t.Error(err)
			}
		}
	}()
	want := 0
	for event, err := range source.Events(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		if event.Data != strconv.Itoa(want) {
			t.Fatalf("got %s, want %d", event.Data, want)
		}
		if want++; want == events {
			break
		}
		if want%(events/kills) == events/kills/2 {
			conns.kill() // while more events are being sent
		}
	}
	if resumed < kills-1 { // the last connection may have received all events before it was killed
		t.Errorf("%d connections resumed of %d killed", resumed, kills)
	}
}

// Canceling and leaving sources leaves no streams on the server and no goroutines, over HTTP/1.1 and HTTP/2.
func TestEndedSourcesLeaveNothing(t *testing.T) {
	for protocol, http2 := range map[string]bool{"HTTP/1.1": false, "HTTP/2": true} {
		t.Run(protocol, func(t *testing.T) {
			const sources = 40
			broker := &server.Broker{}
			s := httptest.NewUnstartedServer(&server.Handler{Broker: broker})
			s.EnableHTTP2 = http2
			s.StartTLS()
			defer s.Close()
			defer broker.Close()
			client := s.Client()
			before := runtime.NumGoroutine()
			ctx, cancel := context.WithCancel(t.Context())
			var readers sync.WaitGroup
			var opened atomic.Int32
			for n := range sources {
				readers.Go(func() {
					source, err := eventsource.New(s.URL+"?topic=news", eventsource.Options{
						Transport: eventsource.Transport{Client: client},
						OnOpen:    func(eventsource.Response) { opened.Add(1) },
						OnError:   func(e *eventsource.Error) { t.Error(e) },
					})
					if err != nil {
						t.Error(err)
						return
					}
					for event, err := range source.Events(ctx) {
						if err == nil && event.Data != "hello" || err != nil && !errors.Is(err, context.Canceled) {
							t.Errorf("got %+v, %v", event, err)
						}
						if n%2 == 0 {
							break
						}
					}
				})
			}
			// The server counts a stream before its log position is fixed, so ask the clients.
			eventually(t, "all are open", func() bool { return opened.Load() == sources })
			if _, err := broker.Publish(t.Context(), "news", sse.Event{Data: "hello"}); err != nil {
				t.Fatal(err)
			}
			eventually(t, "half of them have left", func() bool { return broker.Stats().Connections == sources/2 })
			cancel()
			readers.Wait()
			eventually(t, "all have left", func() bool { return broker.Stats().Connections == 0 })
			eventually(t, "no goroutine is left", func() bool {
				client.CloseIdleConnections() // repeated, because an HTTP/2 connection is idle only after its last stream
				return runtime.NumGoroutine() <= before
			})
		})
	}
}

// patience ends tests that hang. It is generous because a busy machine can be a hundred times slower.
const patience = 5 * time.Minute

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); <-time.After(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("timed out after %v: %s", patience, what)
		}
	}
}

// connections are the open connections of one client.
type connections struct {
	mu   sync.Mutex
	open []net.Conn
}

func (c *connections) dial(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, network, address)
	if err == nil {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.open = append(c.open, conn)
	}
	return conn, err
}

// kill resets all connections.
func (c *connections) kill() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, conn := range c.open {
		conn.(*net.TCPConn).SetLinger(0)
		conn.Close()
	}
	c.open = nil
}

// This program reads a stream. Its connection breaks, and it resumes.
func Example() {
	broker := &server.Broker{}
	s := httptest.NewServer(&server.Handler{Broker: broker, Authorize: server.BearerToken("secret")})
	defer s.Close()
	defer broker.Close()

	source, err := eventsource.New(s.URL+"?topic=news", eventsource.Options{
		Header:      http.Header{"Authorization": {"Bearer secret"}},
		IdleTimeout: time.Minute, // the server sends a comment every 15 s
		Retry:       &eventsource.Retry{Initial: 10 * time.Millisecond},
		OnOpen: func(r eventsource.Response) {
			if !r.Resumed {
				broker.Publish(context.Background(), "news", sse.Event{Data: "one"})
			}
		},
		OnError: func(e *eventsource.Error) {
			fmt.Println("again?", e.WillRetry)
		},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	for event, err := range source.Events(context.Background()) {
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(event.Type, event.Data)
		if event.Data == "two" {
			break
		}
		broker.DisconnectAll()
		broker.Publish(context.Background(), "news", sse.Event{Data: "two"})
	}
	// Output:
	// message one
	// again? true
	// message two
}

// This program handles events by type, and an error by status.
func ExampleError() {
	broker := &server.Broker{}
	s := httptest.NewServer(&server.Handler{Broker: broker, Authorize: server.BearerToken("secret")})
	defer s.Close()
	defer broker.Close()

	source, err := eventsource.New(s.URL+"?topic=news", eventsource.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	for event, err := range source.Events(context.Background()) {
		if e, ok := errors.AsType[*eventsource.Error](err); ok && e.Status == http.StatusUnauthorized {
			fmt.Println("a token is needed:", e)
			return
		}
		switch event.Type {
		case "message":
			fmt.Println(event.Data)
		case "weather":
			fmt.Println("The weather:", event.Data)
		}
	}
	// Output: a token is needed: eventsource: the response's status is not 200 but 401
}
