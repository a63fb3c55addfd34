// Package matrix makes a project with each bundler and framework in the documentation, installs the npm package in it, and
// opens the result in a browser. Without -all, it tests only a few tools that differ most.
package matrix

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
	"github.com/eventsource-wasm/eventsource-wasm/internal/nodetest"

	"github.com/eventsource-wasm/eventsource-wasm/server"
	"github.com/eventsource-wasm/eventsource-wasm/sse"
)

var (
	all   = flag.Bool("all", false, "use all tools")
	table = flag.String("table", "", "`file` to write the table to, between two comments")
)

// longest limits a command, and the loading of a page. It only ends what hangs.
const longest = 10 * time.Minute

func TestMatrix(t *testing.T) {
	nodetest.Require(t)
	tarball := pack(t)
	stream := serveClock(t)
	sections := gettingStarted(t)
	browser := startBrowser(t)
	var rows []row
	for _, a := range apps {
		if !*all && !a.short {
			continue
		}
		t.Run(a.name, func(t *testing.T) {
			project := a.make(t, sections[a.section], tarball)
			for _, m := range a.modes {
				t.Run(m.name, func(t *testing.T) {
					project.write(t, stream, m.entry)
					rows = append(rows, m.check(t, browser, project))
				})
			}
		})
	}
	if *table != "" {
		writeTable(t, rows)
	}
}

// A project is an app on disk.
type project struct {
	name, folder string
	env          []string
	files        map[string]string
}

// make runs the commands of the documentation, with a version instead of "latest", and the tarball instead of the package.
func (a app) make(t *testing.T, s section, tarball string) project {
	t.Helper()
	parent := t.TempDir()
	p := project{a.name, filepath.Join(parent, "my-app"), environment(t, a.node), maps.Clone(s.files)}
	if p.files == nil {
		p.files = map[string]string{}
	}
	create := a.create
	if create == "" {
		create = strings.Replace(s.commands[0], "@latest", "@"+a.version, 1)
		if create == s.commands[0] {
			t.Fatalf("no version in %q", create)
		}
	}
	p.run(t, parent, create)
	p.run(t, p.folder, "npm install "+tarball)
	for path, content := range a.files {
		if shared, ok := s.files[content]; ok {
			content = shared
			delete(p.files, a.files[path])
		}
		p.files[path] = content
	}
	return p
}

// environment returns the environment of commands: starters do not prompt, tools send no telemetry, and node has the given
// version, if any.
func environment(t *testing.T, node string) []string {
	t.Helper()
	env := append(os.Environ(), "CI=true", "npm_config_yes=true", "npm_config_audit=false", "npm_config_fund=false", "npm_config_prefer_offline=true",
		"npm_config_update_notifier=false", "NG_CLI_ANALYTICS=false", "NEXT_TELEMETRY_DISABLED=1", "NUXT_TELEMETRY_DISABLED=1", "BROWSER=none")
	if node == "" {
		return env
	}
	folder := t.TempDir()
	project{env: env}.run(t, folder, "npm install --no-save --prefix . node@"+node)
	return append(env, "PATH="+filepath.Join(folder, "node_modules", "node", "bin")+string(os.PathListSeparator)+os.Getenv("PATH"))
}

var call = regexp.MustCompile(`\{ headers:`)

// write writes the files, with the stream's URL and with options that show the engine.
func (p project) write(t *testing.T, stream, entry string) {
	t.Helper()
	for path, content := range p.files {
		content = strings.ReplaceAll(content, "http://localhost:8080/events?topic=clock", stream)
		content = call.ReplaceAllString(content, `{ diagnostics: console.debug, worker: location.search.includes("worker"), headers:`)
		if entry != "" {
			content = regexp.MustCompile(`"eventsource-wasm[^"]*"`).ReplaceAllString(content, `"`+entry+`"`)
		}
		path = filepath.Join(p.folder, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// run runs a shell command to its end.
func (p project) run(t *testing.T, folder, command string) {
	t.Helper()
	p.output(t, folder, command+" 2>&1")
}

// output runs a shell command to its end, and returns what it prints.
func (p project) output(t *testing.T, folder, command string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), longest)
	defer cancel()
	cmd := exec.CommandContext(ctx, "sh", "-c", command)
	cmd.Dir, cmd.Env = folder, p.env
	output, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s", command, err, tail(output))
	}
	return string(output)
}

func tail(output []byte) []byte { return output[max(0, len(output)-4000):] }

// serve starts a server by a shell command, waits until it answers, and returns its address.
func (p project) serve(t *testing.T, command string) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	listener.Close()
	_, port, _ := net.SplitHostPort(address)
	log, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("sh", "-c", command)
	cmd.Dir, cmd.Env = p.folder, append(p.env, "PORT="+port)
	cmd.Stdout, cmd.Stderr = log, log
	stdin, err := cmd.StdinPipe() // some servers end with their input
	if err != nil {
		t.Fatal(err)
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // it starts further processes
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() {
		stdin.Close()
		syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		<-ended
	})
	if err := waitForServer(t, address, ended); err != nil {
		output, _ := os.ReadFile(log.Name())
		t.Fatalf("%s: %v\n%s", command, err, tail(output))
	}
	return "http://" + address
}

func waitForServer(t *testing.T, address string, ended chan error) error {
	look := time.NewTicker(100 * time.Millisecond)
	defer look.Stop()
	hung := time.After(longest)
	for {
		select {
		case err := <-ended:
			ended <- err
			return fmt.Errorf("the server exited: %v", err)
		case <-hung:
			return fmt.Errorf("no answer from %s", address)
		case <-look.C:
			request, err := http.NewRequestWithContext(t.Context(), "GET", "http://"+address+"/", nil)
			if err != nil {
				return err
			}
			if response, err := http.DefaultClient.Do(request); err == nil {
				response.Body.Close()
				if response.StatusCode == http.StatusOK {
					return nil
				}
			}
		}
	}
}

// A row is the result of a mode.
type row struct {
	app, mode, engine, worker, reason string
}

// check opens the page without and with a worker.
func (m mode) check(t *testing.T, browser context.Context, p project) row {
	t.Helper()
	if m.build != "" {
		p.run(t, p.folder, m.build)
	}
	var address string
	if m.serve != "" {
		address = p.serve(t, m.serve)
	} else {
		site := httptest.NewServer(http.FileServer(http.Dir(filepath.Join(p.folder, m.out))))
		t.Cleanup(site.Close)
		address = site.URL
	}
	engine, inWorker := m.engine, !m.noWorker
	if engine == "" {
		engine = "go"
	}
	plain, worker := visit(t, browser, address+"/"), visit(t, browser, address+"/?worker")
	for name, v := range map[string]visited{"": plain, " with worker: true": worker} {
		if v.engine != engine {
			t.Errorf("%s%s: the engine is %q, want %q; on the console: %q", m.name, name, v.engine, engine, v.console)
		}
		for _, line := range v.problems {
			t.Errorf("%s%s: on the console: %s", m.name, name, line)
		}
	}
	if worker.inWorker != inWorker {
		t.Errorf("%s with worker: true: in a worker = %v, want %v; on the console: %q", m.name, worker.inWorker, inWorker, worker.console)
	}
	return row{p.name, m.name, plain.engine, worker.where(), m.reason}
}

// visited is what a page showed.
type visited struct {
	engine   string
	inWorker bool
	console  []string
	problems []string
}

func (v visited) where() string {
	if v.inWorker {
		return v.engine + ", in the worker"
	}
	return v.engine + ", on the page's thread"
}

// watch records console lines, uncaught errors and workers.
const watch = `globalThis.seen = [];
for (const level of ['debug', 'info', 'warn', 'error']) {
	const log = console[level];
	console[level] = (...values) => {
		seen.push(level + ' ' + values.map((value) => {
			try { return typeof value === 'string' ? value : JSON.stringify(value); } catch { return String(value); }
		}).join(' '));
		return log.apply(console, values);
	};
}
addEventListener('error', ({ message }) => seen.push('uncaught ' + message));
addEventListener('unhandledrejection', ({ reason }) => seen.push('uncaught ' + reason));
globalThis.Worker = class extends Worker {
	constructor(...values) {
		super(...values);
		seen.push('worker ' + values[0]);
	}
};`

const (
	shows   = `/It is tick/.test(document.body?.innerText ?? '')`
	decided = `seen.some((line) => /"engine":"go"|runs without its module/.test(line))`
)

func visit(t *testing.T, browser context.Context, url string) (v visited) {
	t.Helper()
	tab, closeTab := chromedp.NewContext(browser)
	defer closeTab()
	tab, cancel := context.WithTimeout(tab, longest)
	defer cancel()
	_, err := chromedp.Call(tab, page.AddScriptToEvaluateOnNewDocument, page.AddScriptToEvaluateOnNewDocumentParams{Source: watch})
	if err == nil {
		err = chromedp.Do(tab, chromedp.Navigate(url))
	}
	if err != nil {
		t.Fatalf("opening %s: %v", url, err)
	}
	// A development server may reload the page after it has found the page's imports.
	waiting, stop := context.WithTimeout(tab, 2*time.Minute)
	defer stop()
	_, failed := chromedp.Run(waiting, chromedp.Poll[bool](shows+" && "+decided, chromedp.WithPollingTimeout(0)))
	lines, err := chromedp.Run(tab, chromedp.Evaluate[string](`JSON.stringify(seen)`))
	if err == nil {
		err = json.Unmarshal([]byte(lines), &v.console)
	}
	if err != nil {
		t.Fatalf("reading the console of %s: %v", url, err)
	}
	if failed != nil {
		t.Fatalf("%s does not show the event, or the engine: %v; on the console: %q", url, failed, v.console)
	}
	v.engine = "script"
	for _, line := range v.console {
		switch {
		case strings.Contains(line, `"engine":"go"`):
			v.engine = "go"
		case strings.HasPrefix(line, "worker ") && strings.Contains(url, "?worker"):
			v.inWorker = true
		}
		if strings.HasPrefix(line, "uncaught") || strings.Contains(line, "EventSource") && (strings.HasPrefix(line, "error") || strings.HasPrefix(line, "warn")) {
			v.problems = append(v.problems, line)
		}
	}
	for _, line := range v.console {
		if strings.Contains(line, "runs without its worker") {
			v.inWorker = false
		}
	}
	return v
}

// serveClock serves a protected stream and returns its URL. It keeps sending an event, because an engine takes a source
// over only when data arrives.
func serveClock(t *testing.T) string {
	t.Helper()
	return serveStream(t, func(broker *server.Broker) string {
		keepTicking(t, broker)
		return ""
	})
}

func keepTicking(t *testing.T, broker *server.Broker) {
	tick := time.NewTicker(100 * time.Millisecond)
	done := make(chan struct{})
	t.Cleanup(func() { tick.Stop(); close(done) })
	go func() {
		for {
			select {
			case <-tick.C:
				broker.Publish(context.Background(), "clock", sse.Event{Data: "tick"})
			case <-done:
				return
			}
		}
	}()
}

// serveStream serves a protected stream to all origins, from the ID that begin returns, and returns its URL.
func serveStream(t *testing.T, begin func(*server.Broker) (after string)) string {
	t.Helper()
	broker := &server.Broker{}
	t.Cleanup(broker.Close)
	behind := begin(broker)
	stream := &server.Handler{Broker: broker, Authorize: server.BearerToken("secret"), AllowedOrigins: []string{"*"}}
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if behind != "" {
			r.Header.Set("Last-Event-ID", behind)
		}
		stream.ServeHTTP(w, r)
	}))
	t.Cleanup(site.Close)
	return site.URL + "/?topic=clock"
}

// pack returns the tarball of the package.
func pack(t *testing.T) string {
	t.Helper()
	folder := t.TempDir()
	cmd := exec.Command("go", "run", "./js/pack", "-to", folder)
	cmd.Dir = "../.."
	if output, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("packing: %v\n%s", err, output)
	}
	tarballs, err := filepath.Glob(filepath.Join(folder, "*.tgz"))
	if err != nil || len(tarballs) != 1 {
		t.Fatalf("packed %q, %v", tarballs, err)
	}
	return tarballs[0]
}

func chromium(t *testing.T) string {
	t.Helper()
	path := os.Getenv("CHROMIUM")
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome"} {
		if found, err := exec.LookPath(name); err == nil && path == "" {
			path = found
		}
	}
	if path == "" {
		t.Fatal("Chromium is missing: install it, or set CHROMIUM to its path")
	}
	return path
}

func startBrowser(t *testing.T) context.Context {
	t.Helper()
	path := chromium(t)
	allocator, stopAllocator := chromedp.NewExecAllocator(context.Background(), append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.DisableGPU,
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true))...)
	t.Cleanup(stopAllocator)
	ctx, stop := chromedp.NewContext(allocator)
	t.Cleanup(stop)
	if err := chromedp.Do(ctx); err != nil {
		t.Fatalf("starting %s: %v", path, err)
	}
	return ctx
}

var tablePlace = regexp.MustCompile(`(?s)(<!-- make matrix -->\n).*(<!-- end -->)`)

// writeTable writes the table into the documentation.
func writeTable(t *testing.T, rows []row) {
	t.Helper()
	var b strings.Builder
	b.WriteString("| tool | | engine | `worker: true` | |\n| --- | --- | --- | --- | --- |\n")
	for _, r := range rows {
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s |\n", r.app, r.mode, r.engine, r.worker, r.reason)
	}
	text, err := os.ReadFile(*table)
	if err != nil {
		t.Fatal(err)
	}
	if !tablePlace.Match(text) {
		t.Fatalf("%s has no <!-- make matrix --> for the table", *table)
	}
	text = tablePlace.ReplaceAll(text, []byte("${1}"+b.String()+"${2}"))
	if err := os.WriteFile(*table, text, 0o644); err != nil {
		t.Fatal(err)
	}
}
