// Command scoreboard runs the conformance suite on many implementations of EventSource in headless browsers. It writes
// dist/scoreboard.html and .json, and a page and a badge for each implementation.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"maps"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/eventsource-wasm/eventsource-wasm/e2e"
	"github.com/eventsource-wasm/eventsource-wasm/e2e/browsers"
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("scoreboard: ")
	r := run{stuckAfter: defaultStuckAfter}
	browserNames := flag.String("browsers", "chromium", "comma-separated `engines`: chromium, firefox, webkit")
	of := flag.String("of", "", "measure only these comma-separated `implementations`")
	files := flag.String("files", "", "run only these comma-separated `files` of scenarios, and write to scoreboard-part/ in -dist")
	flag.StringVar(&r.implementation, "impl", "", "also measure the `script` at this URL or in this file")
	flag.StringVar(&r.dist, "dist", "dist", "`folder` with the built files; the board is written there too")
	joined := flag.String("join", "", "add the rows in these comma-separated `files` from other runners")
	flag.StringVar(&r.table, "table", "", "write the summary into this `file`, between its markers, and scoreboard.svg beside it")
	flag.IntVar(&r.stages, "stages", 64, "`number` of pages at a time")
	flag.IntVar(&r.patience, "patience", 10, "`number` of moments, half a second or more each, without any activity until a scenario counts as hung")
	flag.DurationVar(&r.timeout, "timeout", time.Hour, "give up after this `duration`")
	flag.Parse()
	r.browsers, r.of, r.files, r.joined = list(*browserNames), list(*of), list(*files), list(*joined)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := r.run(ctx, os.Stdout); err != nil {
		log.Fatal(err)
	}
}

func list(text string) []string {
	if text == "" {
		return nil
	}
	return strings.Split(text, ",")
}

// A run holds the flags.
type run struct {
	browsers, of, files, joined []string
	implementation, dist, table string
	stages, patience            int
	timeout, stuckAfter         time.Duration
}

func (r run) run(ctx context.Context, stdout io.Writer) error {
	if r.table != "" && r.files != nil {
		return errors.New("-table needs all scenarios: leave out -files or -table")
	}
	if r.stages < 1 || r.patience < 1 {
		return errors.New("-stages and -patience must be at least 1")
	}
	ctx, cancel := context.WithTimeoutCause(ctx, r.timeout, fmt.Errorf("not done after %v", r.timeout))
	defer cancel()
	chosen, scripts, err := r.choose(ctx)
	if err != nil {
		return err
	}
	board := &Board{Date: time.Now().Format(time.DateOnly), Groups: groups, Files: r.files}
	for _, name := range r.browsers {
		engine, err := browsers.Find(name)
		if err != nil {
			return err
		}
		if _, err := engine.Path(); err != nil {
			return err
		}
		begun := time.Now()
		measured, err := r.measure(ctx, engine, board, inBrowser(chosen, name), scripts)
		if err != nil {
			return err
		}
		board.Implementations = append(board.Implementations, measured...)
		fmt.Fprintf(stdout, "%s: %d implementations in %v\n", name, len(measured), time.Since(begun).Round(time.Second))
	}
	for _, path := range r.joined {
		rows, err := readRows(path, board.Scenarios)
		if err != nil {
			return err
		}
		board.Implementations = append(board.Implementations, rows...)
	}
	return r.publish(board, stdout)
}

// choose returns the candidates to measure, and the scripts of libraries and files.
func (r run) choose(ctx context.Context) ([]candidate, map[string][]byte, error) {
	chosen := slices.Clone(candidates)
	of := r.of
	if of == nil && r.implementation != "" {
		of = []string{"native"}
	}
	if of != nil {
		for _, id := range of {
			if !slices.ContainsFunc(chosen, func(c candidate) bool { return c.id == id }) {
				return nil, nil, fmt.Errorf("unknown implementation %q", id)
			}
		}
		chosen = slices.DeleteFunc(chosen, func(c candidate) bool { return !slices.Contains(of, c.id) })
	}
	if err := complete(chosen, r.dist); err != nil {
		return nil, nil, err
	}
	scripts, err := libraries(ctx, chosen)
	if err != nil {
		return nil, nil, err
	}
	bundles, err := harness()
	if err != nil {
		return nil, nil, err
	}
	maps.Copy(scripts, bundles)
	if r.implementation == "" {
		return chosen, scripts, nil
	}
	c, script, err := custom(r.implementation)
	if err != nil {
		return nil, nil, err
	}
	if script != nil {
		scripts[c.load] = script
	}
	return append(chosen, c), scripts, nil
}

// inBrowser excludes libraries outside of Chromium: the scripts are the same in every browser.
func inBrowser(of []candidate, engine string) []candidate {
	if engine == "chromium" {
		return of
	}
	return slices.DeleteFunc(slices.Clone(of), func(c candidate) bool { return c.pkg != "" })
}

// measure runs all scenarios on the candidates in one browser. The first browser also provides the board's scenarios.
func (r run) measure(ctx context.Context, engine browsers.Engine, board *Board, of []candidate, scripts map[string][]byte) ([]*Implementation, error) {
	q := newQueue(r.patience)
	var (
		once     sync.Once
		rows     []*measured
		here     arrival
		startErr error
	)
	s := &session{engine: engine, stages: r.stagesIn(engine), queue: q, files: pages(r.dist, scripts), stuckAfter: r.stuckAfter}
	s.started = func(a arrival) error {
		once.Do(func() {
			here = a
			if startErr = r.catalogue(board, a); startErr != nil {
				return
			}
			for _, c := range of {
				m := &measured{candidate: c, results: map[string]e2e.Result{}}
				rows = append(rows, m)
				q.add(m, applicable(c, board.Scenarios, engine.Name))
			}
			q.mix()
		})
		return startErr
	}
	running, stop := context.WithCancel(ctx)
	go q.progress(running, os.Stderr)
	err := s.run(ctx)
	stop()
	if err != nil {
		return nil, err
	}
	known, err := e2e.Differences()
	if err != nil {
		return nil, err
	}
	var implementations []*Implementation
	for _, m := range rows {
		implementations = append(implementations, m.implementation(board.Scenarios, here, known))
	}
	return implementations, nil
}

// stagesIn returns fewer stages for WebKitGTK, which opens seventeen connections in total.
func (r run) stagesIn(engine browsers.Engine) int {
	if engine.Name == "webkit" {
		return min(r.stages, 2)
	}
	return r.stages
}

// catalogue fills in the board's scenarios from a page's report.
func (r run) catalogue(board *Board, a arrival) error {
	if board.Scenarios != nil {
		return nil
	}
	allowed, err := e2e.Allowances()
	if err != nil {
		return err
	}
	for _, s := range a.Catalogue {
		if r.files != nil && !slices.Contains(r.files, s.File) {
			continue
		}
		if s.Group, err = groupOf(s.File, s.Name); err != nil {
			return err
		}
		if s.Group == additions {
			continue
		}
		s.ID = s.File + "/" + s.Name
		for _, row := range allowed {
			if row.Scenario == s.ID {
				s.Allowed = append(s.Allowed, row)
			}
		}
		board.Scenarios = append(board.Scenarios, s)
	}
	if len(board.Scenarios) == 0 {
		return errors.New("-files matches no file of e2e/scenarios")
	}
	board.Suite = fingerprint(board.Scenarios)
	return checkNames(a.Catalogue, allowed)
}

// checkNames reports entries for unknown scenarios.
func checkNames(all []Scenario, allowed []e2e.Allowance) error {
	names := map[string]bool{}
	for _, s := range all {
		names[s.File+"/"+s.Name] = true
	}
	for id := range ofScenario {
		if !names[id] {
			return fmt.Errorf("groups.go: unknown scenario %q", id)
		}
	}
	for _, row := range allowed {
		if !names[row.Scenario] {
			return fmt.Errorf("allowed.json: unknown scenario %q", row.Scenario)
		}
	}
	for _, id := range slices.Concat(aboutHeaders, aboutOrigin) {
		if !names[id] {
			return fmt.Errorf("judge.go: unknown scenario %q", id)
		}
	}
	return nil
}

func applicable(c candidate, scenarios []Scenario, engine string) []Scenario {
	return slices.DeleteFunc(slices.Clone(scenarios), func(s Scenario) bool { return c.reason(s, engine) != "" })
}

// reason returns why a scenario does not apply to the candidate in the engine, or an empty string.
func (c candidate) reason(s Scenario, engine string) string {
	if c.applies != nil {
		if reason := c.applies(s); reason != "" {
			return reason
		}
	}
	return s.LeftOut[engine]
}

// implementation makes a row of the board from the results.
func (m *measured) implementation(scenarios []Scenario, a arrival, known []e2e.Difference) *Implementation {
	browser := browserOf(a)
	i := &Implementation{
		ID: m.id, Name: m.name, Version: m.version, Runtime: browser, Documentation: m.documentation, Note: m.note,
		Custom: rank(m.id) == len(candidates), Results: map[string]Outcome{},
	}
	if a.Engine != "chromium" {
		i.ID += "@" + a.Engine
	}
	if m.load == "native" {
		i.Name, i.Version, _ = strings.Cut(browser, " ")
	}
	for _, s := range scenarios {
		if reason := m.reason(s, a.Engine); reason != "" {
			i.Results[s.ID] = Outcome{Verdict: NotApplicable, Reason: reason}
			continue
		}
		o := judge(s, m.results[s.ID])
		explain(&o, s.ID, m.family(), a.Engine, known)
		i.Results[s.ID] = o
	}
	return i
}

// family returns the candidate's name in differences.json.
func (m *measured) family() string {
	if m.documentation == ours {
		return "wasm"
	}
	return m.load
}

// pages serves the pages of a lab. Scripts replace the files at their paths.
func pages(dist string, scripts map[string][]byte) http.Handler {
	all := e2e.Pages(http.FileServer(http.Dir(dist)))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		script, ok := scripts[r.URL.Path]
		if !ok {
			all.ServeHTTP(w, r)
			return
		}
		contentType := "text/javascript"
		if strings.HasSuffix(r.URL.Path, ".html") {
			contentType = "text/html"
		}
		w.Header().Set("Content-Type", contentType)
		w.Write(script)
	})
}

// publish writes all files. It keeps other implementations' rows from an earlier board of the same scenarios.
func (r run) publish(board *Board, stdout io.Writer) error {
	dir := r.dist
	if r.files != nil {
		dir = filepath.Join(dir, "scoreboard-part")
	}
	earlier, err := readBoard(filepath.Join(dir, "scoreboard.json"))
	if err != nil {
		return err
	}
	board.keep(earlier)
	board.count()
	if err := write(board, dir); err != nil {
		return err
	}
	fmt.Fprint(stdout, board.text())
	fmt.Fprintln(stdout, filepath.Join(dir, "scoreboard.html"))
	if r.table != "" {
		return document(board, r.table)
	}
	return nil
}

// browserOf returns the browser of a user agent, such as "Chromium 156".
func browserOf(a arrival) string {
	names := map[string][2]string{"chromium": {"Chromium", "Chrome/"}, "firefox": {"Firefox", "Firefox/"}, "webkit": {"WebKitGTK", "Version/"}}
	n, ok := names[a.Engine]
	_, version, found := strings.Cut(a.Browser, n[1])
	if !ok || !found {
		return cmp.Or(n[0], a.Browser)
	}
	version, _, _ = strings.Cut(version, " ")
	if a.Engine != "webkit" {
		version, _, _ = strings.Cut(version, ".")
	}
	return n[0] + " " + version
}
