package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/eventsource-wasm/eventsource-wasm/server"
	"github.com/eventsource-wasm/eventsource-wasm/server/compress"
)

const (
	defaultAddr  = "localhost:8080"
	defaultDrain = 10 * time.Second
	demoToken    = "demo-token"
)

var errUsage = errors.New("the command line is not understood")

// A config is what the flags and the environment say. The limits of the streams are bound to the very fields they set.
type config struct {
	addr, admin string
	pprof, h2c  bool

	demo, demoCluster bool
	page, dist        string

	broker         server.Broker
	handler        server.Handler
	public         list
	token          string
	tokenFile      string
	jwt            jwtIssuer
	tickets        bool
	publish        publishLimit
	store          storeSite
	tls            tlsFiles
	acme           acmeAccount
	drain, grace   time.Duration
	logFormat      string
	logLevel       slog.Level
	version, check bool
}

// flags binds every flag to its field. Defaults that depend on others are set by configure.
func (c *config) flags() *flag.FlagSet {
	f := flag.NewFlagSet("eventsource-server", flag.ContinueOnError)
	f.StringVar(&c.addr, "addr", "", "`host:port` to listen on (default localhost:$PORT, or "+defaultAddr+")")
	f.StringVar(&c.admin, "admin", "", "`host:port` to serve /metrics, /healthz and /readyz on, without a host 127.0.0.1 (default none)")
	f.BoolVar(&c.pprof, "pprof", false, "serve profiles at /debug/pprof/ of -admin")
	f.BoolVar(&c.h2c, "h2c", false, "accept HTTP/2 without TLS, as from a proxy that speaks it")
	f.DurationVar(&c.drain, "drain", 0, "`time` over which a SIGTERM ends the streams (default "+defaultDrain.String()+", with -demo none)")
	f.DurationVar(&c.grace, "grace", 5*time.Second, "`time` that other requests have to end after that")
	f.StringVar(&c.logFormat, "log-format", "text", "`text or json`")
	f.TextVar(&c.logLevel, "log-level", slog.LevelInfo, "`debug, info, warn or error`")
	f.BoolVar(&c.version, "version", false, "print the version and end")
	f.BoolVar(&c.check, "healthcheck", false, "ask the server that runs with the same -admin or -addr how it is, and end")

	f.BoolVar(&c.demo, "demo", false, "serve the demo: a page, and open streams, on a developer's machine")
	f.BoolVar(&c.demoCluster, "demo-cluster", false, "serve a page on three nodes that share a NATS cluster, all on a developer's machine")
	f.StringVar(&c.page, "page", "index.html", "`file` that -demo serves as /")
	f.StringVar(&c.dist, "dist", "dist", "`folder` that -demo serves as /dist/")

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
	f.BoolVar(&c.tickets, "tickets", false, "issue tickets at POST /ticket, for the EventSource of browsers, which sends no token")
	f.Func("cors", "comma-separated `origins` whose pages may use the streams (default none)", c.setOrigins)
	f.Func("trusted-proxies", "comma-separated `networks` of the proxies whose X-Forwarded-For counts (default none)", c.setProxies)
}

func (c *config) flagsOfLimits(f *flag.FlagSet) {
	b, h := &c.broker, &c.handler
	f.IntVar(&b.MaxConnections, "max-connections", server.DefaultMaxConnections, "streams at a `number`; -1 is no limit")
	f.IntVar(&b.MaxConnectionsPerIP, "max-connections-per-ip", 0, "streams of one address at a `number` (default no limit)")
	f.IntVar(&b.MaxConnectionsPerSubject, "max-connections-per-subject", 0, "streams of one subject of tokens at a `number` (default no limit)")
	f.IntVar(&b.MaxEvents, "history-events", server.DefaultMaxEvents, "`number` of events kept for those who come back; -1 is no limit")
	f.Int64Var(&b.MaxBytes, "history-bytes", server.DefaultMaxBytes, "`bytes` of events kept; -1 is no limit")
	f.DurationVar(&b.MaxAge, "history-age", server.DefaultMaxAge, "`time` that events are kept; -1s is no limit")
	f.IntVar(&b.MaxEventBytes, "max-event-bytes", server.DefaultMaxEventBytes, "`bytes` of an event; -1 is no limit")
	f.Int64Var(&h.MaxBodyBytes, "max-body-bytes", server.DefaultMaxBodyBytes, "`bytes` of a POST; -1 is no limit")
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

// configure reads the flags, and for those that are not given, the environment. That comes second, so that -help does
// not print the secrets it holds.
func configure(args []string, getenv func(string) string, stderr io.Writer) (*config, error) {
	c := &config{}
	f := c.flags()
	f.SetOutput(stderr)
	f.Usage = func() { usage(f) }
	if err := f.Parse(args); errors.Is(err, flag.ErrHelp) {
		return nil, err
	} else if err != nil {
		return nil, errUsage
	}
	if f.NArg() > 0 {
		return nil, fmt.Errorf("unexpected argument %q", f.Arg(0))
	}
	given := map[string]bool{}
	f.Visit(func(f *flag.Flag) { given[f.Name] = true })
	if err := fromEnvironment(f, given, getenv); err != nil {
		return nil, err
	}
	c.setDefaults(given, getenv)
	if c.check || c.version {
		return c, nil
	}
	return c, c.validate(given)
}

func usage(f *flag.FlagSet) {
	fmt.Fprint(f.Output(), "eventsource-server streams events to browsers. For every flag there is a variable of the environment that counts\n"+
		"where the flag is not given: EVENTSOURCE_LOG_LEVEL for -log-level.\n\n")
	f.PrintDefaults()
}

func variable(flag string) string {
	return "EVENTSOURCE_" + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// fromEnvironment adds to given. Its errors do not repeat what a variable holds.
func fromEnvironment(f *flag.FlagSet, given map[string]bool, getenv func(string) string) (err error) {
	f.VisitAll(func(flag *flag.Flag) {
		value := getenv(variable(flag.Name))
		if value == "" || given[flag.Name] {
			return
		}
		given[flag.Name] = true
		if f.Set(flag.Name, value) != nil && err == nil {
			err = fmt.Errorf("$%s cannot be the value of -%s", variable(flag.Name), flag.Name)
		}
	})
	return err
}

func (c *config) setDefaults(given map[string]bool, getenv func(string) string) {
	if port := getenv("PORT"); c.addr == "" && port != "" {
		c.addr = net.JoinHostPort("localhost", port)
	} else if c.addr == "" {
		c.addr = defaultAddr
	}
	if host, port, err := net.SplitHostPort(c.admin); err == nil && host == "" {
		c.admin = net.JoinHostPort("127.0.0.1", port)
	}
	if c.demo && c.token == "" {
		c.token = demoToken
	}
	if !c.demo && !c.demoCluster && !given["drain"] {
		c.drain = defaultDrain
	}
}

// ofDemo are the flags that the demo has; ofDemoAlone, those that only demos have; ofCluster, those of the other demo.
var (
	ofDemo      = []string{"demo", "addr", "page", "dist", "token", "cors", "drain", "grace", "log-format", "log-level", "admin", "pprof"}
	ofDemoAlone = []string{"page", "dist"}
	ofCluster   = []string{"demo-cluster", "addr", "dist", "log-format", "log-level"}
)

func (c *config) validate(given map[string]bool) error {
	for name := range given {
		if c.demoCluster && !slices.Contains(ofCluster, name) {
			return fmt.Errorf("-%s is not for the demo of a cluster: leave it out, or -demo-cluster", name)
		}
		if c.demo && !slices.Contains(ofDemo, name) {
			return fmt.Errorf("-%s is not for the demo: leave it out, or -demo", name)
		}
		if !c.demo && !c.demoCluster && slices.Contains(ofDemoAlone, name) {
			return fmt.Errorf("-%s is for the demo: add -demo, or leave it out", name)
		}
	}
	for _, topic := range slices.Concat(c.broker.Topics, c.public) {
		if !server.Covers(topic, topic) {
			return fmt.Errorf("-topics and -public: %q is neither a topic nor a pattern", topic)
		}
	}
	switch {
	case c.logFormat != "text" && c.logFormat != "json":
		return errors.New("-log-format must be text or json")
	case c.pprof && c.admin == "":
		return errors.New("-pprof needs -admin, for profiles are not for the public")
	case c.token != "" && c.tokenFile != "":
		return errors.New("-token and -token-file exclude each other")
	case c.h2c && c.encrypted():
		return errors.New("-h2c is HTTP/2 without TLS: with TLS, HTTP/2 is on by itself")
	}
	return errors.Join(c.jwt.validate(given), c.publish.validate(), c.store.validate(given), c.tls.validate(), c.acme.validate(c.tls))
}

func (c *config) encrypted() bool { return c.tls.certificate != "" || len(c.acme.domains) > 0 }

func (c *config) setOrigins(text string) error {
	var origins list
	origins.Set(text)
	var protection http.CrossOriginProtection
	for _, origin := range origins {
		if err := protection.AddTrustedOrigin(origin); err != nil && origin != "*" {
			return err
		}
	}
	c.handler.AllowedOrigins = origins
	return nil
}

func (c *config) setProxies(text string) error {
	var networks list
	networks.Set(text)
	c.handler.TrustedProxies = nil
	for _, text := range networks {
		network, err := parseNetwork(text)
		if err != nil {
			return err
		}
		c.handler.TrustedProxies = append(c.handler.TrustedProxies, network)
	}
	return nil
}

// parseNetwork takes a single address, too.
func parseNetwork(text string) (netip.Prefix, error) {
	if ip, err := netip.ParseAddr(text); err == nil {
		return ip.Prefix(ip.BitLen())
	}
	return netip.ParsePrefix(text)
}

// A list is comma-separated.
type list []string

func (l *list) String() string { return strings.Join(*l, ",") }

func (l *list) Set(text string) error {
	*l = nil
	for element := range strings.SplitSeq(text, ",") {
		if element = strings.TrimSpace(element); element != "" {
			*l = append(*l, element)
		}
	}
	return nil
}
