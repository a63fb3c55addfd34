package server

import (
	"cmp"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/eventsource-wasm/eventsource-wasm/sse"
)

// Limits of a [Broker] whose fields are zero.
const (
	DefaultMaxEvents      = 10_000
	DefaultMaxBytes       = 16 << 20
	DefaultMaxAge         = time.Hour
	DefaultMaxEventBytes  = 1 << 20
	DefaultMaxConnections = 10_000
)

// Errors of [Broker.Publish], besides [sse.ErrInvalidType].
var (
	ErrClosed        = errors.New("server: broker is closed")
	ErrUnknownTopic  = errors.New("server: unknown topic")
	ErrInvalidTopic  = errors.New("server: topic is not valid")
	ErrEventHasID    = errors.New("server: event has an id, which is for the broker to assign")
	ErrEventTooLarge = errors.New("server: event is larger than the limit")
)

var errFull = errors.New("server: as many connections as the broker takes")

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

	once   sync.Once
	events *eventLog

	filters filters

	connections, delivered, gaps, lagged atomic.Int64
}

// Stats are a broker's figures at one moment. Counts begin with the broker.
type Stats struct {
	Connections int64  // streams open
	Published   uint64 // events accepted
	Delivered   int64  // events written, counted once for each client
	Events      int    // events kept
	Bytes       int64  // bytes of the events kept, as on the wire
	Gaps        int64  // gap events written
	Lagged      int64  // times that a client exceeded MaxLag
}

// Publish appends the event to the topic and returns the id it got: the log's epoch, which is random and new with every
// Broker, a hyphen, and the event's number in decimal, beginning with 1. The event's own ID must be empty. Every event
// published before Publish returns precedes, in every stream, those published after.
//
// The error is one of [ErrClosed], [ErrUnknownTopic], [ErrInvalidTopic], [ErrEventHasID], [ErrEventTooLarge] or
// [sse.ErrInvalidType], possibly wrapped.
func (b *Broker) Publish(topic string, event sse.Event) (id string, err error) {
	if err := checkTopic(topic, b.Topics); err != nil {
		return "", err
	}
	if event.ID != "" {
		return "", ErrEventHasID
	}
	// Without this, an event of any size would be encoded only to be refused.
	if over(len(event.Data), b.log().limits.eventBytes) {
		return "", ErrEventTooLarge
	}
	return b.log().append(topic, event)
}

// Close ends every stream once it has delivered what is published, and lets [http.Server.Shutdown] complete, to whose
// [http.Server.RegisterOnShutdown] it should be given. From then on, Publish fails with [ErrClosed] and new streams are
// answered 503. Close does not wait for the streams to end.
func (b *Broker) Close() {
	b.log().close()
}

// Break cuts every stream that is open, in the middle of its transfer, as a failing network would. Clients reconnect
// and resume. A stream that is being written to is cut when that write is done or its deadline has passed.
func (b *Broker) Break() {
	b.log().breakReaders()
}

// Stats returns the broker's figures. It is cheap enough to be called for every scrape of a monitor.
func (b *Broker) Stats() Stats {
	published, events, bytes := b.log().figures()
	return Stats{
		Connections: b.connections.Load(),
		Published:   published,
		Delivered:   b.delivered.Load(),
		Events:      events,
		Bytes:       bytes,
		Gaps:        b.gaps.Load(),
		Lagged:      b.lagged.Load(),
	}
}

func (b *Broker) log() *eventLog {
	b.once.Do(func() {
		b.events = newLog(limits{
			events:     cmp.Or(b.MaxEvents, DefaultMaxEvents),
			bytes:      cmp.Or(b.MaxBytes, DefaultMaxBytes),
			age:        cmp.Or(b.MaxAge, DefaultMaxAge),
			eventBytes: cmp.Or(b.MaxEventBytes, DefaultMaxEventBytes),
		})
	})
	return b.events
}

// enter counts a stream in, which must leave when it ends, or refuses it.
func (b *Broker) enter() error {
	if b.log().isClosed() {
		return ErrClosed
	}
	if over(b.connections.Add(1), int64(cmp.Or(b.MaxConnections, DefaultMaxConnections))) {
		b.leave()
		return errFull
	}
	return nil
}

func (b *Broker) leave() {
	b.connections.Add(-1)
}
