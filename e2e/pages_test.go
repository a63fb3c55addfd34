package e2e

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/eventsource-wasm/eventsource-wasm/internal/nodetest"
)

var pictures = flag.String("pictures", "", "write pictures of all pages to this `folder`, wide and narrow, light and dark")

// A view is a window width and a color scheme.
type view struct {
	name   string
	width  int64
	scheme string
}

var views = []view{{"wide-light", 1360, "light"}, {"wide-dark", 1360, "dark"}, {"narrow-light", 390, "light"}, {"narrow-dark", 390, "dark"}}

// axe-core finds no violation on any page (contrast, names, roles, target sizes, ...), and no page scrolls sideways.
func TestPagesAreAccessible(t *testing.T) {
	t.Parallel()
	axe := installAxe(t)
	demo := startDemo(t)
	server := startServer(t, true, "-public", "news.*", "-token", "hunter2")
	for _, page := range []struct{ name, url, ready string }{
		{"demo", demo, `document.querySelector('#wasm .event') !== null && document.querySelector('#native .words').textContent.startsWith('401')`},
		{"conformance", demo + "/conformance/?run&file=lifetime", `!document.getElementById('download').hidden`},
		{"server", server, serverShowsEvents},
		{"cluster", serveCluster(t).URL, `document.querySelectorAll('#events tr, #events li').length > 0`},
	} {
		t.Run(page.name, func(t *testing.T) {
			for _, view := range views {
				t.Run(view.name, func(t *testing.T) {
					tab := newTab(t)
					if err := chromedp.Do(tab, view.apply(), chromedp.Navigate(page.url), waitFor(page.ready)); err != nil {
						t.Fatal(err)
					}
					for _, violation := range violations(t, tab, axe) {
						t.Error(violation)
					}
					if *pictures != "" {
						takePicture(t, tab, filepath.Join(*pictures, page.name+"-"+view.name+".png"))
					}
				})
			}
		})
	}
}

func (v view) apply() chromedp.Action[chromedp.Void] {
	scheme := chromedp.Func(func(ctx context.Context, _ *chromedp.Target) error {
		features := []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: v.scheme}}
		_, err := chromedp.Call(ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: features})
		return err
	})
	return chromedp.Steps(chromedp.EmulateViewport(v.width, 900), scheme)
}

// installAxe returns the script of axe-core. npm takes it from its cache if it can.
func installAxe(t *testing.T) string {
	t.Helper()
	nodetest.Require(t)
	folder := t.TempDir()
	if err := os.CopyFS(folder, os.DirFS("axe")); err != nil {
		t.Fatal(err)
	}
	run(t, folder, "npm", strings.Fields("ci --prefer-offline --ignore-scripts --no-audit --no-fund --no-update-notifier")...)
	script, err := os.ReadFile(filepath.Join(folder, "node_modules", "axe-core", "axe.min.js"))
	if err != nil {
		t.Fatal(err)
	}
	return string(script)
}

func violations(t *testing.T, tab context.Context, axe string) (found []string) {
	t.Helper()
	const check = `(async () => {
		const { violations, passes } = await axe.run({ runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'] });
		if (passes.length < 10) return ['axe-core passed fewer than 10 rules'];
		const found = violations.flatMap(({ id, nodes }) => nodes.map(({ target, failureSummary }) => id + ': ' + target + ': ' + failureSummary));
		const { scrollWidth, clientWidth } = document.documentElement;
		if (scrollWidth > clientWidth) found.push('the page is ' + scrollWidth + ' pixels wide in a window of ' + clientWidth);
		return found;
	})()`
	if err := chromedp.Do(tab, chromedp.Evaluate[chromedp.Void](axe+";void 0")); err != nil {
		t.Fatal(err)
	}
	found, err := chromedp.Run(tab, chromedp.Evaluate[[]string](check, chromedp.EvalAwaitPromise))
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func takePicture(t *testing.T, tab context.Context, file string) {
	t.Helper()
	png, err := chromedp.Run(tab, chromedp.FullScreenshot(100))
	if err == nil {
		err = os.WriteFile(file, png, 0o644)
	}
	if err != nil {
		t.Error(err)
	}
}

// On a phone, the lanes come before the controls.
func TestLanesComeFirst(t *testing.T) {
	t.Parallel()
	url := startDemo(t)
	tab := newTab(t)
	const first = `(() => {
		const top = (selector) => document.querySelector(selector).getBoundingClientRect().top;
		return top('#native') < top('#wasm') && top('#wasm') < innerHeight && top('#wasm') < top('.controls') && top('.controls') < top('#log');
	})()`
	if err := chromedp.Do(tab, chromedp.EmulateViewport(390, 844), chromedp.Navigate(url), waitFor(first)); err != nil {
		t.Error(err)
	}
}

// serveCluster serves the cluster's page with three nodes, one of them stopped. They publish what the page sends.
func serveCluster(t *testing.T) *httptest.Server {
	t.Helper()
	requireDist(t)
	mux := http.NewServeMux()
	mux.Handle("/dist/", http.StripPrefix("/dist/", http.FileServer(http.Dir(dist))))
	mux.HandleFunc("/{$}", func(w http.ResponseWriter, r *http.Request) { http.ServeFile(w, r, "../server/cmd/demo/cluster.html") })
	mux.HandleFunc("/nodes", func(w http.ResponseWriter, _ *http.Request) {
		json.NewEncoder(w).Encode([]map[string]any{{"name": "0", "runs": true}, {"name": "1", "runs": true}, {"name": "2", "runs": false}})
	})
	mux.HandleFunc("/events", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		w.Header().Set("Event-Node", "1")
		for _, sequence := range []int{1, 2, 5, 5} {
			fmt.Fprintf(w, "id: e-%d\ndata: number %d\n\n", sequence, sequence)
		}
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	})
	site := httptest.NewServer(mux)
	t.Cleanup(site.Close)
	return site
}

// The cluster's page counts missing and duplicate events, shows which node serves, and does not move the focus.
func TestClusterPage(t *testing.T) {
	t.Parallel()
	site := serveCluster(t)
	tab := newTab(t)
	const counted = `['count', 'missing', 'twice'].map((id) => document.getElementById(id).textContent).join() === '4,2,1'`
	const shown = `document.querySelectorAll('#map path.serves').length === 1 && document.querySelector('.node.serves h2').textContent === 'Node 1' &&
		document.querySelector('.node.gone button:last-child').textContent === 'Start'`
	const refreshed = `(() => {
		const button = document.querySelector('.node button');
		button.focus();
		globalThis.count = 0;
		const ask = fetch;
		globalThis.fetch = (...request) => ask(...request).finally(() => count++);
		return true;
	})()`
	err := chromedp.Do(tab, chromedp.Navigate(site.URL), waitFor(counted), waitFor(shown), waitFor(refreshed),
		waitFor(`count > 2 && document.activeElement === document.querySelector('.node button')`))
	if err != nil {
		t.Error(err)
	}
}
