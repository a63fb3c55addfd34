package e2e

import (
	"crypto/sha512"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// A policy is what a page or its server allows, and what happens to a source under it. docs/csp.md documents these for
// users.
type policy struct {
	name      string
	page      string // headers of the page's response, one per line
	files     string // headers of the script's, the module's and the worker's responses
	html      string // replaces a page that loads the script from its own origin
	elsewhere bool   // whether script, module and worker come from another origin
	worker    string // the option, in JavaScript
	file      bool   // whether the page is opened from a file

	want    string // the engine that received the event, and where; or an error's reason
	console string // a part of the only line on the console; empty for no line
}

// The page's values: {page}, {scripts}, the two origins, and {nonce}, {integrity}.
const (
	scriptOfPage = `<script nonce="{nonce}" src="{scripts}/dist/eventsource.js"></script><script nonce="{nonce}" src="{page}/app.js"></script>`
	strictCSP    = "Content-Security-Policy: script-src 'nonce-{nonce}' 'strict-dynamic'; object-src 'none'; base-uri 'none'"
	strictWasm   = "Content-Security-Policy: script-src 'nonce-{nonce}' 'strict-dynamic' 'wasm-unsafe-eval'; object-src 'none'; base-uri 'none'"
	isolated     = "Cross-Origin-Opener-Policy: same-origin\nCross-Origin-Embedder-Policy: require-corp"
	trusted      = "Content-Security-Policy: require-trusted-types-for 'script'; trusted-types app"
	createURL    = `trustedTypes.createPolicy('app', { createScriptURL: (url) => url }).createScriptURL('/dist/eventsource.worker.js')`
)

var policies = []policy{
	{name: "none", want: "go in the page"},
	{name: "none, in a worker", worker: "true", want: "go in a worker"},
	{name: "none, in a worker at a given URL", worker: "new URL('/dist/eventsource.worker.js', location)", want: "go in a worker"},
	{name: "none, in a missing worker", worker: "'/missing.js'", want: "go in the page", console: "/missing.js: it could not be loaded"},

	{name: "CSP with a nonce and strict-dynamic", page: strictCSP, want: "script in the page", console: "needs 'wasm-unsafe-eval' in script-src"},
	{name: "the same, and wasm-unsafe-eval", page: strictWasm, want: "go in the page"},
	{name: "the same, in a worker", page: strictWasm, worker: "true", want: "go in a worker"},
	{name: "CSP without workers", page: strictWasm + "; worker-src 'none'", worker: "true", want: "go in the page", console: "check the address, worker-src"},
	{
		name: "CSP without the module's origin in connect-src", page: "Content-Security-Policy: connect-src {page}", elsewhere: true,
		want: "script in the page", console: "the Content-Security-Policy needs it in connect-src",
	},
	{name: "CSP with both origins in connect-src", page: "Content-Security-Policy: connect-src {page} {scripts}", elsewhere: true, want: "go in the page"},
	{
		name: "CSP without the stream's origin in connect-src", page: "Content-Security-Policy: connect-src 'none'",
		want: "csp", console: "the browser does not allow the request",
	},
	{name: "the scripts' origin without CORS", files: "Access-Control-Allow-Origin: https://another.example", elsewhere: true,
		want: "script in the page", console: "check the address and CORS"},

	{name: "Trusted Types", page: trusted, want: "go in the page"},
	{name: "Trusted Types, in a worker", page: trusted, worker: "true", want: "go in the page", console: "TrustedScriptURL"},
	{name: "Trusted Types, in a worker at a trusted URL", page: trusted, worker: createURL, want: "go in a worker"},

	{name: "isolation", page: isolated, want: "go in the page"},
	{name: "isolation, in a worker without a policy", page: isolated, worker: "true", want: "go in the page", console: "its Cross-Origin-Embedder-Policy"},
	{name: "isolation, in a worker", page: isolated, files: "Cross-Origin-Embedder-Policy: require-corp", worker: "true", want: "go in a worker"},
	{
		name: "isolation, files from another origin", page: isolated, files: "Cross-Origin-Resource-Policy: cross-origin", elsewhere: true,
		want: "go in the page",
	},
	{
		name: "integrity", elsewhere: true, want: "go in the page",
		html: `<script src="{scripts}/dist/eventsource.js" integrity="{integrity}" crossorigin></script><script src="/app.js"></script>`,
	},
	{name: "files from another origin, in a worker", elsewhere: true, worker: "true", want: "go in a worker"},
	{
		name: "a sandboxed frame", want: "go in the page",
		html: `<script>addEventListener('message', ({ data }) => settle(data)); const settled = new Promise((resolve) => { settle = resolve; }); var settle; globalThis.result = settled;</script>
			<iframe sandbox="allow-scripts" src="{page}/framed"></iframe>`,
	},
	{
		name: "a popup with about:blank", want: "go in the page",
		html: `<script>globalThis.result = (async () => {
			const popup = open('about:blank');
			for (const path of ['/dist/eventsource.js', '/app.js']) {
				const script = popup.document.createElement('script');
				script.src = path;
				await new Promise((resolve) => { script.onload = resolve; popup.document.body.append(script); });
			}
			return popup.result;
		})();</script>`,
	},
	{name: "no referrer", page: "Referrer-Policy: no-referrer", want: "go in the page"},
	{ // a worker has the policy of its own script
		name: "no referrer, in a worker", page: "Referrer-Policy: no-referrer", files: "Referrer-Policy: no-referrer", worker: "true",
		want: "go in a worker",
	},
	{name: "a file", file: true, want: "script in the page"},
	{name: "a file, in a worker", file: true, worker: "true", want: "script in the page", console: "runs without its worker"},
}

// app is the script of each page. It resolves with what received an event, and with the lines on the console.
const app = `globalThis.result = new Promise((resolve) => {
	const lines = [];
	for (const level of ['error', 'warn', 'info']) console[level] = (...values) => lines.push(values.join(' '));
	addEventListener('unhandledrejection', ({ reason }) => lines.push('unhandled ' + reason));
	addEventListener('error', ({ message }) => lines.push('uncaught ' + message));
	let workers = 0, data, engine;
	const { Worker } = globalThis;
	globalThis.Worker = function (...values) { workers++; return new Worker(...values); };
	const settle = () => {
		const where = workers > 0 && !lines.some((line) => line.includes('without its worker')) ? 'a worker' : 'the page';
		if (data !== undefined && engine) resolve({ got: engine + ' in ' + where, lines });
	};
	const diagnostics = [];
	diagnostics.push = ({ what, engine: name, reason }) => {
		if (what === 'engine' && (name === 'go' || reason)) engine = name;
		settle();
	};
	const source = new EventSource('{page}/stream', { headers: { 'X-Token': 'secret' }, diagnostics, worker: {worker} });
	source.onmessage = (event) => { data = event.data; settle(); };
	source.onerror = ({ reason, willRetry }) => { if (!willRetry) resolve({ got: reason, lines }); };
});`

func TestPolicies(t *testing.T) {
	requireDist(t)
	for _, p := range policies {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			p.check(t)
		})
	}
}

func (p policy) check(t *testing.T) {
	t.Helper()
	s := p.serve(t)
	url := s.page.URL + "/"
	if p.file {
		url = s.writeFiles(t)
	}
	tab := newTab(t)
	if err := chromedp.Do(tab, chromedp.Navigate(url), waitFor(`globalThis.result !== undefined`)); err != nil {
		t.Fatalf("opening the page: %v", err)
	}
	type outcome struct {
		Got   string   `json:"got"`
		Lines []string `json:"lines"`
	}
	result, err := chromedp.Run(tab, chromedp.Evaluate[outcome](`result`, chromedp.EvalAwaitPromise))
	if err != nil {
		t.Fatalf("neither an event nor a permanent error: %v", err)
	}
	if result.Got != p.want {
		t.Errorf("got %q, want %q; on the console: %q", result.Got, p.want, result.Lines)
	}
	if p.console == "" && len(result.Lines) > 0 || p.console != "" && (len(result.Lines) != 1 || !strings.Contains(result.Lines[0], p.console)) {
		t.Errorf("console: %q, want one line with %q (no line if empty)", result.Lines, p.console)
	}
	if strings.Contains(p.page, "Referrer-Policy") {
		if referrer := <-s.referrers; referrer != "" {
			t.Errorf("the request has the Referer %q", referrer)
		}
	}
}

// A policySite serves the two origins of a page under a policy.
type policySite struct {
	policy
	page, scripts *httptest.Server
	referrers     chan string
}

func (p policy) serve(t *testing.T) *policySite {
	t.Helper()
	s := &policySite{policy: p, referrers: make(chan string, 100)}
	files := http.StripPrefix("/dist/", http.FileServer(http.Dir(dist)))
	pages := http.NewServeMux()
	pages.Handle("/dist/", s.withHeaders(files))
	pages.HandleFunc("GET /app.js", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/javascript")
		fmt.Fprint(w, s.fill(app))
	})
	pages.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) { s.servePage(w, p.html, p.page) })
	pages.HandleFunc("GET /framed", func(w http.ResponseWriter, r *http.Request) {
		s.servePage(w, scriptOfPage+`<script>result.then((value) => parent.postMessage(value, '*'))</script>`, "")
	})
	pages.HandleFunc("GET /plain", func(w http.ResponseWriter, r *http.Request) { s.servePage(w, " ", "") })
	pages.HandleFunc("/stream", s.stream)
	s.page = httptest.NewServer(pages)
	s.scripts = s.page
	if p.elsewhere {
		others := http.NewServeMux()
		others.Handle("/dist/", s.withHeaders(files))
		s.scripts = httptest.NewServer(others)
		t.Cleanup(s.scripts.Close)
	}
	t.Cleanup(s.page.Close)
	t.Cleanup(s.page.CloseClientConnections)
	return s
}

func (s *policySite) fill(text string) string {
	worker := s.worker
	if worker == "" {
		worker = "false"
	}
	return strings.NewReplacer("{page}", s.page.URL, "{scripts}", s.scripts.URL, "{nonce}", "c2VjcmV0", "{worker}", worker, "{integrity}", integrity()).Replace(text)
}

func integrity() string {
	script, _ := os.ReadFile(filepath.Join(dist, "eventsource.js"))
	hash := sha512.Sum384(script)
	return "sha384-" + base64.StdEncoding.EncodeToString(hash[:])
}

func (s *policySite) servePage(w http.ResponseWriter, html, headers string) {
	if html == "" {
		html = scriptOfPage
	}
	setHeaders(w, s.fill(headers))
	w.Header().Set("Content-Type", "text/html")
	fmt.Fprint(w, s.fill(`<!doctype html><title>policy</title><link rel="icon" href="data:,"><body>`+html))
}

func setHeaders(w http.ResponseWriter, lines string) {
	for line := range strings.Lines(lines) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), ": "); ok {
			w.Header().Set(name, value)
		}
	}
}

func (s *policySite) withHeaders(files http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Access-Control-Allow-Origin", "*")
		setHeaders(w, s.files)
		files.ServeHTTP(w, r)
	})
}

// stream keeps sending an event, because an engine takes a source over only when data arrives.
func (s *policySite) stream(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Access-Control-Allow-Origin", "*")
	w.Header().Set("Access-Control-Allow-Headers", "X-Token")
	if r.Method == http.MethodOptions {
		return
	}
	s.referrers <- r.Header.Get("Referer")
	w.Header().Set("Content-Type", "text/event-stream")
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		fmt.Fprint(w, "data: tick\n\n")
		http.NewResponseController(w).Flush()
		select {
		case <-tick.C:
		case <-r.Context().Done():
			return
		}
	}
}

// writeFiles writes the page and what it loads into a folder, and returns the page's address there.
func (s *policySite) writeFiles(t *testing.T) string {
	t.Helper()
	folder := t.TempDir()
	for _, name := range []string{"eventsource.js", "eventsource.wasm", "eventsource.worker.js"} {
		copyFile(t, filepath.Join(dist, name), filepath.Join(folder, name))
	}
	write(t, filepath.Join(folder, "app.js"), s.fill(app))
	write(t, filepath.Join(folder, "index.html"), `<!doctype html><title>file</title><body><script src="eventsource.js"></script><script src="app.js"></script>`)
	return "file://" + filepath.ToSlash(folder) + "/index.html"
}
