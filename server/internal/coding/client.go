package coding

import "github.com/eventsource-wasm/eventsource-wasm/server/internal/stream"

// A Client is the body of one stream, in a coding or as it is. It is used by one goroutine at a time.
type Client struct {
	Body
	registry *Registry
	key      key
	shared   *shared
	coded    bool
	begun    bool

	section *section // that the body is in, and has the chunks before index of
	index   int
}

// Coding returns the name of the coding, or "" if the stream is sent as it is.
func (c *Client) Coding() string {
	if c == nil || !c.coded {
		return ""
	}
	return c.key.coding
}

// Write writes the output of the stream with write, and returns how many bytes that was. The stream may have got more
// events by that than its output has, since others had them coded together.
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

// next returns the coding of p, or of its beginning: a chunk whose data is all that is to be written.
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

// plain returns the coding of data for this client alone.
func (c *Client) plain(data []byte) []byte {
	return c.Plain(c.quit(), data)
}

// quit ends the section that the body is in, if any. The client is not in step with others until it joins them again.
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

// ownBytes is from when on events for one client are compressed for it alone.
const ownBytes = 512

// own returns the coding of events for this client alone. Most often they are history, which others do not read now.
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
