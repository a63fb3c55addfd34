package server

import (
	"cmp"
	"crypto/rand"
	"errors"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unique"

	"github.com/eventsource-wasm/eventsource-wasm/sse"
)

// segmentBytes is the storage of a segment. It is also the most that a stream writes under one deadline, save for an
// event that is larger, and the precision with which memory is given back.
const segmentBytes = 64 << 10

// What ends a reading of the log for good.
var (
	errEnd    = errors.New("the log is closed and read to its end")
	errBroken = errors.New("the streams were broken")
	errLag    = errors.New("the reader lags behind its bound")
	errBehind = errors.New("the reader is behind what the log keeps, and the store may have it")
)

// An eventLog holds encoded events in the order of their publication, and forgets the oldest. Readers are cursors:
// history and live events are the same reading, so there is nothing to hand over and nothing to deduplicate.
//
// Bytes and entries of a segment never change once they are stored, only more follow. So a reader takes them by
// reference under the lock, and filters and writes them without it.
type eventLog struct {
	limits limits
	stored bool // the events are a store's, of which the log holds the newest
	start  time.Time

	mu         sync.Mutex
	epoch      string            // empty until the store has told it
	earlier    map[string]uint64 // as StoreState has it
	segments   []*segment        // oldest first, with successive sequences
	first      uint64            // sequence of the oldest event kept, or next
	next       uint64            // sequence of the next event
	head       int64             // position behind the newest event
	generation uint64            // of the streams, which end when it changes
	wake       chan struct{}     // closed by the next append; nil while nobody waits
	closed     bool
}

// Limits that are negative do not apply.
type limits struct {
	events     int
	bytes      int64
	age        time.Duration
	eventBytes int
}

type segment struct {
	first   uint64 // sequence of entries[0]
	start   int64  // position of data[0]
	data    []byte // never grows beyond its capacity, for readers refer to it
	entries []entry
}

type entry struct {
	topic unique.Handle[string]
	end   int           // in data
	at    time.Duration // since the log's start, so that a stepped clock expires nothing
}

// A cursor is a reader's place in the log.
type cursor struct {
	next       uint64
	position   int64
	generation uint64

	// What the log held when the reader last turned to it, be it history or a burst, is no sign of a slow reader: only
	// what was published behind this position counts as lag.
	settled int64
	waits   bool

	seeker
	live  uint64 // sequence of the first event published since the reader came
	until uint64 // sequence not to read beyond, unless zero
}

// A seeker says what a reader wants.
type seeker struct {
	maxLag   int64 // negative: no bound
	fromHead bool  // what follows a gap, in place of the oldest event kept
}

// A part is what one reading yields: events of one segment, or a gap before the next, or the channel to wait on.
type part struct {
	data    []byte // of entries, the first one's block at from
	entries []entry
	from    int
	gap     *gap
	wait    <-chan struct{}
}

// absent is the topic of what has a sequence and is no event. Nobody can ask for it.
var absent = unique.Make("")

func newLog(limits limits) *eventLog {
	epoch := strings.ToLower(rand.Text()[:8])
	return &eventLog{limits: limits, epoch: epoch, start: time.Now(), first: 1, next: 1}
}

// append stores the event under the next id, which it returns, and wakes the readers that wait.
func (l *eventLog) append(topic string, event sse.Event) (string, error) {
	id, wake, err := l.store(unique.Make(topic), event)
	if wake != nil {
		close(wake) // without the lock, which every reader that this wakes is going to ask for
	}
	return id, err
}

func (l *eventLog) store(topic unique.Handle[string], event sse.Event) (id string, wake chan struct{}, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return "", nil, ErrClosed
	}
	if id, err = l.encode(topic, event); err != nil {
		return "", nil, err
	}
	l.trim()
	wake, l.wake = l.wake, nil
	return id, wake, nil
}

// appendAll is append for several events that no other comes between.
func (l *eventLog) appendAll(publications []Publication) ([]string, error) {
	ids, wake, err := l.storeAll(publications)
	if wake != nil {
		close(wake)
	}
	return ids, err
}

func (l *eventLog) storeAll(publications []Publication) (ids []string, wake chan struct{}, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil, nil, ErrClosed
	}
	undo := l.undo()
	for i, p := range publications {
		id, err := l.encode(unique.Make(p.Topic), p.Event)
		if err != nil {
			undo()
			return nil, nil, &PublicationError{i, err}
		}
		ids = append(ids, id)
	}
	l.trim()
	wake, l.wake = l.wake, nil
	return ids, wake, nil
}

// undo returns what takes back the events that are put after it, before anybody can have read them: the lock is still
// the same.
func (l *eventLog) undo() func() {
	segments, next, head := len(l.segments), l.next, l.head
	var data, entries int
	if segments > 0 {
		tail := l.segments[segments-1]
		data, entries = len(tail.data), len(tail.entries)
	}
	return func() {
		l.segments = slices.Delete(l.segments, segments, len(l.segments))
		l.next, l.head = next, head
		if segments > 0 {
			tail := l.segments[segments-1]
			tail.data, tail.entries = tail.data[:data], tail.entries[:entries]
		}
	}
}

// encode makes the event the newest, under the next id.
func (l *eventLog) encode(topic unique.Handle[string], event sse.Event) (id string, err error) {
	event.ID = l.id(l.next)
	block, err := sse.Append(l.free(), event)
	if err != nil {
		return "", err
	}
	if over(len(block), l.limits.eventBytes) {
		return "", ErrEventTooLarge
	}
	l.put(block, topic)
	return event.ID, nil
}

// free returns the unused storage of the newest segment. The encoder writes there directly.
func (l *eventLog) free() []byte {
	if len(l.segments) == 0 {
		return nil
	}
	data := l.segments[len(l.segments)-1].data
	return data[len(data):]
}

// put makes block, the encoder's extension of l.free(), the newest event. It is in its place unless it outgrew that.
func (l *eventLog) put(block []byte, topic unique.Handle[string]) {
	if len(block) > cap(l.free()) {
		data := make([]byte, len(block), max(segmentBytes, len(block)))
		copy(data, block)
		l.segments = append(l.segments, &segment{first: l.next, start: l.head, data: data})
	} else {
		tail := l.segments[len(l.segments)-1]
		tail.data = tail.data[:len(tail.data)+len(block)]
	}
	tail := l.segments[len(l.segments)-1]
	tail.entries = append(tail.entries, entry{topic, len(tail.data), time.Since(l.start)})
	l.next++
	l.head += int64(len(block))
}

// trim drops the oldest events until the rest is within the limits. Events become unreadable one by one; their memory
// is given back by the segment.
func (l *eventLog) trim() {
	for l.first < l.next && l.expendable() {
		oldest := l.segments[0]
		l.first++
		if l.first == oldest.first+uint64(len(oldest.entries)) {
			l.segments = slices.Delete(l.segments, 0, 1)
		}
	}
}

// The newest event goes by age alone, or a limit smaller than it would hide it even from those who wait for it.
func (l *eventLog) expendable() bool {
	oldest := l.segments[0]
	at := oldest.entries[l.first-oldest.first].at
	if over(time.Since(l.start)-at, l.limits.age) {
		return true
	}
	kept := l.next - l.first
	return kept > 1 && (over(int(kept), l.limits.events) || over(l.head-l.position(l.first), l.limits.bytes))
}

// seek returns the cursor of a reader whose last event is lastEventID, and why it is not where that asked to be.
// Without an id, it is behind the newest event.
func (l *eventLog) seek(lastEventID string, s seeker) (cursor, *gap) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.trim()
	c := cursor{generation: l.generation, settled: l.head, seeker: s, live: l.next}
	if lastEventID == "" {
		l.move(&c, l.next)
		return c, nil
	}
	last, reason := extent{l.epoch, l.earlier, l.first, l.next}.locate(lastEventID)
	if reason != "" {
		g := l.jump(&c, l.afterGap(&c), lastEventID, reason)
		return c, g
	}
	l.move(&c, last+1)
	return c, nil
}

// An extent says of which ids what follows is kept.
type extent struct {
	epoch       string
	earlier     map[string]uint64
	first, next uint64
}

// locate returns the sequence of an id that a reader can continue from, or the reason why it is none. The id before the
// first event kept is one: nothing is missing between the two.
func (e extent) locate(id string) (uint64, string) {
	epoch, digits, _ := strings.Cut(id, "-")
	sequence, err := strconv.ParseUint(digits, 10, 64)
	switch {
	case err != nil || epoch == "" || digits != strconv.FormatUint(sequence, 10):
		return 0, gapMalformed
	case epoch != e.epoch && !e.continues(epoch, sequence):
		return 0, gapEpoch
	case sequence >= e.next:
		return 0, gapFuture
	case sequence+1 < e.first:
		return 0, gapExpired
	}
	return sequence, ""
}

// continues reports whether the sequence means the same as in that earlier epoch.
func (e extent) continues(epoch string, sequence uint64) bool {
	last, known := e.earlier[epoch]
	return known && sequence <= last
}

// read returns what follows c and moves c behind it.
func (l *eventLog) read(c *cursor) (part, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if c.waits {
		c.settled, c.waits = l.head, false
	}
	switch {
	case c.generation != l.generation:
		return part{}, errBroken
	case over(l.head-max(c.position, c.settled), c.maxLag):
		return part{}, errLag
	case c.next < l.first && l.stored:
		return part{}, errBehind
	case c.next < l.first:
		return part{gap: l.jump(c, l.afterGap(c), l.id(c.next-1), gapExpired)}, nil
	case c.next < l.next:
		return l.take(c), nil
	case l.closed:
		return part{}, errEnd
	}
	c.waits = true
	return part{wait: l.waiter()}, nil
}

func (l *eventLog) take(c *cursor) part {
	s := l.segment(c.next)
	p := part{data: s.data, entries: s.entries[c.next-s.first:], from: int(c.position - s.start)}
	for _, bound := range []uint64{c.until, c.live} { // history and live events come apart
		if bound > c.next && bound-c.next < uint64(len(p.entries)) {
			p.entries = p.entries[:bound-c.next]
		}
	}
	p.data = p.data[:p.entries[len(p.entries)-1].end]
	c.next += uint64(len(p.entries))
	c.position = s.start + int64(len(p.data))
	return p
}

// afterGap returns the sequence with which a reader goes on that misses some.
func (l *eventLog) afterGap(c *cursor) uint64 {
	if c.fromHead {
		return l.next
	}
	return l.first
}

// watch returns a channel that is closed when there is something to read that was not there before.
func (l *eventLog) watch() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.waiter()
}

func (l *eventLog) waiter() <-chan struct{} {
	if l.wake == nil {
		l.wake = make(chan struct{})
	}
	return l.wake
}

// skip moves a cursor that lags behind the newest event, and returns what it misses by that.
func (l *eventLog) skip(c *cursor) *gap {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.jump(c, l.next, l.id(c.next-1), gapLag)
}

func (l *eventLog) jump(c *cursor, to uint64, requested, reason string) *gap {
	l.move(c, to)
	return newGap(l.epoch, to, requested, reason)
}

func (l *eventLog) move(c *cursor, to uint64) {
	c.next, c.position = to, l.position(to)
}

// position returns where the event of that sequence begins, or will.
func (l *eventLog) position(sequence uint64) int64 {
	if sequence == l.next {
		return l.head
	}
	s := l.segment(sequence)
	if sequence == s.first {
		return s.start
	}
	return s.start + int64(s.entries[sequence-s.first-1].end)
}

func (l *eventLog) segment(sequence uint64) *segment {
	i, found := slices.BinarySearchFunc(l.segments, sequence, func(s *segment, sequence uint64) int {
		return cmp.Compare(s.first, sequence)
	})
	if !found {
		i--
	}
	return l.segments[i]
}

// close refuses further events. Readers get those that are there, and then errEnd.
func (l *eventLog) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	l.interrupt()
}

// breakReaders makes the next reading of every present cursor fail with errBroken.
func (l *eventLog) breakReaders() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.generation++
	l.interrupt()
}

func (l *eventLog) interrupt() {
	if l.wake != nil {
		close(l.wake)
		l.wake = nil
	}
}

func (l *eventLog) isClosed() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.closed
}

// figures returns how many events were ever appended, and what the log keeps of them.
func (l *eventLog) figures() (published uint64, events int, bytes int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.trim()
	return l.next - 1, int(l.next - l.first), l.head - l.position(l.first)
}

// newest returns the position behind the newest event.
func (l *eventLog) newest() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.head
}

func (l *eventLog) id(sequence uint64) string { return eventID(l.epoch, sequence) }

func eventID(epoch string, sequence uint64) string {
	return epoch + "-" + strconv.FormatUint(sequence, 10)
}

// idBlock returns what makes an id the last that a client knows of, without an event.
func (l *eventLog) idBlock(sequence uint64) []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	block, err := sse.AppendID(nil, l.id(sequence))
	if err != nil {
		panic(err) // a log's id does not break its line
	}
	return block
}

// over reports whether n exceeds a limit, of which a negative one is none.
func over[T ~int | ~int64](n, limit T) bool {
	return limit >= 0 && n > limit
}
