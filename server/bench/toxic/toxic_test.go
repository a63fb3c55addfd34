// Package toxic_test connects clients to the server through Toxiproxy, which simulates network faults.
package toxic_test

import (
	"cmp"
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/Shopify/toxiproxy/v2"
	"github.com/rs/zerolog"

	"github.com/eventsource-wasm/eventsource-wasm/server"
	"github.com/eventsource-wasm/eventsource-wasm/sse"
)

const (
	clients = 3
	events  = 900
	ahead   = 50 // maximum lead of the publisher over the slowest client

	// A client without data for this long reconnects. On a slow machine, it may do so needlessly, but must not miss an
	// event.
	patience  = 400 * time.Millisecond
	heartbeat = patience / 10

	generous = 5 * time.Minute // a limit for everything that must happen
)

// Whatever fails in the network, every client receives every event, once and in order. The server keeps nothing for
// connections that are gone.
func TestNetworkFaults(t *testing.T) {
	zerolog.SetGlobalLevel(zerolog.Disabled) // one toxic ignores the proxy's logger
	for _, fault := range []fault{
		{name: "none"},
		{name: "latency", toxic: `{"type": "latency", "attributes": {"latency": 20, "jitter": 20}}`},
		{name: "small pieces", toxic: `{"type": "slicer", "attributes": {"average_size": 7, "size_variation": 5, "delay": 10}}`},
		{name: "narrow", toxic: `{"type": "bandwidth", "attributes": {"rate": 20}}`},
		{name: "reset", toxic: `{"type": "reset_peer", "attributes": {"timeout": 0}}`, breaks: true},
		{name: "reset of the requests", toxic: `{"type": "reset_peer", "stream": "upstream", "attributes": {"timeout": 0}}`, breaks: true, provoke: (*server.Broker).DisconnectAll},
		{name: "half-open", toxic: `{"type": "timeout", "attributes": {"timeout": 0}}`, breaks: true},
		{name: "closed after a timeout", toxic: `{"type": "timeout", "attributes": {"timeout": 50}}`, breaks: true},
		{name: "closed after some bytes", toxic: `{"type": "limit_data", "attributes": {"bytes": 1000}}`, breaks: true},
		{name: "slow close", toxic: `{"type": "slow_close", "attributes": {"delay": 100}}`, breaks: true, provoke: (*server.Broker).DisconnectAll},
	} {
		t.Run(fault.name, func(t *testing.T) { fault.test(t, false) })
		t.Run(fault.name+", NoHijack", func(t *testing.T) { fault.test(t, true) })
	}
}

type fault struct {
	name    string
	toxic   string
	breaks  bool                 // breaks the clients' connections
	provoke func(*server.Broker) // makes the fault happen, if the toxic alone does not
}

func (f fault) test(t *testing.T, noHijack bool) {
	_, before := resources()
	broker := &server.Broker{MaxEvents: events}
	handler := &server.Handler{Broker: broker, Heartbeat: heartbeat, NoHijack: noHijack, Logger: slog.New(slog.DiscardHandler)}
	origin := httptest.NewServer(handler)
	proxy := startProxy(t, strings.TrimPrefix(origin.URL, "http://"))

	crowd := newCrowd(t, "http://"+proxy.Listen)
	go crowd.publish(broker)
	for range 3 {
		crowd.awaitEvents(100)
		f.happen(t, proxy, broker, crowd)
	}
	crowd.awaitEvents(events)
	crowd.stop()

	proxy.Stop()
	broker.Close()
	origin.Close()
	awaitResources(t, before)
}

// happen makes the network fail until every client is affected, and then repairs it.
func (f fault) happen(t *testing.T, proxy *toxiproxy.Proxy, broker *server.Broker, crowd *crowd) {
	if f.toxic == "" {
		return
	}
	before := crowd.breaks()
	if _, err := proxy.Toxics.AddToxicJson(strings.NewReader(f.toxic)); err != nil {
		t.Fatal(err)
	}
	if f.provoke != nil {
		f.provoke(broker)
	}
	if f.breaks {
		crowd.awaitBreaks(before)
	} else {
		crowd.awaitEvents(50)
	}
	proxy.Toxics.ResetToxics(context.Background())
}

func startProxy(t *testing.T, upstream string) *toxiproxy.Proxy {
	t.Helper()
	control := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop())
	proxy := toxiproxy.NewProxy(control, "events", "127.0.0.1:0", upstream)
	if err := proxy.Start(); err != nil {
		t.Fatal(err)
	}
	return proxy
}

// A crowd has clients that count events, and a publisher that waits for the slowest client.
type crowd struct {
	t       *testing.T
	ctx     context.Context
	cancel  context.CancelFunc
	running sync.WaitGroup

	mu       sync.Mutex
	changed  *sync.Cond
	received [clients]int // -1 until the client has an id to resume from
	broken   [clients]int // connections
}

func newCrowd(t *testing.T, url string) *crowd {
	c := &crowd{t: t}
	c.ctx, c.cancel = context.WithCancel(t.Context())
	c.changed = sync.NewCond(&c.mu)
	for i := range clients {
		c.received[i] = -1
		c.running.Go((&client{crowd: c, index: i, url: url}).run)
	}
	return c
}

func (c *crowd) stop() {
	c.cancel()
	c.running.Wait()
}

func (c *crowd) publish(broker *server.Broker) {
	for n := range events {
		if !c.wait(func() bool { return slices.Min(c.received[:]) >= max(0, n-ahead) }) {
			return
		}
		if _, err := broker.Publish(context.Background(), "t", sse.Event{Data: strconv.Itoa(n + 1)}); err != nil {
			c.t.Error(err)
			return
		}
	}
}

// awaitEvents waits until every client has received further events, or all.
func (c *crowd) awaitEvents(further int) {
	c.t.Helper()
	c.mu.Lock()
	goal := min(slices.Min(c.received[:])+further, events)
	c.mu.Unlock()
	c.await(func() bool { return slices.Min(c.received[:]) >= goal })
}

func (c *crowd) breaks() [clients]int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.broken
}

// awaitBreaks waits until every client's connection has broken since before.
func (c *crowd) awaitBreaks(before [clients]int) {
	c.t.Helper()
	c.await(func() bool {
		for i, now := range c.broken {
			if now == before[i] {
				return false
			}
		}
		return true
	})
}

func (c *crowd) await(condition func() bool) {
	c.t.Helper()
	if !c.wait(condition) {
		c.stop()
		c.t.Fatalf("timed out: events received %v, connections broken %v", c.received, c.broken)
	}
}

// wait checks the condition, under the lock, after every change, and reports whether it became true.
func (c *crowd) wait(condition func() bool) bool {
	deadline := time.Now().Add(generous)
	wake := time.AfterFunc(generous, c.changed.Broadcast)
	defer wake.Stop()
	c.mu.Lock()
	defer c.mu.Unlock()
	for !condition() {
		if time.Now().After(deadline) || c.ctx.Err() != nil || c.t.Failed() {
			return false
		}
		c.changed.Wait()
	}
	return true
}

func (c *crowd) change(what *int, to int) {
	c.mu.Lock()
	*what = to
	c.mu.Unlock()
	c.changed.Broadcast()
}

// A client reads the stream like an EventSource: whenever its connection ends, it reconnects with the id of its last event.
type client struct {
	crowd  *crowd
	index  int
	url    string
	lastID string
}

func (c *client) run() {
	transport := &http.Transport{DisableKeepAlives: true, DisableCompression: true}
	for c.crowd.ctx.Err() == nil {
		c.connect(transport)
		broken := &c.crowd.broken[c.index]
		c.crowd.change(broken, *broken+1) // only this goroutine writes it
		time.Sleep(5 * time.Millisecond)  // do not spin while the network refuses connections
	}
	c.crowd.change(&c.crowd.broken[c.index], -1) // wakes waiting goroutines
}

// connect returns when the connection has ended.
func (c *client) connect(transport http.RoundTripper) {
	ctx, cancel := context.WithCancel(c.crowd.ctx)
	defer cancel()
	silence := time.AfterFunc(patience, cancel)
	defer silence.Stop()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, c.url, nil)
	if err != nil {
		c.crowd.t.Error(err)
		return
	}
	if c.lastID != "" {
		request.Header.Set("Last-Event-ID", c.lastID)
	}
	response, err := transport.RoundTrip(request)
	if err != nil {
		return
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		c.crowd.t.Errorf("got status %s", response.Status)
		return
	}
	c.read(response.Body, silence)
}

func (c *client) read(body io.Reader, silence *time.Timer) {
	var parser sse.Parser
	parser.SetLastEventID(c.lastID)
	for buffer := make([]byte, 4<<10); ; {
		n, err := body.Read(buffer)
		silence.Reset(patience)
		for parser.Feed(buffer[:n]); parser.Next(); {
			c.receive(string(parser.Type()), string(parser.Data()))
		}
		c.lastID = string(parser.LastEventID())
		if received := &c.crowd.received[c.index]; c.lastID != "" && *received < 0 {
			c.crowd.change(received, 0)
		}
		if err = cmp.Or(err, parser.Err()); err != nil {
			return
		}
	}
}

func (c *client) receive(kind, data string) {
	received := &c.crowd.received[c.index]
	if number, err := strconv.Atoi(data); kind != "" || err != nil || number != max(*received, 0)+1 {
		c.crowd.t.Errorf("client %d, after event %d, received %q %q", c.index, *received, kind, data)
		c.crowd.change(received, *received)
		return
	}
	c.crowd.change(received, max(*received, 0)+1)
}

// resources returns the server's goroutines, and the number of open file descriptors.
func resources() (serving string, descriptors int) {
	stacks := make([]byte, 1<<20)
	stacks = stacks[:runtime.Stack(stacks, true)]
	for stack := range strings.SplitSeq(string(stacks), "\n\n") {
		// Toxiproxy leaks goroutines after a reset.
		if strings.Contains(stack, "eventsource-wasm/server.") || strings.Contains(stack, "net/http.(*") {
			serving += stack + "\n\n"
		}
	}
	open, _ := os.ReadDir("/proc/self/fd")
	return serving, len(open)
}

// awaitResources waits until the server has no goroutines, and no more file descriptors are open than before. Both may take a
// moment after the end of a stream.
func awaitResources(t *testing.T, before int) {
	t.Helper()
	for deadline := time.Now().Add(generous); ; time.Sleep(10 * time.Millisecond) {
		serving, descriptors := resources()
		if serving == "" && descriptors <= before {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d file descriptors, before %d; goroutines:\n%s", descriptors, before, serving)
		}
	}
}
