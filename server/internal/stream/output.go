package stream

import (
	"iter"
	"strconv"
	"time"

	"github.com/eventsource-wasm/eventsource-wasm/server/internal/eventlog"
	"github.com/eventsource-wasm/eventsource-wasm/server/internal/topic"
)

// The end of a body in the chunked transfer coding of RFC 9112, section 7.1. Without it, a body is incomplete.
const lastChunk = "0\r\n\r\n"

// An output is what is being written: a block, or events by reference to the log. It records how much of it is written,
// so a client that accepts it in pieces needs no copy.
type output struct {
	block   []byte
	batch   Batch
	content int // bytes, without framing
	size    int // with framing; zero means no output
	written int
	last    bool // the last chunk follows

	events    int
	history   bool          // events that precede the stream
	published time.Duration // when the first event was published
	charged   int64         // bytes of a block that the log counts as pinned
}

// A Batch has the events of a part that a filter selects.
type Batch struct {
	Part   eventlog.Part // from the first of them to the last
	Events int
	bytes  int
}

// Last returns the sequence of the last event.
func (b Batch) Last() uint64 { return b.Part.Next() - 1 }

// Select returns the events of the part that the filter selects, or false if there are none.
func Select(f *topic.Filter, p eventlog.Part) (b Batch, ok bool) {
	first, last, from := -1, 0, p.From
	for i, e := range p.Entries {
		if f.Has(e.Topic) {
			if first < 0 {
				first = i
			}
			last = i
			b.Events++
			b.bytes += e.End - from
		}
		from = e.End
	}
	if first < 0 {
		return b, false
	}
	b.Part = p.Within(first, last+1)
	return b, true
}

// Take makes the batch the output. The cursor must already be after its part.
func (s *Stream) Take(b Batch) {
	s.out = output{
		batch: b, content: b.bytes, size: s.framedSize(b.bytes),
		events: b.Events, history: b.Part.Next() <= s.Cursor.Live, published: b.Part.Entries[0].At,
	}
	s.lastSent = b.Last()
}

// Untake undoes Take, if nothing of the output is written.
func (s *Stream) Untake() { s.out = output{} }

// send makes the block the output, if it is not empty.
func (s *Stream) send(block []byte) {
	s.out = output{block: block, content: len(block), size: s.framedSize(len(block))}
}

// sendTail makes the block and the end of the body the output, and reports whether there is any.
func (s *Stream) sendTail(block []byte) bool {
	if s.send(block); s.framed {
		s.out.last = true
		s.out.size += len(lastChunk)
	}
	return s.out.size > 0
}

func (s *Stream) framedSize(content int) int {
	if content == 0 || !s.framed {
		return content
	}
	return hexDigits(content) + 2 + content + 2
}

func hexDigits(n int) (digits int) {
	for ; n > 0; n >>= 4 {
		digits++
	}
	return digits
}

// Size returns the bytes of the output, with framing.
func (s *Stream) Size() int { return s.out.size }

// Pending reports whether there is output.
func (s *Stream) Pending() bool { return s.out.size > 0 }

// Wrote reports that the connection accepted n more bytes of the output.
func (s *Stream) Wrote(n int, now time.Duration) {
	if n == 0 {
		return
	}
	s.active = now
	s.Bytes += int64(n)
	s.counts.Written.Add(int64(n))
	if s.out.written += n; s.out.written >= s.out.size {
		s.completed(now)
	}
}

// WroteAll reports that the connection accepted the whole output, as n bytes.
func (s *Stream) WroteAll(n int, now time.Duration) {
	s.out.written = s.out.size - n
	s.Wrote(n, now)
}

func (s *Stream) completed(now time.Duration) {
	if n := s.out.events; n > 0 {
		s.Events += int64(n)
		s.counts.delivered(1, n, s.out.history, now-s.out.published)
	}
	s.since, s.stalled = 0, false
	s.drop()
}

// Sent combines Take and WroteAll, for a driver that wrote a whole batch as framed for another stream with the same
// filter. The driver counts it for all these streams together with Counts.Sent.
func (s *Stream) Sent(b *Batch, n int, now time.Duration) {
	s.lastSent, s.active = b.Part.Next()-1, now
	s.Bytes += int64(n)
	s.Events += int64(b.Events)
}

// drop discards the output and releases what it refers to.
func (s *Stream) drop() {
	if s.out.charged > 0 {
		s.log.Charge(-s.out.charged)
	}
	s.out = output{}
	s.log.LetGo(&s.Cursor)
}

// AppendPending appends the next bytes of the output, with framing, as far as there is room.
func (s *Stream) AppendPending(dst []byte, room int) []byte {
	return s.AppendFrom(dst, s.out.written, room)
}

// AppendFrom is like AppendPending, starting at that byte of the output.
func (s *Stream) AppendFrom(dst []byte, from, room int) []byte {
	w := window{dst, from, room}
	if s.framed && s.out.content > 0 {
		var head [18]byte
		w.add(append(strconv.AppendInt(head[:0], int64(s.out.content), 16), "\r\n"...))
	}
	for block := range s.Blocks() {
		if w.room == 0 {
			break
		}
		w.add(block)
	}
	if s.framed && s.out.content > 0 {
		w.add([]byte("\r\n"))
	}
	if s.out.last {
		w.add([]byte(lastChunk))
	}
	return w.dst
}

// Blocks yields the output from its beginning, without framing. The slices are valid until the output is written.
func (s *Stream) Blocks() iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		if s.out.batch.Events == 0 {
			if len(s.out.block) > 0 {
				yield(s.out.block)
			}
			return
		}
		for run := range s.out.batch.Part.Runs(s.filter) {
			if !yield(run) {
				return
			}
		}
	}
}

// Batch returns the events of the output, or false if it is another block.
func (s *Stream) Batch() (Batch, bool) { return s.out.batch, s.out.batch.Events > 0 }

// Cover reports that other data replaces the events of the output: data with this number of events, up to the event last. The
// cursor continues at next.
func (s *Stream) Cover(events int, last, next uint64, position int64) {
	s.out.events, s.lastSent = events, last
	if next > s.Cursor.Next {
		s.Cursor.Next, s.Cursor.Position = next, position
	}
}

// A window keeps a part of what is added to it.
type window struct {
	dst  []byte
	skip int
	room int
}

func (w *window) add(p []byte) {
	if w.skip >= len(p) {
		w.skip -= len(p)
		return
	}
	p = p[w.skip:]
	p = p[:min(len(p), w.room)]
	w.skip, w.room = 0, w.room-len(p)
	w.dst = append(w.dst, p...)
}
