package stream

import (
	"sync/atomic"
	"time"
)

// Counts are the counters of streams that share a driver.
type Counts struct {
	Delivered, Replayed, Written    atomic.Int64
	Gaps, Lagged, Stalled, TimedOut atomic.Int64
	Latency                         Latency
}

// Sent counts a batch that was sent completely to several streams, as n bytes each.
func (c *Counts) Sent(streams int, b *Batch, n int, now time.Duration) {
	c.Written.Add(int64(streams * n))
	c.delivered(streams, b.Events, false, now-b.Part.Entries[0].At)
}

// delivered counts events sent to a number of streams, and the time since the publication of the first.
func (c *Counts) delivered(streams, events int, history bool, after time.Duration) {
	c.Delivered.Add(int64(streams * events))
	if history {
		c.Replayed.Add(int64(streams * events))
	} else {
		c.Latency.observe(after, streams)
	}
}

// Bounds are the upper bounds of the buckets of a Latency; the last bucket has none.
var Bounds = [...]time.Duration{
	100 * time.Microsecond, 250 * time.Microsecond, 500 * time.Microsecond,
	time.Millisecond, 2500 * time.Microsecond, 5 * time.Millisecond,
	10 * time.Millisecond, 25 * time.Millisecond, 50 * time.Millisecond,
	100 * time.Millisecond, 250 * time.Millisecond, time.Second,
}

// A Latency counts deliveries by the time since the publication of their first event.
type Latency struct {
	counts [len(Bounds) + 1]atomic.Uint64
	sum    atomic.Int64
}

func (l *Latency) observe(d time.Duration, n int) {
	bucket := 0
	for bucket < len(Bounds) && d > Bounds[bucket] {
		bucket++
	}
	l.counts[bucket].Add(uint64(n))
	l.sum.Add(int64(d) * int64(n))
}

// AddTo adds the histogram to counts and sum.
func (l *Latency) AddTo(counts *[len(Bounds) + 1]uint64, sum *time.Duration) {
	for i := range l.counts {
		counts[i] += l.counts[i].Load()
	}
	*sum += time.Duration(l.sum.Load())
}
