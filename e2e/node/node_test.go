package main

import (
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/eventsource-wasm/eventsource-wasm/e2e"
)

// patience ends a scenario that hangs and measures nothing.
const patience = 50 * time.Second

// Ours passes every scenario that applies in the Node.js that is installed, or differences.json says why not: on script,
// as a program imports it, and on Go.
func TestOurs(t *testing.T) {
	requireNode(t)
	root, err := findRoot()
	if err != nil {
		t.Fatal(err)
	}
	s := newSuite(root, patience)
	t.Cleanup(s.close)
	chosen, err := find("ours,ours-go")
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range chosen {
		t.Run(i.id, func(t *testing.T) { s.check(t, i.in(root)) })
	}
}

// check runs what applies and fails for each failure. It runs nothing twice: what fails sometimes is a bug.
func (s *suite) check(t *testing.T, i implementation) {
	scenarios, err := s.catalogue(t.Context(), i)
	if err != nil {
		t.Fatal(err)
	}
	groups := byFile(scenarios)
	results := map[string]e2e.Result{}
	err = s.runAll(t.Context(), i, groups, 4, func(file string, r e2e.Result) { results[file+"/"+r.Name] = r })
	if err != nil {
		t.Fatal(err)
	}
	for _, g := range groups {
		for _, name := range g.names {
			t.Run(g.file+"/"+name, func(t *testing.T) {
				r, ran := results[g.file+"/"+name]
				switch {
				case !ran:
					t.Error("it did not run")
				case r.Failure != "":
					t.Error(r.Failure)
				case r.Reason != "":
					t.Logf("differs: %s", r.Reason)
				}
			})
		}
	}
	t.Logf("%d of %d scenarios apply", len(results), len(scenarios))
}

// requireNode skips the test where there is no Node.js, and fails where it should have been installed.
func requireNode(t *testing.T) {
	t.Helper()
	if _, err := os.Stat("../../dist/eventsource.mjs"); err != nil {
		t.Fatalf("%v: run `make build` first", err)
	}
	const newEnough = `const [major, minor] = process.versions.node.split("."); process.exit(major > 20 || (major == 20 && minor >= 19) ? 0 : 1)`
	err := exec.Command("node", "--eval", newEnough).Run()
	switch {
	case err == nil:
	case os.Getenv("CI") != "":
		t.Fatalf("%v: .ci/node should have installed Node.js 20.19 or later", err)
	default:
		t.Skipf("the scenarios do not run outside of a browser: %v; install Node.js 20.19 or later", err)
	}
}
