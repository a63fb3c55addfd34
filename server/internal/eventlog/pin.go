package eventlog

import "slices"

// A reader that has read a part holds its segment until its next read or LetGo. A segment that is dropped while held is an
// orphan and stays in memory. Orphans are the only memory that clients can make the log keep.

// hold makes the cursor hold s instead of what it held. Nil means nothing.
func (l *Log) hold(c *Cursor, s *Segment) {
	if c.held == s {
		return
	}
	if s != nil {
		s.holders++
	}
	if before := c.held; before != nil {
		if before.holders--; before.holders == 0 && before.orphan > 0 {
			l.orphans = slices.DeleteFunc(l.orphans, func(s *Segment) bool { return s == before })
			l.pinned.Add(-before.size())
		}
	}
	c.held = s
}

// disown is called for a segment that is dropped.
func (l *Log) disown(s *Segment) {
	if s.holders == 0 {
		return
	}
	l.dropped++
	s.orphan = l.dropped
	l.orphans = append(l.orphans, s)
	if pinned := l.pinned.Add(s.size()); over(pinned, l.limits.Pinned) {
		l.cut(pinned)
	}
}

// cut advances the cutoff until a quarter of the limit will be free when all holders before it have let go.
func (l *Log) cut(pinned int64) {
	for _, s := range l.orphans {
		if pinned <= l.limits.Pinned-l.limits.Pinned/4 {
			break
		}
		pinned -= s.size()
		l.cutoff.Store(s.orphan)
	}
}

func (s *Segment) size() int64 { return int64(cap(s.data) + entryBytes*cap(s.entries)) }

// Charge adds n bytes, or subtracts them if n is negative, to the pinned memory, for a reader's copy of events that the
// log does not have.
func (l *Log) Charge(n int64) { l.charged.Add(n) }

// Full reports whether the copies of readers have reached the limit. Then no reader may make another.
func (l *Log) Full() bool { return over(l.charged.Load(), l.limits.Pinned) }

// Pinned returns the bytes that readers hold: dropped segments, and copies.
func (l *Log) Pinned() int64 { return l.pinned.Load() + l.charged.Load() }

// Cutoff returns a number that grows whenever readers hold more than the limit. Then call MustLetGo for each.
func (l *Log) Cutoff() uint64 { return l.cutoff.Load() }

// MustLetGo reports whether the cursor holds one of the oldest dropped segments while there are too many. Any goroutine
// may call it.
func (l *Log) MustLetGo(c *Cursor) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return c.held != nil && c.held.orphan > 0 && c.held.orphan <= l.cutoff.Load()
}

// Holds reports whether the cursor holds what it has read last.
func (l *Log) Holds(c *Cursor) bool { return c.held != nil }

// LetGo ends the cursor's hold on what it has read last.
func (l *Log) LetGo(c *Cursor) {
	if c.held == nil { // only its reader changes that
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.hold(c, nil)
}

// HoldWith makes c hold what other, a cursor of the same goroutine, holds.
func (l *Log) HoldWith(c, other *Cursor) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.hold(c, other.held)
}
