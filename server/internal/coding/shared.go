package coding

import (
	"sync"

	"github.com/eventsource-wasm/eventsource-wasm/server/internal/eventlog"
	"github.com/eventsource-wasm/eventsource-wasm/server/internal/topic"
)

// Sizes of a section, in bytes of events. Beyond the maximum, a coding with a window of 32 KiB, such as deflate, gains
// little more. A section ends earlier if clients wait for the next one.
const (
	sectionBytes = 32 << 10
	soonerBytes  = 4 << 10
)

// maxRecent is how many sections a client may be behind the newest one and still share. It limits what a client that
// does not read keeps in memory.
const maxRecent = 4

// shared has the compressed events for clients with one filter and one coding: a list of sections, each with
// consecutive chunks of events of the log. The first client that reaches an event compresses it, and the others use the
// result.
//
// Only the newest section is held here. A client that lags holds its section and the following ones, as long as the log
// and MaxLag let it lag.
type shared struct {
	coding Coding
	spare  *spare // encoders for unshared data
	users  int    // streams that accept the coding, and streams that use it; under the registry's lock
	coded  int

	mu      sync.Mutex
	encoder Encoder // of the newest section, once there is one
	newest  *section
	recent  []*section // the newest sections, which clients can still share
	next    uint64     // sequence after its last event
	waiting bool       // a client works alone and waits to join
}

type section struct {
	chunks  []chunk
	size    int // of the chunks' events
	members int // clients in the section
	follow  *section
}

// A chunk has events that were compressed together.
type chunk struct {
	first, last uint64 // sequences of the first and the last event
	next        uint64 // sequence to continue at: events in between are not in the filter
	position    int64  // of next
	events      int
	plain       []byte // a copy, so that no segment is kept for it
	data        []byte // coded
}

// move places c in another section, or in none.
func (s *shared) move(c *Client, to *section) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.place(c, to)
}

func (s *shared) place(c *Client, to *section) {
	if c.section != nil {
		c.section.members--
	}
	if to != nil {
		to.members++
	}
	c.section, c.index = to, 0
}

// take returns the next compressed data for c, and whether c works in step with others. p is what the cursor of c has
// read. It starts with an event for c.
func (s *shared) take(c *Client, p piece) (next chunk, inStep bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch section := c.section; {
	case section != nil && c.index < len(section.chunks):
	case section != nil && section == s.newest:
		s.extend(c, p)
	case section != nil && section.follow != nil && section.follow.begins(p): // another client may have started it already
		s.place(c, section.follow)
	case s.newest.begins(p):
		s.place(c, s.newest)
	case p.First >= s.next && (s.newest.members == 0 || s.full()):
		s.extend(c, p)
	default:
		s.waiting = true
		return s.unshared(p), false
	}
	c.index++
	return c.section.chunks[c.index-1], true
}

// extend compresses p, in a new section if necessary, and places c there.
func (s *shared) extend(c *Client, p piece) {
	if c.section != s.newest || s.full() {
		follow := &section{}
		s.newest.follow, s.newest, s.waiting = follow, follow, false
		if s.recent = append(s.recent, follow); len(s.recent) > maxRecent {
			s.recent[0].follow = nil // clients that are still in it continue alone, and do not keep later sections
			s.recent = s.recent[1:]
		}
		if s.encoder == nil {
			s.encoder = s.coding.NewEncoder()
		}
		s.encoder.Reset()
		s.place(c, follow)
	}
	next := p.chunk()
	next.data = s.encoder.Append(nil, next.plain)
	s.newest.chunks = append(s.newest.chunks, next)
	s.newest.size += len(next.plain)
	s.next = next.next
}

func (s *section) begins(p piece) bool {
	return len(s.chunks) > 0 && s.chunks[0].first == p.First
}

func (s *shared) full() bool {
	return s.newest.size >= sectionBytes || s.waiting && s.newest.size >= soonerBytes
}

// unshared returns the events of p up to where a client that works alone can join a section.
func (s *shared) unshared(p piece) chunk {
	if chunks := s.newest.chunks; len(chunks) > 0 && chunks[0].first > p.First {
		p.Part = p.Within(0, int(min(uint64(len(p.Entries)), chunks[0].first-p.First)))
	}
	return p.chunk()
}

// A piece has events of one segment. The first one is in the filter.
type piece struct {
	eventlog.Part
	filter *topic.Filter
}

// after returns the piece that starts at that sequence or the next event after it, or false if there is none.
func (p piece) after(sequence uint64) (piece, bool) {
	for i, e := range p.Entries {
		if p.First+uint64(i) >= sequence && p.filter.Has(e.Topic) {
			return piece{p.Within(i, len(p.Entries)), p.filter}, true
		}
	}
	return p, false
}

func (p piece) chunk() chunk {
	c := chunk{first: p.First, last: p.Next() - 1, next: p.Next(), position: p.Position()}
	for run, events := range p.Runs(p.filter) {
		c.plain = append(c.plain, run...)
		c.events += events
	}
	for i := len(p.Entries) - 1; !p.filter.Has(p.Entries[i].Topic); i-- {
		c.last--
	}
	return c
}
