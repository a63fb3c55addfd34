package main

import (
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/eventsource-wasm/eventsource-wasm/e2e"
)

func TestJudge(t *testing.T) {
	plain := Scenario{ID: "ids/x", Expect: []string{`GET A`, `open`, `message "x"`}}
	refused := Scenario{ID: "crossorigin/x", Expect: []string{"GET B", "error CLOSED"},
		Allowed: []e2e.Allowance{{Expect: []string{"GET B", "error CONNECTING"}, Then: []string{"GET B", "error CONNECTING"}}}}
	headers := Scenario{ID: aboutHeaders[0], Expect: []string{"GET A"}}
	origin := Scenario{ID: aboutOrigin[0], Expect: []string{`message "x" from B`}}
	closes := Scenario{ID: "failures/x", Expect: []string{"GET A", "error CLOSED", "connection closed by the client", "readyState 2"}}
	const waits = "still waiting for the client to close the connection"
	tests := map[string]struct {
		scenario Scenario
		result   e2e.Result
		want     Verdict
	}{
		"as required":                              {plain, e2e.Result{Trace: plain.Expect}, Passed},
		"as required, then an exception":           {plain, e2e.Result{Trace: plain.Expect, Failure: "TypeError"}, Failed},
		"as required, but slow":                    {plain, e2e.Result{Trace: plain.Expect, Unfinished: true}, Passed},
		"too little":                               {plain, e2e.Result{Trace: plain.Expect[:2]}, Failed},
		"too much":                                 {plain, e2e.Result{Trace: append(slices.Clone(plain.Expect), "error CONNECTING")}, Failed},
		"nothing":                                  {plain, e2e.Result{}, Failed},
		"it hung":                                  {plain, e2e.Result{Trace: []string{"GET A", "still waiting for event open"}, Unfinished: true}, Hung},
		"it hung after an exception":               {plain, e2e.Result{Failure: "TypeError", Unfinished: true}, Failed},
		"a known difference":                       {plain, e2e.Result{Trace: []string{"GET A"}, Reason: "known"}, Failed},
		"allowed":                                  {refused, e2e.Result{Trace: []string{"GET B", "error CONNECTING"}}, Passed},
		"allowed, again and again":                 {refused, e2e.Result{Trace: []string{"GET B", "error CONNECTING", "GET B", "error CONNECTING"}}, Passed},
		"allowed, and more than that":              {refused, e2e.Result{Trace: []string{"GET B", "error CONNECTING", "open"}}, Failed},
		"less than what is allowed":                {refused, e2e.Result{Trace: []string{"GET B"}}, Failed},
		"a failed source keeps its connection":     {closes, e2e.Result{Trace: []string{"GET A", "error CLOSED", waits}, Unfinished: true}, Passed},
		"another source keeps its connection":      {closes, e2e.Result{Trace: []string{"GET A", "error CONNECTING", waits}, Unfinished: true}, Hung},
		"a failed source makes another connection": {closes, e2e.Result{Trace: []string{"GET A", "error CLOSED", waits, "not awaited: GET A"}, Unfinished: true}, Hung},
		"usual headers are not the subject":        {plain, e2e.Result{Trace: []string{`GET A accept: "*/*" cache-control: missing pragma: missing`, `open`, `message "x"`}}, Passed},
		"other headers are the subject":            {plain, e2e.Result{Trace: []string{`GET A last-event-id: "1"`, `open`, `message "x"`}}, Failed},
		"usual headers are the subject":            {headers, e2e.Result{Trace: []string{"GET A pragma: missing"}}, Failed},
		"an origin is not the subject":             {plain, e2e.Result{Trace: []string{`GET A`, `open`, `message "x" from undefined`}}, Passed},
		"an empty origin is not the subject":       {plain, e2e.Result{Trace: []string{`GET A`, `open`, `message "x" from `}}, Passed},
		"data is not an origin":                    {plain, e2e.Result{Trace: []string{`GET A`, `open`, `message "x from y"`}}, Failed},
		"a state is the subject":                   {Scenario{Group: "lifecycle", Expect: []string{"error CONNECTING"}}, e2e.Result{Trace: []string{"error OPEN"}}, Failed},
		"the state of open is the subject":         {Scenario{Group: "events", Expect: []string{"open"}}, e2e.Result{Trace: []string{"open CONNECTING"}}, Failed},
		"the state of open is not the subject":     {Scenario{Group: "cors", Expect: []string{"x: open"}}, e2e.Result{Trace: []string{"x: open CONNECTING"}}, Passed},
		"a state is not the subject":               {Scenario{Group: "parsing", Expect: []string{"error CONNECTING"}}, e2e.Result{Trace: []string{"error OPEN"}}, Passed},
		"an origin is the subject":                 {origin, e2e.Result{Trace: []string{`message "x"`}}, Failed},
		"closed at once, but requested":            {Scenario{File: "idl", Expect: []string{"x"}}, e2e.Result{Trace: []string{"x", "not awaited: GET A/stream/none"}}, Passed},
		"not awaited elsewhere":                    {Scenario{File: "close", Expect: []string{"x"}}, e2e.Result{Trace: []string{"x", "not awaited: GET A"}}, Failed},
		"not awaited beside another":               {Scenario{File: "idl", Expect: []string{"GET A"}}, e2e.Result{Trace: []string{"GET A", "not awaited: GET A"}}, Failed},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if got := judge(test.scenario, test.result); got.Verdict != test.want {
				t.Errorf("verdict %s, want %s", got.Verdict, test.want)
			}
		})
	}
}

// A known difference explains a failure. It changes no verdict, and explains no other failure. A page ends a run early when
// its trace is wrong. It needs judge.go's patterns for that.
func TestPagesHaveThePatterns(t *testing.T) {
	page, err := fs.ReadFile(e2e.Files(), "harness/measure.js")
	if err != nil {
		t.Fatal(err)
	}
	for _, pattern := range []*regexp.Regexp{usualHeaders, eventOrigin, states} {
		if !strings.Contains(string(page), "/"+pattern.String()+"/") {
			t.Errorf("harness/measure.js lacks the pattern %s", pattern)
		}
	}
}

func TestExplain(t *testing.T) {
	known := []e2e.Difference{{Scenario: "ids/x", Implementation: "native", Engines: []string{"chromium"}, Expect: []string{"a"}, Reason: "because"}}
	tests := map[string]struct {
		outcome            Outcome
		id, family, engine string
		want               string
	}{
		"it":                     {Outcome{Verdict: Failed, Trace: []string{"a"}}, "ids/x", "native", "chromium", "because"},
		"another trace":          {Outcome{Verdict: Failed, Trace: []string{"b"}}, "ids/x", "native", "chromium", ""},
		"another scenario":       {Outcome{Verdict: Failed, Trace: []string{"a"}}, "ids/y", "native", "chromium", ""},
		"another implementation": {Outcome{Verdict: Failed, Trace: []string{"a"}}, "ids/x", "wasm", "chromium", ""},
		"another engine":         {Outcome{Verdict: Failed, Trace: []string{"a"}}, "ids/x", "native", "firefox", ""},
		"a pass":                 {Outcome{Verdict: Passed, Trace: []string{"a"}}, "ids/x", "native", "chromium", ""},
	}
	for name, test := range tests {
		o := test.outcome
		explain(&o, test.id, test.family, test.engine, known)
		if o.Reason != test.want || o.Verdict != test.outcome.Verdict {
			t.Errorf("%s: %+v, want verdict %v, reason %q", name, o, test.outcome.Verdict, test.want)
		}
	}
}

// A result from harness/judge.js passes only if it is as the standard requires.
func TestJudgeJoined(t *testing.T) {
	s := Scenario{ID: "ids/x", Expect: []string{"GET A", "open"}}
	tests := map[string]struct {
		result e2e.Result
		want   Verdict
	}{
		"as required":                              {e2e.Result{Trace: s.Expect}, Passed},
		"reduced to what the runtime can show":     {e2e.Result{Trace: []string{"open"}}, Passed},
		"a known difference":                       {e2e.Result{Trace: []string{"GET A"}, Reason: "known"}, Failed},
		"a known difference that no longer occurs": {e2e.Result{Trace: s.Expect, Reason: "known"}, Passed},
		"other headers than usual":                 {e2e.Result{Trace: []string{"GET A pragma: missing", "open"}, Failure: "expected:\n…"}, Passed},
		"a failure":                                {e2e.Result{Trace: []string{"GET A"}, Failure: "expected:\n…"}, Failed},
		"an exception":                             {e2e.Result{Trace: s.Expect, Failure: "TypeError"}, Failed},
		"a run that took too long":                 {e2e.Result{Trace: []string{"still waiting"}, Failure: "The run took too long", Unfinished: true}, Hung},
	}
	for name, test := range tests {
		if got := judgeJoined(s, test.result); got.Verdict != test.want {
			t.Errorf("%s: %s, want %s", name, got.Verdict, test.want)
		}
	}
}

func TestGroups(t *testing.T) {
	ids := map[string]bool{additions: true}
	for _, g := range groups {
		if ids[g.ID] {
			t.Errorf("duplicate group %q", g.ID)
		}
		ids[g.ID] = true
	}
	names, err := fs.Glob(e2e.Files(), "scenarios/*.js")
	if err != nil || len(names) < 20 {
		t.Fatalf("%d files of scenarios, %v", len(names), err)
	}
	files := map[string]bool{}
	for _, name := range names {
		file := strings.TrimSuffix(path.Base(name), ".js")
		files[file] = true
		if group, err := groupOf(file, "any"); file != "index" && (err != nil || !ids[group]) {
			t.Errorf("%s: the group %q, %v", file, group, err)
		}
	}
	for file, group := range ofFile {
		if !files[file] || !ids[group] {
			t.Errorf("file %q or group %q does not exist", file, group)
		}
	}
	for id, group := range ofScenario {
		if file, _, _ := strings.Cut(id, "/"); !files[file] || !ids[group] {
			t.Errorf("%s: the file or the group %q does not exist", id, group)
		}
	}
	if _, err := groupOf("new", "scenario"); err == nil || !strings.Contains(err.Error(), "groups.go") {
		t.Errorf("a file without a group: %v", err)
	}
}

func TestNamesThatDoNotExist(t *testing.T) {
	err := checkNames([]Scenario{{File: "ids", Name: "x"}}, nil)
	if err == nil || !strings.Contains(err.Error(), "unknown scenario") {
		t.Errorf("a catalogue without the scenarios that groups.go names: %v", err)
	}
}

// Each library has an adapter, and each adapter a library.
func TestAdapters(t *testing.T) {
	adapted := map[string]bool{}
	for _, c := range candidates {
		if c.pkg == "" {
			continue
		}
		name := "adapters/" + c.id + ".mjs"
		adapted[name] = true
		if _, err := adapters.ReadFile(name); err != nil {
			t.Error(err)
		}
	}
	names, err := fs.Glob(adapters, "adapters/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if !adapted[name] {
			t.Errorf("%s belongs to no candidate", name)
		}
	}
	if err := complete(slices.DeleteFunc(slices.Clone(candidates), func(c candidate) bool { return c.pkg == "" }), t.TempDir()); err != nil {
		t.Error(err)
	}
}

func TestCustom(t *testing.T) {
	file := filepath.Join(t.TempDir(), "my <polyfill>.js")
	if err := os.WriteFile(file, []byte("// a script"), 0o600); err != nil {
		t.Fatal(err)
	}
	c, script, err := custom(file)
	if err != nil || c.id != "impl-my--polyfill-.js" || c.load != "/dist/scoreboard/impl-my--polyfill-.js.mjs" || string(script) != "// a script" {
		t.Errorf("a file: %+v, %q, %v", c, script, err)
	}
	c, script, err = custom("https://a.example/../x.js?y")
	if err != nil || c.load != "https://a.example/../x.js?y" || strings.Contains(c.id, "/") || script != nil {
		t.Errorf("a URL: %+v, %q, %v", c, script, err)
	}
	for _, neither := range []string{"none.js", "javascript:alert(1)", "", t.TempDir()} {
		if _, _, err := custom(neither); err == nil {
			t.Errorf("custom(%q) succeeded, want an error", neither)
		}
	}
}
