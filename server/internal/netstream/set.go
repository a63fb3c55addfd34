package netstream

import (
	"math"
	"sync"

	"github.com/eventsource-wasm/eventsource-wasm/server/internal/eventlog"
	"github.com/eventsource-wasm/eventsource-wasm/server/internal/stream"
)

// A Set is the drivers that run. The zero Set is empty.
type Set struct {
	mu      sync.Mutex
	running map[*Driver]bool
	drain   func(*stream.Stream)
}

// Add adds a driver before it runs; Remove it afterwards.
func (s *Set) Add(d *Driver) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.running == nil {
		s.running = map[*Driver]bool{}
	}
	s.running[d] = true
	if s.drain != nil {
		d.Do(s.drain)
	}
}

// Remove takes out a driver that has ended.
func (s *Set) Remove(d *Driver) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.running, d)
}

// Drain calls f for every stream, and for those to come, on their goroutines.
func (s *Set) Drain(f func(*stream.Stream)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.drain = f
	for d := range s.running {
		d.Do(f)
	}
}

// Lowest returns the position of the stream that is furthest behind.
func (s *Set) Lowest() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	lowest := int64(math.MaxInt64)
	for d := range s.running {
		lowest = min(lowest, d.reached.Load())
	}
	return lowest
}

// Relieve cuts the streams that make the log keep too much.
func (s *Set) Relieve(log *eventlog.Log) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for d := range s.running {
		if log.MustLetGo(&d.Cursor) {
			d.evict()
		}
	}
}
