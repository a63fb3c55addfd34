package e2e

import (
	"context"
	"flag"
	"io/fs"
	"iter"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
)

// dist is where `make build` puts the implementation under test.
const dist = "../dist"

// A scenario is an entry of the page's catalogue. Its code stays in the page.
type scenario struct {
	File     string            `json:"file"`
	Name     string            `json:"name"`
	Standard string            `json:"standard"`
	Only     string            `json:"only"`    // the only implementation that runs it, or empty
	LeftOut  map[string]string `json:"leftOut"` // by engine: why it is not run there
	Console  []string          `json:"console"` // parts of the errors that the browser itself writes to the console
	Alone    string            `json:"alone"`   // why it needs a page of its own, if it does
	Expect   []string          `json:"expect"`
}

func (s scenario) id() string { return s.File + "/" + s.Name }

// isFor reports whether the scenario runs on the implementation or way.
func (s scenario) isFor(implementation string) bool {
	switch {
	case s.File == "shared":
		return implementation == "wasm" // one way is enough here; inworker covers the others
	case implementation == "script" && s.File != "loading": // loading chooses the way itself
		return s.Only != "native"
	case slices.Contains(ways, implementation):
		return s.Only != "native" && s.File != "loading" && s.File != "inworker" // loading chooses the way itself, and inworker's worker has one
	}
	return s.Only == "" || s.Only == implementation
}

var (
	implementations = []string{"native", "wasm"}

	// ways are the further ways to run our implementation: see harness/implementation.js.
	ways    = []string{"script", "go", "handover"}
	engines = []string{"chromium", "firefox", "webkit", "node", "deno", "bun"}
)

// TestScenarios runs every scenario on each implementation, in a page that judges the trace by itself.
func TestScenarios(t *testing.T) {
	requireDist(t)
	scenarios := catalogue(t)
	checkDifferences(t, scenarios)
	byFile := map[string][]scenario{}
	for _, s := range scenarios {
		byFile[s.File] = append(byFile[s.File], s)
	}
	for _, file := range slices.SortedFunc(maps.Keys(byFile), func(a, b string) int { return len(byFile[b]) - len(byFile[a]) }) {
		scenarios := byFile[file] // the largest first: the small ones fill the remaining slots
		t.Run(file, func(t *testing.T) {
			t.Parallel()
			for _, implementation := range slices.Concat(implementations, ways) {
				t.Run(implementation, func(t *testing.T) {
					t.Parallel()
					isNotFor := func(s scenario) bool { return !s.isFor(implementation) }
					runScenarios(t, slices.DeleteFunc(slices.Clone(scenarios), isNotFor), implementation)
				})
			}
		})
	}
}

// underPolicy runs the script in pages whose Content-Security-Policy forbids WebAssembly, instead of in a browser without it.
var underPolicy = flag.Bool("policy", false, "run the scenarios of the script under a Content-Security-Policy that forbids WebAssembly")

// withoutWasm serves files with a policy that lacks 'wasm-unsafe-eval'.
func withoutWasm(files http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Security-Policy", "script-src * data: blob: 'unsafe-inline'")
		files.ServeHTTP(w, r)
	})
}

// aPage is the maximum number of scenarios that a page runs, one after the other.
const aPage = 40

// runScenarios runs scenarios of one file. After a failure, the rest runs in a new page.
func runScenarios(t *testing.T, scenarios []scenario, implementation string) {
	isAlone := func(s scenario) bool { return s.Alone != "" }
	for _, s := range scenarios {
		if isAlone(s) {
			runPage(t, []scenario{s}, implementation)
		}
	}
	for rest := range slices.Chunk(slices.DeleteFunc(scenarios, isAlone), aPage) {
		for len(rest) > 0 {
			rest = rest[runPage(t, rest, implementation):]
		}
	}
}

// runPage runs scenarios in a page until one fails, and returns the number run.
func runPage(t *testing.T, scenarios []scenario, implementation string) (done int) {
	files, pool := labPages(t), mainStages
	switch {
	case implementation == "script" && *underPolicy:
		files = withoutWasm(files)
	case implementation == "script":
		pool = bareStages(t)
	}
	lab, err := newLab(files, "127.0.0.1", "127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	defer lab.close()
	stage := pool.borrow(t)
	passed := false
	defer func() { pool.giveBack(stage, passed) }()
	tab, cancel := context.WithTimeout(stage.Context, patience)
	defer cancel()
	next, stop := iter.Pull2(chromedp.Console(tab))
	defer stop()
	query := url.Values{"control": {lab.url("control")}, "file": {scenarios[0].File}, "implementation": {implementation}}
	for _, s := range scenarios {
		query.Add("name", s.Name)
	}
	if err := stage.show(tab, lab.url("A")+"/harness/run.html?"+query.Encode()); err != nil {
		t.Fatalf("opening the page: %v", err)
	}
	for _, s := range scenarios {
		done++
		r := report{Result: Result{Failure: "the page never reported"}, dealtWith: func() {}}
		select {
		case r = <-lab.reports:
		case <-tab.Done():
		}
		passed = t.Run(s.Name, func(t *testing.T) {
			checkResult(t, s, r.Result)
			checkConsole(t, s, errorsUntilNow(t, tab, next))
		})
		r.dealtWith()
		if !passed {
			break
		}
	}
	return done
}

func checkResult(t *testing.T, s scenario, r Result) {
	t.Helper()
	switch {
	case r.Failure != "":
		t.Errorf("%s\n\nstandard: %s", r.Failure, s.Standard)
	case r.Name != s.Name:
		t.Errorf("got the report of %q, want that of %q", r.Name, s.Name)
	case r.Reason != "":
		t.Logf("differs: %s", r.Reason)
	}
}

func checkConsole(t *testing.T, s scenario, errors []string) {
	t.Helper()
	for _, message := range errors {
		if !slices.ContainsFunc(s.Console, func(part string) bool { return strings.Contains(message, part) }) {
			t.Errorf("on the console: %s", message)
		}
	}
}

// consoleErrors returns the errors so far, and stops the messages.
func consoleErrors(t *testing.T, tab context.Context, messages iter.Seq2[chromedp.ConsoleMessage, error]) []string {
	next, stop := iter.Pull2(messages)
	defer stop()
	return errorsUntilNow(t, tab, next)
}

// errorsUntilNow returns the errors so far. It logs a last message itself, to know when to stop.
func errorsUntilNow(t *testing.T, tab context.Context, next func() (chromedp.ConsoleMessage, error, bool)) []string {
	const last = "the scenario has ended"
	if err := chromedp.Do(tab, chromedp.Evaluate[chromedp.Void](`console.debug("`+last+`")`)); err != nil {
		t.Errorf("reading the console: %v", err)
		return nil
	}
	var errors []string
	for {
		message, err, ok := next()
		if err != nil || !ok {
			t.Errorf("reading the console: %v", err)
			return errors
		}
		if message.Text == last {
			return errors
		}
		if message.Type == chromedp.ConsoleError || message.IsException() {
			errors = append(errors, message.String())
		}
	}
}

// catalogue asks the browser for the scenarios, since only it can read them.
func catalogue(t *testing.T) []scenario {
	t.Helper()
	lab := openLab(t)
	tab := newTab(t)
	expression := `import('/harness/catalogue.js').then(({ catalogue }) => catalogue)`
	if err := chromedp.Do(tab, chromedp.Navigate(lab.url("A")+"/harness/catalogue.html")); err != nil {
		t.Fatalf("opening the catalogue: %v", err)
	}
	scenarios, err := chromedp.Run(tab, chromedp.Evaluate[[]scenario](expression, chromedp.EvalAwaitPromise))
	if err != nil {
		t.Fatalf("reading the catalogue: %v", err)
	}
	checkCatalogue(t, scenarios)
	return scenarios
}

func checkCatalogue(t *testing.T, scenarios []scenario) {
	t.Helper()
	listed, seen := map[string]bool{"index": true}, map[string]bool{}
	for _, s := range scenarios {
		listed[s.File] = true
		if seen[s.id()] {
			t.Errorf("two scenarios are called %q", s.id())
		}
		seen[s.id()] = true
		if s.LeftOut["chromium"] != "" {
			t.Errorf("%q is left out in Chromium, where these tests run", s.id())
		}
		if len(s.Expect) == 0 || s.Standard == "" {
			t.Errorf("%q needs an expectation and its place in the standard", s.id())
		}
	}
	names, err := fs.Glob(files, "scenarios/*.js")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if file := strings.TrimSuffix(path.Base(name), ".js"); !listed[file] {
			t.Errorf("%s is not in scenarios/index.js", name)
		}
	}
}

// checkDifferences reports entries for unknown scenarios. An entry that no longer differs fails in the page.
func checkDifferences(t *testing.T, scenarios []scenario) {
	t.Helper()
	for _, d := range knownDifferences(t) {
		if !slices.ContainsFunc(scenarios, func(s scenario) bool { return s.id() == d.Scenario }) {
			t.Errorf("differences.json: unknown scenario %q", d.Scenario)
		}
		if !slices.Contains(implementations, d.Implementation) || d.Reason == "" {
			t.Errorf("differences.json: %q needs a known implementation and a reason", d.Scenario)
		}
		for _, engine := range d.Engines {
			if !slices.Contains(engines, engine) {
				t.Errorf("differences.json: %q: unknown engine %q", d.Scenario, engine)
			}
		}
	}
}

func knownDifferences(t *testing.T) []Difference {
	t.Helper()
	differences, err := Differences()
	if err != nil {
		t.Fatal(err)
	}
	return differences
}

func requireDist(t *testing.T) {
	t.Helper()
	if _, err := os.Stat(dist + "/eventsource.mjs"); err != nil {
		t.Fatalf("%v: run `make build` first", err)
	}
}

func openLab(t *testing.T) *lab {
	t.Helper()
	lab, err := newLab(labPages(t), "127.0.0.1", "127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(lab.close)
	return lab
}

func pages() http.Handler {
	suite := Suite{Dist: http.FileServer(http.Dir(dist))}
	return suite.pages()
}
