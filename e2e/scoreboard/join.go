package main

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"

	"github.com/eventsource-wasm/eventsource-wasm/e2e"
)

// A joined file has results of a runner without a page, such as dist/node.json.
type joined struct {
	Implementations []joinedRow `json:"implementations"`
}

type joinedRow struct {
	Name    string                 `json:"name"`
	Version string                 `json:"version"`
	Runtime string                 `json:"runtime"` // such as Node 24.1.0
	URL     string                 `json:"url"`
	Note    string                 `json:"note"`
	Results map[string]joinedEntry `json:"results"` // by the ID of the scenario
}

// A joinedEntry is a result, or the reason why the scenario does not apply.
type joinedEntry struct {
	e2e.Result
	NotApplicable string `json:"notApplicable"`
}

// readRows reads another runner's results.
func readRows(path string, scenarios []Scenario) ([]*Implementation, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var file joined
	if err := json.Unmarshal(data, &file); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	var rows []*Implementation
	for _, row := range file.Implementations {
		rows = append(rows, row.implementation(scenarios))
	}
	return rows, nil
}

func (row joinedRow) implementation(scenarios []Scenario) *Implementation {
	i := &Implementation{
		ID:   slug(row.Name + "@" + strings.Fields(row.Runtime + " ?")[0]),
		Name: row.Name, Version: row.Version, Runtime: row.Runtime, Documentation: row.URL, Note: row.Note,
		Results: map[string]Outcome{},
	}
	for _, s := range scenarios {
		switch e, ok := row.Results[s.ID]; {
		case !ok:
			i.Results[s.ID] = Outcome{Verdict: NotApplicable, Reason: "It was not run."}
		case e.NotApplicable != "":
			i.Results[s.ID] = Outcome{Verdict: NotApplicable, Reason: e.NotApplicable}
		default:
			i.Results[s.ID] = judgeJoined(s, e.Result)
		}
	}
	return i
}

// differs is the start of a failure from harness/judge.js if the trace differs.
const differs = "expected:"

// judgeJoined judges a result that harness/judge.js has judged already, perhaps by an expectation reduced to what the
// runtime can show. A known difference passes there and fails here.
func judgeJoined(s Scenario, r e2e.Result) Outcome {
	asRequired := s.allows(r.Trace) && (r.Failure == "" || strings.HasPrefix(r.Failure, differs))
	o := Outcome{Verdict: Failed, Trace: r.Trace, Reason: r.Reason}
	switch {
	case asRequired, r.Failure == "" && r.Reason == "":
		o.Verdict, o.Trace, o.Reason = Passed, nil, ""
	case r.Unfinished:
		o.Verdict = Hung
	case !strings.HasPrefix(r.Failure, differs):
		o.Problem = r.Failure
	}
	return o
}
