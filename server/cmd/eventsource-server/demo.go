package main

import (
	"bytes"
	"compress/gzip"
	_ "embed"
	"fmt"
	"html"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"path"
	"slices"
	"strings"

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
	page   []byte
	policy string
	client fs.FS // has each of clientFiles with the suffixes .br and .gz, or nothing
}

// newDemo returns a demo whose page suggests the public topics.
func newDemo(public []string, client fs.FS) *demo {
	topics := html.EscapeString(strings.Join(public, ", "))
	page := []byte(strings.Replace(demoPage, topicsAttribute, `data-public="`+topics+`"`, 1))
	return &demo{page: page, policy: demoPolicy(page), client: client}
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
	if !d.hasClient() {
		logger.Warn("-demo: this binary was built without the JavaScript client: use the one that make dist builds")
	}
}

func (d *demo) hasClient() bool {
	return !slices.ContainsFunc(clientFiles, func(name string) bool {
		_, err := fs.Stat(d.client, name+".gz")
		return err != nil
	})
}

func (d *demo) servePage(w http.ResponseWriter, r *http.Request) {
	header := w.Header()
	header.Set("Content-Security-Policy", d.policy)
	header.Set("Referrer-Policy", "no-referrer")
	header.Set("Cross-Origin-Opener-Policy", "same-origin")
	static.ServeContent(w, r, "demo.html", d.page)
}

// serveClient serves a file in an encoding that the client accepts, or unpacked.
func (d *demo) serveClient(w http.ResponseWriter, r *http.Request) {
	name := path.Base(r.URL.Path)
	w.Header().Set("Vary", "Accept-Encoding")
	for _, e := range static.Encodings {
		content, err := fs.ReadFile(d.client, name+e.Suffix)
		if err == nil && static.Accepts(r.Header.Get("Accept-Encoding"), e.Name) {
			w.Header().Set("Content-Encoding", e.Name)
			static.ServeContent(w, r, name, content)
			return
		}
	}
	content, err := unpack(d.client, name+".gz")
	if err != nil {
		http.Error(w, noClient, http.StatusNotFound)
		return
	}
	static.ServeContent(w, r, name, content)
}

func unpack(files fs.FS, name string) ([]byte, error) {
	packed, err := fs.ReadFile(files, name)
	if err != nil {
		return nil, err
	}
	reader, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return io.ReadAll(reader)
}
