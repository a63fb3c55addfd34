package main

import (
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/metrics"
	"slices"
	"time"

	"github.com/eventsource-wasm/eventsource-wasm/server"
)

// A report has the measurements of a soak. They do not decide whether it passes, except for regained resources.
type report struct {
	duration   time.Duration
	phases     []phase
	stats      server.Stats
	episodes   [len(kinds)]int64
	received   int64
	gaps       int64
	coded      int64
	complaints int64

	peakBytes   uint64
	peakStreams int64
	peakLag     int64

	before, after usage
}

// A phase is a part of the soak, with the delays of each probe, sorted.
type phase struct {
	name    string
	events  uint64
	elapsed time.Duration
	delays  map[string][]time.Duration
}

func (r *report) crowd(c *crowd) {
	for i := range kinds {
		r.episodes[i] = c.episodes[i].Load()
	}
	r.received, r.gaps, r.coded = c.received.Load(), c.gaps.Load(), c.coded.Load()
}

func (r *report) peak(b *server.Broker) {
	stats := b.Stats()
	r.peakStreams = max(r.peakStreams, stats.Connections)
	r.peakLag = max(r.peakLag, stats.Lag)
	r.peakBytes = max(r.peakBytes, heap())
}

func (r *report) print(w io.Writer) {
	for _, p := range r.phases {
		fmt.Fprintf(w, "%s: %.0f events/s\n", p.name, float64(p.events)/p.elapsed.Seconds())
	}
	for i, n := range r.episodes {
		fmt.Fprintf(w, "%8d × %s\n", n, kinds[i].name)
	}
	fmt.Fprintf(w, "chaotic clients checked %d events and %d gaps; %d responses were compressed; at most %d streams at a time, %d bytes of lag, %d MB of heap with all clients\n",
		r.received, r.gaps, r.coded, r.peakStreams, r.peakLag, r.peakBytes>>20)
	s := r.stats
	fmt.Fprintf(w, "published %d, delivered %d, replayed %d, gaps %d, lagged %d, stalled %d, timed out %d; the http.Server logged %d lines\n",
		s.Published, s.Delivered, s.Replayed, s.Gaps, s.Lagged, s.Stalled, s.TimedOut, r.complaints)
	if len(r.phases) == 2 {
		printDelays(w, r.phases[0].delays, r.phases[1].delays)
	}
	fmt.Fprintf(w, "before %v, after %v\n", r.before, r.after)
}

func printDelays(w io.Writer, alone, crowded map[string][]time.Duration) {
	for name, delays := range alone {
		for _, of := range []float64{0.5, 0.99, 1} {
			a, c := quantile(delays, of), quantile(crowded[name], of)
			fmt.Fprintf(w, "delay of an honest subscriber, %s, quantile %v: %v alone, %v with the crowd, × %.1f\n",
				name, of, a.Round(time.Microsecond), c.Round(time.Microsecond), float64(c)/float64(max(a, 1)))
		}
	}
}

func quantile(sorted []time.Duration, of float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[int(of*float64(len(sorted)-1))]
}

// usage has the resources of a process.
type usage struct {
	goroutines int
	files      int // -1 if unknown
	heap       uint64
}

func (u usage) String() string {
	return fmt.Sprintf("%d goroutines, %d files, %d MB of heap", u.goroutines, u.files, u.heap>>20)
}

func resources() usage {
	runtime.GC() // the second run empties pools
	runtime.GC()
	u := usage{runtime.NumGoroutine(), -1, heap()}
	if entries, err := os.ReadDir("/proc/self/fd"); err == nil {
		u.files = len(entries)
	}
	return u
}

func heap() uint64 {
	samples := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(samples)
	return samples[0].Value.Uint64()
}

// slack is the permitted growth of the heap: the runtime and net/http keep some memory.
const slack = 16 << 20

// regained waits until the process uses no more resources than before.
func (u usage) regained(now *usage) error {
	for deadline := time.Now().Add(patience); ; <-time.After(10 * time.Millisecond) {
		*now = resources()
		if now.goroutines <= u.goroutines && now.files <= u.files+epolls && now.heap <= u.heap+slack {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("resources before: %v, after: %v:\n%s", u, now, stacks())
		}
	}
}

// epolls are the files that Go's own poller opens once and keeps: an epoll, an eventfd.
const epolls = 2

// stacks returns the first stacks of the remaining goroutines.
func stacks() []byte {
	all := make([]byte, 64<<10)
	return slices.Clip(all[:runtime.Stack(all, true)])
}
