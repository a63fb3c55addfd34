package e2e

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/target"
	"github.com/chromedp/chromedp"
)

var (
	sharedTabs = flag.Int("tabs", 8, "the `number` of tabs that share a connection")
	kills      = flag.Int("kills", 3, "the `number` of times to close the leader of a shared stream")
)

// A numberServer streams the events 1, 2, 3, …, with the number as ID and data, and resumes after any of them. Each of its
// pages has a number, which the Referer of a request names.
type numberServer struct {
	*httptest.Server
	mu      sync.Mutex
	last    int
	changed chan struct{} // closed with the next event
	open    int           // connections
	from    chan string   // the pages that have connected, by their requests' Referer
}

func openNumbers(t *testing.T) *numberServer {
	t.Helper()
	requireDist(t)
	s := &numberServer{changed: make(chan struct{}), from: make(chan string, 1000)}
	mux := http.NewServeMux()
	mux.Handle("GET /dist/", http.StripPrefix("/dist/", http.FileServer(http.Dir(dist))))
	mux.HandleFunc("GET /page", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprint(w, `<!doctype html><title>page</title><link rel="icon" href="data:,">`)
	})
	mux.HandleFunc("GET /frame", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprintf(w, `<!doctype html><link rel="icon" href="data:,"><iframe src="http://%s/two"></iframe>`, r.FormValue("host"))
	})
	mux.HandleFunc("GET /two", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprint(w, `<!doctype html><script src="/dist/eventsource.js"></script><script>
			for (const name of ['one', 'two']) globalThis[name] = new EventSource('/numbers', { shared: true });
		</script>`)
	})
	mux.HandleFunc("GET /numbers", s.stream)
	s.Server = httptest.NewServer(mux)
	t.Cleanup(s.Close)
	t.Cleanup(s.CloseClientConnections)
	return s
}

func (s *numberServer) stream(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	sent := s.last
	if id, err := strconv.Atoi(r.Header.Get("Last-Event-ID")); err == nil {
		sent = id
	}
	s.open++
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		s.open--
		s.wake()
		s.mu.Unlock()
	}()
	w.Header().Set("Content-Type", "text/event-stream")
	fmt.Fprint(w, "retry: 10\n\n")
	http.NewResponseController(w).Flush()
	s.from <- r.Referer()
	for {
		s.mu.Lock()
		last, changed := s.last, s.changed
		s.mu.Unlock()
		for sent < last {
			sent++
			fmt.Fprintf(w, "id: %d\ndata: %d\n\n", sent, sent)
		}
		http.NewResponseController(w).Flush()
		select {
		case <-changed:
		case <-r.Context().Done():
			return
		}
	}
}

// wake wakes the waiting requests. The caller holds the mutex.
func (s *numberServer) wake() {
	close(s.changed)
	s.changed = make(chan struct{})
}

func (s *numberServer) publish() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last++
	s.wake()
	return s.last
}

// publishing publishes 200 events a second, or as many as the machine can, until stop is called.
func (s *numberServer) publishing() (stop func()) {
	done, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		ticker := time.NewTicker(5 * time.Millisecond)
		defer ticker.Stop()
		for {
			select {
			case <-ticker.C:
				s.publish()
			case <-done:
				return
			}
		}
	}()
	return func() { close(done); <-stopped }
}

// awaitConnections waits until want connections are open.
func (s *numberServer) awaitConnections(t *testing.T, ctx context.Context, want int) {
	t.Helper()
	for {
		s.mu.Lock()
		open, changed := s.open, s.changed
		s.mu.Unlock()
		if open == want {
			return
		}
		select {
		case <-changed:
		case <-ctx.Done():
			t.Fatalf("%d connections are open, want %d", open, want)
		}
	}
}

// connected waits for a connection and returns the number of its page.
func (s *numberServer) connected(t *testing.T, ctx context.Context) int {
	t.Helper()
	select {
	case referer := <-s.from:
		var number int
		if _, err := fmt.Sscanf(referer, s.URL+"/page?%d", &number); err != nil {
			t.Fatalf("request with the Referer %q: %v", referer, err)
		}
		return number
	case <-ctx.Done():
		t.Fatal("no page connects")
		return 0
	}
}

// followNumbers opens a source and checks the order of its events. Without a SharedWorker, pages elect one.
const followNumbers = `(async (elected) => {
	if (elected) globalThis.SharedWorker = undefined;
	const { EventSource } = await import('/dist/eventsource.mjs');
	globalThis.seen = { last: 0, wrong: [], states: [] };
	globalThis.source = new EventSource('/numbers', { shared: true });
	source.onerror = source.onopen = ({ type }) => seen.states.push(type + ' ' + source.readyState);
	source.onmessage = ({ data, lastEventId }) => {
		if (data !== lastEventId || (seen.last > 0 && Number(data) !== seen.last + 1)) seen.wrong.push(data + ' after ' + seen.last);
		seen.last = Number(data);
		globalThis.received?.();
	};
	addEventListener('pageshow', ({ persisted }) => { globalThis.persisted = persisted; });
	if (source.readyState !== 1) await new Promise((resolve) => source.addEventListener('open', resolve));
	return true;
})(%t)`

// until waits for an event, and returns what the page has seen.
const until = `(async (number) => {
	while (seen.last < number) await new Promise((resolve) => { globalThis.received = resolve; });
	return JSON.stringify(seen);
})(%d)`

type follower struct {
	ctx   context.Context
	close func()
}

// openFollower opens a tab with the number, whose source is open.
func (s *numberServer) openFollower(t *testing.T, ctx context.Context, number int, elected bool) *follower {
	t.Helper()
	tab := openTabOf(t, ctx)
	f := &follower{tab.Context, sync.OnceFunc(tab.close)}
	t.Cleanup(f.close)
	if err := chromedp.Do(f.ctx, chromedp.Navigate(fmt.Sprintf("%s/page?%d", s.URL, number))); err != nil {
		t.Fatal(err)
	}
	if _, err := chromedp.Run(f.ctx, chromedp.Evaluate[bool](fmt.Sprintf(followNumbers, elected), chromedp.EvalAwaitPromise)); err != nil {
		t.Fatalf("opening page %d: %v", number, err)
	}
	return f
}

type seen struct {
	Last          int
	Wrong, States []string
}

// check waits until the follower has reached the event. It reports events that were lost, repeated or out of order, and
// states that differ from those of a source with its own connection.
func (f *follower) check(t *testing.T, number int, states ...string) {
	t.Helper()
	text, err := chromedp.Run(f.ctx, chromedp.Evaluate[string](fmt.Sprintf(until, number), chromedp.EvalAwaitPromise))
	if err != nil {
		t.Fatalf("awaiting event %d: %v", number, err)
	}
	var got seen
	if err := json.Unmarshal([]byte(text), &got); err != nil {
		t.Fatal(err)
	}
	if len(got.Wrong) > 0 || !slices.Equal(got.States, states) {
		t.Errorf("wrong: %q, states: %q, want %q", got.Wrong, got.States, states)
	}
}

// sharing returns a browser context whose time limit suffices on a busy machine.
func sharing(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(browser, 10*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// Tabs share one connection, which ends with the last of them.
func TestTabsShareOneConnection(t *testing.T) {
	t.Parallel()
	for name, isElected := range map[string]func(number int) bool{
		"SharedWorker": func(int) bool { return false },
		"elected":      func(int) bool { return true },
		"both":         func(number int) bool { return number%2 == 1 },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, ctx := openNumbers(t), sharing(t)
			var tabs []*follower
			for number := range *sharedTabs {
				tabs = append(tabs, s.openFollower(t, ctx, number, isElected(number)))
				s.publish()
			}
			last := s.publish()
			for _, tab := range tabs {
				tab.check(t, last, "open 1")
			}
			s.awaitConnections(t, ctx, 1)
			if s.connected(t, ctx); len(s.from) > 0 {
				t.Errorf("%d further requests, want none", len(s.from))
			}
			for _, tab := range tabs {
				tab.close()
			}
			s.awaitConnections(t, ctx, 0)
		})
	}
}

func home(elected bool) string {
	if elected {
		return "elected"
	}
	return "SharedWorker"
}

// When the tab that leads is closed, another takes over, and no event is lost.
func TestLeaderOfSharedStreamIsClosed(t *testing.T) {
	t.Parallel()
	s, ctx := openNumbers(t), sharing(t)
	tabs := map[int]*follower{}
	for number := range 3 {
		tabs[number] = s.openFollower(t, ctx, number, true)
	}
	leader := s.connected(t, ctx)
	stop := s.publishing()
	var times []time.Duration
	for kill := range *kills {
		tabs[3+kill] = s.openFollower(t, ctx, 3+kill, true)
		start := time.Now()
		tabs[leader].close()
		delete(tabs, leader)
		// A leader without processor time for seconds is replaced. So a page that is now closed may have led in between.
		for leader = s.connected(t, ctx); tabs[leader] == nil; {
			leader = s.connected(t, ctx)
		}
		times = append(times, time.Since(start))
	}
	stop()
	last := s.publish()
	for _, tab := range tabs {
		tab.check(t, last, "open 1")
	}
	s.awaitConnections(t, ctx, 1)
	slices.Sort(times)
	t.Logf("%d leaders closed at %d events: taken over after %v in the median, %v at most", *kills, last, times[len(times)/2], times[len(times)-1])
}

// A frozen leader falls silent. Another page takes over, and the old leader follows once it resumes.
func TestLeaderOfSharedStreamIsFrozen(t *testing.T) {
	t.Parallel()
	s, ctx := openNumbers(t), sharing(t)
	tabs := []*follower{s.openFollower(t, ctx, 0, true), s.openFollower(t, ctx, 1, true)}
	leader := s.connected(t, ctx)
	tabs[1-leader].check(t, 0, "open 1")
	tabs[leader].setLifecycle(t, page.SetWebLifecycleStateStateFrozen)
	stop := s.publishing()
	start := time.Now()
	if other := s.connected(t, ctx); other != 1-leader {
		t.Errorf("page %d took over, want page %d", other, 1-leader)
	}
	t.Logf("taken over after %v", time.Since(start))
	tabs[leader].setLifecycle(t, page.SetWebLifecycleStateStateActive)
	stop()
	last := s.publish()
	for _, tab := range tabs {
		tab.check(t, last, "open 1")
	}
	s.awaitConnections(t, ctx, 1)
}

func (f *follower) setLifecycle(t *testing.T, state page.SetWebLifecycleStateState) {
	t.Helper()
	if err := chromedp.Do(f.ctx, chromedp.Func(func(ctx context.Context, _ *chromedp.Target) error {
		_, err := chromedp.Call(ctx, page.SetWebLifecycleState, page.SetWebLifecycleStateParams{State: state})
		return err
	})); err != nil {
		t.Fatal(err)
	}
}

// A SharedWorker that crashes takes the connection with it. The pages start another, which resumes.
func TestSharedWorkerIsEnded(t *testing.T) {
	t.Parallel()
	s, ctx := openNumbers(t), sharing(t)
	tabs := []*follower{s.openFollower(t, ctx, 0, false), s.openFollower(t, ctx, 1, false)}
	s.connected(t, ctx)
	stop := s.publishing()
	for range *kills {
		tabs[0].check(t, s.publish(), "open 1")
		endSharedWorker(t, tabs[0].ctx, s.URL)
		s.connected(t, ctx)
	}
	stop()
	last := s.publish()
	for _, tab := range tabs {
		tab.check(t, last, "open 1")
	}
	s.awaitConnections(t, ctx, 1)
}

func endSharedWorker(t *testing.T, ctx context.Context, site string) {
	t.Helper()
	found, err := chromedp.CallBrowser(ctx, target.GetTargets, target.GetTargetsParams{Filter: target.Filter{{Type: "shared_worker"}}})
	if err != nil {
		t.Fatal(err)
	}
	for _, info := range found.TargetInfos {
		if info.Type == "shared_worker" && info.URL == site+"/dist/eventsource.worker.js" {
			if _, err := chromedp.CallBrowser(ctx, target.CloseTarget, target.CloseTargetParams{TargetID: info.TargetID}); err != nil {
				t.Fatal(err)
			}
			return
		}
	}
	t.Fatal("found no SharedWorker")
}

// A page that returns from the back/forward cache gets the events that it missed.
func TestSharedSourceOfPageThatReturns(t *testing.T) {
	t.Parallel()
	for _, elected := range []bool{false, true} {
		t.Run(home(elected), func(t *testing.T) {
			t.Parallel()
			s, ctx := openNumbers(t), sharing(t)
			stays, leaves := s.openFollower(t, ctx, 0, elected), s.openFollower(t, ctx, 1, elected)
			first := s.publish()
			leaves.check(t, first, "open 1")
			if err := chromedp.Do(leaves.ctx, chromedp.Navigate(s.URL+"/page?another")); err != nil {
				t.Fatal(err)
			}
			for range 10 {
				s.publish()
			}
			stays.check(t, first+10, "open 1")
			goBack(leaves.ctx)
			for returned := false; !returned; {
				var err error
				returned, err = chromedp.Run(leaves.ctx, chromedp.Evaluate[bool](`globalThis.persisted === true`))
				if err != nil && ctx.Err() != nil {
					t.Fatalf("the browser did not keep the page: %v", err)
				}
			}
			last := s.publish()
			leaves.check(t, last, "open 1")
			stays.check(t, last, "open 1")
			s.awaitConnections(t, ctx, 1)
		})
	}
}

// In a frame of another site, a source has its own connection, and the console has no error.
func TestSharedSourceInFrames(t *testing.T) {
	t.Parallel()
	for host, want := range map[string]int{"127.0.0.1": 1, "localhost": 2} {
		t.Run(host, func(t *testing.T) {
			t.Parallel()
			s, ctx := openNumbers(t), sharing(t)
			_, port, _ := net.SplitHostPort(s.Listener.Addr().String())
			tab := openTabOf(t, ctx)
			t.Cleanup(tab.close)
			messages := chromedp.Console(tab.Context)
			if err := chromedp.Do(tab.Context, chromedp.Navigate(s.URL+"/frame?host="+net.JoinHostPort(host, port))); err != nil {
				t.Fatal(err)
			}
			for range want {
				select {
				case <-s.from:
				case <-ctx.Done():
					t.Fatal("no page connects")
				}
			}
			s.awaitConnections(t, ctx, want)
			for _, message := range consoleErrors(t, tab.Context, messages) {
				t.Errorf("on the console: %s", message)
			}
		})
	}
}

// A wake of one page's source wakes the connection, wherever it lives.
func TestSharedSourceWakes(t *testing.T) {
	t.Parallel()
	for _, elected := range []bool{false, true} {
		t.Run(home(elected), func(t *testing.T) {
			t.Parallel()
			s, ctx := openNumbers(t), sharing(t)
			leader := s.openFollower(t, ctx, 0, elected)
			s.connected(t, ctx)
			follower := s.openFollower(t, ctx, 1, elected)
			// A new connection cannot be woken, so this page tries until stop.
			const wake = `(async () => {
				const { EventSource } = await import('/dist/eventsource.mjs');
				globalThis.waking = new EventSource('/numbers', { shared: true, wake: true });
				await new Promise((resolve) => (waking.onopen = resolve));
				const timer = setInterval(() => dispatchEvent(new Event('online')), 100);
				await new Promise((resolve) => (waking.onerror = ({ reason }) => reason === 'wake' && resolve()));
				clearInterval(timer);
				return true;
			})()`
			if _, err := chromedp.Run(follower.ctx, chromedp.Evaluate[bool](wake, chromedp.EvalAwaitPromise)); err != nil {
				t.Fatal(err)
			}
			s.connected(t, ctx)
			last := s.publish()
			leader.check(t, last, "open 1", "error 0", "open 1")
			follower.check(t, last, "open 1", "error 0", "open 1")
			s.awaitConnections(t, ctx, 1)
		})
	}
}

// A page whose options differ from the leader's gets a warning on its console, wherever the leader is.
func TestSharedOptionsOfAnotherPage(t *testing.T) {
	t.Parallel()
	for _, elected := range []bool{false, true} {
		t.Run(home(elected), func(t *testing.T) {
			t.Parallel()
			s, ctx := openNumbers(t), sharing(t)
			s.openFollower(t, ctx, 0, elected)
			tab := openTabOf(t, ctx)
			t.Cleanup(tab.close)
			if err := chromedp.Do(tab.Context, chromedp.Navigate(s.URL+"/page?1")); err != nil {
				t.Fatal(err)
			}
			const open = `(async (elected) => {
				if (elected) globalThis.SharedWorker = undefined;
				const { EventSource } = await import('/dist/eventsource.mjs');
				const warned = new Promise((resolve) => { console.warn = resolve; });
				globalThis.source = new EventSource('/numbers?secret', { shared: true, idleTimeout: 1e6, retry: { attempts: 2 } });
				globalThis.other = new EventSource('/numbers', { shared: true, idleTimeout: 1e6, retry: { attempts: 2 } });
				return warned;
			})(%t)`
			got, err := chromedp.Run(tab.Context, chromedp.Evaluate[string](fmt.Sprintf(open, elected), chromedp.EvalAwaitPromise))
			if err != nil {
				t.Fatal(err)
			}
			want := "EventSource: the shared connection to " + s.URL + "/numbers has different values for retry, idleTimeout"
			if got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		})
	}
}

// The page in docs/shared.md shows the time in several tabs over one connection.
func TestSharedDocumentation(t *testing.T) {
	t.Parallel()
	pages := snippets(t, "docs/shared.md", "html")
	if all := len(snippets(t, "docs/shared.md", ".*?")); len(pages) != 1 || all != 1 {
		t.Fatalf("%d pages among %d snippets, want 1", len(pages), all)
	}
	s, ctx := openSite(t), sharing(t)
	s.mux.HandleFunc("GET /dist/page", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprint(w, strings.Replace(pages[0], "<!doctype html>", `<!doctype html><link rel="icon" href="data:,">`, 1))
	})
	var connections atomic.Int64
	again := make(chan struct{})
	s.mux.HandleFunc("GET /events", func(w http.ResponseWriter, r *http.Request) {
		connections.Add(1)
		w.Header().Set("Content-Type", "text/event-stream")
		for {
			fmt.Fprint(w, "data: 12:00:00\n\n")
			http.NewResponseController(w).Flush()
			select {
			case <-again:
			case <-r.Context().Done():
				return
			}
		}
	})
	for number := range 2 {
		tab := openTabOf(t, ctx)
		t.Cleanup(tab.close)
		if err := chromedp.Do(tab.Context, chromedp.Navigate(s.URL+"/dist/page")); err != nil {
			t.Fatal(err)
		}
		if number > 0 {
			if n := connections.Load(); n != 1 {
				t.Fatalf("%d connections", n)
			}
			const open = `new Promise((resolve) => (source.readyState === 1 ? resolve(1) : (source.onopen = () => resolve(1))))`
			if _, err := chromedp.Run(tab.Context, chromedp.Evaluate[int](open, chromedp.EvalAwaitPromise)); err != nil {
				t.Fatal(err)
			}
			again <- struct{}{}
		}
		if err := chromedp.Do(tab.Context, waitFor(`document.getElementById('time').value === '12:00:00'`)); err != nil {
			t.Fatal(err)
		}
	}
	if n := connections.Load(); n != 1 {
		t.Errorf("%d connections", n)
	}
}
