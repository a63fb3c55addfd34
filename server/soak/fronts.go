package main

import (
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/eventsource-wasm/eventsource-wasm/server"
	"github.com/eventsource-wasm/eventsource-wasm/server/compress"
)

// A front is an HTTP server of the broker's events.
type front struct {
	name    string
	web     *httptest.Server
	tls     bool
	codings []string
}

// A route is a way to reach a front.
type route struct {
	*front
	protocol string
	coding   string
	honest   *http.Client // for clients that read: a client that does not would block others on its connection
	rough    *http.Client
}

func (r *route) String() string {
	return strings.TrimSpace(fmt.Sprintf("%s over %s %s", r.name, r.protocol, r.coding))
}

// fronts returns servers for all paths through the handler.
func fronts(broker *server.Broker, complaints *complaints) []*front {
	quiet := slog.New(slog.DiscardHandler)
	codings := []server.Coding{compress.Gzip(), compress.Zstd()}
	names := []string{"gzip", "zstd"}
	handler := func(change func(*server.Handler)) http.Handler {
		h := &server.Handler{Broker: broker, Logger: quiet, Heartbeat: 2 * time.Second}
		change(h)
		return h
	}
	unchanged := func(*server.Handler) {}
	return []*front{
		newFront("plain", handler(unchanged), false, nil, complaints),
		newFront("NoHijack", handler(func(h *server.Handler) { h.NoHijack = true }), false, nil, complaints),
		newFront("a middleware", counting(handler(unchanged)), false, nil, complaints),
		newFront("SkipLagging", handler(func(h *server.Handler) {
			h.LagPolicy, h.MaxLag = server.SkipLagging, 256<<10
		}), false, nil, complaints),
		newFront("FromHead", handler(func(h *server.Handler) { h.GapPolicy = server.FromHead }), false, nil, complaints),
		newFront("MaxStreamAge", handler(func(h *server.Handler) { h.MaxStreamAge = 5 * time.Second }), false, nil, complaints),
		newFront("codings", handler(func(h *server.Handler) { h.Codings = codings }), false, names, complaints),
		newFront("TLS", handler(unchanged), true, nil, complaints),
		newFront("TLS, a middleware and codings", counting(handler(func(h *server.Handler) { h.Codings = codings })), true, names, complaints),
	}
}

func newFront(name string, h http.Handler, withTLS bool, codings []string, complaints *complaints) *front {
	web := httptest.NewUnstartedServer(h)
	web.Config.ErrorLog = complaints.logger()
	web.Config.ReadHeaderTimeout = 5 * time.Second
	web.Config.MaxHeaderBytes = 64 << 10
	if web.EnableHTTP2 = withTLS; withTLS {
		web.StartTLS()
	} else {
		web.Start()
	}
	return &front{name, web, withTLS, codings}
}

// routes returns every protocol and coding of the front.
func (f *front) routes() (routes []*route) {
	protocols := []string{"HTTP/1.1"}
	if f.tls {
		protocols = append(protocols, "HTTP/2.0")
	}
	for _, protocol := range protocols {
		for _, coding := range append([]string{""}, f.codings...) {
			routes = append(routes, &route{f, protocol, coding, f.client(protocol), f.client(protocol)})
		}
	}
	return routes
}

func (f *front) client(protocol string) *http.Client {
	protocols := &http.Protocols{}
	protocols.SetHTTP1(protocol == "HTTP/1.1")
	protocols.SetHTTP2(protocol == "HTTP/2.0")
	transport := &http.Transport{Protocols: protocols, DisableCompression: true, DisableKeepAlives: protocol == "HTTP/1.1"}
	if f.tls {
		transport.TLSClientConfig = f.web.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
	}
	return &http.Client{Transport: transport}
}

// close closes the server, and waits for requests that were not hijacked.
func (f *front) close() {
	f.web.CloseClientConnections()
	f.web.Close()
}

// counting is a typical middleware: it wraps the writer, and the wrapper has only Unwrap.
func counting(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { h.ServeHTTP(&counted{ResponseWriter: w}, r) })
}

type counted struct {
	http.ResponseWriter
	bytes int
}

func (c *counted) Unwrap() http.ResponseWriter { return c.ResponseWriter }

func (c *counted) Write(p []byte) (int, error) {
	n, err := c.ResponseWriter.Write(p)
	c.bytes += n
	return n, err
}

// get requests the events over a route.
func (r *route) get(ctx context.Context, client *http.Client, f *filter, lastEventID string) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, r.web.URL+target(f), nil)
	if err != nil {
		return nil, err
	}
	if lastEventID != "" {
		request.Header.Set("Last-Event-ID", lastEventID)
	}
	if r.coding != "" {
		request.Header.Set("Accept-Encoding", r.coding)
	}
	return client.Do(request)
}

func target(f *filter) string {
	return "/?" + url.Values{"topic": f.patterns}.Encode()
}

// decode returns the decoded body, which need not be in the requested coding. Damaged data is a fault, unless the network failed.
func decode(response *http.Response, asked string) (io.ReadCloser, error) {
	coding := response.Header.Get("Content-Encoding")
	if coding != "" && coding != asked {
		return nil, fault{fmt.Errorf("Content-Encoding is %q, the client asked for %q", coding, asked)}
	}
	network := &network{reader: response.Body}
	switch coding {
	case "gzip":
		d, err := gzip.NewReader(network)
		if err != nil {
			return nil, network.blame(err)
		}
		return &decoded{d, network}, nil
	case "zstd":
		d, err := zstd.NewReader(network, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true))
		if err != nil {
			return nil, network.blame(err)
		}
		return &decoded{d.IOReadCloser(), network}, nil
	}
	return io.NopCloser(response.Body), nil
}

// network records the error of the body below its coding.
type network struct {
	reader io.Reader
	err    error
}

func (n *network) Read(p []byte) (int, error) {
	read, err := n.reader.Read(p)
	if err != nil {
		n.err = err
	}
	return read, err
}

// blame returns err as a fault, unless the network caused it.
func (n *network) blame(err error) error {
	if n.err != nil && n.err != io.EOF {
		return n.err
	}
	return fault{fmt.Errorf("the body is damaged, although the connection ended with %v: %w", n.err, err)}
}

type decoded struct {
	io.ReadCloser
	network *network
}

func (d *decoded) Read(p []byte) (int, error) {
	n, err := d.ReadCloser.Read(p)
	if err != nil && err != io.EOF {
		err = d.network.blame(err)
	}
	return n, err
}

// complaints is the log of the HTTP servers. A panic in it is a fault; complaints about junk are not.
type complaints struct {
	lines  atomic.Int64
	mu     sync.Mutex
	panics []string
}

func (c *complaints) logger() *log.Logger { return log.New(c, "", 0) }

func (c *complaints) Write(line []byte) (int, error) {
	c.lines.Add(1)
	for _, sign := range []string{"panic", "superfluous", "runtime error"} {
		if strings.Contains(string(line), sign) {
			c.mu.Lock()
			c.panics = append(c.panics, string(line))
			c.mu.Unlock()
		}
	}
	return len(line), nil
}

func (c *complaints) fault() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.panics) == 0 {
		return nil
	}
	return fmt.Errorf("the http.Server logged %d panics or superfluous calls, the first: %.2000s", len(c.panics), c.panics[0])
}
