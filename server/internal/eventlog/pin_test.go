package eventlog

import (
	"math/rand/v2"
	"strings"
	"testing"
)

// Pinned counts exactly the dropped segments that readers hold.
func TestPinnedCountsHeldSegments(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 1))
	l := newTestLog(Limits{-1, 3 * SegmentBytes, -1, -1, -1, 0})
	cursors := make([]Cursor, 20)
	for i := range cursors {
		cursors[i], _ = l.Seek("", Policy{MaxLag: -1})
	}
	for range 3000 {
		fill(t, l, 1, strings.Repeat("x", random.IntN(20_000)))
		c := &cursors[random.IntN(len(cursors))]
		if random.IntN(4) == 0 {
			l.LetGo(c)
		} else if _, err := l.Read(c, nil); err != nil {
			t.Fatal(err)
		}
		held := map[*Segment]bool{}
		var want int64
		for _, c := range cursors {
			if s := c.held; s != nil && !held[s] && s.first+uint64(len(s.entries)) <= l.first {
				held[s] = true
				want += s.size()
			}
		}
		if got := l.Pinned(); got != want {
			t.Fatalf("%d bytes are pinned, want %d", got, want)
		}
	}
	for i := range cursors {
		l.LetGo(&cursors[i])
	}
	if got := l.Pinned(); got != 0 || len(l.orphans) > 0 {
		t.Errorf("%d bytes in %d segments are pinned without a reader", got, len(l.orphans))
	}
}

// Beyond the limit, exactly the readers of the oldest segments must let go.
func TestCutoff(t *testing.T) {
	const size = 100_000 // a segment each
	l := newTestLog(Limits{1, -1, -1, -1, 8 * size, 0})
	var cursors []*Cursor
	for range 20 {
		c, _ := l.Seek("", Policy{MaxLag: -1})
		fill(t, l, 1, strings.Repeat("x", size))
		if _, err := l.Read(&c, nil); err != nil {
			t.Fatal(err)
		}
		cursors = append(cursors, &c)
		for len(cursors) > 1 && l.MustLetGo(cursors[0]) {
			l.LetGo(cursors[0])
			cursors = cursors[1:]
		}
		for _, c := range cursors {
			if l.MustLetGo(c) {
				t.Fatal("a reader of a newer segment must let go, or a reader of an older one need not")
			}
		}
		if l.Pinned() > 8*size {
			t.Fatalf("%d bytes are pinned after all readers that must let go have done so", l.Pinned())
		}
	}
	if len(cursors) < 4 {
		t.Errorf("only %d readers hold a segment: too many must let go", len(cursors))
	}
}
