package eventlog

import (
	"iter"

	"github.com/eventsource-wasm/eventsource-wasm/server/internal/topic"
)

// A Cursor is the place of a reader in the log. Only one goroutine may use it at a time, except in Log.MustLetGo.
type Cursor struct {
	Next     uint64 // sequence of the next event to read
	Position int64  // where that event begins
	Until    uint64 // sequence to stop before, unless zero
	Live     uint64 // sequence of the first event published after the reader began

	Policy
	generation uint64

	// Only events published after this position count as lag. Events that the log held at the last read, history or a
	// burst, do not.
	settled int64
	waits   bool
	behind  bool // the reader continues from the store, at its own pace

	held *Segment // under the log's lock
}

// A Policy has the options of a reader.
type Policy struct {
	MaxLag   int64 // in bytes; negative means no bound
	FromHead bool  // continue after a gap with the next event, not with the oldest one kept
}

// A Part is the result of one read: events of one segment, a gap before the next event, or nothing.
type Part struct {
	Data    []byte // of the entries; the first one's block begins at From
	Entries []Entry
	From    int
	First   uint64 // sequence of Entries[0]
	start   int64  // position of Data[0]

	Gap  *Gap
	Wait bool // there is nothing to read
}

// Seek returns the cursor of a reader with that last event ID, and a gap if it cannot continue there. Without an id,
// the cursor is after the newest event.
func (l *Log) Seek(lastEventID string, p Policy) (Cursor, *Gap) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.trim()
	c := Cursor{generation: l.generation, settled: l.head, Policy: p, Live: l.next}
	if lastEventID == "" {
		l.move(&c, l.next)
		return c, nil
	}
	last, reason := l.extent().Locate(lastEventID)
	if reason != "" {
		return c, l.jump(&c, l.afterGap(&c), lastEventID, reason)
	}
	l.move(&c, last+1)
	return c, nil
}

// Read returns what follows c and moves c after it. If there is nothing, it wakes the waiter, unless nil, when there
// is. The error is ErrEnd, ErrDisconnected, ErrLag or ErrBehind.
func (l *Log) Read(c *Cursor, w *Waiter) (Part, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.hold(c, nil)
	if w != nil {
		l.unpark(c, w)
	}
	if c.waits {
		c.settled, c.waits = l.head, false
	}
	switch {
	case c.generation != l.generation:
		return Part{}, ErrDisconnected
	case c.Next == l.next && l.closed:
		return Part{}, ErrEnd
	case c.Until != 0 && c.Next >= c.Until:
		c.waits = true // waiting for the caller to raise Until is not lag
		return Part{Wait: true}, nil
	case !c.behind && over(l.head-max(c.Position, c.settled), c.MaxLag):
		return Part{}, ErrLag
	case c.Next < l.first && l.stored:
		c.behind = true
		return Part{}, ErrBehind
	case c.Next < l.first:
		return Part{Gap: l.jump(c, l.afterGap(c), ID(l.epoch, c.Next-1), Expired)}, nil
	case c.Next < l.next:
		p := l.take(c)
		if w != nil && c.Next == l.next && !l.closed {
			l.park(w) // so no second Read is needed until more is published: see Waits
		}
		return p, nil
	}
	c.waits = true
	if w != nil {
		l.park(w)
	}
	return Part{Wait: true}, nil
}

func (l *Log) take(c *Cursor) Part {
	s := l.segment(c.Next)
	p := Part{Data: s.data, Entries: s.entries[c.Next-s.first:], From: int(c.Position - s.start), First: c.Next, start: s.start}
	for _, bound := range []uint64{c.Until, c.Live} { // history and live events come in separate parts
		if bound > c.Next && bound-c.Next < uint64(len(p.Entries)) {
			p.Entries = p.Entries[:bound-c.Next]
		}
	}
	p.Data = p.Data[:p.Entries[len(p.Entries)-1].End]
	c.Next += uint64(len(p.Entries))
	c.Position = p.Position()
	l.hold(c, s)
	return p
}

// Next returns the sequence after the part.
func (p Part) Next() uint64 { return p.First + uint64(len(p.Entries)) }

// Position returns where the part ends.
func (p Part) Position() int64 { return p.start + int64(p.Entries[len(p.Entries)-1].End) }

// Within returns the entries from index from up to, but not including, index to.
func (p Part) Within(from, to int) Part {
	if from > 0 {
		p.From = p.Entries[from-1].End
	}
	p.First += uint64(from)
	p.Entries = p.Entries[from:to]
	p.Data = p.Data[:p.Entries[len(p.Entries)-1].End]
	return p
}

// Runs yields the blocks of the events that the filter selects, joined if adjacent, and the number of events in each.
func (p Part) Runs(f *topic.Filter) iter.Seq2[[]byte, int] {
	return func(yield func([]byte, int) bool) {
		from, end, count := p.From, p.From, 0
		for _, e := range p.Entries {
			if f.Has(e.Topic) {
				count++
			} else {
				if count > 0 && !yield(p.Data[from:end], count) {
					return
				}
				from, count = e.End, 0
			}
			end = e.End
		}
		if count > 0 {
			yield(p.Data[from:end], count)
		}
	}
}

// Skip moves a lagging cursor after the newest event, and returns the gap.
func (l *Log) Skip(c *Cursor) *Gap {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.jump(c, l.next, ID(l.epoch, c.Next-1), Lagged)
}

// Resume places a cursor in the log if the log has its next event, and reports whether it does. The error is
// ErrDisconnected.
func (l *Log) Resume(c *Cursor) (bool, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case c.generation != l.generation:
		return false, ErrDisconnected
	case c.Next < l.first:
		c.Position = l.position(l.first) // events that the log does not keep are not lag
		return false, nil
	}
	l.move(c, c.Next)
	c.settled, c.behind = l.head, false
	return true, nil
}

// Copy returns a cursor at the same place that holds nothing.
func (c Cursor) Copy() Cursor {
	c.held = nil
	return c
}

// Follow moves c to the place of other, which was read at the same time.
func (c *Cursor) Follow(other *Cursor) {
	c.Next, c.Position, c.settled, c.waits = other.Next, other.Position, other.settled, other.waits
}

// Disconnected reports whether DisconnectAll or a new epoch has ended the cursor.
func (l *Log) Disconnected(c *Cursor) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return c.generation != l.generation
}

// Renew makes a disconnected cursor valid again, after the newest event.
func (l *Log) Renew(c *Cursor) {
	l.mu.Lock()
	defer l.mu.Unlock()
	c.generation, c.settled = l.generation, l.head
	l.move(c, l.next)
}

func (l *Log) afterGap(c *Cursor) uint64 {
	if c.FromHead {
		return l.next
	}
	return l.first
}

func (l *Log) jump(c *Cursor, to uint64, requested, reason string) *Gap {
	l.move(c, to)
	return NewGap(l.epoch, to, requested, reason)
}

func (l *Log) move(c *Cursor, to uint64) {
	c.Next, c.Position = to, l.position(to)
}
