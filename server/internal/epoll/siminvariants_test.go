package epoll

import (
	"errors"
	"fmt"
	"time"

	"github.com/eventsource-wasm/eventsource-wasm/server/internal/stream"
)

// check verifies the invariants that hold at any time.
func (w *world) check() error {
	if w.broken != nil {
		return w.broken
	}
	b := w.broadcaster
	for _, c := range w.clients {
		if err := c.socket.check.broken; err != nil {
			return fmt.Errorf("client %d: %w", c.socket.fd, err)
		}
		if bound := 5*len(w.clients) + 10; c.socket.idle > bound {
			return fmt.Errorf("client %d was ready but not served for %d turns: %v, %+v, cursor %d, now %v",
				c.socket.fd, c.socket.idle, c, b.clients[c.socket.serial], b.cursor.Next, w.now)
		}
		if bound := 3*len(w.clients) + 5; c.socket.overdue > bound {
			return fmt.Errorf("client %d is overdue for %d turns: %v, now %v", c.socket.fd, c.socket.overdue, c, w.now)
		}
		if c.reason == errExpired && w.now < c.expires {
			return fmt.Errorf("client %d expired %v early", c.socket.fd, c.expires-w.now)
		}
		if c.ended > 1 {
			return fmt.Errorf("client %d ended %d times", c.socket.fd, c.ended)
		}
	}
	for _, c := range b.clients {
		if _, events := c.Batch(); events && !w.log.Holds(&c.Cursor) {
			return fmt.Errorf("client %d is writing data that it does not hold", c.fd)
		}
	}
	if int(w.detached.Load()) != w.attached() {
		return fmt.Errorf("%d streams are counted, want %d", w.detached.Load(), w.attached())
	}
	for _, g := range b.ordered {
		for i, c := range g.members {
			if c.place != i || !c.Live() || c.Pending() || c.fd == none {
				return fmt.Errorf("client %d is not a member of its group: %+v", c.fd, c.Stream)
			}
		}
	}
	return nil
}

// attached returns the number of the broadcaster's streams that have not ended.
func (w *world) attached() (n int) {
	for _, c := range w.clients {
		if c.driver == nil && c.ended == 0 {
			n++
		}
	}
	return n
}

// settle runs until no client can do anything more, without faults. It returns an error if that takes too long.
func (w *world) settle() error {
	w.faults, w.broadcaster.window = false, 1000
	for turns := 0; ; turns++ {
		if turns > 20_000 {
			return errors.New("the simulation does not settle")
		}
		busy := w.turn() || len(w.events) > 0
		for len(w.spawned) > 0 {
			w.runSpawned()
			busy = true
		}
		for _, c := range w.clients {
			if s := c.socket; s.inFlight > 0 && c.pace > 0 || s.wants && s.inFlight < s.capacity {
				s.drain(c.pace)
				busy = true
			}
			if c.driver == nil || c.done {
				continue
			}
			before, events := c.driver.Cursor.Next, c.driver.Bytes
			c.routine.next()
			busy = busy || !c.done && (c.driver.Cursor.Next != before || c.driver.Bytes != events)
		}
		for i := len(w.carried) - 1; i >= 0; i-- {
			w.carry(i)
		}
		for _, r := range w.carried {
			busy = busy || !r.conn.blocked
		}
		for _, c := range w.clients { // a carrier may have left it to its goroutine
			busy = busy || c.driver != nil && !c.done && !c.socket.blocked && c.driver.Awake()
		}
		w.relieve()
		if err := w.check(); err != nil {
			return err
		}
		if !busy && !w.passTime() {
			return w.wantNoneWaiting()
		}
	}
}

// wantNoneWaiting checks that no reader of a closed log waits.
func (w *world) wantNoneWaiting() error {
	for _, c := range w.clients {
		if c.driver != nil && !c.done && w.log.Closed() && c.driver.Idle() {
			return fmt.Errorf("client %d waits, although the log is closed", c.socket.fd)
		}
	}
	return nil
}

// passTime ends the waits of streams before their next read of the store.
func (w *world) passTime() bool {
	due := stream.Forever
	wait := func(s *stream.Stream) {
		if s.Live() && !s.Idle() && !s.Stalled() {
			due = min(due, s.Due())
		}
	}
	for _, c := range w.broadcaster.clients {
		wait(&c.Stream)
	}
	for _, c := range w.clients {
		if c.driver != nil && !c.done && !c.socket.blocked {
			wait(c.driver.Stream)
		}
	}
	if due == stream.Forever {
		return false
	}
	w.now = max(w.now, due) + wheelTick
	return true
}

// finish lets all clients read, and then checks that every client has received everything, nothing is overdue, counts add up, and
// ended streams are released.
func (w *world) finish() error {
	if w.store != nil { // otherwise clients before deleted events wait for the next event
		w.store.append("a", "last")
		w.faults = false
		w.store.report()
	}
	for _, c := range w.clients {
		c.socket.capacity = max(c.socket.capacity, 200)
		if c.pace > 0 {
			c.pace = max(c.pace, 100)
		}
	}
	if err := w.settle(); err != nil {
		return err
	}
	if err := w.stalledAreBounded(); err != nil {
		return err
	}
	for _, c := range w.clients {
		c.socket.partial, c.socket.capacity = false, max(c.socket.capacity, 5000)
		if c.pace = 100_000; c.socket.inFlight < c.socket.capacity {
			c.socket.wants = false
			c.socket.report(event{room: true})
		}
	}
	if w.store != nil {
		w.store.failing = false
		w.store.report()
	}
	if err := w.settle(); err != nil {
		return err
	}
	if err := w.rest(); err != nil {
		return err
	}
	if err := w.everyoneHasEverything(); err != nil {
		return err
	}
	// Time passes: heartbeats are sent, and grants expire.
	w.now += 4 * time.Second
	if err := w.settle(); err != nil {
		return err
	}
	if err := w.rest(); err != nil {
		return err
	}
	if err := w.wantCounts(); err != nil {
		return err
	}
	w.log.Close()
	if err := w.settle(); err != nil {
		return err
	}
	w.now += lingerTimes
	if err := w.settle(); err != nil {
		return err
	}
	return w.wantNothingLeft()
}

// stalledAreBounded checks the invariants while some clients do not read: disconnects are noticed, and the memory and time of the
// others are limited.
func (w *world) stalledAreBounded() error {
	for _, c := range w.clients {
		s := c.socket
		if c.ended == 0 && c.driver == nil && (s.reset || s.halfClosed && c.pace > 0) {
			return fmt.Errorf("the disconnect of client %d was not noticed", s.fd)
		}
	}
	if w.store == nil && w.limits.Pinned >= 0 && w.log.Pinned() > w.limits.Pinned {
		return fmt.Errorf("%d bytes are pinned while some clients do not read, limit %d", w.log.Pinned(), w.limits.Pinned)
	}
	for range 3 {
		if err := w.settle(); err != nil {
			return err
		}
		w.now += 10 * time.Second
	}
	for _, c := range w.broadcaster.clients {
		if due := c.Due(); due < w.now-15*time.Second {
			return fmt.Errorf("client %d is overdue by %v", c.fd, w.now-due)
		}
	}
	return nil
}

// lingerTimes is longer than any stream lingers.
const lingerTimes = 10 * stream.LingerTime

// rest checks that nothing is due and no memory is pinned.
func (w *world) rest() error {
	for _, c := range w.broadcaster.clients {
		if due := c.Due(); due < w.now-wheelTick {
			return fmt.Errorf("client %d is overdue by %v", c.fd, w.now-due)
		}
	}
	if w.limits.Pinned >= 0 && w.log.Pinned() > w.limits.Pinned {
		return fmt.Errorf("%d bytes are pinned, limit %d", w.log.Pinned(), w.limits.Pinned)
	}
	return nil
}

func (w *world) everyoneHasEverything() error {
	extent := w.log.Extent()
	for _, c := range w.clients {
		s := c.socket
		if c.ended > 0 || s.reset || s.halfClosed {
			continue
		}
		if w.now-wheelTick > c.expires {
			return fmt.Errorf("client %d outlives its grant: %v at %v", s.fd, c, w.now)
		}
		s.check.missesNone(extent.Next, "the end")
		if err := s.check.broken; err != nil {
			return fmt.Errorf("client %d: %w", s.fd, err)
		}
		if len(s.check.content) > 0 || s.check.inChunk {
			return fmt.Errorf("client %d is in the middle of an event", s.fd)
		}
	}
	return nil
}

// wantCounts checks that exactly the delivered events are counted as delivered.
func (w *world) wantCounts() error {
	var delivered, written, gaps int64
	whole := true
	for _, c := range w.clients {
		written += c.socket.check.events
		gaps += int64(c.socket.check.gaps)
		whole = whole && (c.ended == 0 || c.socket.check.ended)
	}
	for _, counts := range []*stream.Counts{&w.counts, &w.broadcaster.counts} {
		delivered += counts.Delivered.Load()
	}
	if delivered > written || whole && delivered != written {
		return fmt.Errorf("%d events are counted, %d were written", delivered, written)
	}
	return nil
}

func (w *world) wantNothingLeft() error {
	b := w.broadcaster
	for _, c := range w.clients {
		switch {
		case c.ended != 1:
			return fmt.Errorf("client %d ended %d times", c.socket.fd, c.ended)
		case !c.socket.closed:
			return fmt.Errorf("client %d is not closed", c.socket.fd)
		case c.reason == nil:
			return fmt.Errorf("client %d ended without a reason", c.socket.fd)
		}
	}
	if n := len(b.clients) + len(b.groups) + len(b.ordered) + len(b.apart) + b.wheel.count + b.users; n > 0 || b.ready.first != nil || b.late.first != nil {
		return fmt.Errorf("the broadcaster is not empty: %d clients, %d groups, %d apart, %d timers, %d users",
			len(b.clients), len(b.groups), len(b.apart), b.wheel.count, b.users)
	}
	if n := w.filters.Len(); n > 0 {
		return fmt.Errorf("%d unused filters are kept", n)
	}
	if n := w.log.Pinned(); n != 0 {
		return fmt.Errorf("%d bytes are pinned without a reader", n)
	}
	return nil
}
