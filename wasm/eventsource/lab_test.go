//go:build !js

package eventsource_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/eventsource-wasm/eventsource-wasm/wasm/eventsource"
)

const (
	stream = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
	there  = "http://a.example/events"
)

// A lab is a network in memory, in a synctest bubble: the test answers for every host that a client dials, with the bytes it
// chooses. The end of the bubble proves that no goroutine is left.
type lab struct {
	*testing.T
	requests chan *exchange
	source   *eventsource.Source
	reading  context.Context // ends by cancel
	cancel   context.CancelFunc
	begun    time.Time

	mu    sync.Mutex
	trace []string // what the source has reported
}

// An exchange is one request on its own connection.
type exchange struct {
	*http.Request
	content string
	conn    net.Conn
	closed  chan struct{} // closed when the client closes the connection
}

// inLab runs the test in a bubble.
func inLab(t *testing.T, test func(l *lab)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		l := &lab{T: t, requests: make(chan *exchange, 16), begun: time.Now()}
		test(l)
		if l.cancel != nil {
			l.cancel()
		}
		synctest.Wait()
		if len(l.requests) > 0 {
			t.Errorf("unexpected request for %s", (<-l.requests).URL)
		}
	})
}

func (l *lab) client() *http.Client {
	transport := &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) {
		client, server := net.Pipe()
		go l.serve(server)
		return client, nil
	}}
	l.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

func (l *lab) serve(conn net.Conn) {
	reader := bufio.NewReader(conn)
	sent, err := http.ReadRequest(reader)
	if err != nil {
		l.Errorf("reading a request: %v", err)
		return
	}
	content, err := io.ReadAll(sent.Body)
	if err != nil {
		l.Errorf("reading a request's body: %v", err)
	}
	x := &exchange{sent, string(content), conn, make(chan struct{})}
	l.requests <- x
	io.Copy(io.Discard, reader)
	conn.Close()
	close(x.closed)
}

// open opens a source of the URL there, and reads it until it ends. It notes everything that the source reports.
func (l *lab) open(options eventsource.Options) {
	l.Helper()
	l.openURL(there, options)
	go func() {
		for event, err := range l.source.Events(l.reading) {
			if err != nil {
				l.note("end: %v", err)
			} else {
				l.note("%s %q %s", event.Type, event.Data, event.LastEventID)
			}
		}
		l.note("over")
	}()
}

func (l *lab) openURL(url string, options eventsource.Options) {
	l.Helper()
	if options.Transport.Client == nil {
		options.Transport.Client = l.client()
	}
	options.OnOpen = func(r eventsource.Response) {
		l.note("open %d %s attempt %d resumed %t", r.Status, r.URL, r.Attempt, r.Resumed)
	}
	options.OnError = func(e *eventsource.Error) {
		if e.WillRetry {
			l.note("error %s, retry in %s", string(e.Reason), e.RetryIn)
		} else {
			l.note("error %s", string(e.Reason))
		}
	}
	ctx, cancel := context.WithCancel(l.Context())
	source, err := eventsource.New(url, options)
	if err != nil {
		l.Fatal(err)
	}
	l.source, l.reading, l.cancel = source, ctx, cancel
}

// read reads the source to its end and returns its error.
func (l *lab) read() error { return readAll(l.reading, l.source) }

func readAll(ctx context.Context, source *eventsource.Source) error {
	for _, err := range source.Events(ctx) {
		if err != nil {
			return err
		}
	}
	return nil
}

func (l *lab) note(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.trace = append(l.trace, fmt.Sprintf(format, args...))
}

// reports waits until all goroutines are blocked, and returns what the source has reported since the last call.
func (l *lab) reports() (trace []string) {
	synctest.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	trace, l.trace = l.trace, nil
	return trace
}

func (l *lab) want(want ...string) {
	l.Helper()
	if got := l.reports(); !slices.Equal(got, want) {
		l.Errorf("reported\n\t%s\nwant\n\t%s", strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
	}
}

// next waits for the next request.
func (l *lab) next() *exchange {
	l.Helper()
	select {
	case x := <-l.requests:
		return x
	case <-time.After(100 * 24 * time.Hour):
		l.Fatalf("no request; reported: %q", l.reports())
		return nil
	}
}

// nextAfter waits for a request that must come after exactly this delay.
func (l *lab) nextAfter(delay time.Duration) *exchange {
	l.Helper()
	begun := time.Now()
	x := l.next()
	if waited := time.Since(begun); waited != delay {
		l.Errorf("the request came after %s, want %s", waited, delay)
	}
	return x
}

// write sends the parts, unless the client has closed the connection.
func (x *exchange) write(parts ...string) *exchange {
	for _, part := range parts {
		if _, err := io.WriteString(x.conn, part); errors.Is(err, io.ErrClosedPipe) {
			break
		}
	}
	return x
}

// end ends the response and the connection.
func (x *exchange) end() { x.conn.Close() }

// wantClosed checks that the client closes the connection at once.
func (l *lab) wantClosed(x *exchange) {
	l.Helper()
	synctest.Wait()
	select {
	case <-x.closed:
	default:
		l.Error("the connection is open")
	}
}

func (l *lab) wantHeader(x *exchange, name string, want ...string) {
	l.Helper()
	if got := x.Header[name]; !slices.Equal(got, want) {
		l.Errorf("%s: %q, want %q", name, got, want)
	}
}
