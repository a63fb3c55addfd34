package server

import (
	"sync/atomic"
	"time"
)

// LatencyBounds are the upper bounds of the buckets of a [Latency]; the last bucket has none.
var LatencyBounds = [...]time.Duration{
	100 * time.Microsecond, 250 * time.Microsecond, 500 * time.Microsecond,
	time.Millisecond, 2500 * time.Microsecond, 5 * time.Millisecond,
	10 * time.Millisecond, 25 * time.Millisecond, 50 * time.Millisecond,
	100 * time.Millisecond, 250 * time.Millisecond, time.Second,
}

// A Latency says how long writes took, from the publication of the first event in them to when the system had taken all
// of them. History does not count.
type Latency struct {
	Counts [len(LatencyBounds) + 1]uint64 // by bucket
	Sum    time.Duration
}

type latency struct {
	counts [len(LatencyBounds) + 1]atomic.Uint64
	sum    atomic.Int64
}

// observe counts n deliveries of the same latency.
func (l *latency) observe(d time.Duration, n int) {
	bucket := 0
	for bucket < len(LatencyBounds) && d > LatencyBounds[bucket] {
		bucket++
	}
	l.counts[bucket].Add(uint64(n))
	l.sum.Add(int64(d) * int64(n))
}

func (l *latency) figures() (figures Latency) {
	for i := range l.counts {
		figures.Counts[i] = l.counts[i].Load()
	}
	figures.Sum = time.Duration(l.sum.Load())
	return figures
}
