package server

import (
	"time"

	"github.com/eventsource-wasm/eventsource-wasm/server/internal/stream"
)

// LatencyBounds are the upper bounds of the buckets of a [Latency]; the last bucket has none.
var LatencyBounds = stream.Bounds

// A Latency says how long writes took, from the publication of the first event in them to when the system had taken all
// of them. History does not count.
type Latency struct {
	Counts [len(LatencyBounds) + 1]uint64 // by bucket
	Sum    time.Duration
}
