package server

import (
	"cmp"
	"context"
	"errors"
	"iter"
	"log/slog"
	"math"
	"net/http"
	"os"
	"slices"
	"time"

	"github.com/eventsource-wasm/eventsource-wasm/sse"
)

// errExpired ends a stream whose grant is over.
var errExpired = errors.New("the grant has expired")

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

	request  *http.Request
	writer   http.ResponseWriter
	control  *http.ResponseController
	timeout  time.Duration
	interval time.Duration // of heartbeats
	silence  *time.Timer
}

// newStream places the stream in the log.
func (h *Handler) newStream(w http.ResponseWriter, r *http.Request, lastEventID string, topics *filter) *stream {
	s := &stream{
		handler: h,
		broker:  h.Broker,
		log:     h.Broker.log(),
		topics:  topics,
		fresh:   lastEventID == "",

		request:  r,
		writer:   w,
		control:  http.NewResponseController(w),
		timeout:  cmp.Or(h.WriteTimeout, DefaultWriteTimeout),
		interval: cmp.Or(h.Heartbeat, DefaultHeartbeat),
	}
	s.cursor, s.gap = s.log.seek(lastEventID, cmp.Or(h.MaxLag, DefaultMaxLag))
	if s.interval < 0 {
		s.interval = math.MaxInt64
	}
	return s
}

// serve returns an error only if nothing is written yet.
func (s *stream) serve(ctx context.Context) error {
	if err := s.begin(); err != nil {
		return err
	}
	s.silence = time.NewTimer(s.interval)
	defer s.silence.Stop()

	err := s.greet()
	for err == nil {
		err = s.step(ctx)
	}
	s.logEnd(err)
	if errors.Is(err, errBroken) {
		panic(http.ErrAbortHandler)
	}
	// net/http is going to write the end of the body, and the last deadline may be long past.
	s.setDeadline()
	return nil
}

func (s *stream) setHeaders() {
	header := s.writer.Header()
	header.Set("Content-Type", sse.ContentType)
	header.Set("Cache-Control", "no-store, no-transform")
	header.Set("X-Accel-Buffering", "no") // or nginx holds events back
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
		var err error
		if block, err = sse.AppendID(block, s.log.id(s.cursor.next-1)); err != nil {
			return err
		}
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
		return s.send(heartbeat)
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// deliver writes those events of p that the stream is for, all that are neighbours at once.
func (s *stream) deliver(p part) error {
	count := 0
	for block, events := range s.topics.runs(p) {
		if count == 0 {
			s.setDeadline()
		}
		if _, err := s.writer.Write(block); err != nil {
			return err
		}
		count += events
	}
	if count == 0 {
		return nil
	}
	s.broker.delivered.Add(int64(count))
	return s.flush()
}

func (s *stream) sendGap(dst []byte, g *gap) error {
	s.broker.gaps.Add(1)
	return s.send(g.append(dst))
}

func (s *stream) send(block []byte) error {
	s.setDeadline()
	if _, err := s.writer.Write(block); err != nil {
		return err
	}
	return s.flush()
}

func (s *stream) flush() error {
	s.silence.Reset(s.interval)
	return s.control.Flush()
}

// setDeadline gives the writes up to the next call the time they may take. Without a timeout it still undoes the
// server's.
func (s *stream) setDeadline() error {
	var deadline time.Time
	if s.timeout >= 0 {
		deadline = time.Now().Add(s.timeout)
	}
	return s.control.SetWriteDeadline(deadline)
}

func (s *stream) logEnd(err error) {
	level := slog.LevelDebug
	if errors.Is(err, errLag) || errors.Is(err, os.ErrDeadlineExceeded) {
		level = slog.LevelInfo
	}
	s.handler.logger().Log(s.request.Context(), level, "stream ended", "remote", s.request.RemoteAddr, "reason", err)
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
