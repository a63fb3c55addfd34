// Command eventsource-server serves event streams to browsers and accepts events by POST. It is package server behind
// flags. No topic is accessible until a flag grants access. Run it with -h for a list of flags, and read
// server/OPERATIONS.md.
package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"runtime/debug"

	"github.com/eventsource-wasm/eventsource-wasm/server/cmd/internal/cli"
	"github.com/eventsource-wasm/eventsource-wasm/server/cmd/internal/serve"
)

func main() {
	cli.Exit("eventsource-server", run(serve.UntilSignal(), os.Args[1:], os.Environ(), os.Stdout, os.Stderr))
}

// run runs the server until ctx is done and the streams have ended.
func run(ctx context.Context, args []string, env cli.Environment, stdout, stderr io.Writer) error {
	c, err := configure(args, env, stderr)
	switch {
	case err != nil:
		return err
	case c.version:
		fmt.Fprintln(stdout, version())
		return nil
	case c.check:
		return checkHealth(ctx, c)
	}
	logger := c.logging.Logger(stderr)
	site, err := newStreams(ctx, c, logger)
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
	return p.serve(ctx)
}

// stamped is set by make dist.
var stamped string

// version returns the version that make dist set, or the one in Go's build information.
func version() string {
	info, _ := debug.ReadBuildInfo()
	if info == nil {
		info = &debug.BuildInfo{}
	}
	return cmp.Or(stamped, info.Main.Version, "(devel)")
}
