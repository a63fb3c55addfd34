package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
)

// A memory is the memory of a page and its workers after a garbage collection, in bytes, with one implementation. The
// memory of the module in a worker cannot be measured.
type memory struct {
	Name    string  `json:"name"`
	Empty   int64   `json:"empty"`   // before the first source
	One     int64   `json:"one"`     // with one source that has received an event
	Many    int64   `json:"many"`    // with heldSources more
	Closed  int64   `json:"closed"`  // with all sources closed
	Before  int64   `json:"before"`  // with one source that has received earlyEvents
	After   int64   `json:"after"`   // after it has received all events
	Longest float64 `json:"longest"` // the longest task over 50 ms between Before and After, in milliseconds; 0 for none
	Failure string  `json:"failure,omitempty"`
}

const (
	heldSources = 100
	earlyEvents = 10_000
)

func measureMemories(ctx context.Context, events int, scripts scripts) (all []memory, err error) {
	for _, name := range implementations {
		if name == "floor" {
			continue
		}
		m, err := measureMemory(ctx, name, events, scripts)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		all = append(all, m)
	}
	return all, nil
}

func measureMemory(ctx context.Context, name string, events int, scripts scripts) (memory, error) {
	m, over := memory{Name: name}, make(chan error, 1)
	site := serve(memoryRoutes(events, scripts, &m, over), link{}, true)
	defer site.Close()
	defer site.CloseClientConnections()
	setting, err := json.Marshal(map[string]any{"name": name, "sources": heldSources, "early": earlyEvents, "events": events})
	if err != nil {
		return memory{}, err
	}
	// Without the flag, the measurement waits for the next garbage collection.
	browser, err := openBrowser(ctx, site.URL+"/#"+url.PathEscape(string(setting)), "--enable-blink-features=ForceEagerMeasureMemory")
	if err != nil {
		return memory{}, err
	}
	defer browser.close()
	err = await(ctx, over)
	return m, err
}

// memoryRoutes stores the page's report in m.
func memoryRoutes(events int, scripts scripts, m *memory, over chan<- error) http.Handler {
	goOn := make(chan struct{})
	mux := site("memory.html", scripts)
	mux.HandleFunc("GET /stream", func(w http.ResponseWriter, r *http.Request) {
		sendSmall(w, 1)
		<-r.Context().Done()
	})
	mux.HandleFunc("GET /flood", func(w http.ResponseWriter, r *http.Request) {
		sendSmall(w, earlyEvents)
		select {
		case <-goOn:
			sendSmall(w, events)
			<-r.Context().Done()
		case <-r.Context().Done():
		}
	})
	mux.HandleFunc("POST /go-on", func(http.ResponseWriter, *http.Request) { close(goOn) })
	mux.HandleFunc("POST /result", func(_ http.ResponseWriter, r *http.Request) {
		over <- json.NewDecoder(r.Body).Decode(m)
	})
	return isolated(mux)
}

// sendSmall stops early if the client has gone.
func sendSmall(w http.ResponseWriter, events int) {
	w.Header().Set("Content-Type", "text/event-stream")
	for i := range events {
		if _, err := fmt.Fprintf(w, small, i); err != nil {
			return
		}
	}
	http.NewResponseController(w).Flush()
}

// isolated sets the headers that pages and workers need to measure memory.
func isolated(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cross-Origin-Opener-Policy", "same-origin")
		w.Header().Set("Cross-Origin-Embedder-Policy", "require-corp")
		next.ServeHTTP(w, r)
	})
}

// memoryTable returns a Markdown table, in kB.
func memoryTable(all []memory, events int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "| kB held | with the first source | for each of %d more | left by them when closed | after %d events more than after %d | longest task meanwhile, ms |\n| --- | --- | --- | --- | --- | --- |\n",
		heldSources, events, earlyEvents)
	for _, m := range all {
		if m.Failure != "" {
			fmt.Fprintf(&b, "| %s | fails: %s | | | | |\n", m.Name, m.Failure)
			continue
		}
		kilobytes := func(bytes int64) float64 { return float64(bytes) / 1000 }
		fmt.Fprintf(&b, "| %s | %.0f | %.1f | %.0f | %.0f | %.0f |\n", m.Name, kilobytes(m.One-m.Empty), kilobytes(m.Many-m.One)/heldSources,
			kilobytes(m.Closed-m.One), kilobytes(m.After-m.Before), m.Longest)
	}
	return b.String()
}
