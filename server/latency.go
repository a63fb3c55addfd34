package server

import (
	"time"

	"github.com/eventsource-wasm/eventsource-wasm/server/internal/stream"
)

// LatencyBounds are the upper bounds of the buckets of a [Latency]. The last bucket has no bound.
var LatencyBounds = stream.Bounds

// A Latency is a histogram of the time from the publication of the first event in a write until the system accepted the
// whole write. Replayed events do not count.
type Latency struct {
	Counts [len(LatencyBounds) + 1]uint64 // by bucket
	Sum    time.Duration
}
