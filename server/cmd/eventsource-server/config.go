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

// A config has the values of the flags. Limits of streams are bound directly to the fields that they set.
type config struct {
	addr, admin string
	unixMode    serve.Mode
	pprof, h2c  bool
	demo        bool

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
	f.TextVar(&c.unixMode, "unix-mode", serve.DefaultUnixMode, "permission `mode` of the socket at -addr unix:/path; programs that may write to it may connect")
	f.StringVar(&c.admin, "admin", "", "`host:port` or unix:/path that serves /metrics, /healthz and /readyz; the host defaults to 127.0.0.1 (default none)")
	f.BoolVar(&c.pprof, "pprof", false, "serve profiles at /debug/pprof/ on -admin")
	f.BoolVar(&c.h2c, "h2c", false, "accept HTTP/2 without TLS, for proxies that use it")
	f.BoolVar(&c.demo, "demo", false, "serve a page at / to try the server in a browser, and the JavaScript client at /eventsource.js; everyone can open the page and see -public in it, but needs a token for anything else")
	f.DurationVar(&c.drain, "drain", defaultDrain, "`duration` over which streams are closed after SIGTERM")
	f.DurationVar(&c.grace, "grace", 5*time.Second, "`duration` that other requests may take after that")
	c.logging.Flags(f)
	f.BoolVar(&c.version, "version", false, "print the version and exit")
	f.BoolVar(&c.check, "healthcheck", false, "check the server that runs with the same -admin or -addr, and exit with code 0 if it is healthy")

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
	f.Var(&c.public, "public", "comma-separated `topics` and patterns that everyone may subscribe to; > means all (default none)")
	f.StringVar(&c.token, "token", "", "bearer `token` that permits everything; other users of the machine can see flags, so prefer $EVENTSOURCE_TOKEN or -token-file")
	f.StringVar(&c.tokenFile, "token-file", "", "`file` that contains such a token")
	c.tickets.flags(f)
	f.Var((*list)(&c.handler.AllowedOrigins), "cors", "comma-separated `origins` whose pages may use the streams: https://app.example, https://*.app.example for subdomains, or * for all, read-only (default none)")
	f.Var((*list)(&c.handler.AllowedHeaders), "cors-headers", "comma-separated `names` of additional request headers that those pages may set, such as traceparent (default none)")
	f.Var((*list)(&c.handler.Hosts), "hosts", "comma-separated `hosts` that /events and /ticket accept, with or without a port; *.app.example means all subdomains (default any)")
	f.Var(&c.proxies, "trusted-proxies", "comma-separated `networks` of the proxies whose X-Forwarded-For is trusted (default none)")
}

func (c *config) flagsOfLimits(f *flag.FlagSet) {
	b, h := &c.broker, &c.handler
	f.IntVar(&b.MaxConnections, "max-connections", server.DefaultMaxConnections, "maximum `number` of open streams; -1 means no limit")
	f.IntVar(&b.MaxConnectionsPerIP, "max-connections-per-ip", 0, "maximum `number` of open streams per address (default no limit)")
	f.IntVar(&b.MaxConnectionsPerSubject, "max-connections-per-subject", 0, "maximum `number` of open streams per token subject (default no limit)")
	f.IntVar(&b.MaxFilters, "max-filters", 0, "maximum `number` of distinct topic filters among open streams (default no limit besides -max-connections)")
	f.IntVar(&b.MaxFiltersPerIP, "max-filters-per-ip", 0, "maximum `number` of distinct topic filters per address (default no limit)")
	f.IntVar(&b.MaxFiltersPerSubject, "max-filters-per-subject", 0, "maximum `number` of distinct topic filters per token subject (default no limit)")
	f.Int64Var(&b.MaxPinnedBytes, "max-pinned-bytes", server.DefaultMaxPinnedBytes, "maximum `bytes` of dropped history that slow clients together keep in memory; -1 means no limit")
	f.IntVar(&b.MaxEvents, "history-events", server.DefaultMaxEvents, "`number` of events kept for clients that reconnect; -1 means no limit")
	f.Int64Var(&b.MaxBytes, "history-bytes", server.DefaultMaxBytes, "`bytes` of events kept; -1 means no limit")
	f.DurationVar(&b.MaxAge, "history-age", server.DefaultMaxAge, "`duration` for which events are kept; -1s means no limit")
	f.IntVar(&b.MaxEventBytes, "max-event-bytes", server.DefaultMaxEventBytes, "maximum `bytes` of an event; -1 means no limit")
	f.Int64Var(&h.MaxBodyBytes, "max-body-bytes", server.DefaultMaxBodyBytes, "maximum `bytes` of a POST body; -1 means no limit")
	f.DurationVar(&h.BodyTimeout, "body-timeout", server.DefaultBodyTimeout, "maximum `duration` for receiving a POST body; -1s means no limit of its own")
	f.Int64Var(&b.MaxBodyBytesInFlight, "max-body-bytes-in-flight", server.DefaultMaxBodyBytesInFlight, "maximum `bytes` of POST bodies in memory; -1 means no limit")
	f.Int64Var(&b.MaxBodyBytesPerIP, "max-body-bytes-per-ip", server.DefaultMaxBodyBytesPerIP, "maximum `bytes` of POST bodies in memory per address; -1 means no limit")
	f.IntVar(&b.MaxDistinctTopics, "max-distinct-topics", server.DefaultMaxDistinctTopics, "maximum `number` of topics with published events; -1 means no limit")
	f.DurationVar(&b.IdempotencyMaxAge, "idempotency-age", server.DefaultIdempotencyMaxAge, "`duration` for which an Idempotency-Key is remembered; with -store, at most as long as the store remembers it")
	f.Int64Var(&b.IdempotencyMaxBytes, "idempotency-bytes", server.DefaultIdempotencyMaxBytes, "maximum `bytes` of memory for idempotency keys; -1 means no limit")
	f.DurationVar(&b.MinRetry, "min-retry", server.DefaultMinRetry, "minimum reconnection `time` that an event may set; -1s means no limit")
	f.DurationVar(&b.MaxRetry, "max-retry", server.DefaultMaxRetry, "maximum reconnection `time` that an event may set; -1s means no limit")
	f.Int64Var(&h.MaxLag, "max-lag", server.DefaultMaxLag, "maximum `bytes` that a client may lag before its stream ends; -1 means no limit")
	f.Func("lag-policy", "what to do with a client that lags more: `end` its stream, or skip to the newest event after a gap event (default end)",
		oneOf(&h.LagPolicy, choices[server.LagPolicy]{"end": server.EndLagging, "skip": server.SkipLagging}))
	f.Func("gap-policy", "where to continue if the last event of a client is no longer kept: at the `oldest` event, or at the head with new events only (default oldest)",
		oneOf(&h.GapPolicy, choices[server.GapPolicy]{"oldest": server.FromOldest, "head": server.FromHead}))
	f.DurationVar(&h.Heartbeat, "heartbeat", server.DefaultHeartbeat, "`duration` of silence before a stream gets a comment; -1s means never")
	f.DurationVar(&h.WriteTimeout, "write-timeout", server.DefaultWriteTimeout, "maximum `duration` of a write to a client; -1s means no limit")
	f.DurationVar(&h.PeerTimeout, "peer-timeout", server.DefaultPeerTimeout, "maximum `duration` for which sent data may stay unacknowledged, on Linux; -1s means the default of the system")
	f.DurationVar(&h.MaxStreamAge, "max-stream-age", 0, "maximum `duration` of a stream, minus up to a tenth (default no limit)")
	f.BoolVar(&h.NoHijack, "no-hijack", false, "keep every stream on the goroutine of its request, at the cost of memory and CPU time")
	f.BoolFunc("compress", "compress streams with zstd or gzip for clients that accept it", c.setCompression)
	f.DurationVar(&h.Retry, "retry", 0, "reconnection `time` to send to clients (default the client decides)")
}

// choices maps the words of a flag to values.
type choices[T any] map[string]T

func oneOf[T any](field *T, all choices[T]) func(string) error {
	return func(word string) error {
		value, found := all[word]
		if !found {
			return fmt.Errorf("must be %s", strings.Join(slices.Sorted(maps.Keys(all)), " or "))
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

const about = "eventsource-server streams events to browsers. Every flag can also be set by an environment variable:\n" +
	"EVENTSOURCE_LOG_LEVEL sets -log-level. The flag takes precedence."

// configure parses the flags and the environment.
func configure(args []string, env cli.Environment, stderr io.Writer) (*config, error) {
	c := &config{}
	given, err := cli.Parse(c.flags(), about, args, env, stderr)
	if err != nil {
		return nil, err
	}
	c.setDefaults(env)
	c.handler.Broker = &c.broker
	c.broker.DistinctTopicAge = c.store.options.MaxAge // the store keeps a topic's events for that long
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
			return fmt.Errorf("-topics and -public: %q is not a valid topic or pattern", topic)
		}
	}
	switch {
	case c.pprof && c.admin == "":
		return errors.New("-pprof requires -admin: profiles must not be public")
	case given["unix-mode"] && !isUnix(c.addr) && !isUnix(c.admin):
		return errors.New("-unix-mode requires -addr unix:/path or -admin unix:/path")
	case c.drain < 0 || c.grace < 0:
		return errors.New("-drain and -grace must not be negative: 0 means immediately")
	case c.broker.MaxRetry > 0 && c.broker.MinRetry > c.broker.MaxRetry:
		return errors.New("-min-retry must not be greater than -max-retry")
	case c.token != "" && c.tokenFile != "":
		return errors.New("-token and -token-file are mutually exclusive: remove one")
	case c.h2c && c.encrypted():
		return errors.New("-h2c is for HTTP/2 without TLS: remove it, since TLS enables HTTP/2")
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
