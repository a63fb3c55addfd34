package server_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/eventsource-wasm/eventsource-wasm/server"
	"github.com/eventsource-wasm/eventsource-wasm/sse"
)

// canDetach reports whether this system supports detached streams.
const canDetach = runtime.GOOS == "linux"

// A socket is a client with a raw connection, which the test controls.
type socket struct {
	*client
	conn net.Conn
}

// tight dials connections with small buffers, where the system supports that.
var tight net.Dialer

// connect sends a GET over such a connection.
func connect(t testing.TB, url string, more ...string) *socket {
	t.Helper()
	conn, err := tight.Dial("tcp", strings.TrimPrefix(url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return request(t, conn, more...)
}

func request(t testing.TB, conn net.Conn, more ...string) *socket {
	t.Helper()
	if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: test\r\n\r\n"+strings.Join(more, "")); err != nil {
		t.Fatal(err)
	}
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	return &socket{&client{t: t, response: response, reader: bufio.NewReader(response.Body)}, conn}
}

func TestDetachedStreamsHaveNoGoroutine(t *testing.T) {
	onEachPath(t, func(t *testing.T, noHijack bool) {
		const clients = 100
		broker := &server.Broker{}
		url := start(t, &server.Handler{Broker: broker, NoHijack: noHijack})
		before, files := runtime.NumGoroutine(), openFiles()
		var all []*socket
		for range clients {
			s := connect(t, url)
			s.next()
			all = append(all, s)
		}
		wantConnections(t, broker, clients)
		want := map[bool]int64{true: clients}[canDetach && !noHijack]
		eventually(t, fmt.Sprintf("%d detached", want), func() bool { return broker.Stats().Detached == want })
		if canDetach && !noHijack {
			eventually(t, "the requests' goroutines have ended", func() bool {
				return runtime.NumGoroutine()-before <= 2*runtime.GOMAXPROCS(0)
			})
		}
		publish(t, broker, "t", "event")
		for _, s := range all {
			s.wantData("event")
			s.conn.Close()
		}
		wantConnections(t, broker, 0)
		eventually(t, "goroutines and files are as before", func() bool {
			return runtime.NumGoroutine() <= before && openFiles() <= files
		})
	})
}

func openFiles() int {
	files, _ := os.ReadDir("/proc/self/fd")
	return len(files)
}

// Whatever a client does to its side of the connection ends only its own stream.
func TestClientDisconnects(t *testing.T) {
	tests := map[string]struct {
		leave func(*net.TCPConn)
		clean bool // the client can still read the end of its stream
	}{
		"closes":      {func(c *net.TCPConn) { c.Close() }, false},
		"resets":      {func(c *net.TCPConn) { c.SetLinger(0); c.Close() }, false},
		"half-closes": {func(c *net.TCPConn) { c.CloseWrite() }, true},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			onEachPath(t, func(t *testing.T, noHijack bool) {
				broker := &server.Broker{}
				url := start(t, &server.Handler{Broker: broker, NoHijack: noHijack, Logger: quiet})
				goes, stays := connect(t, url), connect(t, url)
				goes.next()
				stays.next()
				test.leave(goes.conn.(*net.TCPConn))
				wantConnections(t, broker, 1)
				publish(t, broker, "t", "event")
				stays.wantData("event")
				if test.clean {
					goes.wantEnd()
				}
			})
		})
	}
}

// A client that sends more data, such as another request, gets no response to it. Its connection is not reset before it
// has received the end of its stream.
func TestDataAfterRequest(t *testing.T) {
	broker := &server.Broker{}
	url := start(t, &server.Handler{Broker: broker, Logger: quiet})
	early := connect(t, url, "GET /second HTTP/1.1\r\nHost: test\r\n\r\n", strings.Repeat("x", 10_000))
	late := connect(t, url)
	for _, s := range []*socket{early, late} {
		s.next()
	}
	io.WriteString(late.conn, strings.Repeat("y", 100_000))
	publish(t, broker, "t", "1")
	early.wantData("1")
	late.wantData("1")
	if !early.response.Close && canDetach {
		t.Error("the head does not say that the connection will close")
	}
	broker.Close()
	for _, s := range []*socket{early, late} {
		s.wantEnd()
		if _, err := s.conn.Read(make([]byte, 1)); canDetach && err != io.EOF {
			t.Errorf("after the end: %v", err)
		}
	}
}

// The timeouts of the http.Server are shorter than the silence, and must not end streams. A client whose topics are
// silent gets its current id once.
func TestHeartbeats(t *testing.T) {
	onEachPath(t, func(t *testing.T, noHijack bool) {
		broker := &server.Broker{}
		h := &server.Handler{Broker: broker, NoHijack: noHijack, Heartbeat: 200 * time.Millisecond}
		s := httptest.NewUnstartedServer(h)
		s.Config.ReadTimeout, s.Config.WriteTimeout = 500*time.Millisecond, 500*time.Millisecond
		s.Start()
		t.Cleanup(s.Close)
		t.Cleanup(broker.Close)
		c := opened(t, s.URL+"?topic=quiet")
		epoch := epochOf(c.next()["id"])
		if _, err := broker.PublishAll(t.Context(), server.Publication{Topic: "other"}, server.Publication{Topic: "other"}); err != nil {
			t.Fatal(err)
		}
		// The comment, if a heartbeat came before the events, is in the same block.
		if b := c.next(); b["id"] != epoch+"-2" || b["data"] != "" {
			t.Errorf("got %v", b)
		}
		for range 3 {
			if line, err := c.reader.ReadString('\n'); line != ": \n" || err != nil {
				t.Fatalf("read %q, %v", line, err)
			}
		}
		publish(t, broker, "quiet", "event")
		if b := c.next(); b["id"] != epoch+"-3" || b["data"] != "event" {
			t.Errorf("got %v", b)
		}
	})
}

func TestMaxStreamAge(t *testing.T) {
	const short = 20 * time.Millisecond
	tests := map[string]func(*server.Handler) http.Handler{
		"grant": func(h *server.Handler) http.Handler {
			h.Authorize = func(*http.Request, server.Access) (server.Grant, error) {
				return server.Grant{Expires: time.Now().Add(short)}, nil
			}
			return h
		},
		"age": func(h *server.Handler) http.Handler {
			h.MaxStreamAge = short
			return h
		},
		"deadline of the request": func(h *server.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				ctx, cancel := context.WithTimeout(r.Context(), short)
				defer cancel()
				h.ServeHTTP(w, r.WithContext(ctx))
			})
		},
	}
	for name, wrap := range tests {
		t.Run(name, func(t *testing.T) {
			onEachPath(t, func(t *testing.T, noHijack bool) {
				broker := &server.Broker{}
				c := opened(t, start(t, wrap(&server.Handler{Broker: broker, NoHijack: noHijack})))
				c.next()
				c.wantEnd()
				wantConnections(t, broker, 0)
			})
		})
	}
}

func TestDrain(t *testing.T) {
	onEachPath(t, func(t *testing.T, noHijack bool) {
		const clients = 20
		broker := &server.Broker{}
		url := start(t, &server.Handler{Broker: broker, NoHijack: noHijack, Retry: time.Second})
		var all []*client
		for range clients {
			c := opened(t, url)
			c.next()
			all = append(all, c)
		}
		// While a client is left, Drain returns when its context is done. New streams are refused from the start.
		ctx, cancel := context.WithCancelCause(t.Context())
		reason := errors.New("enough")
		cancel(reason)
		if err := broker.Drain(ctx, time.Hour); err != reason {
			t.Errorf("drain: %v", err)
		}
		if c := open(t, url); c.response.StatusCode != http.StatusServiceUnavailable || c.response.Header.Get("Retry-After") == "" {
			t.Errorf("status %d, headers %v", c.response.StatusCode, c.response.Header)
		}
		publish(t, broker, "t", "meanwhile")
		for _, c := range all {
			c.wantData("meanwhile")
		}
		if err := broker.Drain(t.Context(), 50*time.Millisecond); err != nil {
			t.Fatal(err)
		}
		retries := map[string]bool{}
		for _, c := range all {
			retry := c.next()["retry"]
			if len(retry) != 4 || retry[0] != '1' {
				t.Errorf("retry %q is not between one and two seconds", retry)
			}
			retries[retry] = true
			c.wantEnd()
		}
		if len(retries) < 2 {
			t.Errorf("all clients got the same retry times: %v", retries)
		}
		if err := broker.Drain(t.Context(), time.Hour); err != nil {
			t.Errorf("without streams: %v", err)
		}
	})
}

// http.Server.Shutdown does not wait for detached streams. Drain does. After Close, Drain lets all streams finish, even
// those that are many segments behind.
func TestShutdown(t *testing.T) {
	onEachPath(t, func(t *testing.T, noHijack bool) {
		const events = 100
		broker := &server.Broker{}
		h := &server.Handler{Broker: broker, NoHijack: noHijack, MaxLag: -1, WriteTimeout: -1, Heartbeat: -1, Logger: quiet}
		s := httptest.NewServer(h)
		defer s.Close()
		c := opened(t, s.URL)
		c.next()
		data := strings.Repeat("x", 100_000)
		for range events {
			publish(t, broker, "t", data)
		}
		broker.Close()
		ended := make(chan error, 1)
		go func() {
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			ended <- errors.Join(broker.Drain(ctx, 0), s.Config.Shutdown(ctx))
		}()
		for range events {
			c.wantData(data)
		}
		if err := <-ended; err != nil {
			t.Fatal(err)
		}
		c.wantEnd()
		wantConnections(t, broker, 0)
	})
}

func TestGapFromHead(t *testing.T) {
	onEachPath(t, func(t *testing.T, noHijack bool) {
		broker := &server.Broker{}
		url := start(t, &server.Handler{Broker: broker, NoHijack: noHijack, GapPolicy: server.FromHead})
		epoch := epochOf(publish(t, broker, "t", "1", "2"))
		c := opened(t, url, "Last-Event-ID", "other-1")
		want := block{"": "", "event": "gap", "id": epoch + "-2",
			"data": `{"requested":"other-1","first":"` + epoch + `-3","reason":"epoch"}`}
		if got := c.next(); !maps.Equal(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
		publish(t, broker, "t", "3")
		c.wantData("3")
	})
}

func TestReplayIsCounted(t *testing.T) {
	onEachPath(t, func(t *testing.T, noHijack bool) {
		broker := &server.Broker{}
		url := start(t, &server.Handler{Broker: broker, NoHijack: noHijack})
		id := publish(t, broker, "t", "1", "2", "3")
		c := opened(t, url, "Last-Event-ID", epochOf(id)+"-1")
		c.wantData("2", "3")
		publish(t, broker, "t", "4")
		c.wantData("4")
		eventually(t, "2 of 3 events are counted as replayed", func() bool {
			stats := broker.Stats()
			return stats.Replayed == 2 && stats.Delivered == 3
		})
	})
}

// A wrapping listener returns wrapped connections.
type wrapping struct{ net.Listener }

type wrapped struct{ net.Conn }

func (l wrapping) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &wrapped{conn}, nil
}

func TestOtherConnectionTypes(t *testing.T) {
	tests := map[string]func(t *testing.T, l net.Listener) (net.Listener, int64){
		"wrapped": func(_ *testing.T, l net.Listener) (net.Listener, int64) { return wrapping{l}, 0 },
		"unix": func(t *testing.T, l net.Listener) (net.Listener, int64) {
			l.Close()
			socket, err := net.Listen("unix", filepath.Join(t.TempDir(), "socket"))
			if err != nil {
				t.Fatal(err)
			}
			return socket, map[bool]int64{true: 1}[canDetach]
		},
	}
	for name, listen := range tests {
		t.Run(name, func(t *testing.T) {
			broker := &server.Broker{}
			s := httptest.NewUnstartedServer(&server.Handler{Broker: broker, Logger: quiet})
			var detached int64
			s.Listener, detached = listen(t, s.Listener)
			s.Start()
			t.Cleanup(s.Close)
			stream := func() *socket {
				conn, err := net.Dial(s.Listener.Addr().Network(), s.Listener.Addr().String())
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { conn.Close() })
				c := request(t, conn, "more")
				c.next()
				return c
			}
			c := stream()
			publish(t, broker, "t", "1")
			c.wantData("1")
			if got := broker.Stats().Detached; got != detached {
				t.Errorf("%d streams are detached", got)
			}
			broker.DisconnectAll()
			if _, err := c.read(); err == nil || err == io.EOF {
				t.Errorf("read %v from a broken stream", err)
			}
			wantConnections(t, broker, 0)
			c = stream()
			c.conn.Close()
			wantConnections(t, broker, 0)
			c = stream()
			broker.Close()
			c.wantEnd()
			wantConnections(t, broker, 0)
		})
	}
}

// unwrapping is a middleware's writer that sees what is written and has Unwrap.
type unwrapping struct {
	http.ResponseWriter
	seen *bytes.Buffer
}

func (w unwrapping) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w unwrapping) Write(p []byte) (int, error) {
	w.seen.Write(p)
	return w.ResponseWriter.Write(p)
}

func TestMiddlewareThatSeesWrites(t *testing.T) {
	var seen bytes.Buffer
	broker := &server.Broker{}
	h := &server.Handler{Broker: broker}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.ServeHTTP(unwrapping{w, &seen}, r)
	}))
	c := opened(t, s.URL)
	c.next()
	publish(t, broker, "t", "event")
	c.wantData("event")
	broker.Close()
	c.wantEnd()
	s.Close()
	if !strings.Contains(seen.String(), "data: event") {
		t.Errorf("the middleware saw %q", seen.String())
	}
}

// Many clients connect while publishers race, and the broker closes meanwhile. Every client gets all events published
// before that, and a clean end.
func TestCloseUnderLoad(t *testing.T) {
	onEachPath(t, func(t *testing.T, noHijack bool) {
		const clients, atLeast = 50, 200
		broker := &server.Broker{MaxEvents: -1}
		url := start(t, &server.Handler{Broker: broker, NoHijack: noHijack, MaxLag: -1, Logger: quiet})
		var tasks sync.WaitGroup
		first := connect(t, url).client
		pace, closed := make(chan bool, 20), make(chan bool) // of the first client, which is as slow as any
		for range 2 {
			tasks.Go(func() {
				for {
					select {
					case pace <- true:
					case <-closed:
					}
					if _, err := broker.Publish(t.Context(), "t", sse.Event{Data: "event"}); err != nil {
						return
					}
				}
			})
		}
		last := make([]int, clients)
		var reached sync.WaitGroup
		reached.Add(clients)
		for i := range clients {
			c, heard := first, func() { <-pace }
			if i > 0 {
				c, heard = connect(t, url).client, func() {}
			}
			tasks.Go(func() { last[i] = readOn(t, c, atLeast, &reached, heard) })
		}
		reached.Wait()
		broker.Close()
		close(closed)
		tasks.Wait()
		for i, n := range last {
			if want := int(broker.Stats().Published); n != want {
				t.Errorf("client %d got up to event %d of %d", i, n, want)
			}
		}
	})
}

// readOn reads to the end of the stream, and returns the number of the last event.
func readOn(t *testing.T, c *client, atLeast int, reached *sync.WaitGroup, heard func()) (last int) {
	for count := 0; ; count++ {
		if count == atLeast {
			reached.Done()
		}
		b, err := c.read()
		if err != nil {
			if err != io.EOF {
				t.Errorf("after event %d: %v", last, err)
			}
			return last
		}
		if n := number(b["id"]); last > 0 && n != last+1 {
			t.Errorf("event %d follows %d", n, last)
		}
		last = number(b["id"])
		if _, isEvent := b["data"]; isEvent {
			heard()
		}
	}
}

// Line ends in fields of an event cannot inject other fields.
func TestFieldsCannotInject(t *testing.T) {
	onEachPath(t, func(t *testing.T, noHijack bool) {
		broker := &server.Broker{}
		c := opened(t, start(t, &server.Handler{Broker: broker, NoHijack: noHijack}))
		c.next()
		for _, bad := range []sse.Event{{ID: "x\ny"}, {Type: "x\ndata: y"}, {Type: "x\r\n\r\n"}} {
			if id, err := broker.Publish(t.Context(), "t", bad); err == nil {
				t.Errorf("%+v was published as %s", bad, id)
			}
		}
		data := "a\n\nid: 1\r\nevent: b\r0\r\n\r\nHTTP/1.1 200 OK"
		id := publish(t, broker, "t", data)
		want := block{"id": id, "data": strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(data)}
		if got := c.next(); !maps.Equal(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
	})
}
