package main

import (
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func serveFile(h http.Handler, path string, header ...string) *httptest.ResponseRecorder {
	request := httptest.NewRequest(http.MethodGet, "/", nil)
	request.URL.Path = path
	for i := 0; i < len(header); i += 2 {
		request.Header.Set(header[i], header[i+1])
	}
	recorder := httptest.NewRecorder()
	h.ServeHTTP(recorder, request)
	return recorder
}

func TestAssets(t *testing.T) {
	page, dist := pageAndDist(t)
	built := time.Now()
	for name, content := range map[string]string{
		"eventsource.wasm": "wasm", "eventsource.wasm.br": "wasm, br", "eventsource.wasm.gz": "wasm, gzip",
		"eventsource.js": "js", "eventsource.js.gz": "js, gzip",
		"eventsource.mjs": "mjs", "index.d.ts": "ts", "package.json": "{}", "LICENSE": "MIT",
	} {
		write(t, filepath.Join(dist, name), content)
		if err := os.Chtimes(filepath.Join(dist, name), built, built); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dist, "folder"), 0o755); err != nil {
		t.Fatal(err)
	}
	const javascript, plain = "text/javascript; charset=utf-8", "text/plain; charset=utf-8"
	tests := map[string]struct {
		path, accept         string
		status               int
		contentType, content string
	}{
		"wasm":           {"eventsource.wasm", "", 200, "application/wasm", "wasm"},
		"brotli":         {"eventsource.wasm", "gzip, deflate, br, zstd", 200, "application/wasm", "wasm, br"},
		"gzip":           {"eventsource.wasm", "gzip, br;q=0", 200, "application/wasm", "wasm, gzip"},
		"neither":        {"eventsource.wasm", "zstd, brotli", 200, "application/wasm", "wasm"},
		"no variant":     {"eventsource.mjs", "gzip, br", 200, javascript, "mjs"},
		"one variant":    {"eventsource.js", "br;q=1.0, gzip;q=0.5", 200, javascript, "js, gzip"},
		"script":         {"eventsource.js", "", 200, javascript, "js"},
		"types":          {"index.d.ts", "", 200, plain, "ts"},
		"JSON":           {"package.json", "", 200, "application/json", "{}"},
		"other":          {"LICENSE", "", 200, "application/octet-stream", "MIT"},
		"a variant":      {"eventsource.js.gz", "", 200, "application/octet-stream", "js, gzip"},
		"missing":        {"eventsource.map", "", 404, plain, ""},
		"folder":         {"folder", "", 404, plain, ""},
		"listing":        {"", "", 404, plain, ""},
		"outside":        {"../" + filepath.Base(page), "", 404, plain, ""},
		"outside, again": {"folder/../../" + filepath.Base(page), "", 404, plain, ""},
		"absolute":       {page, "", 404, plain, ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			answer := serveFile(assets(dist), test.path, "Accept-Encoding", test.accept)
			header := answer.Header()
			if answer.Code != test.status || header.Get("Content-Type") != test.contentType {
				t.Errorf("status %d, headers %v", answer.Code, header)
			}
			if header.Get("X-Content-Type-Options") != "nosniff" {
				t.Errorf("headers %v", header)
			}
			if test.status != http.StatusOK {
				return
			}
			_, encoding, _ := strings.Cut(test.content, ", ")
			if strings.HasSuffix(test.path, ".gz") {
				encoding = ""
			}
			if answer.Body.String() != test.content || header.Get("Content-Encoding") != encoding {
				t.Errorf("body %q, headers %v", answer.Body, header)
			}
			if header.Get("Vary") != "Accept-Encoding" || header.Get("Cache-Control") != "no-cache" {
				t.Errorf("headers %v", header)
			}
		})
	}
}

func TestRevalidation(t *testing.T) {
	_, dist := pageAndDist(t)
	file := filepath.Join(dist, "eventsource.js")
	write(t, file, "one")
	write(t, file+".gz", "compressed") // later, so not stale
	tag := serveFile(assets(dist), "eventsource.js").Header().Get("ETag")
	if answer := serveFile(assets(dist), "eventsource.js", "If-None-Match", tag); answer.Code != 304 || answer.Body.Len() > 0 {
		t.Errorf("status %d, body %q", answer.Code, answer.Body)
	}
	if answer := serveFile(assets(dist), "eventsource.js", "If-None-Match", tag, "Accept-Encoding", "gzip"); answer.Code != 200 {
		t.Errorf("the compressed variant has the same ETag: status %d", answer.Code)
	}
	write(t, file, "two")
	if answer := serveFile(assets(dist), "eventsource.js", "If-None-Match", tag); answer.Code != 200 || answer.Body.String() != "two" {
		t.Errorf("status %d, body %q", answer.Code, answer.Body)
	}
}

// A compressed file that is older than the original is not served.
func TestStaleVariant(t *testing.T) {
	_, dist := pageAndDist(t)
	file := filepath.Join(dist, "eventsource.wasm")
	write(t, file, "new")
	write(t, file+".br", "old")
	if err := os.Chtimes(file+".br", time.Time{}, time.Now().Add(-time.Hour)); err != nil {
		t.Fatal(err)
	}
	if answer := serveFile(assets(dist), "eventsource.wasm", "Accept-Encoding", "br"); answer.Body.String() != "new" {
		t.Errorf("served %q", answer.Body)
	}
}

func TestPage(t *testing.T) {
	file, _ := pageAndDist(t)
	answer := serveFile(page(file), "/")
	policy := answer.Header().Get("Content-Security-Policy")
	if answer.Body.String() != testPage || answer.Header().Get("Content-Type") != "text/html; charset=utf-8" {
		t.Errorf("headers %v, body %q", answer.Header(), answer.Body)
	}
	want := "script-src 'self' 'wasm-unsafe-eval' 'sha256-" + hash("run()") + "'; "
	if !strings.HasPrefix(policy, "default-src 'none'; "+want) || !strings.Contains(policy, "frame-ancestors 'none'") {
		t.Errorf("policy %q, want %q", policy, want)
	}
	// The page is edited while the server runs.
	write(t, file, "<script>changed()</script>")
	if policy := serveFile(page(file), "/").Header().Get("Content-Security-Policy"); !strings.Contains(policy, hash("changed()")) {
		t.Errorf("policy %q", policy)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if answer := serveFile(page(file), "/"); answer.Code != http.StatusInternalServerError {
		t.Errorf("status %d", answer.Code)
	}
}

func hash(script string) string {
	sum := sha256.Sum256([]byte(script))
	return base64.StdEncoding.EncodeToString(sum[:])
}
