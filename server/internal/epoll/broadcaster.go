package epoll

import (
	"context"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/eventsource-wasm/eventsource-wasm/server/internal/eventlog"
	"github.com/eventsource-wasm/eventsource-wasm/server/internal/stream"
	"github.com/eventsource-wasm/eventsource-wasm/server/internal/topic"
)

// CaughtUp is the position of a client that has all events.
const CaughtUp = int64(math.MaxInt64)

// Limits of a turn.
const (
	turnSteps   = 64                    // with clients that are behind
	turnTime    = time.Millisecond      // for these steps, not counting the last one
	fewSteps    = 4                     // a client that has taken more is in the late queue
	lateShare   = 4                     // one in this many steps is for the late queue
	windowBytes = eventlog.SegmentBytes // of one write
	clockPace   = 32                    // writes per look at the clock
	maxFetches  = 8                     // at a time
)

// sockets are the sockets of the system, or a simulation.
type sockets interface {
	watch(fd int, serial int32) error    // reports room, and actions of the client, as they change
	linger(fd int, serial int32) error   // closes the sending side, and reports what arrives
	write(fd int, p []byte) (int, error) // as much as the socket accepts at once
	discard(fd int) (open bool)          // discards what has arrived
	close(fd int)
}

// An event is what a socket reports.
type event struct {
	serial                           int32
	room, readable, halfClosed, gone bool
}

// A broadcaster is one goroutine that writes to any number of sockets. It runs while it has clients.
//
// Clients that have all events are in groups, by filter. New events are read and framed once per group, and written to
// all its members. A client that is behind, because it asked for history or because its socket was full, reads by
// itself until it has caught up. Each turn serves the groups first, and then a bounded number of clients that are
// behind, in order of arrival. So the delay of a client does not depend on how many others are slow.
type broadcaster struct {
	env      Env
	log      *eventlog.Log
	counts   stream.Counts
	detached *atomic.Int64
	lowest   atomic.Int64  // position of the slowest client
	signal   chan struct{} // one of the following fields has changed

	mu       sync.Mutex
	users    int // connections, and reservations
	running  bool
	attached []*client // that are new
	orders   []func()

	// The rest belongs to the goroutine.
	spawn    func(func()) // starts a goroutine
	steps    int          // turnSteps
	window   int          // windowBytes
	poller   *poller
	sockets  sockets
	ctx      context.Context // while it runs
	stopped  context.CancelFunc
	clients  map[int32]*client // by serial
	serial   int32
	cursor   eventlog.Cursor // all members of groups have everything before it
	groups   map[*topic.Filter]*group
	ordered  []*group // the same groups, in order
	index    topic.Index[*group]
	ready    queue     // clients with something to do
	served   uint      // steps taken
	late     queue     // clients that have taken many steps: they read history
	apart    []*client // clients in no group
	waiting  []*client // to fetch
	fetches  int
	wheel    wheel
	now      time.Duration
	measured time.Duration // when lowest was computed
	cutoff   uint64
	mark     uint64
	entry    int
	hit      []*group
	scratch  []byte
}

func newBroadcaster(env Env, detached *atomic.Int64) *broadcaster {
	b := &broadcaster{
		env:      env,
		log:      env.Log,
		detached: detached,
		signal:   make(chan struct{}, 1),
		spawn:    func(f func()) { go f() },
		steps:    turnSteps,
		window:   windowBytes,
		clients:  map[int32]*client{},
		groups:   map[*topic.Filter]*group{},
	}
	b.lowest.Store(CaughtUp)
	return b
}

func (b *broadcaster) reserve() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.running {
		poller, err := newPoller()
		if err != nil {
			return err
		}
		b.poller, b.sockets, b.running = poller, poller, true
		b.begin()
		go b.run()
	}
	b.users++
	return nil
}

// begin resets the broadcaster: it has no clients, and its cursor is at the head of the log.
func (b *broadcaster) begin() {
	b.ctx, b.stopped = context.WithCancel(context.Background())
	b.cursor, _ = b.log.Seek("", eventlog.Policy{MaxLag: -1})
	b.waiting, b.fetches = nil, 0
}

func (b *broadcaster) release() {
	b.mu.Lock()
	b.users--
	b.mu.Unlock()
	b.wake()
}

// attach accepts a reserved connection and its stream.
func (b *broadcaster) attach(fd int, s *stream.Stream, ended Ended) {
	c := &client{Stream: *s, fd: fd, place: none, ended: ended}
	c.Detach(&b.counts)
	b.detached.Add(1)
	b.mu.Lock()
	b.attached = append(b.attached, c)
	b.mu.Unlock()
	b.wake()
}

// order runs f on the goroutine of the broadcaster, if it is running.
func (b *broadcaster) order(f func()) {
	b.mu.Lock()
	if b.running {
		b.orders = append(b.orders, f)
	}
	b.mu.Unlock()
	b.wake()
}

func (b *broadcaster) wake() {
	select {
	case b.signal <- struct{}{}:
	default:
	}
}

func (b *broadcaster) run() {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		published := b.log.Watch() // before reading, so that nothing is missed
		b.now = b.log.Now()
		busy := b.turn()
		if b.stop() {
			return
		}
		if busy {
			select {
			case events := <-b.poller.events:
				b.handle(events)
			default:
			}
			continue
		}
		timer.Reset(b.sleep())
		select {
		case <-published:
		case <-b.signal:
		case <-timer.C:
		case events := <-b.poller.events:
			b.now = b.log.Now()
			b.handle(events)
		}
	}
}

// sleep returns how long the broadcaster can wait if nothing happens.
func (b *broadcaster) sleep() time.Duration {
	next, ok := b.wheel.next()
	if !ok {
		next = b.now + time.Hour
	}
	if b.measured < b.now && len(b.apart) > 0 {
		next = min(next, b.measured+measurePace)
	}
	if len(b.waiting) > 0 { // until other clients, maybe of another driver, release memory
		next = min(next, b.now+measurePace)
	}
	return max(next-b.now, 0)
}

// stop ends the broadcaster if it has no clients and no reservations.
func (b *broadcaster) stop() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.users > 0 {
		return false
	}
	b.poller.stop()
	b.stopped()
	b.running, b.orders = false, nil
	return true
}
