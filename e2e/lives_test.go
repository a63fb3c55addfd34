package e2e

import (
	"context"
	"fmt"
	"iter"
	"net/http"
	"reflect"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// A tabRun is one run of a tabScenario: a tab whose page follows a record.
type tabRun struct {
	*testing.T
	*site
	*record
	tab   context.Context
	limit context.Context // outlives the tab
	gone  bool            // the tab no longer answers
}

// A tabScenario is something that only the browser can do to a tab, and what the page and the server observe.
type tabScenario struct {
	name  string
	page  string // further script of the page
	act   func(l *tabRun)
	want  notes
	known map[string]known // by implementation: what it does instead
}

// notes holds the page's lines, and a line per connection: what it requested, and whether it is closed.
type notes struct{ page, connections []string }

// A known is a known difference.
type known struct {
	notes
	reason    string
	sometimes bool // the implementation may also do what the scenario expects
}

// lifePage opens a source on each load. It keeps notes in the tab's storage, which outlives the page.
const lifePage = `<!doctype html><title>life</title><link rel="icon" href="data:,"><script type="module">
	globalThis.EVENTSOURCE_WASM_URL = null;
	const states = ['CONNECTING', 'OPEN', 'CLOSED'];
	const notes = () => JSON.parse(sessionStorage.notes ?? '[]');
	const note = (what) => { sessionStorage.notes = JSON.stringify([...notes(), what]); globalThis.changed?.(); };
	globalThis.notes = notes;
	globalThis.until = (what) => new Promise((resolve) => {
		(globalThis.changed = () => notes().some((line) => what.split('|').includes(line)) && resolve(true))();
	});
	%s
	const source = globalThis.source = new EventSource('/record');
	addEventListener('pagehide', ({ persisted }) => note('pagehide ' + (persisted ? 'kept ' : '') + states[source.readyState]));
	addEventListener('pageshow', ({ persisted }) => persisted && note('pageshow ' + states[source.readyState]));
	for (const type of ['freeze', 'resume']) document.addEventListener(type, () => note(type + ' ' + states[source.readyState]));
	source.onopen = () => note('open');
	source.onerror = () => note('error ' + states[source.readyState]);
	source.onmessage = ({ data }) => note(data.length > 100 ? 'much' : data);
	%s
</script>`

// begin opens a tab and serves the page. The record has one event, "before".
func (c tabScenario) begin(t *testing.T, implementation string) *tabRun {
	t.Helper()
	l := &tabRun{t, openSite(t), newRecord(), newTab(t), limit(t, t.Context()), false}
	l.mux.Handle("GET /record", l.record)
	l.mux.HandleFunc("GET /life", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprintf(w, lifePage, imports[implementation], c.page)
	})
	l.publish("before")
	return l
}

var imports = map[string]string{
	"native": "",
	"script": importModule,
	"go":     `delete globalThis.EVENTSOURCE_WASM_URL; const { EventSource, goOnly } = await import('/dist/test/eventsource.mjs'); await goOnly();`,
}

func (l *tabRun) do(actions ...chromedp.Action[chromedp.Void]) {
	l.Helper()
	if err := chromedp.Do(l.tab, actions...); err != nil {
		l.Fatal(err)
	}
}

// open opens the page, and waits until its source has received the first event.
func (l *tabRun) open() {
	l.Helper()
	l.do(chromedp.Navigate(l.URL + "/life"))
	l.until("before")
}

func (l *tabRun) leave() { l.do(chromedp.Navigate(l.URL + "/?another")) }

// script runs a script of the page's.
func (l *tabRun) script(code string) { l.do(chromedp.Evaluate[chromedp.Void](code)) }

// until waits until the page has noted one of the lines. The page may still be loading.
func (l *tabRun) until(what ...string) {
	l.Helper()
	for {
		_, err := chromedp.Run(l.tab, chromedp.Evaluate[bool](fmt.Sprintf("until(%q)", strings.Join(what, "|")), chromedp.EvalAwaitPromise))
		if err == nil {
			return
		}
		if l.tab.Err() != nil {
			l.Fatalf("the page never notes %q: %v", what, err)
		}
	}
}

// back returns to the page, and waits until it has noted something.
func (l *tabRun) back(until string) {
	l.Helper()
	goBack(l.tab)
	l.until(until)
}

// closed waits until the next connection has been closed.
func (l *tabRun) closed() {
	l.Helper()
	select {
	case <-l.left:
	case <-l.limit.Done():
		l.Fatal("the connection stays open")
	}
}

// connect opens the page. Its source stays without a response.
func (l *tabRun) connect() {
	l.Helper()
	l.hold()
	l.do(chromedp.Navigate(l.URL + "/life"))
	select {
	case <-l.came:
	case <-l.tab.Done():
		l.Fatal("no request arrives")
	}
}

// stay follows a link as the user does, and answers no when the browser asks whether to leave the page.
func (l *tabRun) stay() {
	l.Helper()
	next, stop := iter.Pull2(chromedp.Events(l.tab, page.JavascriptDialogOpening))
	defer stop()
	go chromedp.Call(l.tab, runtime.Evaluate, runtime.EvaluateParams{Expression: `location = '/?another'`, UserGesture: new(true)})
	if _, err, ok := next(); err != nil || !ok {
		l.Fatalf("the browser does not ask whether to leave the page: %v", err)
	}
	if _, err := chromedp.Call(l.tab, page.HandleJavaScriptDialog, page.HandleJavaScriptDialogParams{Accept: false}); err != nil {
		l.Fatal(err)
	}
}

func (l *tabRun) result() notes {
	l.Helper()
	if l.tab.Err() != nil || l.gone {
		return notes{nil, l.connections()}
	}
	page, err := chromedp.Run(l.tab, chromedp.Evaluate[[]string]("notes()"))
	if err != nil {
		page = []string{err.Error()}
	}
	return notes{page, l.connections()}
}

const (
	unloadReason = "Chromium fails the sources of a page that goes away for good before its pagehide. The standard closes them after it, without an event."
	stopReason   = "No event reports that the user has stopped the page. The connection just breaks."
	freezeReason = "Chromium may not pass on to fetch what arrived while the page was frozen. Ours reconnects then."
)

// kept is what a page notes when it enters the back/forward cache and returns.
var kept = []string{"open", "before", "pagehide kept OPEN", "freeze OPEN", "resume OPEN", "pageshow OPEN"}

// connecting is the same for a page whose source was not open yet.
var connecting = []string{"pagehide kept CONNECTING", "freeze CONNECTING", "resume CONNECTING", "pageshow CONNECTING", "open", "before"}

var tabScenarios = []tabScenario{
	{
		name: "left and returned to",
		act: func(l *tabRun) {
			l.open()
			l.leave()
			l.publish("meanwhile")
			l.back("meanwhile")
			l.publish("after")
			l.until("after")
		},
		want: notes{append(kept[:6:6], "meanwhile", "after"), []string{"from the start"}},
	},
	{
		name: "left for another site and returned to",
		act: func(l *tabRun) {
			l.open()
			l.do(chromedp.Navigate(strings.Replace(l.URL, "127.0.0.1", "localhost", 1)))
			l.publish("meanwhile")
			l.back("meanwhile")
			l.publish("after")
			l.until("after")
		},
		want: notes{append(kept[:6:6], "meanwhile", "after"), []string{"from the start"}},
	},
	{
		name: "left, and the server ends the stream meanwhile",
		act: func(l *tabRun) {
			l.open()
			l.leave()
			l.endAll()
			l.closed()
			l.publish("after")
			l.back("after")
		},
		want: notes{append(kept[:6:6], "error CONNECTING", "open", "after"), []string{"from the start, closed", "after 1"}},
	},
	{ // the browser discards the page
		name: "left, and too much arrives for the cache",
		act: func(l *tabRun) {
			l.open()
			l.leave()
			l.publish(strings.Repeat("x", 4<<20))
			l.closed()
			l.publish("after")
			l.back("after")
		},
		want: notes{append(kept[:4:4], "open", "before", "much", "after"), []string{"from the start, closed", "from the start"}},
	},
	{
		name: "left while it cannot be kept",
		page: `addEventListener('unload', () => note('unload ' + states[source.readyState]));`,
		act: func(l *tabRun) {
			l.open()
			l.leave()
			l.closed()
			l.publish("after")
			l.back("after")
		},
		want: notes{[]string{"open", "before", "pagehide OPEN", "unload OPEN", "open", "before", "after"}, []string{"from the start, closed", "from the start"}},
		known: map[string]known{"native": {
			notes:  notes{[]string{"open", "before", "error CLOSED", "pagehide CLOSED", "unload CLOSED", "open", "before", "after"}, []string{"from the start, closed", "from the start"}},
			reason: unloadReason,
		}},
	},
	{
		name: "left while it connects, and answered after the return",
		act: func(l *tabRun) {
			l.connect()
			l.leave()
			l.back("pageshow CONNECTING")
			l.answer()
			l.until("before")
		},
		want: notes{connecting, []string{"from the start"}},
	},
	{
		name: "left while it connects, and answered before the return",
		act: func(l *tabRun) {
			l.connect()
			l.leave()
			l.answer()
			l.back("before")
		},
		want: notes{connecting, []string{"from the start"}},
	},
	{
		name: "reloaded",
		act: func(l *tabRun) {
			l.open()
			l.do(chromedp.Reload())
			l.closed()
			l.publish("after")
			l.until("after")
		},
		want: notes{[]string{"open", "before", "pagehide OPEN", "open", "before", "after"}, []string{"from the start, closed", "from the start"}},
		known: map[string]known{"native": {
			notes:  notes{[]string{"open", "before", "error CLOSED", "pagehide CLOSED", "open", "before", "after"}, []string{"from the start, closed", "from the start"}},
			reason: unloadReason,
		}},
	},
	{
		name: "reloaded while it connects",
		act: func(l *tabRun) {
			l.connect()
			l.do(chromedp.Reload())
			l.closed()
			l.answer()
			l.until("before")
		},
		want: notes{[]string{"pagehide CONNECTING", "open", "before"}, []string{"from the start, closed", "from the start"}},
		known: map[string]known{"native": {
			notes:  notes{[]string{"error CLOSED", "pagehide CLOSED", "open", "before"}, []string{"from the start, closed", "from the start"}},
			reason: unloadReason,
		}},
	},
	{
		name: "frozen",
		act: func(l *tabRun) {
			l.open()
			freeze(l.T, l.tab, "freeze OPEN")
			l.publish("meanwhile")
			setLifecycle(l.T, l.tab, page.SetWebLifecycleStateStateActive)
			l.until("meanwhile")
			l.publish("after")
			l.until("after")
		},
		want:  notes{[]string{"open", "before", "freeze OPEN", "resume OPEN", "meanwhile", "after"}, []string{"from the start"}},
		known: map[string]known{"script": renewed, "go": renewed},
	},
	{
		name: "frozen, and the server ends the stream meanwhile",
		act: func(l *tabRun) {
			l.open()
			freeze(l.T, l.tab, "freeze OPEN")
			l.endAll()
			l.closed()
			l.publish("after")
			setLifecycle(l.T, l.tab, page.SetWebLifecycleStateStateActive)
			l.until("after")
		},
		want: notes{
			[]string{"open", "before", "freeze OPEN", "resume OPEN", "error CONNECTING", "open", "after"},
			[]string{"from the start, closed", "after 1"},
		},
	},
	{
		name: "stopped",
		act: func(l *tabRun) {
			l.open()
			l.script(`stop()`)
			l.closed()
			l.publish("after")
			l.until("error CLOSED", "after")
		},
		want:  notes{[]string{"open", "before", "error CLOSED"}, []string{"from the start, closed"}},
		known: map[string]known{"script": again, "go": again},
	},
	{
		name: "asked whether it may be left, and stays",
		page: `addEventListener('beforeunload', (event) => event.preventDefault());`,
		act: func(l *tabRun) {
			l.open()
			l.stay()
			l.endAll()
			l.publish("after")
			l.until("after")
		},
		want: notes{[]string{"open", "before", "error CONNECTING", "open", "after"}, []string{"from the start, closed", "after 1"}},
	},
	{
		name: "closed",
		act: func(l *tabRun) {
			l.open()
			go chromedp.Call(l.tab, page.Close, cdp.Empty{}) // may never answer
			l.closed()
			l.gone = true
		},
		want: notes{nil, []string{"from the start, closed"}},
	},
	{
		name: "crashed",
		act: func(l *tabRun) {
			l.open()
			go chromedp.Call(l.tab, page.Crash, cdp.Empty{}) // never answers
			l.closed()
			l.gone = true
		},
		want: notes{nil, []string{"from the start, closed"}},
	},
}

var (
	renewed = known{
		notes:     notes{[]string{"open", "before", "freeze OPEN", "resume OPEN", "open", "meanwhile", "after"}, []string{"from the start, closed", "after 1"}},
		reason:    freezeReason,
		sometimes: true,
	}
	again = known{
		notes:  notes{[]string{"open", "before", "error CONNECTING", "open", "after"}, []string{"from the start, closed", "after 1"}},
		reason: stopReason,
	}
)

// Ours behaves like native, whatever the browser does to the tab, apart from known differences.
func TestLives(t *testing.T) {
	t.Parallel()
	for _, c := range tabScenarios {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			for _, implementation := range []string{"native", "script", "go"} {
				t.Run(implementation, func(t *testing.T) {
					t.Parallel()
					l := c.begin(t, implementation)
					c.act(l)
					c.check(t, implementation, l.result())
				})
			}
		})
	}
}

func (c tabScenario) check(t *testing.T, implementation string, got notes) {
	t.Helper()
	known, differs := c.known[implementation]
	switch {
	case differs && reflect.DeepEqual(got, known.notes):
		t.Logf("differs: %s", known.reason)
	case differs && !known.sometimes:
		t.Errorf("got %q, want the known difference %q", got, known.notes)
	case !reflect.DeepEqual(got, c.want):
		t.Errorf("got %q, want %q", got, c.want)
	}
}
