package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/eventsource-wasm/eventsource-wasm/e2e"
)

func scenariosOf(file string, n int) []Scenario {
	var scenarios []Scenario
	for i := range n {
		name := fmt.Sprint(i)
		scenarios = append(scenarios, Scenario{ID: file + "/" + name, File: file, Name: name, Expect: []string{"open"}})
	}
	return scenarios
}

func passes(s Scenario) e2e.Result { return e2e.Result{Name: s.Name, Trace: s.Expect} }

func fails(s Scenario) e2e.Result { return e2e.Result{Name: s.Name, Trace: []string{"error CLOSED"}} }

// nextJob returns the next job, or nil if none is available now.
func nextJob(t *testing.T, q *queue) *job {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	j, err := q.next(ctx)
	if err != nil && !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	return j
}

func TestQueueRunsEverythingOnce(t *testing.T) {
	q, m := newQueue(20), &measured{results: map[string]e2e.Result{}}
	q.add(m, append(scenariosOf("ids", aPage+1), scenariosOf("idl", 2)...))
	var sizes []int
	for j := nextJob(t, q); j != nil; j = nextJob(t, q) {
		sizes = append(sizes, len(j.scenarios))
		for len(j.scenarios) > 0 {
			if !q.report(j, passes(j.scenarios[0])) {
				t.Fatal("the page does not continue after a pass")
			}
		}
		q.finish(j)
	}
	if fmt.Sprint(sizes) != fmt.Sprint([]int{aPage, 1, 2}) || len(m.results) != aPage+3 || q.done != q.all {
		t.Errorf("pages of %v, %d results, %d of %d done", sizes, len(m.results), q.done, q.all)
	}
	if j, err := q.next(t.Context()); j != nil || err != nil {
		t.Errorf("after the end: %v, %v", j, err)
	}
}

func TestQueueMixesImplementations(t *testing.T) {
	q := newQueue(20)
	one, two := &measured{results: map[string]e2e.Result{}}, &measured{results: map[string]e2e.Result{}}
	scenarios := append(scenariosOf("ids", 1), scenariosOf("idl", 1)...)
	q.add(one, scenarios)
	q.add(two, scenarios)
	q.mix()
	for n, want := range []*measured{one, two, one, two} {
		if j := nextJob(t, q); j.implementation != want || j.file != []string{"ids", "idl"}[n/2] {
			t.Errorf("the job %d is of %s", n, j.file)
		}
	}
}

// A failed scenario runs again in its own page, after all others and with more patience. The second result counts.
func TestQueueRunsFailuresTwice(t *testing.T) {
	for name, second := range map[string]func(Scenario) e2e.Result{"passes": passes, "fails": fails} {
		t.Run(name, func(t *testing.T) {
			q, m := newQueue(20), &measured{results: map[string]e2e.Result{}}
			q.add(m, scenariosOf("ids", 3))
			j := nextJob(t, q)
			q.report(j, passes(j.scenarios[0]))
			if q.report(j, fails(j.scenarios[0])) {
				t.Error("the page continues after a failure")
			}
			q.finish(j)
			rest := nextJob(t, q)
			if len(rest.scenarios) != 1 || rest.scenarios[0].Name != "2" || rest.second {
				t.Fatalf("the rest of the page is %+v", rest)
			}
			q.report(rest, passes(rest.scenarios[0]))
			q.finish(rest)
			again := nextJob(t, q)
			if again == nil || !again.second || again.patience != 20*morePatience || again.scenarios[0].Name != "1" || q.done != 2 {
				t.Fatalf("the second run is %+v, %d are done", again, q.done)
			}
			s := again.scenarios[0]
			q.report(again, second(s))
			q.finish(again)
			if got, want := m.results[s.ID].Trace[0], second(s).Trace[0]; got != want || q.done != 3 || nextJob(t, q) != nil {
				t.Errorf("the result is %q, want %q; %d are done", got, want, q.done)
			}
		})
	}
}

// If an implementation hangs in every scenario, hung scenarios do not run again. Other failures still do.
func TestQueueRepeatsEnough(t *testing.T) {
	hangs := func(s Scenario) e2e.Result {
		return e2e.Result{Name: s.Name, Trace: []string{"still waiting"}, Unfinished: true}
	}
	for name, recovers := range map[string]bool{"none recovers": false, "one recovers": true} {
		t.Run(name, func(t *testing.T) {
			q, m := newQueue(10), &measured{results: map[string]e2e.Result{}}
			q.add(m, scenariosOf("ids", enough+10))
			hung, failed, repeated := 0, 0, 0
			for j := nextJob(t, q); j != nil; j = nextJob(t, q) {
				s := j.scenarios[0]
				switch {
				case !j.second && s.Name == "1":
					q.report(j, fails(s))
				case j.second && recovers && hung == 0:
					hung++
					q.report(j, passes(s))
				default:
					q.report(j, hangs(s))
				}
				if j.second {
					repeated++
				}
				if j.second && s.Name == "1" {
					failed++
				}
				q.finish(j)
			}
			if all := enough + 10; failed != 1 || q.done != all || recovers != (repeated == all) {
				t.Errorf("%d were repeated, %d of them had failed, %d are done", repeated, failed, q.done)
			}
		})
	}
}

func TestQueueWaitsForWhatRuns(t *testing.T) {
	q, m := newQueue(20), &measured{results: map[string]e2e.Result{}}
	q.add(m, scenariosOf("ids", 1))
	j := nextJob(t, q)
	waiting := make(chan *job)
	go func() {
		next, _ := q.next(t.Context())
		waiting <- next
	}()
	q.report(j, fails(j.scenarios[0]))
	q.finish(j)
	if next := <-waiting; next == nil || !next.second {
		t.Errorf("the second run did not reach the stage that waited: %+v", next)
	}
}

// A page that stops answering blocks the other pages of its browser. Each of their scenarios then runs alone to find the
// cause.
func TestQueueFindsWhatBlocksThePage(t *testing.T) {
	q, m := newQueue(20), &measured{results: map[string]e2e.Result{}}
	q.add(m, scenariosOf("ids", 2))
	q.add(m, scenariosOf("idl", 1))
	blocked, beside := nextJob(t, q), nextJob(t, q)
	q.lose(blocked)
	q.lose(beside)
	rest := nextJob(t, q)
	if rest.alone || rest.scenarios[0].ID != "ids/1" {
		t.Fatalf("the job that had not begun is %+v", rest)
	}
	if j := nextJob(t, q); j != nil {
		t.Fatalf("%+v runs beside another job, want it alone", j)
	}
	q.report(rest, passes(rest.scenarios[0]))
	q.finish(rest)
	first := nextJob(t, q)
	if !first.alone || first.scenarios[0].ID != "ids/0" || nextJob(t, q) != nil {
		t.Fatalf("first alone is %+v", first)
	}
	q.lose(first)
	second := nextJob(t, q)
	if second == nil || !second.alone {
		t.Fatalf("second alone is %+v", second)
	}
	q.report(second, passes(second.scenarios[0]))
	q.finish(second)
	if r := m.results["ids/0"]; !strings.Contains(r.Failure, "stopped answering") || nextJob(t, q) != nil || q.done != q.all {
		t.Errorf("the cause has the result %+v; %d of %d are done", r, q.done, q.all)
	}
}

func TestQueueEndsWhenImplementationFailsToLoad(t *testing.T) {
	q, m := newQueue(20), &measured{candidate: candidate{name: "mine"}, results: map[string]e2e.Result{}}
	q.add(m, scenariosOf("ids", 20))
	j := nextJob(t, q)
	q.report(j, e2e.Result{Failure: couldNotRun + "TypeError: Failed to fetch"})
	q.finish(j)
	if _, err := q.next(t.Context()); err == nil || !strings.Contains(err.Error(), "mine cannot be measured") {
		t.Errorf("error %v", err)
	}
}
