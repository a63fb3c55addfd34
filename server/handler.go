// Package server serves event streams to browsers, in the format text/event-stream of the HTML Standard, section 9.2. A
// [Broker] keeps recent events. A [Handler] serves them over HTTP.
//
//	broker := &server.Broker{}
//	readers := server.SubscribeOnly(server.BearerToken("secret"))
//	http.Handle("/events", &server.Handler{Broker: broker, Authorize: readers})
//	id, err := broker.Publish(context.Background(), "news", sse.Event{Data: "hello"})
//
// A client that reconnects gets the events that it missed, without gaps or duplicates. If they are no longer available,
// it gets a gap event. A slow client delays neither other clients nor publishers.
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

// Defaults of a [Handler], for fields that are zero.
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

// A LagPolicy says what happens to a client that lags by more than [Handler.MaxLag].
type LagPolicy int

const (
	// EndLagging ends the stream after a complete event. An EventSource reconnects and resumes, and loses nothing that
	// the broker still keeps.
	EndLagging LagPolicy = iota

	// SkipLagging continues with the newest event, after a gap event with the reason "lag".
	SkipLagging
)

// A GapPolicy says where a stream continues after a gap event if it cannot continue after the client's last event.
type GapPolicy int

const (
	// FromOldest continues with the oldest event kept.
	FromOldest GapPolicy = iota

	// FromHead continues with the next event to be published. It suits clients that fetch the current state after a
	// gap.
	FromHead
)

// A Handler serves the events of a [Broker] at one URL, over HTTP/1.1 and HTTP/2. Only Broker is required. Its fields
// must not change after its first use.
//
// GET streams events. The query names topics or patterns (?topic=a&topic=b.*), as described at [Covers]; without any,
// the stream has all topics. With the header Last-Event-ID, or the query parameter lastEventId, which needs no CORS
// preflight, the stream continues after that event. Without one, it starts with an id to resume from, and continues
// with the next event to be published.
//
// If the stream cannot continue after the given event, the response has the header Event-Gap with the reason, and the
// stream starts with an event of the type "gap", whose data is {"requested": id, "first": id, "reason": reason}.
// GapPolicy says what follows. The reasons of a gap are expired (no longer kept), epoch (from another broker), future
// and malformed. A gap event can also occur later in a stream: with the reason expired when retention overtakes a
// client, and lag with [SkipLagging].
//
// HEAD returns the headers of GET. OPTIONS answers CORS preflights.
//
// POST publishes an event with the fields topic (required), data, type and retry (milliseconds), as a form
// (application/x-www-form-urlencoded) or a JSON object (application/json). The response is 201 with {"id": id}. A batch
// has one JSON object per line (application/x-ndjson). It is published as by [Broker.PublishAll], and the response has
// {"ids": [id, ...]}. A POST that repeats an Idempotency-Key, any 1 to 255 bytes, gets the first response again and
// publishes nothing, as long as the broker remembers the key. With a different body it gets 422. Each [Grant.Subject]
// has its own keys.
//
// Errors have the body {"error": text}, and "field" if one field is wrong: 400 malformed request; 401 and 403 from
// Authorize; 403 cross-origin request, or publishing is disabled; 404 unknown topic; 405 method; 408 body too slow; 413
// event, batch or body too large; 415 content type; 421 host not in Hosts; 422 idempotency key reused; 429 too many
// connections, topic filters, bodies, keys or tickets from one client; 500 misconfiguration, with the reason in the
// log; 503 broker closed or draining, too many connections, topic filters, bodies, keys or topics, or store
// unavailable.
//
// Over HTTP/1.1, a request that is refused before its body was read closes its connection.
//
// Set ReadHeaderTimeout (or ReadTimeout) and IdleTimeout of the [http.Server]. Otherwise, each slow or idle client
// occupies a goroutine and a file descriptor. The timeouts of the http.Server do not end streams: WriteTimeout and
// PeerTimeout below do.
type Handler struct {
	// Broker provides the events and takes publications. Several handlers can share it.
	Broker *Broker

	// Topics lists the broker's topics that this handler serves, by name or pattern. A client that asks for a pattern
	// gets the topics in it that are served. Empty means all.
	Topics []string

	// Authorize decides on every GET, HEAD and POST. With a nil error, the request is permitted until Grant.Expires.
	// [ErrUnauthenticated] and [ErrInvalidToken] result in 401, [ErrForbidden] in 403, an [*HTTPError] in its own status,
	// and any other error in 500. The topics of access may not exist: Authorize is called first, so that only permitted
	// clients learn which topics exist. It must be safe for concurrent use. If Authorize is nil, every GET is permitted,
	// and POST depends on OpenPublish.
	//
	// A POST causes two calls. The first one is before the body is read and before "100 Continue" is sent. Its access
	// has no Topics and 0 Events: it asks whether the client may publish at all. The grant of this call is ignored. The
	// second call has the topics and the number of events. A function that checks the credentials and then looks for a
	// topic that is not permitted works for both calls. A function that counts publications must count only in the
	// second one. Authorize must not read the body.
	Authorize func(r *http.Request, access Access) (Grant, error)

	// TrustedProxies lists the networks of the proxies whose X-Forwarded-For is trusted. They matter for limits per
	// address. Empty means that clients connect directly.
	TrustedProxies []netip.Prefix

	// OpenPublish lets everyone publish if Authorize is nil, except pages of origins that are not in AllowedOrigins.
	OpenPublish bool

	// Tickets lets GET and HEAD use a ticket (?ticket=) instead of credentials. [Handler.ServeTicket] issues them. Nil
	// means that tickets are disabled and the parameter is ignored.
	Tickets *Tickets

	// Realm is the realm in WWW-Authenticate. Empty means "events".
	Realm string

	// AllowedOrigins lists the origins, as scheme://host[:port], whose pages may read responses with credentials, and
	// publish. https://*.app.example matches all subdomains of app.example, at any depth, but not app.example itself.
	// "*" lets pages of all other origins read without credentials, but not publish. Empty means none.
	// [Handler.Validate] reports elements that match nothing.
	AllowedOrigins []string

	// AllowedHeaders lists request headers that those pages may set in addition to Authorization, Content-Type,
	// Idempotency-Key and Last-Event-ID.
	AllowedHeaders []string

	// Hosts lists the hosts that the handler serves, as host or host:port. "*.app.example" matches all subdomains.
	// Without a port, any port matches. Requests to other hosts get 421. This stops DNS rebinding, where a page of
	// another site points its own name to the address of this server. Empty means any host.
	Hosts []string

	// PreflightMaxAge is how long a browser may cache a preflight, in whole seconds. Zero means 2 hours, the maximum of
	// Chromium. Negative means no caching.
	PreflightMaxAge time.Duration

	// Retry is the reconnection time sent at the start of every stream, in whole milliseconds. Zero means that the
	// client decides.
	Retry time.Duration

	// Heartbeat is how long a stream is silent before it gets a comment, so that proxies keep the connection. Zero
	// means 15 s. Negative means never.
	Heartbeat time.Duration

	// WriteTimeout is the time that one write of at most 64 KiB, or one event, may take before the stream is closed. It
	// can be up to an eighth shorter. It replaces the WriteTimeout of the [http.Server]. Zero means 10 s. Negative
	// means no limit; then clients that do not read can keep others from reading the [Store], once they hold
	// Broker.MaxPinnedBytes.
	WriteTimeout time.Duration

	// MaxLag limits how many bytes, of all topics, may be published while a client is being written to and does not
	// catch up. The history that it asked for with its last event ID does not count. Zero means 1 MiB. Negative means
	// no limit.
	MaxLag int64

	// LagPolicy says what happens to a client beyond MaxLag. Zero means EndLagging.
	LagPolicy LagPolicy

	// GapPolicy says where a stream continues after a gap. Zero means FromOldest.
	GapPolicy GapPolicy

	// MaxStreamAge is the maximum duration of a stream. Up to a tenth of it is subtracted at random, so that clients
	// that connected together do not reconnect together. Use it to rebalance load between servers, and to check the
	// credentials of idle clients again. Zero means no limit.
	MaxStreamAge time.Duration

	// NoHijack keeps every stream on the goroutine of its request. By default, a stream over HTTP/1.1 leaves it after
	// the start: ServeHTTP returns, and the connection continues without net/http, with a fraction of the memory and
	// CPU time. On Linux without TLS, a few goroutines write to all these connections. Elsewhere, each has its own
	// goroutine. Compressed streams stay, and so do streams behind middleware that sets Content-Encoding or hides
	// [http.Hijacker].
	//
	// Set NoHijack if middleware that implements http.Hijacker must see what is written. The context of the request
	// ends with ServeHTTP; its deadline still applies to the stream. Trace reports the end of such a stream.
	NoHijack bool

	// PeerTimeout is how long data sent on a hijacked connection may stay unacknowledged before the connection is
	// closed. Zero means 30 s. Negative means the default of the system.
	PeerTimeout time.Duration

	// Codings lists the content codings for streams, the preferred one first. Package compress has implementations.
	// Events are compressed once for all clients with the same topics, if there are enough of them: see MinSharing. A
	// client that joins others gets uncompressed events for some kilobytes first. Compressed streams stay on the
	// goroutines of their requests. Empty means none.
	//
	// Compressed size reveals something about content. Someone who can publish and can watch the traffic of another
	// client may be able to guess a secret in events nearby.
	Codings []Coding

	// MinSharing is how many streams with the same topics there must be, including the new one, before it is
	// compressed. An encoder takes up to 700 kB, which pays off only when shared. Zero means 4.
	MinSharing int

	// MaxEncoders limits the encoders. Further streams are not compressed. Zero means 64. Negative means no limit.
	MaxEncoders int

	// MaxTopics limits the topics and patterns of one request. More get 400. Zero means 32. Negative means no limit.
	MaxTopics int

	// MaxBatch limits the events of one POST. More get 413. Zero means 1,000. Negative means no limit.
	MaxBatch int

	// MaxBodyBytes limits the body of a POST. A larger one gets 413. Zero means 1 MiB. Negative means no limit.
	MaxBodyBytes int64

	// BodyTimeout is how long the body of a POST may take to arrive. A slower one gets 408. It replaces the ReadTimeout
	// of the [http.Server]. Zero means 30 s. Negative means that ReadTimeout applies.
	BodyTimeout time.Duration

	// Trace, if not nil, is called when a stream begins. If it returns a function, that is called once when the stream
	// has ended. Use it for the duration of streams and the reason of their end: to middleware, a stream that left its
	// goroutine (see NoHijack) seems to end after microseconds. The returned function must not keep the request and
	// must not block, since its goroutine may serve other streams.
	Trace func(r *http.Request) func(StreamEnd)

	// Logger gets the log of the handler. Tokens and queries are never logged. Nil means [slog.Default].
	Logger *slog.Logger
}

const allowedMethods = "GET, HEAD, OPTIONS, POST"

// ServeHTTP implements [http.Handler].
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
		err = &HTTPError{Status: http.StatusMethodNotAllowed}
	}
	if err != nil {
		h.fail(w, r, err)
	}
}

// receive checks the host and sets CORS headers. It reports whether to continue.
func (h *Handler) receive(w http.ResponseWriter, r *http.Request) bool {
	if len(h.Hosts) > 0 && !MatchHost(h.Hosts, r.Host) {
		leaveBody(w, r)
		h.fail(w, r, errMisdirected)
		return false
	}
	h.allowOrigin(w.Header(), r)
	return true
}

// subscribe answers GET and HEAD. It returns an error only before the first byte of the response.
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
	filter, err := b.filters.Acquire(topics, h.topics(), cmp.Or(b.MaxFilters, -1))
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
	defer func() { // runs even if a Store or Trace panics
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

// subscribable returns the topics of the request and its grant, from a ticket or from Authorize.
func (h *Handler) subscribable(r *http.Request, query url.Values) ([]string, Grant, error) {
	if h.Tickets != nil && query.Has("ticket") {
		return h.redeem(r, query)
	}
	return h.permitted(r, query["topic"])
}

// permitted returns the requested topics, or all, if they exist and Authorize permits them.
func (h *Handler) permitted(r *http.Request, topics []string) ([]string, Grant, error) {
	if limit := cmp.Or(h.MaxTopics, DefaultMaxTopics); over(len(topics), limit) {
		return nil, Grant{}, malformed("topic", fmt.Sprintf("more than %d topics", limit))
	}
	if len(topics) == 0 {
		topics = h.all()
	}
	grant, err := h.authorize(r, Access{Action: ActionSubscribe, Topics: topics})
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

// config returns the options of the stream's state machine.
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
