package server_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/eventsource-wasm/eventsource-wasm/server"
	"github.com/eventsource-wasm/eventsource-wasm/sse"
)

// TestMain fails if a goroutine of this package outlives the tests: every server waits for its requests, and broadcasters
// end after their last client has left.
func TestMain(m *testing.M) {
	code := m.Run()
	var leaked [][]byte
	for deadline := time.Now().Add(patience); ; <-time.After(time.Millisecond) {
		if leaked = goroutines(); len(leaked) == 0 || time.Now().After(deadline) {
			break
		}
	}
	for _, stack := range leaked {
		fmt.Fprintf(os.Stderr, "goroutine leaked:\n%s\n", stack)
		code = 1
	}
	os.Exit(code)
}

// goroutines returns the stacks of this package's goroutines, except for the caller's.
func goroutines() (stacks [][]byte) {
	all := make([]byte, 1<<20)
	all = all[:runtime.Stack(all, true)]
	for _, stack := range bytes.Split(all, []byte("\n\n"))[1:] {
		if bytes.Contains(stack, []byte("eventsource-wasm/server.")) {
			stacks = append(stacks, stack)
		}
	}
	return stacks
}

var quiet = slog.New(slog.DiscardHandler)

// patience ends tests that hang. It is generous because a busy machine can be a hundred times slower.
const patience = 5 * time.Minute

// eventually waits until ok is true.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); <-time.After(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("timed out after %v: %s", patience, what)
		}
	}
}

func wantConnections(t testing.TB, b *server.Broker, want int64) {
	t.Helper()
	eventually(t, fmt.Sprintf("%d connections", want), func() bool { return b.Stats().Connections == want })
}

// onEachPath runs the test for streams that leave the goroutine of their request, if the system supports that, and for streams
// that stay.
func onEachPath(t *testing.T, test func(t *testing.T, noHijack bool)) {
	t.Run("fast", func(t *testing.T) { test(t, false) })
	t.Run("default", func(t *testing.T) { test(t, true) })
}

// start serves h on a real connection until the test ends, and returns its URL.
func start(t testing.TB, h http.Handler) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(func() {
		s.CloseClientConnections()
		s.Close()
	})
	return s.URL
}

// A client reads a stream as written, block by block.
type client struct {
	t        testing.TB
	response *http.Response
	reader   *bufio.Reader
	cancel   context.CancelFunc
}

// A block has the fields up to a blank line. Comments have an empty name.
type block map[string]string

func open(t testing.TB, url string, header ...string) *client {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		request.Header.Set(header[i], header[i+1])
	}
	response, err := http.DefaultTransport.RoundTrip(request)
	if err != nil {
		t.Fatal(err)
	}
	c := newClient(t, response)
	c.cancel = cancel
	return c
}

func newClient(t testing.TB, response *http.Response) *client {
	t.Cleanup(func() { response.Body.Close() })
	return &client{t: t, response: response, reader: bufio.NewReader(response.Body)}
}

// opened opens a stream, which must succeed.
func opened(t testing.TB, url string, header ...string) *client {
	t.Helper()
	c := open(t, url, header...)
	if c.response.StatusCode != http.StatusOK {
		t.Fatalf("status %d", c.response.StatusCode)
	}
	return c
}

func (c *client) read() (block, error) {
	b := block{}
	for {
		line, err := c.reader.ReadString('\n')
		if err != nil {
			return b, err
		}
		line = strings.TrimSuffix(line, "\n")
		if line == "" {
			return b, nil
		}
		name, value, _ := strings.Cut(line, ":")
		value = strings.TrimPrefix(value, " ")
		if previous, ok := b[name]; ok && name == "data" {
			value = previous + "\n" + value
		}
		b[name] = value
	}
}

func (c *client) next() block {
	c.t.Helper()
	b, err := c.read()
	if err != nil {
		c.t.Fatalf("read: %v", err)
	}
	return b
}

// wantData reads one event per argument and compares the data.
func (c *client) wantData(want ...string) {
	c.t.Helper()
	for _, data := range want {
		if b := c.next(); b["data"] != data {
			c.t.Fatalf("got %v, want data %q", b, data)
		}
	}
}

// wantEnd reads to the end of the stream, which must be a clean one.
func (c *client) wantEnd() {
	c.t.Helper()
	if b, err := c.read(); err != io.EOF || len(b) > 0 {
		c.t.Fatalf("got %v and %v, want the end", b, err)
	}
}

func publish(t testing.TB, b *server.Broker, topic string, data ...string) (id string) {
	t.Helper()
	for _, d := range data {
		var err error
		if id, err = b.Publish(t.Context(), topic, sse.Event{Data: d}); err != nil {
			t.Fatal(err)
		}
	}
	return id
}

func epochOf(id string) string {
	epoch, _, _ := strings.Cut(id, "-")
	return epoch
}

// A pipeNetwork is a network in memory whose connections have no buffers: a write waits for its reader. Unlike sockets, it works
// in the bubbles of testing/synctest.
type pipeNetwork struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func newPipeNetwork() *pipeNetwork {
	return &pipeNetwork{conns: make(chan net.Conn), closed: make(chan struct{})}
}

func (n *pipeNetwork) Accept() (net.Conn, error) {
	select {
	case c := <-n.conns:
		return c, nil
	case <-n.closed:
		return nil, net.ErrClosed
	}
}

func (n *pipeNetwork) Close() error {
	n.once.Do(func() { close(n.closed) })
	return nil
}

func (n *pipeNetwork) Addr() net.Addr { return &net.UnixAddr{Name: "pipe", Net: "unix"} }

func (n *pipeNetwork) dial(context.Context, string, string) (net.Conn, error) {
	mine, theirs := net.Pipe()
	n.conns <- theirs
	return mine, nil
}

// get sends a GET for the path and returns when the head of the response has been read.
func (n *pipeNetwork) get(t testing.TB, path string, header ...string) *client {
	t.Helper()
	mine, _ := n.dial(t.Context(), "", "")
	t.Cleanup(func() { mine.Close() })
	request := "GET " + path + " HTTP/1.1\r\nHost: test\r\n"
	for i := 0; i < len(header); i += 2 {
		request += header[i] + ": " + header[i+1] + "\r\n"
	}
	if _, err := mine.Write([]byte(request + "\r\n")); err != nil {
		t.Fatal(err)
	}
	response, err := http.ReadResponse(bufio.NewReader(mine), nil)
	if err != nil {
		t.Fatal(err)
	}
	return &client{t: t, response: response, reader: bufio.NewReader(response.Body)}
}

// serveBubble serves h in a bubble. It sends to ended whenever a stream has ended.
func serveBubble(t testing.TB, h *server.Handler, config *http.Server) (network *pipeNetwork, ended chan server.StreamEnd) {
	t.Helper()
	network, ended = newPipeNetwork(), make(chan server.StreamEnd, 10)
	h.Trace = func(*http.Request) func(server.StreamEnd) {
		return func(e server.StreamEnd) { ended <- e }
	}
	config.Handler = h
	go config.Serve(network)
	t.Cleanup(func() { config.Close() })
	return network, ended
}
