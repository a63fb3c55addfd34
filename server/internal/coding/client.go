package coding

import "github.com/eventsource-wasm/eventsource-wasm/server/internal/stream"

// A Client is the body of one stream, compressed or not. Only one goroutine uses it at a time.
type Client struct {
	Body
	registry *Registry
	key      key
	shared   *shared
	coded    bool
	begun    bool

	section *section // the section that the body is in; it has the chunks before index
	index   int
}

// Coding returns the name of the coding, or "" for an uncompressed stream.
func (c *Client) Coding() string {
	if c == nil || !c.coded {
		return ""
	}
	return c.key.coding
}

// Write writes the output of the stream with write, and returns the number of bytes. This may include events after the
// output, if they were compressed together.
func (c *Client) Write(s *stream.Stream, write func([]byte) error) (n int, err error) {
	batch, ok := s.Batch()
	if !ok {
		for block := range s.Blocks() {
			data := c.plain(block)
			return len(data), write(data)
		}
		return 0, nil
	}
	events, last := 0, uint64(0)
	read := piece{batch.Part, s.Filter()}
	next, position := read.Next(), read.Position()
	for rest, ok := read.after(read.First); ok; {
		chunk := c.next(rest)
		n += len(chunk.data)
		if err := write(chunk.data); err != nil {
			return n, err
		}
		events, last = events+chunk.events, chunk.last
		if chunk.next > next {
			next, position = chunk.next, chunk.position
		}
		rest, ok = rest.after(chunk.next)
	}
	s.Cover(events, last, next, position)
	return n, nil
}

// End returns the end of the body.
func (c *Client) End() []byte {
	return c.Body.End(c.quit())
}

// next returns compressed data for p or its beginning: a chunk that contains only events of p.
func (c *Client) next(p piece) (written chunk) {
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

// plain returns uncompressed data for this client alone.
func (c *Client) plain(data []byte) []byte {
	return c.Plain(c.quit(), data)
}

// quit leaves the current section, if any. The client then works alone until it joins another section.
func (c *Client) quit() []byte {
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

// ownBytes is the size from which events for one client are compressed for it alone.
const ownBytes = 512

// own returns compressed data for this client alone, usually history that no other client reads now.
func (c *Client) own(events []byte) []byte {
	if len(events) < ownBytes {
		return c.plain(events)
	}
	dst := c.quit()
	encoder := c.shared.spare.get()
	defer c.shared.spare.put(encoder)
	encoder.Reset()
	c.Sectioned(events)
	return c.EndSection(encoder.Append(dst, events))
}
