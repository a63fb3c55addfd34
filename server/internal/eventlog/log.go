// Package eventlog implements the log of encoded events, in the order of their publication. The oldest events are
// dropped. History and live events are read in the same way, so there is no handover between them and nothing to
// deduplicate.
package eventlog

import (
	"cmp"
	"crypto/rand"
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unique"

	"github.com/eventsource-wasm/eventsource-wasm/server/internal/topic"
	"github.com/eventsource-wasm/eventsource-wasm/sse"
)

// SegmentBytes is the size of a segment, unless one event is larger. It is the maximum that a reader takes at once, and
// the granularity in which memory is freed.
const SegmentBytes = 64 << 10

var (
	ErrClosed = errors.New("server: broker is closed")
)

// Errors that end the reading of the log.
var (
	ErrEnd          = errors.New("broker closed")
	ErrDisconnected = errors.New("broker disconnected all streams")
	ErrLag          = errors.New("client lagged too far behind")
	ErrBehind       = errors.New("next event is no longer in memory, but the store may have it")
)

// Limits of a log. Negative means no limit.
type Limits struct {
	Events     int
	Bytes      int64
	Age        time.Duration
	EventBytes int
	Pinned     int64 // bytes of segments that are dropped while readers hold them
	Segment    int   // bytes of a segment; zero means SegmentBytes
}

// A Log holds encoded events. Readers are cursors. Create one with New. Its methods are safe for concurrent use.
//
// Stored bytes and entries of a segment never change; more are only appended. So a reader takes them by reference under
// the lock, and filters and writes them without it.
type Log struct {
	limits Limits
	stored bool // the events are a store's; the log holds the newest
	start  time.Time
	clock  func() time.Duration // nil means the time since start

	mu         sync.Mutex
	epoch      string            // empty until the store reports it
	earlier    map[string]uint64 // see Extent
	segments   []*Segment        // oldest first, with successive sequences
	first      uint64            // sequence of the oldest event kept, or next
	next       uint64            // sequence of the next event
	head       int64             // position after the newest event
	generation uint64            // of the streams, which end when it changes
	wake       chan struct{}     // closed by the next append; nil without waiting readers
	closed     bool
	orphans    []*Segment // dropped and still held, oldest first
	dropped    uint64     // how many segments were dropped while held

	groups  map[*topic.Filter]*waiters
	index   topic.Index[*waiters]
	called  []*Waiter  // to be woken
	emptied []*waiters // groups without waiters that are still in the index

	pinned  atomic.Int64  // bytes of the orphans
	charged atomic.Int64  // bytes of readers' copies
	cutoff  atomic.Uint64 // holders of orphans up to this one must let go
}

// A Segment is the unit of storage.
type Segment struct {
	first   uint64 // sequence of entries[0]
	start   int64  // position of data[0]
	data    []byte // never grows beyond its capacity, since readers refer to it
	entries []Entry
	holders int
	orphan  uint64 // its number among the orphans, or zero
}

// An Entry is one event of a segment.
type Entry struct {
	Topic topic.Name
	End   int           // in the segment's data
	At    time.Duration // since the log's start, so that a stepped clock expires nothing
}

// entryBytes is the memory of an entry in addition to its data.
const entryBytes = 24

// New returns an empty log. If stored is true, it gets its events and its epoch from Update. clock returns the time
// since the start of the log; nil means the system clock.
func New(limits Limits, stored bool, clock func() time.Duration) *Log {
	limits.Segment = cmp.Or(limits.Segment, SegmentBytes)
	l := &Log{limits: limits, stored: stored, start: time.Now(), clock: clock, first: 1, next: 1}
	if !stored {
		l.epoch = strings.ToLower(rand.Text()[:8])
	}
	return l
}

// Now returns the time since the log's start.
func (l *Log) Now() time.Duration {
	if l.clock != nil {
		return l.clock()
	}
	return time.Since(l.start)
}

// Limits returns the log's limits.
func (l *Log) Limits() Limits { return l.limits }

// Append stores the event with the next id, which it returns, and wakes waiting readers.
func (l *Log) Append(topic string, event sse.Event) (id string, err error) {
	id, wake, err := l.append(unique.Make(topic), event)
	wake.now()
	return id, err
}

func (l *Log) append(topic topic.Name, event sse.Event) (id string, w wakening, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return "", w, ErrClosed
	}
	if id, err = l.encode(topic, event); err != nil {
		return "", w, err
	}
	l.trim()
	return id, l.waken(), nil
}

// An Item is an event to append.
type Item struct {
	Topic string
	Event sse.Event
}

// AppendAll is like Append for several events without others in between. If one fails, none is stored, and failed is
// its index.
func (l *Log) AppendAll(items []Item) (ids []string, failed int, err error) {
	ids, wake, failed, err := l.appendAll(items)
	wake.now()
	return ids, failed, err
}

func (l *Log) appendAll(items []Item) (ids []string, w wakening, failed int, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil, w, -1, ErrClosed
	}
	undo := l.undo()
	for i, item := range items {
		id, err := l.encode(unique.Make(item.Topic), item.Event)
		if err != nil {
			undo()
			return nil, l.waken(), i, err // readers that were called find no event
		}
		ids = append(ids, id)
	}
	l.trim()
	return ids, l.waken(), 0, nil
}

// undo returns a function that removes the events stored since. No reader can have seen them, because the lock is still
// held.
func (l *Log) undo() func() {
	segments, next, head := len(l.segments), l.next, l.head
	var data, entries int
	if segments > 0 {
		tail := l.segments[segments-1]
		data, entries = len(tail.data), len(tail.entries)
	}
	return func() {
		l.segments = slices.Delete(l.segments, segments, len(l.segments))
		l.next, l.head = next, head
		for _, w := range l.called { // they were called for a sequence that another event gets now
			w.first = min(w.first, next)
		}
		if segments > 0 {
			tail := l.segments[segments-1]
			tail.data, tail.entries = tail.data[:data], tail.entries[:entries]
		}
	}
}

// encode adds the event with the next id.
func (l *Log) encode(topic topic.Name, event sse.Event) (id string, err error) {
	event.ID = ID(l.epoch, l.next)
	block, err := sse.Append(l.free(), event)
	if err != nil {
		return "", err
	}
	if over(len(block), l.limits.EventBytes) {
		return "", sse.ErrEventTooLarge
	}
	l.put(block, topic)
	return event.ID, nil
}

// free returns the unused space of the newest segment, into which the encoder writes directly.
func (l *Log) free() []byte {
	if len(l.segments) == 0 {
		return nil
	}
	data := l.segments[len(l.segments)-1].data
	return data[len(data):]
}

// put adds block, the encoder's extension of l.free(), as the newest event. If it has outgrown the free space, put
// starts a new segment.
func (l *Log) put(block []byte, topic topic.Name) {
	if len(block) > cap(l.free()) {
		data := make([]byte, len(block), max(l.limits.Segment, len(block)))
		copy(data, block)
		l.segments = append(l.segments, &Segment{first: l.next, start: l.head, data: data})
	} else {
		tail := l.segments[len(l.segments)-1]
		tail.data = tail.data[:len(tail.data)+len(block)]
	}
	tail := l.segments[len(l.segments)-1]
	tail.entries = append(tail.entries, Entry{topic, len(tail.data), l.Now()})
	l.call(topic)
	l.next++
	l.head += int64(len(block))
}

// trim drops the oldest events until the rest is within the limits. Events become unreadable one by one. Memory is
// freed by segment, when no reader holds it.
func (l *Log) trim() {
	for l.first < l.next && l.expendable() {
		oldest := l.segments[0]
		l.first++
		if l.first == oldest.first+uint64(len(oldest.entries)) {
			l.segments = slices.Delete(l.segments, 0, 1)
			l.disown(oldest)
		}
	}
}

// expendable reports whether the oldest event may be dropped. The newest event is dropped only by age: a limit smaller
// than it would hide it even from waiting readers.
func (l *Log) expendable() bool {
	oldest := l.segments[0]
	at := oldest.entries[l.first-oldest.first].At
	if over(l.Now()-at, l.limits.Age) {
		return true
	}
	kept := l.next - l.first
	return kept > 1 && (over(int(kept), l.limits.Events) || over(l.head-l.position(l.first), l.limits.Bytes))
}

// position returns where the event with that sequence begins.
func (l *Log) position(sequence uint64) int64 {
	if sequence == l.next {
		return l.head
	}
	s := l.segment(sequence)
	if sequence == s.first {
		return s.start
	}
	return s.start + int64(s.entries[sequence-s.first-1].End)
}

func (l *Log) segment(sequence uint64) *Segment {
	i, found := slices.BinarySearchFunc(l.segments, sequence, func(s *Segment, sequence uint64) int {
		return cmp.Compare(s.first, sequence)
	})
	if !found {
		i--
	}
	return l.segments[i]
}

// Watch returns a channel that is closed when there is something new to read.
func (l *Log) Watch() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.waiter()
}

func (l *Log) waiter() <-chan struct{} {
	if l.wake == nil {
		l.wake = make(chan struct{})
	}
	return l.wake
}

// Close rejects further events. Readers get the remaining events, and then ErrEnd.
func (l *Log) Close() {
	l.interrupt(func() { l.closed = true })
}

// Closed reports whether Close was called.
func (l *Log) Closed() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.closed
}

// DisconnectAll makes the next read of every current cursor fail with ErrDisconnected.
func (l *Log) DisconnectAll() {
	l.interrupt(func() { l.generation++ })
}

// interrupt makes the change and wakes all readers.
func (l *Log) interrupt(change func()) {
	l.mu.Lock()
	change()
	l.callAll()
	w := l.waken()
	l.mu.Unlock()
	w.now()
}

// Figures returns the number of events ever appended, and the number and bytes of those that are kept.
func (l *Log) Figures() (published uint64, events int, bytes int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.trim()
	return l.next - 1, int(l.next - l.first), l.head - l.position(l.first)
}

// Head returns the position after the newest event.
func (l *Log) Head() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.head
}

// Oldest returns the sequence of the oldest event in the log, or of the next event if it is empty.
func (l *Log) Oldest() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.first
}

// Extent returns which ids a reader can continue from.
func (l *Log) Extent() Extent {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.extent()
}

func (l *Log) extent() Extent { return Extent{l.epoch, l.earlier, l.first, l.next} }

// ID returns the id of that sequence.
func (l *Log) ID(sequence uint64) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return ID(l.epoch, sequence)
}

// AppendIDBlock appends a block that sets the last event ID of a client without an event.
func (l *Log) AppendIDBlock(dst []byte, sequence uint64) []byte {
	dst, err := sse.AppendID(dst, l.ID(sequence))
	if err != nil {
		panic(err) // a log's id does not break its line
	}
	return dst
}

// over reports whether n exceeds a limit. A negative limit does not apply.
func over[T ~int | ~int64](n, limit T) bool {
	return limit >= 0 && n > limit
}
