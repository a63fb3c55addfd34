package e2e

import (
	"context"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
	"github.com/eventsource-wasm/eventsource-wasm/internal/nodetest"
)

const enginePages = "../docs/engines"

// The programs of docs/engines show what their pages say, in Chromium's own EventSource and in ours. For other browsers,
// see e2e/conformance with -reproductions.
func TestReproductions(t *testing.T) {
	t.Parallel()
	requireDist(t)
	nodetest.Require(t)
	all, err := Reproductions(enginePages)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range all {
		t.Run(r.Name, func(t *testing.T) {
			t.Parallel()
			if got := reproduce(t, r, ""); got != r.Shows["chromium"] {
				t.Errorf("Chromium shows %q, the page says %q: update the page, docs/engines.md and differences.json", got, r.Shows["chromium"])
			}
			want := r.Shows["wasm"]
			if got := reproduce(t, r, ourScript(t)); got != want || !strings.HasPrefix(want, "PASS: ") {
				t.Errorf("ours shows %q, the page says %q", got, want)
			}
		})
	}
}

// reproduce runs the program in a tab of its own whose documents and frames run the script first.
func reproduce(t *testing.T, r Reproduction, script string) string {
	t.Helper()
	tab := newTab(t)
	got, err := r.Run(tab, func(ctx context.Context, url string) error {
		install := page.AddScriptToEvaluateOnNewDocumentParams{Source: script}
		if _, err := chromedp.Call(tab, page.AddScriptToEvaluateOnNewDocument, install); err != nil {
			return err
		}
		if err := chromedp.Do(tab, chromedp.Navigate(url)); err != nil {
			return err
		}
		<-ctx.Done()
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// ourScript returns the classic script without the module. Workers made from blobs get it too.
func ourScript(t *testing.T) string {
	t.Helper()
	script, err := os.ReadFile(filepath.Join(dist, "eventsource.js"))
	if err != nil {
		t.Fatal(err)
	}
	install := "globalThis.EVENTSOURCE_WASM_URL = null;" + string(script) + ";"
	return install + `globalThis.Blob = class extends Blob { constructor(parts) { super([` + strconv.Quote(install) + `, ...parts]); } };`
}

// The index lists every page. It also lists every difference of an engine from the standard: with its page, or with the
// reason for having none.
func TestEnginesIndex(t *testing.T) {
	t.Parallel()
	all, err := Reproductions(enginePages)
	if err != nil {
		t.Fatal(err)
	}
	index, err := os.ReadFile(enginePages + ".md")
	if err != nil {
		t.Fatal(err)
	}
	var pages []string
	for _, r := range all {
		pages = append(pages, r.Name)
		if n := strings.Count(string(index), "["+r.Title+"](engines/"+r.Name+".md)"); n != 1 {
			t.Errorf("docs/engines.md lists %s with its title %d times, want once", r.Name, n)
		}
	}
	var reasons []string
	for _, match := range reason.FindAllStringSubmatch(string(index), -1) {
		reasons = append(reasons, strings.ReplaceAll(strings.ToLower(match[1]), " ", "-"))
	}
	for _, d := range knownDifferences(t) {
		if d.Implementation != "native" || len(d.Engines) == 0 {
			continue
		}
		name, isPage := strings.CutPrefix(d.Page, "docs/engines/")
		switch {
		case isPage && !slices.Contains(pages, strings.TrimSuffix(name, ".md")):
			t.Errorf("differences.json: %q names the page %q, which does not exist", d.Scenario, d.Page)
		case !isPage && !slices.Contains(reasons, strings.TrimPrefix(d.Page, "docs/engines.md#")):
			t.Errorf("differences.json: %q has no page: add one to docs/engines, or say in docs/engines.md why there is none", d.Scenario)
		}
	}
}

var (
	reason   = regexp.MustCompile(`(?m)^### (.+)$`)
	sections = regexp.MustCompile(`(?m)^## (.+)$`)
)

// A page has what a bug report needs.
func TestEnginePagesAreReports(t *testing.T) {
	t.Parallel()
	all, err := Reproductions(enginePages)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range all {
		text, err := os.ReadFile(filepath.Join(enginePages, r.Name+".md"))
		if err != nil {
			t.Fatal(err)
		}
		var found []string
		for _, match := range sections.FindAllStringSubmatch(string(text), -1) {
			found = append(found, match[1])
		}
		if want := []string{"Steps", "Expected", "Actual", "Seen in"}; !slices.Equal(found, want) {
			t.Errorf("%s has the sections %q, want %q", r.Name, found, want)
		}
		if !strings.Contains(string(text), "\n> ") {
			t.Errorf("%s does not quote the standard", r.Name)
		}
		if lines := strings.Count(r.Program, "\n"); lines > 45 {
			t.Errorf("the program of %s has %d lines", r.Name, lines)
		}
	}
}
