// Package stream implements the state machine of one client's event stream: what to write next, when to send a
// heartbeat, what to do with a client that lags, and how a stream ends. It has no I/O, goroutines or clock. A driver
// gives it inputs, asks for the next command and executes that. Every input is valid at any time. An input that means
// nothing has no effect: a socket may report room twice or too late.
package stream

import (
	"errors"
	"math"
	"os"
	"time"

	"github.com/eventsource-wasm/eventsource-wasm/server/internal/eventlog"
	"github.com/eventsource-wasm/eventsource-wasm/server/internal/topic"
	"github.com/eventsource-wasm/eventsource-wasm/sse"
)

// Forever is a time that never comes. Times are durations since the start of the log.
const Forever = time.Duration(math.MaxInt64)

// After returns t + d, or Forever if d is negative or the sum too large.
func After(t, d time.Duration) time.Duration {
	if d < 0 || d > Forever-t {
		return Forever
	}
	return t + d
}

// Why a stream ends, besides the errors of reading the log.
var (
	ErrGone     = errors.New("client closed the connection")
	ErrDraining = errors.New("server: broker is draining")
	ErrRenewed  = errors.New("store started a new epoch")
	ErrPinned   = errors.New("client held the oldest memory while clients pinned too much")
)

// LingerTime is how long a connection whose stream has ended waits for the client to close it. If the client has sent
// anything, closing at once would send a reset, which may overtake the end of the stream.
const LingerTime = time.Second

// A Command is what a driver must do next.
type Command uint8

const (
	Wait     Command = iota // until more is published, an input, or Due
	Write                   // what AppendPending or Blocks returns, and report it by Wrote, Stall or Fail
	Room                    // wait until the socket has room and report it by HasRoom, or until Due
	Again                   // call Next again, after others have had their turn
	Fetch                   // read on from the store, and report by Fetched
	Shutdown                // the stream is complete: close the sending side, and wait for the client to close
	Close                   // the connection, in the middle of the stream unless Complete
)

type phase uint8

const (
	live     phase = iota
	ending         // only pending output and the farewell are left
	complete       // both are written
	closed
)

// Config has the options that streams of a handler share.
type Config struct {
	Heartbeat    time.Duration // silence before a stream gets a comment; Forever means never
	WriteTimeout time.Duration // for a client to take one output; negative means no limit
	SkipLagging  bool          // skip to the newest event, with a gap, instead of ending the stream
	Retry        time.Duration // when draining, clients get a reconnection time between this and twice this
	Beat         func() []byte // returns the comment that breaks the silence
}

// A Stream is the state of one client's stream. It is used by one goroutine at a time.
type Stream struct {
	// The fields that every delivery changes come first, so that they share a cache line.
	lastSent      uint64        // sequence of the id that the client has
	active        time.Duration // when it was last written to
	Bytes, Events int64         // written
	phase         phase
	framed        bool // in chunks: the driver writes to the connection directly
	stalled       bool // the socket has no room
	halfClosed    bool // by the client
	fetching      bool
	tailed        bool // the farewell is or was part of the output
	whole         bool // the client was sent the end

	config *Config
	log    *eventlog.Log
	filter *topic.Filter
	counts *Counts
	waiter *eventlog.Waiter // nil if the driver knows when there is more to read

	Cursor   eventlog.Cursor
	out      output
	fetched  *Fetched      // used once the output is written
	fetchAt  time.Duration // not before
	pause    time.Duration // the wait before fetchAt
	since    time.Duration // when it first stalled with this output, or when it was complete
	expires  time.Duration
	deadline error // reason at expires
	departs  time.Duration
	retry    uint64
	farewell []byte
	reason   error
	Begun    time.Duration
}

// New returns the stream of a client at that place in the log, which starts with the greeting. A nil filter selects
// everything.
func New(config *Config, log *eventlog.Log, filter *topic.Filter, counts *Counts, cursor eventlog.Cursor, greeting []byte) Stream {
	now := log.Now()
	s := Stream{
		config: config, log: log, filter: filter, counts: counts,
		Cursor: cursor, lastSent: cursor.Next - 1,
		active: now, Begun: now, expires: Forever, departs: Forever,
	}
	s.send(greeting)
	return s
}

// Filter returns the filter of the stream.
func (s *Stream) Filter() *topic.Filter { return s.filter }

// Detach tells the stream that its driver writes to the connection directly, so it must frame its chunks. From then on
// it uses these counters.
func (s *Stream) Detach(counts *Counts) { s.framed, s.counts = true, counts }

// ExpireAt makes the stream end at that time, for that reason.
func (s *Stream) ExpireAt(t time.Duration, reason error) {
	if t < s.expires {
		s.expires, s.deadline = t, reason
	}
}

// Deadline returns the deadline of an output that starts now.
func (s *Stream) Deadline(now time.Duration) time.Duration {
	due := After(now, s.config.WriteTimeout)
	if s.phase == live {
		return min(due, s.expires)
	}
	return min(due, After(now, farewellTime))
}

// farewellTime limits how long the end of a stream may take to write.
const farewellTime = 10 * time.Second

// TimedOut ends a stream whose output took too long.
func (s *Stream) TimedOut(now time.Duration) {
	if now >= s.expires {
		s.Fail(s.deadline)
	} else {
		s.Fail(os.ErrDeadlineExceeded)
	}
}

// DepartAt ends the stream at that time with the reconnection time retry. If the log is closed by then, the stream
// instead ends when it has delivered everything, because the client could not get that elsewhere.
func (s *Stream) DepartAt(t, retry time.Duration) {
	if t < s.departs {
		s.departs, s.retry = t, uint64(retry.Milliseconds())
	}
}

// HasRoom reports that the socket may have room.
func (s *Stream) HasRoom() { s.stalled = false }

// Stall reports that the socket has no room for the rest of the output.
func (s *Stream) Stall(now time.Duration) {
	if s.out.size == 0 {
		return
	}
	s.stalled = true
	if s.since == 0 {
		s.since = now
		s.counts.Stalled.Add(1)
	}
}

// HalfClosed reports that the client has closed its side. The stream ends, as in net/http. The client may still read
// its end.
func (s *Stream) HalfClosed() {
	if s.halfClosed = true; s.phase == complete {
		s.phase = closed
	}
	s.End(ErrGone)
}

// Fail ends the stream immediately, without the end of its body.
func (s *Stream) Fail(reason error) {
	if s.phase == closed {
		return
	}
	if s.phase != complete {
		s.reason = reason
		if errors.Is(reason, os.ErrDeadlineExceeded) {
			s.counts.TimedOut.Add(1)
		}
	}
	s.phase, s.stalled, s.fetched = closed, false, nil
	s.drop()
}

// Ended returns why the stream ended, or nil while it has not.
func (s *Stream) Ended() error {
	if s.phase < complete {
		return nil
	}
	return s.reason
}

// Complete reports whether the client was sent the end of the stream.
func (s *Stream) Complete() bool { return s.whole }

// Live reports whether the stream has not ended.
func (s *Stream) Live() bool { return s.phase == live }

// Idle reports whether the stream only waits for new events.
func (s *Stream) Idle() bool {
	return s.phase == live && s.out.size == 0 && !s.fetching && s.fetchAt == 0
}

// Charged reports whether the stream has a copy of what it writes.
func (s *Stream) Charged() bool { return s.out.charged > 0 }

// Stalled reports whether the stream waits for room in the socket.
func (s *Stream) Stalled() bool { return s.stalled }

// Reached returns the position in the log up to which the connection has accepted everything.
func (s *Stream) Reached() int64 {
	if s.out.batch.Events == 0 {
		return s.Cursor.Position
	}
	return s.Cursor.Position - int64(s.out.size-s.out.written)
}

// Retry returns the reconnection time for clients.
func (s *Stream) Retry() time.Duration { return s.config.Retry }

// WakeBy sets the waiter to wake when there is more to read.
func (s *Stream) WakeBy(w *eventlog.Waiter) { s.waiter = w }

// Next returns the next command at that time.
func (s *Stream) Next(now time.Duration) Command {
	s.expire(now)
	switch {
	case s.phase == closed:
		return Close
	case s.phase == complete:
		return Wait
	case s.stalled:
		return Room
	case s.out.size > 0:
		return Write
	case s.phase == ending:
		return s.finish(now)
	case s.fetched != nil:
		s.takeFetched(now)
		return Again
	case s.fetching || now < s.fetchAt:
		return s.beat(now)
	}
	return s.advance(now)
}

// Due returns when to call Next if there is no input.
func (s *Stream) Due() time.Duration {
	switch {
	case s.phase == closed:
		return Forever
	case s.phase == complete:
		return After(s.since, LingerTime)
	case s.stalled:
		return min(After(s.since, s.config.WriteTimeout), s.expires)
	case s.phase == ending:
		return Forever // written as fast as the connection accepts it
	case s.out.size > 0:
		return min(s.expires, s.departs)
	case s.fetchAt > 0:
		return min(s.expires, s.departs, s.fetchAt)
	}
	return min(s.expires, s.departs, After(s.active, s.config.Heartbeat))
}

// expire ends the stream if one of its time limits has passed.
func (s *Stream) expire(now time.Duration) {
	switch {
	case s.phase == closed:
	case s.phase == complete:
		if now >= After(s.since, LingerTime) {
			s.phase = closed
		}
	case s.stalled && now >= s.expires:
		s.Fail(s.deadline) // a client that does not read cannot stay longer than one that does
	case s.stalled && now >= After(s.since, s.config.WriteTimeout):
		s.Fail(os.ErrDeadlineExceeded)
	case now >= s.expires:
		s.End(s.deadline)
	case s.phase == live && now >= s.departs:
		s.depart()
	}
}

func (s *Stream) depart() {
	if s.log.Closed() {
		s.departs = Forever
		return
	}
	s.farewell = append(sse.AppendRetry(nil, s.retry), '\n')
	s.End(ErrDraining)
}

// End ends the stream after its pending output and the farewell.
func (s *Stream) End(reason error) {
	if s.phase == live {
		s.phase, s.reason = ending, reason
	}
}

// finish sends the farewell and then completes the stream.
func (s *Stream) finish(now time.Duration) Command {
	if !s.tailed {
		s.tailed = true
		if s.sendTail(s.farewell) {
			return Write
		}
	}
	s.phase, s.since, s.whole = complete, now, true
	s.drop()
	if s.halfClosed {
		s.phase = closed
		return Close
	}
	return Shutdown
}

// advance reads at most one part of the log.
func (s *Stream) advance(now time.Duration) Command {
	if now < After(s.active, s.config.Heartbeat) && s.log.Waits(&s.Cursor, s.waiter) {
		return Wait
	}
	p, err := s.log.Read(&s.Cursor, s.waiter)
	switch {
	case err == eventlog.ErrLag:
		s.lag()
		return Again
	case err == eventlog.ErrBehind:
		s.fetching = true
		return Fetch
	case err == eventlog.ErrDisconnected:
		s.Fail(err)
		return Close
	case err != nil:
		s.End(err)
		return Again
	case p.Gap != nil:
		s.sendGap(p.Gap)
		return Write
	case p.Wait:
		return s.beat(now)
	}
	if b, ok := Select(s.filter, p); ok {
		s.Take(b)
		return Write
	}
	return Again
}

func (s *Stream) lag() {
	s.counts.Lagged.Add(1)
	if s.config.SkipLagging {
		s.sendGap(s.log.Skip(&s.Cursor))
		return
	}
	s.End(eventlog.ErrLag)
}

func (s *Stream) sendGap(g *eventlog.Gap) {
	s.counts.Gaps.Add(1)
	s.lastSent = s.Cursor.Next - 1
	s.send(g.Append(nil))
}

// beat sends a heartbeat if it is time. A client whose filter selected nothing lately gets an id instead: otherwise it
// would reconnect with an id that expired long ago.
func (s *Stream) beat(now time.Duration) Command {
	if now < After(s.active, s.config.Heartbeat) {
		return Wait
	}
	s.active = now
	if last := s.Cursor.Next - 1; !s.fetching && s.filter != nil && s.lastSent < last {
		s.lastSent = last
		s.send(s.log.AppendIDBlock(nil, last))
	} else {
		s.send(s.config.Beat())
	}
	return Write
}

// Fetched is the result of reading the store.
type Fetched struct {
	Records []eventlog.Record // from Cursor.Next on; if the first has a larger sequence, the events before it are deleted
	Epoch   string            // of the store, after Records were read
	First   uint64            // sequence of the oldest record in the store, at the same time
	Err     error
}

// How long a stream waits for a copy of the store that is behind the log: first, and maximum. Deleted events without a
// later event look the same.
const (
	fetchPause    = 20 * time.Millisecond
	maxFetchPause = time.Second
)

// Fetched continues with the result of the store, after a heartbeat that is being written.
func (s *Stream) Fetched(f Fetched) {
	if s.fetching && s.phase == live {
		s.fetched = &f
	}
}

// takeFetched outputs the records of the store up to the beginning of the log.
func (s *Stream) takeFetched(now time.Duration) {
	f, oldest := s.fetched, s.log.Oldest()
	s.fetched, s.fetching, s.fetchAt = nil, false, 0
	switch {
	case f.Err != nil:
		s.End(f.Err)
	case f.Epoch != s.log.Extent().Epoch: // the log will get the new epoch soon
		s.End(ErrRenewed)
	case f.First > s.Cursor.Next && (len(f.Records) == 0 || f.Records[0].Sequence > s.Cursor.Next):
		next := min(f.First, oldest)
		g := eventlog.NewGap(f.Epoch, next, eventlog.ID(f.Epoch, s.Cursor.Next-1), eventlog.Expired)
		s.move(next)
		s.sendGap(g)
	case len(f.Records) == 0:
		if s.move(s.Cursor.Next); s.Cursor.Next < oldest {
			s.pause = min(max(2*s.pause, fetchPause), maxFetchPause)
			s.fetchAt = now + s.pause
		}
	default:
		s.pause = 0
		s.takeRecords(f.Records, oldest)
	}
}

// move places the cursor at that sequence, in the log or before it.
func (s *Stream) move(next uint64) {
	s.Cursor.Next = next
	if _, err := s.log.Resume(&s.Cursor); err != nil {
		s.Fail(err)
	}
}

func (s *Stream) takeRecords(records []eventlog.Record, oldest uint64) {
	var block []byte
	events, next := 0, s.Cursor.Next
	for _, r := range records {
		if r.Sequence >= oldest {
			next = oldest
			break
		}
		if next = r.Sequence + 1; s.filter.Has(topic.Make(r.Topic)) {
			block = r.AppendTo(block, s.log.ID(r.Sequence))
			s.lastSent = r.Sequence
			events++
		}
	}
	if s.move(next); s.phase == live && events > 0 {
		s.send(block)
		s.out.events, s.out.history, s.out.charged = events, true, int64(cap(block))
		s.log.Charge(s.out.charged)
	}
}
