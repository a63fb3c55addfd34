package server

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/eventsource-wasm/eventsource-wasm/server/internal/coding"
	"github.com/eventsource-wasm/eventsource-wasm/server/internal/epoll"
	"github.com/eventsource-wasm/eventsource-wasm/server/internal/eventlog"
	"github.com/eventsource-wasm/eventsource-wasm/server/internal/netstream"
	"github.com/eventsource-wasm/eventsource-wasm/server/internal/stream"
	"github.com/eventsource-wasm/eventsource-wasm/server/internal/topic"
	"github.com/eventsource-wasm/eventsource-wasm/sse"
)

// Default limits of a [Broker], for fields that are zero.
const (
	DefaultMaxEvents      = 10_000
	DefaultMaxBytes       = 16 << 20
	DefaultMaxAge         = time.Hour
	DefaultMaxEventBytes  = 1 << 20
	DefaultMaxConnections = 10_000
	DefaultMaxPinnedBytes = 64 << 20

	DefaultIdempotencyMaxBytes  = 128 << 20
	DefaultIdempotencyMaxAge    = time.Hour
	DefaultMaxDistinctTopics    = 100_000
	DefaultDistinctTopicAge     = 24 * time.Hour
	DefaultMaxBodyBytesInFlight = 64 << 20
	DefaultMaxBodyBytesPerIP    = 16 << 20
	DefaultMinRetry             = time.Second
	DefaultMaxRetry             = time.Hour
)

// Errors of [Broker.Publish], besides [sse.ErrInvalidType] and [sse.ErrEventTooLarge].
var (
	ErrClosed        = eventlog.ErrClosed
	ErrUnknownTopic  = topic.ErrUnknown
	ErrInvalidTopic  = topic.ErrInvalid
	ErrEventHasID    = errors.New("server: event has an ID: leave it empty, the broker assigns IDs")
	ErrReservedType  = errors.New(`server: event type "gap" is reserved`)
	ErrInvalidRetry  = errors.New("server: retry is out of range")
	ErrTooManyTopics = errors.New("server: too many distinct topics: use an existing topic, or retry later")
)

// Errors that refuse a stream for now.
var (
	errFull                 = errors.New("server: too many connections")
	errManyFromIP           = errors.New("server: too many connections from this address")
	errManyOfSubject        = errors.New("server: too many connections for this subject")
	errManyFilters          = topic.ErrTooManyFilters
	errManyFiltersFromIP    = errors.New("server: too many distinct topic filters from this address")
	errManyFiltersOfSubject = errors.New("server: too many distinct topic filters for this subject")
)

// A Broker keeps the most recent events of any number of topics, in one order, and delivers them through its
// [Handler]s. The zero Broker accepts any topic and has the default limits.
//
// Its fields must not change after its first use, and it must not be copied. Its methods are safe for concurrent use.
// None of them waits for a client, except Drain.
type Broker struct {
	// Topics lists the topics that exist, by name or by a pattern as described at [Covers]. Publishing to another topic
	// fails, and so does subscribing to a topic or pattern that matches none of them. Empty means any name of 1 to 255
	// bytes that is not a pattern.
	Topics []string

	// MaxEvents, MaxBytes and MaxAge limit the history: an event is replayed only while it is within all three.
	// MaxBytes counts bytes as sent. The limits are exact for clients, but memory is freed in steps of 64 KiB, and each
	// event takes another 24 bytes. The newest event stays until MaxAge, whatever its size. Zero means 10,000 events,
	// 16 MiB and 1 hour. Negative means no limit.
	MaxEvents int
	MaxBytes  int64
	MaxAge    time.Duration

	// MaxEventBytes limits the size of an encoded event, including its id. Zero means 1 MiB. Negative means no limit.
	MaxEventBytes int

	// MaxConnections limits the open streams of all handlers. Further ones get 503. Zero means 10,000. Negative means
	// no limit.
	MaxConnections int

	// MaxConnectionsPerIP and MaxConnectionsPerSubject limit the open streams per address (per /64 for IPv6) and per
	// [Grant.Subject]. Further ones get 429. Zero means no limit, since the broker cannot know how many people share an
	// address.
	MaxConnectionsPerIP, MaxConnectionsPerSubject int

	// IdempotencyMaxAge is how long an Idempotency-Key is remembered. Zero means 1 hour. Negative means until its
	// memory is needed for another key. A Store has its own time; then this is how long a key counts for
	// IdempotencyMaxBytes.
	IdempotencyMaxAge time.Duration

	// IdempotencyMaxBytes limits the memory for these keys. Each takes 256 bytes, or 768 bytes with a Store, including
	// the store's memory. One [Grant.Subject], or one address without a subject, may use half of it. Beyond its half, a
	// publication with a new key gets 429; beyond the whole, 503, until keys expire. Publications without a key are not
	// limited. Zero means 128 MiB. Negative means no limit.
	IdempotencyMaxBytes int64

	// MaxDistinctTopics limits the topics that have events. Publishing to a further one fails with [ErrTooManyTopics],
	// over HTTP with 503. Zero means 100,000. Negative means no limit. A topic takes about 40 bytes here, and about 2
	// kB in a store of package jetstream.
	//
	// Without a Store, a topic counts until MaxEvents events, MaxBytes bytes or MaxAge have followed its last event,
	// and at most twice as long. With a Store, it counts until this broker has not published to it for
	// DistinctTopicAge, and at most twice as long.
	MaxDistinctTopics int

	// DistinctTopicAge is how long a topic counts with a Store. Use the retention time of the store. Zero means 24
	// hours. Negative means forever.
	DistinctTopicAge time.Duration

	// MaxBodyBytesInFlight and MaxBodyBytesPerIP limit the memory of POST bodies that are being read and published,
	// over all handlers (503 beyond it) and per address, or /64 for IPv6 (429). A body counts as the bytes that have
	// arrived, and at least 16 KiB. Decoding takes the same amount again. A value below [Handler.MaxBodyBytes] also
	// limits single bodies. Zero means 64 MiB and 16 MiB. Negative means no limit.
	MaxBodyBytesInFlight, MaxBodyBytesPerIP int64

	// MinRetry and MaxRetry limit the reconnection time that an event may set, in whole milliseconds. Publishing an
	// event outside of these limits fails with [ErrInvalidRetry]. An event whose Retry is 0 sets no time. Zero means 1
	// s and 1 hour. Negative means no limit.
	MinRetry, MaxRetry time.Duration

	// MaxFilters limits the distinct topic filters of open streams. A filter is the set of topics and patterns of a
	// stream. Further ones get 503. A filter takes memory for its names, and the cost of an event grows with the
	// filters that match it. Zero or negative means no limit besides MaxConnections, since a stream has one filter.
	MaxFilters int

	// MaxFiltersPerIP and MaxFiltersPerSubject limit the filters per address and per [Grant.Subject]. Further ones get
	// 429. Zero means no limit.
	MaxFiltersPerIP, MaxFiltersPerSubject int

	// MaxPinnedBytes limits the dropped history that slow clients together keep in memory. A client holds the segment
	// that is being written to it, which is 64 KiB or one larger event, even after the history has dropped it. Beyond
	// the limit, the streams that hold the oldest segments are closed, and their clients resume. Zero means 64 MiB.
	// Negative means no limit.
	MaxPinnedBytes int64

	// Store keeps the events so that they survive the broker and can be shared with brokers of other processes.
	// MaxEvents, MaxBytes and MaxAge then limit the newest events, which are also kept in memory. Older events are read
	// from the store, which has its own limits. While the store is unavailable, streams stay open, publishing fails
	// with [ErrStoreUnavailable], and new streams that need events from the store get 503. Close does not close the
	// store. Nil means that events are only in memory.
	Store Store

	once       sync.Once
	events     *eventlog.Log
	unfollow   context.CancelFunc // ends following the Store
	epoll      *epoll.Driver
	goroutines netstream.Set
	carriers   netstream.Carriers
	filters    topic.Registry
	codings    coding.Registry
	quota      quota
	keyed      keyed
	names      topicNames
	bodies     bodies
	drain      drainState
	fetches    chan struct{} // one for each that reads the store

	counts      [8]stream.Counts // of the streams that are not the epoll driver's, to keep processors apart
	shards      atomic.Uint32
	connections atomic.Int64
	placed      atomic.Int64 // those of them that have a cursor
	unstored    atomic.Int64
	refused     atomic.Int64
	offline     atomic.Bool
	relieved    atomic.Uint64 // the cutoff that was last acted on
	noDeadlines sync.Once
}

// Stats has the statistics of a broker at one moment. Counters start at zero with the broker.
type Stats struct {
	Connections int64  // open streams
	Published   uint64 // events accepted; with a Store, since its creation and by all brokers
	Delivered   int64  // events written, counted once for each client
	Events      int    // events kept
	Bytes       int64  // bytes of the events kept, as sent
	Gaps        int64  // gap events written
	Lagged      int64  // times that a client exceeded MaxLag

	Detached int64 // open streams without a goroutine: see Handler.NoHijack
	Stalled  int64 // times that such a stream waited for its socket
	TimedOut int64 // streams closed by WriteTimeout
	Replayed int64 // events in Delivered that were published before their stream began
	Written  int64 // bytes written to streams, including the chunk framing of detached ones

	Lag int64 // bytes by which the slowest stream lags, up to 20 ms ago

	Pinned   int64 // bytes of dropped history that clients hold: see MaxPinnedBytes
	Filters  int   // distinct topic filters of open streams
	Encoders int   // topic filters whose streams are compressed

	Unstored int64 // publications that the Store refused or failed to store
	Offline  bool  // the Store does not report new events at the moment

	Topics           int   // distinct topics, as MaxDistinctTopics counts them
	IdempotencyKeys  int   // keys remembered
	IdempotencyBytes int64 // their memory, as IdempotencyMaxBytes counts it
	BodyBytes        int64 // memory of the request bodies being read and published
	Refused          int64 // publications refused by a limit on topics, keys or bodies

	Latency Latency
}

// Publish appends the event to the topic and returns its id: the epoch, a hyphen, and the number of the event in
// decimal, starting at 1. The epoch is random and new for every Broker. The ID of the given event must be empty. In
// every stream, events come in the order of their publication. With a Store, the epoch and the number are the store's,
// and Publish returns when the event is stored. It returns early if ctx is done.
//
// The error wraps one of [ErrClosed], [ErrUnknownTopic], [ErrInvalidTopic], [ErrTooManyTopics], [ErrEventHasID],
// [ErrReservedType], [ErrInvalidRetry], [sse.ErrInvalidType], [sse.ErrEventTooLarge] or, with a Store, [ErrStoreFull]
// or [ErrStoreUnavailable], or it is the cause of ctx. With a Store, the event may have been stored despite
// ErrStoreUnavailable or a ctx that was done during the call.
func (b *Broker) Publish(ctx context.Context, topic string, event sse.Event) (id string, err error) {
	if ctx.Err() != nil {
		return "", context.Cause(ctx)
	}
	p := Publication{topic, event}
	if err := b.check(p); err != nil {
		return "", err
	}
	if err := b.admitTopics(p); err != nil {
		return "", err
	}
	if b.Store == nil {
		id, err := b.log().Append(topic, event)
		b.relieve()
		return id, err
	}
	ids, err := b.publishStored(ctx, IdempotencyKey{}, []Publication{p})
	if about, ok := errors.AsType[*PublicationError](err); ok {
		return "", about.Err
	}
	if err != nil {
		return "", err
	}
	return ids[0], nil
}

// A Publication is an event and its topic.
type Publication struct {
	Topic string
	Event sse.Event
}

// PublishAll publishes all events or none. They get consecutive ids, without other events in between. The errors are
// those of Publish. An error about one of the publications is a [*PublicationError].
func (b *Broker) PublishAll(ctx context.Context, publications ...Publication) (ids []string, err error) {
	return b.publishAll(ctx, IdempotencyKey{}, publications)
}

// publishAll uses the key only if there is a Store.
func (b *Broker) publishAll(ctx context.Context, key IdempotencyKey, publications []Publication) (ids []string, err error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if err := b.checkAll(publications); err != nil {
		return nil, err
	}
	if err := b.admitTopics(publications...); err != nil {
		return nil, err
	}
	switch {
	case len(publications) == 0:
		return nil, nil
	case b.Store != nil:
		return b.publishStored(ctx, key, publications)
	}
	return b.publishInMemory(publications)
}

func (b *Broker) publishInMemory(publications []Publication) ([]string, error) {
	items := make([]eventlog.Item, len(publications))
	for i, p := range publications {
		items[i] = eventlog.Item(p)
	}
	ids, failed, err := b.log().AppendAll(items)
	if err != nil && failed >= 0 {
		return nil, &PublicationError{failed, err}
	}
	b.relieve()
	return ids, err
}

// relieve closes the goroutine-driven streams that hold the oldest memory, if clients hold too much.
func (b *Broker) relieve() {
	cutoff := b.log().Cutoff()
	if before := b.relieved.Load(); cutoff == before || !b.relieved.CompareAndSwap(before, cutoff) {
		return
	}
	go b.goroutines.Relieve(b.log())
}

// A PublicationError says which publication made [Broker.PublishAll] fail.
type PublicationError struct {
	Index int   // of the publication, starting at 0
	Err   error // one of Publish's
}

func (e *PublicationError) Error() string {
	return fmt.Sprintf("%v (publication %d)", e.Err, e.Index+1)
}

func (e *PublicationError) Unwrap() error { return e.Err }

func (b *Broker) checkAll(publications []Publication) error {
	for i, p := range publications {
		if err := b.check(p); err != nil {
			return &PublicationError{i, err}
		}
	}
	return nil
}

// check finds errors before the log encodes the event.
func (b *Broker) check(p Publication) error {
	if err := b.checkEvent(p.Event); err != nil {
		return err
	}
	switch {
	case p.Event.ID != "":
		return ErrEventHasID
	case over(len(p.Event.Data), b.log().Limits().EventBytes):
		return sse.ErrEventTooLarge
	}
	return topic.CheckName(p.Topic, b.Topics)
}

// Close ends every stream after it has delivered all published events. From then on, Publish fails with [ErrClosed] and
// new streams get 503. Register it with [http.Server.RegisterOnShutdown], since [http.Server.Shutdown] waits for open
// requests. Neither Close nor Shutdown waits for streams that left the goroutine of their request (see
// [Handler.NoHijack]). To wait for them, call Drain, before or after Close.
func (b *Broker) Close() {
	b.log().Close()
	b.unfollow()
}

// DisconnectAll closes the connections of all open streams immediately, even in the middle of an event, as a network
// failure would. Clients reconnect and resume. If a stream is being written to by a blocked write, its connection
// closes after that write or its timeout.
func (b *Broker) DisconnectAll() {
	b.log().DisconnectAll()
}

// Stats returns the statistics of the broker. It is cheap enough for every scrape of a monitoring system.
func (b *Broker) Stats() Stats {
	log := b.log()
	s := Stats{
		Connections: b.placed.Load(),
		Detached:    b.epoll.Detached(),
		Lag:         b.lag(),
		Pinned:      log.Pinned(),
		Filters:     b.filters.Len(),
		Encoders:    b.codings.Encoders(),
		Unstored:    b.unstored.Load(),
		Offline:     b.offline.Load(),
		Topics:      b.names.count(),
		BodyBytes:   b.bodies.inFlight(),
		Refused:     b.refused.Load(),
	}
	s.Published, s.Events, s.Bytes = log.Figures()
	s.IdempotencyKeys, s.IdempotencyBytes = b.keyed.figures()
	add := func(c *stream.Counts) {
		s.Delivered += c.Delivered.Load()
		s.Gaps += c.Gaps.Load()
		s.Lagged += c.Lagged.Load()
		s.Stalled += c.Stalled.Load()
		s.TimedOut += c.TimedOut.Load()
		s.Replayed += c.Replayed.Load()
		s.Written += c.Written.Load()
		c.Latency.AddTo(&s.Latency.Counts, &s.Latency.Sum)
	}
	for i := range b.counts {
		add(&b.counts[i])
	}
	b.epoll.EachCounts(add)
	return s
}

// shard returns the counters for one more stream.
func (b *Broker) shard() *stream.Counts {
	return &b.counts[b.shards.Add(1)%uint32(len(b.counts))]
}

// lag returns the lag of the slowest stream, in bytes of the log.
func (b *Broker) lag() int64 {
	head := b.log().Head()
	return max(head-min(b.goroutines.Lowest(), b.epoll.Lowest()), 0)
}

func (b *Broker) log() *eventlog.Log {
	b.once.Do(func() {
		b.events = eventlog.New(eventlog.Limits{
			Events:     cmp.Or(b.MaxEvents, DefaultMaxEvents),
			Bytes:      cmp.Or(b.MaxBytes, DefaultMaxBytes),
			Age:        cmp.Or(b.MaxAge, DefaultMaxAge),
			EventBytes: cmp.Or(b.MaxEventBytes, DefaultMaxEventBytes),
			Pinned:     cmp.Or(b.MaxPinnedBytes, DefaultMaxPinnedBytes),
		}, b.Store != nil, nil)
		env := epoll.Env{Log: b.events, Draining: b.drain.begun, Within: within, Fetch: b.fetch}
		b.epoll = epoll.New(env)
		b.fetches = make(chan struct{}, maxFetches)
		b.unfollow = func() {}
		if b.Store != nil {
			var ctx context.Context
			ctx, b.unfollow = context.WithCancel(context.Background())
			go b.follow(ctx)
		}
	})
	return b.events
}

// enter counts a new stream, or returns the error of the limit that it would exceed. Call leave or cancel later.
func (b *Broker) enter(a account, f *topic.Filter) error {
	if b.log().Closed() {
		return ErrClosed
	}
	if over(b.connections.Add(1), int64(b.maxConnections())) {
		b.countOut()
		return errFull
	}
	// Having been counted in, it is either seen by Drain or sees it.
	if _, draining := b.drain.begun(); draining {
		b.countOut()
		return ErrDraining
	}
	if err := b.quota.take(b, a, f); err != nil {
		b.countOut()
		return err
	}
	return nil
}

func (b *Broker) maxConnections() int { return cmp.Or(b.MaxConnections, DefaultMaxConnections) }

// leave counts out a stream that had a place in the log.
func (b *Broker) leave(a account, f *topic.Filter) {
	b.placed.Add(-1)
	b.cancel(a, f)
}

// cancel undoes enter and releases the filter.
func (b *Broker) cancel(a account, f *topic.Filter) {
	b.quota.giveBack(b, a, f)
	b.filters.Release(f)
	b.countOut()
}

func (b *Broker) countOut() {
	if b.connections.Add(-1) == 0 {
		b.drain.done()
	}
}

// over reports whether n exceeds a limit. A negative limit does not apply.
func over[T ~int | ~int64](n, limit T) bool {
	return limit >= 0 && n > limit
}
