// Package netstream drives a stream by the goroutine of its request: over HTTP/2 and TLS, in a content coding, behind
// middleware, and on systems without epoll.
package netstream

import (
	"context"
	"errors"
	"io"
	"math"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/eventsource-wasm/eventsource-wasm/server/internal/coding"
	"github.com/eventsource-wasm/eventsource-wasm/server/internal/eventlog"
	"github.com/eventsource-wasm/eventsource-wasm/server/internal/stream"
)

// A Conn is where a stream is written to. Its methods block.
type Conn interface {
	io.Writer
	Flush() error
	SetWriteDeadline(time.Time) error
}

// Env is what a driver needs besides the connection.
type Env struct {
	Log   *eventlog.Log
	Fetch func(ctx context.Context, from uint64) stream.Fetched // reads on from the store

	// A simulation replaces these.
	Clock func() time.Time // for deadlines; nil means time.Now
	Pause func(*Driver)    // returns when Awake reports true; nil means to wait for that
}

// caughtUp is the position of a stream that has everything.
const caughtUp = math.MaxInt64

// A Driver is the goroutine of one stream.
type Driver struct {
	*stream.Stream
	env   Env
	conn  Conn
	coder *coding.Client

	framed   bool          // the stream frames its chunks
	deadline time.Duration // of writes
	timer    *time.Timer
	armed    atomic.Int64 // when the timer goes off, or zero

	reached atomic.Int64 // for Set.Lowest

	signal  chan struct{} // that there is something to do
	waiting atomic.Bool   // there are inputs
	mu      sync.Mutex
	inputs  []func(*stream.Stream)
	evicted bool
	done    bool
}

// New returns the driver of a stream. The coder is nil for streams that are sent as they are.
func New(env Env, s *stream.Stream, conn Conn, coder *coding.Client) *Driver {
	d := &Driver{Stream: s, env: env, conn: conn, coder: coder, signal: make(chan struct{}, 1)}
	if coder.Coding() == "" {
		d.coder = nil
	}
	d.reached.Store(s.Reached())
	return d
}

// TakeOver makes the driver write to a connection that was hijacked.
func (d *Driver) TakeOver(conn Conn, counts *stream.Counts) {
	d.conn, d.framed = conn, true
	d.deadline = 0 // hijacking undid it
	d.Detach(counts)
}

// Do has f called on the driver's goroutine, while it runs. It may be called by any goroutine.
func (d *Driver) Do(f func(*stream.Stream)) {
	d.mu.Lock()
	d.inputs = append(d.inputs, f)
	d.mu.Unlock()
	d.waiting.Store(true)
	d.wake()
}

func (d *Driver) wake() {
	select {
	case d.signal <- struct{}{}:
	default:
	}
}

// evict ends a stream that holds too much, even in the middle of a write.
func (d *Driver) evict() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.done {
		return
	}
	d.evicted = true
	d.conn.SetWriteDeadline(time.Unix(1, 0))
}

// Flush writes what is pending, and reports whether the stream goes on.
func (d *Driver) Flush() bool {
	for {
		now := d.env.Log.Now()
		if d.Next(now) != stream.Write {
			break
		}
		d.write(now)
		if !d.Pending() {
			break
		}
	}
	return d.Live()
}

// Run serves the stream until it has ended, or ctx is done.
func (d *Driver) Run(ctx context.Context) {
	waiter := d.env.Log.NewWaiter(d.Filter(), d.wake)
	defer d.env.Log.Release(waiter)
	d.WakeBy(waiter)
	forget := context.AfterFunc(ctx, func() {
		d.Do(func(s *stream.Stream) { s.End(context.Cause(ctx)) })
	})
	defer forget()
	defer d.stop()
	for {
		if d.waiting.Load() {
			d.input()
		}
		now := d.env.Log.Now()
		switch d.Next(now) {
		case stream.Wait:
			d.reached.Store(caughtUp)
			d.wait(now)
		case stream.Write:
			d.reached.Store(d.Reached())
			d.write(now)
		case stream.Fetch:
			d.reached.Store(d.Reached())
			d.Fetched(d.env.Fetch(ctx, d.Cursor.Next))
		case stream.Shutdown:
			d.finish(now)
			return
		case stream.Close:
			return
		}
	}
}

func (d *Driver) stop() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.done = true
	if d.timer != nil {
		d.timer.Stop()
	}
}

func (d *Driver) input() {
	d.mu.Lock()
	d.waiting.Store(false)
	inputs, evicted := d.inputs, d.evicted
	d.inputs = nil
	d.mu.Unlock()
	if evicted {
		d.Fail(stream.ErrPinned)
	}
	for _, f := range inputs {
		f(d.Stream)
	}
}

// Awake reports whether a stream that waits has something to do.
func (d *Driver) Awake() bool {
	select {
	case <-d.signal:
		return true
	default:
		return d.env.Log.Now() >= d.Due()
	}
}

// wait waits on one channel for everything: select would cost more than all else that a delivery does here.
func (d *Driver) wait(now time.Duration) {
	if d.env.Pause != nil {
		d.env.Pause(d)
		return
	}
	d.arm(now)
	<-d.signal
}

// arm sets the timer. It is left as it is if it goes off before there is something to do: that costs less than setting
// it at every write.
func (d *Driver) arm(now time.Duration) {
	due, armed := d.Due(), time.Duration(d.armed.Load())
	if due == stream.Forever || armed != 0 && armed <= due {
		return
	}
	d.armed.Store(int64(due))
	if rest := max(due-now, 0); d.timer == nil {
		d.timer = time.AfterFunc(rest, d.goOff)
	} else {
		d.timer.Reset(rest)
	}
}

func (d *Driver) goOff() {
	d.armed.Store(0)
	d.wake()
}

// write writes the whole output.
func (d *Driver) write(now time.Duration) {
	d.setDeadline(now)
	n, err := d.writeOutput()
	if err == nil {
		err = d.conn.Flush()
	}
	if err == nil {
		d.WroteAll(n, d.env.Log.Now())
		return
	}
	d.Wrote(min(n, d.Size()-1), d.env.Log.Now())
	d.fail(err)
}

func (d *Driver) fail(err error) {
	d.mu.Lock()
	evicted := d.evicted
	d.mu.Unlock()
	switch {
	case evicted:
		d.Fail(stream.ErrPinned)
	case errors.Is(err, os.ErrDeadlineExceeded):
		d.TimedOut(d.env.Log.Now())
	default:
		d.Fail(err)
	}
}

func (d *Driver) writeOutput() (n int, err error) {
	switch {
	case d.coder != nil:
		return d.coder.Write(d.Stream, func(p []byte) error {
			_, err := d.conn.Write(p)
			return err
		})
	case d.framed:
		return d.writeFramed()
	}
	for block := range d.Blocks() {
		written, err := d.conn.Write(block)
		if n += written; err != nil {
			return n, err
		}
	}
	return n, nil
}

// windows are storage for what is framed, which streams do not keep while they are silent.
var windows = sync.Pool{New: func() any { return new([eventlog.SegmentBytes]byte) }}

func (d *Driver) writeFramed() (n int, err error) {
	window := windows.Get().(*[eventlog.SegmentBytes]byte)
	defer windows.Put(window)
	for n < d.Size() && err == nil {
		var written int
		written, err = d.conn.Write(d.AppendFrom(window[:0], n, len(window)))
		n += written
	}
	return n, err
}

// finish writes the end of a body in a coding. What follows is net/http's to write.
func (d *Driver) finish(now time.Duration) {
	d.deadline = 0 // the last one may be long past
	d.setDeadline(now)
	if d.coder == nil {
		return
	}
	if _, err := d.conn.Write(d.coder.End()); err == nil {
		d.conn.Flush()
	}
}

// setDeadline gives what is written next the time it may take, or up to an eighth less, since a deadline that is that
// near is not moved. Without a limit it still undoes the deadline of the http.Server.
func (d *Driver) setDeadline(now time.Duration) {
	due := d.Deadline(now)
	if slack := (due - now) / 8; d.deadline != 0 && (d.deadline == due || d.deadline < due && due-d.deadline < slack) {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.evicted {
		return
	}
	if d.deadline = due; due == stream.Forever {
		d.conn.SetWriteDeadline(time.Time{})
		return
	}
	d.conn.SetWriteDeadline(d.clock().Add(due - now))
}

func (d *Driver) clock() time.Time {
	if d.env.Clock != nil {
		return d.env.Clock()
	}
	return time.Now()
}
