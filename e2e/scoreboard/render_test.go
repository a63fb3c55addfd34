package main

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// hostile is text that an implementation may use as its name, exception or trace.
const hostile = `</pre></script><script>alert(1)</script><img src=x onerror=alert(2)>"'&|` + "`*[x](javascript:alert(3))"

// boardOf has one scenario of each verdict.
func boardOf(implementation *Implementation) *Board {
	b := &Board{Date: "2026-11-26", Suite: "x", Groups: groups, Implementations: []*Implementation{implementation}}
	implementation.Results = map[string]Outcome{}
	for verdict, o := range map[Verdict]Outcome{
		Passed:        {},
		Failed:        {Trace: []string{"GET A", "message " + hostile}, Problem: hostile, Reason: hostile},
		Hung:          {Trace: []string{"still waiting for " + hostile}},
		NotApplicable: {Reason: hostile},
	} {
		o.Verdict = verdict
		s := Scenario{ID: "ids/" + string(verdict) + hostile, File: "ids", Name: string(verdict) + hostile, Group: "ids",
			Standard: hostile, Expect: []string{"GET A", hostile}}
		b.Scenarios = append(b.Scenarios, s)
		implementation.Results[s.ID] = o
	}
	b.Scenarios = append(b.Scenarios, Scenario{ID: "given/x", Group: "stream"})
	implementation.Results["given/x"] = Outcome{Verdict: Failed, Trace: []string{}}
	b.count()
	return b
}

func read(t *testing.T, folder, name string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(folder, filepath.FromSlash(name)))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestFiles(t *testing.T) {
	b := boardOf(&Implementation{ID: "impl-x", Name: hostile, Version: hostile, Runtime: hostile, Note: hostile, Documentation: "javascript:alert(1)"})
	dir := t.TempDir()
	if err := write(b, dir); err != nil {
		t.Fatal(err)
	}
	if total := b.Implementations[0].Total; total != (Count{1, 3}) {
		t.Errorf("the total is %v, want it without inapplicable scenarios and without the group that does not count", total)
	}
	pages := map[string][]string{
		"scoreboard.html":        {"1/3", "0/1", "of 4 scenarios", `href="scoreboard/impl-x.html#ids"`},
		"scoreboard/impl-x.html": {"failed", "hung", "until it hung", "<mark>! message", "1/3", "does not count toward the total"},
		"scoreboard/impl-x.svg":  {"33.3%"},
		"scoreboard.svg":         {"33.3%", "1/3"},
	}
	for name, parts := range pages {
		text := read(t, dir, name)
		for _, part := range parts {
			if !strings.Contains(text, part) {
				t.Errorf("%s lacks %q", name, part)
			}
		}
		for _, part := range []string{"<script", "<img src=x", "javascript:alert(1)\"", "onerror=alert(2)>\""} {
			if strings.Contains(text, part) {
				t.Errorf("%s contains %q unescaped", name, part)
			}
		}
	}
	for _, name := range []string{"scoreboard/impl-x.svg", "scoreboard.svg"} {
		checkXML(t, name, read(t, dir, name))
	}
	var again Board
	if err := json.Unmarshal([]byte(read(t, dir, "scoreboard.json")), &again); err != nil || len(again.Scenarios) != 5 ||
		again.Implementations[0].Results["ids/passed"+hostile].Verdict != Passed {
		t.Errorf("scoreboard.json: %v", err)
	}
}

func checkXML(t *testing.T, name, text string) {
	t.Helper()
	for decoder := xml.NewDecoder(strings.NewReader(text)); ; {
		token, err := decoder.Token()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if element, ok := token.(xml.StartElement); ok && element.Name.Local == "script" {
			t.Errorf("%s has a script", name)
		}
	}
}

func TestRepeatedLines(t *testing.T) {
	s := Scenario{Expect: []string{"GET A", "GET A", "GET A", "GET A", "GET A"}}
	for name, test := range map[string]struct{ trace, want []string }{
		"expected": {s.Expect, s.Expect},
		"few":      {append(slices.Clone(s.Expect), "x", "x", "x"), append(slices.Clone(s.Expect), "x", "x", "x")},
		"many": {slices.Concat(s.Expect, slices.Repeat([]string{"x"}, 1000), []string{"y"}),
			append(slices.Clone(s.Expect), "x (1000 times)", "y")},
	} {
		var got []string
		for _, l := range failureView(s, Outcome{Trace: test.trace}).Trace {
			got = append(got, l.Text)
		}
		if !slices.Equal(got, test.want) {
			t.Errorf("%s: %q, want %q", name, got, test.want)
		}
	}
}

func TestPercent(t *testing.T) {
	for want, c := range map[string]Count{"100%": {7, 7}, "0%": {0, 7}, "99.9%": {99_999, 100_000}, "0.1%": {1, 100_000}, "50.0%": {1, 2}, "66.6%": {2, 3}} {
		if got := percent(c); got != want {
			t.Errorf("percent(%v) = %s, want %s", c, got, want)
		}
	}
	if text := string(badge("x", Count{})); !strings.Contains(text, "not measured") {
		t.Errorf("the badge without a count is %s", text)
	}
}

func TestKeep(t *testing.T) {
	b := &Board{Suite: "x", Implementations: []*Implementation{{ID: "eventsource", Version: "2"}, {ID: "impl-mine"}}}
	b.keep(&Board{Suite: "x", Implementations: []*Implementation{{ID: "eventsource", Version: "1"}, {ID: "native@firefox"}, {ID: "native"}}})
	var order []string
	for _, i := range b.Implementations {
		order = append(order, i.ID+i.Version)
	}
	if got, want := strings.Join(order, " "), "native@firefox native eventsource2 impl-mine"; got != want {
		t.Errorf("the rows are %s, want %s", got, want)
	}
	b.keep(&Board{Suite: "y", Implementations: []*Implementation{{ID: "sse.js"}}})
	if len(b.Implementations) != 4 {
		t.Error("results for other scenarios are kept")
	}
}

func TestEarlierBoard(t *testing.T) {
	path := filepath.Join(t.TempDir(), "scoreboard.json")
	if b, err := readBoard(path); err != nil || b.Suite != "" {
		t.Errorf("none: %+v, %v", b, err)
	}
	if err := os.WriteFile(path, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := readBoard(path); err == nil || !strings.Contains(err.Error(), "remove it") {
		t.Errorf("half of one: %v", err)
	}
}

func TestDocument(t *testing.T) {
	b := boardOf(&Implementation{ID: "native", Name: "a|b<c>", Version: "1", Runtime: "Chromium 1"})
	b.Implementations = append(b.Implementations, &Implementation{ID: "impl-x", Name: "somebody's own", Custom: true})
	page := filepath.Join(t.TempDir(), "page.md")
	if err := os.WriteFile(page, []byte("before\n"+tableBegins+"old\n"+tableEnds+"after\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second time, it replaces its own table
		if err := document(b, page); err != nil {
			t.Fatal(err)
		}
	}
	text := read(t, filepath.Dir(page), "page.md")
	for _, part := range []string{"before\n" + tableBegins, tableEnds + "after\n", `| a\|b&lt;c> 1 | **33.3%** 1/3 |`} {
		if !strings.Contains(text, part) {
			t.Errorf("the page lacks %q:\n%s", part, text)
		}
	}
	if strings.Contains(text, "old") || strings.Contains(text, "somebody") || strings.Count(text, "| total |") != 1 {
		t.Errorf("the page is\n%s", text)
	}
	if picture := read(t, filepath.Dir(page), "scoreboard.svg"); !strings.Contains(picture, "33.3%") || strings.Contains(picture, "somebody") {
		t.Errorf("the picture is\n%s", picture)
	}
	if err := os.WriteFile(page, []byte("no markers"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := document(b, page); err == nil || !strings.Contains(err.Error(), "make scoreboard") {
		t.Errorf("a page without markers: %v", err)
	}
	if err := document(b, page+".none"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no page: %v", err)
	}
}

func TestReadRows(t *testing.T) {
	path := filepath.Join(t.TempDir(), "node.json")
	scenarios := []Scenario{{ID: "ids/a", Expect: []string{"open"}}, {ID: "ids/b"}, {ID: "ids/c"}}
	put := func(text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put(`{"implementations": [{"name": "<../undici>", "version": "7", "runtime": "Node 22.1.0", "url": "https://undici.example", "results": {
		"ids/a": {"name": "a", "trace": ["open"], "failure": "", "reason": "", "unfinished": false}, "ids/b": {"notApplicable": "It needs a page."}}}]}`)
	rows, err := readRows(path, scenarios)
	if err != nil || len(rows) != 1 {
		t.Fatalf("%v, %v", rows, err)
	}
	i := rows[0]
	if i.Results["ids/a"].Verdict != Passed || i.Results["ids/b"].Reason != "It needs a page." || i.Results["ids/c"].Verdict != NotApplicable {
		t.Errorf("results %+v, want a pass, a difference with its reason, and a scenario that is not applicable", i.Results)
	}
	if i.ID != "impl--..-undici--Node" || i.Runtime != "Node 22.1.0" || i.Documentation != "https://undici.example" {
		t.Errorf("implementation %+v, want undici on Node 22.1.0, with its documentation", i)
	}
	put(`{`)
	if _, err := readRows(path, scenarios); err == nil {
		t.Error("half of a file was read without an error")
	}
	if _, err := readRows(path+".none", scenarios); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
}

func TestBrowserOf(t *testing.T) {
	for want, a := range map[string]arrival{
		"Chromium 156":    {Engine: "chromium", Browser: "Mozilla/5.0 (X11) AppleWebKit/537.36 HeadlessChrome/156.0.0.0 Safari/537.36"},
		"Firefox 153":     {Engine: "firefox", Browser: "Mozilla/5.0 (X11; rv:153.0) Gecko/20100101 Firefox/153.0"},
		"WebKitGTK 26.1":  {Engine: "webkit", Browser: "Mozilla/5.0 AppleWebKit/605.1.15 Version/26.1 Safari/605.1.15"},
		"something else/": {Engine: "unknown", Browser: "something else/"},
	} {
		if got := browserOf(a); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestPicture(t *testing.T) {
	b := &Board{Implementations: []*Implementation{{ID: "x", Name: strings.Repeat("long ", 30)}, {ID: "y", Name: "y", Total: Count{1, 2}}}}
	if picture := picture(b); !bytes.Contains(picture, []byte("…")) || !bytes.Contains(picture, []byte("50.0%")) {
		t.Errorf("the long name is not cut, or 50.0%% is missing:\n%s", picture)
	}
}
