package server

import "sync"

// A section ends after so many bytes of events: then a coding that looks back 32 KiB, as deflate does, has little more to
// gain, or sooner if clients wait for the next.
const (
	sectionBytes = 32 << 10
	soonerBytes  = 4 << 10
)

// shared is what the clients of one filter get in one coding: a list of sections, each of which follows the events in
// the log by chunks. The first client that comes to an event has it coded, the others take what they find.
//
// Only the newest section is held here. A client that lags holds the one it is in, and by that those that follow, for
// no longer than the log and MaxLag let it lag.
type shared struct {
	pool  *sync.Pool // of Encoders, for what is not shared
	users int        // under the shelf's lock

	mu      sync.Mutex
	encoder Encoder // of the newest section
	newest  *section
	next    uint64 // sequence behind the last event in it
	waiting bool   // a client is not in step
}

type section struct {
	chunks  []chunk
	size    int // of the chunks' events
	members int // clients that are in it
	follow  *section
}

// A chunk is events that were coded at once.
type chunk struct {
	first, last uint64 // sequences of its first event, and of its last
	next        uint64 // sequence from which to read on, as those between are for others
	position    int64  // of that
	events      int
	plain       []byte // a copy, so that no segment is kept for it
	data        []byte // coded
}

// move places c in another section, or in none.
func (s *shared) move(c *coded, to *section) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.place(c, to)
}

func (s *shared) place(c *coded, to *section) {
	if c.section != nil {
		c.section.members--
	}
	if to != nil {
		to.members++
	}
	c.section, c.index = to, 0
}

// take returns what is next for c, and whether that is in step with others, as data that is coded already. p is what
// its cursor has read, and begins with an event for it.
func (s *shared) take(c *coded, p piece) (next chunk, inStep bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch section := c.section; {
	case section != nil && c.index < len(section.chunks):
	case section != nil && section == s.newest:
		s.extend(c, p)
	case section != nil && section.follow.begins(p): // or it was begun by one who was ahead
		s.place(c, section.follow)
	case s.newest.begins(p):
		s.place(c, s.newest)
	case p.sequence >= s.next && (s.newest.members == 0 || s.full()):
		s.extend(c, p)
	default:
		s.waiting = true
		return s.unshared(p), false
	}
	c.index++
	return c.section.chunks[c.index-1], true
}

// extend codes p, in a new section if it is time for one, and places c there.
func (s *shared) extend(c *coded, p piece) {
	if c.section != s.newest || s.full() {
		follow := &section{}
		s.newest.follow, s.newest, s.waiting = follow, follow, false
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
	return len(s.chunks) > 0 && s.chunks[0].first == p.sequence
}

func (s *shared) full() bool {
	return s.newest.size >= sectionBytes || s.waiting && s.newest.size >= soonerBytes
}

// unshared returns the events of p up to where a client that is not in step can join the others.
func (s *shared) unshared(p piece) chunk {
	if chunks := s.newest.chunks; len(chunks) > 0 && chunks[0].first > p.sequence {
		p.entries = p.entries[:min(uint64(len(p.entries)), chunks[0].first-p.sequence)]
	}
	return p.chunk()
}

// A piece is events of one segment, of which the first is in the filter.
type piece struct {
	part
	filter   *filter
	sequence uint64 // of the first
	start    int64  // position of data[0]
}

// after returns the piece that begins with the first event from that sequence on, or false if there is none.
func (p piece) after(sequence uint64) (piece, bool) {
	for i, e := range p.entries {
		if p.sequence+uint64(i) >= sequence && p.filter.has(e.topic) {
			p.sequence += uint64(i)
			p.entries = p.entries[i:]
			return p, true
		}
		p.from = e.end
	}
	return p, false
}

func (p piece) chunk() chunk {
	c := chunk{
		first:    p.sequence,
		last:     p.sequence + uint64(len(p.entries)) - 1,
		next:     p.sequence + uint64(len(p.entries)),
		position: p.start + int64(p.entries[len(p.entries)-1].end),
	}
	for run, events := range p.filter.runs(p.part) {
		c.plain = append(c.plain, run...)
		c.events += events
	}
	for i := len(p.entries) - 1; !p.filter.has(p.entries[i].topic); i-- {
		c.last--
	}
	return c
}

// A shelf holds what the clients of a broker share, as long as there are any.
type shelf struct {
	mu   sync.Mutex
	kept map[shelfKey]*shared
}

type shelfKey struct {
	filter *filter
	coding string
}

func (s *shelf) enter(f *filter, coding Coding) *coded {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := shelfKey{f, coding.Name()}
	common := s.kept[key]
	if common == nil {
		common = &shared{
			newest:  &section{},
			encoder: coding.NewEncoder(),
			pool:    &sync.Pool{New: func() any { return coding.NewEncoder() }},
		}
		if s.kept == nil {
			s.kept = map[shelfKey]*shared{}
		}
		s.kept[key] = common
	}
	common.users++
	return &coded{Body: coding.NewBody(), shared: common, key: key}
}

func (s *shelf) leave(c *coded) {
	c.shared.move(c, nil)
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.shared.users--; c.shared.users == 0 {
		delete(s.kept, c.key)
	}
}
