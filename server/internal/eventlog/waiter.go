package eventlog

import (
	"sync/atomic"

	"github.com/eventsource-wasm/eventsource-wasm/server/internal/topic"
)

// A Waiter is a reader that is woken only by events that its filter selects.
type Waiter struct {
	wake  func()
	group *waiters
	place int           // in the group's list, while parked
	state atomic.Uint32 // changed under the log's lock
	first uint64        // sequence of the first event that it was woken for
}

// States of a waiter.
const (
	awake  uint32 = iota
	parked        // nothing was published for it since it read to the end
	called        // something was published, and it has not read it
)

// waiters are the waiters with the same filter.
type waiters struct {
	filter *topic.Filter
	users  int
	parked []*Waiter
}

// NewWaiter returns a waiter. wake is called when there is something to read again. It must not block or call the log.
// Release the waiter when its reader has ended.
func (l *Log) NewWaiter(f *topic.Filter, wake func()) *Waiter {
	l.mu.Lock()
	defer l.mu.Unlock()
	g := l.groups[f]
	if g == nil {
		g = &waiters{filter: f}
		if l.groups == nil {
			l.groups = map[*topic.Filter]*waiters{}
		}
		l.groups[f] = g
	}
	g.users++
	return &Waiter{wake: wake, group: g}
}

// Release ends the use of a waiter.
func (l *Log) Release(w *Waiter) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.wakeUp(w)
	g := w.group
	if g.users--; g.users == 0 {
		delete(l.groups, g.filter)
	}
}

// Waits reports whether nothing was published for the waiter since its reader reached the end. Then calling Read is not
// necessary. It may return false even if there is nothing to read.
func (l *Log) Waits(c *Cursor, w *Waiter) bool {
	if w == nil || w.state.Load() != parked {
		return false
	}
	l.LetGo(c)
	c.waits = true
	return true
}

// park makes w wait. Its reader has all events, or will after it processes its last part.
func (l *Log) park(w *Waiter) {
	g := w.group
	if len(g.parked) == 0 {
		l.index.Add(g.filter, g)
	}
	w.place = len(g.parked)
	w.state.Store(parked)
	g.parked = append(g.parked, w)
}

// unpark ends the wait, and moves the cursor to the first event for it, or past all events for others.
func (l *Log) unpark(c *Cursor, w *Waiter) {
	state := w.state.Load()
	if state == awake || c.generation != l.generation {
		l.wakeUp(w)
		return
	}
	next := l.next
	if state == called {
		next = min(w.first, l.next) // or the event was taken back
	}
	l.wakeUp(w)
	if next <= c.Next {
		return // it may have written newer events since, which were compressed together with its own
	}
	if next >= l.first {
		l.move(c, next)
	} else {
		c.Next = next
	}
}

// wakeUp ends the wait of w.
func (l *Log) wakeUp(w *Waiter) {
	if w.state.Load() == parked {
		g := w.group
		last := len(g.parked) - 1
		g.parked[w.place] = g.parked[last]
		g.parked[w.place].place = w.place
		g.parked[last] = nil
		if g.parked = g.parked[:last]; last == 0 {
			l.index.Remove(g.filter, g)
		}
	}
	w.state.Store(awake)
}

// call records that the newest event is for the waiters whose filter selects it. They are woken after the lock is
// released. Groups without waiters are not in the index, so a burst of events visits each group once.
func (l *Log) call(name topic.Name) {
	if len(l.groups) == 0 {
		return
	}
	l.index.Find(name, l.callGroup)
	for i, g := range l.emptied {
		l.index.Remove(g.filter, g)
		l.emptied[i] = nil
	}
	l.emptied = l.emptied[:0]
}

// callGroup may be called more than once for an event, if several patterns match.
func (l *Log) callGroup(g *waiters) {
	if len(g.parked) == 0 {
		return
	}
	for _, w := range g.parked {
		w.first = l.next
		w.state.Store(called)
	}
	l.called = append(l.called, g.parked...)
	clear(g.parked)
	g.parked = g.parked[:0]
	l.emptied = append(l.emptied, g)
}

// callAll wakes every reader, because the log was closed or its readers were disconnected.
func (l *Log) callAll() {
	for _, g := range l.groups {
		l.callGroup(g)
	}
	for _, g := range l.emptied {
		l.index.Remove(g.filter, g)
	}
	clear(l.emptied)
	l.emptied = l.emptied[:0]
}

// A wakening has the readers to wake. Wake them after the lock is released, because they take it.
type wakening struct {
	broadcast chan struct{}
	called    []*Waiter
}

// waken returns the readers to wake after the lock is released.
func (l *Log) waken() (w wakening) {
	w = wakening{l.wake, l.called}
	l.wake, l.called = nil, nil
	return w
}

func (w wakening) now() {
	if w.broadcast != nil {
		close(w.broadcast)
	}
	for _, waiter := range w.called {
		waiter.wake()
	}
}
