package server_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log"
	"log/slog"
	"math"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/eventsource-wasm/eventsource-wasm/server"
	"github.com/eventsource-wasm/eventsource-wasm/sse"
)

// A grant that expires in the far future does not end a stream now, even if its time is in milliseconds by mistake.
func TestGrantExpiresInFarFuture(t *testing.T) {
	for name, expires := range map[string]time.Time{
		"year 9999":       time.Unix(253402300799, 0),
		"in milliseconds": time.Unix(time.Now().UnixMilli(), 0),
		"the last":        time.Unix(math.MaxInt64>>8, 0),
	} {
		t.Run(name, func(t *testing.T) {
			onEachPath(t, func(t *testing.T, noHijack bool) {
				broker := &server.Broker{}
				h := &server.Handler{Broker: broker, NoHijack: noHijack, Logger: quiet}
				h.Authorize = func(*http.Request, server.Access) (server.Grant, error) {
					return server.Grant{Expires: expires}, nil
				}
				c := opened(t, start(t, h))
				c.next()
				publish(t, broker, "t", "1", "2")
				c.wantData("1", "2")
			})
		})
	}
}

// A stalled stream ends when its grant expires, like any other, regardless of WriteTimeout.
func TestStalledStreamEndsWithItsGrant(t *testing.T) {
	if !canDetach {
		t.Skip("no fast path here")
	}
	ends := make(chan server.StreamEnd, 1)
	broker := &server.Broker{MaxBytes: -1}
	h := &server.Handler{Broker: broker, MaxLag: -1, WriteTimeout: -1, Logger: quiet, Trace: func(*http.Request) func(server.StreamEnd) {
		return func(e server.StreamEnd) { ends <- e }
	}}
	expires := time.Now().Add(2 * time.Second)
	h.Authorize = func(*http.Request, server.Access) (server.Grant, error) { return server.Grant{Expires: expires}, nil }
	slow := connect(t, start(t, h))
	slow.next()
	flood(t, broker)
	if e := <-ends; e.Reason != server.ErrExpired {
		t.Errorf("ended by %v", e.Reason)
	}
	wantConnections(t, broker, 0)
}

// Trace reports the real end of a stream, which middleware cannot see.
func TestTrace(t *testing.T) {
	onEachPath(t, func(t *testing.T, noHijack bool) {
		ends := make(chan server.StreamEnd, 1)
		broker := &server.Broker{}
		asked := ""
		h := &server.Handler{Broker: broker, NoHijack: noHijack, Logger: quiet, Trace: func(r *http.Request) func(server.StreamEnd) {
			asked = r.URL.RawQuery
			return func(e server.StreamEnd) { ends <- e }
		}}
		c := opened(t, start(t, h)+"?topic=a")
		c.next()
		publish(t, broker, "a", "1", "2")
		publish(t, broker, "b", "3")
		c.wantData("1", "2")
		broker.Close()
		c.wantEnd()
		e := <-ends
		if e.Reason != server.ErrBrokerClosed || e.Events != 2 || e.Bytes < 50 || e.Duration <= 0 || e.Detached != (canDetach && !noHijack) {
			t.Errorf("ended with %+v", e)
		}
		if asked != "topic=a" {
			t.Errorf("Trace got the request for %q", asked)
		}
		if h.Trace = func(*http.Request) func(server.StreamEnd) { return nil }; broker.Stats().Connections != 0 {
			t.Error("the ended stream is still counted")
		}
	})
}

// Streams over TLS are hijacked, except over HTTP/2. They frame their own chunks and end like other streams.
func TestTLSStreamsAreHijacked(t *testing.T) {
	for name, http2 := range map[string]bool{"HTTP/1.1": false, "HTTP/2": true} {
		t.Run(name, func(t *testing.T) {
			ends := make(chan server.StreamEnd, 2)
			broker := &server.Broker{}
			h := &server.Handler{Broker: broker, Logger: quiet, Trace: func(*http.Request) func(server.StreamEnd) {
				return func(e server.StreamEnd) { ends <- e }
			}}
			s := httptest.NewUnstartedServer(h)
			s.EnableHTTP2 = http2
			s.StartTLS()
			t.Cleanup(s.Close)
			get := func() *client {
				request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL, nil)
				if err != nil {
					t.Fatal(err)
				}
				response, err := s.Client().Do(request)
				if err != nil {
					t.Fatal(err)
				}
				if http2 != (response.ProtoMajor == 2) {
					t.Fatalf("the protocol is %s", response.Proto)
				}
				return newClient(t, response)
			}
			goes, stays := get(), get()
			goes.next()
			stays.next()
			data := strings.Repeat("large ", 100_000)
			publish(t, broker, "t", "1", data)
			goes.wantData("1", data)
			stays.wantData("1", data)
			goes.response.Body.Close()
			if e := <-ends; e.Events != 2 || e.Detached == http2 {
				t.Errorf("ended with %+v", e)
			}
			broker.Close()
			stays.wantEnd()
			if e := <-ends; e.Reason != server.ErrBrokerClosed {
				t.Errorf("ended with %+v", e)
			}
			wantConnections(t, broker, 0)
		})
	}
}

// DisconnectAll looks like a broken connection to the client, not like the end of the stream, on every path.
func TestDisconnectAllOverTLS(t *testing.T) {
	for name, http2 := range map[string]bool{"HTTP/1.1": false, "HTTP/2": true} {
		t.Run(name, func(t *testing.T) {
			broker := &server.Broker{}
			s := httptest.NewUnstartedServer(&server.Handler{Broker: broker, Logger: quiet})
			s.EnableHTTP2 = http2
			s.StartTLS()
			t.Cleanup(s.Close)
			response, err := s.Client().Get(s.URL)
			if err != nil {
				t.Fatal(err)
			}
			c := newClient(t, response)
			c.next()
			broker.DisconnectAll()
			if _, err := c.read(); err == nil || errors.Is(err, io.EOF) {
				t.Errorf("the disconnected stream ends with %v", err)
			}
			wantConnections(t, broker, 0)
		})
	}
}

// The number of distinct filters is limited: in total, per address and per subject.
func TestFilterLimits(t *testing.T) {
	for name, test := range map[string]struct {
		broker *server.Broker
		status int
	}{
		"all":         {&server.Broker{MaxFilters: 2}, http.StatusServiceUnavailable},
		"one address": {&server.Broker{MaxFiltersPerIP: 2}, http.StatusTooManyRequests},
		"one subject": {&server.Broker{MaxFiltersPerSubject: 2}, http.StatusTooManyRequests},
	} {
		t.Run(name, func(t *testing.T) {
			h := &server.Handler{Broker: test.broker, Logger: quiet}
			h.Authorize = func(*http.Request, server.Access) (server.Grant, error) { return server.Grant{Subject: "ada"}, nil }
			url := start(t, h)
			first := opened(t, url+"?topic=a")
			opened(t, url+"?topic=b&topic=a")
			opened(t, url+"?topic=a&topic=b").next() // the same
			refused := open(t, url+"?topic=c")
			body, _ := io.ReadAll(refused.response.Body)
			if refused.response.StatusCode != test.status || !strings.Contains(string(body), "too many distinct topic filters") ||
				refused.response.Header.Get("Retry-After") == "" {
				t.Errorf("one more filter got status %d, %s", refused.response.StatusCode, body)
			}
			if got := test.broker.Stats().Filters; got != 2 {
				t.Errorf("Filters = %d", got)
			}
			first.cancel()
			wantConnections(t, test.broker, 2)
			opened(t, url+"?topic=c").next()
		})
	}
}

// Without MaxFilters, a stream with another filter meets the limit on connections, and gets its error.
func TestConnectionsLimitFilters(t *testing.T) {
	url := start(t, &server.Handler{Broker: &server.Broker{MaxConnections: 2}, Logger: quiet})
	opened(t, url+"?topic=a")
	opened(t, url+"?topic=b")
	refused := open(t, url+"?topic=c")
	body, _ := io.ReadAll(refused.response.Body)
	if refused.response.StatusCode != http.StatusServiceUnavailable || !strings.Contains(string(body), "too many connections") {
		t.Errorf("the third stream got status %d, %s", refused.response.StatusCode, body)
	}
}

// Publishing with a context that is done publishes nothing and returns its cause.
func TestPublishWithDoneContext(t *testing.T) {
	reason := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(reason)
	for name, broker := range map[string]*server.Broker{"memory": {}, "store": {Store: newTestStore()}} {
		if _, err := broker.Publish(ctx, "t", sse.Event{}); err != reason {
			t.Errorf("%s: Publish: %v", name, err)
		}
		if _, err := broker.PublishAll(ctx, server.Publication{Topic: "t"}); err != reason {
			t.Errorf("%s: PublishAll: %v", name, err)
		}
		if got := broker.Stats().Published; got != 0 {
			t.Errorf("%s: %d events are published", name, got)
		}
		broker.Close()
	}
}

// When its client has disconnected, a POST stops waiting for the store.
func TestPublisherDisconnects(t *testing.T) {
	store := newTestStore()
	begun, ended := make(chan struct{}), make(chan error, 1)
	store.appending = func(ctx context.Context) error {
		close(begun)
		<-ctx.Done()
		ended <- context.Cause(ctx)
		return server.ErrStoreUnavailable
	}
	broker := &server.Broker{Store: store}
	t.Cleanup(broker.Close)
	url := start(t, &server.Handler{Broker: broker, OpenPublish: true, Logger: quiet})
	ctx, cancel := context.WithCancel(t.Context())
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader("topic=t&data=x"))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	go http.DefaultTransport.RoundTrip(request)
	<-begun
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("the store's context ends with %v", err)
	}
}

// A panic in Trace affects only its own stream, which has already ended.
func TestTracePanics(t *testing.T) {
	onEachPath(t, func(t *testing.T, noHijack bool) {
		var log syncBuffer
		broker := &server.Broker{}
		h := &server.Handler{Broker: broker, NoHijack: noHijack, Logger: slog.New(slog.NewTextHandler(&log, nil))}
		h.Trace = func(r *http.Request) func(server.StreamEnd) {
			return func(server.StreamEnd) {
				if r.URL.RawQuery != "" {
					panic("for a test")
				}
			}
		}
		url := start(t, h)
		stays, goes := opened(t, url), opened(t, url+"?topic=a")
		stays.next()
		goes.next()
		goes.cancel()
		wantConnections(t, broker, 1)
		publish(t, broker, "t", "1")
		stays.wantData("1")
		if text := log.String(); !strings.Contains(text, "for a test") {
			t.Errorf("log %q", text)
		}
	})
}

// A client that keeps sending over TLS is disconnected.
func TestUnexpectedDataOverTLS(t *testing.T) {
	ends := make(chan server.StreamEnd, 1)
	broker := &server.Broker{}
	s := httptest.NewUnstartedServer(&server.Handler{Broker: broker, Logger: quiet, Trace: func(*http.Request) func(server.StreamEnd) {
		return func(e server.StreamEnd) { ends <- e }
	}})
	s.StartTLS()
	t.Cleanup(s.Close)
	conn, err := tls.Dial("tcp", s.Listener.Addr().String(), &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	request(t, conn).next()
	junk := strings.Repeat("x", 10_000)
	for range 1000 {
		if _, err := io.WriteString(conn, junk); err != nil {
			break
		}
	}
	if e := <-ends; e.Reason != server.ErrUnexpectedData {
		t.Errorf("ended by %v", e.Reason)
	}
}

// A panic in a Store ends only its own request.
func TestStorePanics(t *testing.T) {
	store := newTestStore()
	broker := &server.Broker{Store: store, MaxConnections: 2, MaxConnectionsPerIP: 2, MaxFilters: 2}
	t.Cleanup(broker.Close)
	s := httptest.NewUnstartedServer(&server.Handler{Broker: broker, Logger: quiet})
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.Start()
	t.Cleanup(s.Close)
	opened(t, s.URL).next() // the store is followed
	store.change(func() { store.asked = func() { panic("for a test") } })
	for i := range 5 {
		request, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL+"?topic="+strconv.Itoa(i), nil)
		request.Header.Set("Last-Event-ID", id(99))
		if response, err := http.DefaultTransport.RoundTrip(request); err == nil {
			t.Fatalf("status %d", response.StatusCode)
		}
	}
	if stats := broker.Stats(); stats.Connections != 1 || stats.Filters != 0 {
		t.Errorf("stats %+v", stats)
	}
	opened(t, s.URL+"?topic=a").next()
}

// An id from the future causes only a few reads of the store.
func TestFutureIDReadsStoreRarely(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newTestStore()
		broker := &server.Broker{Store: store}
		defer broker.Close()
		network, _ := serveBubble(t, &server.Handler{Broker: broker, Logger: quiet}, &http.Server{})
		asked := 0
		store.change(func() { store.asked = func() { asked++ } })
		c := network.get(t, "/", "Last-Event-ID", id(99))
		if gap := c.response.Header.Get("Event-Gap"); gap != "future" {
			t.Errorf("gap %q", gap)
		}
		if asked > 8 {
			t.Errorf("the store was read %d times", asked)
		}
	})
}

// A stalled stream on its own goroutine ends when its grant expires, too.
func TestStalledGoroutineEndsWithItsGrant(t *testing.T) {
	onEachPath(t, func(t *testing.T, noHijack bool) { // neither uses epoll, because the network is in memory
		synctest.Test(t, func(t *testing.T) {
			broker := &server.Broker{}
			begun := time.Now()
			h := &server.Handler{Broker: broker, NoHijack: noHijack, WriteTimeout: -1, Logger: quiet}
			h.Authorize = func(*http.Request, server.Access) (server.Grant, error) {
				return server.Grant{Expires: begun.Add(time.Minute)}, nil
			}
			network, ended := serveBubble(t, h, &http.Server{})
			network.get(t, "/").next()
			publish(t, broker, "t", "unread")
			if e := <-ended; e.Reason != server.ErrExpired || time.Since(begun) != time.Minute {
				t.Errorf("ended by %v after %v", e.Reason, time.Since(begun))
			}
		})
	})
}
