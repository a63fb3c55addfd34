package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/chromedp/cdproto/heapprofiler"
	"github.com/chromedp/chromedp"
)

// A site serves dist/, a page without a script, and the streams of a test.
type site struct {
	*httptest.Server
	mux      *http.ServeMux
	requests chan *http.Request // for /stream
	beats    chan struct{}
}

const wasmPath = "GET /dist/eventsource.wasm"

func openSite(t *testing.T) *site {
	t.Helper()
	requireDist(t)
	s := &site{mux: http.NewServeMux(), requests: make(chan *http.Request, 100), beats: make(chan struct{})}
	s.mux.Handle("GET /dist/", http.StripPrefix("/dist/", http.FileServer(http.Dir(dist))))
	s.mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		w.Header().Set("Content-Security-Policy", r.FormValue("policy"))
		fmt.Fprint(w, `<!doctype html><title>site</title><link rel="icon" href="data:,">`)
	})
	s.mux.HandleFunc("GET /stream", s.stream)
	s.mux.HandleFunc("POST /beat", s.beat)
	s.Server = httptest.NewServer(s.mux)
	t.Cleanup(s.Close)
	t.Cleanup(s.CloseClientConnections)
	return s
}

// stream sends one event with the request's Last-Event-ID and stays open.
func (s *site) stream(w http.ResponseWriter, r *http.Request) {
	s.requests <- r
	w.Header().Set("Content-Type", "text/event-stream")
	fmt.Fprintf(w, "retry: 1\nid: 7\ndata: after %q\n\n", r.Header.Get("Last-Event-ID"))
	http.NewResponseController(w).Flush()
	for {
		select {
		case <-s.beats:
			fmt.Fprint(w, ": beat\n")
			http.NewResponseController(w).Flush()
		case <-r.Context().Done():
			return
		}
	}
}

// beat makes a stream send a comment: the engine takes a source over only when data arrives.
func (s *site) beat(_ http.ResponseWriter, r *http.Request) {
	select {
	case s.beats <- struct{}{}:
	case <-r.Context().Done():
	}
}

func (s *site) serveWasm(w http.ResponseWriter, r *http.Request) {
	http.ServeFile(w, r, dist+"/eventsource.wasm")
}

// evaluate opens the page, evaluates the script's async function there, and returns its result and the console's lines.
func evaluate[T any](t *testing.T, page, function string) (T, []string) {
	t.Helper()
	tab := newTab(t)
	messages := chromedp.Console(tab)
	if err := chromedp.Do(tab, chromedp.Navigate(page)); err != nil {
		t.Fatalf("opening %s: %v", page, err)
	}
	result, err := chromedp.Run(tab, chromedp.Evaluate[T]("("+function+")()", chromedp.EvalAwaitPromise))
	if err != nil {
		t.Fatalf("evaluating: %v", err)
	}
	return result, consoleErrors(t, tab, messages)
}

const importModule = `const { EventSource } = await import('/dist/eventsource.mjs');`

// untilMessage resolves with the types of events and the data of the first message, at which it closes the source.
const untilMessage = `const untilMessage = (source) => new Promise((resolve) => {
	const seen = [];
	source.onopen = source.onerror = ({ type }) => seen.push(type + ' ' + source.readyState);
	source.onmessage = ({ data }) => { source.close(); resolve([...seen, data]); };
});`

// untilEngine opens a source and waits until its diagnostics name the wanted engine. It resolves with what the source saw,
// the engine, the reason, and what a second source sees.
const untilEngine = untilMessage + `const untilEngine = async (wanted = 'script') => {
	const diagnostics = [];
	let found;
	const known = new Promise((resolve) => {
		diagnostics.push = ({ what, engine, reason }) => {
			if (what === 'engine' && engine === wanted && (reason || engine === 'go')) resolve(found = [engine, reason ?? '']);
		};
	});
	const source = new EventSource('/stream', { diagnostics });
	const seen = [];
	const received = new Promise((resolve) => {
		source.onopen = source.onerror = ({ type }) => seen.push(type + ' ' + source.readyState);
		source.onmessage = ({ data }) => { seen.push(data); resolve(); };
	});
	await received;
	while (wanted === 'go' && !found) await fetch('/beat', { method: 'POST' });
	const engine = await known;
	source.close();
	return [...seen, ...engine, ...await untilMessage(new EventSource('/stream'))];
};`

// If the module fails to load, the page still gets its events, no error event, and one line on the console.
func TestModuleFailsToLoad(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		serve   func(w http.ResponseWriter, r *http.Request)
		reason  string
		console string
	}{
		{"it is missing", http.NotFound, "status", "the server answered 404"},
		{"it is a page", func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprint(w, "<!doctype html>")
		}, "compile", "could not be compiled (Content-Type text/html"},
		{"it is cut off", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/wasm")
			module, _ := os.ReadFile(dist + "/eventsource.wasm")
			w.Write(module[:1000])
		}, "compile", "could not be compiled (Content-Type application/wasm"},
		{"it is of another version", func(w http.ResponseWriter, r *http.Request) {
			module, err := otherVersion()
			if err != nil {
				t.Error(err)
			}
			w.Header().Set("Content-Type", "application/wasm")
			w.Write(module)
		}, "version", "does not match this script"},
		{"it is another program", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/wasm")
			w.Write([]byte("\x00asm\x01\x00\x00\x00"))
		}, "version", "does not match this script"},
		{"its server is gone", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://127.0.0.1:1/", http.StatusFound) // a port that browsers do not connect to
		}, "network", "could not be loaded: check the address"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := openSite(t)
			s.mux.HandleFunc(wasmPath, tt.serve)
			got, console := evaluateWithConsole[[]string](t, s.URL, `async () => {`+importModule+untilEngine+` return untilEngine(); }`)
			if want := []string{"open 1", `after ""`, "script", tt.reason, "open 1", `after ""`}; !slices.Equal(got, want) {
				t.Errorf("got %q, want %q", got, want)
			}
			if len(console) != 1 || !strings.Contains(console[0], tt.console) {
				t.Errorf("on the console: %q, want one line with %q", console, tt.console)
			}
		})
	}
}

// If a cache holds a module of another version than the script, the page fetches the server's once.
func TestCachedModuleOfAnotherVersion(t *testing.T) {
	t.Parallel()
	s := openSite(t)
	var times atomic.Int32
	s.mux.HandleFunc(wasmPath, func(w http.ResponseWriter, r *http.Request) {
		if times.Add(1) > 1 {
			s.serveWasm(w, r)
			return
		}
		module, err := otherVersion()
		if err != nil {
			t.Error(err)
		}
		w.Header().Set("Content-Type", "application/wasm")
		w.Header().Set("Cache-Control", "max-age=86400")
		w.Write(module)
	})
	got, console := evaluateWithConsole[[]string](t, s.URL, `async () => {`+importModule+untilEngine+` return untilEngine('go'); }`)
	if want := []string{"go", "", "open 1", `after ""`}; len(got) < len(want) || !slices.Equal(got[len(got)-len(want):], want) || len(console) > 0 {
		t.Errorf("got %q, want %q at its end; on the console: %q", got, want, console)
	}
}

// The module's server takes the request and never answers. Sources work without it.
func TestModuleNeverArrives(t *testing.T) {
	t.Parallel()
	s := openSite(t)
	asked := make(chan struct{}, 1)
	s.mux.HandleFunc(wasmPath, func(w http.ResponseWriter, r *http.Request) {
		asked <- struct{}{}
		<-r.Context().Done()
	})
	s.mux.HandleFunc("GET /asked", func(http.ResponseWriter, *http.Request) { <-asked })
	got, console := evaluateWithConsole[[]string](t, s.URL, `async () => {`+importModule+untilMessage+`
		const first = await untilMessage(new EventSource('/stream'));
		await fetch('/asked');
		return [...first, ...await untilMessage(new EventSource('/stream'))];
	}`)
	if want := []string{"open 1", `after ""`, "open 1", `after ""`}; !slices.Equal(got, want) || len(console) > 0 {
		t.Errorf("got %q, want %q; on the console: %q", got, want, console)
	}
}

// evaluateWithConsole is like evaluate, but returns console lines of every level, and unhandled rejections.
func evaluateWithConsole[T any](t *testing.T, page, function string) (T, []string) {
	t.Helper()
	type told struct {
		Result T        `json:"result"`
		Lines  []string `json:"lines"`
	}
	wrapped := `async () => {
		const lines = [];
		for (const level of ['error', 'warn', 'info', 'log']) console[level] = (...values) => lines.push(values.join(' '));
		addEventListener('unhandledrejection', ({ reason }) => lines.push('unhandled ' + reason));
		return { result: await (` + function + `)(), lines };
	}`
	got, _ := evaluate[told](t, page, wrapped)
	return got.Result, got.Lines
}

// A page may preload the module, as the README does. It is then requested once.
func TestPreloadedModule(t *testing.T) {
	t.Parallel()
	s := openSite(t)
	var times atomic.Int32
	s.mux.HandleFunc(wasmPath, func(w http.ResponseWriter, r *http.Request) {
		times.Add(1)
		s.serveWasm(w, r)
	})
	s.mux.HandleFunc("GET /preloaded", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprint(w, `<!doctype html><link rel="icon" href="data:,"><base href="/dist/">
			<link rel="preload" href="eventsource.wasm" as="fetch" crossorigin><script src="eventsource.js"></script>`)
	})
	got, console := evaluate[[]string](t, s.URL+"/preloaded", `async () => {`+untilMessage+`
		return untilMessage(new EventSource('/stream'));
	}`)
	if want := []string{"open 1", `after ""`}; !slices.Equal(got, want) || len(console) > 0 {
		t.Errorf("got %q, want %q; on the console: %q", got, want, console)
	}
	if n := times.Load(); n != 1 {
		t.Errorf("the module was requested %d times, want once", n)
	}
}

// otherVersion returns the module with a changed version. The original version is in dist/.build.
func otherVersion() ([]byte, error) {
	module, err1 := os.ReadFile(dist + "/eventsource.wasm")
	version, err2 := os.ReadFile(dist + "/.build")
	if err := errors.Join(err1, err2); err != nil {
		return nil, err
	}
	if !bytes.Contains(module, version) {
		return nil, fmt.Errorf("the module does not contain its version %q", version)
	}
	return bytes.ReplaceAll(module, version, bytes.Repeat([]byte("0"), len(version))), nil
}

func TestPolicyThatForbidsWebAssembly(t *testing.T) {
	t.Parallel()
	s := openSite(t)
	s.mux.HandleFunc(wasmPath, s.serveWasm)
	policy := "script-src 'self' 'unsafe-eval'" // for the test's own script; wasm needs one or the other
	got, console := evaluateWithConsole[[]string](t, s.URL+"/?policy="+policy, `async () => {`+importModule+untilEngine+` return untilEngine('go'); }`)
	if want := []string{"open 1", `after ""`}; len(got) < 4 || !slices.Equal(got[:2], want) || len(console) != 0 {
		t.Errorf("with %s: %q, want %q; on the console %q", policy, got, want, console)
	}
	t.Run("script-src 'self'", func(t *testing.T) {
		s := openSite(t)
		s.mux.HandleFunc(wasmPath, func(http.ResponseWriter, *http.Request) {
			t.Error("the page loads the module although its policy forbids compiling it")
		})
		got, console := evaluateWithConsole[[]string](t, s.URL+"/?policy=script-src 'self'", `async () => {
			const script = document.createElement('script');
			script.src = '/dist/eventsource.js';
			await new Promise((resolve) => { script.onload = resolve; document.head.append(script); });`+untilEngine+`
			return untilEngine();
		}`)
		if want := []string{"open 1", `after ""`, "script", "unsupported", "open 1", `after ""`}; !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
		if len(console) != 1 || !strings.Contains(console[0], "needs 'wasm-unsafe-eval' in script-src") {
			t.Errorf("on the console: %q", console)
		}
	})
}

func TestModuleWithWrongMIMEType(t *testing.T) {
	t.Parallel()
	s := openSite(t)
	s.mux.HandleFunc(wasmPath, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/octet-stream")
		s.serveWasm(w, r)
	})
	got, console := evaluate[[]string](t, s.URL, `async () => {`+importModule+untilMessage+`
		return untilMessage(new EventSource('/stream'));
	}`)
	if want := []string{"open 1", `after ""`}; !slices.Equal(got, want) || len(console) != 0 {
		t.Errorf("got %q, want %q; on the console %q", got, want, console)
	}
}

func TestModuleAtAnotherAddress(t *testing.T) {
	t.Parallel()
	s := openSite(t)
	s.mux.HandleFunc("GET /elsewhere", s.serveWasm)
	s.mux.HandleFunc(wasmPath, func(http.ResponseWriter, *http.Request) { t.Error("the module was requested from the script's folder") })
	got, _ := evaluate[[]string](t, s.URL, `async () => {`+importModule+untilMessage+`
		globalThis.EVENTSOURCE_WASM_URL = '/elsewhere';
		return untilMessage(new EventSource('/stream'));
	}`)
	if want := []string{"open 1", `after ""`}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// The engine crashes in the middle of an event. The source still delivers the whole event, over the same connection.
func TestEngineCrashes(t *testing.T) {
	t.Parallel()
	for name, failing := range map[string]struct{ feed, console string }{
		"by a trap":  {"() => { throw new WebAssembly.RuntimeError('unreachable'); }", "it crashed: unreachable"},
		"by a panic": {"(id) => feed(id, -1)", "it crashed: panic, see above"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := openSite(t)
			more := make(chan string)
			s.mux.HandleFunc("POST /more", func(_ http.ResponseWriter, r *http.Request) { more <- r.FormValue("text") })
			s.mux.HandleFunc("GET /breaking", func(w http.ResponseWriter, r *http.Request) {
				s.requests <- r
				w.Header().Set("Content-Type", "text/event-stream")
				for text := "id: 7\ndata: first\n\n"; ; {
					fmt.Fprint(w, text)
					http.NewResponseController(w).Flush()
					select {
					case text = <-more:
					case <-r.Context().Done():
						return
					}
				}
			})
			got, console := evaluateWithConsole[[]string](t, s.URL, `async () => {
				let broken;
				const { instantiate } = WebAssembly;
				const ready = new Promise((resolve) => {
					WebAssembly.instantiate = async (...args) => {
						const instance = await instantiate(...args);
						const { feed } = instance.exports;
						const breaking = `+failing.feed+`;
						const exports = { ...instance.exports, feed: (...values) => (broken ? breaking : feed)(...values) };
						setTimeout(resolve);
						return new Proxy(instance, { get: (target, key) => key === 'exports' ? exports : target[key] });
					};
				});`+importModule+`
				const diagnostics = [];
				const source = new EventSource('/breaking', { diagnostics });
				const seen = [];
				let next;
				source.onerror = () => seen.push('error ' + source.readyState);
				source.onmessage = ({ data, lastEventId }) => { seen.push(data + ' ' + lastEventId); next(); };
				const send = (text) => fetch('/more', { method: 'POST', body: new URLSearchParams({ text }) });
				const message = () => new Promise((resolve) => { next = resolve; });
				let received = message();
				await received;
				await ready;
				received = message();
				await send('data: second\n\nid: 8\nevent: message\ndata: in ');
				await received;
				await send('the middle ');
				broken = true;
				received = message();
				await send('of an event\n');
				await send('data: and whole\n\n');
				await received;
				source.close();
				return [...seen, ...diagnostics.filter(({ what }) => what === 'engine').map(({ engine }) => engine)];
			}`)
			if want := []string{"first 7", "second 7", "in the middle of an event\nand whole 8", "script", "go", "script"}; !slices.Equal(got, want) {
				t.Errorf("got %q, want %q", got, want)
			}
			if n := len(s.requests); n != 1 {
				t.Errorf("%d requests, want 1", n)
			}
			if last := len(console) - 1; last < 0 || !strings.Contains(console[last], failing.console) {
				t.Errorf("on the console: %q", console)
			}
		})
	}
}

// A line that never ends reaches the size limit. Until then, memory grows neither in the module nor in the page.
func TestEndlessLine(t *testing.T) {
	t.Parallel()
	s := openSite(t)
	sent := make(chan int, 1)
	s.mux.HandleFunc("GET /endless", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		line := bytes.Repeat([]byte("x"), 64<<10)
		fmt.Fprint(w, "data: before\n\ndata: ")
		total := 0
		for n, err := 0, error(nil); err == nil && total < 1<<30; total += n {
			n, err = w.Write(line)
		}
		sent <- total
	})
	got, _ := evaluate[[]float64](t, s.URL, `async () => {
		const { instantiate } = WebAssembly;
		let memory;
		WebAssembly.instantiate = async (...args) => {
			const instance = await instantiate(...args);
			memory = instance.exports.mem;
			return instance;
		};
		const { EventSource, goOnly } = await import('/dist/test/eventsource.mjs');
		await goOnly();
		const source = new EventSource('/endless', { maxEventSize: 8 * 2 ** 20 });
		let before = 0;
		source.onmessage = () => { before = memory.buffer.byteLength; };
		return new Promise((resolve) => {
			source.onerror = () => resolve([source.readyState, (memory.buffer.byteLength - before) / 2 ** 20]);
		});
	}`)
	if len(got) != 2 || got[0] != 2 || got[1] > 64 {
		t.Errorf("readyState %v, the engine's memory grew by %v MiB, want 2 and at most 64", got[0], got[1])
	}
	if total := <-sent; total == 1<<30 {
		t.Error("the browser kept reading")
	}
}

func TestLoadingLeavesNoTrace(t *testing.T) {
	t.Parallel()
	s := openSite(t)
	const names = `const names = () => Object.getOwnPropertyNames(globalThis); const before = names();`
	got, _ := evaluate[[]string](t, s.URL, `async () => {`+names+importModule+untilMessage+`
		const native = globalThis.EventSource;
		await untilMessage(new EventSource('/stream'));
		return [...names().filter((name) => !before.includes(name)), String(globalThis.EventSource === native)];
	}`)
	if want := []string{"true"}; !slices.Equal(got, want) {
		t.Errorf("the module adds or changes globals: %q", got)
	}
	got, _ = evaluate[[]string](t, s.URL, `async () => {`+names+untilMessage+`
		const native = Object.getOwnPropertyDescriptor(globalThis, 'EventSource');
		const script = document.createElement('script');
		script.src = '/dist/eventsource.js';
		await new Promise((resolve) => { script.onload = resolve; document.head.append(script); });
		await untilMessage(new EventSource('/stream'));
		const ours = Object.getOwnPropertyDescriptor(globalThis, 'EventSource');
		const same = ['writable', 'enumerable', 'configurable'].every((key) => native[key] === ours[key]);
		return [...names().filter((name) => !before.includes(name)), String(same), String(native.value === ours.value)];
	}`)
	if want := []string{"true", "false"}; !slices.Equal(got, want) {
		t.Errorf("the classic script adds globals, or defines EventSource differently from the browser: %q", got)
	}
}

// Once a source is CLOSED, for whatever reason, neither the engine nor JavaScript keeps it.
func TestClosedSourcesLeaveNothing(t *testing.T) {
	t.Parallel()
	for name, moduleURL := range map[string]string{"the module arrives": "undefined", "the module never arrives": "'/never.wasm'"} {
		t.Run(name, func(t *testing.T) { closedSourcesLeaveNothing(t, moduleURL) })
	}
}

func closedSourcesLeaveNothing(t *testing.T, moduleURL string) {
	t.Parallel()
	s := openSite(t)
	tab := newTab(t)
	if err := chromedp.Do(tab, chromedp.Navigate(s.URL)); err != nil {
		t.Fatal(err)
	}
	const sources = 10_000
	script := fmt.Sprintf(`globalThis.work = (async () => {%s
		if (%s) globalThis.EVENTSOURCE_WASM_URL = %[2]s;
		globalThis.sources = [];
		const event = new TextEncoder().encode('data: a\n\n');
		const { fetch } = globalThis;
		globalThis.fetch = async (url, init) => url.endsWith('/never.wasm') ? new Promise(() => {}) : !url.includes('/fake/') ? fetch(url, init) : new Response(
			new ReadableStream({ start: (controller) => controller.enqueue(event) }),
			{ status: Number(url.split('/').pop()), headers: { 'Content-Type': 'text/event-stream' } });
		const one = (status, closeAt) => new Promise((resolve) => {
			const source = new EventSource('/fake/' + status);
			sources.push(new WeakRef(source));
			source.onopen = source.onmessage = source.onerror = ({ type }) => {
				if (type === closeAt) source.close();
				if (source.readyState === EventSource.CLOSED) resolve();
			};
			if (closeAt === 'once') { source.close(); resolve(); }
		});
		const ends = [[200, 'open'], [200, 'message'], [500, 'never'], [200, 'once']];
		for (let i = 0; i < %[3]d; i += 100) {
			await Promise.all(Array.from({ length: 100 }, (_, j) => one(...ends[j %% ends.length])));
		}
		return true;
	})()`, importModule, moduleURL, sources)
	if _, err := chromedp.Run(tab, chromedp.Evaluate[bool](script, chromedp.EvalAwaitPromise)); err != nil {
		t.Fatal(err)
	}
	if err := chromedp.Do(tab, chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
		_, err := chromedp.Call(ctx, heapprofiler.CollectGarbage, chromedp.Void{})
		return err
	})); err != nil {
		t.Fatal(err)
	}
	left, err := chromedp.Run(tab, chromedp.Evaluate[int](`sources.filter((source) => source.deref()).length`))
	if err != nil {
		t.Fatal(err)
	}
	if left > 10 {
		t.Errorf("%d of %d closed sources are still referenced", left, sources)
	}
}
