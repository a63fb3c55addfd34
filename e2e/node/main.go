// Command node runs the scenarios of the conformance suite that need no page in Node, Deno and Bun, and writes what each
// implementation has done to dist/node.json. It prints a table: passed of applicable, by file of scenarios.
//
//	go run ./e2e/node -of ours,eventsource,undici
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
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
	limit := flag.Duration("limit", 20*time.Second, "end a scenario after this `long`; one that fails is run again, with twice that")
	atATime := flag.Int("parallel", 4, "`processes` at a time")
	failures := flag.Bool("failures", false, "print what fails")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := compare(ctx, *of, *files, *out, *limit, *atATime, *failures); err != nil {
		log.Fatal(err)
	}
}

func compare(ctx context.Context, of, files, out string, limit time.Duration, atATime int, failures bool) error {
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
	s := newSuite(root, limit)
	defer s.close()
	var r report
	for _, i := range chosen {
		tested, err := s.test(ctx, i.in(root).installed(root), files, atATime)
		if err != nil {
			return fmt.Errorf("%s: %w", i.id, err)
		}
		r.Implementations = append(r.Implementations, tested)
	}
	r.print(os.Stdout, failures)
	return r.write(out)
}

// A report is what dist/node.json holds.
type report struct {
	Implementations []tested `json:"implementations"`
}

// A tested implementation has an entry for each scenario, by "file/name".
type tested struct {
	Name    string           `json:"name"`
	Version string           `json:"version"`
	Runtime string           `json:"runtime"`
	URL     string           `json:"url"`
	Results map[string]entry `json:"results"`
}

// An entry is a result, or says why the scenario is not applicable.
type entry struct {
	*e2e.Result
	NotApplicable string `json:"notApplicable,omitempty"`
}

// passed reports whether the scenario showed what the standard says.
func (e entry) passed() bool { return e.Result != nil && e.Failure == "" && e.Reason == "" }

// test runs every scenario that applies. One that fails is run again by itself, and the second result counts.
func (s *suite) test(ctx context.Context, i implementation, only string, atATime int) (tested, error) {
	result := tested{Name: i.Name, URL: i.URL, Results: map[string]entry{}}
	var err error
	if result.Version, result.Runtime, err = i.versions(ctx, s.root); err != nil {
		return result, err
	}
	scenarios, err := s.catalogue(ctx, i)
	if err != nil {
		return result, err
	}
	var tasks []group
	for _, g := range byFile(scenarios) {
		if only != "" && !slices.Contains(strings.Split(only, ","), g.file) {
			continue
		}
		for name, why := range g.inapplicable {
			result.Results[g.file+"/"+name] = entry{NotApplicable: why}
		}
		tasks = append(tasks, g)
	}
	err = s.runAll(ctx, i, tasks, atATime, func(file string, r e2e.Result) { result.Results[file+"/"+r.Name] = entry{Result: &r} })
	if err != nil {
		return result, err
	}
	return result, s.again(ctx, i, result.Results, atATime)
}

// again runs what has failed once more, with more time.
func (s *suite) again(ctx context.Context, i implementation, results map[string]entry, atATime int) error {
	var failed []group
	for id, e := range results {
		if e.Result != nil && e.Failure != "" {
			file, name, _ := strings.Cut(id, "/")
			failed = append(failed, group{file: file, names: []string{name}})
		}
	}
	patient := *s
	patient.limit *= 2
	return patient.runAll(ctx, i, failed, atATime, func(file string, r e2e.Result) { results[file+"/"+r.Name] = entry{Result: &r} })
}

// A group is scenarios of one file.
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

// runAll runs the groups, each in processes of its own, and calls result for one result at a time.
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

func (r report) write(out string) error {
	data, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(out, append(data, '\n'), 0o644)
}

// print writes a table as Markdown: a row for each file of scenarios, a column for each implementation.
func (r report) print(w io.Writer, failures bool) {
	header := "| |"
	for _, i := range r.Implementations {
		header += fmt.Sprintf(" %s %s, %s |", i.Name, i.Version, i.Runtime)
	}
	fmt.Fprintf(w, "%s\n|%s\n", header, strings.Repeat(" --- |", len(r.Implementations)+1))
	for _, file := range append(r.files(), "") {
		row := "| " + file + " |"
		if file == "" {
			row = "| all |"
		}
		for _, i := range r.Implementations {
			row += " " + i.score(file) + " |"
		}
		fmt.Fprintln(w, row)
	}
	for _, i := range r.Implementations {
		for _, id := range i.ids() {
			if e := i.Results[id]; failures && e.Result != nil && !e.passed() {
				fmt.Fprintf(w, "\n%s on %s %s\n%s%s\n", id, i.Name, i.Version, e.Failure, e.Reason)
			}
		}
	}
}

func (t tested) ids() []string {
	var ids []string
	for id := range t.Results {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}

// files returns the files of which a scenario applies to one of the implementations.
func (r report) files() []string {
	var files []string
	for _, i := range r.Implementations {
		for id, e := range i.Results {
			if file, _, _ := strings.Cut(id, "/"); e.Result != nil && !slices.Contains(files, file) {
				files = append(files, file)
			}
		}
	}
	slices.Sort(files)
	return files
}

// score returns "passed/applicable" in a file, or in all if there is no file.
func (t tested) score(file string) string {
	passed, applicable := 0, 0
	for id, e := range t.Results {
		if e.Result == nil || file != "" && !strings.HasPrefix(id, file+"/") {
			continue
		}
		applicable++
		if e.passed() {
			passed++
		}
	}
	if applicable == 0 {
		return "–"
	}
	return fmt.Sprintf("%d/%d", passed, applicable)
}
