package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
)

// A Lab serves the scenarios of one page, for a program that opens the page and takes its reports itself. Like the labs of
// a [Suite], it is only for browsers on this machine.
type Lab struct {
	lab     *lab
	proceed context.CancelFunc // lets the page continue after the previous report
}

// OpenLab opens a lab on 127.0.0.1. Files answers the paths outside /stream/. It must include [Pages].
func OpenLab(files http.Handler) (*Lab, error) {
	l, err := newLab(files, "127.0.0.1", "127.0.0.1")
	if err != nil {
		return nil, err
	}
	return &Lab{l, func() {}}, nil
}

// Page returns the URL of a page of the lab, which finds the lab by its query.
func (l *Lab) Page(path string, query url.Values) string {
	query.Set("control", l.lab.url("control"))
	return l.lab.url("A") + path + "?" + query.Encode()
}

// Next lets the page continue after the previous report, and returns the next one.
func (l *Lab) Next(ctx context.Context) (Result, error) {
	l.proceed()
	select {
	case r := <-l.lab.reports:
		l.proceed = r.dealtWith
		return r.Result, nil
	case <-ctx.Done():
		return Result{}, context.Cause(ctx)
	}
}

// Close ends all connections of the lab.
func (l *Lab) Close() {
	l.proceed()
	l.lab.close()
}

// Pages serves the pages of a lab. Dist serves the files of dist/.
func Pages(dist http.Handler) http.Handler {
	s := Suite{Dist: dist}
	return s.pages()
}

// Files are the scenarios and what runs them, as Pages serves them.
func Files() fs.FS { return files }

// A Difference is what an implementation is known to do instead of what the standard requires.
type Difference struct {
	Scenario       string   `json:"scenario"`
	Implementation string   `json:"implementation"`
	Engines        []string `json:"engines"` // empty: all
	Expect         []string `json:"expect"`
	Reason         string   `json:"reason"`
	Page           string   `json:"page"` // about the engine's own EventSource, in docs/ or a section of docs/engines.md
}

// Differences returns the rows of differences.json.
func Differences() ([]Difference, error) {
	var rows []Difference
	err := read("differences.json", &rows)
	return rows, err
}

// An Allowance is another trace of a scenario that the standard leaves to the implementation.
type Allowance struct {
	Scenario string   `json:"scenario"`
	Expect   []string `json:"expect"`
	Then     []string `json:"then"`     // lines that may come after it, any number of times
	Standard string   `json:"standard"` // the words that allow it
}

// Allowances returns the rows of allowed.json.
func Allowances() ([]Allowance, error) {
	var rows []Allowance
	err := read("allowed.json", &rows)
	return rows, err
}

func read(name string, rows any) error {
	data, err := files.ReadFile(name)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, rows); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}
