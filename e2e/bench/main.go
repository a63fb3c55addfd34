// Command bench measures the main thread's processor time per event with the native EventSource, with ours, and with the
// libraries of peers/. They take turns in a headless Chromium. It writes all figures as JSON and as a plot, and prints a
// table.
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
	rounds := flags.Int("rounds", 7, "`number` of turns of each implementation with each workload")
	starts := flags.Int("starts", 3, "`number` of starts of each implementation on each network; 0 skips start-up")
	events := flags.Int("events", 500_000, "`number` of events before memory is measured; 0 skips memory")
	sustain := flags.Duration("sustain", 5*time.Second, "`duration` of the workloads that measure memory")
	only := flags.String("only", "", "run only workloads whose name contains this `text`; start-up and memory count as names")
	of := flags.String("of", strings.Join(implementations, ","), "comma-separated `implementations`; must include native")
	out := flags.String("out", "dist/bench.json", "write the figures to this `file`, and the plot beside it as .svg")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if runtime.GOOS != "linux" {
		return errors.New("the benchmark needs Linux: it reads threads' processor time from /proc")
	}
	implementations = strings.Split(*of, ",")
	if !slices.Contains(implementations, "native") {
		return errors.New("-of must include native, the baseline")
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
