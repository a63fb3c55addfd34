package e2e

import (
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
)

// wasmPackages are the packages whose tests must also pass as WebAssembly in a browser.
var wasmPackages = []string{
	"sse",
	"wasm/eventsource",
	"wasm/lifecycle",
	"wasm/polyfill",
}

func TestGoTestsUnderWasm(t *testing.T) {
	t.Parallel()
	for _, pkg := range wasmPackages {
		t.Run(pkg, func(t *testing.T) {
			t.Parallel()
			binary := compileTests(t, pkg)
			server := httptest.NewServer(goTestPages(t, binary))
			t.Cleanup(server.Close)
			tab := newTab(t)
			if err := chromedp.Do(tab, chromedp.Navigate(server.URL+"/harness/gotests.html")); err != nil {
				t.Fatalf("opening the page: %v", err)
			}
			type result struct {
				Code   int    `json:"code"`
				Output string `json:"output"`
			}
			r, err := chromedp.Run(tab, chromedp.Evaluate[result](`runTests('/test.wasm')`, chromedp.EvalAwaitPromise))
			switch {
			case err != nil:
				t.Fatalf("running the tests: %v", err)
			case r.Code != 0:
				t.Errorf("exit code %d:\n%s", r.Code, r.Output)
			case !strings.Contains(r.Output, "--- PASS"):
				t.Errorf("no test ran:\n%s", r.Output)
			}
		})
	}
}

func compileTests(t *testing.T, pkg string) string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "test.wasm")
	build := exec.CommandContext(t.Context(), "go", "test", "-c", "-o", binary, "./"+pkg)
	build.Dir = ".."
	build.Env = append(os.Environ(), "GOOS=js", "GOARCH=wasm")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", build, err, out)
	}
	return binary
}

// goTestPages serves the page, the binary, and the support script of the Go version that compiled it.
func goTestPages(t *testing.T, binary string) http.Handler {
	t.Helper()
	root, err := exec.CommandContext(t.Context(), "go", "env", "GOROOT").Output()
	if err != nil {
		t.Fatalf("go env GOROOT: %v", err)
	}
	script := filepath.Join(strings.TrimSpace(string(root)), "lib", "wasm", "wasm_exec.js")
	mux := http.NewServeMux()
	mux.Handle("GET /harness/", http.FileServerFS(files))
	for path, file := range map[string]string{"GET /wasm_exec.js": script, "GET /test.wasm": binary} {
		mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) { http.ServeFile(w, r, file) })
	}
	return mux
}
