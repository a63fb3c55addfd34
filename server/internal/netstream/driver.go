// Package netstream drives streams on connections that can only be written to by blocking methods: over HTTP/2 and TLS,
// with a content coding, behind middleware, and on systems without epoll.
//
// Each stream has a goroutine. Waking a thousand goroutines for one event costs more than writing it. So carriers, as
// many goroutines as there are processors, write to the streams that have nothing else to do.
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

// A Conn is the connection of a stream. Its methods block.
type Conn interface {
	io.Writer
	Flush() error
	SetWriteDeadline(time.Time) error
}

// Env is what a driver needs besides the connection.
type Env struct {
	Log   *eventlog.Log
	Fetch func(ctx context.Context, from uint64) stream.Fetched // reads from the store

	Carry func(*Driver) // queues the stream for a carrier; nil means that its goroutine serves it

	Panicked func(problem any, stack []byte) // reports a panic on a carrier, whose stack is lost; may be nil

	// A simulation replaces these.
	Clock func() time.Time // for deadlines; nil means time.Now
	Arm   func()           // stands in for setting a timer
	Pause func(*Driver)    // returns when Awake reports true; nil means the driver waits itself
}

// ErrPanicked is the end of a stream whose writer panicked or called [runtime.Goexit].
var ErrPanicked = errors.New("writing to the client panicked")

// caughtUp is the position of a stream that has all events.
const caughtUp = math.MaxInt64

// Only its owner uses a stream. The goroutine that changes the state from idle becomes the owner.
const (
	idle  uint32 = iota // no owner: the stream waits
	taken               // owned by its goroutine or a carrier
	again               // taken, and the owner may have missed an input
)

// A Driver drives one stream.
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

	state  atomic.Uint32
	signal chan struct{} // gives the stream to its goroutine

	// These fields belong to the owner of the stream.
	command stream.Command // for its goroutine to carry out, unless Wait
	failure *failure       // of a carrier
	alone   int            // how many more times its goroutine serves the stream
	penalty int            // half of alone after the next write that blocks

	waiting atomic.Bool // there are inputs
	mu      sync.Mutex
	inputs  []func(*stream.Stream)
	evicted atomic.Bool
	done    bool
}

// New returns the driver of a stream. coder is nil for an uncompressed stream.
func New(env Env, s *stream.Stream, conn Conn, coder *coding.Client) *Driver {
	d := &Driver{Stream: s, env: env, conn: conn, coder: coder, signal: make(chan struct{}, 1)}
	d.state.Store(taken)
	if coder.Coding() == "" {
		d.coder = nil
	}
	d.reached.Store(s.Reached())
	return d
}

// TakeOver makes the driver write to a hijacked connection.
func (d *Driver) TakeOver(conn Conn, counts *stream.Counts) {
	d.conn, d.framed = conn, true
	d.deadline = 0 // hijacking removed the deadline
	d.Detach(counts)
}

// Do calls f on the driver's goroutine while it runs. Any goroutine may call Do.
func (d *Driver) Do(f func(*stream.Stream)) {
	d.mu.Lock()
	d.inputs = append(d.inputs, f)
	d.mu.Unlock()
	d.waiting.Store(true)
	d.wake()
}

// wake makes a goroutine check the stream.
func (d *Driver) wake() {
	for {
		switch state := d.state.Load(); {
		case state == again:
			return
		case state == taken && d.state.CompareAndSwap(taken, again):
			return
		case state == idle && d.state.CompareAndSwap(idle, taken):
			if d.env.Carry != nil && d.alone == 0 {
				d.env.Carry(d)
			} else {
				d.signal <- struct{}{}
			}
			return
		}
	}
}

// release makes the stream wait. If there is something to do, it reports false and does nothing.
func (d *Driver) release() bool {
	if d.state.CompareAndSwap(taken, idle) {
		return true
	}
	d.state.Store(taken)
	return false
}

// evict ends a stream that holds too much, even in the middle of a write.
func (d *Driver) evict() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.done || !d.env.Log.MustLetGo(&d.Cursor) {
		return
	}
	d.evicted.Store(true)
	d.conn.SetWriteDeadline(time.Unix(1, 0))
}

// mustGo reports whether the stream was evicted. If it let go at the same time, it continues.
func (d *Driver) mustGo() bool {
	if !d.evicted.Load() {
		return false
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.env.Log.MustLetGo(&d.Cursor) {
		return true
	}
	d.evicted.Store(false)
	d.deadline = 0 // the deadline is in the past
	return false
}

// Flush writes pending output, and reports whether the stream continues.
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
	defer func() {
		if d.Ended() == nil {
			d.Fail(ErrPanicked)
		}
	}()
	now := d.env.Log.Now()
	for {
		command := d.command
		if d.command = stream.Wait; command == stream.Wait {
			command = d.next(now)
		}
		switch command {
		case stream.Wait:
			d.alone = max(d.alone-1, 0)
			d.wait(now)
			now = d.env.Log.Now()
		case stream.Write:
			now = d.write(now)
		case stream.Fetch:
			d.Fetched(d.env.Fetch(ctx, d.Cursor.Next))
			now = d.env.Log.Now()
		case stream.Shutdown:
			d.finish(now)
			return
		case stream.Close:
			return
		}
	}
}

// next processes the inputs and returns the next command.
func (d *Driver) next(now time.Duration) stream.Command {
	if d.waiting.Load() {
		d.input()
	}
	if d.mustGo() {
		d.Fail(stream.ErrPinned)
	}
	command := d.Next(now)
	switch command {
	case stream.Wait:
		d.reached.Store(caughtUp)
	case stream.Write, stream.Fetch:
		d.reached.Store(d.Reached())
	}
	return command
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
	inputs := d.inputs
	d.inputs = nil
	d.mu.Unlock()
	for _, f := range inputs {
		f(d.Stream)
	}
}

// Awake reports whether the goroutine of a waiting stream has work. It replaces timers in a simulation.
func (d *Driver) Awake() bool {
	if d.state.Load() == idle && d.env.Log.Now() >= d.Due() {
		d.wake()
	}
	return len(d.signal) > 0
}

// wait returns when the goroutine has the stream again. It waits on a single channel, because select would cost more
// than the rest of a delivery.
func (d *Driver) wait(now time.Duration) {
	d.arm(now)
	if !d.release() {
		return
	}
	if d.env.Pause != nil {
		d.env.Pause(d)
	}
	<-d.signal
	if d.failure != nil {
		d.failure.raise()
	}
}

// arm sets the timer. It keeps a timer that fires too early, which is cheaper than setting it at every write.
func (d *Driver) arm(now time.Duration) {
	if d.env.Arm != nil {
		d.env.Arm()
		return
	}
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

// write writes the whole output, and returns the time afterwards.
func (d *Driver) write(now time.Duration) time.Duration {
	d.setDeadline(now)
	n, err := d.writeOutput()
	if err == nil {
		err = d.conn.Flush()
	}
	now = d.env.Log.Now()
	if err == nil {
		d.WroteAll(n, now)
		return now
	}
	d.Wrote(min(n, d.Size()-1), now)
	d.fail(err, now)
	return now
}

func (d *Driver) fail(err error, now time.Duration) {
	switch {
	case d.evicted.Load():
		d.Fail(stream.ErrPinned)
	case errors.Is(err, os.ErrDeadlineExceeded):
		d.TimedOut(now)
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

// windows are buffers for framing, so that silent streams need none.
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

// finish writes the end of a compressed body. net/http writes the rest.
func (d *Driver) finish(now time.Duration) {
	d.deadline = 0 // the last deadline may be in the past
	d.setDeadline(now)
	if d.coder == nil {
		return
	}
	if _, err := d.conn.Write(d.coder.End()); err == nil {
		d.conn.Flush()
	}
}

// setDeadline sets the deadline of the next write. It keeps a deadline that is up to an eighth of the timeout too
// early. Without a limit, it removes the deadline of the http.Server.
func (d *Driver) setDeadline(now time.Duration) {
	due := d.Deadline(now)
	if slack := (due - now) / 8; d.deadline != 0 && (d.deadline == due || d.deadline < due && due-d.deadline < slack) {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.evicted.Load() {
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
