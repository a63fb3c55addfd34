package server

import (
	"cmp"
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/eventsource-wasm/eventsource-wasm/sse"
)

// errDraining refuses a stream, and ends those that are there.
var errDraining = errors.New("server: the broker is being drained")

// commonRetry is the reconnection time of Chromium and WebKit. Firefox has 5 s.
const commonRetry = 3 * time.Second

// Drain ends all streams, each at a random moment within the window, so that those who had them do not return in one
// instant, and for the same reason tells each a reconnection time of its own, of once to twice [Handler.Retry] or, if
// that is zero, 3 s. Until its moment a stream goes on; publishing does anyway. New streams are answered 503 from the
// start, with a time to retry after.
//
// It returns nil when no stream is left, and else ctx's cause when that is done. It may be called again, such as with
// another window. A program that stops calls it, then [http.Server.Shutdown], which does not wait for streams that left
// the goroutines of their requests, and then Close. After Close, which ends streams when they have everything, it only
// waits.
func (b *Broker) Drain(ctx context.Context, window time.Duration) error {
	empty := b.departures.begin(window)
	b.broadcasters.each(func(c *broadcaster) {
		c.order(func() { c.drain(window) })
	})
	if b.connections.Load() == 0 {
		return nil
	}
	select {
	case <-empty:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// departures ends the streams that have goroutines, and knows when none is left of either kind.
type departures struct {
	mu       sync.Mutex
	open     map[*stream]context.CancelCauseFunc
	draining bool
	window   time.Duration
	empty    chan struct{} // closed when draining and done
}

func (d *departures) begin(window time.Duration) (empty <-chan struct{}) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.draining, d.window = true, window
	if d.empty == nil {
		d.empty = make(chan struct{})
	}
	for s, end := range d.open {
		d.schedule(s, end)
	}
	return d.empty
}

// schedule ends the stream at its moment, unless the log is closed by then: such a stream ends when it has all of it,
// and nowhere else could its client get that.
func (d *departures) schedule(s *stream, end context.CancelCauseFunc) {
	time.AfterFunc(within(d.window), func() {
		if !s.log.isClosed() {
			end(errDraining)
		}
	})
}

// add has end called when it is time for the stream.
func (d *departures) add(s *stream, end context.CancelCauseFunc) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.open == nil {
		d.open = map[*stream]context.CancelCauseFunc{}
	}
	d.open[s] = end
	if d.draining {
		d.schedule(s, end)
	}
}

func (d *departures) remove(s *stream) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.open, s)
}

func (d *departures) begun() (window time.Duration, draining bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.window, d.draining
}

// done is called when no stream is left.
func (d *departures) done() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.empty == nil {
		return
	}
	select {
	case <-d.empty:
	default:
		close(d.empty)
	}
}

// within returns a random part of d.
func within(d time.Duration) time.Duration {
	if d <= 0 {
		return 0
	}
	return rand.N(d)
}

// farewell returns what a stream says last that is drained.
func (h *Handler) farewell() []byte {
	retry := cmp.Or(h.Retry, commonRetry)
	retry += within(retry)
	return append(sse.AppendRetry(nil, uint64(retry.Milliseconds())), '\n')
}
