package e2e

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/eventsource-wasm/eventsource-wasm/internal/nodetest"

	"github.com/eventsource-wasm/eventsource-wasm/server"
	"github.com/eventsource-wasm/eventsource-wasm/sse"
)

// TestPackage installs the npm tarball in a project with the tools of e2e/npm/package.json. It works in Node, TypeScript,
// Vite and esbuild, and what these build works in the browser.
func TestPackage(t *testing.T) {
	t.Parallel()
	requireDist(t)
	project := installPackage(t)
	t.Run("publint", func(t *testing.T) { run(t, project, "publint", "node_modules/eventsource-wasm", "--strict") })
	t.Run("are the types wrong", func(t *testing.T) {
		// The module has no types, and require() of a script for pages is not supported.
		run(t, project, "attw", "eventsource-wasm.tgz", "--exclude-entrypoints", "./eventsource.wasm", "--ignore-rules", "cjs-resolves-to-esm")
	})
	t.Run("types", func(t *testing.T) {
		run(t, project, "tsc", "--project", ".")
		for _, config := range []string{"bundler", "node16", "webworker"} {
			run(t, project, "tsc", "--project", "types/"+config+".json")
		}
		// Only older compilers support node10.
		run(t, project, "node", "node_modules/typescript5/bin/tsc", "--project", "types/node10.json")
	})
	t.Run("source maps", func(t *testing.T) { checkSourceMaps(t, project) })
	t.Run("README", func(t *testing.T) { checkNpmREADME(t, project) })
	t.Run("Node", func(t *testing.T) {
		run(t, project, "node", "import.mjs")
		got := run(t, project, "node", "node.mjs", serveHello(t), "secret")
		// The diagnostic that no module is loaded follows "open", or comes too late.
		if got = strings.Replace(got, "open engine", "open", 1); got != "hello engine request open close\n" {
			t.Errorf("the program printed %q", got)
		}
	})
	t.Run("jest and jsdom", func(t *testing.T) {
		const modules = "NODE_OPTIONS=--experimental-vm-modules" // the package is one
		env := []string{modules, "STREAM=" + serveHello(t), "TOKEN=secret"}
		runWith(t, env, project, "jest", "--config", "jest.config.json")
	})
	t.Run("server-side rendering", func(t *testing.T) {
		run(t, project, "esbuild", "server.tsx", "--bundle", "--platform=node", "--format=esm", "--packages=external", "--outfile=server.mjs")
		if html := run(t, project, "node", "server.mjs"); html != "<p id=\"messages\"></p>\n" {
			t.Errorf("rendered %q", html)
		}
	})
	t.Run("Vite", func(t *testing.T) {
		run(t, project, "vite", "build", "--outDir", "vite")
		visit(t, http.FileServer(http.Dir(filepath.Join(project, "vite"))), 1)
	})
	t.Run("Vite's development server", func(t *testing.T) {
		visit(t, develop(t, project), 2) // React's development build
	})
	t.Run("esbuild", func(t *testing.T) {
		run(t, project, "esbuild", "react.tsx", "polyfill.ts", "--bundle", "--format=esm", "--outdir=esbuild")
		built := filepath.Join(project, "esbuild")
		for _, page := range []string{"react", "polyfill"} {
			copyFile(t, filepath.Join(project, page+".html"), filepath.Join(built, page+".html"), ".tsx", ".js", ".ts", ".js")
		}
		// esbuild does not copy files that a script loads by import.meta.url.
		copyFile(t, filepath.Join(project, "node_modules/eventsource-wasm/eventsource.wasm"), filepath.Join(built, "eventsource.wasm"))
		visit(t, http.FileServer(http.Dir(built)), 2)
	})
	t.Run("tree shaking", func(t *testing.T) {
		write(t, filepath.Join(project, "unused.mjs"), `import { EventSource } from "eventsource-wasm";`)
		write(t, filepath.Join(project, "used.mjs"), `import "eventsource-wasm/polyfill";`)
		if script := run(t, project, "esbuild", "unused.mjs", "--bundle", "--format=esm", "--minify"); strings.TrimSpace(script) != "" {
			t.Errorf("an unused class leaves %d bytes, want 0", len(script))
		}
		if script := run(t, project, "esbuild", "used.mjs", "--bundle", "--format=esm", "--minify"); !strings.Contains(script, "eventsource.wasm") {
			t.Errorf("the bundle lacks the polyfill: %q", script)
		}
	})
}

// installPackage makes a project with its tools, the tarball, and the hook of docs/getting-started.md. It takes the tools
// from npm's cache if it can.
func installPackage(t *testing.T) (folder string) {
	t.Helper()
	nodetest.Require(t)
	folder = t.TempDir()
	if err := os.CopyFS(folder, os.DirFS("npm")); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(folder, "useEventSource.tsx"), snippets(t, "docs/getting-started.md", "tsx")[0])
	run(t, "..", "go", "run", "./js/pack", "-to", folder)
	tarballs, err := filepath.Glob(filepath.Join(folder, "*.tgz"))
	if err != nil || len(tarballs) != 1 {
		t.Fatalf("packed %q, %v", tarballs, err)
	}
	if err := os.Rename(tarballs[0], filepath.Join(folder, "eventsource-wasm.tgz")); err != nil {
		t.Fatal(err)
	}
	const quiet = "--prefer-offline --ignore-scripts --no-audit --no-fund --no-update-notifier"
	run(t, folder, "npm", append([]string{"ci"}, strings.Fields(quiet)...)...)
	run(t, folder, "npm", append([]string{"install", "--no-save", "./eventsource-wasm.tgz"}, strings.Fields(quiet)...)...)
	return folder
}

// develop passes requests on to Vite's development server.
func develop(t *testing.T, project string) http.Handler {
	t.Helper()
	vite := exec.Command("node", "dev.mjs")
	vite.Dir = project
	vite.Stderr = os.Stderr
	end, err := vite.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	output, err := vite.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := vite.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		end.Close()
		if err := vite.Wait(); err != nil {
			t.Errorf("Vite's development server: %v", err)
		}
	})
	line, err := bufio.NewReader(output).ReadString('\n')
	if err != nil {
		t.Fatalf("Vite's development server does not start: %v", err)
	}
	address, err := url.Parse(strings.TrimSpace(line))
	if err != nil {
		t.Fatal(err)
	}
	return httputil.NewSingleHostReverseProxy(address)
}

// visit checks that each page shows the event of a protected stream over one connection, however often React runs effects,
// and that the connection closes with the component.
func visit(t *testing.T, pages http.Handler, effects int) {
	const shown = `document.getElementById('messages')?.textContent === 'hello'`
	t.Run("React", func(t *testing.T) {
		broker, tab := openPage(t, pages, "react.html", fmt.Sprintf(`%s && document.body.dataset.effects === '%d'`, shown, effects))
		if err := chromedp.Do(tab, chromedp.Evaluate[chromedp.Void](`document.dispatchEvent(new Event('unmount'))`)); err != nil {
			t.Fatal(err)
		}
		for broker.Stats().Connections > 0 {
			select {
			case <-time.After(time.Millisecond):
			case <-tab.Done():
				t.Fatal("the connection stays open after its component has unmounted")
			}
		}
	})
	t.Run("polyfill", func(t *testing.T) { openPage(t, pages, "polyfill.html", shown) })
}

// serveHello serves a protected stream with our server, and returns its URL.
func serveHello(t *testing.T) string {
	t.Helper()
	broker := &server.Broker{}
	t.Cleanup(broker.Close)
	behind, err := broker.Publish(t.Context(), "news", sse.Event{})
	if err == nil {
		_, err = broker.Publish(t.Context(), "news", sse.Event{Data: "hello"})
	}
	if err != nil {
		t.Fatal(err)
	}
	stream := &server.Handler{Broker: broker, Authorize: server.BearerToken("secret")}
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Header.Set("Last-Event-ID", behind)
		stream.ServeHTTP(w, r)
	}))
	t.Cleanup(site.Close)
	return site.URL + "/events?topic=news"
}

// openPage serves a site beside a stream of one event, and waits for a condition on a page.
func openPage(t *testing.T, pages http.Handler, page, condition string) (*server.Broker, context.Context) {
	t.Helper()
	broker := &server.Broker{}
	behind, err := broker.Publish(t.Context(), "news", sse.Event{})
	if err == nil {
		_, err = broker.Publish(t.Context(), "news", sse.Event{Data: "hello"})
	}
	if err != nil {
		t.Fatal(err)
	}
	stream := &server.Handler{Broker: broker, Authorize: server.BearerToken("secret")}
	var requests atomic.Int32
	mux := http.NewServeMux()
	mux.Handle("/", pages)
	mux.HandleFunc("/events", func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		r.Header.Set("Last-Event-ID", behind)
		stream.ServeHTTP(w, r)
	})
	site := httptest.NewServer(mux)
	t.Cleanup(site.Close)
	t.Cleanup(broker.Close)
	tab := newTab(t)
	messages := chromedp.Console(tab)
	if err := chromedp.Do(tab, chromedp.Steps(chromedp.Navigate(site.URL+"/"+page), waitFor(condition))); err != nil {
		t.Fatalf("%s: waiting for %s: %v; console: %q", page, condition, err, consoleErrors(t, tab, messages))
	}
	if n := requests.Load(); n != 1 {
		t.Errorf("%s made %d requests", page, n)
	}
	for _, message := range consoleErrors(t, tab, messages) {
		t.Errorf("%s: on the console: %s", page, message)
	}
	return broker, tab
}

// run runs a program, preferably one that the project has installed, and returns its output.
func run(t *testing.T, folder, program string, args ...string) string {
	t.Helper()
	return runWith(t, nil, folder, program, args...)
}

// runWith is like run, with further environment variables.
func runWith(t *testing.T, env []string, folder, program string, args ...string) string {
	t.Helper()
	if installed := filepath.Join(folder, "node_modules", ".bin", program); exists(installed) {
		program = installed
	}
	cmd := exec.CommandContext(t.Context(), program, args...)
	cmd.Dir = folder
	cmd.Env = append(os.Environ(), env...)
	var failure strings.Builder
	cmd.Stderr = &failure
	output, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s%s", filepath.Base(program), strings.Join(args, " "), err, output, &failure)
	}
	return string(output)
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func copyFile(t *testing.T, from, to string, oldnew ...string) {
	t.Helper()
	content, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	write(t, to, strings.NewReplacer(oldnew...).Replace(string(content)))
}
