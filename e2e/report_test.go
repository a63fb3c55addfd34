package e2e

import (
	_ "embed"
	"encoding/json"
	"flag"
	"html/template"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

var (
	reportDir = flag.String("report", "", "write conformance.json and conformance.html to this `directory`")
	only      = flag.String("impl", "", "run the scenarios on this `implementation` only, native or wasm")
)

// A conformance is what a run of all scenarios has shown.
type conformance struct {
	Browser         string            `json:"browser"`
	Date            string            `json:"date"`
	Implementations []string          `json:"implementations"`
	Totals          map[string]totals `json:"totals"` // by implementation
	Files           []reportedFile    `json:"files"`

	mu sync.Mutex
	at map[string]*reportedScenario
}

type totals struct {
	AsTheStandard int `json:"asTheStandard"`
	Explained     int `json:"explained"`
	Unexplained   int `json:"unexplained"`
}

type reportedFile struct {
	Name      string              `json:"name"`
	Scenarios []*reportedScenario `json:"scenarios"`
}

type reportedScenario struct {
	Name     string            `json:"name"`
	Standard string            `json:"standard"`
	Expect   []string          `json:"expect"`
	Results  map[string]report `json:"results"` // by implementation
}

func newConformance(scenarios []scenario) *conformance {
	c := &conformance{Implementations: chosenImplementations(), at: map[string]*reportedScenario{}}
	for _, s := range scenarios {
		if len(c.Files) == 0 || c.Files[len(c.Files)-1].Name != s.File {
			c.Files = append(c.Files, reportedFile{Name: s.File})
		}
		r := &reportedScenario{s.Name, s.Standard, s.Expect, map[string]report{}}
		c.at[s.id()] = r
		file := &c.Files[len(c.Files)-1]
		file.Scenarios = append(file.Scenarios, r)
	}
	return c
}

func chosenImplementations() []string {
	if *only != "" {
		return []string{*only}
	}
	return implementations
}

func (c *conformance) add(s scenario, implementation string, r report) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at[s.id()].Results[implementation] = r
}

// write counts the results and writes both files.
func (c *conformance) write(t *testing.T, dir string) {
	c.Browser, c.Date = browserVersion(), time.Now().UTC().Format(time.DateOnly)
	c.Totals = map[string]totals{}
	for _, s := range c.at {
		for implementation, r := range s.Results {
			sum := c.Totals[implementation]
			switch r.Outcome() {
			case "unexplained":
				sum.Unexplained++
			case "explained":
				sum.Explained++
			default:
				sum.AsTheStandard++
			}
			c.Totals[implementation] = sum
		}
	}
	data, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	var page strings.Builder
	if err := conformancePage.Execute(&page, c); err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{"conformance.json": string(data) + "\n", "conformance.html": page.String()} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
			t.Error(err)
		}
	}
}

// Outcome is as, explained or unexplained.
func (r report) Outcome() string {
	switch {
	case r.Failure != "":
		return "unexplained"
	case r.Reason != "":
		return "explained"
	}
	return "as"
}

func browserVersion() string {
	path, err := chromium()
	if err != nil {
		return "unknown"
	}
	version, err := exec.Command(path, "--version").Output()
	if err != nil {
		return path
	}
	return strings.TrimSpace(string(version))
}

//go:embed report.html
var conformanceHTML string

var conformancePage = template.Must(template.New("conformance").Funcs(template.FuncMap{
	"lines": func(lines []string) string { return strings.Join(lines, "\n") },
	"title": func(implementation string) string {
		return map[string]string{"native": "Native", "wasm": "eventsource-wasm"}[implementation]
	},
}).Parse(conformanceHTML))
