package main

import (
	"embed"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/eventsource-wasm/eventsource-wasm/e2e/bench/peers"
)

//go:embed adapters
var adapters embed.FS

// A candidate is an implementation that the board can measure.
type candidate struct {
	id            string
	name          string
	version       string
	documentation string
	note          string
	load          string // for harness/implementation.js: native, a way to run ours, or a URL

	// pkg is the npm package, if any. Its adapter is named after the candidate's id.
	pkg string

	// applies returns why a scenario does not apply, or an empty string. It may be nil.
	applies func(Scenario) (reason string)
}

const ours = "https://github.com/eventsource-wasm/eventsource-wasm"

// candidates are in the order of the board.
var candidates = []candidate{
	{id: "native", name: "native", load: "native", documentation: "https://html.spec.whatwg.org/multipage/server-sent-events.html",
		applies: func(s Scenario) string {
			if s.Group == "bfcache" {
				return "The page's events are simulated, and a browser ignores them."
			}
			return ""
		}},
	{id: "eventsource-wasm-go", name: "eventsource-wasm", load: "go", documentation: ours, note: "on Go from the first byte on"},
	{id: "eventsource-wasm-script", name: "eventsource-wasm, script", load: "scripted", documentation: ours, note: "without its WebAssembly module"},
	{id: "eventsource-wasm-worker", name: "eventsource-wasm, worker", load: "worker", documentation: ours, note: "with the option worker"},
	{id: "eventsource", name: "eventsource", pkg: "eventsource", applies: sendsNoHeaders("The option is a fetch function that adds headers.")},
	{id: "event-source-polyfill", name: "event-source-polyfill", pkg: "event-source-polyfill"},
	{id: "extended-eventsource", name: "extended-eventsource", pkg: "extended-eventsource"},
	{id: "sse.js", name: "sse.js", pkg: "sse.js", note: "with the option autoReconnect; fires no error when a stream ends, which many scenarios wait for"},
	{id: "reconnecting-eventsource", name: "reconnecting-eventsource", pkg: "reconnecting-eventsource", note: "around the native one"},
	{id: "fetch-event-source", name: "@microsoft/fetch-event-source", pkg: "@microsoft/fetch-event-source",
		note: "a function, measured by an adapter in what the function decides", applies: ofFunction},
}

func sendsNoHeaders(reason string) func(Scenario) string {
	return func(s Scenario) string {
		if s.Group == "headers" {
			return reason
		}
		return ""
	}
}

// ofFunction excludes scenarios that the adapter of a function decides or makes impossible.
func ofFunction(s Scenario) string {
	isEmpty := func(line string) bool { return emptyData.MatchString(line) }
	switch {
	case !slices.Contains([]string{"parsing", "ids", "reconnection"}, s.Group):
		return "The adapter decides this, not the library."
	case strings.HasSuffix(s.Name, "clears the last event ID"), strings.HasPrefix(s.Name, "an id is kept across reconnections"):
		return "The library does not distinguish an empty ID from no ID, so the adapter cannot."
	case slices.ContainsFunc(s.Expect, isEmpty), strings.HasPrefix(s.Name, "a block without data dispatches no event"):
		return "The library does not distinguish empty data from no data, so the adapter drops both."
	}
	return ""
}

// emptyData matches the line of an event with empty data.
var emptyData = regexp.MustCompile(`^(\S+: )?\S+ ""( id .*)?$`)

// rank returns the position of an implementation on the board. Other browsers follow Chromium.
func rank(id string) int {
	for i, c := range candidates {
		if id == c.id || strings.HasPrefix(id, c.id+"@") {
			return i
		}
	}
	return len(candidates)
}

// custom returns the candidate for the URL or file of a script.
func custom(implementation string) (candidate, []byte, error) {
	if script, err := os.ReadFile(implementation); err == nil {
		base := path.Base(filepath.ToSlash(implementation))
		return candidate{id: slug(base), name: base, load: scriptPath(slug(base))}, script, nil
	}
	u, err := url.Parse(implementation)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" {
		return candidate{}, nil, fmt.Errorf("%q is neither a file nor an http or https URL", implementation)
	}
	return candidate{id: slug(u.Host + u.Path), name: path.Base(u.Path), documentation: implementation, load: implementation}, nil, nil
}

// slug makes a file name from text.
func slug(text string) string {
	return "impl-" + strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '.' || r == '-' {
			return r
		}
		return '-'
	}, text)
}

func scriptPath(id string) string { return "/dist/scoreboard/" + id + ".mjs" }

// complete fills in the candidates' versions and documentation from their packages.
func complete(of []candidate, dist string) error {
	for i := range of {
		c := &of[i]
		switch {
		case c.pkg != "":
			version, err := peers.Version(c.pkg)
			if err != nil {
				return err
			}
			c.version, c.load = version, scriptPath(c.id)
			c.documentation = "https://www.npmjs.com/package/" + c.pkg
		case c.documentation == ours:
			data, err := os.ReadFile(filepath.Join(dist, "package.json"))
			if err != nil {
				return fmt.Errorf("%w: run `make build` first, or set -dist", err)
			}
			var manifest struct{ Version string }
			if err := json.Unmarshal(data, &manifest); err != nil {
				return fmt.Errorf("%s: %w", filepath.Join(dist, "package.json"), err)
			}
			c.version = manifest.Version
		}
	}
	return nil
}
