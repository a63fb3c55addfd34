// Command node runs the scenarios of the conformance suite that need no page in Node, Deno and Bun, and writes each
// implementation's results to dist/node.json. It prints a table of passed and applicable scenarios by file.
//
//	go run ./e2e/node -of ours,eventsource,undici
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/eventsource-wasm/eventsource-wasm/e2e"
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("node: ")
	of := flag.String("of", ids(), "run these comma-separated `implementations`")
	files := flag.String("files", "", "run these comma-separated `files` of scenarios only")
	out := flag.String("out", "dist/node.json", "write the results to this `file`")
	idle := flag.Duration("idle", 10*time.Second, "end a scenario that waits for the same thing for this `duration`; failures run again with twice that")
	atATime := flag.Int("parallel", 8, "`number` of processes at a time")
	failures := flag.Bool("failures", false, "print the failures")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := compare(ctx, *of, *files, *out, *idle, *atATime, *failures); err != nil {
		log.Fatal(err)
	}
}

func compare(ctx context.Context, of, files, out string, idle time.Duration, atATime int, failures bool) error {
	root, err := findRoot()
	if err != nil {
		return err
	}
	chosen, err := find(of)
	if err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(root, script)); err != nil {
		return fmt.Errorf("%w: run `make build` first", err)
	}
	if err := prepare(ctx, root, chosen); err != nil {
		return err
	}
	s := newSuite(root, idle)
	defer s.close()
	var rows []tested
	for _, i := range chosen {
		tested, err := s.test(ctx, i.in(root).installed(root), files, atATime)
		if err != nil {
			return fmt.Errorf("%s: %w", i.id, err)
		}
		rows = append(rows, tested)
	}
	printTable(os.Stdout, rows)
	if failures {
		printFailures(os.Stdout, rows)
	}
	data, err := json.MarshalIndent(map[string][]tested{"implementations": rows}, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(out, append(data, '\n'), 0o644)
}

// A tested implementation is a row of the report. Every scenario is in one of its maps, with the key "file/name".
type tested struct {
	Name, Version string
	Runtime       string // such as Node 24.21.0
	URL, Note     string
	Results       map[string]e2e.Result
	NotApplicable map[string]string // reasons
}

// MarshalJSON returns the row as the scoreboard reads it.
func (t tested) MarshalJSON() ([]byte, error) {
	entries := map[string]any{}
	for id, r := range t.Results {
		entries[id] = r
	}
	for id, why := range t.NotApplicable {
		entries[id] = map[string]string{"notApplicable": why}
	}
	return json.Marshal(struct {
		Name    string         `json:"name"`
		Version string         `json:"version"`
		Runtime string         `json:"runtime"`
		URL     string         `json:"url"`
		Note    string         `json:"note,omitempty"`
		Results map[string]any `json:"results"`
	}{t.Name, t.Version, t.Runtime, t.URL, t.Note, entries})
}

// passed reports whether a scenario did what the standard says. A known difference has not passed.
func passed(r e2e.Result) bool { return r.Failure == "" && r.Reason == "" }

// test runs every applicable scenario. A failed one runs again alone, and the second result counts.
func (s *suite) test(ctx context.Context, i implementation, only string, atATime int) (tested, error) {
	row := tested{Name: i.Name, URL: i.URL, Note: i.note, Results: map[string]e2e.Result{}, NotApplicable: map[string]string{}}
	var err error
	if row.Version, row.Runtime, err = i.versions(ctx, s.root); err != nil {
		return row, err
	}
	scenarios, err := s.catalogue(ctx, i)
	if err != nil {
		return row, err
	}
	groups := byFile(scenarios)
	if only != "" {
		groups = slices.DeleteFunc(groups, func(g group) bool { return !slices.Contains(strings.Split(only, ","), g.file) })
	}
	for _, g := range groups {
		for name, why := range g.inapplicable {
			row.NotApplicable[g.file+"/"+name] = why
		}
	}
	keep := func(file string, r e2e.Result) { row.Results[file+"/"+r.Name] = r }
	if err := s.runAll(ctx, i, groups, atATime, keep); err != nil {
		return row, err
	}
	for id, r := range row.Results {
		if r.Failure != "" {
			log.Printf("%s on %s failed and runs again alone: %s", id, i.Name, r.Failure)
		}
	}
	patient := *s
	patient.idle *= 2
	patient.limit *= 2
	return row, patient.runAll(ctx, i, row.failures(), atATime, keep)
}

// failures returns the failed scenarios, each as a group.
func (t tested) failures() (failed []group) {
	for id, r := range t.Results {
		if r.Failure != "" {
			file, name, _ := strings.Cut(id, "/")
			failed = append(failed, group{file: file, names: []string{name}})
		}
	}
	return failed
}

// A group has scenarios of one file.
type group struct {
	file         string
	names        []string
	inapplicable map[string]string // reasons, by name
}

func byFile(scenarios []scenario) []group {
	var groups []group
	for _, s := range scenarios {
		i := slices.IndexFunc(groups, func(g group) bool { return g.file == s.File })
		if i < 0 {
			i = len(groups)
			groups = append(groups, group{file: s.File, inapplicable: map[string]string{}})
		}
		if s.Inapplicable != "" {
			groups[i].inapplicable[s.Name] = s.Inapplicable
		} else {
			groups[i].names = append(groups[i].names, s.Name)
		}
	}
	return groups
}

// runAll runs each group in its own processes, and calls result for one result at a time.
func (s *suite) runAll(ctx context.Context, i implementation, groups []group, atATime int, result func(file string, r e2e.Result)) error {
	var mu sync.Mutex
	var failed error
	var running sync.WaitGroup
	free := make(chan struct{}, atATime)
	for _, g := range groups {
		free <- struct{}{}
		running.Go(func() {
			defer func() { <-free }()
			err := s.run(ctx, i, g.file, g.names, func(r e2e.Result) {
				mu.Lock()
				defer mu.Unlock()
				result(g.file, r)
			})
			mu.Lock()
			defer mu.Unlock()
			failed = errors.Join(failed, err)
		})
	}
	running.Wait()
	return failed
}
