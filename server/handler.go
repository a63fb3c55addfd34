// Package server streams events to browsers: a [Broker] keeps the recent events and a [Handler] serves them over HTTP,
// as text/event-stream of the HTML Standard, section 9.2.
//
//	broker := &server.Broker{}
//	http.Handle("/events", &server.Handler{Broker: broker})
//	id, err := broker.Publish(context.Background(), "news", sse.Event{Data: "hello"})
//
// A client that reconnects gets what it missed, without gap or duplicate, from the broker's memory; if that is no
// longer possible, it is told so. A slow client delays neither the others nor the publisher.
package server

import (
	"cmp"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"time"

	"github.com/eventsource-wasm/eventsource-wasm/server/internal/stream"
	"github.com/eventsource-wasm/eventsource-wasm/server/internal/topic"
)

// Limits and intervals of a [Handler] whose fields are zero.
const (
	DefaultHeartbeat       = 15 * time.Second
	DefaultWriteTimeout    = 10 * time.Second
	DefaultMaxLag          = 1 << 20
	DefaultPeerTimeout     = 30 * time.Second
	DefaultMaxTopics       = 32
	DefaultMaxBatch        = 1000
	DefaultMaxBodyBytes    = 1 << 20
	DefaultBodyTimeout     = 30 * time.Second
	DefaultPreflightMaxAge = 2 * time.Hour
	DefaultRealm           = "events"
)

// A LagPolicy says what becomes of a client that lags by more than [Handler.MaxLag].
type LagPolicy int

const (
	// EndLagging ends its stream at an event boundary. An EventSource reconnects and resumes, losing nothing that the
	// broker still keeps.
	EndLagging LagPolicy = iota

	// SkipLagging moves it to the newest event and sends it a gap event with the reason "lag".
	SkipLagging
)

// A GapPolicy says what a client gets whose last event the stream cannot continue from, behind the gap event.
type GapPolicy int

const (
	// FromOldest gives it all events that are kept.
	FromOldest GapPolicy = iota

	// FromHead gives it what is published from then on: for clients that fetch the present state on a gap.
	FromHead
)

// A Handler serves the events of a [Broker] at one URL, over HTTP/1.1 and HTTP/2. Only Broker is required. Its fields
// must not change after its first use.
//
// GET streams the events of the topics that the query names (?topic=a&topic=b.*), by name or by a pattern as [Covers]
// has it, or of all. A client that sends Last-Event-ID, or the query parameter lastEventId in its place, which needs no
// preflight, gets what followed that event; one that sends neither gets what is published from now on, and at once an
// id to resume from. When the stream cannot continue there, the header Event-Gap and an event of the type "gap" say so,
// the header in one word of those that follow and the event in JSON: {"requested": id, "first": id, "reason": word}.
// Then come all events that are kept. The words: expired (no longer kept), epoch (another broker's id), future,
// malformed. The event, not the header, also occurs later in a stream: expired when retention overtakes a client, lag
// under [SkipLagging].
//
// HEAD answers the headers of GET. OPTIONS answers CORS preflights. POST publishes the fields topic, data, type and
// retry (milliseconds), of which only topic must be there, as a form (application/x-www-form-urlencoded) or as a JSON
// object, and answers 201 with {"id": id}. A batch, one such object a line (application/x-ndjson), is published as
// [Broker.PublishAll] does, all or nothing, and answered {"ids": [id, ...]}. With the header Idempotency-Key, which is
// any 1 to 255 bytes, a POST that is repeated gets the answer of the first and publishes nothing, while the broker
// remembers the key; with another body it is answered 422. Keys of one [Grant.Subject] are apart from another's.
//
// The [http.Server] that it is in needs a ReadHeaderTimeout, or a ReadTimeout, against clients that send their requests
// slowly, and an IdleTimeout; without them, each such client keeps a goroutine and a file. None of these, nor its
// WriteTimeout, ends a stream: WriteTimeout and PeerTimeout below are for those. BodyTimeout is for bodies of POST.
//
// Other answers carry {"error": text}, with "field" where one is at fault: 400 malformed request, 401 and 403 from
// Authorize, 403 cross-site or not enabled, 404 unknown topic, 405 method, 408 body too slow, 413 event, batch or body
// too large, 415 content type, 421 not one of Hosts, 422 key used before, 429 more than one client may have of
// connections, bodies or keys, 500 misconfigured, with the reason in the log, 503 closed or full, too many bodies, keys
// or topics, or the broker's store is unavailable.
//
// A request that is refused before its body has been read ends its connection, over HTTP/1: what is left of the body is
// not waited for.
type Handler struct {
	// Broker is where events come from, and go to. Any number of handlers may share one.
	Broker *Broker

	// Topics lists those of the broker's topics that this handler serves, by name or by a pattern. Whoever asks for a
	// pattern gets of it what is served. Empty means all.
	Topics []string

	// Authorize decides on every GET, HEAD and POST. Nil error permits it, for as long as the grant says,
	// [ErrUnauthenticated] and [ErrInvalidToken] are answered 401, [ErrForbidden] 403, an [*Error] as it says, and any
	// other error 500. The topics that access names may be unknown ones; they are looked up afterwards, so that only
	// those who may know learn what exists. It is called from many goroutines at a time. Nil permits every GET, and POST
	// as OpenPublish says.
	//
	// It is called twice for a POST. The first call decides from the head of the request alone, before a byte of the body
	// is read and before "100 Continue" is sent. Its access has no Topics and 0 Events: it asks whether the client may
	// publish anything at all. If it returns nil, the body is read; its grant is ignored. The second call has the topics
	// and the number of events, and decides on the publication. A function that checks the credentials, and then looks
	// for a topic that is not permitted, needs no change for the first call: it finds none in an empty list. One that
	// counts publications must count in the second call only. Neither call may read the body.
	Authorize func(r *http.Request, access Access) (Grant, error)

	// TrustedProxies lists the networks of the proxies in front, whose X-Forwarded-For tells where a client is. It
	// matters to [Broker.MaxConnectionsPerIP]. Empty means that clients connect directly.
	TrustedProxies []netip.Prefix

	// OpenPublish lets everyone publish while Authorize is nil. Pages of other origins still cannot, unless listed in
	// AllowedOrigins.
	OpenPublish bool

	// Tickets are what GET and HEAD take in the query in place of credentials (?ticket=), which [Handler.ServeTicket]
	// issues. Nil means none: then the parameter means nothing.
	Tickets *Tickets

	// Realm is what WWW-Authenticate names. Empty means "events".
	Realm string

	// AllowedOrigins lists the origins, each as scheme://host[:port], whose pages may read the answers with
	// credentials and publish. In https://*.app.example, the first label of the host stands for one label or more: that
	// is every subdomain of app.example, and not app.example; scheme and port must be the same. The element "*" lets the
	// pages of all other origins read without credentials, and not publish. Empty means none. [Handler.Validate] finds
	// elements that match nothing.
	AllowedOrigins []string

	// AllowedHeaders lists request headers that those pages may set besides Authorization, Content-Type,
	// Idempotency-Key and Last-Event-ID.
	AllowedHeaders []string

	// Hosts lists the hosts that the handler answers to, each as host or host:port, or with "*." before it for every
	// subdomain. Without a port any is meant. Requests to others are answered 421. It is what stops DNS rebinding: a
	// page of another site whose name was made to mean this server's address. Empty means any host.
	Hosts []string

	// PreflightMaxAge is how long a browser may remember a preflight, in whole seconds. Zero means 2 hours, the most
	// that Chromium honours; negative, not at all.
	PreflightMaxAge time.Duration

	// Retry is the reconnection time that every stream begins with, in whole milliseconds. Zero leaves it to the client.
	Retry time.Duration

	// Heartbeat is how long a stream is silent before it gets a comment, so that proxies do not take it for dead. Zero
	// means 15 s; negative, never.
	Heartbeat time.Duration

	// WriteTimeout is how long one write may take, of at most 64 KiB or one event, before the stream is given up, or up to
	// an eighth less. It replaces the WriteTimeout of the [http.Server]. Zero means 10 s; negative, no limit: then clients
	// that do not read can keep others from history that is only in the [Store], once they hold Broker.MaxPinnedBytes.
	WriteTimeout time.Duration

	// MaxLag bounds, in bytes and across all topics, what is published while a client is being written to and does not
	// catch up. What it asked for by its last event ID does not count. Zero means 1 MiB; negative, no limit.
	MaxLag int64

	// LagPolicy says what becomes of a client beyond MaxLag. Zero means EndLagging.
	LagPolicy LagPolicy

	// GapPolicy says what follows a gap. Zero means FromOldest.
	GapPolicy GapPolicy

	// MaxStreamAge is how long a stream lasts, less up to a tenth of it, so that those who came together do not return
	// together. It lets load even out among servers, and idle clients be asked for credentials again. Zero means for
	// ever.
	MaxStreamAge time.Duration

	// NoHijack keeps every stream on the goroutine of its request. Without it, streams over HTTP/1.1 leave it once they
	// have begun: ServeHTTP returns, and the connection goes on without net/http, at a fraction of the memory and time.
	// On Linux and without TLS, a few goroutines write to all of them; others have a goroutine each. Streams in a coding
	// stay, as do those behind a middleware that sets Content-Encoding or hides [http.Hijacker]. Set it if a middleware
	// that implements [http.Hijacker] must see what is written. The request's context and its values end with ServeHTTP;
	// a deadline that it had is kept to. See Trace for when such a stream ends.
	NoHijack bool

	// PeerTimeout is how long, of a connection taken over so, what is sent may go unacknowledged before the client counts
	// as vanished. Zero means 30 s; negative, for as long as the system tries.
	PeerTimeout time.Duration

	// Codings are the content codings that streams may be sent in, the most preferred first; package compress has them.
	// What clients of the same topics receive is compressed once for all of them, if they are enough: see MinSharing. One
	// that comes to others gets events uncompressed until it can join, for some kilobytes. Such streams stay on the goroutines of their requests. The
	// size of what is compressed tells of its content: whoever can publish, and watch the traffic of another client,
	// could guess at a secret in the events beside. Empty means none.
	Codings []Coding

	// MinSharing is how many streams must be for the same topics, the new one among them, for it to be sent in a coding:
	// an encoder takes up to 700 kB, which pays off only where it is shared. Zero means 4.
	MinSharing int

	// MaxEncoders bounds the encoders; further streams are sent as they are. Zero means 64; negative, no limit.
	MaxEncoders int

	// MaxTopics bounds the topics and patterns of one request; more are answered 400. Zero means 32; negative, no limit.
	MaxTopics int

	// MaxBatch bounds the events of one POST; more are answered 413. Zero means 1,000; negative, no limit.
	MaxBatch int

	// MaxBodyBytes bounds the body of a POST; more is answered 413. Zero means 1 MiB; negative, no limit.
	MaxBodyBytes int64

	// BodyTimeout is how long the body of a POST may take to arrive; one that takes longer is answered 408. It replaces
	// the ReadTimeout of the [http.Server]. Zero means 30 s; negative leaves it to the ReadTimeout.
	BodyTimeout time.Duration

	// Trace is called when a stream begins, and what it returns, unless nil, once when it has ended. To a middleware, a
	// stream that left its goroutine (see NoHijack) looks finished after some microseconds: this is where to learn how
	// long it lasted, and why it ended. The function returned must not keep the request, nor wait: it may run on a
	// goroutine that serves others.
	Trace func(r *http.Request) func(StreamEnd)

	// Logger gets what the handler has to say, and never a token or a query. Nil means [slog.Default].
	Logger *slog.Logger
}

const allowedMethods = "GET, HEAD, OPTIONS, POST"

func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !h.receive(w, r) {
		return
	}
	var err error
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		if err = ignoreBody(w, r); err == nil {
			err = h.subscribe(w, r)
		}
	case http.MethodPost:
		err = h.publish(w, r)
	case http.MethodOptions:
		leaveBody(w, r)
		h.preflight(w, r, allowedMethods)
	default:
		leaveBody(w, r)
		w.Header().Set("Allow", allowedMethods)
		err = &Error{Status: http.StatusMethodNotAllowed}
	}
	if err != nil {
		h.fail(w, r, err)
	}
}

// receive does what comes before any other decision, and reports whether to go on.
func (h *Handler) receive(w http.ResponseWriter, r *http.Request) bool {
	if len(h.Hosts) > 0 && !MatchHost(h.Hosts, r.Host) {
		leaveBody(w, r)
		h.fail(w, r, errMisdirected)
		return false
	}
	h.allowOrigin(w.Header(), r)
	return true
}

// subscribe answers GET and HEAD. Its errors precede the first byte of the answer.
func (h *Handler) subscribe(w http.ResponseWriter, r *http.Request) error {
	query, err := parseQuery(r)
	if err != nil {
		return err
	}
	topics, grant, err := h.subscribable(r, query)
	if err != nil {
		return err
	}
	b := h.Broker
	filter, err := b.filters.Acquire(topics, h.topics(), cmp.Or(b.MaxFilters, b.maxConnections()))
	if err != nil {
		return err
	}
	account := h.account(r, grant)
	if err := b.enter(account, filter); err != nil {
		b.filters.Release(filter)
		return err
	}
	var o *opening
	detached := false
	defer func() { // also if a Store or Trace panics
		switch {
		case detached:
		case o == nil:
			b.cancel(account, filter)
		default:
			o.coder.Leave()
			b.leave(account, filter)
		}
	}()
	lastEventID := cmp.Or(r.Header.Get("Last-Event-ID"), query.Get("lastEventId"))
	if o, err = h.newOpening(w, r, lastEventID, filter, account); err != nil {
		return err
	}
	b.placed.Add(1)
	if r.Method == http.MethodHead {
		o.setHeaders()
		return nil
	}
	detached, err = o.serve(grant, lastEventID == "")
	return err
}

func parseQuery(r *http.Request) (url.Values, error) {
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, malformed("", "malformed query string")
	}
	return query, nil
}

// subscribable returns the topics that the request names, if it gets them.
func (h *Handler) subscribable(r *http.Request, query url.Values) ([]string, Grant, error) {
	if h.Tickets != nil && query.Has("ticket") {
		return h.redeem(r, query)
	}
	return h.permitted(r, query["topic"])
}

// permitted returns the topics asked for, or all, if they exist and may be had.
func (h *Handler) permitted(r *http.Request, topics []string) ([]string, Grant, error) {
	if limit := cmp.Or(h.MaxTopics, DefaultMaxTopics); over(len(topics), limit) {
		return nil, Grant{}, malformed("topic", fmt.Sprintf("more than %d topics", limit))
	}
	if len(topics) == 0 {
		topics = h.all()
	}
	grant, err := h.authorize(r, Access{Action: Subscribe, Topics: topics})
	if err != nil {
		return nil, Grant{}, err
	}
	for _, pattern := range topics {
		if err := topic.CheckPattern(pattern, h.topics()); err != nil {
			return nil, Grant{}, err
		}
	}
	return topics, grant, nil
}

func (h *Handler) logger() *slog.Logger {
	return cmp.Or(h.Logger, slog.Default())
}

// config returns what the machine of a stream needs to know.
func (h *Handler) config() *stream.Config {
	return &stream.Config{
		Heartbeat:    stream.After(0, cmp.Or(h.Heartbeat, DefaultHeartbeat)),
		WriteTimeout: h.writeTimeout(),
		SkipLagging:  h.LagPolicy == SkipLagging,
		Retry:        cmp.Or(h.Retry, commonRetry),
		Beat:         h.Broker.beat,
	}
}

func (h *Handler) writeTimeout() time.Duration { return cmp.Or(h.WriteTimeout, DefaultWriteTimeout) }
func (h *Handler) peerTimeout() time.Duration  { return cmp.Or(h.PeerTimeout, DefaultPeerTimeout) }
func (h *Handler) maxLag() int64               { return cmp.Or(h.MaxLag, DefaultMaxLag) }
