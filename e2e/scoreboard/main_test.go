package main

import (
	"bytes"
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/eventsource-wasm/eventsource-wasm/e2e/browsers"
)

const dist = "../../dist"

// testRun runs some files of scenarios into a copy of dist/.
func testRun(t *testing.T, files ...string) run {
	t.Helper()
	if _, err := os.Stat(filepath.Join(dist, "eventsource.mjs")); err != nil {
		t.Fatalf("%v: run `make build` first", err)
	}
	chromium, err := browsers.Find("chromium")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := chromium.Path(); err != nil {
		t.Fatal(err)
	}
	r := run{browsers: []string{"chromium"}, files: files, dist: filepath.Join(t.TempDir(), "dist"), stages: 6, patience: 10, timeout: 10 * time.Minute, stuckAfter: defaultStuckAfter}
	for _, name := range []string{"eventsource.mjs", "eventsource.js", "eventsource.wasm", "eventsource.worker.js", "package.json"} {
		data, err := os.ReadFile(filepath.Join(dist, name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.MkdirAll(r.dist, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(r.dist, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return r
}

// TestChromium runs some scenarios on native, ours and a library, from the command to the written files.
func TestChromium(t *testing.T) {
	t.Parallel()
	r := testRun(t, "idl", "ids")
	r.of = []string{"native", "eventsource-wasm-script"}
	if _, err := exec.LookPath("npm"); err == nil {
		r.of = append(r.of, "eventsource")
	} else if os.Getenv("CI") != "" {
		t.Fatal(err)
	}
	var stdout bytes.Buffer
	if err := r.run(t.Context(), &stdout); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(r.dist, "scoreboard-part")
	b, err := readBoard(filepath.Join(dir, "scoreboard.json"))
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string]*Implementation{}
	for _, i := range b.Implementations {
		rows[i.ID] = i
		t.Logf("%s %s in %s: %v", i.Name, i.Version, i.Runtime, i.Groups)
		for _, group := range []string{"ids", "idl"} {
			if i.Groups[group].All == 0 {
				t.Errorf("%s has no results in %s", i.Name, group)
			}
		}
	}
	checkNative(t, rows["native"])
	checkOurs(t, b, rows["eventsource-wasm-script"])
	if i := rows["eventsource"]; i != nil {
		checkLibrary(t, i, dir)
	}
	page := read(t, dir, "scoreboard.html")
	if !strings.Contains(page, "a part of the suite, the scenarios in idl, ids") {
		t.Error("the page does not say that it covers only a part of the suite")
	}
	for _, i := range b.Implementations {
		if !strings.Contains(page, i.ID+".html") || !strings.Contains(stdout.String(), i.Total.String()) {
			t.Errorf("%s is not on the page or the terminal:\n%s", i.ID, stdout.String())
		}
		if badge := read(t, dir, "scoreboard/"+i.ID+".svg"); !strings.Contains(badge, "in idl, ids") {
			t.Errorf("the badge of %s does not name the files", i.ID)
		}
	}
}

func checkNative(t *testing.T, i *Implementation) {
	t.Helper()
	for id, o := range i.Results {
		if o.Verdict != Passed {
			t.Errorf("native: %s: %+v", id, o)
		}
	}
	if i.Name != "Chromium" || i.Version == "" {
		t.Errorf("native is %q %q", i.Name, i.Version)
	}
}

// Failures of ours are in differences.json, and still count as failures.
func checkOurs(t *testing.T, b *Board, i *Implementation) {
	t.Helper()
	failed := 0
	for _, s := range b.Scenarios {
		if o := i.Results[s.ID]; o.Verdict != Passed {
			failed++
			if o.Reason == "" {
				t.Errorf("ours: %s fails without a reason: %+v", s.ID, o)
			}
		}
	}
	if failed == 0 || i.Version == "" {
		t.Errorf("ours: %d of %d fail, in version %q", failed, i.Total.All, i.Version)
	}
}

func checkLibrary(t *testing.T, i *Implementation, dir string) {
	t.Helper()
	const readonly = "idl/constants cannot be changed"
	o := i.Results[readonly]
	if o.Verdict != Failed || i.Groups["ids"].Passed == 0 {
		t.Errorf("%s: %+v, of the IDs %v", i.Name, o, i.Groups["ids"])
	}
	page := read(t, dir, "scoreboard/"+i.ID+".html")
	for _, part := range []string{"constants cannot be changed", "Web IDL", "! assign OPEN: undefined", i.Version} {
		if !strings.Contains(page, part) {
			t.Errorf("the page of %s lacks %q", i.Name, part)
		}
	}
}

// Custom scripts: one hangs, one throws, and some cannot be loaded.
func TestScripts(t *testing.T) {
	t.Parallel()
	script := func(text string) string {
		path := filepath.Join(t.TempDir(), "mine.js")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	t.Run("it hangs", func(t *testing.T) {
		t.Parallel()
		r := testRun(t, "responses")
		r.patience = 2
		r.of, r.implementation = []string{}, script(`export class EventSource extends EventTarget { close() { throw new Error("close"); } }`)
		if err := r.run(t.Context(), io.Discard); err != nil {
			t.Fatal(err)
		}
		dir := filepath.Join(r.dist, "scoreboard-part")
		b, err := readBoard(filepath.Join(dir, "scoreboard.json"))
		if err != nil {
			t.Fatal(err)
		}
		i := b.Implementations[0]
		if i.Total.Passed != 0 || i.Total.All == 0 || !i.Custom || i.ID != "impl-mine.js" {
			t.Errorf("implementation %s, custom %v, total %+v; want impl-mine.js, true and no pass", i.ID, i.Custom, i.Total)
		}
		for id, o := range i.Results {
			if o.Verdict != Hung && !strings.HasPrefix(id, "responses/six") {
				t.Errorf("%s: %+v, want verdict %v", id, o, Hung)
			}
		}
	})
	for name, text := range map[string]string{"it exports no class": "export const answer = 42; delete globalThis.EventSource;", "it does not parse": "class {", "it fills in what is missing": "globalThis.EventSource ??= class {};"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := testRun(t, "idl")
			r.of, r.implementation = []string{}, script(text)
			if err := r.run(t.Context(), io.Discard); err == nil || !strings.Contains(err.Error(), "mine.js cannot be measured") {
				t.Errorf("error %v", err)
			}
		})
	}
}

func TestWhatIsWrong(t *testing.T) {
	none := t.TempDir()
	tests := map[string]struct {
		run  run
		says string
	}{
		"a browser":                 {run{browsers: []string{"netscape"}, of: []string{"native"}, dist: none}, "netscape"},
		"an implementation":         {run{of: []string{"nativ"}, dist: none}, `unknown implementation "nativ"`},
		"dist":                      {run{of: []string{"eventsource-wasm-go"}, dist: none}, "make build"},
		"no stages":                 {run{of: []string{"native"}, patience: 1, dist: none}, "-stages"},
		"a script":                  {run{of: []string{"native"}, implementation: "none.js", dist: none}, "none.js"},
		"a table of some files":     {run{files: []string{"ids"}, table: "page.md"}, "-files"},
		"the rows of other runners": {run{joined: []string{none + "/none.json"}, of: []string{"native"}, dist: none}, "none.json"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			test.run.timeout = time.Minute
			if name != "no stages" {
				test.run.stages, test.run.patience = 1, 1
			}
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			if err := test.run.run(ctx, io.Discard); err == nil || !strings.Contains(err.Error(), test.says) {
				t.Errorf("error %v", err)
			}
		})
	}
}
