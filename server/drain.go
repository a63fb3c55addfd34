package server

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/eventsource-wasm/eventsource-wasm/server/internal/stream"
)

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
	log := b.log()
	empty := b.drain.begin(window)
	b.epoll.Drain(window)
	b.goroutines.Drain(func(s *stream.Stream) {
		s.DepartAt(log.Now()+within(window), s.Retry()+within(s.Retry()))
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

// drainState knows whether the broker drains, and when no stream is left.
type drainState struct {
	mu       sync.Mutex
	draining bool
	window   time.Duration
	empty    chan struct{} // closed when draining and done
}

func (d *drainState) begin(window time.Duration) (empty <-chan struct{}) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.draining, d.window = true, window
	if d.empty == nil {
		d.empty = make(chan struct{})
	}
	return d.empty
}

func (d *drainState) begun() (window time.Duration, draining bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.window, d.draining
}

// done is called when no stream is left.
func (d *drainState) done() {
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
