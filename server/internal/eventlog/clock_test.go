package eventlog

import (
	"testing"
	"time"
	"unsafe"
)

// stepped returns at with its wall clock reading moved by d and the same monotonic reading, as if the clock had been
// stepped. Package time has no function for that, so this depends on the layout of a Time and fails if the layout changes.
func stepped(t *testing.T, at time.Time, d time.Duration) time.Time {
	t.Helper()
	const secondsShift = 30 // of the first word, above the nanoseconds
	moved := at
	*(*uint64)(unsafe.Pointer(&moved)) += uint64(int64(d/time.Second)) << secondsShift
	if moved.Sub(at) != 0 || moved.Round(0).Sub(at.Round(0)) != d {
		t.Fatalf("cannot step the clock: from %v to %v", at, moved)
	}
	return moved
}

// The difference between a clock reading before the step and one at the same time after it.
var steps = map[string]time.Duration{"forward": -10 * time.Hour, "back": 10 * time.Hour}

// This test does not use testing/synctest, whose clock has no monotonic reading.
func TestSteppedClockExpiresNothing(t *testing.T) {
	for name, step := range steps {
		t.Run(name, func(t *testing.T) {
			minute, instant := newTestLog(Limits{-1, -1, time.Minute, -1, -1, 0}), newTestLog(Limits{-1, -1, 0, -1, -1, 0})
			for _, l := range []*Log{minute, instant} {
				fill(t, l, 2, "before")
				l.start = stepped(t, l.start, step)
				fill(t, l, 1, "after")
			}
			if _, events, _ := firstKept(minute); events != 3 {
				t.Errorf("%d events kept for a minute, want 3", events)
			}
			<-time.After(time.Millisecond)
			if _, events, _ := firstKept(instant); events != 0 {
				t.Errorf("%d events kept beyond their age", events)
			}
		})
	}
}
