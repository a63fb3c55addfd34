package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/eventsource-wasm/eventsource-wasm/e2e"
)

// aPage is the maximum number of scenarios that a page runs, one after the other, until one fails.
const aPage = 12

// morePatience multiplies the patience of a second run.
const morePatience = 2

// A job has scenarios of one file for one page.
type job struct {
	implementation *measured
	file           string
	scenarios      []Scenario
	patience       int // moments without activity until a run counts as hung; see harness/patience.js

	// second marks a scenario that failed once and runs again in its own page.
	second bool

	// hung marks a scenario that hung the first time.
	hung bool

	// alone marks a scenario whose page stopped answering while others ran. Now it runs alone.
	alone bool
}

// measured is an implementation in a browser, with its results so far.
type measured struct {
	candidate
	results map[string]e2e.Result // by the ID of the scenario

	// How many scenarios hung the first time, and the second.
	hungAgain, recovered int
}

// After enough scenarios have hung twice and none has recovered, the implementation is not just slow. Scenarios that hang
// then do not run again.
const enough = 20

func (m *measured) isNotSlow() bool { return m.hungAgain >= enough && m.recovered == 0 }

// A queue hands out jobs and takes their results. A failed scenario runs once more, and the second result counts, so that a
// busy machine causes no failures.
type queue struct {
	patience int // of a first run

	mu      sync.Mutex
	waiting []*job
	running int
	alone   bool          // an alone job is running
	changed chan struct{} // closed and replaced at every change
	done    int
	all     int
	broken  error // ends the queue
}

func newQueue(patience int) *queue { return &queue{patience: patience, changed: make(chan struct{})} }

// add queues scenarios for an implementation.
func (q *queue) add(m *measured, scenarios []Scenario) {
	q.all += len(scenarios)
	for len(scenarios) > 0 {
		n := 1
		for n < min(len(scenarios), aPage) && scenarios[n].File == scenarios[0].File {
			n++
		}
		q.waiting = append(q.waiting, &job{implementation: m, file: scenarios[0].File, scenarios: scenarios[:n], patience: q.patience})
		scenarios = scenarios[n:]
	}
}

// mix interleaves the jobs of all implementations: some use the processor, and others only wait.
func (q *queue) mix() {
	turn := map[*job]int{}
	turns := map[*measured]int{}
	for _, j := range q.waiting {
		turn[j] = turns[j.implementation]
		turns[j.implementation]++
	}
	slices.SortStableFunc(q.waiting, func(a, b *job) int { return turn[a] - turn[b] })
}

// next waits for a job, and returns nil when all are done.
func (q *queue) next(ctx context.Context) (*job, error) {
	for {
		q.mu.Lock()
		j, wait := q.take()
		err := q.broken
		q.mu.Unlock()
		if err != nil || j != nil || wait == nil {
			return j, err
		}
		select {
		case <-wait:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// take returns a job, or a channel to wait for, or neither if all jobs are done.
func (q *queue) take() (*job, <-chan struct{}) {
	switch {
	case q.running == 0 && len(q.waiting) == 0:
		return nil, nil
	case len(q.waiting) == 0, q.alone, q.waiting[0].alone && q.running > 0:
		return nil, q.changed
	}
	j := q.waiting[0]
	q.waiting = q.waiting[1:]
	if j.hung && !j.alone && j.implementation.isNotSlow() {
		q.done++
		return q.take()
	}
	q.running++
	q.alone = j.alone
	return j, nil
}

// report takes the result of the first scenario of the job, and reports whether its page continues with the next.
func (q *queue) report(j *job, r e2e.Result) (proceed bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	s := j.scenarios[0]
	j.scenarios = j.scenarios[1:]
	verdict := judge(s, r).Verdict
	passed := verdict == Passed
	switch {
	case j.hung && passed:
		j.implementation.recovered++
	case j.hung && verdict == Hung:
		j.implementation.hungAgain++
	}
	if strings.HasPrefix(r.Failure, couldNotRun) && len(j.implementation.results) == 0 {
		q.broken = fmt.Errorf("%s cannot be measured: %s", j.implementation.name, r.Failure)
	}
	j.implementation.results[s.ID] = r
	if !passed && !j.second {
		q.waiting = append(q.waiting, &job{
			implementation: j.implementation, file: j.file, scenarios: []Scenario{s},
			patience: q.patience * morePatience, second: true, hung: verdict == Hung,
		})
	} else {
		q.done++
	}
	return passed
}

// couldNotRun is the start of the failure if the implementation could not be loaded; see harness/measure.js.
const couldNotRun = "The scenario could not run: "

// finish takes a job back. Its remaining scenarios run in another page.
func (q *queue) finish(j *job) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(j.scenarios) > 0 {
		q.waiting = append([]*job{j}, q.waiting...)
	}
	q.leave()
}

// lose takes a job back whose page stopped answering. The running scenario may be the cause, so it runs again alone. If it
// was alone, it is the cause.
func (q *queue) lose(j *job) {
	q.mu.Lock()
	defer q.mu.Unlock()
	suspect := j.scenarios[0]
	rest := j.scenarios[1:]
	if len(rest) > 0 {
		q.waiting = append([]*job{{implementation: j.implementation, file: j.file, scenarios: rest, patience: j.patience, second: j.second}}, q.waiting...)
	}
	if j.alone {
		q.done++
		j.implementation.results[suspect.ID] = e2e.Result{Name: suspect.Name, Failure: "The page stopped answering."}
	} else {
		q.waiting = append(q.waiting, &job{
			implementation: j.implementation, file: j.file, scenarios: []Scenario{suspect},
			patience: q.patience * morePatience, second: true, alone: true,
		})
	}
	q.leave()
}

func (q *queue) leave() {
	q.running--
	q.alone = false
	close(q.changed)
	q.changed = make(chan struct{})
}

// progress prints the number of finished scenarios from time to time, until ctx is done.
func (q *queue) progress(ctx context.Context, w io.Writer) {
	for tick := time.Tick(20 * time.Second); ; {
		select {
		case <-tick:
			q.mu.Lock()
			fmt.Fprintf(w, "%d of %d scenarios\n", q.done, q.all)
			q.mu.Unlock()
		case <-ctx.Done():
			return
		}
	}
}
