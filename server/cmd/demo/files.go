package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// mediaTypes replaces the system's table of types, which differs between machines.
var mediaTypes = map[string]string{
	".html": "text/html; charset=utf-8",
	".js":   "text/javascript; charset=utf-8",
	".mjs":  "text/javascript; charset=utf-8",
	".ts":   "text/plain; charset=utf-8", // a browser shows it, and saves application/typescript
	".json": "application/json",
	".map":  "application/json",
	".wasm": "application/wasm",
	".svg":  "image/svg+xml",
	".png":  "image/png",
}

// encodings are the variants looked for beside a file, the smaller one first.
var encodings = []struct{ name, suffix string }{{"br", ".br"}, {"gzip", ".gz"}}

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
		serveContent(w, r, name, content)
	})
}

// variant returns an encoding that the client accepts and that a file exists for. It ignores files older than the original:
// they are left from an earlier build, whose script and module do not match this one's.
func variant(dir fs.FS, name string, modified time.Time, accept string) (encoding, suffix string) {
	for _, e := range encodings {
		info, err := fs.Stat(dir, name+e.suffix)
		if err == nil && !info.ModTime().Before(modified) && accepts(accept, e.name) {
			return e.name, e.suffix
		}
	}
	return "", ""
}

// accepts reports whether the value of Accept-Encoding names the encoding, with a weight other than zero.
func accepts(accept, encoding string) bool {
	for element := range strings.SplitSeq(accept, ",") {
		name, weight, _ := strings.Cut(element, ";")
		if !strings.EqualFold(strings.TrimSpace(name), encoding) {
			continue
		}
		q, err := strconv.ParseFloat(strings.TrimPrefix(strings.TrimSpace(weight), "q="), 64)
		return err != nil || q > 0
	}
	return false
}

// serveContent sends the content, or 304 if the browser has it. File names do not change with the content, so browsers must
// revalidate every time.
func serveContent(w http.ResponseWriter, r *http.Request, name string, content []byte) {
	contentType := mediaTypes[path.Ext(name)]
	if contentType == "" {
		contentType = "application/octet-stream"
	}
	sum := sha256.Sum256(content)
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Cache-Control", "no-cache")
	w.Header().Set("ETag", `"`+hex.EncodeToString(sum[:16])+`"`)
	http.ServeContent(w, r, name, time.Time{}, bytes.NewReader(content))
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
		serveContent(w, r, ".html", content)
	})
}

// connect-src is open because the page connects to any URL that is typed into it.
func contentSecurityPolicy(page []byte) string {
	return "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'" + scriptHashes(page) +
		"; connect-src *; style-src 'self' 'unsafe-inline'; img-src 'self' data:" +
		"; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
}

// inlineScript works for our own pages, which have no "<script" in comments or attributes.
var inlineScript = regexp.MustCompile(`(?is)<script\b[^>]*>(.*?)</script`)

func scriptHashes(page []byte) string {
	// A browser hashes the script it parsed, in which every line end is LF.
	page = bytes.ReplaceAll(page, []byte("\r\n"), []byte("\n"))
	var hashes strings.Builder
	for _, match := range inlineScript.FindAllSubmatch(page, -1) {
		if len(match[1]) == 0 {
			continue
		}
		sum := sha256.Sum256(match[1])
		hashes.WriteString(" 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'")
	}
	return hashes.String()
}
