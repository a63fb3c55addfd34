package matrix

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/eventsource-wasm/eventsource-wasm/internal/nodetest"
	"github.com/eventsource-wasm/eventsource-wasm/server"
	"github.com/eventsource-wasm/eventsource-wasm/sse"
)

// A runtime runs the code of a section of docs/testing.md outside a browser.
type runtime struct {
	name    string
	section string
	install string // npm packages
	command string
	prints  string
	node    string // the Node.js version, if not the installed one
	short   bool
}

var runtimes = []runtime{
	{name: "Node.js", section: "Node.js", command: "node stream.mjs", prints: "hello", short: true},
	{name: "Node.js 20", section: "Node.js", command: "node stream.mjs", prints: "hello", node: "20.19.6"},
	{name: "Node.js 22", section: "Node.js", command: "node stream.mjs", prints: "hello", node: "22.23.3"},
	{name: "Node.js 24", section: "Node.js", command: "node stream.mjs", prints: "hello", node: "24.21.0"},
	{name: "Deno 2", section: "Node.js", install: "deno@2.9.6", command: "npx deno run --allow-net --allow-read stream.mjs", prints: "hello"},
	{name: "Bun 1", section: "Node.js", install: "bun@1.4.5", command: "npx bun stream.mjs", prints: "hello"},
	{name: "Jest 30, node", section: "Jest", install: "jest@30.5.2", command: "npx jest --env node", prints: "1 passed"},
	{
		name: "Jest 30, jsdom", section: "Jest", install: "jest@30.5.2 jest-environment-jsdom@30.5.2",
		command: "npx jest --env ./jsdom-with-fetch.js", prints: "1 passed",
	},
	{name: "Vitest 5, node", section: "Vitest", install: "vitest@5.1.1", command: "npx vitest run --environment node", prints: "1 passed"},
	{
		name: "Vitest 5, jsdom", section: "Vitest", install: "vitest@5.1.1 jsdom@31.0.1", command: "npx vitest run --environment jsdom",
		prints: "1 passed", node: "24.21.0",
	},
	{name: "Vitest 5, happy-dom", section: "Vitest", install: "vitest@5.1.1 happy-dom@21.0.4", command: "npx vitest run --environment happy-dom", prints: "1 passed"},
	{name: "Playwright 1", section: "Playwright", install: "playwright@1.65.1", command: "node page.mjs", prints: "Bearer secret"},
}

func TestRuntimes(t *testing.T) {
	nodetest.Require(t)
	tarball := pack(t)
	stream := serveHello(t)
	sections := readSections(t, "testing.md")
	for _, r := range runtimes {
		if *all || r.short {
			t.Run(r.name, func(t *testing.T) { r.check(t, sections[r.section], tarball, stream) })
		}
	}
}

func (r runtime) check(t *testing.T, s section, tarball, stream string) {
	t.Helper()
	p := r.project(t, s, tarball)
	for path, content := range s.files {
		content = strings.ReplaceAll(content, "http://localhost:8080/events?topic=clock", stream)
		content = strings.ReplaceAll(content, "chromium.launch()", `chromium.launch({ executablePath: process.env.CHROMIUM, args: ["--no-sandbox"] })`)
		if err := os.WriteFile(filepath.Join(p.folder, path), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if output := p.output(t, p.folder, r.command+" 2>&1"); !strings.Contains(output, r.prints) {
		t.Errorf("%s prints %q, want a part %q", r.command, output, r.prints)
	}
}

func (r runtime) project(t *testing.T, s section, tarball string) project {
	t.Helper()
	if len(s.files) == 0 {
		t.Fatalf("docs/testing.md has no files for %s", r.section)
	}
	p := project{name: r.name, folder: t.TempDir(), env: environment(t, r.node)}
	p.env = append(p.env, "CHROMIUM="+chromium(t), "NO_COLOR=1", "PLAYWRIGHT_SKIP_BROWSER_DOWNLOAD=1")
	if err := os.WriteFile(filepath.Join(p.folder, "package.json"), []byte(`{ "private": true }`), 0o644); err != nil {
		t.Fatal(err)
	}
	p.run(t, p.folder, "npm install "+tarball+" "+r.install)
	return p
}

// Without fetch, as in Jest's jsdom environment, a source reports it with an error event.
func TestWithoutFetch(t *testing.T) {
	nodetest.Require(t)
	folder := t.TempDir()
	p := project{folder: folder, env: environment(t, "")}
	p.run(t, folder, "npm install --prefix . "+pack(t))
	const program = `
for (const name of ["fetch", "ReadableStream", "addEventListener", "MessageChannel"]) globalThis[name] = undefined;
const { EventSource } = await import("eventsource-wasm");
const source = new EventSource("http://127.0.0.1:1/");
source.onerror = ({ reason, willRetry, cause }) => {
  console.log(reason, willRetry, cause.message);
  source.close();
};`
	if err := os.WriteFile(filepath.Join(folder, "program.mjs"), []byte(program), 0o644); err != nil {
		t.Fatal(err)
	}
	if got := p.output(t, folder, "node program.mjs 2>&1"); !strings.HasPrefix(got, "network true ") || !strings.Contains(got, "fetch") || strings.Count(got, "\n") != 1 {
		t.Errorf("printed %q, want one line: the reason network, true, and a cause that names fetch", got)
	}
}

// serveHello serves a protected stream of one event and returns its URL.
func serveHello(t *testing.T) string {
	t.Helper()
	return serveStream(t, func(broker *server.Broker) (behind string) {
		behind, err := broker.Publish(t.Context(), "clock", sse.Event{})
		if err == nil {
			_, err = broker.Publish(t.Context(), "clock", sse.Event{Data: "hello"})
		}
		if err != nil {
			t.Fatal(err)
		}
		return behind
	})
}
