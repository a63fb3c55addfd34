package server

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"time"
	"unique"

	"github.com/eventsource-wasm/eventsource-wasm/sse"
)

// A Store keeps the events of a [Broker], which without one keeps them in memory and for as long as it lives itself.
// Package jetstream has one, for a folder and for a cluster. Its methods are called from many goroutines at a time.
//
// A store is one stream with one order: it numbers events by successive sequences, beginning with 1. Numbers may be
// missing where events were deleted.
type Store interface {
	// Append stores all records or none, under successive sequences, and returns the first one's when they are safe. If
	// key is not zero and was used before, it stores nothing and returns the sequence of then, or [ErrKeyReused] if the
	// key's Sum is another.
	//
	// Other errors are [ErrEventTooLarge], [ErrStoreFull], and [ErrUnavailable] when the store cannot be reached or does
	// not answer in time, upon which the records may be stored or not.
	Append(ctx context.Context, key Key, records ...Record) (first uint64, err error)

	// Read returns, oldest first, some of the records from that sequence on: as many as the store finds it good to
	// return at once, and none if it has none. Between those that it returns, none is missing that is kept.
	Read(ctx context.Context, from uint64) ([]StoredRecord, error)

	// State returns what the store keeps. It knows of all that was appended before the call, on whatever node.
	State(ctx context.Context) (StoreState, error)

	// Follow calls tell with everything that is appended, on whatever node, until ctx is done: first with an update
	// that says where it begins, and then in order, without a gap and without a duplicate.
	Follow(ctx context.Context, tell func(StoreUpdate))
}

// Errors of a [Store].
var (
	ErrUnavailable = errors.New("server: the store of the events is unavailable")
	ErrStoreFull   = errors.New("server: the store of the events is full")
	ErrKeyReused   = errors.New("server: the key was used for something else")
)

// A Record is an event as a store keeps it. Its block is the event's encoding without the id, which only the store's
// sequence makes.
type Record struct {
	Topic string
	Block []byte
}

// A StoredRecord has its place in the store's order.
type StoredRecord struct {
	Record
	Sequence uint64
}

// A Key makes an Append that is repeated store nothing. The zero Key makes none.
type Key struct {
	ID  string            // 64 hexadecimal digits
	Sum [sha256.Size]byte // of what is published under it
}

// A StoreState says what a store keeps.
type StoreState struct {
	Epoch string // of ids
	First uint64 // sequence of the oldest record kept, or Last+1
	Last  uint64 // sequence of the newest record ever stored

	// Earlier holds epochs of the past, each with the last sequence up to which an id of it means the same as one of the
	// present epoch. A store that finds that it has lost its newest records begins a new epoch, because it is going to
	// give their sequences to others.
	Earlier map[string]uint64
}

// A StoreUpdate is what [Store.Follow] tells.
type StoreUpdate struct {
	// StoreState is what the store keeps, of which First does not matter and Last is what is told with this update, be
	// it a record or deleted. Another Epoch than before makes the broker begin anew behind Last, as does without
	// records a Last that goes back.
	StoreState

	Records []StoredRecord // in order
	Err     error          // why nothing can be told for now, if that is so
}

// idLineBytes is what an id takes of the limit of an event's size: the sequence is not known before it is stored.
const idLineBytes = len("id: 12345678-18446744073709551615\n")

// storeTimeout bounds what a request waits for the store. It leaves the time that the writing of the answer needs
// within the server's own timeouts.
const storeTimeout = 10 * time.Second

// beatOffline is the sign of life while the store is not followed.
var beatOffline = sse.AppendComment(nil, "the store is unavailable: events are late")

func (b *Broker) heartbeat() []byte {
	if b.offline.Load() {
		return beatOffline
	}
	return heartbeat
}

// follow has the log follow the store until the broker is closed.
func (b *Broker) follow(ctx context.Context) {
	b.Store.Follow(ctx, func(u StoreUpdate) {
		b.offline.Store(u.Err != nil)
		if u.Err == nil {
			b.events.update(u)
		}
	})
}

// publishStored is publishAll with a Store. The log gets the events from there.
func (b *Broker) publishStored(key Key, publications []Publication) ([]string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), storeTimeout)
	defer cancel()
	if err := b.log().await(ctx, func() bool { return b.events.epoch != "" }); err != nil {
		return nil, err
	}
	records := make([]Record, len(publications))
	for i, p := range publications {
		block, err := sse.Append(nil, p.Event)
		if err == nil && over(len(block)+idLineBytes, b.log().limits.eventBytes) {
			err = ErrEventTooLarge
		}
		if err != nil {
			return nil, &PublicationError{i, err}
		}
		records[i] = Record{p.Topic, block}
	}
	first, err := b.Store.Append(ctx, key, records...)
	if err != nil {
		b.unstored.Add(1)
		return nil, err
	}
	return b.log().ids(first, len(records)), nil
}

// storeKey returns the key under which a store remembers the attempt.
func (a attempt) storeKey(request []byte) Key {
	if a.key == "" {
		return Key{}
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "%q of %q", a.key, a.subject))
	return Key{hex.EncodeToString(sum[:]), sha256.Sum256(request)}
}

// seek returns the cursor of a reader whose last event is lastEventID, and why it is not where that asked to be. It may
// be before the first event of the log: then the reader has to replay. The error is one of the store's.
func (b *Broker) seek(ctx context.Context, lastEventID string, s seeker) (cursor, *gap, error) {
	l := b.log()
	if b.Store == nil {
		c, g := l.seek(lastEventID, s)
		return c, g, nil
	}
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	if err := l.await(ctx, func() bool { return l.epoch != "" }); err != nil {
		return cursor{}, nil, err
	}
	c, g := l.seek(lastEventID, s)
	if g == nil {
		return c, nil, nil
	}
	state, last, reason, err := b.locateStored(ctx, lastEventID)
	if err != nil {
		return c, nil, err
	}
	if reason == "" {
		c.next, g = last+1, nil
	} else {
		c.next = state.First
		if s.fromHead {
			c.next = state.Last + 1
		}
		g = newGap(state.Epoch, c.next, lastEventID, reason)
	}
	err = l.await(ctx, func() bool { return l.epoch == state.Epoch && l.next >= c.next })
	if err != nil {
		return c, nil, err
	}
	if _, err := l.resume(&c); err != nil {
		return c, nil, fmt.Errorf("%w: it begins anew", ErrUnavailable)
	}
	return c, g, nil
}

// A store of several servers may for a moment not have what another node has told: one of them that was stopped takes
// itself for the leader until it hears of the others.
const (
	futureWait  = 2 * time.Second
	futureRetry = 50 * time.Millisecond
)

// locateStored returns the state of the store, and what [extent.locate] finds there.
func (b *Broker) locateStored(ctx context.Context, id string) (state StoreState, last uint64, reason string, err error) {
	for start := time.Now(); ; {
		if state, err = b.Store.State(ctx); err != nil {
			return state, 0, "", err
		}
		last, reason = extent{state.Epoch, state.Earlier, state.First, state.Last + 1}.locate(id)
		if reason != gapFuture || time.Since(start) >= futureWait {
			return state, last, reason, nil
		}
		if err := pause(ctx, futureRetry); err != nil {
			return state, 0, "", err
		}
	}
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// await waits until the store has told enough for reached, which is called under the lock, to be true.
func (l *eventLog) await(ctx context.Context, reached func() bool) error {
	for {
		l.mu.Lock()
		done, closed, wake := reached(), l.closed, l.waiter()
		l.mu.Unlock()
		switch {
		case closed:
			return ErrClosed
		case done:
			return nil
		}
		select {
		case <-wake:
		case <-ctx.Done():
			return fmt.Errorf("%w: it does not tell what is new", ErrUnavailable)
		}
	}
}

// resume places a cursor in the log, if that has what follows it.
func (l *eventLog) resume(c *cursor) (bool, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case c.generation != l.generation:
		return false, errBroken
	case c.next < l.first:
		c.position = l.position(l.first) // as Stats.Lag counts what is kept
		return false, nil
	}
	l.move(c, c.next)
	c.settled = l.head
	return true, nil
}

// update takes what the store tells.
func (l *eventLog) update(u StoreUpdate) {
	if wake := l.apply(u); wake != nil {
		close(wake)
	}
}

func (l *eventLog) apply(u StoreUpdate) (wake chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil
	}
	if u.Epoch != l.epoch || len(u.Records) == 0 && u.Last+1 < l.next {
		l.begin(u.StoreState)
	}
	for _, r := range u.Records {
		if r.Sequence < l.next {
			continue
		}
		l.omit(r.Sequence)
		l.put(appendStored(l.free(), l.id(r.Sequence), r), unique.Make(r.Topic))
	}
	l.omit(u.Last + 1)
	l.trim()
	wake, l.wake = l.wake, nil
	return wake
}

// appendStored appends the encoding of the event with its id, byte for byte as the log without a store has it.
func appendStored(dst []byte, id string, r StoredRecord) []byte {
	line, err := sse.AppendID(dst, id)
	if err != nil {
		panic(err) // an epoch does not break its line
	}
	return append(line[:len(line)-1], r.Block...) // without the end of the block that sets an id alone
}

// begin empties the log, which goes on behind what the store has. Those who read in another epoch have to come back.
func (l *eventLog) begin(s StoreState) {
	if l.epoch != "" {
		l.generation++
	}
	l.epoch, l.earlier = s.Epoch, s.Earlier
	l.segments, l.first, l.next = nil, s.Last+1, s.Last+1
}

// maxOmitted is how many events that are missing in a row have entries. Beyond that, the log begins anew behind them.
const maxOmitted = 1000

// omit lets the log go on at that sequence, as what was before is deleted.
func (l *eventLog) omit(to uint64) {
	if to <= l.next {
		return
	}
	if to-l.next > maxOmitted || len(l.segments) == 0 {
		l.segments, l.first, l.next = nil, to, to
		return
	}
	for l.next < to {
		l.put(l.free()[:0], absent)
	}
}

// oldest returns the sequence of the oldest event in the log.
func (l *eventLog) oldest() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.first
}

func (l *eventLog) eventID(sequence uint64) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.id(sequence)
}

// ids returns n successive ids.
func (l *eventLog) ids(first uint64, n int) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	ids := make([]string, n)
	for i := range ids {
		ids[i] = l.id(first + uint64(i))
	}
	return ids
}
