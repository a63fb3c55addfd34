package main

import (
	"bytes"
	"compress/gzip"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/eventsource-wasm/eventsource-wasm/server/cmd/internal/static"
)

// packed returns the files of a client as make client copies them. The brotli files are not real.
func packed(t *testing.T) fstest.MapFS {
	t.Helper()
	files := fstest.MapFS{}
	for _, name := range clientFiles {
		var content bytes.Buffer
		w := gzip.NewWriter(&content)
		io.WriteString(w, "content of "+name)
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		files[name+".gz"] = &fstest.MapFile{Data: content.Bytes()}
		files[name+".br"] = &fstest.MapFile{Data: []byte("brotli of " + name)}
	}
	return files
}

func get(h http.Handler, path string, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodGet, path, nil)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func demoRoutes(d *demo) (*http.ServeMux, *strings.Builder) {
	mux, log := http.NewServeMux(), &strings.Builder{}
	d.register(mux, slog.New(slog.NewTextHandler(log, nil)))
	return mux, log
}

func TestDemoPage(t *testing.T) {
	mux, log := demoRoutes(newDemo([]string{"news.*", `a"><script>alert(1)</script>`}, packed(t)))
	w := get(mux, "/")
	page, header := w.Body.String(), w.Header()
	if !strings.Contains(page, `data-public="news.*, a&#34;&gt;&lt;script&gt;alert(1)&lt;/script&gt;"`) {
		t.Error("the page does not have the public topics, escaped")
	}
	policy := header.Get("Content-Security-Policy")
	for _, want := range []string{"default-src 'none'; ", "script-src 'self' 'wasm-unsafe-eval'" + static.ScriptHashes([]byte(page)) + ";",
		"style-src" + static.StyleHashes([]byte(page)) + ";", "connect-src 'self';", "form-action 'none';", "frame-ancestors 'none'", "require-trusted-types-for 'script'"} {
		if !strings.Contains(policy, want) {
			t.Errorf("no %q in the policy %q", want, policy)
		}
	}
	if strings.Contains(policy, "unsafe-inline") || strings.Count(policy, "sha256-") != 2 {
		t.Errorf("policy %q", policy)
	}
	for name, want := range map[string]string{"Content-Type": "text/html; charset=utf-8", "Referrer-Policy": "no-referrer", "Access-Control-Allow-Origin": ""} {
		if got := header.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	// A form that the browser submits itself would put names and values into the URL.
	if strings.Contains(page, " name=") && strings.Count(page, " name=") != strings.Count(page, "<meta name=") {
		t.Error("a field has a name")
	}
	if log.Len() > 0 {
		t.Errorf("log: %s", log)
	}
}

func TestDemoClient(t *testing.T) {
	mux, _ := demoRoutes(newDemo(nil, packed(t)))
	for _, name := range clientFiles {
		for accept, want := range map[string][2]string{
			"gzip, deflate, br, zstd": {"br", "brotli of " + name},
			"gzip, br;q=0":            {"gzip", string(packed(t)[name+".gz"].Data)},
			"":                        {"", "content of " + name},
		} {
			w := get(mux, "/"+name, "Accept-Encoding", accept)
			header := w.Header()
			if w.Code != 200 || header.Get("Content-Encoding") != want[0] || w.Body.String() != want[1] {
				t.Errorf("%s, %q: status %d, headers %v", name, accept, w.Code, header)
			}
			if header.Get("Vary") != "Accept-Encoding" || header.Get("Cache-Control") != "no-cache" || header.Get("X-Content-Type-Options") != "nosniff" || header.Get("Access-Control-Allow-Origin") != "*" {
				t.Errorf("%s, %q: headers %v", name, accept, header)
			}
			if again := get(mux, "/"+name, "Accept-Encoding", accept, "If-None-Match", header.Get("ETag")); again.Code != http.StatusNotModified {
				t.Errorf("%s, %q: status %d", name, accept, again.Code)
			}
		}
	}
	if got := get(mux, "/eventsource.wasm").Header().Get("Content-Type"); got != "application/wasm" {
		t.Errorf("type %q", got)
	}
	for _, path := range []string{"/eventsource.js.gz", "/demo.html", "/client/eventsource.js", "/index.html"} {
		if w := get(mux, path); w.Code != http.StatusNotFound {
			t.Errorf("%s: status %d", path, w.Code)
		}
	}
}

// Everyone may request the files as often as they like, so a request must neither unpack nor copy one.
func TestDemoUnpacksFilesOnce(t *testing.T) {
	files := &countingFS{FS: packed(t)}
	mux, _ := demoRoutes(newDemo(nil, files))
	get(mux, "/eventsource.wasm")
	opened := files.opened
	for _, accept := range []string{"", "gzip", "br", "zstd"} {
		if w := get(mux, "/eventsource.wasm", "Accept-Encoding", accept); w.Code != 200 || files.opened != opened {
			t.Errorf("%q: status %d, the request opens %d files", accept, w.Code, files.opened-opened)
		}
	}
}

// A countingFS counts calls of Open.
type countingFS struct {
	fs.FS
	opened int
}

func (c *countingFS) Open(name string) (fs.File, error) {
	c.opened++
	return c.FS.Open(name)
}

// A binary of go build serves the page too. The log and the answers say what it lacks.
func TestDemoWithoutClient(t *testing.T) {
	mux, log := demoRoutes(newDemo(nil, fstest.MapFS{}))
	if w := get(mux, "/"); w.Code != 200 {
		t.Errorf("status %d", w.Code)
	}
	for _, name := range clientFiles {
		if w := get(mux, "/"+name, "Accept-Encoding", "br"); w.Code != 404 || w.Header().Get("Content-Encoding") != "" || !strings.Contains(w.Body.String(), "make dist") {
			t.Errorf("%s: status %d, headers %v, %s", name, w.Code, w.Header(), w.Body)
		}
	}
	if !strings.Contains(log.String(), "make dist") {
		t.Errorf("log: %s", log)
	}
}

// -demo changes neither who may do what nor what other origins may read, and the page has no secret.
func TestDemoFlag(t *testing.T) {
	p := launch(t, "-demo", "-public", "news.*", "-token", "hunter2", "-cors", "https://app.example")
	response, page := do(t, "GET", p.url+"/", "", "Origin", "https://app.example")
	if response.StatusCode != 200 || !strings.Contains(page, `data-public="news.*"`) || strings.Contains(page, "hunter2") || response.Header.Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("status %d, headers %v", response.StatusCode, response.Header)
	}
	for _, test := range []struct {
		method, path, body string
		status             int
	}{
		{"HEAD", "/", "", 200},
		{"POST", "/", "", 405},
		{"GET", "/other", "", 404},
		{"GET", "/events?topic=news.a", "", 200},
		{"GET", "/events?topic=orders", "", 401},
		{"POST", "/events", "topic=news.a&data=x", 401},
		{"GET", "/healthz", "", 200},
	} {
		if response, _ := do(t, test.method, p.url+test.path, test.body); response.StatusCode != test.status {
			t.Errorf("%s %s: status %d, want %d", test.method, test.path, response.StatusCode, test.status)
		}
	}
}

// Both builds of the program agree on the files: make client copies them, and the tag embeds them.
func TestEmbeddedFiles(t *testing.T) {
	embedding, err := os.ReadFile("client_embedded.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range clientFiles {
		for _, e := range static.Encodings {
			if !strings.Contains(string(embedding), " client/"+name+e.Suffix) {
				t.Errorf("client_embedded.go does not embed %s", name+e.Suffix)
			}
		}
	}
	if text := read(t, "../Makefile"); !strings.Contains(text, "go build -tags embedclient ") {
		t.Error("make dist does not embed the client")
	}
	if text := read(t, "deploy/Dockerfile"); !strings.Contains(text, "make client") || !strings.Contains(text, "go build -tags embedclient ") {
		t.Error("the image does not embed the client")
	}
}
