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

// A Store keeps the events of a [Broker]. Packages filestore and jetstream implement it. Its methods must be safe for
// concurrent use.
//
// A store is one stream with one order. It numbers events with consecutive sequences, starting at 1. Sequences may be
// missing where events were deleted.
//
// Other packages may implement Store. So no method will be added to it, since that would break them. If the broker needs
// more from a store in the future, it will look for a separate, optional interface, as package io/fs does. The structs that
// Store uses may get new fields whose zero values mean the old behavior: use field names in composite literals.
type Store interface {
	// Append stores all records or none, with consecutive sequences, and returns the first sequence when the records
	// are safe. If key is not zero and was used before, it stores nothing and returns the sequence from that time, or
	// [ErrKeyReused] if the Sum of the key differs.
	//
	// Other errors wrap [sse.ErrEventTooLarge], [ErrStoreFull], or [ErrStoreUnavailable] if the store cannot be reached
	// or does not respond in time. With ErrStoreUnavailable, the records may have been stored.
	Append(ctx context.Context, key IdempotencyKey, records ...Record) (first uint64, err error)

	// Read returns records in order, starting at the sequence from or the next one that is kept. It returns as many as
	// is efficient for the store, and none only if none follow. It must not skip a record that is kept.
	Read(ctx context.Context, from uint64) ([]StoredRecord, error)

	// State returns what the store keeps. It includes everything appended on any node before the call.
	State(ctx context.Context) (StoreState, error)

	// Follow calls report with everything that is appended on any node: first with an update that says where it starts,
	// then in order, without gaps or duplicates. It reports temporary failures in [StoreUpdate] and continues. Follow
	// returns when ctx is done, or with an error when it can never continue. After that error, [Stats.Offline] is true
	// until the broker is closed. A broker calls Follow once.
	Follow(ctx context.Context, report func(StoreUpdate)) error
}

// Errors of a [Store].
var (
	ErrStoreUnavailable = errors.New("server: event store is unavailable")
	ErrStoreFull        = errors.New("server: event store is full")
	ErrKeyReused        = errors.New("server: idempotency key was used for a different request")
)

// A Record is an event in a store. Block is the encoding of the event without its id, because the id depends on the
// sequence that the store assigns.
type Record struct {
	Topic string
	Block []byte
}

// A StoredRecord is a record with its sequence.
type StoredRecord struct {
	Record
	Sequence uint64
}

// An IdempotencyKey makes Append store its records only once. The zero IdempotencyKey means no key.
type IdempotencyKey struct {
	ID  string            // 64 hexadecimal digits
	Sum [sha256.Size]byte // SHA-256 of the request
}

// A StoreState says what a store keeps.
type StoreState struct {
	Epoch string // first part of ids; changes when earlier ids are no longer valid
	First uint64 // sequence of the oldest record kept, or Last+1 if there is none
	Last  uint64 // sequence of the newest record ever stored

	// Earlier maps earlier epochs to the last sequence up to which their ids are still valid. A store that has lost its
	// newest records starts a new epoch, because it will assign their sequences again.
	Earlier map[string]uint64
}

// A StoreUpdate is what [Store.Follow] reports.
type StoreUpdate struct {
	// StoreState is the state of the store. First is ignored. Last is the last sequence that this update covers, whether
	// its event is in Records or was deleted. If Epoch has changed, or an update without Records has a lower Last, the
	// broker starts over after Last.
	StoreState

	Records []StoredRecord // in order
	Err     error          // why the store cannot report events at the moment, or nil
}

// storeTimeout limits how long a request waits for the store. It leaves time to write the response within the server's
// own timeouts.
const storeTimeout = 10 * time.Second

// beatOffline is the heartbeat while the store reports nothing.
var beatOffline = sse.AppendComment(nil, "event store is unavailable: events are delayed")

func (b *Broker) beat() []byte {
	if b.offline.Load() {
		return beatOffline
	}
	return heartbeat
}

// follow updates the log from the store until the broker is closed.
func (b *Broker) follow(ctx context.Context) {
	err := b.Store.Follow(ctx, func(u StoreUpdate) {
		b.offline.Store(u.Err != nil)
		if u.Err == nil {
			b.events.Update(eventlog.Update{Epoch: u.Epoch, Earlier: u.Earlier, Last: u.Last, Records: logRecords(u.Records)})
			b.relieve()
		}
	})
	if err != nil && ctx.Err() == nil {
		b.offline.Store(true)
	}
}

func logRecords(stored []StoredRecord) []eventlog.Record {
	records := make([]eventlog.Record, len(stored))
	for i, r := range stored {
		records[i] = eventlog.Record{Topic: r.Topic, Block: r.Block, Sequence: r.Sequence}
	}
	return records
}

// publishStored is publishAll with a Store. The log gets the events from Follow.
func (b *Broker) publishStored(ctx context.Context, key IdempotencyKey, publications []Publication) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	if err := b.awaitStore(ctx, func(e eventlog.Extent) bool { return e.Epoch != "" }); err != nil {
		return nil, err
	}
	records := make([]Record, len(publications))
	for i, p := range publications {
		block, err := sse.Append(nil, p.Event)
		if err == nil && over(len(block)+eventlog.IDLineBytes, b.log().Limits().EventBytes) {
			err = sse.ErrEventTooLarge
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
	return fmt.Errorf("%w: timed out waiting for its updates", ErrStoreUnavailable)
}

// storeKey returns the key for the store.
func (a attempt) storeKey(request []byte) IdempotencyKey {
	if a.key == "" {
		return IdempotencyKey{}
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "%q of %q", a.key, a.subject))
	return IdempotencyKey{hex.EncodeToString(sum[:]), sha256.Sum256(request)}
}

// seek returns the cursor of a client with that last event ID, and a gap if it cannot continue there. The cursor may be
// before the first event of the log; then the client continues from the store. The error is one of the store's.
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
		return c, nil, fmt.Errorf("%w: it started a new epoch", ErrStoreUnavailable)
	}
	return c, g, nil
}

// A store of several servers may briefly lack what another node has reported: a server that was suspended considers itself
// the leader until it hears from the others.
const (
	futureWait  = 2 * time.Second
	futureRetry = 100 * time.Millisecond // at first, doubled each time
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

// fetch reads from the store, for a stream that needs older events than the log has. It asks for the state afterwards:
// that shows whether the records are of the log's epoch, and whether missing records were dropped or deleted.
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

// maxFetches limits how many streams with goroutines read the store at a time.
const maxFetches = 8

// fetchQueued is fetch for streams with goroutines. It waits while too many others read, or hold too many copies.
func (b *Broker) fetchQueued(ctx context.Context, from uint64) (f stream.Fetched) {
	waiting, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	select {
	case b.fetches <- struct{}{}:
		defer func() { <-b.fetches }()
	case <-waiting.Done():
		return stream.Fetched{Err: fmt.Errorf("%w: too many concurrent reads", ErrStoreUnavailable)}
	}
	for b.log().Full() {
		if pause(waiting, fullPause) != nil {
			return stream.Fetched{Err: fmt.Errorf("%w: slow clients hold too much memory", ErrStoreUnavailable)}
		}
	}
	return b.fetch(ctx, from)
}

// fullPause is the interval at which fetchQueued checks whether clients have released memory.
const fullPause = 20 * time.Millisecond
