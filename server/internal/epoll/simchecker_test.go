package epoll

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"github.com/eventsource-wasm/eventsource-wasm/server/internal/eventlog"
	"github.com/eventsource-wasm/eventsource-wasm/server/internal/topic"
)

// A checker reads the bytes of a stream as the socket accepts them, and compares them with the published events.
type checker struct {
	world  *world
	filter *topic.Filter
	epoch  string
	skips  bool // the policy is SkipLagging
	framed bool

	expect  uint64 // every event that the filter selects must arrive from this sequence on
	events  int64
	gaps    int
	opened  bool // the greeting has arrived
	ended   bool
	chunk   int  // remaining bytes of the current chunk
	inChunk bool // or in its line end
	line    []byte
	content []byte
	broken  error
}

func (c *checker) fail(format string, values ...any) {
	if c.broken == nil {
		c.broken = fmt.Errorf(format, values...)
	}
}

// write takes bytes in the stream's current framing.
func (c *checker) write(p []byte) {
	if !c.framed {
		c.text(p)
		return
	}
	for len(p) > 0 && c.broken == nil {
		switch {
		case c.ended:
			c.fail("%q follows the end of the body", p)
		case c.inChunk && c.chunk > 0:
			n := min(c.chunk, len(p))
			c.text(p[:n])
			p, c.chunk = p[n:], c.chunk-n
		default:
			p = c.frame(p)
		}
	}
}

// frame parses a line of the chunked coding: the size of a chunk, or its end.
func (c *checker) frame(p []byte) []byte {
	i := bytes.IndexByte(p, '\n')
	if i < 0 {
		c.line = append(c.line, p...)
		return nil
	}
	line, terminated := strings.CutSuffix(string(append(c.line, p[:i]...)), "\r")
	c.line = c.line[:0]
	size, err := strconv.ParseUint(line, 16, 32)
	switch {
	case !terminated:
		c.fail("a line of the chunked coding ends without CR: %q", line)
	case c.inChunk && line == "" && c.chunk == 0:
		c.inChunk = false
	case c.chunk < 0 && line == "":
		c.ended = true
		if len(c.content) > 0 {
			c.fail("the body ends within the event %q", c.content)
		}
	case err != nil || c.chunk < 0:
		c.fail("no chunk begins with %q", line)
	case size == 0:
		c.chunk = -1
	default:
		c.chunk, c.inChunk = int(size), true
	}
	return p[i+1:]
}

// text parses content, and checks every complete block.
func (c *checker) text(p []byte) {
	c.content = append(c.content, p...)
	for c.broken == nil {
		end := bytes.Index(c.content, []byte("\n\n"))
		if end < 0 {
			return
		}
		c.block(string(c.content[:end]))
		c.content = c.content[:copy(c.content, c.content[end+2:])]
	}
}

func (c *checker) block(text string) {
	fields := map[string]string{}
	for line := range strings.SplitSeq(text, "\n") {
		name, value, _ := strings.Cut(line, ":")
		fields[name] = strings.TrimPrefix(value, " ")
	}
	id, hasID := fields["id"]
	if !hasID { // a heartbeat or a farewell
		return
	}
	opening := !c.opened
	c.opened = true
	epoch, digits, _ := strings.Cut(id, "-")
	sequence, err := strconv.ParseUint(digits, 10, 64)
	switch data, isEvent := fields["data"]; {
	case err != nil || epoch != c.epoch:
		c.fail("id %q in epoch %s", id, c.epoch)
	case fields["event"] == eventlog.GapType:
		c.gap(sequence, data, opening)
	case isEvent:
		c.event(sequence, data)
	default:
		c.missesNone(sequence+1, "the id "+id)
	}
}

func (c *checker) event(sequence uint64, data string) {
	c.missesNone(sequence, "event "+strconv.FormatUint(sequence, 10))
	c.expect = sequence + 1
	c.events++
	if c.world.history[c.epoch] == nil {
		return // published events are not recorded
	}
	if e, known := c.world.truth(c.epoch, sequence); !known || e.data != data || !c.filter.Has(e.topic) {
		c.fail("event %d is %q, want %+v", sequence, data, e)
	}
}

// missesNone fails if the stream should have received an event before next.
func (c *checker) missesNone(next uint64, by string) {
	if next < c.expect {
		c.fail("%s is duplicate or late: expected %d", by, c.expect)
	}
	for s := c.expect; s < next; s++ {
		if e, known := c.world.truth(c.epoch, s); known && !e.deleted && c.filter.Has(e.topic) {
			c.fail("event %d is missing before %s", s, by)
			return
		}
	}
	c.expect = max(c.expect, next)
}

// gap checks that the events that the gap reports as missing were not available.
func (c *checker) gap(id uint64, data string, opening bool) {
	c.gaps++
	var g struct{ Requested, First, Reason string }
	if err := json.Unmarshal([]byte(data), &g); err != nil {
		c.fail("gap %q: %v", data, err)
		return
	}
	_, digits, _ := strings.Cut(g.First, "-")
	first, _ := strconv.ParseUint(digits, 10, 64)
	if first != id+1 || first < c.expect {
		c.fail("gap %s with id %d after event %d", data, id, c.expect-1)
	}
	switch {
	case opening: // the stream begins there
	case g.Reason == eventlog.Lagged:
		if !c.skips {
			c.fail("a gap for lag without the policy")
		}
	case g.Reason == eventlog.Expired:
		if c.expect >= c.world.available(c.epoch) {
			c.fail("gap %s, but all events from %d on are available", data, c.world.available(c.epoch))
		}
	default:
		c.fail("gap %s in the middle of a stream", data)
	}
	c.expect = max(c.expect, first)
}
