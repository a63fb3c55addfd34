package server

import (
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// Broadcasters are those of a [Broker], among which its connections are divided.
type broadcasters struct {
	mu   sync.Mutex
	all  []*broadcaster
	turn int
}

// reserve returns the broadcaster for one more connection, which must be attached to it or released.
func (s *broadcasters) reserve(broker *Broker) (*broadcaster, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.all == nil {
		s.all = make([]*broadcaster, runtime.GOMAXPROCS(0))
		for i := range s.all {
			s.all[i] = newBroadcaster(broker)
		}
	}
	s.turn = (s.turn + 1) % len(s.all)
	return s.all[s.turn], s.all[s.turn].reserve()
}

// each calls f for every broadcaster there is.
func (s *broadcasters) each(f func(*broadcaster)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, b := range s.all {
		f(b)
	}
}

// A broadcaster is one goroutine that writes events to any number of sockets, none of which it waits for. It runs while
// it has connections.
//
// Connections that have everything are in groups, by what they want: a group has one cursor, and what it reads is
// framed once and written to all members. A connection that is behind, because it asked for history or because its
// socket was full, has a cursor of its own until it has caught up with its group.
type broadcaster struct {
	broker *Broker
	log    *eventLog
	signal chan struct{} // that there is something in what follows
	last   atomic.Int64  // position of who is furthest behind

	mu       sync.Mutex
	users    int // connections, and reservations
	running  bool
	attached []*conn // that are new
	orders   []func()

	// The rest belongs to the goroutine.
	poller *poller
	conns  map[int32]*conn // by serial
	serial int32
	groups map[groupKey]*group
	behind map[*conn]bool // and whose socket is not full
	full   map[*conn]bool // whose socket is
	wheel  wheel
	now    time.Duration // since the log's start
	chunk  chunkWriter
	pinned bool // a connection refers to chunk's buffer
}

func newBroadcaster(broker *Broker) *broadcaster {
	b := &broadcaster{
		broker: broker,
		log:    broker.log(),
		signal: make(chan struct{}, 1),
		conns:  map[int32]*conn{},
		groups: map[groupKey]*group{},
		behind: map[*conn]bool{},
		full:   map[*conn]bool{},
	}
	b.last.Store(caughtUp)
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
		b.poller, b.running = poller, true
		go b.run()
	}
	b.users++
	return nil
}

func (b *broadcaster) release() {
	b.mu.Lock()
	b.users--
	b.mu.Unlock()
	b.wake()
}

// attach takes over a connection for which there is a reservation.
func (b *broadcaster) attach(c *conn) {
	b.mu.Lock()
	b.attached = append(b.attached, c)
	b.mu.Unlock()
	b.wake()
}

// order has f called on the broadcaster's goroutine, if it runs.
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
		published := b.log.watch() // before reading, so that nothing is missed
		b.now = time.Since(b.log.start)
		b.admit()
		busy := b.broadcast()
		b.wheel.turn(b.now, b.due)
		b.last.Store(b.furthest())
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
		if next, ok := b.wheel.next(); ok {
			timer.Reset(next - b.now)
		}
		select {
		case <-published:
		case <-b.signal:
		case <-timer.C:
		case events := <-b.poller.events:
			b.now = time.Since(b.log.start)
			b.handle(events)
		}
	}
}

// stop ends the broadcaster if nobody needs it.
func (b *broadcaster) stop() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.users > 0 {
		return false
	}
	b.poller.close()
	b.running, b.orders = false, nil
	return true
}

// admit takes in what is new, and does what it is ordered to.
func (b *broadcaster) admit() {
	b.mu.Lock()
	attached, orders := b.attached, b.orders
	b.attached, b.orders = nil, nil
	b.mu.Unlock()
	for _, c := range attached {
		b.admitConn(c)
	}
	for _, f := range orders {
		f()
	}
}

func (b *broadcaster) admitConn(c *conn) {
	b.serial++
	c.serial, c.interest, c.spoken = b.serial, syscall.EPOLLRDHUP, b.now
	b.conns[c.serial] = c
	b.join(c)
	b.behind[c] = true
	if err := b.poller.add(c.fd, c.serial, c.interest); err != nil {
		b.close(c, err)
		return
	}
	if window, draining := b.broker.departures.begun(); draining {
		b.depart(c, window)
	}
	b.schedule(c)
}

// broadcast takes one step with every group and then with everyone who is behind, and reports whether there is more to
// do.
func (b *broadcaster) broadcast() (busy bool) {
	for key, g := range b.groups {
		busy = b.advance(g, key) || busy
	}
	for c := range b.behind {
		busy = b.catchUp(c) || busy
	}
	return busy
}

// furthest returns the position of who is furthest behind.
func (b *broadcaster) furthest() int64 {
	position := int64(caughtUp)
	for _, g := range b.groups {
		if len(g.members) > 0 {
			position = min(position, g.cursor.position)
		}
	}
	for c := range b.behind {
		position = min(position, c.cursor.position)
	}
	for c := range b.full {
		position = min(position, c.cursor.position-int64(len(c.pending)))
	}
	return position
}

// lowest may be called by anyone, and is as of the last turn.
func (b *broadcaster) lowest() int64 { return b.last.Load() }

// handle does what the sockets ask for.
func (b *broadcaster) handle(events []syscall.EpollEvent) {
	for _, e := range events {
		c, open := b.conns[e.Fd]
		switch {
		case !open: // an event from before it was closed
		case e.Events&(syscall.EPOLLERR|syscall.EPOLLHUP) != 0:
			b.close(c, errGone)
		case c.state == lingering:
			if !discard(c.fd) {
				b.close(c, nil)
			}
		default:
			if e.Events&syscall.EPOLLOUT != 0 {
				b.flush(c)
			}
			if e.Events&syscall.EPOLLRDHUP != 0 {
				b.halfClose(c)
			}
		}
	}
}

// due does what c's time has come for.
func (b *broadcaster) due(c *conn) {
	switch {
	case b.now < c.due(): // it was put off since
	case c.state == lingering:
		b.close(c, nil)
	case c.state != streaming || c.pending != nil:
		b.close(c, os.ErrDeadlineExceeded)
	case b.now >= c.until:
		b.end(c, nil, c.cause)
	case b.now >= c.departs:
		b.goodbye(c)
	default:
		b.beat(c)
	}
	b.schedule(c)
}

// schedule has due called for c when it is time. It need not be called when that is put off.
func (b *broadcaster) schedule(c *conn) {
	if c.state == closed {
		return
	}
	due := c.due()
	if c.spoke.tick == 0 || ticks(due) < c.spoke.tick {
		b.wheel.put(c, due)
	}
}

// watch has the poller tell what matters to c in its state.
func (b *broadcaster) watch(c *conn) {
	interest := c.wants()
	if interest == c.interest {
		return
	}
	c.interest = interest
	if err := b.poller.modify(c.fd, c.serial, interest); err != nil {
		b.close(c, err)
	}
}

// halfClose ends the stream of a client that has closed its side, as net/http does: it may be that it still reads.
func (b *broadcaster) halfClose(c *conn) {
	c.halfClosed = true
	b.end(c, nil, errGone)
	if c.state != closed {
		b.watch(c)
	}
}
