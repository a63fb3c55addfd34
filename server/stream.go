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

// Reasons for the end of a stream, in [StreamEnd.Reason]. Other reasons are errors of the connection or the Store, and
// [context.DeadlineExceeded] for the deadline of the request.
var (
	ErrClientGone     = stream.ErrGone                               // the client closed the connection
	ErrLagged         = eventlog.ErrLag                              // the client exceeded Handler.MaxLag
	ErrPinned         = stream.ErrPinned                             // the client held the oldest memory when Broker.MaxPinnedBytes was exceeded
	ErrDraining       = stream.ErrDraining                           // Broker.Drain
	ErrDisconnected   = eventlog.ErrDisconnected                     // Broker.DisconnectAll
	ErrBrokerClosed   = eventlog.ErrEnd                              // Broker.Close
	ErrWriteTimeout   = os.ErrDeadlineExceeded                       // Handler.WriteTimeout
	ErrExpired        = errors.New("grant expired")                  // Grant.Expires
	ErrMaxStreamAge   = errors.New("stream reached its maximum age") // Handler.MaxStreamAge
	ErrUnexpectedData = errors.New("client sent data after its request")
	ErrPanicked       = netstream.ErrPanicked // the http.ResponseWriter panicked
)

var heartbeat = sse.AppendComment(nil, "")

// A StreamEnd describes a stream that has ended.
type StreamEnd struct {
	Duration time.Duration
	Bytes    int64 // bytes written, including chunk framing if Detached
	Events   int64 // events written
	Detached bool  // the stream had left the goroutine of its request: see Handler.NoHijack
	Reason   error // never nil
}

// An opening is a request while it becomes a stream.
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

// newOpening finds the place of the stream in the log or the store. The error is one of the store's.
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

// serve serves the stream until it ends, or detaches it from this goroutine. A detached stream is counted out by its
// finisher, not by the caller. serve returns an error only if nothing is written yet.
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
	env := netstream.Env{Log: o.broker.log(), Fetch: o.broker.fetchQueued, Carry: o.broker.carriers.Carry, Panicked: o.handler.logPanic}
	d := netstream.New(env, &s, &responseConn{o.writer, o.flush, o.control}, o.coder)
	if d.Flush() && detachable && o.writer.Header().Get("Content-Encoding") == "" {
		if o.hijack(d) {
			return true, nil
		}
	}
	o.run(d)
	return false, nil
}

// run serves the stream on this goroutine.
func (o *opening) run(d *netstream.Driver) {
	o.broker.goroutines.Add(d)
	func() {
		defer func() { // runs even if the writer panics
			o.broker.goroutines.Remove(d)
			o.handler.report(d.Stream, o.request.RemoteAddr, o.onEnd, false)
		}()
		d.Run(o.request.Context())
	}()
	reason := d.Ended()
	if !d.Complete() && (reason == ErrDisconnected || reason == ErrPinned) {
		panic(http.ErrAbortHandler) // otherwise net/http ends the body properly
	}
}

// report logs the end of a stream and calls onEnd. It recovers a panic of onEnd, because the goroutine may serve other
// streams.
func (h *Handler) report(s *stream.Stream, remote string, onEnd func(StreamEnd), detached bool) {
	h.logEnd(remote, s.Ended())
	if onEnd == nil {
		return
	}
	defer func() {
		if problem := recover(); problem != nil {
			h.logger().Error("function returned by Handler.Trace panicked", "panic", problem, "stack", string(debug.Stack()))
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

// logPanic logs where a writer panicked. The panic continues in the goroutine of the request.
func (h *Handler) logPanic(problem any, stack []byte) {
	if problem != http.ErrAbortHandler {
		h.logger().Error("writing to a client panicked", "panic", problem, "stack", string(stack))
	}
}

func (h *Handler) logEnd(remote string, reason error) {
	level := slog.LevelDebug
	if errors.Is(reason, ErrLagged) || errors.Is(reason, ErrPinned) || errors.Is(reason, ErrWriteTimeout) {
		level = slog.LevelInfo
	}
	h.logger().Log(context.Background(), level, "stream ended", "remote", remote, "reason", reason)
}

// bound makes the stream end when the grant expires, at its maximum age, or at the deadline of the request.
func (o *opening) bound(s *stream.Stream, grant Grant) {
	now := o.broker.log().Now()
	in := func(d time.Duration) time.Duration { return stream.After(now, max(d, 0)) }
	if !grant.Expires.IsZero() {
		s.ExpireAt(in(time.Until(grant.Expires)), ErrExpired)
	}
	if age := o.handler.MaxStreamAge; age > 0 {
		s.ExpireAt(in(age-within(age/10)), ErrMaxStreamAge)
	}
	if deadline, ok := o.request.Context().Deadline(); ok {
		s.ExpireAt(in(time.Until(deadline)), context.DeadlineExceeded)
	}
}

// greeting returns the first bytes of the stream. Without them, Firefox does not fire "open". A client without an id gets
// one: otherwise, if it disconnects before its first event, it would lose what is published until it reconnects.
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
	header.Set("X-Accel-Buffering", "no") // otherwise nginx buffers events
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

// begin sends the header, unless the writer cannot stream. WriteHeader comes before the first Flush, since middleware may
// decide there how to treat the body. The next write returns connection errors again.
func (o *opening) begin() error {
	if o.flush = flusher(o.writer); o.flush == nil {
		return &HTTPError{
			Status: http.StatusInternalServerError,
			Message: fmt.Sprintf("cannot stream: %T has neither Flush nor Unwrap: "+
				"add the method Unwrap() http.ResponseWriter to the middleware", o.writer),
		}
	}
	// The server's ReadTimeout would end the stream.
	read := o.control.SetReadDeadline(time.Time{})
	if write := o.control.SetWriteDeadline(time.Time{}); errors.Is(read, http.ErrNotSupported) || errors.Is(write, http.ErrNotSupported) {
		o.broker.noDeadlines.Do(func() {
			o.handler.logger().Warn("the http.ResponseWriter does not support deadlines, so http.Server timeouts end streams and WriteTimeout does not apply: add an Unwrap method to the middleware",
				"writer", fmt.Sprintf("%T", o.writer))
		})
	}
	o.setHeaders()
	o.writer.WriteHeader(http.StatusOK)
	o.flush()
	return nil
}

// flusher returns a function that flushes w, or nil. A ResponseController would search for it on every call.
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

// A responseConn writes to the response of a request.
type responseConn struct {
	io.Writer
	flush   func() error
	control *http.ResponseController
}

func (c *responseConn) Flush() error { return c.flush() }

func (c *responseConn) SetWriteDeadline(t time.Time) error { return c.control.SetWriteDeadline(t) }

// detachable reports whether the stream may leave the goroutine of its request. Middleware permits it by implementing
// [http.Hijacker] itself: a writer that only has Unwrap may need to see what is written.
func (o *opening) detachable() bool {
	r := o.request
	if o.handler.NoHijack || o.coder.Coding() != "" || r.ProtoMajor != 1 || r.ProtoMinor == 0 || r.ContentLength != 0 {
		return false
	}
	_, can := o.writer.(http.Hijacker)
	return can && r.Context().Value(http.LocalAddrContextKey) != nil // served by net/http
}

// hijack takes over the connection and reports whether it did. The stream continues without a goroutine or, if the
// connection is not a plain socket, with a new one that writes chunks directly. That one needs neither the buffers nor
// the stack of the request.
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

// serveRaw serves a stream on a hijacked connection.
func serveRaw(b *Broker, d *netstream.Driver, conn net.Conn, r *bufio.Reader, ended epoll.Ended) {
	go watch(d, r)
	b.goroutines.Add(d)
	d.Run(context.Background())
	b.goroutines.Remove(d)
	conn.Close()
	ended(d.Stream)
}

// finisher returns a function for the end of a detached stream. It keeps as little of the request as possible.
func (o *opening) finisher() epoll.Ended {
	h, a, f, c, remote, onEnd := o.handler, o.account, o.filter, o.coder, o.request.RemoteAddr, o.onEnd
	return func(s *stream.Stream) {
		h.report(s, remote, onEnd, true)
		c.Leave()
		h.Broker.leave(a, f)
	}
}

// A rawConn is a hijacked connection that is not a plain socket: for TLS, or from a listener that wraps its connections.
type rawConn struct{ net.Conn }

func (rawConn) Flush() error { return nil }

// maxUnexpected is how many bytes a client may send after its request. It may have sent them before it received the
// header of the response, which says "Connection: close".
const maxUnexpected = 256 << 10

// watch ends the stream when the client disconnects, which net/http no longer reports, or sends too much. What it sends
// is ignored.
func watch(d *netstream.Driver, r *bufio.Reader) {
	if n, _ := io.Copy(io.Discard, io.LimitReader(r, maxUnexpected)); n == maxUnexpected {
		d.Do(func(s *stream.Stream) { s.End(ErrUnexpectedData) })
		return
	}
	d.Do((*stream.Stream).HalfClosed)
}
