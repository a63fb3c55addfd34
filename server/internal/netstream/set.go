package netstream

import (
	"math"
	"sync"

	"github.com/eventsource-wasm/eventsource-wasm/server/internal/eventlog"
	"github.com/eventsource-wasm/eventsource-wasm/server/internal/stream"
)

// A Set has the running drivers. The zero Set is empty.
type Set struct {
	mu      sync.Mutex
	running map[*Driver]bool
	drain   func(*stream.Stream)
}

// Add adds a driver. Call it before Run, and Remove afterwards.
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

// Drain calls f for every current and future stream, on its goroutine.
func (s *Set) Drain(f func(*stream.Stream)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.drain = f
	for d := range s.running {
		d.Do(f)
	}
}

// Lowest returns the position of the slowest stream.
func (s *Set) Lowest() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	lowest := int64(math.MaxInt64)
	for d := range s.running {
		lowest = min(lowest, d.reached.Load())
	}
	return lowest
}

// Relieve closes the streams that hold the oldest dropped segments, if clients hold too much.
func (s *Set) Relieve(log *eventlog.Log) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for d := range s.running {
		if log.MustLetGo(&d.Cursor) {
			d.evict()
		}
	}
}
