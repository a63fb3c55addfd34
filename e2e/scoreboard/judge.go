package main

import (
	"regexp"
	"slices"
	"strings"

	"github.com/eventsource-wasm/eventsource-wasm/e2e"
)

// judge compares a result with what the standard requires or allows. A known difference is a failure too.
func judge(s Scenario, r e2e.Result) Outcome {
	o := Outcome{Verdict: Failed, Trace: r.Trace, Problem: r.Failure}
	switch {
	case r.Failure == "" && s.allows(r.Trace):
		o.Verdict = Passed
	case r.Failure == "" && r.Unfinished:
		o.Verdict = Hung
	}
	if slices.Equal(o.Trace, s.Expect) {
		o.Trace = nil // it equals the expected trace
	}
	return o
}

// allows reports whether the standard requires or allows the trace.
func (s Scenario) allows(trace []string) bool {
	trace = s.essence(trace)
	if slices.Equal(trace, s.essence(s.Expect)) || s.holdsOpen(trace) {
		return true
	}
	return slices.ContainsFunc(s.Allowed, func(a e2e.Allowance) bool {
		expect, then := s.essence(a.Expect), s.essence(a.Then)
		if len(trace) < len(expect) || !slices.Equal(trace[:len(expect)], expect) {
			return false
		}
		return !slices.ContainsFunc(trace[len(expect):], func(line string) bool { return !slices.Contains(then, line) })
	})
}

// holdsOpen reports whether the trace is as required, except that a failed source keeps its connection. To "fail the
// connection" (9.2.3) means to change the state, fire an event and not reconnect. The standard does not mention the
// response.
func (s Scenario) holdsOpen(trace []string) bool {
	const failed, closed, waits = "error CLOSED", "connection closed by the client", "still waiting for the client to close the connection"
	n := len(trace) - 1
	return n > 0 && n < len(s.Expect) && trace[n] == waits && s.Expect[n] == closed && s.Expect[n-1] == failed &&
		slices.Equal(trace[:n], s.essence(s.Expect[:n]))
}

// What every scenario shows counts only in the scenarios about it. Otherwise one missing header, or events without an
// origin, would be hundreds of failures.
var (
	usualHeaders = regexp.MustCompile(` (accept|cache-control|pragma): (missing|"[^"]*")`)
	eventOrigin  = regexp.MustCompile(` from \S*( CONNECTING| CLOSED)?$`)
)

// closedAtOnce reports whether the line is the request of a source that the scenario closes in the task that constructs it.
// The fetch begins in parallel, so the standard leaves open whether the request is seen. Other scenarios test that.
func (s Scenario) closedAtOnce(line string) bool {
	looks := s.File == "idl" || s.File == "construction"
	return looks && strings.HasPrefix(line, "not awaited: GET A") && !slices.ContainsFunc(s.Expect, func(line string) bool {
		return strings.HasPrefix(line, "GET ")
	})
}

// The source's state distinguishes a failure from a reconnection. It does not count in scenarios about parsing, and that it
// is OPEN during the event open counts only in scenarios about events.
var (
	states      = regexp.MustCompile(` (CONNECTING|OPEN|CLOSED)$`)
	stateOfOpen = regexp.MustCompile(`^((?:\S+: )?open) (CONNECTING|CLOSED)$`)
)

// aboutHeaders and aboutOrigin are the scenarios about the usual headers and about an event's origin.
var (
	aboutHeaders = []string{"headers/the request has the standard headers", "headers/the Referer sent to another origin is the page's origin",
		"headers/headers can replace Accept", "requests/no header is sent twice, and none describes a body"}
	aboutOrigin = []string{"redirects/messages after a redirect to another origin have that origin", "forbidden/a data URL opens a stream whose messages have the origin null",
		"crossorigin/CORS: a response that allows any origin opens the connection"}
)

// essence removes from a trace what the scenario is not about.
func (s Scenario) essence(trace []string) []string {
	var lines []string
	for _, line := range trace {
		if !s.closedAtOnce(line) {
			lines = append(lines, s.essenceOf(line))
		}
	}
	return lines
}

func (s Scenario) essenceOf(line string) string {
	if !slices.Contains(aboutHeaders, s.ID) {
		line = usualHeaders.ReplaceAllString(line, "")
	}
	if !slices.Contains(aboutOrigin, s.ID) {
		line = eventOrigin.ReplaceAllString(line, "$1")
	}
	if s.Group == "parsing" || s.Group == "ids" {
		line = states.ReplaceAllString(line, "")
	}
	if s.Group != "events" {
		line = stateOfOpen.ReplaceAllString(line, "$1")
	}
	return line
}

// explain adds the reason from differences.json, if the trace is the known one.
func explain(o *Outcome, id, family, engine string, known []e2e.Difference) {
	if o.Verdict == Passed {
		return
	}
	for _, d := range known {
		inEngine := len(d.Engines) == 0 || slices.Contains(d.Engines, engine)
		if d.Scenario == id && d.Implementation == family && inEngine && slices.Equal(d.Expect, o.Trace) {
			o.Reason = d.Reason
		}
	}
}
