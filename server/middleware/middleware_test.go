// Package middleware_test serves event streams through common middlewares and routers. It is a separate module, so that the main
// module does not depend on theirs.
package middleware_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/eventsource-wasm/eventsource-wasm/server"
	"github.com/eventsource-wasm/eventsource-wasm/sse"
)

// patience limits every wait. A passing test is far faster.
const patience = 5 * time.Minute

// A stack is a handler behind middlewares and its server.
type stack struct {
	broker   *server.Broker
	handler  http.Handler // without the middlewares
	url      string
	protocol string
	log      *lines // the http.Server's
	messages *lines // the handler's
	client   *http.Client
}

// serve starts an http.Server for the handler of a new broker, wrapped by wrap.
func serve(t *testing.T, protocol string, wrap func(http.Handler) http.Handler) *stack {
	t.Helper()
	s := &stack{broker: &server.Broker{}, protocol: protocol, log: &lines{}, messages: &lines{}}
	events := &server.Handler{Broker: s.broker, Logger: slog.New(slog.NewTextHandler(s.messages, nil))}
	s.handler = events
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.url = "http://" + listener.Addr().String() + "/events"
	protocols := &http.Protocols{}
	protocols.SetHTTP1(protocol == "HTTP/1.1")
	protocols.SetUnencryptedHTTP2(protocol == "HTTP/2.0")
	web := &http.Server{Handler: wrap(events), Protocols: protocols, ErrorLog: log.New(s.log, "", 0)}
	transport := &http.Transport{Protocols: protocols, DisableCompression: true}
	s.client = &http.Client{Transport: transport}
	served := make(chan error, 1)
	go func() { served <- web.Serve(listener) }()
	t.Cleanup(func() {
		s.broker.Close()
		transport.CloseIdleConnections()
		if err := web.Close(); err != nil {
			t.Error(err)
		}
		if err := <-served; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
	return s
}

// get requests the events, and accepts the encoding unless it is empty.
func (s *stack) get(t *testing.T, encoding string) *response {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if encoding != "" {
		request.Header.Set("Accept-Encoding", encoding)
	}
	answer, err := s.client.Do(request)
	if err != nil {
		t.Fatalf("no response: %v; the broker has %d streams", err, s.broker.Stats().Connections)
	}
	t.Cleanup(func() { answer.Body.Close() })
	if answer.Proto != s.protocol {
		t.Fatalf("protocol %s, want %s", answer.Proto, s.protocol)
	}
	r := &response{Response: answer, leave: cancel}
	r.raw = &counter{reader: answer.Body}
	r.body = r.raw
	switch coding := answer.Header.Get("Content-Encoding"); coding {
	case "":
	case "gzip":
		if r.body, err = gzip.NewReader(r.raw); err != nil {
			t.Fatalf("Content-Encoding is gzip, but the body is not: %v", err)
		}
	default:
		t.Fatalf("the body is in %q, which the client did not accept", coding)
	}
	return r
}

// A response is a stream, as its client sees it.
type response struct {
	*http.Response
	body   io.Reader // decoded
	raw    *counter
	leave  context.CancelFunc
	parser sse.Parser
	chunk  [4096]byte
}

// next returns the data of the next event. It ends with the stream.
func (r *response) next() (string, error) {
	for {
		if r.parser.Next() {
			return string(r.parser.Data()), nil
		}
		if err := r.parser.Err(); err != nil {
			return "", err
		}
		n, err := r.body.Read(r.chunk[:])
		r.parser.Feed(r.chunk[:n])
		if n == 0 && err != nil {
			return "", err
		}
	}
}

// wantStream checks the head of a response that streams.
func (r *response) wantStream(t *testing.T, encoding string) {
	t.Helper()
	if r.StatusCode != http.StatusOK {
		body, _ := io.ReadAll(r.body)
		t.Fatalf("the response is %d: %s", r.StatusCode, body)
	}
	if got := r.Header.Get("Content-Type"); got != sse.ContentType {
		t.Errorf("Content-Type is %q", got)
	}
	if got := r.Header.Get("Content-Encoding"); got != encoding {
		t.Errorf("Content-Encoding is %q, want %q", got, encoding)
	}
}

// wantLive publishes an event and checks that it arrives at once, complete and unchanged.
func (s *stack) wantLive(t *testing.T, readers ...*response) {
	t.Helper()
	eventually(t, "the streams have begun", func() bool { return s.broker.Stats().Connections == int64(len(readers)) })
	want := rand.Text() + strings.Repeat(" and what compresses well", 20)
	s.publish(t, want)
	for _, r := range readers {
		if got, err := r.next(); err != nil || got != want {
			t.Fatalf("the client received %.60q, %v; want the published event", got, err)
		}
	}
}

func (s *stack) publish(t *testing.T, data string) {
	t.Helper()
	if _, err := s.broker.Publish(t.Context(), "news", sse.Event{Data: data}); err != nil {
		t.Fatal(err)
	}
}

// wantRefusal checks a response that refuses a stream and says what to do.
func (r *response) wantRefusal(t *testing.T, typeName string) {
	t.Helper()
	body, err := io.ReadAll(io.LimitReader(r.body, 1<<20))
	if err != nil {
		t.Fatalf("the response is %d %.200q, and then: %v", r.StatusCode, body, err)
	}
	if r.StatusCode != http.StatusInternalServerError {
		t.Fatalf("the response is %d: %.200s", r.StatusCode, body)
	}
	var failure struct{ Error string }
	if err := json.Unmarshal(body, &failure); err != nil {
		t.Fatalf("the response is %q: %v", body, err)
	}
	for _, want := range []string{typeName, "Unwrap() http.ResponseWriter"} {
		if !strings.Contains(failure.Error, want) {
			t.Errorf("the error %q does not contain %q", failure.Error, want)
		}
	}
}

// wantQuiet checks that net/http logged no error, such as a superfluous WriteHeader.
func (s *stack) wantQuiet(t *testing.T) {
	t.Helper()
	if got := s.log.String(); got != "" {
		t.Errorf("the http.Server logged:\n%s", got)
	}
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); <-time.After(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("timed out after %v: %s", patience, what)
		}
	}
}

// lines is a log.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// A counter counts the bytes read through it.
type counter struct {
	reader io.Reader
	n      int64
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.reader.Read(p)
	c.n += int64(n)
	return n, err
}

// record serves the events to a recorder until the broker is closed, like a unit test of a handler.
func record(t *testing.T, events http.Handler, header http.Header) (recorder *httptest.ResponseRecorder, done <-chan struct{}) {
	t.Helper()
	request := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/events", nil)
	request.Header = header
	recorder = httptest.NewRecorder()
	finished := make(chan struct{})
	go func() {
		defer close(finished)
		events.ServeHTTP(recorder, request)
	}()
	return recorder, finished
}

func typeOf(v any) string { return fmt.Sprintf("%T", v) }
