package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/eventsource-wasm/eventsource-wasm/e2e"
	"github.com/eventsource-wasm/eventsource-wasm/e2e/node/clients"
	"github.com/eventsource-wasm/eventsource-wasm/internal/nodetest"
)

// patience ends a scenario that hangs and measures nothing.
const patience = 50 * time.Second

// asClient makes the program of these tests the one that runs our Go client.
const asClient = "EVENTSOURCE_AS_GO_CLIENT"

func TestMain(m *testing.M) {
	if os.Getenv(asClient) == "" {
		os.Exit(m.Run())
	}
	if err := clients.Serve(map[string]clients.Client{"ours": clients.Ours}, os.Stdin, os.Stdout); err != nil {
		panic(err)
	}
}

// In the installed Node.js, ours passes every applicable scenario or differences.json says why not: on the script, on Go,
// and as the Go client.
func TestOurs(t *testing.T) {
	s := startSuite(t, patience)
	for _, id := range []string{"ours", "ours-go", "go-ours"} {
		t.Run(id, func(t *testing.T) {
			chosen, err := find(id)
			if err != nil {
				t.Fatal(err)
			}
			i := chosen[0].in(s.root)
			if i.Client != "" {
				t.Setenv(asClient, "yes")
				i.Program = os.Args[0]
			}
			s.check(t, i)
		})
	}
}

func startSuite(t *testing.T, limit time.Duration) *suite {
	t.Helper()
	nodetest.Require(t)
	if _, err := os.Stat("../../dist/eventsource.mjs"); err != nil {
		t.Fatalf("%v: run `make build` first", err)
	}
	root, err := findRoot()
	if err != nil {
		t.Fatal(err)
	}
	s := newSuite(root, limit)
	t.Cleanup(s.close)
	return s
}

// check fails for each applicable scenario that fails twice. A flaky scenario is a bug, so test reports the first failure.
func (s *suite) check(t *testing.T, i implementation) {
	scenarios, err := s.catalogue(t.Context(), i)
	if err != nil {
		t.Fatal(err)
	}
	row, err := s.test(t.Context(), i, "", 4)
	if err != nil {
		t.Fatal(err)
	}
	if ran := len(row.Results) + len(row.NotApplicable); ran != len(scenarios) {
		t.Errorf("%d of %d scenarios ran or do not apply", ran, len(scenarios))
	}
	for id, r := range row.Results {
		t.Run(id, func(t *testing.T) {
			switch {
			case r.Failure != "":
				t.Error(r.Failure)
			case r.Reason != "":
				t.Logf("differs: %s", r.Reason)
			}
		})
	}
	t.Logf("%d of %d scenarios apply", len(row.Results), len(scenarios))
}

// An implementation that breaks its process fails each of its scenarios once.
func TestBrokenImplementations(t *testing.T) {
	s := startSuite(t, time.Second) // they all hang forever
	names := []string{"empty data dispatches an event", "an empty event type means message"}
	for name, want := range map[string]e2e.Result{
		"silent": {Unfinished: true, Failure: "The run took too long"},
		"spins":  {Unfinished: true, Failure: "The process hangs."},
		"exits":  {Failure: "out of here"},
	} {
		t.Run(name, func(t *testing.T) {
			i := implementation{Name: name, Module: filepath.Join(s.root, "e2e/node/testdata", name+".js"), runtime: node}
			s := *s
			if name == "spins" {
				s.limit, s.grace = s.idle, 0
			}
			var got []e2e.Result
			if err := s.run(t.Context(), i, "parsing", names, func(r e2e.Result) { got = append(got, r) }); err != nil {
				t.Fatal(err)
			}
			if len(got) != len(names) {
				t.Fatalf("%d results for %d scenarios: %+v", len(got), len(names), got)
			}
			for i, r := range got {
				if r.Name != names[i] || r.Unfinished != want.Unfinished || !strings.Contains(r.Failure, want.Failure) {
					t.Errorf("%s: got %+v, want %+v", names[i], r, want)
				}
			}
		})
	}
}

// Our additions, and what the standard leaves open, apply to ours only. Go clients are also exempt from what they cannot
// show.
func TestCatalogue(t *testing.T) {
	s := startSuite(t, patience)
	tests := []struct {
		scenario string
		applies  map[string]bool
	}{
		{"parsing/empty data dispatches an event", map[string]bool{"ours": true, "undici": true, "r3labs": true}},
		{"options/aborting the signal closes the source", map[string]bool{"ours": true, "undici": false, "r3labs": false}},
		{"idl/constants cannot be changed", map[string]bool{"ours": true, "undici": true, "r3labs": false}},
		{"forbidden/a connection to about:blank fails", map[string]bool{"ours": true, "undici": false, "r3labs": false}},
		{"frames/a source in an about:blank frame uses the base URL of its parent page", map[string]bool{"ours": false, "undici": false, "r3labs": false}},
	}
	for _, id := range []string{"ours", "undici", "r3labs"} {
		chosen, err := find(id)
		if err != nil {
			t.Fatal(err)
		}
		scenarios, err := s.catalogue(t.Context(), chosen[0])
		if err != nil {
			t.Fatal(err)
		}
		why := map[string]string{}
		for _, s := range scenarios {
			why[s.File+"/"+s.Name] = s.Inapplicable
		}
		for _, test := range tests {
			if reason, ok := why[test.scenario]; !ok || (reason == "") != test.applies[id] {
				t.Errorf("%s on %s: in the catalogue = %v, reason = %q, want it to apply = %v", test.scenario, id, ok, reason, test.applies[id])
			}
		}
	}
}

func TestFindNamesWhatThereIs(t *testing.T) {
	if _, err := find("ours,nobody"); err == nil || !strings.Contains(err.Error(), `"nobody"`) || !strings.Contains(err.Error(), "undici") {
		t.Errorf("find: %v", err)
	}
	if all, err := find(ids()); err != nil || len(all) != len(implementations) {
		t.Errorf("find of all ids: %d, %v", len(all), err)
	}
}

// The scoreboard reads this shape.
func TestReport(t *testing.T) {
	row := tested{
		Name: "a", Version: "1", Runtime: "Node 24.21.0", URL: "https://a.example/", Note: "n",
		Results:       map[string]e2e.Result{"ids/x": {Name: "x", Trace: []string{"GET A"}, Reason: "r", Failure: "f", Unfinished: true}},
		NotApplicable: map[string]string{"frames/y": "needs a document"},
	}
	const want = `{"name":"a","version":"1","runtime":"Node 24.21.0","url":"https://a.example/","note":"n","results":{` +
		`"frames/y":{"notApplicable":"needs a document"},` +
		`"ids/x":{"name":"x","trace":["GET A"],"reason":"r","failure":"f","unfinished":true}}}`
	got, err := json.Marshal(row)
	if err != nil || string(got) != want {
		t.Errorf("%s, %v, want\n%s", got, err, want)
	}
}

func TestTable(t *testing.T) {
	rows := []tested{
		{Name: "a", Version: "1", Runtime: "Node 24", Results: map[string]e2e.Result{
			"ids/x": {}, "ids/y": {Failure: "expected: …"}, "parsing/x": {Reason: "known"}, "parsing/y": {},
		}},
		{Name: "b", Version: "2", Runtime: "Go 1.26", Results: map[string]e2e.Result{"ids/x": {Unfinished: true, Failure: "hangs"}}},
	}
	const want = `| passed/applicable | a 1, Node 24 | b 2, Go 1.26 |
| --- | --- | --- |
| ids | 1/2 | 0/1 |
| parsing | 1/2 | – |
| all | 2/4 | 0/1 |
`
	var table strings.Builder
	if printTable(&table, rows); table.String() != want {
		t.Errorf("%s\nwant\n%s", table.String(), want)
	}
	var failures strings.Builder
	printFailures(&failures, rows)
	for _, part := range []string{"ids/y on a 1, Node 24\nexpected: …", "parsing/x on a 1, Node 24\nknown", "ids/x on b 2, Go 1.26\nhangs"} {
		if !strings.Contains(failures.String(), part) {
			t.Errorf("%q is not in\n%s", part, failures.String())
		}
	}
}
