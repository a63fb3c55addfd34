package server

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/eventsource-wasm/eventsource-wasm/server/internal/eventlog"
	"github.com/eventsource-wasm/eventsource-wasm/server/internal/stream"
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
	ErrUnavailable = errors.New("server: event store is unavailable")
	ErrStoreFull   = errors.New("server: event store is full")
	ErrKeyReused   = errors.New("server: idempotency key was used for a different request")
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

// storeTimeout bounds what a request waits for the store. It leaves the time that the writing of the answer needs
// within the server's own timeouts.
const storeTimeout = 10 * time.Second

// beatOffline is the sign of life while the store is not followed.
var beatOffline = sse.AppendComment(nil, "event store is unavailable: events are delayed")

func (b *Broker) beat() []byte {
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
			b.events.Update(eventlog.Update{Epoch: u.Epoch, Earlier: u.Earlier, Last: u.Last, Records: logRecords(u.Records)})
			b.relieve()
		}
	})
}

func logRecords(stored []StoredRecord) []eventlog.Record {
	records := make([]eventlog.Record, len(stored))
	for i, r := range stored {
		records[i] = eventlog.Record{Topic: r.Topic, Block: r.Block, Sequence: r.Sequence}
	}
	return records
}

// publishStored is publishAll with a Store. The log gets the events from there.
func (b *Broker) publishStored(ctx context.Context, key Key, publications []Publication) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	if err := b.awaitStore(ctx, func(e eventlog.Extent) bool { return e.Epoch != "" }); err != nil {
		return nil, err
	}
	records := make([]Record, len(publications))
	for i, p := range publications {
		block, err := sse.Append(nil, p.Event)
		if err == nil && over(len(block)+eventlog.IDLineBytes, b.log().Limits().EventBytes) {
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
	return b.log().IDs(first, len(records)), nil
}

// awaitStore waits until the store has reported enough.
func (b *Broker) awaitStore(ctx context.Context, reached func(eventlog.Extent) bool) error {
	err := b.log().Await(ctx, reached)
	if err == nil || errors.Is(err, ErrClosed) {
		return err
	}
	return fmt.Errorf("%w: timed out waiting for its updates", ErrUnavailable)
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
// be before the first event of the log: then the reader continues from the store. The error is one of the store's.
func (b *Broker) seek(ctx context.Context, lastEventID string, p eventlog.Policy) (eventlog.Cursor, *eventlog.Gap, error) {
	l := b.log()
	if b.Store == nil {
		c, g := l.Seek(lastEventID, p)
		return c, g, nil
	}
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	if err := b.awaitStore(ctx, func(e eventlog.Extent) bool { return e.Epoch != "" }); err != nil {
		return eventlog.Cursor{}, nil, err
	}
	c, g := l.Seek(lastEventID, p)
	if g == nil {
		return c, nil, nil
	}
	state, last, reason, err := b.locateStored(ctx, lastEventID)
	if err != nil {
		return c, nil, err
	}
	if reason == "" {
		c.Next, g = last+1, nil
	} else {
		c.Next = state.First
		if p.FromHead {
			c.Next = state.Last + 1
		}
		g = eventlog.NewGap(state.Epoch, c.Next, lastEventID, reason)
	}
	err = b.awaitStore(ctx, func(e eventlog.Extent) bool { return e.Epoch == state.Epoch && e.Next >= c.Next })
	if err != nil {
		return c, nil, err
	}
	if _, err := l.Resume(&c); err != nil {
		return c, nil, fmt.Errorf("%w: it started a new epoch", ErrUnavailable)
	}
	return c, g, nil
}

// A store of several servers may for a moment not have what another node has reported: one of them that was stopped
// takes itself for the leader until it hears of the others.
const (
	futureWait  = 2 * time.Second
	futureRetry = 100 * time.Millisecond // at first, and then twice that each time
)

// locateStored returns the state of the store, and what [eventlog.Extent.Locate] finds there.
func (b *Broker) locateStored(ctx context.Context, id string) (state StoreState, last uint64, reason string, err error) {
	start := time.Now()
	for wait := futureRetry; ; wait *= 2 {
		if state, err = b.Store.State(ctx); err != nil {
			return state, 0, "", err
		}
		extent := eventlog.Extent{Epoch: state.Epoch, Earlier: state.Earlier, First: state.First, Next: state.Last + 1}
		last, reason = extent.Locate(id)
		if reason != eventlog.Future || time.Since(start) >= futureWait {
			return state, last, reason, nil
		}
		if err := pause(ctx, wait); err != nil {
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

// fetch reads on from the store, for a stream that is behind what the log keeps. Its state is asked for afterwards: it
// tells whether the records are of the epoch that the log has, and whether what is missing was dropped or deleted.
func (b *Broker) fetch(ctx context.Context, from uint64) (f stream.Fetched) {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	var records []StoredRecord
	if records, f.Err = b.Store.Read(ctx, from); f.Err != nil {
		return f
	}
	var state StoreState
	state, f.Err = b.Store.State(ctx)
	f.Records, f.Epoch, f.First = logRecords(records), state.Epoch, state.First
	return f
}

// maxFetches is how many streams with goroutines read the store at a time.
const maxFetches = 8

// fetchQueued is fetch for those streams, which wait while others read, or hold as many copies as they may.
func (b *Broker) fetchQueued(ctx context.Context, from uint64) (f stream.Fetched) {
	waiting, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	select {
	case b.fetches <- struct{}{}:
		defer func() { <-b.fetches }()
	case <-waiting.Done():
		return stream.Fetched{Err: fmt.Errorf("%w: too many concurrent reads", ErrUnavailable)}
	}
	for b.log().Full() {
		if pause(waiting, fullPause) != nil {
			return stream.Fetched{Err: fmt.Errorf("%w: slow clients hold too much memory", ErrUnavailable)}
		}
	}
	return b.fetch(ctx, from)
}

// fullPause is how often it is looked whether clients have let go of memory.
const fullPause = 20 * time.Millisecond
