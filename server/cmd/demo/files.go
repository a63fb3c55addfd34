package main

import (
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"time"

	"github.com/eventsource-wasm/eventsource-wasm/server/cmd/internal/static"
)

func checkFiles(page, dist string) error {
	if info, err := os.Stat(page); err != nil || info.IsDir() {
		return fmt.Errorf("page %s not found: run in the folder that contains it, or set -page", page)
	}
	if info, err := os.Stat(dist); err != nil || !info.IsDir() {
		return fmt.Errorf("folder %s not found: run `make build` first, or set -dist", dist)
	}
	return nil
}

// assets serves the files of a folder. It reads the folder for every request, because it is small and may be rebuilt.
func assets(folder string) http.Handler {
	dir := os.DirFS(folder)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name := r.URL.Path
		info, err := fs.Stat(dir, name)
		if err != nil || !info.Mode().IsRegular() {
			http.NotFound(w, r)
			return
		}
		encoding, suffix := variant(dir, name, info.ModTime(), r.Header.Get("Accept-Encoding"))
		content, err := fs.ReadFile(dir, name+suffix)
		if err != nil {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Vary", "Accept-Encoding")
		if encoding != "" {
			w.Header().Set("Content-Encoding", encoding)
		}
		static.ServeContent(w, r, name, content)
	})
}

// variant returns an encoding that the client accepts and that a file exists for. It ignores files older than the original:
// they are left from an earlier build, whose script and module do not match this one's.
func variant(dir fs.FS, name string, modified time.Time, accept string) (encoding, suffix string) {
	for _, e := range static.Encodings {
		info, err := fs.Stat(dir, name+e.Suffix)
		if err == nil && !info.ModTime().Before(modified) && static.Accepts(accept, e.Name) {
			return e.Name, e.Suffix
		}
	}
	return "", ""
}

// page serves an HTML file with a policy that allows only its own inline scripts, by hash.
func page(file string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		content, err := os.ReadFile(file)
		if err != nil {
			http.Error(w, "cannot read the page", http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Security-Policy", contentSecurityPolicy(content))
		static.ServeContent(w, r, ".html", content)
	})
}

// connect-src is open because the page connects to any URL that is typed into it.
func contentSecurityPolicy(page []byte) string {
	return "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'" + static.ScriptHashes(page) +
		"; connect-src *; style-src 'self' 'unsafe-inline'; img-src 'self' data:" +
		"; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
}
