package stream

import (
	"sync/atomic"
	"time"
)

// Counts are the figures of streams that have a driver in common.
type Counts struct {
	Delivered, Replayed, Written    atomic.Int64
	Gaps, Lagged, Stalled, TimedOut atomic.Int64
	Latency                         Latency
}

// Bounds are the upper bounds of the buckets of a Latency; the last bucket has none.
var Bounds = [...]time.Duration{
	100 * time.Microsecond, 250 * time.Microsecond, 500 * time.Microsecond,
	time.Millisecond, 2500 * time.Microsecond, 5 * time.Millisecond,
	10 * time.Millisecond, 25 * time.Millisecond, 50 * time.Millisecond,
	100 * time.Millisecond, 250 * time.Millisecond, time.Second,
}

// A Latency counts deliveries by how long they took from the publication of their first event.
type Latency struct {
	counts [len(Bounds) + 1]atomic.Uint64
	sum    atomic.Int64
}

func (l *Latency) observe(d time.Duration) {
	bucket := 0
	for bucket < len(Bounds) && d > Bounds[bucket] {
		bucket++
	}
	l.counts[bucket].Add(1)
	l.sum.Add(int64(d))
}

// AddTo adds the figures to those given.
func (l *Latency) AddTo(counts *[len(Bounds) + 1]uint64, sum *time.Duration) {
	for i := range l.counts {
		counts[i] += l.counts[i].Load()
	}
	*sum += time.Duration(l.sum.Load())
}
