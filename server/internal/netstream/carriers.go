package netstream

import (
	"runtime"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/eventsource-wasm/eventsource-wasm/server/internal/stream"
)

// Carriers are goroutines that write new events to waiting streams. The zero Carriers has none. They start when there
// is work and end when there is none.
//
// A connection that does not accept data blocks its carrier. Others then replace the carrier, and the stream is left to its
// own goroutine for a while. That time doubles with each block and shrinks with each turn without one. The number of
// carriers doubles with each tick in which all are blocked. So stalled clients delay others by a few ticks, and not again
// soon. A carrier that the system does not schedule for a tick also counts as blocked, which costs little.
type Carriers struct {
	mu      sync.Mutex
	queue   []*Driver // starts at head
	head    int
	working []*Carrier
	blocked int // of the working carriers
	ticking bool
}

// tick is the interval at which blocked carriers are detected. A carrier counts as blocked after one or two ticks
// without a step.
const tick = 5 * time.Millisecond

// maxOutputs is the number of outputs of a stream after which it is left to its goroutine, because it reads history.
const maxOutputs = 8

// How many times a stream is not carried after a write that blocked: first, and maximum.
const (
	minAlone = 16
	maxAlone = 1 << 16
)

// A Carrier is one goroutine.
type Carrier struct {
	Blocked atomic.Bool // it made no step for a tick, and was replaced

	steps   atomic.Uint64 // outputs written
	seen    uint64        // steps at the last tick
	now     time.Duration // when the last output was written
	current *Driver
}

// Carry queues the driver for a carrier.
func (c *Carriers) Carry(d *Driver) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.queue = append(c.queue, d)
	if len(c.working)-c.blocked < runtime.GOMAXPROCS(0) {
		c.begin()
	}
}

// begin starts a carrier.
func (c *Carriers) begin() {
	k := &Carrier{}
	c.working = append(c.working, k)
	go c.work(k)
	if !c.ticking {
		c.ticking = true
		time.AfterFunc(tick, c.look)
	}
}

// work serves the queue until it is empty.
func (c *Carriers) work(k *Carrier) {
	defer c.abort(k)
	for c.next(k) {
		k.Serve(k.current)
	}
}

// next takes the next driver from the queue, or ends the carrier.
func (c *Carriers) next(k *Carrier) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	k.current = nil
	surplus := c.unblock(k) && len(c.working)-c.blocked > runtime.GOMAXPROCS(0)
	if c.head == len(c.queue) || surplus {
		c.end(k)
		return false
	}
	k.current = c.queue[c.head]
	c.queue[c.head] = nil
	if c.head++; 2*c.head >= len(c.queue) { // otherwise a queue that is never empty would grow forever
		n := copy(c.queue, c.queue[c.head:])
		clear(c.queue[n:])
		c.queue, c.head = c.queue[:n], 0
	}
	k.steps.Add(1)
	return true
}

// unblock marks the carrier as not blocked, and reports whether it was blocked.
func (c *Carriers) unblock(k *Carrier) bool {
	if !k.Blocked.Load() {
		return false
	}
	k.Blocked.Store(false)
	c.blocked--
	return true
}

func (c *Carriers) end(k *Carrier) {
	i := slices.Index(c.working, k)
	c.working = slices.Delete(c.working, i, i+1)
}

// abort replaces a carrier that was ended by runtime.Goexit in a function that it called.
func (c *Carriers) abort(k *Carrier) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if k.current == nil {
		return
	}
	c.unblock(k)
	c.end(k)
	if c.head < len(c.queue) {
		c.begin()
	}
}

// look replaces each carrier without a step since the last tick by two.
func (c *Carriers) look() {
	c.mu.Lock()
	defer c.mu.Unlock()
	stuck := 0
	for _, k := range c.working {
		steps := k.steps.Load()
		if steps == k.seen && !k.Blocked.Load() {
			k.Blocked.Store(true)
			c.blocked++
			stuck++
		}
		k.seen = steps
	}
	for range min(2*stuck, len(c.queue)-c.head) {
		c.begin()
	}
	if c.ticking = len(c.working) > 0; c.ticking {
		time.AfterFunc(tick, c.look)
	}
}

// A failure is a panic, or a runtime.Goexit, in a function that a carrier called. It is raised again on the goroutine
// of the stream.
type failure struct{ problem any }

func (f *failure) raise() {
	if f.problem == nil {
		runtime.Goexit()
	}
	panic(f.problem)
}

// Serve writes to the stream until it waits or is left to its goroutine.
func (k *Carrier) Serve(d *Driver) {
	returned := false
	defer func() {
		if !returned {
			d.failure = &failure{recover()}
			if d.failure.problem != nil && d.env.Panicked != nil {
				d.env.Panicked(d.failure.problem, debug.Stack()) // the goroutine of the request has another stack
			}
			d.signal <- struct{}{}
		}
	}()
	if k.now == 0 {
		k.now = d.env.Log.Now()
	}
	d.carry(k)
	returned = true
}

func (d *Driver) carry(k *Carrier) {
	for outputs := 1; ; {
		switch command := d.next(k.now); command {
		case stream.Again:
		case stream.Wait:
			d.penalty = max(d.penalty-1, 0)
			d.arm(k.now)
			if d.release() {
				return // another goroutine may own it already
			}
			k.now = d.env.Log.Now()
		case stream.Write:
			k.now = d.write(k.now)
			k.steps.Add(1)
			switch {
			case k.Blocked.Load():
				d.penalty = min(max(2*d.penalty, minAlone), maxAlone)
				d.leave(stream.Wait, d.penalty)
				return
			case outputs == maxOutputs:
				d.leave(stream.Wait, 1)
				return
			}
			outputs++
		default:
			d.leave(command, 1)
			return
		}
	}
}

// leave leaves the stream to its goroutine for that many waits.
func (d *Driver) leave(command stream.Command, waits int) {
	d.command, d.alone = command, waits
	d.signal <- struct{}{}
}
