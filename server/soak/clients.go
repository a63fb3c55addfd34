package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// A crowd has all clients except the honest subscribers. Each member runs clients of random kinds, one after another.
type crowd struct {
	ledger *ledger
	routes []*route
	fail   func(error)
	tables chan struct{} // limits greedy clients

	episodes []atomic.Int64 // by kind
	received atomic.Int64   // events, all of which were checked
	coded    atomic.Int64   // compressed responses
	gaps     atomic.Int64
}

// A kind is a behavior of clients. Its error is a fault of the server. Few clients at a time read at full speed, because
// their cost would hide the cost of the others.
var kinds = [...]struct {
	name   string
	weight int
	greedy bool
	be     func(*crowd, context.Context, *rand.Rand) error
}{
	{"visitor: joins, reads for a while, leaves", 20, true, (*crowd).visit},
	{"replay from a random place", 15, true, (*crowd).replay},
	{"slow reader, 4 kB window", 12, false, (*crowd).readSlowly},
	{"stalls in live events, then reads, 4 kB window", 10, false, (*crowd).stallLive},
	{"stalled in its history, then reads, 4 kB window", 10, false, (*crowd).stallHistory},
	{"stalled and cut, 4 kB window", 6, false, (*crowd).stallForGood},
	{"stalled on a shared HTTP/2 connection", 5, false, (*crowd).stallShared},
	{"1 MB events", 4, true, (*crowd).heavy},
	{"32 patterns", 8, false, (*crowd).manyPatterns},
	{"reset in any state", 8, false, (*crowd).reset},
	{"half-close in any state", 8, false, (*crowd).halfClose},
	{"junk", 6, false, (*crowd).junk},
}

const (
	tinyWindow = 4 << 10
	stallTime  = 3 * time.Second
	visitTime  = 5 * time.Second
	thinkTime  = time.Second
	greedy     = 6 // at a time
)

// run runs one member until ctx is done. The first members ensure that every kind occurs.
func (c *crowd) run(ctx context.Context, member int, r *rand.Rand) {
	for first := member < len(kinds); pause(ctx, within(r, thinkTime)); first = false {
		kind := pick(r)
		if first {
			kind = member
		}
		if !c.admit(ctx, kind, first) {
			continue
		}
		c.episodes[kind].Add(1)
		err := kinds[kind].be(c, ctx, r)
		if kinds[kind].greedy {
			<-c.tables
		}
		if err != nil {
			c.fail(fmt.Errorf("%s: %w", kinds[kind].name, err))
			return
		}
	}
}

func pick(r *rand.Rand) (kind int) {
	total := 0
	for _, k := range kinds {
		total += k.weight
	}
	for n := r.IntN(total); n >= kinds[kind].weight; kind++ {
		n -= kinds[kind].weight
	}
	return kind
}

// admit reports whether one more client of the kind may run. It waits for kinds that must occur.
func (c *crowd) admit(ctx context.Context, kind int, wait bool) bool {
	if !kinds[kind].greedy {
		return true
	}
	if wait {
		select {
		case c.tables <- struct{}{}:
			return true
		case <-ctx.Done():
			return false
		}
	}
	select {
	case c.tables <- struct{}{}:
		return true
	default:
		return false
	}
}

// some returns a random filter.
func (c *crowd) some(r *rand.Rand) *filter {
	switch r.IntN(4) {
	case 0:
		return c.ledger.filter("t.>")
	case 1:
		return c.ledger.filter(fmt.Sprintf("t.%d.*", r.IntN(shards)))
	case 2:
		return c.ledger.filter(fmt.Sprintf("t.*.%d", r.IntN(shards)), "none")
	}
	return c.ledger.filter(c.ledger.names[firstShard+r.IntN(shards*shards)])
}

// route returns a random route. Half of the time, it is the plain one, which most clients use.
func (c *crowd) route(r *rand.Rand) *route {
	if r.IntN(2) == 0 {
		return c.routes[0]
	}
	return c.routes[r.IntN(len(c.routes))]
}

// session returns a new session that resumes from a random id.
func (c *crowd) session(r *rand.Rand, f *filter) *session {
	epoch, head := c.ledger.newest()
	switch r.IntN(10) {
	case 0, 1, 2, 3:
		return resume(c.ledger, f, "", 0)
	case 4:
		return resume(c.ledger, f, "no id", 0)
	case 5:
		return resume(c.ledger, f, fmt.Sprintf("other-%d", head), 0)
	case 6:
		return resume(c.ledger, f, fmt.Sprintf("%s-%d", epoch, head+1_000_000), 0)
	case 7: // most likely expired
		return after(c.ledger, f, r.Uint64N(head+1))
	}
	return after(c.ledger, f, head-min(head, r.Uint64N(4000)))
}

func after(l *ledger, f *filter, sequence uint64) *session {
	epoch, _ := l.newest()
	return resume(l, f, fmt.Sprintf("%s-%d", epoch, sequence), sequence)
}

// resume returns the session of a client that sends the id. If the id belongs to this log, sequence is its sequence.
func resume(l *ledger, f *filter, id string, sequence uint64) *session {
	s := &session{ledger: l, filter: f, asked: id}
	s.parser.SetLastEventID(id)
	if known, _ := l.newest(); id != "" && strings.HasPrefix(id, known+"-") {
		if _, head := l.newest(); sequence <= head && id == fmt.Sprintf("%s-%d", known, sequence) {
			s.begin(sequence)
		}
	}
	return s
}

// accept checks the head of a response and returns its body.
func (c *crowd) accept(s *session, response *http.Response, coding string) (io.ReadCloser, error) {
	if response.StatusCode != http.StatusOK {
		return nil, fault{fmt.Errorf("got status %s, want 200", response.Status)}
	}
	if err := s.open(response); err != nil {
		return nil, fault{err}
	}
	if response.Header.Get("Content-Encoding") != "" {
		c.coded.Add(1)
	}
	return decode(response, coding)
}

// follow reads a stream over the route until more returns false, ctx is done, or the stream ends.
func (c *crowd) follow(ctx context.Context, route *route, client *http.Client, s *session, buffer int, more func() bool) error {
	response, err := route.get(ctx, client, s.filter, s.asked)
	if err != nil {
		return nil // a failure of the network
	}
	defer response.Body.Close()
	body, err := c.accept(s, response, route.coding)
	if err == nil {
		defer body.Close()
		err = s.read(body, make([]byte, buffer), more)
	}
	return c.verdict(s, route.String(), err)
}

// verdict counts the events of a session. It adds a description of the client to a fault.
func (c *crowd) verdict(s *session, route string, err error) error {
	c.received.Add(s.events)
	c.gaps.Add(s.gaps)
	if f, ok := errors.AsType[fault](err); ok {
		return fmt.Errorf("%s, filter %q, Last-Event-ID %q, after %d events: %w (the newest blocks: %s)", route, s.filter.patterns, s.asked, s.events, f.error, strings.Join(s.trace, ", "))
	}
	return nil
}

func (c *crowd) visit(ctx context.Context, r *rand.Rand) error {
	ctx, cancel := context.WithTimeout(ctx, within(r, visitTime))
	defer cancel()
	route, s := c.route(r), c.session(r, c.some(r))
	leave := r.Int64N(500)
	return c.follow(ctx, route, route.honest, s, 16<<10, func() bool { return s.events < leave })
}

func (c *crowd) replay(ctx context.Context, r *rand.Rand) error {
	ctx, cancel := context.WithTimeout(ctx, visitTime)
	defer cancel()
	_, head := c.ledger.newest()
	route, s := c.route(r), after(c.ledger, c.ledger.filter("t.>"), head-min(head, r.Uint64N(maxEvents)))
	return c.follow(ctx, route, route.honest, s, 64<<10, s.caughtUp(r.Uint64N(500)))
}

// caughtUp returns a function that lets a client read its history and some further events.
func (s *session) caughtUp(some uint64) (more func() bool) {
	until := uint64(0)
	return func() bool {
		if until == 0 {
			if _, head := s.ledger.newest(); s.at >= head-min(head, 50) {
				until = head + some
			}
		}
		return until == 0 || s.at < until
	}
}

// manyPatterns uses a filter that no other client has.
func (c *crowd) manyPatterns(ctx context.Context, r *rand.Rand) error {
	ctx, cancel := context.WithTimeout(ctx, visitTime)
	defer cancel()
	patterns := []string{c.ledger.names[firstShard+r.IntN(shards*shards)]}
	for len(patterns) < 32 {
		patterns = append(patterns, fmt.Sprintf("mine.%d.*.%d", r.Uint32(), len(patterns)))
	}
	route, s := c.route(r), c.session(r, c.ledger.filter(patterns...))
	return c.follow(ctx, route, route.honest, s, 16<<10, func() bool { return true })
}

// heavy requests the largest events from the oldest on, and does not always read them.
func (c *crowd) heavy(ctx context.Context, r *rand.Rand) error {
	ctx, cancel := context.WithTimeout(ctx, visitTime)
	defer cancel()
	_, head := c.ledger.newest()
	s := after(c.ledger, c.ledger.filter("large.*"), r.Uint64N(head+1))
	leave := 1 + r.Int64N(8)
	if r.IntN(2) == 0 {
		return c.raw(ctx, c.route(r), tinyWindow, s, func(body io.Reader) error {
			pause(ctx, within(r, stallTime))
			return s.read(body, make([]byte, 64<<10), func() bool { return s.events < leave })
		})
	}
	route := c.route(r)
	return c.follow(ctx, route, route.honest, s, 64<<10, func() bool { return s.events < leave })
}

func (c *crowd) readSlowly(ctx context.Context, r *rand.Rand) error {
	ctx, cancel := context.WithTimeout(ctx, 2*visitTime)
	defer cancel()
	s := c.session(r, c.some(r))
	return c.raw(ctx, c.route(r), tinyWindow, s, func(body io.Reader) error {
		return s.read(body, make([]byte, 1+r.IntN(2000)), func() bool { return pause(ctx, within(r, 200*time.Millisecond)) })
	})
}

func (c *crowd) stallLive(ctx context.Context, r *rand.Rand) error {
	f := c.ledger.filter([...]string{"large.burst", "large.*", "t.>"}[r.IntN(3)])
	return c.stallThenRead(ctx, r, resume(c.ledger, f, "", 0))
}

func (c *crowd) stallHistory(ctx context.Context, r *rand.Rand) error {
	_, head := c.ledger.newest()
	return c.stallThenRead(ctx, r, after(c.ledger, c.some(r), head-min(head, r.Uint64N(maxEvents))))
}

// stallThenRead stalls, and then reads until nothing arrives for a while.
func (c *crowd) stallThenRead(ctx context.Context, r *rand.Rand, s *session) error {
	ctx, cancel := context.WithTimeout(ctx, stallTime+visitTime)
	defer cancel()
	return c.raw(ctx, c.route(r), tinyWindow, s, func(body io.Reader) error {
		pause(ctx, within(r, stallTime))
		return s.read(body, make([]byte, 64<<10), s.caughtUp(r.Uint64N(500)))
	})
}

func (c *crowd) stallForGood(ctx context.Context, r *rand.Rand) error {
	s := c.session(r, c.some(r))
	return c.raw(ctx, c.route(r), tinyWindow, s, func(io.Reader) error {
		pause(ctx, within(r, stallTime))
		return nil
	})
}

func (c *crowd) stallShared(ctx context.Context, r *rand.Rand) error {
	ctx, cancel := context.WithTimeout(ctx, stallTime+visitTime)
	defer cancel()
	_, head := c.ledger.newest()
	route, s := c.route(r), after(c.ledger, c.ledger.filter("t.>"), head-min(head, maxEvents))
	stall := sync.OnceFunc(func() { pause(ctx, within(r, stallTime)) })
	more := s.caughtUp(r.Uint64N(500))
	return c.follow(ctx, route, route.rough, s, 64<<10, func() bool {
		stall()
		return more()
	})
}

func within(r *rand.Rand, d time.Duration) time.Duration { return time.Duration(r.Int64N(int64(d))) }

// pause waits, and reports whether ctx is not done.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// raw opens an HTTP/1.1 connection, with a small window if one is given.
func (c *crowd) raw(ctx context.Context, route *route, window int, s *session, use func(body io.Reader) error) error {
	conn, err := route.dial(ctx, window)
	if err != nil {
		return nil
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	if _, err := io.WriteString(conn, requestOf(route, s)); err != nil {
		return nil
	}
	response, err := http.ReadResponse(bufio.NewReaderSize(conn, 512), nil)
	if err != nil {
		return nil
	}
	body, err := c.accept(s, response, route.coding)
	if err == nil {
		defer body.Close()
		err = use(body)
	}
	return c.verdict(s, route.String()+" on a socket", err)
}

func requestOf(route *route, s *session) string {
	lines := []string{"GET " + target(s.filter) + " HTTP/1.1", "Host: soak"}
	if s.asked != "" {
		lines = append(lines, "Last-Event-ID: "+s.asked)
	}
	if route.coding != "" {
		lines = append(lines, "Accept-Encoding: "+route.coding)
	}
	return strings.Join(lines, "\r\n") + "\r\n\r\n"
}

// dial opens a connection for HTTP/1.1, over TLS if the front uses it.
func (f *front) dial(ctx context.Context, window int) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, visitTime)
	defer cancel()
	dialer := &net.Dialer{}
	if window > 0 {
		dialer.Control = small(window)
	}
	conn, err := dialer.DialContext(ctx, "tcp", f.web.Listener.Addr().String())
	if err != nil || !f.tls {
		return conn, err
	}
	config := f.web.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
	config.NextProtos, config.ServerName = []string{"http/1.1"}, "example.com"
	secure := tls.Client(conn, config)
	if err := secure.HandshakeContext(ctx); err != nil {
		conn.Close()
		return nil, err
	}
	return secure, nil
}

// abort resets the connection.
func abort(conn net.Conn) {
	if secure, ok := conn.(*tls.Conn); ok {
		conn = secure.NetConn()
	}
	conn.(*net.TCPConn).SetLinger(0)
	conn.Close()
}

// reset resets the connection in a random state.
func (c *crowd) reset(ctx context.Context, r *rand.Rand) error {
	s := c.session(r, c.some(r))
	route := c.route(r)
	conn, err := route.dial(ctx, 0)
	if err != nil {
		return nil
	}
	defer abort(conn)
	c.upTo(ctx, r, conn, requestOf(route, s))
	return nil
}

// upTo brings a client to a random state: connected, in its request, after it, or in its stream.
func (c *crowd) upTo(ctx context.Context, r *rand.Rand, conn net.Conn, request string) {
	conn.SetDeadline(time.Now().Add(visitTime))
	if state := r.IntN(4); state == 1 {
		io.WriteString(conn, request[:r.IntN(len(request))])
	} else if state > 1 {
		io.WriteString(conn, request)
		if state == 3 {
			io.CopyN(io.Discard, conn, r.Int64N(100_000))
		}
	}
	pause(ctx, within(r, 50*time.Millisecond))
}

// halfClose closes its sending side and continues to read. It may receive everything or be disconnected, but never receive
// anything wrong.
func (c *crowd) halfClose(ctx context.Context, r *rand.Rand) error {
	ctx, cancel := context.WithTimeout(ctx, visitTime)
	defer cancel()
	s := c.session(r, c.some(r))
	route := c.route(r)
	conn, err := route.dial(ctx, 0)
	if err != nil {
		return nil
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	if r.IntN(3) == 0 {
		c.upTo(ctx, r, conn, requestOf(route, s))
		closeWrite(conn)
		io.CopyN(io.Discard, conn, 100_000)
		return nil
	}
	io.WriteString(conn, requestOf(route, s))
	if r.IntN(2) == 0 {
		closeWrite(conn)
	}
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return nil
	}
	body, err := c.accept(s, response, route.coding)
	if err == nil {
		once := sync.OnceFunc(func() { closeWrite(conn) })
		leave := r.Int64N(300)
		err = s.read(body, make([]byte, 4<<10), func() bool {
			if s.events > leave/2 {
				once()
			}
			return s.events < leave
		})
		body.Close()
	}
	return c.verdict(s, route.String()+" with a half-close", err)
}

func closeWrite(conn net.Conn) {
	conn.(interface{ CloseWrite() error }).CloseWrite()
}

// junk sends invalid data to the server.
func (c *crowd) junk(ctx context.Context, r *rand.Rand) error {
	ctx, cancel := context.WithTimeout(ctx, visitTime)
	defer cancel()
	front := c.route(r).front
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", front.web.Listener.Addr().String())
	if err == nil && front.tls && r.IntN(2) == 0 {
		conn.Close()
		conn, err = front.dial(ctx, 0)
	}
	if err != nil {
		return nil
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	noise := make([]byte, r.IntN(3000))
	for i := range noise {
		noise[i] = byte(r.Uint32())
	}
	const host = " HTTP/1.1\r\nHost: soak\r\n"
	io.WriteString(conn, [...]string{
		string(noise),
		"GET /" + host + string(noise),
		"GET /?topic=" + strings.Repeat("a", 300) + host + "\r\n",
		"GET /?" + strings.Repeat("topic=a&", 2000) + host + "\r\n",
		"GET /?topic=%zz&lastEventId=" + strings.Repeat("9", 3000) + host + "\r\n",
		"GET /" + host + "Last-Event-ID: " + strings.Repeat("-", 5000) + "\r\n\r\n",
		"GET /" + host + strings.Repeat("X: y\r\n", 20_000) + "\r\n",
		"POST /" + host + "Content-Type: application/json\r\nContent-Length: 100000\r\n\r\n{\"topic\":",
		"POST /" + host + "Transfer-Encoding: chunked\r\n\r\nffffffff\r\n",
		"HEAD /?topic=t.0.0" + host + "\r\nGET /" + host + "\r\n",
		"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + string(noise),
		"GET /" + host + "Accept-Encoding: gzip;q=, zstd;q=nan, *;q=9\r\n\r\n" + string(noise),
		"GET /" + host + "Content-Length: 10\r\n\r\n12345",
	}[r.IntN(13)])
	io.CopyN(io.Discard, conn, 10_000)
	return nil
}
