package server

import (
	"strconv"
	"strings"
)

// A Coding is a content coding of RFC 9110 in which streams can be sent. Package compress has them. What every client
// of the same topics receives is coded once, in sections: pieces that need nothing of what precedes them, so that a
// client can join the others where one begins. Between sections, a body can have data that is for its client alone.
type Coding interface {
	// Name is what Accept-Encoding and Content-Encoding call it.
	Name() string

	// NewEncoder returns an encoder of sections.
	NewEncoder() Encoder

	// NewBody returns the state of one body.
	NewBody() Body
}

// An Encoder makes sections. It is used by one goroutine at a time.
type Encoder interface {
	// Reset begins a section.
	Reset()

	// Append appends to dst what continues the section by data, and enables a decoder to return all of it at once.
	Append(dst, data []byte) []byte
}

// A Body is one client's. Its methods append to dst what comes next in it. It is used by one goroutine at a time.
type Body interface {
	// Begin begins the body.
	Begin(dst []byte) []byte

	// Plain adds data, which is not worth to be compressed, outside of sections.
	Plain(dst, data []byte) []byte

	// Sectioned notes data that the body has got in a section.
	Sectioned(data []byte)

	// EndSection ends a section, wherever that is, for this body.
	EndSection(dst []byte) []byte

	// End ends the body.
	End(dst []byte) []byte
}

// negotiate returns the coding that an Accept-Encoding prefers, by section 12.5.3 of RFC 9110, or nil for none. Of those
// it likes as much, it is the first.
func negotiate(accept []string, codings []Coding) Coding {
	qualities := map[string]float64{}
	for element := range strings.SplitSeq(strings.Join(accept, ","), ",") {
		name, parameters, _ := strings.Cut(element, ";")
		qualities[strings.ToLower(strings.TrimSpace(name))] = quality(parameters)
	}
	var best Coding
	least := qualities["identity"]
	for _, coding := range codings {
		q, listed := qualities[coding.Name()]
		if !listed {
			q = qualities["*"]
		}
		if q > least || best == nil && q > 0 && q == least {
			best, least = coding, q
		}
	}
	return best
}

// quality returns 0, which refuses, for what is none.
func quality(parameters string) float64 {
	name, value, listed := strings.Cut(parameters, "=")
	if !listed {
		return 1
	}
	q, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
	if err != nil || !strings.EqualFold(strings.TrimSpace(name), "q") || !(q >= 0 && q <= 1) {
		return 0
	}
	return q
}

// coded is the body of a stream in a coding.
type coded struct {
	Body
	key    shelfKey
	shared *shared
	begun  bool

	section *section // that the body is in, and has the chunks before index of
	index   int
}

// next returns the coding of p, or of its beginning: a chunk whose data is all that is to be written.
func (c *coded) next(p piece) (written chunk) {
	before := c.section
	written, inStep := c.shared.take(c, p)
	if !inStep {
		written.data = c.own(written.plain)
		return written
	}
	c.Sectioned(written.plain)
	if before != nil && before != c.section {
		written.data = append(c.EndSection(nil), written.data...)
	}
	return written
}

// plain returns the coding of data for this client alone.
func (c *coded) plain(data []byte) []byte {
	return c.Plain(c.leave(), data)
}

// leave ends the section that the body is in, if any. The client is not in step with others until it joins them again.
func (c *coded) leave() []byte {
	if !c.begun {
		c.begun = true
		return c.Begin(nil)
	}
	if c.section == nil {
		return nil
	}
	c.shared.move(c, nil)
	return c.EndSection(nil)
}

func (c *coded) end() []byte {
	return c.End(c.leave())
}

// ownBytes is from when on events for one client are compressed for it alone.
const ownBytes = 512

// own returns the coding of events for this client alone. Most often they are history, which others do not read now.
func (c *coded) own(events []byte) []byte {
	if len(events) < ownBytes {
		return c.plain(events)
	}
	dst := c.leave()
	encoder := c.shared.pool.Get().(Encoder)
	defer c.shared.pool.Put(encoder)
	encoder.Reset()
	c.Sectioned(events)
	return c.EndSection(encoder.Append(dst, events))
}

// deliverCoded is deliver in a coding. It moves the cursor on if others have coded more than p at once.
func (s *stream) deliverCoded(p part) error {
	read := piece{
		part:     p,
		filter:   s.topics,
		sequence: s.cursor.next - uint64(len(p.entries)),
		start:    s.cursor.position - int64(len(p.data)),
	}
	count := 0
	for rest, ok := read.after(read.sequence); ok; {
		s.setDeadline()
		chunk := s.coded.next(rest)
		if err := s.write(chunk.data); err != nil {
			return err
		}
		count += chunk.events
		s.told = chunk.last
		if chunk.next > s.cursor.next {
			s.cursor.next, s.cursor.position = chunk.next, chunk.position
		}
		rest, ok = rest.after(chunk.next)
	}
	if count == 0 {
		return nil
	}
	s.broker.delivered.Add(int64(count))
	return s.control.Flush()
}
