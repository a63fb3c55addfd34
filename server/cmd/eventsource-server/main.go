// Command eventsource-server streams events to browsers, as package server does, and takes them by POST. Nothing is
// open until a flag says so; -help lists them, and server/OPERATIONS.md tells how to run it. With -demo it serves the
// demo of eventsource-wasm in place of that: the page, the built polyfill, and two streams.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
)

// exitAtOnce is the code of a program that did not wait for its streams.
const exitAtOnce = 3

func main() {
	err := run(untilSignal(), os.Args[1:], os.Getenv, os.Stdout, os.Stderr)
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
	case errors.Is(err, errUsage):
		os.Exit(2)
	default:
		fmt.Fprintln(os.Stderr, "eventsource-server:", err)
		os.Exit(1)
	}
}

// untilSignal returns a context that the first signal ends. The second ends the program.
func untilSignal() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-signals
		cancel()
		<-signals
		os.Exit(exitAtOnce)
	}()
	return ctx
}

// run serves until ctx is done and the streams have ended.
func run(ctx context.Context, args []string, getenv func(string) string, stdout, stderr io.Writer) error {
	c, err := configure(args, getenv, stderr)
	switch {
	case err != nil:
		return err
	case c.version:
		fmt.Fprintln(stdout, version())
		return nil
	case c.check:
		return checkHealth(ctx, c)
	}
	logger := newLogger(c, stderr)
	site, err := newSite(ctx, c, logger)
	if err != nil {
		return err
	}
	if site.close != nil {
		defer site.close()
	}
	p := &program{config: c, site: site, logger: logger}
	if err := p.listen(ctx); err != nil {
		return err
	}
	if c.demo || c.demoCluster {
		fmt.Fprintln(stdout, p.url)
	}
	return p.serve(ctx)
}

func newSite(ctx context.Context, c *config, logger *slog.Logger) (*site, error) {
	if c.demoCluster {
		return newCluster(ctx, c, logger)
	}
	if !c.demo {
		return newStreams(ctx, c, logger)
	}
	if err := checkFiles(c.page, c.dist); err != nil {
		return nil, err
	}
	if c.token == demoToken {
		logger.Warn("/protected is open to everyone who knows the demo's token; set -token for one of your own", "token", demoToken)
	}
	return newDemo(c, logger).site(), nil
}

func newLogger(c *config, w io.Writer) *slog.Logger {
	options := &slog.HandlerOptions{Level: c.logLevel}
	if c.logFormat == "json" {
		return slog.New(slog.NewJSONHandler(w, options))
	}
	return slog.New(slog.NewTextHandler(w, options))
}

// stamped is set by make dist.
var stamped string

// version is that of the tag, or what Go makes of the commit.
func version() string {
	info, _ := debug.ReadBuildInfo()
	if info == nil {
		info = &debug.BuildInfo{}
	}
	return cmp.Or(stamped, info.Main.Version, "(devel)")
}
