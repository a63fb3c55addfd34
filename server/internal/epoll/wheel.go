package epoll

import "time"

// A wheel has wheelSlots ticks. A client that is due later is checked once per round.
const (
	wheelTick  = 20 * time.Millisecond
	wheelSlots = 1024
)

// A wheel finds connections that are due, at most one tick late. Adding, removing and finding a connection takes
// constant time, for any number of connections.
type wheel struct {
	slots [wheelSlots]*client // doubly linked lists
	done  int64               // ticks
	count int
}

// A slot is the place of a client in a wheel.
type slot struct {
	next, previous *client
	tick           int64 // zero: not in the wheel
}

// put adds c, or moves it if it is in the wheel, so that it is due at that time or earlier.
func (w *wheel) put(c *client, due time.Duration) {
	w.remove(c)
	tick := min(max(ticks(due), w.done+1), w.done+wheelSlots-1)
	head := &w.slots[tick%wheelSlots]
	c.slot = slot{next: *head, tick: tick}
	if *head != nil {
		(*head).slot.previous = c
	}
	*head = c
	w.count++
}

func (w *wheel) remove(c *client) {
	s := &c.slot
	if s.tick == 0 {
		return
	}
	if s.previous == nil {
		w.slots[s.tick%wheelSlots] = s.next
	} else {
		s.previous.slot.next = s.next
	}
	if s.next != nil {
		s.next.slot.previous = s.previous
	}
	*s = slot{}
	w.count--
}

// turn removes the clients that are due at now and calls due for each. due may add them again and remove others.
func (w *wheel) turn(now time.Duration, due func(*client)) {
	last := int64(now / wheelTick)
	if w.count == 0 {
		w.done = max(w.done, last)
	}
	for w.done < last {
		w.done++
		slot := &w.slots[w.done%wheelSlots]
		for *slot != nil {
			c := *slot
			w.remove(c)
			due(c)
		}
	}
}

// next returns when to call turn next, or false if the wheel is empty.
func (w *wheel) next() (time.Duration, bool) {
	if w.count == 0 {
		return 0, false
	}
	tick := w.done + 1
	for w.slots[tick%wheelSlots] == nil {
		tick++
	}
	return time.Duration(tick) * wheelTick, true
}

// ticks rounds up: a client is due only after its time.
func ticks(at time.Duration) int64 {
	tick := int64(at / wheelTick)
	if at%wheelTick > 0 {
		tick++
	}
	return tick
}
