package main

import (
	"bytes"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"text/tabwriter"
)

//go:embed templates
var templateFiles embed.FS

//go:embed templates/style.css
var style string

var templates = template.Must(template.New("").Funcs(template.FuncMap{
	"style": func() template.CSS { return template.CSS(style) },
}).ParseFS(templateFiles, "templates/*.html"))

// write writes the board as scoreboard.html, .json and .svg, and a page and a badge for each implementation.
func write(b *Board, dir string) error {
	data, err := json.MarshalIndent(b, "", " ")
	if err != nil {
		return err
	}
	files := map[string][]byte{"scoreboard.json": data, "scoreboard.svg": picture(b)}
	if files["scoreboard.html"], err = execute("board.html", boardView(b)); err != nil {
		return err
	}
	for _, i := range b.Implementations {
		files[fileOf(i.ID, "svg")] = badge(b.label(), i.Total)
		if files[fileOf(i.ID, "html")], err = execute("implementation.html", implementationView(b, i)); err != nil {
			return err
		}
	}
	for name, content := range files {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, content, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// label returns the text of a badge.
func (b *Board) label() string {
	if b.Files == nil {
		return "EventSource conformance"
	}
	return "EventSource conformance in " + strings.Join(b.Files, ", ")
}

func fileOf(id, extension string) string { return "scoreboard/" + id + "." + extension }

func execute(name string, view any) ([]byte, error) {
	var out bytes.Buffer
	err := templates.ExecuteTemplate(&out, name, view)
	return out.Bytes(), err
}

func readBoard(path string) (*Board, error) {
	var b Board
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return &b, nil
	}
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(data, &b); err != nil {
		return nil, fmt.Errorf("%s: %w: remove it to measure everything again", path, err)
	}
	return &b, nil
}

type boardPage struct {
	Date     string
	Part     string // the files of scenarios, if not all
	Counting int
	Groups   []Group
	Rows     []row
}

type row struct {
	Name, Version, Beside, File string
	Total                       cell
	Cells                       []cell
}

type cell struct{ Class, Label, Text, Href string }

func boardView(b *Board) boardPage {
	view := boardPage{Date: b.Date, Part: strings.Join(b.Files, ", "), Groups: b.Groups, Counting: b.counting()}
	for _, i := range b.Implementations {
		file := url.PathEscape(i.ID)
		r := row{Name: i.Name, Version: i.Version, Beside: i.beside(), File: "scoreboard/" + file + ".html"}
		r.Total = cell{"total " + class(i.Total), "Total", i.Total.String(), r.File}
		for _, g := range b.Groups {
			c := cell{class(i.Groups[g.ID]), g.Title, i.Groups[g.ID].String(), r.File + "#" + g.ID}
			if !g.Counts {
				c.Class += " aside"
			}
			if count := i.Groups[g.ID]; count.Passed == count.All {
				c.Href = ""
			}
			r.Cells = append(r.Cells, c)
		}
		view.Rows = append(view.Rows, r)
	}
	return view
}

// beside returns the text that distinguishes rows of the same name.
func (i *Implementation) beside() string {
	var parts []string
	if !strings.HasPrefix(i.Runtime, i.Name+" ") {
		parts = append(parts, i.Runtime)
	}
	if i.Note != "" {
		parts = append(parts, i.Note)
	}
	return strings.Join(parts, ", ")
}

// counting returns the number of scenarios that count toward the total.
func (b *Board) counting() (n int) {
	counts := map[string]bool{}
	for _, g := range b.Groups {
		counts[g.ID] = g.Counts
	}
	for _, s := range b.Scenarios {
		if counts[s.Group] {
			n++
		}
	}
	return n
}

func (c Count) String() string {
	if c.All == 0 {
		return "–"
	}
	return fmt.Sprintf("%d/%d", c.Passed, c.All)
}

// class returns the CSS class for a count.
func class(c Count) string {
	switch {
	case c.All == 0:
		return "none"
	case c.Passed == c.All:
		return "all"
	case c.Passed*10 >= c.All*8:
		return "some"
	}
	return "few"
}

type implementationPage struct {
	*Implementation
	Date, Badge   string
	Groups        []groupView
	NotApplicable []notApplicable
}

type groupView struct {
	Group
	Text, Class string
	Failures    []failure
}

type failure struct {
	ID, Name, Standard, Link string
	Reason, Problem          string
	Required, Hung           bool
	Expect                   []string
	Trace                    []line
}

type line struct {
	Text    string
	Differs bool
}

// notApplicable has a reason, and the groups and numbers of its scenarios.
type notApplicable struct{ Reason, Text string }

func implementationView(b *Board, i *Implementation) implementationPage {
	view := implementationPage{Implementation: i, Date: b.Date, Badge: url.PathEscape(i.ID) + ".svg"}
	titles := map[string]string{}
	for _, g := range b.Groups {
		titles[g.ID] = g.Title
		v := groupView{Group: g, Text: i.Groups[g.ID].String(), Class: class(i.Groups[g.ID])}
		for _, s := range b.Scenarios {
			o := i.Results[s.ID]
			if s.Group == g.ID && (o.Verdict == Failed || o.Verdict == Hung) {
				f := failureView(s, o)
				f.Required = g.Counts
				v.Failures = append(v.Failures, f)
			}
		}
		view.Groups = append(view.Groups, v)
	}
	view.NotApplicable = reasons(b, i, titles)
	return view
}

func failureView(s Scenario, o Outcome) failure {
	f := failure{
		ID: s.ID, Name: s.Name, Standard: s.Standard, Link: link(s.Standard), Reason: o.Reason, Problem: o.Problem,
		Hung: o.Verdict == Hung, Expect: s.Expect,
	}
	expect, trace := s.Expect, o.Trace
	if trace == nil {
		trace = expect // the trace was as expected until the problem
	}
	for n := 0; n < len(trace); n++ {
		text := trace[n]
		differs := n >= len(expect) || s.essenceOf(text) != s.essenceOf(expect[n])
		if again := repeats(trace[n:]); n >= len(expect) && again > fewRepeats {
			text = fmt.Sprintf("%s (%d times)", text, again)
			n += again - 1
		}
		f.Trace = append(f.Trace, line{text, differs && !s.closedAtOnce(trace[n])})
	}
	return f
}

// fewRepeats is the number of repeats of an unexpected line that are shown in full.
const fewRepeats = 3

// repeats returns how often the first line repeats at the start of the trace.
func repeats(trace []string) (n int) {
	for n < len(trace) && trace[n] == trace[0] {
		n++
	}
	return n
}

// sections maps section numbers of the HTML Standard to IDs.
var sections = map[string]string{
	"9.2.1": "server-sent-events-intro", "9.2.2": "the-eventsource-interface", "9.2.3": "sse-processing-model",
	"9.2.4": "the-last-event-id-header", "9.2.5": "parsing-an-event-stream", "9.2.6": "event-stream-interpretation",
	"9.2.9": "garbage-collection",
}

var sectionNumber = regexp.MustCompile(`9\.2\.\d`)

// link returns the URL of the first section that a scenario names, if it is about event streams.
func link(standard string) string {
	if id := sections[sectionNumber.FindString(standard)]; id != "" {
		return "https://html.spec.whatwg.org/multipage/server-sent-events.html#" + id
	}
	return ""
}

func reasons(b *Board, i *Implementation, titles map[string]string) (found []notApplicable) {
	counts, order := map[string]map[string]int{}, []string{}
	for _, s := range b.Scenarios {
		o := i.Results[s.ID]
		if o.Verdict != NotApplicable {
			continue
		}
		if counts[o.Reason] == nil {
			counts[o.Reason] = map[string]int{}
			order = append(order, o.Reason)
		}
		counts[o.Reason][s.Group]++
	}
	for _, reason := range order {
		var parts []string
		for _, g := range b.Groups {
			if n := counts[reason][g.ID]; n > 0 {
				parts = append(parts, fmt.Sprintf("%s: %d", titles[g.ID], n))
			}
		}
		found = append(found, notApplicable{reason, strings.Join(parts, ", ")})
	}
	return found
}

// text returns the summary for the terminal.
func (b *Board) text() string {
	var out strings.Builder
	w := tabwriter.NewWriter(&out, 0, 0, 2, ' ', 0)
	for _, i := range b.Implementations {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", i.Name, i.Version, i.Runtime, i.Total)
	}
	w.Flush()
	return out.String()
}
