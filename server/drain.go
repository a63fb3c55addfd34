package server

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/eventsource-wasm/eventsource-wasm/server/internal/stream"
)

// commonRetry is the default reconnection time of Chromium and WebKit. Firefox uses 5 s.
const commonRetry = 3 * time.Second

// Drain ends all streams, each at a random moment within the window. Each client gets a random reconnection time
// between one and two times [Handler.Retry], or 3 s if that is zero. So clients do not reconnect all at once. Until its
// moment, a stream continues, and publishing continues anyway. New streams get 503 with Retry-After immediately.
//
// Drain returns nil when no stream is left, or the cause of ctx when ctx is done. It can be called again, for example
// with a shorter window. To stop a program, call Drain, then [http.Server.Shutdown], which does not wait for streams
// that left the goroutine of their request, and then Close. After Close, Drain only waits.
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

// A drainState records whether the broker is draining, and signals when no stream is left.
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
