package compress_test

import (
	"bufio"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/eventsource-wasm/eventsource-wasm/server"
	"github.com/eventsource-wasm/eventsource-wasm/server/compress"
	"github.com/eventsource-wasm/eventsource-wasm/server/internal/coding"
	"github.com/eventsource-wasm/eventsource-wasm/sse"
)

// A format is a coding and an independent decoder.
type format struct {
	coding server.Coding
	decode func(io.Reader) (io.Reader, error)
}

// With a concurrency of 1, the decoder does not read ahead.
func zstdReader(r io.Reader) (io.Reader, error) {
	return zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true))
}

var formats = []format{
	{compress.Gzip(), func(r io.Reader) (io.Reader, error) { return gzip.NewReader(r) }},
	{compress.Zstd(), zstdReader},
}

var quiet = slog.New(slog.DiscardHandler)

func start(t *testing.T, h http.Handler) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(func() {
		s.CloseClientConnections()
		s.Close()
	})
	return s.URL
}

// A client reads the events of one stream.
type client struct {
	t      *testing.T
	body   io.ReadCloser
	wire   atomic.Int64 // compressed bytes received
	reader *bufio.Reader
}

func (c *client) Read(p []byte) (int, error) {
	n, err := c.body.Read(p)
	c.wire.Add(int64(n))
	return n, err
}

func (f format) open(t *testing.T, url, lastEventID string) *client {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Accept-Encoding", f.coding.Name())
	if lastEventID != "" {
		request.Header.Set("Last-Event-ID", lastEventID)
	}
	response, err := http.DefaultTransport.RoundTrip(request)
	if err != nil {
		t.Fatal(err)
	}
	if coding := response.Header.Get("Content-Encoding"); response.StatusCode != http.StatusOK || coding != f.coding.Name() {
		t.Fatalf("status %d, Content-Encoding %q", response.StatusCode, coding)
	}
	c := &client{t: t, body: response.Body}
	t.Cleanup(func() { response.Body.Close() })
	decoded, err := f.decode(c)
	if err != nil {
		t.Fatal(err)
	}
	c.reader = bufio.NewReader(decoded)
	return c
}

// next returns the id and the data of the next event that has data, and the comments that precede it.
func (c *client) next() (id, data, comments string, err error) {
	for {
		line, err := c.reader.ReadString('\n')
		if err != nil {
			return "", line, comments, err
		}
		name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ":")
		switch value = strings.TrimPrefix(value, " "); name {
		case "id":
			id = value
		case "data":
			data = value
		case "":
			if line != "\n" {
				comments += "c"
			} else if data != "" {
				return id, data, comments, nil
			}
		}
	}
}

// want reads the events n to m.
func (c *client) want(n, m int) (lastID string) {
	c.t.Helper()
	for ; n <= m; n++ {
		id, data, _, err := c.next()
		if number, _, _ := strings.Cut(data, " "); err != nil || number != strconv.Itoa(n) {
			c.t.Fatalf("got the event %.40q and error %v, want %d", data, err, n)
		}
		lastID = id
	}
	return lastID
}

func (c *client) wantEnd() {
	c.t.Helper()
	if _, data, _, err := c.next(); err != io.EOF {
		c.t.Fatalf("got %q and error %v, want the end of the body", data, err)
	}
}

// text returns the data of an event: its number, and text that resembles that of other events.
func text(n int) string {
	return fmt.Sprintf(`%d {"sensor": "hall %d", "unit": "degrees", "value": %d.%d, "state": "nominal"}`, n, n%7, n%40, n%10)
}

func publish(t *testing.T, b *server.Broker, topic string, from, to int) {
	t.Helper()
	for ; from <= to; from++ {
		if _, err := b.Publish(t.Context(), topic, sse.Event{Data: text(from)}); err != nil {
			t.Fatal(err)
		}
	}
}

func each(t *testing.T, test func(t *testing.T, f format)) {
	for _, f := range formats {
		t.Run(f.coding.Name(), func(t *testing.T) { test(t, f) })
	}
}

// Every event must arrive before the next one is published: none may wait in an encoder.
func TestEventsAreSentImmediately(t *testing.T) {
	each(t, func(t *testing.T, f format) {
		broker := &server.Broker{}
		url := start(t, &server.Handler{Broker: broker, MinSharing: 1, Codings: []server.Coding{f.coding}, Logger: quiet})
		clients := []*client{f.open(t, url, ""), f.open(t, url, ""), f.open(t, url, "")}
		for n := range 500 { // several sections
			publish(t, broker, "t", n+1, n+1)
			for _, c := range clients {
				c.want(n+1, n+1)
			}
		}
		broker.Close()
		for _, c := range clients {
			c.wantEnd()
		}
	})
}

// Clients join before the first event, in the middle of a section, with an id that history follows, and with an id that is
// no longer kept.
func TestClientsJoin(t *testing.T) {
	each(t, func(t *testing.T, f format) {
		broker := &server.Broker{}
		url := start(t, &server.Handler{Broker: broker, MinSharing: 1, Codings: []server.Coding{f.coding}, Logger: quiet})
		first := f.open(t, url, "")
		var clients []*client
		lastID := ""
		for n := 1; n <= 2000; n += 100 {
			clients = append(clients, f.open(t, url, lastID))
			publish(t, broker, "t", n, n+99)
			lastID = first.want(n, n+99)
			for _, c := range clients {
				c.want(n, n+99)
			}
		}
		all := f.open(t, url, strings.Split(lastID, "-")[0]+"-0")
		all.want(1, 2000)
		other := f.open(t, url, "other-1")
		if _, data, _, err := other.next(); err != nil || !strings.Contains(data, `"reason":"epoch"`) {
			t.Errorf("response to an unknown id: %q, %v", data, err)
		}
		other.want(1, 2000)
		publish(t, broker, "t", 2001, 3000)
		broker.Close()
		for _, c := range append(clients, first, all, other) {
			c.want(2001, 3000)
			c.wantEnd()
		}
	})
}

// Events for other topics come between a client's own. Bursts, single events, small and huge ones are mixed.
func TestRandomTraffic(t *testing.T) {
	each(t, func(t *testing.T, f format) {
		random := rand.New(rand.NewPCG(1, 2))
		broker := &server.Broker{}
		handler := &server.Handler{Broker: broker, MinSharing: 1, Codings: []server.Coding{f.coding}, MaxLag: -1, Logger: quiet}
		url := start(t, handler)
		queries := []string{"", "?topic=a.x", "?topic=a.y", "?topic=a.*", "?topic=b", "?topic=a.x&topic=b"}
		wants := [][]string{{"a.x", "a.y", "b"}, {"a.x"}, {"a.y"}, {"a.x", "a.y"}, {"b"}, {"a.x", "b"}}
		type reading struct {
			*client
			topics []string
			from   int
			got    []string
		}
		var readings []*reading
		var published [][2]string // topic and data
		var tasks sync.WaitGroup
		for n := range 1500 {
			if n < 1000 && n%25 == 0 {
				k := random.IntN(len(queries))
				r := &reading{client: f.open(t, url+queries[k], ""), topics: wants[k], from: n}
				readings = append(readings, r)
				tasks.Go(func() {
					for {
						_, data, _, err := r.next()
						if err != nil {
							if err != io.EOF {
								t.Errorf("the client of %v that joined at %d: %v", r.topics, r.from, err)
							}
							return
						}
						r.got = append(r.got, data)
					}
				})
			}
			topic := []string{"a.x", "a.y", "b"}[random.IntN(3)]
			data := text(n)
			if random.IntN(50) == 0 {
				data += strings.Repeat(strconv.Itoa(n), random.IntN(10_000))
			}
			if _, err := broker.Publish(t.Context(), topic, sse.Event{Data: data}); err != nil {
				t.Fatal(err)
			}
			published = append(published, [2]string{topic, data})
			if random.IntN(10) == 0 {
				time.Sleep(time.Millisecond) // usually ends a burst
			}
		}
		broker.Close()
		tasks.Wait()
		for _, r := range readings {
			var want []string
			for _, p := range published[r.from:] {
				if slices.Contains(r.topics, p[0]) {
					want = append(want, p[1])
				}
			}
			if !slices.Equal(r.got, want) {
				at := 0
				for at < min(len(r.got), len(want)) && r.got[at] == want[at] {
					at++
				}
				t.Errorf("the client of %v that joined at %d has %d events, want %d; the first difference is %.40q and %.40q",
					r.topics, r.from, len(r.got), len(want), r.got[at:], want[at:])
			}
		}
	})
}

// A counting coding counts how often and how much its encoders compress.
type counting struct {
	server.Coding
	encoders, appends, bytes atomic.Int64
}

type countingEncoder struct {
	coding.Encoder
	counts *counting
}

func (c *counting) NewEncoder() coding.Encoder {
	c.encoders.Add(1)
	return &countingEncoder{c.Coding.NewEncoder(), c}
}

func (e *countingEncoder) Append(dst, data []byte) []byte {
	e.counts.appends.Add(1)
	e.counts.bytes.Add(int64(len(data)))
	return e.Encoder.Append(dst, data)
}

// Thirty clients use one encoder, and each event is compressed once.
func TestClientsShareEncoder(t *testing.T) {
	each(t, func(t *testing.T, f format) {
		counts := &counting{Coding: f.coding}
		broker := &server.Broker{}
		url := start(t, &server.Handler{Broker: broker, MinSharing: 1, Codings: []server.Coding{counts}, Heartbeat: -1, Logger: quiet})
		var clients []*client
		for range 30 {
			clients = append(clients, f.open(t, url, ""))
		}
		const events = 200
		for n := 1; n <= events; n++ {
			publish(t, broker, "t", n, n)
			for _, c := range clients {
				c.want(n, n)
			}
		}
		if n := counts.encoders.Load(); n != 1 {
			t.Errorf("%d encoders, want 1", n)
		}
		if n := counts.appends.Load(); n != events {
			t.Errorf("%d events were compressed %d times", events, n)
		}
		plain := counts.bytes.Load()
		for i, c := range clients {
			if wire := c.wire.Load(); wire > plain/2 {
				t.Fatalf("client %d got %d bytes of %d", i, wire, plain)
			}
		}
	})
}

// A heartbeat does not break a compressed stream, and clients share the encoder again after it.
func TestHeartbeats(t *testing.T) {
	each(t, func(t *testing.T, f format) {
		broker := &server.Broker{}
		handler := &server.Handler{Broker: broker, MinSharing: 1, Codings: []server.Coding{f.coding}, Heartbeat: 5 * time.Millisecond, Logger: quiet}
		c := f.open(t, start(t, handler), "")
		seen := ""
		for n := 1; !strings.Contains(seen, "ccccc") || n < 100; n++ {
			publish(t, broker, "t", n, n)
			_, data, comments, err := c.next()
			if err != nil || !strings.HasPrefix(data, strconv.Itoa(n)+" ") {
				t.Fatalf("got %q and error %v, want %d", data, err, n)
			}
			if seen += comments; n%10 == 0 {
				time.Sleep(10 * time.Millisecond) // longer than a heartbeat
			}
		}
		broker.Close()
		c.wantEnd()
	})
}

func TestNegotiation(t *testing.T) {
	both := []server.Coding{compress.Zstd(), compress.Gzip()}
	for _, test := range []struct {
		accept string
		want   string
	}{
		{"", ""},
		{"identity", ""},
		{"br", ""},
		{"gzip", "gzip"},
		{"GZIP", "gzip"},
		{"gzip, deflate, br, zstd", "zstd"},
		{"gzip, zstd;q=0.5", "gzip"},
		{"gzip; Q=0.5, zstd;q=0.5", "zstd"},
		{"gzip;q=0, zstd;q=0", ""},
		{"gzip;q=0, *", "zstd"},
		{"*;q=0", ""},
		{"zstd;q=0.5, identity", ""},
		{"zstd;q=0.5, identity;q=0.5", "zstd"},
		{"gzip;q=2", ""},
		{"gzip;q=NaN", ""},
		{"gzip;level=3", ""},
		{";;,,=", ""},
	} {
		h := &server.Handler{Broker: &server.Broker{}, MinSharing: 1, Codings: both, Logger: quiet}
		w := httptest.NewRecorder()
		request := httptest.NewRequest(http.MethodHead, "/", nil)
		if test.accept != "" {
			request.Header.Set("Accept-Encoding", test.accept)
		}
		h.ServeHTTP(w, request)
		if got := w.Header().Get("Content-Encoding"); got != test.want {
			t.Errorf("Accept-Encoding %q: %q, want %q", test.accept, got, test.want)
		}
		if got := w.Header().Get("Vary"); got != "Accept-Encoding" {
			t.Errorf("Vary: %q", got)
		}
	}
}

// Without Codings, streams are not compressed and the response has no Vary header.
func TestOffByDefault(t *testing.T) {
	w := httptest.NewRecorder()
	request := httptest.NewRequest(http.MethodHead, "/", nil)
	request.Header.Set("Accept-Encoding", "gzip, zstd")
	(&server.Handler{Broker: &server.Broker{}, Logger: quiet}).ServeHTTP(w, request)
	if w.Header().Get("Content-Encoding") != "" || w.Header().Get("Vary") != "" {
		t.Errorf("headers: %v", w.Header())
	}
}
