package main

import (
	"context"
	"embed"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/evanw/esbuild/pkg/api"

	"github.com/eventsource-wasm/eventsource-wasm/e2e/bench/peers"
)

//go:embed *.html
var files embed.FS

// scripts are the libraries that ours is compared with: all of them in peers.js, and each in a file of its name.
type scripts map[string][]byte

// bundle installs the libraries, from npm's cache if possible, and bundles them into scripts.
func bundle(ctx context.Context) (scripts, error) {
	folder, err := os.MkdirTemp("", "bench-peers-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(folder)
	if err := peers.Install(ctx, folder); err != nil {
		return nil, err
	}
	all := scripts{}
	if all["peers.js"], err = script(filepath.Join(folder, "peers.mjs"), "const { peers } = bundle;"); err != nil {
		return nil, err
	}
	for _, name := range libraries {
		if all[name+".js"], err = script(filepath.Join(folder, name+".mjs"), "const connect = bundle.default;"); err != nil {
			return nil, err
		}
	}
	return all, nil
}

func script(entry, footer string) ([]byte, error) {
	built := api.Build(api.BuildOptions{
		EntryPoints:       []string{entry},
		Bundle:            true,
		MinifyWhitespace:  true,
		MinifyIdentifiers: true,
		MinifySyntax:      true,
		Platform:          api.PlatformBrowser,
		Format:            api.FormatIIFE,
		GlobalName:        "bundle",
		Footer:            map[string]string{"js": footer},
		Define:            map[string]string{"process.env.NODE_ENV": `"production"`},
	})
	if len(built.Errors) > 0 {
		return nil, fmt.Errorf("bundling %s: %s", filepath.Base(entry), built.Errors[0].Text)
	}
	return built.OutputFiles[0].Contents, nil
}

// A figure is the cost of one turn.
type figure struct {
	Processor time.Duration `json:"processor"` // of the main thread, in nanoseconds
	Wall      time.Duration `json:"wall"`      // in nanoseconds
	Memory    int64         `json:"memory"`    // the page's growth, in bytes
	Failure   string        `json:"failure,omitempty"`
}

// measureAll returns the figures by implementation. If it measures memory, each implementation has its own browser.
func measureAll(ctx context.Context, w workload, rounds int, scripts scripts) (map[string][]figure, error) {
	if !w.sample {
		return measure(ctx, w, implementations, rounds, scripts)
	}
	all := map[string][]figure{}
	for _, name := range implementations {
		runs, err := measure(ctx, w, []string{name}, 1, scripts)
		if err != nil {
			return nil, err
		}
		all[name] = runs[name]
	}
	return all, nil
}

// A measurement runs a workload on some implementations.
type measurement struct {
	workload workload
	stream   []byte
	browser  *browser

	mu    sync.Mutex
	begin chan struct{} // closed when the stream may begin
	from  figure
	warm  bool
	runs  map[string][]figure
	over  chan error
}

func measure(ctx context.Context, w workload, names []string, rounds int, scripts scripts) (map[string][]figure, error) {
	m := &measurement{workload: w, stream: w.stream(), begin: make(chan struct{}), runs: map[string][]figure{}, over: make(chan error, 1)}
	site := serve(m.routes(scripts), link{}, w.sources > 0)
	defer site.Close()
	defer site.CloseClientConnections()
	setting, err := json.Marshal(map[string]any{"name": w.name, "names": names, "sources": w.streams(), "events": w.count * w.streams(),
		"units": w.units(), "bytes": len(m.stream) / w.count, "rounds": rounds, "seconds": w.seconds()})
	if err != nil {
		return nil, err
	}
	m.mu.Lock()
	m.browser, err = openBrowser(ctx, site.URL+"/#"+url.PathEscape(string(setting)))
	m.mu.Unlock()
	if err != nil {
		return nil, err
	}
	defer m.browser.close()
	err = await(ctx, m.over)
	return m.runs, err
}

func (m *measurement) routes(scripts scripts) http.Handler {
	mux := site("page.html", scripts)
	mux.HandleFunc("GET /stream", func(w http.ResponseWriter, r *http.Request) {
		m.mu.Lock()
		begin := m.begin
		m.mu.Unlock()
		m.workload.send(w, r, m.stream, begin)
	})
	mux.HandleFunc("POST /mark", m.mark)
	return mux
}

// mark handles the page's reports: a turn begins or ends, the page is warm, or all is done.
func (m *measurement) mark(_ http.ResponseWriter, r *http.Request) {
	m.mu.Lock()
	defer m.mu.Unlock()
	processor, memory, err := m.browser.usage()
	now := figure{Processor: processor, Memory: memory, Wall: time.Duration(time.Now().UnixNano())}
	query := r.URL.Query()
	switch {
	case err != nil:
		m.finish(err)
	case query.Has("begin"):
		m.from = now
		close(m.begin)
	case query.Has("end"):
		m.end(query.Get("end"), query.Get("failure"), now)
	case query.Has("warm"):
		m.warm = true
	default:
		m.finish(nil)
	}
}

func (m *measurement) end(name, failure string, now figure) {
	m.begin = make(chan struct{})
	if m.warm {
		m.runs[name] = append(m.runs[name], figure{now.Processor - m.from.Processor, now.Wall - m.from.Wall, now.Memory - m.from.Memory, failure})
	}
}

func (m *measurement) finish(err error) {
	select {
	case m.over <- err:
	default:
	}
}
