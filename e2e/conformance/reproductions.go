package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/eventsource-wasm/eventsource-wasm/e2e"
	"github.com/eventsource-wasm/eventsource-wasm/e2e/browsers"
)

var errShowsElse = errors.New("some pages show other results than docs/engines says: update them")

// reproduce runs the programs of docs/engines in the browser, and compares what they show with what the pages say.
func (r run) reproduce(ctx context.Context, stdout io.Writer) error {
	engine, err := browsers.Find(r.browser)
	if err != nil {
		return err
	}
	all, err := e2e.Reproductions(r.reproductions)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()
	for _, reproduction := range all {
		got, runErr := reproduction.Run(ctx, engine.Show)
		if runErr != nil {
			return fmt.Errorf("%s: %w", reproduction.Name, runErr)
		}
		fmt.Fprintf(stdout, "%-24s %s\n", reproduction.Name, got)
		if want := reproduction.Shows[r.browser]; got != want {
			fmt.Fprintf(stdout, "%-24s %s\n", "  the page says", want)
			err = errShowsElse
		}
	}
	return err
}
