package e2e

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
)

// A life is a source's options in a tab. TestLives covers native, and ours without options.
type life struct{ name, init string }

// begin opens a page whose source has received "before".
func (l life) begin(t *testing.T) (*site, *record, context.Context) {
	t.Helper()
	s, r := openSite(t), newRecord()
	s.mux.Handle("GET /record", r)
	r.publish("before")
	return s, r, follow(t, s, l.init)
}

var lives = []life{
	{"wasm", "{}"},
	{"worker", "{ worker: true }"},
	{"wake", "{ wake: true }"},
	{"wake in a worker", "{ wake: true, worker: true }"},
}

// follow opens a page and a source. They note messages, errors, and the page's lifecycle events.
func follow(t *testing.T, s *site, init string) context.Context {
	t.Helper()
	tab := newTab(t)
	if err := chromedp.Do(tab, chromedp.Navigate(s.URL)); err != nil {
		t.Fatal(err)
	}
	// Chromium does not keep a page that is loading something, such as the module.
	const open = `(async () => {
		globalThis.EVENTSOURCE_WASM_URL = null;
		%s
		globalThis.seen = [];
		const note = (what) => { seen.push(what); globalThis.changed?.(); };
		for (const type of ['pagehide', 'pageshow', 'freeze', 'resume']) addEventListener(type, () => note(type), true);
		const source = new EventSource('/record', %s);
		source.onerror = ({ reason }) => note('error ' + reason);
		source.onopen = () => seen.includes('pageshow') && note('open');
		source.onmessage = ({ data }) => note(data);
		await until('before');
		return true;
		function until(what) { globalThis.until = until; return new Promise((resolve) => { (globalThis.changed = () => seen.includes(what) && resolve(seen))(); }); }
	})()`
	if _, err := chromedp.Run(tab, chromedp.Evaluate[bool](fmt.Sprintf(open, importModule, init), chromedp.EvalAwaitPromise)); err != nil {
		t.Fatal(err)
	}
	return tab
}

// wantSeen waits for the last wanted note, and checks all of them.
func wantSeen(t *testing.T, tab context.Context, want ...string) {
	t.Helper()
	seen, err := chromedp.Run(tab, chromedp.Evaluate[[]string](fmt.Sprintf("until(%q)", want[len(want)-1]), chromedp.EvalAwaitPromise))
	if err != nil {
		got, _ := chromedp.Run(tab, chromedp.Evaluate[[]string]("seen"))
		t.Fatalf("waiting for %q: %v\nso far: %q", want[len(want)-1], err, got)
	}
	if !slices.Equal(seen, want) {
		t.Errorf("got %q, want %q", seen, want)
	}
}

// goBack starts going back. A cached page does not load, so NavigateBack would wait forever. Errors are ignored: the tab
// may leave before the browser answers.
func goBack(tab context.Context) {
	_ = chromedp.Do(tab, chromedp.Evaluate[chromedp.Void](`history.back()`))
}

// freeze freezes the page. The browser answers before the page has noted it. Events still arrive until then.
func freeze(t *testing.T, tab context.Context, noted string) {
	t.Helper()
	setLifecycle(t, tab, page.SetWebLifecycleStateStateFrozen)
	if _, err := chromedp.Run(tab, chromedp.Evaluate[any](fmt.Sprintf("until(%q)", noted), chromedp.EvalAwaitPromise)); err != nil {
		t.Fatal(err)
	}
}

func setLifecycle(t *testing.T, tab context.Context, state page.SetWebLifecycleStateState) {
	t.Helper()
	if err := chromedp.Do(tab, chromedp.Func(func(ctx context.Context, _ *chromedp.Target) error {
		_, err := chromedp.Call(ctx, page.SetWebLifecycleState, page.SetWebLifecycleStateParams{State: state})
		return err
	})); err != nil {
		t.Fatal(err)
	}
}

// Events that arrive while a page is frozen are dispatched after it has resumed. In Chromium, fetch does not report them,
// nor anything after them, so ours gets them over another connection.
func TestFrozenPage(t *testing.T) {
	t.Parallel()
	for _, life := range lives[1:] {
		t.Run(life.name, func(t *testing.T) {
			t.Parallel()
			_, r, tab := life.begin(t)
			freeze(t, tab, "freeze")
			r.publish("meanwhile")
			setLifecycle(t, tab, page.SetWebLifecycleStateStateActive)
			want := []string{"before", "freeze", "resume", "meanwhile"}
			wantSeen(t, tab, want...)
			r.publish("after")
			wantSeen(t, tab, append(want, "after")...)
		})
	}
}

// A connection that died while the page was frozen is replaced. Native waits forever.
func TestFrozenPageWhoseConnectionDies(t *testing.T) {
	t.Parallel()
	for _, life := range lives {
		t.Run(life.name, func(t *testing.T) {
			t.Parallel()
			_, r, tab := life.begin(t)
			freeze(t, tab, "freeze")
			r.silenceOld()
			r.publish("meanwhile")
			setLifecycle(t, tab, page.SetWebLifecycleStateStateActive)
			wantSeen(t, tab, "before", "freeze", "resume", "meanwhile")
		})
	}
}

// Events that arrive while a page is in the back/forward cache are dispatched after it is shown again. With wake the
// connection is closed meanwhile, and replaced without an error.
func TestPageInTheCache(t *testing.T) {
	t.Parallel()
	for _, life := range lives[1:] {
		t.Run(life.name, func(t *testing.T) {
			t.Parallel()
			s, r, tab := life.begin(t)
			if err := chromedp.Do(tab, chromedp.Navigate(s.URL+"/?another")); err != nil {
				t.Fatal(err)
			}
			want := []string{"before", "pagehide", "freeze", "resume", "pageshow", "meanwhile"}
			if life.name == "wake" || life.name == "wake in a worker" {
				select {
				case <-r.left:
				case <-tab.Done():
					t.Fatal("the connection stays open")
				}
				want = slices.Insert(want, 5, "open")
			}
			r.publish("meanwhile")
			goBack(tab)
			for returned := false; !returned; {
				var err error
				returned, err = chromedp.Run(tab, chromedp.Evaluate[bool](`globalThis.seen?.includes('pageshow') ?? false`))
				if err != nil && tab.Err() != nil {
					t.Fatalf("the browser did not keep the page: %v", err)
				}
			}
			wantSeen(t, tab, want...)
			r.publish("after")
			wantSeen(t, tab, append(want, "after")...)
		})
	}
}
