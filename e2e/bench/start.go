package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/andybalholm/brotli"
)

// A starter is a way to load an implementation in a page.
type starter struct {
	name           string
	implementation string
	head           string // HTML
}

// starters are the rows.
var starters = func() []starter {
	all := []starter{
		{"native", "native", `<script>measure(byClass(EventSource))</script>`},
		{"ours", "ours", `<script src="/dist/eventsource.js"></script><script>measure(byClass(EventSource), ready)</script>`},
		{"ours without Go", "ours without Go", `<script>EVENTSOURCE_WASM_URL = null</script><script src="/dist/eventsource.js"></script><script>measure(byClass(EventSource))</script>`},
		{"ours, preloaded", "ours", `<link rel="preload" href="/dist/eventsource.wasm" as="fetch" crossorigin><script src="/dist/eventsource.js"></script><script>measure(byClass(EventSource), ready)</script>`},
		{"ours as a module", "ours", `<script type="module">import { EventSource } from '/dist/eventsource.mjs'; measure(byClass(EventSource), ready)</script>`},
		{"ours in a worker", "ours in a worker", `<script src="/dist/eventsource.js"></script><script>measure(byClass(EventSource, { worker: true }))</script>`},
	}
	for _, name := range libraries {
		all = append(all, starter{name, name, fmt.Sprintf(`<script src="/peers/%s.js"></script><script>measure(connect)</script>`, name)})
	}
	return all
}()

// A start has the times of one visit to a page, in milliseconds since its first script.
type start struct {
	Request float64 `json:"request"` // the request for the stream arrives at the server
	Ready   float64 `json:"ready"`   // a WebAssembly module is instantiated in the page, 0 for none
	Opened  float64 `json:"opened"`  // the open event
	First   float64 `json:"first"`   // the first event of the stream
	Longest float64 `json:"longest"` // the longest task that took more than 50 ms, 0 for none
	Bytes   int64   `json:"bytes"`   // of scripts and modules, as sent

	Begun float64 `json:"begun,omitempty"` // since 1970
}

// The first visit of a profile finds empty caches, the last one full caches.
const visits = 3

// A startSite serves the pages of one implementation to one browser.
type startSite struct {
	head    string
	scripts scripts

	mu     sync.Mutex
	starts [visits]start
	over   chan error
}

// measureStart returns a cold and a warm start, in a new profile.
func measureStart(ctx context.Context, l link, head string, scripts scripts) (cold, warm start, err error) {
	s := &startSite{head: head, scripts: scripts, over: make(chan error, 1)}
	site := serve(s.routes(), l, false)
	defer site.Close()
	defer site.CloseClientConnections()
	browser, err := openBrowser(ctx, site.URL)
	if err != nil {
		return start{}, start{}, err
	}
	defer browser.close()
	err = await(ctx, s.over)
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.starts[0], s.starts[visits-1], err
}

func (s *startSite) routes() http.Handler {
	mux := http.NewServeMux()
	// A browser is busy just after its start.
	mux.HandleFunc("GET /{$}", page(`<!doctype html><link rel="icon" href="data:,"><script>setTimeout(() => location.replace("/visit/0/"), 1000)</script>`))
	text, _ := files.ReadFile("start.html")
	mux.HandleFunc("GET /visit/{visit}/{$}", page(strings.Replace(string(text), "SCRIPT", s.head, 1)))
	mux.HandleFunc("GET /visit/{visit}/stream", s.visit(s.stream))
	mux.HandleFunc("POST /visit/{visit}/result", s.visit(s.result))
	mux.HandleFunc("GET /dist/{name}", func(w http.ResponseWriter, r *http.Request) {
		compressed, err := os.ReadFile(filepath.Join("dist", r.PathValue("name")+".br"))
		s.asset(w, r.PathValue("name"), compressed, err)
	})
	mux.HandleFunc("GET /peers/{name}", func(w http.ResponseWriter, r *http.Request) {
		var compressed bytes.Buffer
		writer := brotli.NewWriterLevel(&compressed, brotli.BestCompression)
		_, err := writer.Write(s.scripts[r.PathValue("name")])
		err = errors.Join(err, writer.Close())
		s.asset(w, r.PathValue("name"), compressed.Bytes(), err)
	})
	return mux
}

func page(text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		w.Header().Set("Cache-Control", "no-store")
		io.WriteString(w, text)
	}
}

// asset serves a file that the browser may cache. Only the first visit requests it.
func (s *startSite) asset(w http.ResponseWriter, name string, compressed []byte, err error) {
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	s.mu.Lock()
	s.starts[0].Bytes += int64(len(compressed))
	s.mu.Unlock()
	types := map[string]string{".wasm": "application/wasm", ".js": "text/javascript", ".mjs": "text/javascript"}
	w.Header().Set("Content-Type", types[filepath.Ext(name)])
	w.Header().Set("Content-Encoding", "br")
	w.Header().Set("Cache-Control", "max-age=3600")
	w.Write(compressed)
}

func (s *startSite) visit(handle func(http.ResponseWriter, *http.Request, int)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		number, err := strconv.Atoi(r.PathValue("visit"))
		if err != nil || number < 0 || number >= visits {
			http.NotFound(w, r)
			return
		}
		handle(w, r, number)
	}
}

// stream sends one event at once, and then enough events for the browser to optimize the code.
func (s *startSite) stream(w http.ResponseWriter, r *http.Request, visit int) {
	s.mu.Lock()
	s.starts[visit].Request = float64(time.Now().UnixMicro()) / 1000
	s.mu.Unlock()
	w.Header().Set("Content-Type", "text/event-stream")
	fmt.Fprint(w, "data: first\n\n")
	http.NewResponseController(w).Flush()
	for i := range 2000 {
		fmt.Fprintf(w, small, i)
	}
	http.NewResponseController(w).Flush()
	<-r.Context().Done()
}

func (s *startSite) result(w http.ResponseWriter, r *http.Request, visit int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	seen := &s.starts[visit]
	if err := json.NewDecoder(r.Body).Decode(seen); err != nil {
		s.over <- err
		return
	}
	seen.Request -= seen.Begun
	seen.Begun = 0
	if visit == visits-1 {
		s.over <- nil
		return
	}
	fmt.Fprintf(w, "/visit/%d/", visit+1)
}

// A starting has the starts of an implementation. Each round adds one of each kind.
type starting struct {
	Name   string             `json:"name"`
	Starts map[string][]start `json:"starts"` // by the kind
}

// startKinds are the columns.
var startKinds = []string{"no limit, cold", "no limit, warm", "4G, cold", "4G, warm"}

func measureStarts(ctx context.Context, rounds int, scripts scripts) ([]starting, error) {
	var all []starting
	for range rounds {
		i := 0
		for _, starter := range starters {
			if !slices.Contains(implementations, starter.implementation) {
				continue
			}
			if i == len(all) {
				all = append(all, starting{starter.name, map[string][]start{}})
			}
			if err := all[i].measure(ctx, starter.head, scripts); err != nil {
				return nil, fmt.Errorf("%s: %w", starter.name, err)
			}
			i++
		}
	}
	return all, nil
}

// measure adds a start of each kind.
func (s starting) measure(ctx context.Context, head string, scripts scripts) error {
	for _, l := range links {
		cold, warm, err := measureStart(ctx, l, head, scripts)
		if err != nil {
			return err
		}
		s.Starts[l.name+", cold"] = append(s.Starts[l.name+", cold"], cold)
		s.Starts[l.name+", warm"] = append(s.Starts[l.name+", warm"], warm)
	}
	return nil
}

// spread returns the median, minimum and maximum over the starts of a kind.
func (s starting) spread(kind string, of func(start) float64) (median, least, most float64) {
	var values []float64
	for _, start := range s.Starts[kind] {
		values = append(values, of(start))
	}
	slices.Sort(values)
	return values[len(values)/2], values[0], values[len(values)-1]
}

// startTable returns Markdown tables: the time until the first event, and the steps before it for ours.
func startTable(all []starting) string {
	var b strings.Builder
	fmt.Fprintf(&b, "| milliseconds until the first event | bytes | %s | longest task |\n", strings.Join(startKinds, " | "))
	b.WriteString("| --- | --- |" + strings.Repeat(" --- |", len(startKinds)+1) + "\n")
	for _, s := range all {
		fmt.Fprintf(&b, "| %s | %d |", s.Name, s.Starts[startKinds[0]][0].Bytes)
		longest := 0.0
		for _, kind := range startKinds {
			median, least, most := s.spread(kind, func(s start) float64 { return s.First })
			fmt.Fprintf(&b, " %.0f (%.0f to %.0f) |", median, least, most)
			_, _, task := s.spread(kind, func(s start) float64 { return s.Longest })
			longest = max(longest, task)
		}
		fmt.Fprintf(&b, " %.0f |\n", longest)
	}
	for _, s := range all {
		if s.Name == "ours" {
			s.writeWaits(&b)
		}
	}
	return b.String()
}

func (s starting) writeWaits(b *strings.Builder) {
	fmt.Fprintf(b, "\n| milliseconds until, of %s | %s |\n| --- |%s\n", s.Name, strings.Join(startKinds, " | "), strings.Repeat(" --- |", len(startKinds)))
	for _, row := range []struct {
		name string
		of   func(start) float64
	}{
		{"the request arrives at the server", func(s start) float64 { return s.Request }},
		{"the module is ready", func(s start) float64 { return s.Ready }},
		{"`open`", func(s start) float64 { return s.Opened }},
		{"the first event", func(s start) float64 { return s.First }},
	} {
		fmt.Fprintf(b, "| %s |", row.name)
		for _, kind := range startKinds {
			median, _, _ := s.spread(kind, row.of)
			fmt.Fprintf(b, " %.0f |", median)
		}
		b.WriteString("\n")
	}
}
