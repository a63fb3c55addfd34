package main

import (
	"compress/gzip"
	_ "embed"
	"fmt"
	"html"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"path"
	"strings"
	"sync"

	"github.com/eventsource-wasm/eventsource-wasm/server/cmd/internal/static"
)

//go:embed demo.html
var demoPage string

// topicsAttribute is where the page has the topics that everyone may subscribe to.
const topicsAttribute = `data-public=""`

// clientFiles are the files that -demo serves beside the page. The page imports the module. The others are for pages of users.
var clientFiles = []string{"eventsource.js", "eventsource.mjs", "eventsource.worker.js", "eventsource.wasm"}

// noClient is the answer to requests for these files if the binary does not have them.
const noClient = "This binary was built without the JavaScript client. Use the one that `make dist` builds."

// A demo serves a page to try the server with, and the JavaScript client. The page needs no rights of its own: it uses /events
// with the token that is typed into it.
type demo struct {
	page   *static.Content
	policy string
	client map[string]clientFile // by name; empty in a binary without the client
}

// A clientFile is a file of the client. All requests share its contents: everyone may request them, unpacking and hashing take
// time, and a slow client would keep a copy of its own in memory.
type clientFile struct {
	packed   map[string]*static.Content // by content coding
	unpacked func() (*static.Content, error)
}

// newDemo returns a demo whose page suggests the public topics.
func newDemo(public []string, client fs.FS) *demo {
	topics := html.EscapeString(strings.Join(public, ", "))
	page := []byte(strings.Replace(demoPage, topicsAttribute, `data-public="`+topics+`"`, 1))
	return &demo{page: static.NewContent("demo.html", page), policy: demoPolicy(page), client: readClient(client)}
}

// readClient reads each of clientFiles that files has with the suffix .gz.
func readClient(files fs.FS) map[string]clientFile {
	client := map[string]clientFile{}
	for _, name := range clientFiles {
		packed := map[string]*static.Content{}
		for _, e := range static.Encodings {
			if content, err := fs.ReadFile(files, name+e.Suffix); err == nil {
				packed[e.Name] = static.NewContent(name, content)
			}
		}
		if packed["gzip"] != nil {
			client[name] = clientFile{packed, sync.OnceValues(func() (*static.Content, error) { return unpack(files, name) })}
		}
	}
	return client
}

// demoPolicy lets the page run its own script, the client and the module, and connect to this server only. Trusted Types stop
// the page from making HTML of what arrives.
func demoPolicy(page []byte) string {
	return "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'" + static.ScriptHashes(page) +
		"; style-src" + static.StyleHashes(page) + "; connect-src 'self'; img-src data:; require-trusted-types-for 'script'" +
		"; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
}

func (d *demo) register(mux *http.ServeMux, logger *slog.Logger) {
	mux.HandleFunc("GET /{$}", d.servePage)
	for _, name := range clientFiles {
		mux.HandleFunc("GET /"+name, d.serveClient)
	}
	if len(d.client) < len(clientFiles) {
		logger.Warn("-demo: this binary was built without the JavaScript client: use the one that make dist builds")
	}
}

func (d *demo) servePage(w http.ResponseWriter, r *http.Request) {
	header := w.Header()
	header.Set("Content-Security-Policy", d.policy)
	header.Set("Referrer-Policy", "no-referrer")
	header.Set("Cross-Origin-Opener-Policy", "same-origin")
	d.page.ServeHTTP(w, r)
}

// serveClient serves a file in an encoding that the client accepts, or unpacked. The files are public, so pages of every origin
// may load them.
func (d *demo) serveClient(w http.ResponseWriter, r *http.Request) {
	file, has := d.client[path.Base(r.URL.Path)]
	if !has {
		http.Error(w, noClient, http.StatusNotFound)
		return
	}
	w.Header().Set("Access-Control-Allow-Origin", "*")
	w.Header().Set("Cross-Origin-Resource-Policy", "cross-origin")
	w.Header().Set("Vary", "Accept-Encoding")
	for _, e := range static.Encodings {
		if packed := file.packed[e.Name]; packed != nil && static.Accepts(r.Header.Get("Accept-Encoding"), e.Name) {
			w.Header().Set("Content-Encoding", e.Name)
			packed.ServeHTTP(w, r)
			return
		}
	}
	content, err := file.unpacked()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	content.ServeHTTP(w, r)
}

// unpack returns the file whose compressed form is in files.
func unpack(files fs.FS, name string) (*static.Content, error) {
	packed, err := files.Open(name + ".gz")
	if err != nil {
		return nil, err
	}
	defer packed.Close()
	reader, err := gzip.NewReader(packed)
	if err != nil {
		return nil, fmt.Errorf("%s.gz: %w", name, err)
	}
	content, err := io.ReadAll(reader)
	if err != nil {
		return nil, fmt.Errorf("%s.gz: %w", name, err)
	}
	return static.NewContent(name, content), nil
}
