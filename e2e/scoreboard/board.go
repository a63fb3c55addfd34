package main

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"

	"github.com/eventsource-wasm/eventsource-wasm/e2e"
)

// A Board is the content of scoreboard.json.
type Board struct {
	Date            string            `json:"date"`
	Suite           string            `json:"suite"`           // identifies this set of scenarios
	Files           []string          `json:"files,omitempty"` // of scenarios, if the board covers only a part of the suite
	Groups          []Group           `json:"groups"`
	Scenarios       []Scenario        `json:"scenarios"`
	Implementations []*Implementation `json:"implementations"`
}

// A Scenario describes a scenario, without results.
type Scenario struct {
	ID       string   `json:"id"` // file/name
	File     string   `json:"file"`
	Name     string   `json:"name"`
	Group    string   `json:"group"`
	Standard string   `json:"standard"` // the place in the standard
	Expect   []string `json:"expect"`   // the trace that it requires

	Allowed []e2e.Allowance `json:"allowed,omitempty"` // other traces that it leaves to the implementation

	Only    string            `json:"only,omitempty"`
	LeftOut map[string]string `json:"leftOut,omitempty"` // reasons, by engine
}

// An Implementation is one row of the board.
type Implementation struct {
	ID            string             `json:"id"` // the base name of its files
	Name          string             `json:"name"`
	Version       string             `json:"version"`
	Runtime       string             `json:"runtime"` // such as Chromium 156
	Documentation string             `json:"documentation"`
	Note          string             `json:"note,omitempty"`   // how it is used here
	Custom        bool               `json:"custom,omitempty"` // a user's own, which the documentation does not list
	Results       map[string]Outcome `json:"results"`          // by the ID of the scenario
	Groups        map[string]Count   `json:"groups"`
	Total         Count              `json:"total"` // over the groups that count
}

// A Verdict classifies a result.
type Verdict string

const (
	Passed        Verdict = "passed"
	Failed        Verdict = "failed"
	Hung          Verdict = "hung" // nothing more happened
	NotApplicable Verdict = "not applicable"
)

// An Outcome is the result of a scenario.
type Outcome struct {
	Verdict Verdict  `json:"verdict"`
	Trace   []string `json:"trace,omitempty"`
	Problem string   `json:"problem,omitempty"` // the exception that ended the run
	Reason  string   `json:"reason,omitempty"`  // why it fails or does not apply, if known
}

// A Count is how many scenarios passed, of those that apply.
type Count struct {
	Passed int `json:"passed"`
	All    int `json:"all"`
}

func (c *Count) add(v Verdict) {
	switch v {
	case Passed:
		c.Passed++
		c.All++
	case Failed, Hung:
		c.All++
	}
}

// count fills in the counts of all implementations. A scenario without a result is not counted.
func (b *Board) count() {
	counts := map[string]bool{}
	for _, g := range b.Groups {
		counts[g.ID] = g.Counts
	}
	for _, i := range b.Implementations {
		i.Groups, i.Total = map[string]Count{}, Count{}
		for _, s := range b.Scenarios {
			group := i.Groups[s.Group]
			group.add(i.Results[s.ID].Verdict)
			i.Groups[s.Group] = group
			if counts[s.Group] {
				i.Total.add(i.Results[s.ID].Verdict)
			}
		}
	}
}

// fingerprint identifies a set of scenarios: boards with the same fingerprint are comparable.
func fingerprint(scenarios []Scenario) string {
	hash := sha256.New()
	json.NewEncoder(hash).Encode(scenarios)
	return hex.EncodeToString(hash.Sum(nil)[:8])
}

// keep adds the implementations of an earlier board that this one lacks, if it is of the same scenarios.
func (b *Board) keep(earlier *Board) {
	if earlier.Suite != b.Suite {
		return
	}
	for _, i := range earlier.Implementations {
		if !slices.ContainsFunc(b.Implementations, func(ours *Implementation) bool { return ours.ID == i.ID }) {
			b.Implementations = append(b.Implementations, i)
		}
	}
	slices.SortStableFunc(b.Implementations, func(x, y *Implementation) int { return cmp.Compare(rank(x.ID), rank(y.ID)) })
}
