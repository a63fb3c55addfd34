// Command conformance runs the conformance suite of EventSource in a headless browser, writes the results to
// conformance.html and conformance.json, and exits with 1 if a difference from the HTML Standard has no known reason.
package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"maps"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/eventsource-wasm/eventsource-wasm/e2e"
	"github.com/eventsource-wasm/eventsource-wasm/e2e/browsers"
)

var (
	errUnexplained = errors.New("there are differences without a known reason")
	errUnfinished  = errors.New("some scenarios timed out, so their results are unknown: run again when the machine is less busy")
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("conformance: ")
	var r run
	flag.StringVar(&r.browser, "browser", "chromium", "browser `engine`: chromium, firefox or webkit")
	flag.StringVar(&r.implementation, "impl", "", "run on this `implementation` only: native, wasm, or the URL or file of a script")
	flag.StringVar(&r.dist, "dist", "dist", "`folder` with the built files; the report is written there too")
	flag.StringVar(&r.files, "files", "", "run these comma-separated `files` of scenarios only")
	flag.StringVar(&r.reproductions, "reproductions", "", "run the programs in this `folder` instead of the suite: docs/engines")
	flag.DurationVar(&r.timeout, "timeout", 20*time.Minute, "give up after this `duration`")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := r.start(ctx, os.Stdout); err != nil {
		log.Fatal(err)
	}
}

type run struct {
	browser, implementation, dist, files, reproductions string
	timeout                                             time.Duration
}

func (r run) start(ctx context.Context, stdout io.Writer) error {
	if r.reproductions != "" {
		return r.reproduce(ctx, stdout)
	}
	return r.run(ctx, stdout)
}

// run opens the suite's page in the browser, waits for its report, and writes the report.
func (r run) run(ctx context.Context, stdout io.Writer) error {
	engine, err := browsers.Find(r.browser)
	if err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(r.dist, "eventsource.mjs")); err != nil {
		return fmt.Errorf("%w: run `make build` first, or set -dist", err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer listener.Close()
	reports := make(chan []byte, 1)
	suite := &e2e.Suite{
		Dist:   http.FileServer(http.Dir(r.dist)),
		Script: r.script(),
		Report: func(report []byte) { reports <- report },
	}
	go http.Serve(listener, suite.Handler())

	ctx, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- engine.Show(ctx, "http://"+listener.Addr().String()+"/conformance/?"+r.query()) }()
	select {
	case data := <-reports:
		cancel()
		<-ended
		return publish(data, r.dist, stdout)
	case err := <-ended:
		return cmp.Or(err, fmt.Errorf("no report: %w", context.Cause(ctx)))
	}
}

// script serves the script under test if it is a file.
func (r run) script() http.Handler {
	if info, err := os.Stat(r.implementation); err != nil || info.IsDir() {
		return nil
	}
	return http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		w.Header().Set("Content-Type", "text/javascript")
		http.ServeFile(w, request, r.implementation)
	})
}

func (r run) query() string {
	query := url.Values{"run": {""}, "report": {""}}
	switch {
	case r.script() != nil:
		query["implementation"] = []string{"/script.js"}
	case r.implementation != "":
		query["implementation"] = []string{r.implementation}
	}
	if r.files != "" {
		query["file"] = strings.Split(r.files, ",")
	}
	return query.Encode()
}

// A report is the part of the page's report that is printed.
type report struct {
	Browser string `json:"browser"`
	Totals  map[string]struct {
		AsTheStandard int `json:"asTheStandard"`
		Explained     int `json:"explained"`
		Unexplained   int `json:"unexplained"`
		Unfinished    int `json:"unfinished"`
	} `json:"totals"`
	Files []struct {
		Name      string `json:"name"`
		Scenarios []struct {
			Name    string                `json:"name"`
			Results map[string]e2e.Result `json:"results"`
		} `json:"scenarios"`
	} `json:"files"`
}

// publish writes both files and prints the results.
func publish(data []byte, dir string, stdout io.Writer) error {
	page, err := e2e.ReportPage(data)
	if err != nil {
		return err
	}
	for name, content := range map[string][]byte{"conformance.json": data, "conformance.html": page} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o644); err != nil {
			return err
		}
	}
	var r report
	if err := json.Unmarshal(data, &r); err != nil {
		return fmt.Errorf("reading the report: %w", err)
	}
	fmt.Fprintln(stdout, r.Browser)
	unexplained, unfinished := 0, 0
	for _, implementation := range slices.Sorted(maps.Keys(r.Totals)) {
		totals := r.Totals[implementation]
		unexplained += totals.Unexplained
		unfinished += totals.Unfinished
		fmt.Fprintf(stdout, "%-8s %4d as the standard, %3d differ for a known reason, %3d unexplained, %3d unfinished\n",
			implementation, totals.AsTheStandard, totals.Explained, totals.Unexplained, totals.Unfinished)
	}
	r.tellFailures(stdout)
	fmt.Fprintln(stdout, filepath.Join(dir, "conformance.html"))
	if unexplained > 0 {
		return errUnexplained
	}
	if unfinished > 0 {
		return errUnfinished
	}
	return nil
}

func (r report) tellFailures(stdout io.Writer) {
	for _, file := range r.Files {
		for _, scenario := range file.Scenarios {
			for _, implementation := range slices.Sorted(maps.Keys(scenario.Results)) {
				if failure := scenario.Results[implementation].Failure; failure != "" {
					fmt.Fprintf(stdout, "\n%s/%s on %s\n%s\n", file.Name, scenario.Name, implementation, failure)
				}
			}
		}
	}
}
