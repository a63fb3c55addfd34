package server_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/eventsource-wasm/eventsource-wasm/server"
	"github.com/eventsource-wasm/eventsource-wasm/sse"
)

func TestStream(t *testing.T) { onEachPath(t, testStream) }

func testStream(t *testing.T, noHijack bool) {
	broker := &server.Broker{}
	url := start(t, &server.Handler{Broker: broker, NoHijack: noHijack, Retry: 1500 * time.Millisecond})
	publish(t, broker, "news", "before")
	c := opened(t, url)
	want := map[string]string{
		"Content-Type":      "text/event-stream",
		"Cache-Control":     "no-store, no-transform",
		"X-Accel-Buffering": "no",
		"Event-Gap":         "",
	}
	for name, value := range want {
		if got := c.response.Header.Get(name); got != value {
			t.Errorf("%s: %q, want %q", name, got, value)
		}
	}
	epoch := epochOf(publish(t, broker, "news", "first\nsecond"))
	if got, want := c.next(), (block{"": "", "retry": "1500", "id": epoch + "-1"}); !maps.Equal(got, want) {
		t.Errorf("greeting %v, want %v", got, want)
	}
	if _, err := broker.Publish(t.Context(), "other", sse.Event{Type: "greet", Data: "hi", Retry: 9000}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []block{
		{"id": epoch + "-2", "data": "first\nsecond"},
		{"id": epoch + "-3", "event": "greet", "data": "hi", "retry": "9000"},
	} {
		if got := c.next(); !maps.Equal(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
	}
}

func TestTopics(t *testing.T) { onEachPath(t, testTopics) }

func testTopics(t *testing.T, noHijack bool) {
	broker := &server.Broker{}
	url := start(t, &server.Handler{Broker: broker, NoHijack: noHijack})
	some := opened(t, url+"?topic=a&topic=c&topic=a")
	all := opened(t, url)
	some.next()
	all.next()
	for _, topic := range []string{"a", "b", "c", "a b", "c"} {
		publish(t, broker, topic, topic)
	}
	some.wantData("a", "c", "c")
	all.wantData("a", "b", "c", "a b", "c")
}

func TestPatterns(t *testing.T) { onEachPath(t, testPatterns) }

func testPatterns(t *testing.T, noHijack bool) {
	broker := &server.Broker{}
	url := start(t, &server.Handler{Broker: broker, NoHijack: noHijack})
	some := opened(t, url+"?topic=orders.*&topic=log.>&topic=chat")
	all := opened(t, url+"?topic=>")
	some.next()
	all.next()
	for _, topic := range []string{"orders", "orders.new", "orders.new.eu", "chat", "log.a.b", "chat.b"} {
		publish(t, broker, topic, topic)
	}
	some.wantData("orders.new", "chat", "log.a.b")
	all.wantData("orders", "orders.new", "orders.new.eu", "chat", "log.a.b", "chat.b")
}

func TestHandlerPatterns(t *testing.T) { onEachPath(t, testHandlerPatterns) }

func testHandlerPatterns(t *testing.T, noHijack bool) {
	broker := &server.Broker{Topics: []string{"open.*", "secret.*"}}
	url := start(t, &server.Handler{Broker: broker, NoHijack: noHijack, Topics: []string{"open.*"}})
	clients := []*client{opened(t, url), opened(t, url+"?topic=>"), opened(t, url+"?topic=*.a")}
	for _, c := range clients {
		c.next()
	}
	publish(t, broker, "secret.a", "s")
	publish(t, broker, "open.a", "o")
	for _, c := range clients {
		c.wantData("o")
	}
}

func TestHandlerTopics(t *testing.T) {
	broker := &server.Broker{Topics: []string{"open", "secret"}}
	url := start(t, &server.Handler{Broker: broker, Topics: []string{"open"}})
	c := opened(t, url)
	c.next()
	publish(t, broker, "secret", "s")
	publish(t, broker, "open", "o")
	c.wantData("o")
}

func TestResume(t *testing.T) { onEachPath(t, testResume) }

func testResume(t *testing.T, noHijack bool) {
	broker := &server.Broker{}
	url := start(t, &server.Handler{Broker: broker, NoHijack: noHijack})
	first := publish(t, broker, "t", "1")
	publish(t, broker, "t", "2", "3")
	last := epochOf(first) + "-3"
	tests := map[string]struct {
		query  string
		header []string
		want   []string
	}{
		"header":              {"", []string{"Last-Event-ID", first}, []string{"2", "3", "4"}},
		"query":               {"?lastEventId=" + first, nil, []string{"2", "3", "4"}},
		"header is the newer": {"?lastEventId=" + first, []string{"Last-Event-ID", last}, []string{"4"}},
		"empty header":        {"?lastEventId=" + first, []string{"Last-Event-ID", ""}, []string{"2", "3", "4"}},
		"before the first":    {"?lastEventId=" + epochOf(first) + "-0", nil, []string{"1", "2", "3", "4"}},
	}
	clients := map[string]*client{}
	for name, test := range tests {
		clients[name] = opened(t, url+test.query, test.header...)
	}
	publish(t, broker, "t", "4")
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			clients[name].t = t
			clients[name].wantData(test.want...)
		})
	}
}

func TestGap(t *testing.T) { onEachPath(t, testGap) }

func testGap(t *testing.T, noHijack bool) {
	broker := &server.Broker{MaxEvents: 2}
	url := start(t, &server.Handler{Broker: broker, NoHijack: noHijack})
	epoch := epochOf(publish(t, broker, "t", "1", "2", "3", "4"))
	tests := map[string]struct{ requested, reason string }{
		"expired":   {epoch + "-1", "expired"},
		"future":    {epoch + "-5", "future"},
		"epoch":     {"other-3", "epoch"},
		"malformed": {"\"</script>\xff", "malformed"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			c := opened(t, url, "Last-Event-ID", test.requested)
			if got := c.response.Header.Get("Event-Gap"); got != test.reason {
				t.Errorf("Event-Gap: %q, want %q", got, test.reason)
			}
			b := c.next()
			if b["event"] != "gap" || b["id"] != epoch+"-2" {
				t.Errorf("got %v", b)
			}
			var data map[string]string
			if err := json.Unmarshal([]byte(b["data"]), &data); err != nil {
				t.Fatal(err)
			}
			requested := strings.ToValidUTF8(test.requested, "\uFFFD")
			want := map[string]string{"requested": requested, "first": epoch + "-3", "reason": test.reason}
			if !maps.Equal(data, want) {
				t.Errorf("data %v, want %v", data, want)
			}
			c.wantData("3", "4")
			// Resuming from the id of the gap event leads to the same events, without a second gap.
			again := opened(t, url, "Last-Event-ID", b["id"])
			if got := again.response.Header.Get("Event-Gap"); got != "" {
				t.Errorf("resuming from the gap's id caused the gap %q", got)
			}
			again.wantData("3", "4")
		})
	}
	if got := broker.Stats().Gaps; got != int64(len(tests)) {
		t.Errorf("%d gaps counted, want %d", got, len(tests))
	}
}

func TestHead(t *testing.T) {
	broker := &server.Broker{}
	publish(t, broker, "t", "1")
	recorder := httptest.NewRecorder()
	request := httptest.NewRequest(http.MethodHead, "/?lastEventId=x", nil)
	(&server.Handler{Broker: broker}).ServeHTTP(recorder, request)
	if recorder.Code != http.StatusOK || recorder.Body.Len() > 0 {
		t.Errorf("status %d, body %q", recorder.Code, recorder.Body)
	}
	header := recorder.Header()
	if header.Get("Content-Type") != sse.ContentType || header.Get("Event-Gap") != "malformed" {
		t.Errorf("headers %v", header)
	}
	if stats := broker.Stats(); stats.Connections != 0 || stats.Gaps != 0 {
		t.Errorf("HEAD counts as a stream: %+v", stats)
	}
}

func TestClose(t *testing.T) { onEachPath(t, testClose) }

func testClose(t *testing.T, noHijack bool) {
	broker := &server.Broker{}
	s := httptest.NewServer(&server.Handler{Broker: broker, NoHijack: noHijack, OpenPublish: true})
	defer s.Close()
	s.Config.RegisterOnShutdown(broker.Close)
	c := opened(t, s.URL)
	c.next()
	publish(t, broker, "t", "1", "2")
	if err := s.Config.Shutdown(context.Background()); err != nil {
		t.Fatal(err)
	}
	c.wantData("1", "2")
	c.wantEnd()
	if _, err := broker.Publish(t.Context(), "t", sse.Event{}); err != server.ErrClosed {
		t.Errorf("publish: %v", err)
	}
}

func TestClosedBrokerRefuses(t *testing.T) {
	broker := &server.Broker{}
	broker.Close()
	url := start(t, &server.Handler{Broker: broker, OpenPublish: true})
	c := open(t, url)
	if c.response.StatusCode != http.StatusServiceUnavailable || c.response.Header.Get("Retry-After") != "5" {
		t.Errorf("GET: status %d, headers %v", c.response.StatusCode, c.response.Header)
	}
	if answer := do(&server.Handler{Broker: broker}, http.MethodHead, "/"); answer.Code != c.response.StatusCode {
		t.Errorf("HEAD: status %d", answer.Code)
	}
	response, err := http.Post(url, "application/x-www-form-urlencoded", strings.NewReader("topic=t"))
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if response.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("POST: status %d", response.StatusCode)
	}
}

func TestDisconnectAll(t *testing.T) { onEachPath(t, testDisconnectAll) }

func testDisconnectAll(t *testing.T, noHijack bool) {
	broker := &server.Broker{}
	url := start(t, &server.Handler{Broker: broker, NoHijack: noHijack})
	a, b := opened(t, url), opened(t, url)
	id := a.next()["id"]
	b.next()
	broker.DisconnectAll()
	for _, c := range []*client{a, b} {
		if _, err := c.read(); err != io.ErrUnexpectedEOF {
			t.Errorf("read: %v, want a broken transfer", err)
		}
	}
	publish(t, broker, "t", "while away")
	opened(t, url, "Last-Event-ID", id).wantData("while away")
}

func TestHTTP2(t *testing.T) {
	broker := &server.Broker{}
	s := httptest.NewUnstartedServer(&server.Handler{Broker: broker})
	s.EnableHTTP2 = true
	s.StartTLS()
	defer s.Close()
	transport := &http.Transport{
		ForceAttemptHTTP2: true,
		TLSClientConfig:   &tls.Config{RootCAs: s.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs},
	}
	defer transport.CloseIdleConnections()
	stream := func(lastEventID string) *client {
		request := httptest.NewRequest(http.MethodGet, s.URL, nil)
		request.Header.Set("Last-Event-ID", lastEventID)
		response, err := transport.RoundTrip(request)
		if err != nil {
			t.Fatal(err)
		}
		if response.ProtoMajor != 2 {
			t.Fatalf("protocol %s", response.Proto)
		}
		return newClient(t, response)
	}
	c := stream("")
	id := c.next()["id"]
	publish(t, broker, "t", "1", "2")
	c.wantData("1", "2")
	broker.DisconnectAll()
	if b, err := c.read(); err == nil || err == io.EOF {
		t.Fatalf("got %v and %v from a broken stream", b, err)
	}
	c = stream(id)
	c.wantData("1", "2")
	broker.Close()
	c.wantEnd()
}

func TestMaxConnections(t *testing.T) { onEachPath(t, testMaxConnections) }

func testMaxConnections(t *testing.T, noHijack bool) {
	broker := &server.Broker{MaxConnections: 1}
	h := &server.Handler{Broker: broker, NoHijack: noHijack}
	url := start(t, h)
	first := opened(t, url)
	if got := broker.Stats().Connections; got != 1 {
		t.Errorf("%d connections, want 1", got)
	}
	second := open(t, url)
	if second.response.StatusCode != http.StatusServiceUnavailable || second.response.Header.Get("Retry-After") == "" {
		t.Errorf("status %d, headers %v", second.response.StatusCode, second.response.Header)
	}
	first.cancel()
	wantConnections(t, broker, 0)
	opened(t, url)
}

// hiding is a middleware's writer without Unwrap.
type hiding struct{ http.ResponseWriter }

type hidingDeadlines struct{ hiding }

func (w hidingDeadlines) Flush() { w.ResponseWriter.(http.Flusher).Flush() }

// A writer must only support flushing. If it does not support deadlines, that is logged once.
func TestMiddlewareThatHidesDeadlines(t *testing.T) {
	var log syncBuffer
	broker := &server.Broker{}
	h := &server.Handler{Broker: broker, Logger: slog.New(slog.NewTextHandler(&log, nil))}
	url := start(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.ServeHTTP(hidingDeadlines{hiding{w}}, r)
	}))
	for range 2 {
		c := opened(t, url)
		c.next()
		publish(t, broker, "t", "event")
		c.wantData("event")
	}
	if text := log.String(); strings.Count(text, "does not support deadlines") != 1 || !strings.Contains(text, "hidingDeadlines") {
		t.Errorf("log %q", text)
	}
}

// A writer that cannot flush cannot stream. The response names its type and the missing method.
func TestMiddlewareThatHidesFlush(t *testing.T) {
	var log bytes.Buffer
	broker := &server.Broker{}
	h := &server.Handler{Broker: broker, Logger: slog.New(slog.NewTextHandler(&log, nil))}
	recorder := httptest.NewRecorder()
	h.ServeHTTP(hiding{recorder}, httptest.NewRequest(http.MethodGet, "/?topic=private", nil))
	if recorder.Code != http.StatusInternalServerError {
		t.Errorf("status %d", recorder.Code)
	}
	for name, text := range map[string]string{"answer": recorder.Body.String(), "log": log.String()} {
		if !strings.Contains(text, "server_test.hiding has neither Flush nor Unwrap") || strings.Contains(text, "private") {
			t.Errorf("the %s is %q", name, text)
		}
	}
	if recorder.Header().Get("Content-Type") != "application/json" {
		t.Errorf("headers %v", recorder.Header())
	}
	if got := broker.Stats().Connections; got != 0 {
		t.Errorf("%d connections", got)
	}
}

// A recorder supports neither deadlines nor hijacking.
func TestRecorder(t *testing.T) {
	broker := &server.Broker{}
	h := &server.Handler{Broker: broker, Logger: quiet}
	recorder := httptest.NewRecorder()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		h.ServeHTTP(recorder, httptest.NewRequest(http.MethodGet, "/", nil).WithContext(ctx))
	}()
	wantConnections(t, broker, 1)
	publish(t, broker, "t", "event")
	eventually(t, "the event is delivered", func() bool { return broker.Stats().Delivered == 1 })
	cancel()
	<-done
	if body := recorder.Body.String(); recorder.Code != http.StatusOK || !strings.Contains(body, "data: event\n\n") {
		t.Errorf("status %d, body %q", recorder.Code, body)
	}
}

// A syncBuffer is a log that several goroutines write to.
type syncBuffer struct {
	mu     sync.Mutex
	buffer bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buffer.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buffer.String()
}

func TestStats(t *testing.T) { onEachPath(t, testStats) }

func testStats(t *testing.T, noHijack bool) {
	broker := &server.Broker{MaxEvents: 2}
	url := start(t, &server.Handler{Broker: broker, NoHijack: noHijack})
	a, b := opened(t, url+"?topic=a"), opened(t, url)
	a.next()
	b.next()
	for i, topic := range []string{"a", "b", "a"} {
		publish(t, broker, topic, strconv.Itoa(i))
		b.wantData(strconv.Itoa(i)) // before retention overtakes it
		if topic == "a" {
			a.wantData(strconv.Itoa(i)) // as well
		}
	}
	broker.Close()
	a.wantEnd()
	b.wantEnd()
	got := broker.Stats()
	observed := uint64(0)
	for _, count := range got.Latency.Counts {
		observed += count
	}
	if observed != 5 || got.Latency.Sum <= 0 || got.Written < 5*20 {
		t.Errorf("%d writes observed, %d bytes written: %+v", observed, got.Written, got)
	}
	got.Written, got.Latency = 0, server.Latency{}
	got.Connections, got.Detached, got.Filters = 0, 0, 0 // the streams may be about to leave
	want := server.Stats{Published: 3, Delivered: 5, Events: 2, Bytes: 2 * int64(len("id: 12345678-1\ndata: 1\n\n")), Topics: got.Topics}
	if got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}
