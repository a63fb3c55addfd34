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

// Limits of a [Broker] whose fields are zero.
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

// Errors of [Broker.Publish], besides [sse.ErrInvalidType].
var (
	ErrClosed        = eventlog.ErrClosed
	ErrUnknownTopic  = topic.ErrUnknown
	ErrInvalidTopic  = topic.ErrInvalid
	ErrEventHasID    = errors.New("server: event has an id; the broker assigns ids")
	ErrEventTooLarge = eventlog.ErrEventTooLarge
	ErrReservedType  = errors.New(`server: the type "gap" is reserved for the server`)
	ErrInvalidRetry  = errors.New("server: retry is out of range")
	ErrManyTopics    = errors.New("server: too many distinct topics: publish to one that exists, or later")
)

// Why a stream is refused that another time will be welcome.
var (
	errFull                 = errors.New("server: too many connections")
	errManyFromIP           = errors.New("server: too many connections from this address")
	errManyOfSubject        = errors.New("server: too many connections of this subject")
	errManyFilters          = topic.ErrTooManyFilters
	errManyFiltersFromIP    = errors.New("server: too many distinct sets of topics from this address")
	errManyFiltersOfSubject = errors.New("server: too many distinct sets of topics of this subject")
)

// A Broker keeps the most recent events of any number of topics, in one order, and streams them through the [Handler]s
// that refer to it. The zero Broker takes any topic and has the default limits.
//
// Its fields must not change after its first use, and it must not be copied. Its methods are safe for concurrent use;
// none of them waits for a client.
type Broker struct {
	// Topics lists the topics that exist, by name or by a pattern as [Covers] has it. Publishing to another fails, as
	// does asking for another, or for a pattern that none of them meets. Empty means that any name is a topic that is
	// no pattern and has 1 to 255 bytes.
	Topics []string

	// MaxEvents, MaxBytes and MaxAge bound the history: an event is replayed only while it is within all three. They
	// are exact for what clients see, with two qualifications. Memory is given back in steps of 64 KiB, and beside the
	// bytes on the wire, which MaxBytes counts, an event costs 24 bytes. And the newest event stays, however large,
	// until its age is up. A zero field means the default above; a negative one, no limit.
	MaxEvents int
	MaxBytes  int64
	MaxAge    time.Duration

	// MaxEventBytes bounds an event as encoded, id and line ends included. Zero means 1 MiB; negative, no limit.
	MaxEventBytes int

	// MaxConnections bounds the streams open at a time, over all handlers. Further ones are answered 503. Zero means
	// 10,000; negative, no limit.
	MaxConnections int

	// MaxConnectionsPerIP and MaxConnectionsPerSubject bound the streams open at a time from one address, of IPv6 from
	// one /64, and of one [Grant.Subject]. Further ones are answered 429; those who are in stay. Zero means no limit:
	// how many people share an address, and whether [Handler.TrustedProxies] tells them apart, is not known here.
	MaxConnectionsPerIP, MaxConnectionsPerSubject int

	// IdempotencyMaxAge is how long an Idempotency-Key of a publication over HTTP is remembered. Zero means 1 hour. If it
	// is negative, a key is remembered until its memory is needed for another. A Store remembers keys for a time of its
	// own; then this is for how long a key counts against IdempotencyMaxBytes.
	IdempotencyMaxAge time.Duration

	// IdempotencyMaxBytes bounds the memory of those keys, of which each takes 256 bytes, or with a Store 768 bytes, the
	// store's included. One [Grant.Subject], or without one the clients of one address, may have half of it. Beyond
	// that, a publication with a new key is answered 429, and beyond the whole 503, until keys reach their age;
	// publications without a key go on. Zero means 128 MiB; negative, no limit.
	IdempotencyMaxBytes int64

	// MaxDistinctTopics bounds the topics that events are published to. Publishing to a further one fails with
	// [ErrManyTopics], over HTTP with 503; the topics that there are go on. Zero means 100,000; negative, no limit.
	//
	// Without a Store, a topic counts until MaxEvents events, MaxBytes bytes or MaxAge have come after its last event,
	// and at most twice that long. With a Store, it counts until nothing has been published to it by this broker for
	// DistinctTopicAge, and at most twice that long, beginning anew with every Broker. Each takes some 40 bytes here, and
	// some 2 kB in a store of package jetstream.
	MaxDistinctTopics int

	// DistinctTopicAge is how long a topic of a Store counts. It should be the store's retention. Zero means 24 hours;
	// negative, for ever.
	DistinctTopicAge time.Duration

	// MaxBodyBytesInFlight and MaxBodyBytesPerIP bound the memory of the bodies of POST that are being read and
	// published: over all handlers, answered 503 beyond, and of one address, of IPv6 of one /64, answered 429. A body
	// counts with what has arrived of it, and with 16 KiB at least; while it is decoded, it takes as much again. What
	// one address is, [Handler.TrustedProxies] tells. A limit less than [Handler.MaxBodyBytes] bounds single bodies,
	// too. Zero means 64 MiB and 16 MiB; negative, no limit.
	MaxBodyBytesInFlight, MaxBodyBytesPerIP int64

	// MinRetry and MaxRetry bound the reconnection time that an event may set, in whole milliseconds. Publishing another
	// fails with [ErrInvalidRetry]. An event without one, whose Retry is 0, sets none. Zero means 1 s and 1 hour;
	// negative, no limit.
	MinRetry, MaxRetry time.Duration

	// MaxFilters bounds the distinct sets of topics and patterns that the streams open at a time are for. Further ones
	// are answered 503. A set takes memory for its names, and an event costs what the sets that have its topic cost.
	// Zero means MaxConnections; negative, no limit.
	MaxFilters int

	// MaxFiltersPerIP and MaxFiltersPerSubject bound those of one address and of one subject, as MaxConnectionsPerIP
	// and MaxConnectionsPerSubject bound connections. Zero means no limit.
	MaxFiltersPerIP, MaxFiltersPerSubject int

	// MaxPinnedBytes bounds the memory that clients together keep from being released: a client that takes what was
	// written to it slowly holds a segment of the history, which is 64 KiB or one larger event, until it has taken it,
	// even if the history is through with it. Beyond the bound the streams that hold the oldest are cut; their clients
	// reconnect and resume. Zero means 64 MiB; negative, no limit.
	MaxPinnedBytes int64

	// Store keeps the events where they outlive the broker, and shares them with the brokers of other processes. Then
	// MaxEvents, MaxBytes and MaxAge bound the newest of them, which are held in memory; what clients want that is
	// older is read from the store, whose limits are its own. While it cannot be reached, streams stay open, publishing
	// fails with [ErrUnavailable], and new streams are answered 503 if they ask for what is not in memory. Close does
	// not close it. Nil means that memory is all there is.
	Store Store

	once       sync.Once
	events     *eventlog.Log
	ignore     context.CancelFunc // the Store
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
	placed      atomic.Int64 // those of them that have their place in the log
	unstored    atomic.Int64
	refused     atomic.Int64
	offline     atomic.Bool
	relieved    atomic.Uint64 // the cutoff that was last acted on
	noDeadlines sync.Once
}

// Stats are a broker's figures at one moment. Counts begin with the broker.
type Stats struct {
	Connections int64  // streams open, each from when it gets whatever is published
	Published   uint64 // events accepted; with a Store, ever, by all brokers
	Delivered   int64  // events written, counted once for each client
	Events      int    // events kept
	Bytes       int64  // bytes of the events kept, as on the wire
	Gaps        int64  // gap events written
	Lagged      int64  // times that a client exceeded MaxLag

	Detached int64 // streams open that have no goroutine: see Handler.NoHijack
	Stalled  int64 // times that such a stream was put aside until its socket had room
	TimedOut int64 // streams given up for WriteTimeout
	Replayed int64 // of Delivered, events that had been published before their stream began
	Written  int64 // bytes written to streams, with the chunk framing of those detached

	Lag int64 // bytes, as kept, by which the stream that is furthest behind lags, as of the last 20 ms

	Pinned   int64 // bytes of the history that is dropped and held by clients: see MaxPinnedBytes
	Filters  int   // distinct sets of topics
	Encoders int   // sets of topics that are compressed

	Unstored int64 // publications that failed for want of the Store
	Offline  bool  // the Store does not tell what is new

	Topics           int   // distinct topics, as MaxDistinctTopics counts them
	IdempotencyKeys  int   // keys remembered
	IdempotencyBytes int64 // memory of those, as IdempotencyMaxBytes counts it
	BodyBytes        int64 // memory of the bodies being read and published
	Refused          int64 // publications refused because one of the bounds on these was reached

	Latency Latency
}

// Publish appends the event to the topic and returns the id it got: the log's epoch, which is random and new with every
// Broker, a hyphen, and the event's number in decimal, beginning with 1. The event's own ID must be empty. Every event
// published before Publish returns precedes, in every stream, those published after. With a Store, the epoch and the
// number are the store's, and Publish returns when the event is safe there. It gives up when ctx is done.
//
// The error is one of [ErrClosed], [ErrUnknownTopic], [ErrInvalidTopic], [ErrManyTopics], [ErrEventHasID],
// [ErrEventTooLarge], [ErrReservedType], [ErrInvalidRetry], [sse.ErrInvalidType] or, with a Store, [ErrStoreFull] or
// [ErrUnavailable], possibly wrapped, or the cause of ctx. After the last two the event may be published or not, unless
// ctx was done before.
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
	ids, err := b.publishStored(ctx, Key{}, []Publication{p})
	if about, ok := errors.AsType[*PublicationError](err); ok {
		return "", about.Err
	}
	if err != nil {
		return "", err
	}
	return ids[0], nil
}

// A Publication is an event and the topic it is for.
type Publication struct {
	Topic string
	Event sse.Event
}

// PublishAll publishes all or, if one of them cannot be, none. They get successive ids, and no event of others comes
// between them. The error is one of Publish's, in a [PublicationError] that says which publication it is about unless
// it is [ErrClosed], [ErrManyTopics], [ErrStoreFull], [ErrUnavailable] or the cause of ctx.
func (b *Broker) PublishAll(ctx context.Context, publications ...Publication) (ids []string, err error) {
	return b.publishAll(ctx, Key{}, publications)
}

// publishAll heeds the key if there is a Store.
func (b *Broker) publishAll(ctx context.Context, key Key, publications []Publication) (ids []string, err error) {
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

// relieve cuts the streams with goroutines that hold the oldest memory, if all hold too much.
func (b *Broker) relieve() {
	cutoff := b.log().Cutoff()
	if before := b.relieved.Load(); cutoff == before || !b.relieved.CompareAndSwap(before, cutoff) {
		return
	}
	go b.goroutines.Relieve(b.log())
}

// A PublicationError is why nothing of what was given to [Broker.PublishAll] is published.
type PublicationError struct {
	Index int // of the publication that cannot be
	Err   error
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

// check finds what is wrong before the log encodes the event.
func (b *Broker) check(p Publication) error {
	if err := b.checkEvent(p.Event); err != nil {
		return err
	}
	switch {
	case p.Event.ID != "":
		return ErrEventHasID
	case over(len(p.Event.Data), b.log().Limits().EventBytes):
		return ErrEventTooLarge
	}
	return topic.CheckName(p.Topic, b.Topics)
}

// Close ends every stream once it has delivered what is published, and lets [http.Server.Shutdown] complete, to whose
// [http.Server.RegisterOnShutdown] it should be given. From then on, Publish fails with [ErrClosed] and new streams are
// answered 503. Close does not wait for the streams to end, nor does Shutdown for those that left the goroutines of
// their requests (see [Handler.NoHijack]): Drain does, also after Close.
func (b *Broker) Close() {
	b.log().Close()
	b.ignore()
}

// Break cuts every stream that is open, in the middle of its transfer, as a failing network would. Clients reconnect
// and resume. A stream that is being written to is cut when that write is done or its deadline has passed.
func (b *Broker) Break() {
	b.log().Break()
}

// Stats returns the broker's figures. It is cheap enough to be called for every scrape of a monitor.
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

// shard returns counts for one more stream.
func (b *Broker) shard() *stream.Counts {
	return &b.counts[b.shards.Add(1)%uint32(len(b.counts))]
}

// lag returns by how many bytes of the log the stream that is furthest behind is behind its head.
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
		b.ignore = func() {}
		if b.Store != nil {
			var ctx context.Context
			ctx, b.ignore = context.WithCancel(context.Background())
			go b.follow(ctx)
		}
	})
	return b.events
}

// enter counts a stream in, which must leave when it ends, or refuses it.
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

// leave is the end of a stream that had its place in the log.
func (b *Broker) leave(a account, f *topic.Filter) {
	b.placed.Add(-1)
	b.cancel(a, f)
}

// cancel undoes enter, and gives the filter back.
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
