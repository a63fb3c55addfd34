package coding

import (
	"runtime"
	"sync"

	"github.com/eventsource-wasm/eventsource-wasm/server/internal/topic"
)

// A Registry holds the encoders that clients share. The zero Registry is empty.
type Registry struct {
	mu       sync.Mutex
	kept     map[key]*shared
	spares   map[string]*spare // by coding
	encoders int
}

// A key identifies the clients that can share an encoder.
type key struct {
	filter *topic.Filter
	coding string
}

// Limits decide when a stream gets an encoder.
type Limits struct {
	Sharing  int // minimum of streams with the same filter, including this one, for an encoder
	Encoders int // at a time, for all filters; negative means no limit
}

// Enter returns the body of a stream. Call Leave when the stream ends. The decision is final: the stream is
// uncompressed if too few streams share its filter, or if all encoders are in use.
func (r *Registry) Enter(f *topic.Filter, coding Coding, limits Limits) *Client {
	r.mu.Lock()
	defer r.mu.Unlock()
	c := &Client{registry: r, key: key{f, coding.Name()}}
	common := r.kept[c.key]
	if common == nil {
		common = &shared{newest: &section{}, coding: coding, spare: r.spare(coding)}
		if r.kept == nil {
			r.kept = map[key]*shared{}
		}
		r.kept[c.key] = common
	}
	c.shared = common
	common.users++
	full := limits.Encoders >= 0 && r.encoders >= limits.Encoders
	if common.coded == 0 && (common.users < limits.Sharing || full) {
		return c
	}
	if common.coded == 0 {
		r.encoders++
	}
	common.coded++
	c.coded, c.Body = true, coding.NewBody()
	return c
}

// Leave ends the stream's use of shared encoders.
func (c *Client) Leave() {
	if c == nil {
		return
	}
	if c.coded {
		c.shared.move(c, nil)
	}
	r := c.registry
	r.mu.Lock()
	defer r.mu.Unlock()
	if c.coded {
		if c.shared.coded--; c.shared.coded == 0 {
			c.shared.reset()
			r.encoders--
		}
	}
	if c.shared.users--; c.shared.users == 0 {
		delete(r.kept, c.key)
	}
}

// reset removes the encoder, because no stream uses it.
func (s *shared) reset() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.newest, s.recent, s.encoder, s.next, s.waiting = &section{}, nil, nil, 0, false
}

// Encoders returns the number of filters with an encoder.
func (r *Registry) Encoders() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.encoders
}

func (r *Registry) spare(coding Coding) *spare {
	s := r.spares[coding.Name()]
	if s == nil {
		s = &spare{make(chan Encoder, runtime.GOMAXPROCS(0))}
		for range cap(s.encoders) {
			s.encoders <- &lazy{coding: coding}
		}
		if r.spares == nil {
			r.spares = map[string]*spare{}
		}
		r.spares[coding.Name()] = s
	}
	return s
}

// A spare has encoders for unshared data, as many as can run in parallel.
type spare struct{ encoders chan Encoder }

func (s *spare) get() Encoder  { return <-s.encoders }
func (s *spare) put(e Encoder) { s.encoders <- e }

// A lazy encoder is made when it is needed.
type lazy struct {
	Encoder
	coding Coding
}

func (l *lazy) Reset() {
	if l.Encoder == nil {
		l.Encoder = l.coding.NewEncoder()
	}
	l.Encoder.Reset()
}
