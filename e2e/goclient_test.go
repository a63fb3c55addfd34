package e2e

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

const examplePage = "../wasm/eventsource/example/page"

// exampleFiles compiles the example page in Go and serves it with the policy that the URL names.
var exampleFiles = sync.OnceValues(func() (http.Handler, error) {
	binary, err := os.CreateTemp("", "page-*.wasm")
	if err != nil {
		return nil, err
	}
	defer os.Remove(binary.Name())
	defer binary.Close()
	build := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", binary.Name(), ".")
	build.Dir = examplePage
	build.Env = append(os.Environ(), "GOOS=js", "GOARCH=wasm")
	build.Stderr = os.Stderr
	if err := build.Run(); err != nil {
		return nil, err
	}
	module, err := os.ReadFile(binary.Name())
	if err != nil {
		return nil, err
	}
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		return nil, err
	}
	support := filepath.Join(strings.TrimSpace(string(root)), "lib", "wasm", "wasm_exec.js")
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Security-Policy", r.FormValue("policy"))
		http.ServeFile(w, r, examplePage+"/index.html")
	})
	mux.HandleFunc("GET /wasm_exec.js", func(w http.ResponseWriter, r *http.Request) { http.ServeFile(w, r, support) })
	mux.HandleFunc("GET /page.wasm", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/wasm")
		w.Write(module)
	})
	return mux, nil
})

// openExample opens the page at origin A of a lab and makes it follow a stream.
func openExample(t *testing.T, query, origin, path string) (*goPage, *lab) {
	t.Helper()
	files, err := exampleFiles()
	if err != nil {
		t.Fatalf("building the page: %v", err)
	}
	l, err := newLab(files, "127.0.0.1", "127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.close)
	page := &goPage{t, newTab(t)}
	page.do(chromedp.Navigate(l.url("A") + "/" + query))
	page.waitState("ready")
	page.do(chromedp.Steps(
		empty("url"),
		chromedp.SendKeys(chromedp.CSS("#url"), l.url(origin)+path),
		chromedp.SendKeys(chromedp.CSS("#token"), "secret"),
		chromedp.Click(chromedp.CSS("#follow button")),
	))
	return page, l
}

type goPage struct {
	*testing.T
	tab context.Context
}

func (p *goPage) do(action chromedp.Action[chromedp.Void]) {
	p.Helper()
	if err := chromedp.Do(p.tab, action); err != nil {
		p.Fatal(err)
	}
}

func (p *goPage) waitState(state string) { p.Helper(); p.waitText("#state", state) }

// waitEvents waits for the events' data, separated by spaces.
func (p *goPage) waitEvents(events string) { p.Helper(); p.waitText("#events", events) }

func (p *goPage) waitText(selector, text string) {
	p.Helper()
	const words = `[...document.querySelector(%q).childNodes].map(({ textContent }) => textContent).join(' ')`
	found := fmt.Sprintf(words, selector)
	if err := chromedp.Do(p.tab, waitFor(fmt.Sprintf("%s === %q", found, text))); err != nil {
		shown, _ := chromedp.Run(p.tab, chromedp.Evaluate[string](found))
		p.Fatalf("%s shows %q, want %q: %v", selector, shown, text, err)
	}
}

// next returns the next request for a stream.
func (l *lab) next(t *testing.T, stream string) *exchange {
	t.Helper()
	select {
	case x := <-l.requests(stream):
		return x
	case <-time.After(patience):
		t.Fatalf("no request in %v", patience)
		return nil
	}
}

func (x *exchange) header(name string) (values []string) {
	for _, header := range x.Headers {
		if strings.EqualFold(header[0], name) {
			values = append(values, header[1])
		}
	}
	return values
}

func TestGoPage(t *testing.T) {
	t.Parallel()
	page, l := openExample(t, "", "A", "/stream/s")
	x := l.next(t, "s")
	if got := x.header("authorization"); !slices.Equal(got, []string{"Bearer secret"}) {
		t.Errorf("Authorization = %q", got)
	}
	if got := x.header("accept"); !slices.Equal(got, []string{"text/event-stream"}) {
		t.Errorf("Accept = %q", got)
	}
	const head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
	x.write(t.Context(), []byte(head+"retry: 1\n\nid: é1\ndata: one\n\nid: 2\ndata: half"))
	page.waitEvents("one")
	page.waitState("open")
	x.reset(t.Context(), nil)

	x = l.next(t, "s")
	if got := x.header("last-event-id"); !slices.Equal(got, []string{"Ã©1"}) {
		t.Errorf("Last-Event-ID of the reconnection = %q, want %q", got, "Ã©1")
	}
	x.write(t.Context(), []byte(head+"data: two\n\n"))
	page.waitEvents("one two")
	page.do(chromedp.Click(chromedp.CSS("#stop")))
	page.waitState("stopped")
	x.awaitClosed(t.Context(), nil)

	// The page lives on, and so does its program.
	page.do(chromedp.Click(chromedp.CSS("#follow button")))
	x = l.next(t, "s")
	if got := x.header("last-event-id"); got != nil {
		t.Errorf("Last-Event-ID of a new source = %q, want none", got)
	}
	x.write(t.Context(), []byte("HTTP/1.1 204 No Content\r\n\r\n"))
	page.waitState("status")
}

// A request that the browser forbids is reported and not retried.
func TestGoPageIsForbidden(t *testing.T) {
	t.Parallel()
	t.Run("CORS", func(t *testing.T) {
		page, l := openExample(t, "", "B", "/stream/s")
		refusal := []byte("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
		x := l.next(t, "s")
		if x.Method != "OPTIONS" {
			t.Errorf("got %s, want a preflight", x.Method)
		}
		x.write(t.Context(), refusal)
		if x = l.next(t, "s"); x.Method != "HEAD" || x.header("authorization") != nil {
			t.Errorf("got %s with %q, want HEAD without Authorization", x.Method, x.Headers)
		}
		x.write(t.Context(), refusal)
		page.waitState("eventsource: the server does not allow the page's origin by CORS: JavaScript error: Failed to fetch")
	})
	t.Run("policy", func(t *testing.T) {
		page, _ := openExample(t, "?policy=connect-src 'self'", "B", "/stream/s")
		page.waitState("eventsource: the page's Content-Security-Policy does not allow the request: JavaScript error: Failed to fetch")
	})
}
