package server

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"runtime/debug"
	"slices"
	"time"

	"github.com/eventsource-wasm/eventsource-wasm/server/internal/coding"
	"github.com/eventsource-wasm/eventsource-wasm/server/internal/epoll"
	"github.com/eventsource-wasm/eventsource-wasm/server/internal/eventlog"
	"github.com/eventsource-wasm/eventsource-wasm/server/internal/netstream"
	"github.com/eventsource-wasm/eventsource-wasm/server/internal/stream"
	"github.com/eventsource-wasm/eventsource-wasm/server/internal/topic"
	"github.com/eventsource-wasm/eventsource-wasm/sse"
)

// Why a stream ended: the values of [StreamEnd.Reason], besides those of a connection that fails and of a Store, and
// [context.DeadlineExceeded] for the deadline of a request.
var (
	ErrGone         = stream.ErrGone         // the client closed the connection
	ErrLagged       = eventlog.ErrLag        // it exceeded Handler.MaxLag
	ErrPinned       = stream.ErrPinned       // it held the oldest memory when Broker.MaxPinnedBytes was exceeded
	ErrDraining     = stream.ErrDraining     // Broker.Drain
	ErrDisconnected = eventlog.ErrBroken     // Broker.Break
	ErrBrokerClosed = eventlog.ErrEnd        // Broker.Close
	ErrWriteTimeout = os.ErrDeadlineExceeded // Handler.WriteTimeout
	ErrExpired      = errors.New("the grant expired")
	ErrAged         = errors.New("the stream reached its age")
	ErrUnasked      = errors.New("the client went on sending after its request")
)

var heartbeat = sse.AppendComment(nil, "")

// A StreamEnd describes a stream that has ended.
type StreamEnd struct {
	Duration time.Duration
	Bytes    int64 // written, with the framing of chunks if Detached
	Events   int64 // written
	Detached bool  // it had left the goroutine of its request: see Handler.NoHijack
	Reason   error
}

// An opening is a request that becomes a stream.
type opening struct {
	handler *Handler
	broker  *Broker
	writer  http.ResponseWriter
	request *http.Request
	control *http.ResponseController
	flush   func() error
	filter  *topic.Filter
	account account
	cursor  eventlog.Cursor
	gap     *eventlog.Gap
	coder   *coding.Client
	onEnd   func(StreamEnd)
}

// newOpening places the stream in the log, or before it. The error is one of the store's.
func (h *Handler) newOpening(w http.ResponseWriter, r *http.Request, lastEventID string, f *topic.Filter, a account) (*opening, error) {
	o := &opening{
		handler: h, broker: h.Broker, filter: f, account: a,
		request: r, writer: w, control: http.NewResponseController(w),
	}
	var err error
	policy := eventlog.Policy{MaxLag: h.maxLag(), FromHead: h.GapPolicy == FromHead}
	if o.cursor, o.gap, err = o.broker.seek(r.Context(), lastEventID, policy); err != nil {
		return nil, err
	}
	if c := coding.Negotiate(r.Header.Values("Accept-Encoding"), h.Codings); c != nil {
		o.coder = o.broker.codings.Enter(f, c, coding.Limits{
			Sharing:  cmp.Or(h.MinSharing, DefaultMinSharing),
			Encoders: cmp.Or(h.MaxEncoders, DefaultMaxEncoders),
		})
	}
	return o, nil
}

// serve serves the stream, or hands it over: then detached is true, and the stream is no longer counted by the caller.
// It returns an error only if nothing is written yet.
func (o *opening) serve(grant Grant, fresh bool) (detached bool, err error) {
	detachable := o.detachable()
	if detachable {
		o.writer.Header().Set("Connection", "close")
	}
	if err := o.begin(); err != nil {
		return false, err
	}
	if o.handler.Trace != nil {
		o.onEnd = o.handler.Trace(o.request)
	}
	s := stream.New(o.handler.config(), o.broker.log(), o.filter, o.broker.shard(), o.cursor, o.greeting(fresh))
	o.bound(&s, grant)
	env := netstream.Env{Log: o.broker.log(), Fetch: o.broker.fetchQueued, Carry: o.broker.carriers.Carry}
	d := netstream.New(env, &s, &responseConn{o.writer, o.flush, o.control}, o.coder)
	if d.Flush() && detachable && o.writer.Header().Get("Content-Encoding") == "" {
		if o.hijack(d) {
			return true, nil
		}
	}
	o.run(d)
	return false, nil
}

// run serves the stream by this goroutine.
func (o *opening) run(d *netstream.Driver) {
	o.broker.goroutines.Add(d)
	d.Run(o.request.Context())
	o.broker.goroutines.Remove(d)
	o.handler.report(d.Stream, o.request.RemoteAddr, o.onEnd, false)
	reason := d.Ended()
	if !d.Complete() && (reason == ErrDisconnected || reason == ErrPinned) {
		panic(http.ErrAbortHandler) // or net/http would write the end of the body
	}
}

// report says that a stream has ended, once. What onEnd does wrong is not to end the streams of others, which may share
// the goroutine.
func (h *Handler) report(s *stream.Stream, remote string, onEnd func(StreamEnd), detached bool) {
	h.logEnd(remote, s.Ended())
	if onEnd == nil {
		return
	}
	defer func() {
		if problem := recover(); problem != nil {
			h.logger().Error("the function of Handler.Trace panicked", "panic", problem, "stack", string(debug.Stack()))
		}
	}()
	onEnd(StreamEnd{
		Duration: h.Broker.log().Now() - s.Begun,
		Bytes:    s.Bytes,
		Events:   s.Events,
		Detached: detached,
		Reason:   s.Ended(),
	})
}

func (h *Handler) logEnd(remote string, reason error) {
	level := slog.LevelDebug
	if errors.Is(reason, ErrLagged) || errors.Is(reason, ErrPinned) || errors.Is(reason, ErrWriteTimeout) {
		level = slog.LevelInfo
	}
	h.logger().Log(context.Background(), level, "stream ended", "remote", remote, "reason", reason)
}

// bound has the stream end when the grant expires, when it is too old, or when a middleware set a deadline.
func (o *opening) bound(s *stream.Stream, grant Grant) {
	now := o.broker.log().Now()
	in := func(d time.Duration) time.Duration { return stream.After(now, max(d, 0)) }
	if !grant.Expires.IsZero() {
		s.ExpireAt(in(time.Until(grant.Expires)), ErrExpired)
	}
	if age := o.handler.MaxStreamAge; age > 0 {
		s.ExpireAt(in(age-within(age/10)), ErrAged)
	}
	if deadline, ok := o.request.Context().Deadline(); ok {
		s.ExpireAt(in(time.Until(deadline)), context.DeadlineExceeded)
	}
}

// greeting is the stream's first bytes, without which Firefox does not fire "open". A client without an id gets one to
// resume from: otherwise it would lose what is published between a break before the first event and its return.
func (o *opening) greeting(fresh bool) []byte {
	block := slices.Clone(heartbeat)
	if retry := o.handler.Retry.Milliseconds(); retry > 0 {
		block = sse.AppendRetry(block, uint64(retry))
	}
	switch {
	case o.gap != nil:
		o.broker.counts[0].Gaps.Add(1)
		block = o.gap.Append(block)
	case fresh:
		block = o.broker.log().AppendIDBlock(block, o.cursor.Next-1)
	}
	return block
}

func (o *opening) setHeaders() {
	header := o.writer.Header()
	header.Set("Content-Type", sse.ContentType)
	header.Set("Cache-Control", "no-store, no-transform")
	header.Set("X-Accel-Buffering", "no") // or nginx holds events back
	if len(o.handler.Codings) > 0 {
		header.Add("Vary", "Accept-Encoding")
	}
	if name := o.coder.Coding(); name != "" {
		header.Set("Content-Encoding", name)
	}
	if o.gap != nil {
		header.Set("Event-Gap", o.gap.Reason)
	}
}

// begin sends the head, unless the writer cannot stream. WriteHeader comes before the first Flush, since middleware may
// decide there what it does with the body. Errors of the connection are met again by the next write.
func (o *opening) begin() error {
	if o.flush = flusher(o.writer); o.flush == nil {
		return &Error{
			Status: http.StatusInternalServerError,
			Message: fmt.Sprintf("cannot stream: %T has neither Flush nor Unwrap; "+
				"the middleware that wraps the http.ResponseWriter must have Unwrap() http.ResponseWriter", o.writer),
		}
	}
	// The server's ReadTimeout would end the stream.
	read := o.control.SetReadDeadline(time.Time{})
	if write := o.control.SetWriteDeadline(time.Time{}); errors.Is(read, http.ErrNotSupported) || errors.Is(write, http.ErrNotSupported) {
		o.broker.noDeadlines.Do(func() {
			o.handler.logger().Warn("streams have no deadlines: the writer has no Unwrap, so that timeouts of the http.Server end streams and WriteTimeout does not apply",
				"writer", fmt.Sprintf("%T", o.writer))
		})
	}
	o.setHeaders()
	o.writer.WriteHeader(http.StatusOK)
	o.flush()
	return nil
}

// flusher returns how to flush w, looked up once as a ResponseController does every time, or nil.
func flusher(w http.ResponseWriter) func() error {
	for {
		switch writer := w.(type) {
		case interface{ FlushError() error }:
			return writer.FlushError
		case http.Flusher:
			return func() error { writer.Flush(); return nil }
		case interface{ Unwrap() http.ResponseWriter }:
			w = writer.Unwrap()
		default:
			return nil
		}
	}
}

// A responseConn writes to the answer of a request.
type responseConn struct {
	io.Writer
	flush   func() error
	control *http.ResponseController
}

func (c *responseConn) Flush() error { return c.flush() }

func (c *responseConn) SetWriteDeadline(t time.Time) error { return c.control.SetWriteDeadline(t) }

// detachable reports whether the stream may leave the goroutine of its request. A writer that is a middleware's says so
// by being an [http.Hijacker] itself: one that only has Unwrap may need to see what is written.
func (o *opening) detachable() bool {
	r := o.request
	if o.handler.NoHijack || o.coder.Coding() != "" || r.ProtoMajor != 1 || r.ProtoMinor == 0 || r.ContentLength != 0 {
		return false
	}
	_, can := o.writer.(http.Hijacker)
	return can && r.Context().Value(http.LocalAddrContextKey) != nil // it is served by net/http
}

// hijack takes the connection over, and reports whether it did. The stream goes on without a goroutine or, if the
// connection is not the operating system's own, with a new one: that writes chunks directly, and does without the
// buffers and the stack of the request's.
func (o *opening) hijack(d *netstream.Driver) bool {
	conn, buffered, err := o.writer.(http.Hijacker).Hijack()
	if err != nil {
		return false
	}
	ended := o.finisher()
	if o.broker.epoll.Attach(conn, d.Stream, o.handler.peerTimeout(), ended) == nil {
		return true
	}
	if over, ok := conn.(interface{ NetConn() net.Conn }); ok { // TLS
		epoll.SetPeerTimeout(over.NetConn(), o.handler.peerTimeout())
	}
	d.TakeOver(rawConn{conn}, o.broker.shard())
	go serveRaw(o.broker, d, conn, buffered.Reader, ended)
	return true
}

// serveRaw serves a stream on a connection that was hijacked.
func serveRaw(b *Broker, d *netstream.Driver, conn net.Conn, r *bufio.Reader, ended epoll.Ended) {
	go watch(d, r)
	b.goroutines.Add(d)
	d.Run(context.Background())
	b.goroutines.Remove(d)
	conn.Close()
	ended(d.Stream)
}

// finisher returns what ends a stream that has left its request. It keeps as little of that as it can.
func (o *opening) finisher() epoll.Ended {
	h, a, f, c, remote, onEnd := o.handler, o.account, o.filter, o.coder, o.request.RemoteAddr, o.onEnd
	return func(s *stream.Stream) {
		h.report(s, remote, onEnd, true)
		c.Leave()
		h.Broker.leave(a, f)
	}
}

// A rawConn is a connection that was hijacked and is not the system's own: of TLS, or of a listener that limits
// connections or reads the protocol of a proxy.
type rawConn struct{ net.Conn }

func (rawConn) Flush() error { return nil }

// maxUnasked is how much a client may send after its request: what it had sent before the head of the answer, which says
// that this is the connection's last request, is on its way.
const maxUnasked = 256 << 10

// watch ends the stream when the client has gone, as net/http does not tell any more, or if it goes on sending. What it
// sends means nothing.
func watch(d *netstream.Driver, r *bufio.Reader) {
	if n, _ := io.Copy(io.Discard, io.LimitReader(r, maxUnasked)); n == maxUnasked {
		d.Do(func(s *stream.Stream) { s.End(ErrUnasked) })
		return
	}
	d.Do((*stream.Stream).HalfClosed)
}
