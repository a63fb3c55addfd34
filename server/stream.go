package server

import (
	"context"
	"errors"
	"iter"
	"log/slog"
	"net/http"
	"os"
	"slices"
	"sync/atomic"
	"time"

	"github.com/eventsource-wasm/eventsource-wasm/sse"
)

// What ends a stream at its time.
var (
	errExpired = errors.New("the grant has expired")
	errAged    = errors.New("the stream has reached its age")
)

var heartbeat = sse.AppendComment(nil, "")

// A stream is one client's answer to GET, served by the goroutine of its request.
type stream struct {
	handler *Handler
	broker  *Broker
	log     *eventLog
	topics  *filter
	cursor  cursor
	fresh   bool // the client has no id yet
	gap     *gap
	told    uint64 // sequence of the id that the client has
	seat    seat
	until   time.Time // when the stream ends; zero means never
	cause   error     // of that
	coded   *coded    // nil without a coding

	delivered atomic.Int64 // position behind what is written

	request  *http.Request
	writer   http.ResponseWriter
	control  *http.ResponseController
	hijacked *hijacked // the writer, if the connection had to be
	detached bool      // a broadcaster has the stream
	silence  *time.Timer
	active   time.Time // when the last write began
	deadline time.Time // of writes
}

// newStream places the stream in the log, or before it. The error is one of the store's.
func (h *Handler) newStream(w http.ResponseWriter, r *http.Request, lastEventID string, topics *filter) (s *stream, err error) {
	s = &stream{
		handler: h,
		broker:  h.Broker,
		log:     h.Broker.log(),
		topics:  topics,
		fresh:   lastEventID == "",
		request: r,
		writer:  w,
		control: http.NewResponseController(w),
	}
	s.cursor, s.gap, err = s.broker.seek(r.Context(), lastEventID, seeker{maxLag: h.maxLag(), fromHead: h.GapPolicy == FromHead})
	if err != nil {
		return nil, err
	}
	s.told = s.cursor.next - 1
	s.delivered.Store(s.cursor.position)
	if coding := negotiate(r.Header.Values("Accept-Encoding"), h.Codings); coding != nil {
		s.coded = h.Broker.shelf.enter(topics, coding)
	}
	return s, nil
}

// bound has the stream end when the grant expires, when it is too old, or when a middleware set a deadline.
func (s *stream) bound(grant Grant) {
	s.until, s.cause = grant.Expires, errExpired
	if age := s.handler.MaxStreamAge; age > 0 {
		s.endAt(time.Now().Add(age-within(age/10)), errAged)
	}
	if deadline, ok := s.request.Context().Deadline(); ok {
		s.endAt(deadline, context.DeadlineExceeded)
	}
}

func (s *stream) endAt(t time.Time, cause error) {
	if s.until.IsZero() || t.Before(s.until) {
		s.until, s.cause = t, cause
	}
}

// serve returns an error only if nothing is written yet.
func (s *stream) serve() error {
	detachable := s.detachable()
	if detachable {
		s.writer.Header().Set("Connection", "close")
	}
	if err := s.begin(); err != nil {
		return err
	}
	s.silence = time.NewTimer(s.handler.heartbeat())
	defer s.silence.Stop()

	err := s.greet()
	if err == nil {
		err = s.catchUp()
	}
	if err == nil && detachable {
		s.hijack()
	}
	if !s.detached {
		s.run(err)
	}
	return nil
}

// run delivers until the stream ends, which it has if err is not nil.
func (s *stream) run(err error) {
	ctx, leave := s.join()
	defer leave()
	for err == nil {
		err = s.step(ctx)
		s.delivered.Store(s.cursor.position)
	}
	if errors.Is(err, errDraining) {
		s.send(s.handler.farewell())
	}
	s.broker.countEnd(err)
	s.handler.logEnd(s.request.RemoteAddr, err)
	s.finish(err)
}

// join returns the context of a stream that has a goroutine until leave is called.
func (s *stream) join() (ctx context.Context, leave func()) {
	ctx, end := s.context()
	s.broker.departures.add(s, end)
	return ctx, func() {
		s.broker.departures.remove(s)
		end(nil)
	}
}

// context returns the request's, until the stream's time is up.
func (s *stream) context() (context.Context, context.CancelCauseFunc) {
	ctx, end := context.WithCancelCause(s.request.Context())
	if s.hijacked != nil {
		go s.hijacked.watch(end)
	}
	if s.until.IsZero() {
		return ctx, end
	}
	ctx, cancel := context.WithDeadlineCause(ctx, s.until, s.cause)
	return ctx, func(cause error) {
		end(cause)
		cancel()
	}
}

// finish lets net/http write the end of the body, or not if the stream was broken.
func (s *stream) finish(reason error) {
	// The last deadline may be long past.
	s.setDeadline()
	broken := errors.Is(reason, errBroken)
	if s.coded != nil && !broken {
		s.write(s.coded.end())
	}
	if s.hijacked != nil {
		s.hijacked.end(broken)
	} else if broken {
		panic(http.ErrAbortHandler)
	}
}

func (s *stream) setHeaders() {
	header := s.writer.Header()
	header.Set("Content-Type", sse.ContentType)
	header.Set("Cache-Control", "no-store, no-transform")
	header.Set("X-Accel-Buffering", "no") // or nginx holds events back
	if len(s.handler.Codings) > 0 {
		header.Add("Vary", "Accept-Encoding")
	}
	if s.coded != nil {
		header.Set("Content-Encoding", s.coded.key.coding)
	}
	if s.gap != nil {
		header.Set("Event-Gap", s.gap.Reason)
	}
}

// begin sends the headers, unless the writer cannot stream: it hides what that takes when it is a middleware's, without
// Unwrap. Other errors are the connection's, and the next write is going to meet them too.
func (s *stream) begin() error {
	s.setHeaders()
	// The server's ReadTimeout would end the stream.
	if err := s.control.SetReadDeadline(time.Time{}); errors.Is(err, http.ErrNotSupported) {
		return errHidden("SetReadDeadline")
	}
	if err := s.setDeadline(); errors.Is(err, http.ErrNotSupported) {
		return errHidden("SetWriteDeadline")
	}
	if err := s.control.Flush(); errors.Is(err, http.ErrNotSupported) {
		return errHidden("Flush")
	}
	return nil
}

func errHidden(method string) error {
	return &Error{
		Status: http.StatusInternalServerError,
		Message: "cannot stream: the http.ResponseWriter has no " + method +
			"; a middleware that wraps it must have Unwrap() http.ResponseWriter",
	}
}

// greet makes the stream's first bytes, without which Firefox does not fire "open". A client without an id gets one to
// resume from, or it would lose what is published between a break before the first event and its return.
func (s *stream) greet() error {
	block := slices.Clone(heartbeat)
	if retry := s.handler.Retry.Milliseconds(); retry > 0 {
		block = sse.AppendRetry(block, uint64(retry))
	}
	if s.gap != nil {
		return s.sendGap(block, s.gap)
	}
	if s.fresh {
		block = append(block, s.log.idBlock(s.told)...)
	}
	return s.send(block)
}

// step does what comes next for the stream: deliver events, tell of a gap, or wait.
func (s *stream) step(ctx context.Context) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	p, err := s.log.read(&s.cursor)
	switch {
	case errors.Is(err, errLag):
		return s.lag(err)
	case errors.Is(err, errBehind):
		return s.replay(ctx)
	case err != nil:
		return err
	case p.gap != nil:
		return s.sendGap(nil, p.gap)
	case p.wait != nil:
		return s.wait(ctx, p.wait)
	}
	return s.deliver(p)
}

func (s *stream) lag(err error) error {
	s.broker.lagged.Add(1)
	if s.handler.LagPolicy != SkipLagging {
		return err
	}
	return s.sendGap(nil, s.log.skip(&s.cursor))
}

func (s *stream) wait(ctx context.Context, wake <-chan struct{}) error {
	select {
	case <-wake:
		return nil
	case <-s.silence.C:
		return s.breakSilence()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// breakSilence makes a sign of life if the stream is silent. The timer is set when it has run out, and not with every write.
func (s *stream) breakSilence() error {
	if rest := s.handler.heartbeat() - time.Since(s.active); rest > 0 {
		s.silence.Reset(rest)
		return nil
	}
	s.silence.Reset(s.handler.heartbeat())
	return s.beat()
}

// beat is a sign of life. It tells a client that was given nothing of late, as all events were for others, how far it
// is, or it would come back with an id that is long expired.
func (s *stream) beat() error {
	now := s.cursor.next - 1
	if s.topics == nil || s.told == now {
		return s.send(s.broker.heartbeat())
	}
	s.told = now
	return s.send(s.log.idBlock(now))
}

// deliver writes those events of p that the stream is for, all that are neighbours at once.
func (s *stream) deliver(p part) error {
	if s.coded != nil {
		return s.deliverCoded(p)
	}
	count, last := 0, s.cursor.next-1
	for block, events := range s.topics.runs(p) {
		if count == 0 {
			s.setDeadline()
		}
		if err := s.write(block); err != nil {
			return err
		}
		count += events
	}
	if count == 0 {
		return nil
	}
	if s.topics.has(p.entries[len(p.entries)-1].topic) {
		s.told = last
	}
	err := s.control.Flush()
	s.broker.count(&s.cursor, count, p.entries[0].at)
	return err
}

func (s *stream) sendGap(dst []byte, g *gap) error {
	s.broker.gaps.Add(1)
	return s.send(g.append(dst))
}

func (s *stream) send(block []byte) error {
	if s.coded != nil {
		block = s.coded.plain(block)
	}
	s.setDeadline()
	if err := s.write(block); err != nil {
		return err
	}
	return s.control.Flush()
}

func (s *stream) write(block []byte) error {
	n, err := s.writer.Write(block)
	s.broker.written.Add(int64(n))
	return err
}

// setDeadline gives the writes up to the next call the time they may take, or up to an eighth less, since a deadline that
// is that near is not moved. Without a timeout it still undoes the server's.
func (s *stream) setDeadline() error {
	s.active = time.Now()
	timeout := s.handler.writeTimeout()
	if timeout < 0 {
		return s.control.SetWriteDeadline(time.Time{})
	}
	if s.deadline.Sub(s.active) > timeout-timeout/8 {
		return nil
	}
	s.deadline = s.active.Add(timeout)
	return s.control.SetWriteDeadline(s.deadline)
}

func (h *Handler) logEnd(remote string, reason error) {
	level := slog.LevelDebug
	if errors.Is(reason, errLag) || errors.Is(reason, os.ErrDeadlineExceeded) {
		level = slog.LevelInfo
	}
	h.logger().Log(context.Background(), level, "stream ended", "remote", remote, "reason", reason)
}

// runs yields the blocks of p's events that are in the filter, joined where nothing lies between them, and how many
// events each is.
func (f *filter) runs(p part) iter.Seq2[[]byte, int] {
	return func(yield func([]byte, int) bool) {
		from, end, count := p.from, p.from, 0
		for _, e := range p.entries {
			if f.has(e.topic) {
				count++
			} else {
				if count > 0 && !yield(p.data[from:end], count) {
					return
				}
				from, count = e.end, 0
			}
			end = e.end
		}
		if count > 0 {
			yield(p.data[from:end], count)
		}
	}
}
