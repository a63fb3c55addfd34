package main

import (
	"cmp"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/eventsource-wasm/eventsource-wasm/server"
	"github.com/eventsource-wasm/eventsource-wasm/server/cmd/internal/cli"
	"github.com/eventsource-wasm/eventsource-wasm/server/cmd/internal/serve"
	"github.com/eventsource-wasm/eventsource-wasm/server/compress"
)

const (
	defaultAddr  = "localhost:8080"
	defaultDrain = 10 * time.Second
)

// A config is what the flags and the environment say. The limits of the streams are bound to the very fields they set.
type config struct {
	addr, admin string
	unixMode    serve.Mode
	pprof, h2c  bool

	broker         server.Broker
	handler        server.Handler
	public         list
	proxies        list
	token          string
	tokenFile      string
	jwt            jwtIssuer
	tickets        ticketLimits
	publish        publishLimit
	store          storeSite
	tls            tlsFiles
	acme           acmeAccount
	drain, grace   time.Duration
	logging        cli.Logging
	version, check bool
}

// flags binds every flag to its field. Defaults that depend on others are set by configure.
func (c *config) flags() *flag.FlagSet {
	f := flag.NewFlagSet("eventsource-server", flag.ContinueOnError)
	f.StringVar(&c.addr, "addr", "", "`host:port` or unix:/path to listen on (default localhost:$PORT, or "+defaultAddr+")")
	f.TextVar(&c.unixMode, "unix-mode", serve.DefaultUnixMode, "`mode` of the socket of -addr unix:/path; who may write to it may connect")
	f.StringVar(&c.admin, "admin", "", "`host:port` or unix:/path to serve /metrics, /healthz and /readyz on, without a host 127.0.0.1 (default none)")
	f.BoolVar(&c.pprof, "pprof", false, "serve profiles at /debug/pprof/ of -admin")
	f.BoolVar(&c.h2c, "h2c", false, "accept HTTP/2 without TLS, as from a proxy that speaks it")
	f.DurationVar(&c.drain, "drain", defaultDrain, "`time` over which a SIGTERM ends the streams")
	f.DurationVar(&c.grace, "grace", 5*time.Second, "`time` that other requests have to end after that")
	c.logging.Flags(f)
	f.BoolVar(&c.version, "version", false, "print the version and end")
	f.BoolVar(&c.check, "healthcheck", false, "ask the server that runs with the same -admin or -addr how it is, and end")

	c.flagsOfAccess(f)
	c.jwt.flags(f)
	c.flagsOfLimits(f)
	c.publish.flags(f)
	c.store.flags(f)
	c.tls.flags(f)
	c.acme.flags(f)
	return f
}

func (c *config) flagsOfAccess(f *flag.FlagSet) {
	f.Var((*list)(&c.broker.Topics), "topics", "comma-separated `topics` and patterns that exist (default any)")
	f.Var(&c.public, "public", "comma-separated `topics` and patterns that everyone may subscribe to; > is all (default none)")
	f.StringVar(&c.token, "token", "", "bearer `token` that permits everything; other users of the machine see it, so rather set the environment or -token-file")
	f.StringVar(&c.tokenFile, "token-file", "", "`file` with such a token")
	c.tickets.flags(f)
	f.Var((*list)(&c.handler.AllowedOrigins), "cors", "comma-separated `origins` whose pages may use the streams: https://app.example, https://*.app.example for subdomains, or * for all, which may only read (default none)")
	f.Var((*list)(&c.handler.AllowedHeaders), "cors-headers", "comma-separated `names` of further request headers that those pages may set, such as traceparent (default none)")
	f.Var((*list)(&c.handler.Hosts), "hosts", "comma-separated `hosts` that /events and /ticket answer to, with or without port; *.app.example is all subdomains (default any)")
	f.Var(&c.proxies, "trusted-proxies", "comma-separated `networks` of the proxies whose X-Forwarded-For counts (default none)")
}

func (c *config) flagsOfLimits(f *flag.FlagSet) {
	b, h := &c.broker, &c.handler
	f.IntVar(&b.MaxConnections, "max-connections", server.DefaultMaxConnections, "streams at a `number`; -1 is no limit")
	f.IntVar(&b.MaxConnectionsPerIP, "max-connections-per-ip", 0, "streams of one address at a `number` (default no limit)")
	f.IntVar(&b.MaxConnectionsPerSubject, "max-connections-per-subject", 0, "streams of one subject of tokens at a `number` (default no limit)")
	f.IntVar(&b.MaxFilters, "max-filters", 0, "distinct sets of topics of the streams at a `number` (default that of -max-connections); -1 is no limit")
	f.IntVar(&b.MaxFiltersPerIP, "max-filters-per-ip", 0, "those of one address at a `number` (default no limit)")
	f.IntVar(&b.MaxFiltersPerSubject, "max-filters-per-subject", 0, "those of one subject of tokens at a `number` (default no limit)")
	f.Int64Var(&b.MaxPinnedBytes, "max-pinned-bytes", server.DefaultMaxPinnedBytes, "`bytes` beyond the history that slow clients keep in memory, all together; -1 is no limit")
	f.IntVar(&b.MaxEvents, "history-events", server.DefaultMaxEvents, "`number` of events kept for those who come back; -1 is no limit")
	f.Int64Var(&b.MaxBytes, "history-bytes", server.DefaultMaxBytes, "`bytes` of events kept; -1 is no limit")
	f.DurationVar(&b.MaxAge, "history-age", server.DefaultMaxAge, "`time` that events are kept; -1s is no limit")
	f.IntVar(&b.MaxEventBytes, "max-event-bytes", server.DefaultMaxEventBytes, "`bytes` of an event; -1 is no limit")
	f.Int64Var(&h.MaxBodyBytes, "max-body-bytes", server.DefaultMaxBodyBytes, "`bytes` of a POST; -1 is no limit")
	f.DurationVar(&h.BodyTimeout, "body-timeout", server.DefaultBodyTimeout, "`time` that the body of a POST may take to arrive; -1s is no limit of its own")
	f.Int64Var(&b.MaxBodyBytesInFlight, "max-body-bytes-in-flight", server.DefaultMaxBodyBytesInFlight, "`bytes` of the bodies of POST that are in memory at a time; -1 is no limit")
	f.Int64Var(&b.MaxBodyBytesPerIP, "max-body-bytes-per-ip", server.DefaultMaxBodyBytesPerIP, "`bytes` of those from one address; -1 is no limit")
	f.IntVar(&b.MaxDistinctTopics, "max-distinct-topics", server.DefaultMaxDistinctTopics, "`number` of topics that events are published to; -1 is no limit")
	f.DurationVar(&b.IdempotencyMaxAge, "idempotency-age", server.DefaultIdempotencyMaxAge, "`time` that an Idempotency-Key is remembered; with -store at most as long as the store does")
	f.Int64Var(&b.IdempotencyMaxBytes, "idempotency-bytes", server.DefaultIdempotencyMaxBytes, "`bytes` of memory for those keys; -1 is no limit")
	f.DurationVar(&b.MinRetry, "min-retry", server.DefaultMinRetry, "least reconnection `time` that an event may set; -1s is no limit")
	f.DurationVar(&b.MaxRetry, "max-retry", server.DefaultMaxRetry, "greatest reconnection `time` that an event may set; -1s is no limit")
	f.Int64Var(&h.MaxLag, "max-lag", server.DefaultMaxLag, "`bytes` by which a client may lag before its stream is ended; -1 is no limit")
	f.Func("lag-policy", "what becomes of a client that lags by more: `end`, or skip to the newest event, with a gap event (default end)",
		oneOf(&h.LagPolicy, choices[server.LagPolicy]{"end": server.EndLagging, "skip": server.SkipLagging}))
	f.Func("gap-policy", "what those get first whose last event is no longer kept: the `oldest` event, or head, what is published from then on (default oldest)",
		oneOf(&h.GapPolicy, choices[server.GapPolicy]{"oldest": server.FromOldest, "head": server.FromHead}))
	f.DurationVar(&h.Heartbeat, "heartbeat", server.DefaultHeartbeat, "`time` of silence before a stream gets a comment; -1s is never")
	f.DurationVar(&h.WriteTimeout, "write-timeout", server.DefaultWriteTimeout, "`time` that a client has to take what is written; -1s is no limit")
	f.DurationVar(&h.PeerTimeout, "peer-timeout", server.DefaultPeerTimeout, "`time` that what is sent may go unacknowledged before the client counts as vanished, on Linux; -1s is as long as the system tries")
	f.DurationVar(&h.MaxStreamAge, "max-stream-age", 0, "`time` after which a stream is ended, less up to a tenth (default no limit)")
	f.BoolVar(&h.NoHijack, "no-hijack", false, "serve every stream by a goroutine of its own, at more memory and time, also where that is not needed")
	f.BoolFunc("compress", "send streams in zstd or gzip to those who take it, each by a goroutine of its own", c.setCompression)
	f.DurationVar(&h.Retry, "retry", 0, "`time` that clients wait before they reconnect (default theirs)")
}

// choices are what words of the command line stand for.
type choices[T any] map[string]T

func oneOf[T any](field *T, all choices[T]) func(string) error {
	return func(word string) error {
		value, found := all[word]
		if !found {
			return fmt.Errorf("it is %s", strings.Join(slices.Sorted(maps.Keys(all)), " or "))
		}
		*field = value
		return nil
	}
}

func (c *config) setCompression(value string) error {
	on, err := strconv.ParseBool(value)
	if c.handler.Codings = nil; on {
		c.handler.Codings = []server.Coding{compress.Zstd(), compress.Gzip()}
	}
	return err
}

const about = "eventsource-server streams events to browsers. For every flag there is an environment variable, which counts\n" +
	"where the flag is not given: EVENTSOURCE_LOG_LEVEL for -log-level."

// configure reads the flags, and the environment for those that are not given.
func configure(args []string, env cli.Environment, stderr io.Writer) (*config, error) {
	c := &config{}
	given, err := cli.Parse(c.flags(), about, args, env, stderr)
	if err != nil {
		return nil, err
	}
	c.setDefaults(env)
	c.handler.Broker = &c.broker
	c.broker.DistinctTopicAge = c.store.options.MaxAge // which is how long the store has something of a topic
	if c.check || c.version {
		return c, nil
	}
	return c, cli.Invalid(c.validate(given))
}

func (c *config) setDefaults(env cli.Environment) {
	if port := env.Get("PORT"); c.addr == "" && port != "" {
		c.addr = net.JoinHostPort("localhost", port)
	} else if c.addr == "" {
		c.addr = defaultAddr
	}
	if host, port, err := net.SplitHostPort(c.admin); err == nil && host == "" {
		c.admin = net.JoinHostPort("127.0.0.1", port)
	}
}

func (c *config) validate(given map[string]bool) error {
	for _, topic := range slices.Concat(c.broker.Topics, c.public) {
		if !server.Covers(topic, topic) {
			return fmt.Errorf("-topics and -public: %q is neither a topic nor a pattern", topic)
		}
	}
	switch {
	case c.pprof && c.admin == "":
		return errors.New("-pprof needs -admin, for profiles are not for the public")
	case given["unix-mode"] && !isUnix(c.addr) && !isUnix(c.admin):
		return errors.New("-unix-mode needs -addr unix:/path")
	case c.drain < 0 || c.grace < 0:
		return errors.New("-drain and -grace must not be negative: 0 is at once")
	case c.broker.MaxRetry > 0 && c.broker.MinRetry > c.broker.MaxRetry:
		return errors.New("-min-retry must not be greater than -max-retry")
	case c.token != "" && c.tokenFile != "":
		return errors.New("-token and -token-file exclude each other")
	case c.h2c && c.encrypted():
		return errors.New("-h2c is HTTP/2 without TLS: with TLS, HTTP/2 is on by itself")
	}
	return cmp.Or(c.setProxies(), serve.Validate(&c.handler), c.tickets.validate(given), c.logging.Validate(), c.jwt.validate(given), c.publish.validate(given), c.store.validate(given), c.checkStore(), c.tls.validate(), c.acme.validate(given, c.tls))
}

func (c *config) checkStore() error {
	if c.store.inNATS() {
		return checkNATS(c.store.where)
	}
	return nil
}

func isUnix(addr string) bool {
	_, is := serve.UnixPath(addr)
	return is
}

func (c *config) encrypted() bool { return c.tls.certificate != "" || len(c.acme.domains) > 0 }

func (c *config) setProxies() error {
	for _, text := range c.proxies {
		network, err := parseNetwork(text)
		if err != nil {
			return fmt.Errorf("-trusted-proxies: %w", err)
		}
		c.handler.TrustedProxies = append(c.handler.TrustedProxies, network)
	}
	return nil
}

// A list is comma-separated.
type list = cli.List
