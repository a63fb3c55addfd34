// Command eventsource-server serves the demo of eventsource-wasm: the page, the built polyfill, and event streams made
// by package server, one of them behind a bearer token. It prints its URL to standard output once it listens, and logs
// to standard error.
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
	"net/netip"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	defaultAddr = "localhost:8080"
	demoToken   = "demo-token"
)

// Streams are exempt from the timeouts that a server needs against slow and silent clients: package server sets its own.
const (
	readHeaderTimeout = 5 * time.Second
	readTimeout       = 30 * time.Second
	writeTimeout      = 30 * time.Second
	idleTimeout       = 2 * time.Minute
	maxHeaderBytes    = 64 << 10
)

var errUsage = errors.New("the command line is not understood")

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the program at once
	err := run(ctx, os.Args[1:], os.Getenv, os.Stdout, os.Stderr)
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
	case errors.Is(err, errUsage):
		os.Exit(2)
	default:
		fmt.Fprintln(os.Stderr, "eventsource-server:", err)
		os.Exit(1)
	}
}

// run serves until ctx is done and then gives the streams time to end.
func run(ctx context.Context, args []string, getenv func(string) string, stdout, stderr io.Writer) error {
	c, err := configure(args, getenv, stderr)
	if err != nil {
		return err
	}
	if err := checkFiles(c.page, c.dist); err != nil {
		return err
	}
	listener, err := listen(c.addr)
	if err != nil {
		return err
	}
	logger := slog.New(slog.NewTextHandler(stderr, nil))
	if c.token == demoToken {
		logger.Warn("/protected is open to everyone who knows the demo's token; set -token for one of your own", "token", demoToken)
	}
	fmt.Fprintln(stdout, publicURL(c.addr, listener.Addr()))
	return serve(ctx, listener, newDemo(c, logger), c.grace, logger)
}

type config struct {
	addr, page, dist, token string
	origins                 []string
	grace                   time.Duration
}

func configure(args []string, getenv func(string) string, stderr io.Writer) (c config, err error) {
	flags := flag.NewFlagSet("eventsource-server", flag.ContinueOnError)
	flags.SetOutput(stderr)
	var origins string
	// The environment is read after the flags, so that -help does not print the token it holds.
	flags.StringVar(&c.addr, "addr", "", "`host:port` to listen on ($EVENTSOURCE_ADDR, or localhost:$PORT; default "+defaultAddr+")")
	flags.StringVar(&c.page, "page", "", "`file` to serve as / ($EVENTSOURCE_PAGE; default index.html)")
	flags.StringVar(&c.dist, "dist", "", "`folder` to serve as /dist/ ($EVENTSOURCE_DIST; default dist)")
	flags.StringVar(&c.token, "token", "", "bearer `token` of /protected ($EVENTSOURCE_TOKEN; default "+demoToken+")")
	flags.StringVar(&origins, "cors", "", "comma-separated `origins` that may use the streams ($EVENTSOURCE_CORS; default none)")
	flags.DurationVar(&c.grace, "grace", 5*time.Second, "how long open requests may take to end at shutdown")
	if err := flags.Parse(args); errors.Is(err, flag.ErrHelp) {
		return c, err
	} else if err != nil {
		return c, errUsage
	}
	if flags.NArg() > 0 {
		return c, fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	c.addr = cmp.Or(c.addr, getenv("EVENTSOURCE_ADDR"), localAddr(getenv("PORT")), defaultAddr)
	c.page = cmp.Or(c.page, getenv("EVENTSOURCE_PAGE"), "index.html")
	c.dist = cmp.Or(c.dist, getenv("EVENTSOURCE_DIST"), "dist")
	c.token = cmp.Or(c.token, getenv("EVENTSOURCE_TOKEN"), demoToken)
	c.origins, err = parseOrigins(cmp.Or(origins, getenv("EVENTSOURCE_CORS")))
	return c, err
}

func localAddr(port string) string {
	if port == "" {
		return ""
	}
	return net.JoinHostPort("localhost", port)
}

func parseOrigins(list string) ([]string, error) {
	var origins []string
	var protection http.CrossOriginProtection
	for origin := range strings.SplitSeq(list, ",") {
		origin = strings.TrimSpace(origin)
		if origin == "" {
			continue
		}
		if err := protection.AddTrustedOrigin(origin); err != nil && origin != "*" {
			return nil, fmt.Errorf("-cors: %w", err)
		}
		origins = append(origins, origin)
	}
	return origins, nil
}

func checkFiles(page, dist string) error {
	if info, err := os.Stat(page); err != nil || info.IsDir() {
		return fmt.Errorf("there is no page %s: start in the folder that has it, or set -page", page)
	}
	if info, err := os.Stat(dist); err != nil || !info.IsDir() {
		return fmt.Errorf("there is no folder %s with the built files: run `make build` first, or set -dist", dist)
	}
	return nil
}

func listen(addr string) (net.Listener, error) {
	listener, err := net.Listen("tcp", addr)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("%s is in use: choose another port with PORT=, or with -addr", addr)
	}
	return listener, err
}

// publicURL is what a person on this machine opens: with the real port, and a host in place of "all of them".
func publicURL(addr string, listening net.Addr) string {
	host, _, _ := net.SplitHostPort(addr)
	if ip, err := netip.ParseAddr(host); host == "" || err == nil && ip.IsUnspecified() {
		host = "localhost"
	}
	_, port, _ := net.SplitHostPort(listening.String())
	return "http://" + net.JoinHostPort(host, port)
}

func serve(ctx context.Context, listener net.Listener, d *demo, grace time.Duration, logger *slog.Logger) error {
	server := &http.Server{
		Handler:           d.routes(),
		ReadHeaderTimeout: readHeaderTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ErrorLog:          slog.NewLogLogger(logger.Handler(), slog.LevelWarn),
	}
	server.RegisterOnShutdown(d.broker.Close)
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()

	feeding, stop := context.WithCancel(ctx)
	var feed sync.WaitGroup
	feed.Go(func() { d.feed(feeding) })
	defer feed.Wait()
	defer stop()

	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	logger.Info("shutting down")
	deadline, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
	defer cancel()
	if err := server.Shutdown(deadline); err != nil {
		logger.Warn("cutting the requests that are still open", "error", err)
		return server.Close()
	}
	return nil
}
