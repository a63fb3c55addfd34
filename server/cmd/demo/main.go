// Command demo shows eventsource-wasm at work on a developer's machine: a page with the browser's EventSource beside ours, on
// two streams, and the conformance suite. With -cluster it shows one stream over three nodes and a NATS cluster. Start it in
// the project's root after make build, or by make run and make run-cluster.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/eventsource-wasm/eventsource-wasm/server"
	"github.com/eventsource-wasm/eventsource-wasm/server/cmd/internal/cli"
	"github.com/eventsource-wasm/eventsource-wasm/server/cmd/internal/serve"
)

const (
	defaultAddr = "localhost:8080"
	demoToken   = "demo-token"
	grace       = 5 * time.Second // for requests at shutdown; streams end at once
)

func main() {
	cli.Exit("demo", run(serve.UntilSignal(), os.Args[1:], os.Environ(), os.Stdout, os.Stderr))
}

// A config holds the flags.
type config struct {
	addr       string
	cluster    bool
	page, dist string
	token      string
	origins    cli.List
	hosts      cli.List
	logging    cli.Logging
}

func (c *config) flags() *flag.FlagSet {
	f := flag.NewFlagSet("demo", flag.ContinueOnError)
	f.StringVar(&c.addr, "addr", "", "`host:port` to listen on (default localhost:$PORT, or "+defaultAddr+")")
	f.BoolVar(&c.cluster, "cluster", false, "show three nodes that share a NATS cluster, all on this machine")
	f.StringVar(&c.page, "page", "index.html", "`file` to serve at /; not with -cluster")
	f.StringVar(&c.dist, "dist", "dist", "`folder` with the built files, served at /dist/")
	f.StringVar(&c.token, "token", demoToken, "bearer `token` for /protected; not with -cluster")
	f.Var(&c.origins, "cors", "comma-separated `origins` whose pages may use the streams; not with -cluster (default none)")
	f.Var(&c.hosts, "hosts", "comma-separated `hosts` to accept besides localhost, 127.0.0.1, [::1] and the host of -addr (default none)")
	c.logging.Flags(f)
	return f
}

// notOfCluster lists flags that the cluster demo does not have.
var notOfCluster = []string{"page", "token", "cors"}

// configure reads only PORT from the environment, which may hold a server's variables.
func configure(args []string, env cli.Environment, stderr io.Writer) (*config, error) {
	c := &config{}
	given, err := cli.Parse(c.flags(), "demo shows eventsource-wasm at work on this machine. It is not for the internet.", args, nil, stderr)
	if err != nil {
		return nil, err
	}
	if port := env.Get("PORT"); c.addr == "" && port != "" {
		c.addr = net.JoinHostPort("localhost", port)
	} else if c.addr == "" {
		c.addr = defaultAddr
	}
	if _, is := serve.UnixPath(c.addr); is {
		return nil, cli.Invalid(errors.New("-addr must be host:port: browsers cannot open Unix sockets"))
	}
	for _, name := range notOfCluster {
		if c.cluster && given[name] {
			return nil, cli.Invalid(fmt.Errorf("-%s and -cluster are mutually exclusive: remove one", name))
		}
	}
	if c.token == "" {
		return nil, cli.Invalid(errors.New("-token must not be empty: omit it to use the demo token"))
	}
	checked := &server.Handler{Broker: &server.Broker{}, AllowedOrigins: c.origins, Hosts: c.hosts}
	return c, cli.Invalid(cmp.Or(serve.Validate(checked), c.logging.Validate()))
}

// A site is what the demo serves.
type site struct {
	mux    *http.ServeMux
	broker *server.Broker
	tasks  []func(context.Context)
	close  func() // may be nil
}

// run serves until ctx is done.
func run(ctx context.Context, args []string, env cli.Environment, stdout, stderr io.Writer) error {
	if len(args) == 3 && args[0] == nodeCommand {
		return runNode(ctx, args[1], args[2], stderr)
	}
	c, err := configure(args, env, stderr)
	if err != nil {
		return err
	}
	logger := c.logging.Logger(stderr)
	s, err := newSite(ctx, c, logger)
	if err != nil {
		return err
	}
	if s.close != nil {
		defer s.close()
	}
	service, err := newService(ctx, s, c.addr, c.hosts, logger)
	if err != nil {
		return err
	}
	url := serve.URL(c.addr, service.Main.Listener.Addr(), false)
	fmt.Fprintln(stdout, url)
	logger.Info("listening", "url", url)
	return service.Run(ctx)
}

func newSite(ctx context.Context, c *config, logger *slog.Logger) (*site, error) {
	if c.cluster {
		return newCluster(ctx, c, logger)
	}
	if err := checkFiles(c.page, c.dist); err != nil {
		return nil, err
	}
	if c.token == demoToken {
		logger.Warn("everyone who knows the demo token can read /protected: set -token to use your own", "token", demoToken)
	}
	return newDemo(c, logger).site(), nil
}

// newService listens on addr, and accepts its local names and further hosts.
func newService(ctx context.Context, s *site, addr string, hosts []string, logger *slog.Logger) (*serve.Service, error) {
	health := &serve.Health{}
	health.Register(s.mux)
	listener, err := serve.Sockets{PeerTimeout: server.DefaultPeerTimeout}.Listen(ctx, addr, "-addr")
	if err != nil {
		return nil, err
	}
	hosts = append(serve.LocalHosts(addr, listener.Addr()), hosts...)
	return &serve.Service{
		Broker: s.broker,
		Logger: logger,
		Health: health,
		Main:   serve.Endpoint{Server: serve.NewServer(serve.OnlyHosts(hosts, s.mux), logger), Listener: listener},
		Grace:  grace,
		Tasks:  s.tasks,
	}, nil
}
