// Command bench measures what an event costs the main thread of a page: on the native EventSource, on ours, and on the
// libraries of peers/, in turns, in a headless Chromium, from a server of its own. It writes all figures as JSON, a plot of
// them, and prints a table.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	rounds := flags.Int("rounds", 7, "how often each implementation has its turn with a workload, `n` times")
	starts := flags.Int("starts", 3, "how often each implementation is started on each network, `n` times; 0 leaves it out")
	events := flags.Int("events", 500_000, "after how many events memory is looked at, `n`; 0 leaves it out")
	sustain := flags.Duration("sustain", 5*time.Second, "`time` that the workloads take that watch memory")
	only := flags.String("only", "", "the workloads whose names have this `text` in them, start-up and memory among them")
	of := flags.String("of", strings.Join(implementations, ","), "the `implementations`, native among them")
	out := flags.String("out", "dist/bench.json", "`file` for the figures; the plot is beside it, as .svg")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if runtime.GOOS != "linux" {
		return errors.New("the processor time of the browser's threads is read from Linux's /proc")
	}
	implementations = strings.Split(*of, ",")
	if !slices.Contains(implementations, "native") {
		return errors.New("-of must have native in it, to which all others are compared")
	}
	scripts, err := bundle(ctx)
	if err != nil {
		return err
	}
	report := newReport()
	for _, w := range workloads(*sustain) {
		if !strings.Contains(w.name, *only) {
			continue
		}
		fmt.Fprintf(os.Stderr, "%s\n", w.name)
		runs, err := measureAll(ctx, w, *rounds, scripts)
		if err != nil {
			return fmt.Errorf("%s: %w", w.name, err)
		}
		report.add(w, runs)
	}
	if *starts > 0 && strings.Contains("start-up", *only) {
		fmt.Fprintln(os.Stderr, "start-up")
		if report.Starts, err = measureStarts(ctx, *starts, scripts); err != nil {
			return fmt.Errorf("start-up: %w", err)
		}
		fmt.Println(startTable(report.Starts))
	}
	if *events > 0 && strings.Contains("memory", *only) {
		fmt.Fprintln(os.Stderr, "memory")
		if report.Memories, err = measureMemories(ctx, *events, scripts); err != nil {
			return fmt.Errorf("memory: %w", err)
		}
		fmt.Println(memoryTable(report.Memories, *events))
	}
	fmt.Print(report.table())
	return report.write(*out, strings.TrimSuffix(*out, filepath.Ext(*out))+".svg")
}
