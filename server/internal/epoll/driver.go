// Package epoll drives streams on plain sockets, without a goroutine for each. A few broadcasters share the
// connections. Each writes to any number of sockets and never blocks.
package epoll

import (
	"context"
	"errors"
	"fmt"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/eventsource-wasm/eventsource-wasm/server/internal/eventlog"
	"github.com/eventsource-wasm/eventsource-wasm/server/internal/stream"
)

// Env has what a driver needs besides the connections.
type Env struct {
	Log *eventlog.Log

	// Fetch reads from the store. Nil means no store.
	Fetch func(ctx context.Context, from uint64) stream.Fetched

	// Draining returns the window over which new streams end, if draining.
	Draining func() (window time.Duration, draining bool)

	// Within returns a random duration less than d.
	Within func(d time.Duration) time.Duration
}

// A Driver distributes connections over broadcasters.
type Driver struct {
	env      Env
	detached atomic.Int64

	mu   sync.Mutex
	all  []*broadcaster
	turn int
}

func New(env Env) *Driver { return &Driver{env: env} }

// Ended is called once when a stream has ended: see Stream.Ended. It must not block.
type Ended func(s *stream.Stream)

// Attach passes the connection and its stream, which must have no pending output, to the driver. If it fails, conn is
// unchanged.
func (d *Driver) Attach(conn net.Conn, s *stream.Stream, peerTimeout time.Duration, ended Ended) error {
	// Only these exact types: a type that embeds them may change their methods.
	switch conn.(type) {
	case *net.TCPConn, *net.UnixConn:
	default:
		return fmt.Errorf("%T: %w", conn, errors.ErrUnsupported)
	}
	b, err := d.reserve()
	if err != nil {
		return err
	}
	fd, err := detachSocket(conn.(syscall.Conn), peerTimeout)
	if err != nil {
		b.release()
		return err
	}
	conn.Close()
	b.attach(fd, s, ended)
	return nil
}

// Detached returns the number of streams of the driver.
func (d *Driver) Detached() int64 { return d.detached.Load() }

// reserve returns the broadcaster for one more connection. Attach the connection or release the reservation.
func (d *Driver) reserve() (*broadcaster, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.all == nil {
		for range runtime.GOMAXPROCS(0) {
			d.all = append(d.all, newBroadcaster(d.env, &d.detached))
		}
	}
	d.turn = (d.turn + 1) % len(d.all)
	return d.all[d.turn], d.all[d.turn].reserve()
}

func (d *Driver) each(f func(*broadcaster)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, b := range d.all {
		f(b)
	}
}

// Drain ends every stream at a random moment within the window.
func (d *Driver) Drain(window time.Duration) {
	d.each(func(b *broadcaster) {
		b.order(func() {
			for _, c := range b.clients {
				b.depart(c, window)
			}
		})
	})
}

// EachCounts calls f with the counters of every broadcaster.
func (d *Driver) EachCounts(f func(*stream.Counts)) {
	d.each(func(b *broadcaster) { f(&b.counts) })
}

// Lowest returns the position of the slowest stream, or CaughtUp.
func (d *Driver) Lowest() int64 {
	lowest := CaughtUp
	d.each(func(b *broadcaster) { lowest = min(lowest, b.lowest.Load()) })
	return lowest
}

// EachSocket calls f with the descriptor of every connection, on the goroutine of its broadcaster.
func (d *Driver) EachSocket(f func(fd int)) {
	d.each(func(b *broadcaster) {
		b.order(func() {
			for _, c := range b.clients {
				f(c.fd)
			}
		})
	})
}
