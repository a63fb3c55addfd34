package e2e

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/chromedp/chromedp"
)

// startServer builds eventsource-server, with the client as make dist does or without it as go build does, and returns the URL of
// its demo page.
func startServer(t *testing.T, withClient bool, args ...string) string {
	t.Helper()
	requireDist(t)
	binary := filepath.Join(t.TempDir(), "eventsource-server")
	build := []string{"build", "-o", binary}
	if withClient {
		build = append(build, "-tags", "embedclient", "-overlay", overlayClient(t))
	}
	if output, err := exec.Command("go", append(build, "../server/cmd/eventsource-server")...).CombinedOutput(); err != nil {
		t.Fatalf("building the server: %v\n%s", err, output)
	}
	server := exec.Command(binary, append([]string{"-addr", "127.0.0.1:0", "-demo", "-log-format", "json"}, args...)...)
	log, err := server.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(log)
	var url, text string
	for url == "" && lines.Scan() {
		text += lines.Text() + "\n"
		var line struct{ URL string }
		json.Unmarshal(lines.Bytes(), &line)
		url = line.URL
	}
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		for lines.Scan() {
		}
	}()
	t.Cleanup(func() {
		server.Process.Signal(syscall.SIGTERM)
		<-drained
		if err := server.Wait(); err != nil {
			t.Errorf("the server ended with %v", err)
		}
	})
	if url == "" {
		t.Fatalf("the server logs no URL:\n%s", text)
	}
	return url
}

// overlayClient makes a file for go build's -overlay by which the client is where make client copies it.
func overlayClient(t *testing.T) string {
	t.Helper()
	replace := map[string]string{}
	for _, name := range []string{"js", "mjs", "worker.js", "wasm"} {
		for _, suffix := range []string{".br", ".gz"} {
			file := "eventsource." + name + suffix
			replace[absolute(t, filepath.Join("../server/cmd/eventsource-server/client", file))] = absolute(t, filepath.Join(dist, file))
		}
	}
	text, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "overlay.json")
	if err := os.WriteFile(file, text, 0o644); err != nil {
		t.Fatal(err)
	}
	return file
}

func absolute(t *testing.T, file string) string {
	t.Helper()
	path, err := filepath.Abs(file)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func typeInto(id, text string) chromedp.Action[chromedp.Void] {
	return chromedp.Steps(empty(id), chromedp.SendKeys(chromedp.CSS("#"+id), text))
}

// says waits until the text of an element matches the pattern.
func says(id, pattern string) chromedp.Action[chromedp.Void] {
	return waitFor(fmt.Sprintf(`/^%s$/.test(document.getElementById('%s').textContent)`, pattern, id))
}

// arrived waits until the newest event has this type and data.
func arrived(kind, data string) chromedp.Action[chromedp.Void] {
	return waitFor(fmt.Sprintf(`(() => {
		const [, id, type, data] = document.querySelector('#events tbody tr')?.cells ?? [];
		return id?.textContent && type.textContent === %q && data.textContent === %q;
	})()`, kind, data))
}

// What a newcomer does with the page of the server.
func TestServerDemo(t *testing.T) {
	t.Parallel()
	url := startServer(t, true, "-public", "news.*", "-token", "hunter2", "-drain", "0")
	tab := newTab(t)
	messages := chromedp.Console(tab)
	type actions = []chromedp.Action[chromedp.Void]
	for _, step := range []struct {
		name    string
		actions actions
	}{
		{"the page suggests the public topics", actions{
			chromedp.EmulateViewport(1280, 900), chromedp.Navigate(url), waitFor(`document.getElementById('topics').value === 'news.*'`),
			waitFor(`document.getElementById('topic').value === 'news.demo'`), waitFor(`document.getElementById('note').hidden`)}},
		{"without a token, it subscribes to them", actions{press("#subscribe .primary"), says("status", `Connected to news\.\*\.`)}},
		{"without a token, it cannot publish", actions{
			press("#publish .primary"), says("result", `The server answered 401 Unauthorized: missing credentials\. Enter a token\.`)}},
		{"with a wrong token, the server says so", actions{
			typeInto("token", "wrong"), press("#subscribe .primary"),
			says("status", `The server answered 401 Unauthorized: invalid credentials\. It does not try again\.`)}},
		{"with the token, it publishes, and the event arrives", actions{
			typeInto("token", "hunter2"), press("#subscribe .primary"), says("status", `Connected to news\.\*\.`),
			typeInto("data", "It works"), press("#publish .primary"), says("result", `Published with the ID \S+\.`), arrived("message", "It works")}},
		{"an event of another type arrives, and its data stays text", actions{
			typeInto("type", "greeting"), typeInto("data", "<b>Hi</b>"), press("#publish .primary"), arrived("greeting", "<b>Hi</b>")}},
		{"with the token, it subscribes to other topics", actions{
			typeInto("topics", "orders, private.>"), typeInto("topic", "private.a.b"), press("#subscribe .primary"),
			says("status", `Connected to orders, private\.>\.`), empty("type"), press("#publish .primary"), arrived("message", "<b>Hi</b>")}},
		{"a malformed topic is explained", actions{
			typeInto("topics", "a.>.b"), press("#subscribe .primary"), says("status", `The server answered 400 Bad Request: topic: .*`)}},
		{"it disconnects", actions{press("#disconnect"), says("status", `Not connected\.`)}},
	} {
		limited, cancel := context.WithTimeout(tab, patience)
		err := chromedp.Do(limited, step.actions...)
		cancel()
		if err != nil {
			text, _ := chromedp.Run(context.WithoutCancel(tab), chromedp.Evaluate[string](`document.querySelector('main').innerText`))
			t.Fatalf("%s: %v\n%s", step.name, err, text)
		}
	}
	for _, message := range consoleErrors(t, tab, messages) {
		if !strings.Contains(message, "Failed to load resource") { // 401 and 400, which are expected
			t.Errorf("on the console: %s", message)
		}
	}
	const leaks = `['curl', 'curl-publish', 'script'].some((id) => document.getElementById(id).textContent.includes('hunter2')) ||
		document.documentElement.outerHTML.includes('hunter2') || location.href !== '%s/' || localStorage.length + sessionStorage.length > 0 ||
		performance.getEntriesByType('resource').some(({ name }) => name.includes('hunter2'))`
	if leaked, err := chromedp.Run(tab, chromedp.Evaluate[bool](fmt.Sprintf(leaks, url))); err != nil || leaked {
		t.Errorf("the token is in the page, a URL or the storage: %v", err)
	}
}

// The policy of the page permits the module, which the server has: it reads a stream of the page.
func TestServerDemoRunsTheModule(t *testing.T) {
	t.Parallel()
	url := startServer(t, true, "-public", ">")
	tab := newTab(t)
	const engine = `(async () => {
		const { EventSource } = await import('./eventsource.mjs');
		let source;
		try {
			return await new Promise((resolve) => {
				const diagnostics = ({ what, engine, reason }) => what === 'engine' && (engine === 'go' || reason) && resolve(reason ?? engine);
				source = new EventSource('events', { diagnostics });
			});
		} finally {
			source.close();
		}
	})()`
	if err := chromedp.Do(tab, chromedp.Navigate(url)); err != nil {
		t.Fatal(err)
	}
	if got, err := chromedp.Run(tab, chromedp.Evaluate[string](engine, chromedp.EvalAwaitPromise)); err != nil || got != "go" {
		t.Errorf("the engine is %q, %v", got, err)
	}
}

// The page names the topics that it is subscribed to, even after the field has changed and an event of the type "open".
func TestServerDemoNamesItsTopics(t *testing.T) {
	t.Parallel()
	url := startServer(t, true, "-public", "news.*", "-token", "hunter2")
	err := chromedp.Do(newTab(t), chromedp.Navigate(url), typeInto("token", "hunter2"), press("#subscribe .primary"), says("status", `Connected to news\.\*\.`),
		typeInto("topics", "orders"), typeInto("type", "open"), press("#publish .primary"), arrived("open", "Hello"), says("status", `Connected to news\.\*\.`))
	if err != nil {
		t.Error(err)
	}
}

// Disconnecting ends a connection attempt that still waits for the client.
func TestServerDemoDisconnectsAtOnce(t *testing.T) {
	t.Parallel()
	url := startServer(t, true, "-public", ">")
	const requests = `(async () => {
		let count = 0;
		const original = fetch;
		globalThis.fetch = (...request) => (count++, original(...request));
		document.querySelector('#subscribe .primary').click();
		document.getElementById('disconnect').click();
		await import('./eventsource.mjs');
		for (let i = 0; i < 10; i++) await new Promise((resolve) => setTimeout(resolve));
		return count + document.getElementById('status').dataset.state;
	})()`
	tab := newTab(t)
	if err := chromedp.Do(tab, chromedp.Navigate(url)); err != nil {
		t.Fatal(err)
	}
	if got, err := chromedp.Run(tab, chromedp.Evaluate[string](requests, chromedp.EvalAwaitPromise)); err != nil || got != "0none" {
		t.Errorf("requests and state: %q, %v", got, err)
	}
}

// The commands that the page shows work in a shell, whatever is typed into it.
func TestServerDemoCommands(t *testing.T) {
	t.Parallel()
	for _, program := range []string{"bash", "curl"} {
		if _, err := exec.LookPath(program); err != nil && os.Getenv("CI") == "" {
			t.Skip(err)
		}
	}
	url := startServer(t, true, "-public", ">", "-token", "hunter2")
	tab := newTab(t)
	const hostile = `it's "$HOME" & @a=b\n; <\\>`
	set := fmt.Sprintf(`document.getElementById('data').value = '%s'; document.getElementById('data').dispatchEvent(new Event('input', { bubbles: true }))`,
		strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(hostile))
	if err := chromedp.Do(tab, chromedp.Navigate(url), press("#subscribe .primary"), says("status", `Connected to all topics\.`), chromedp.Evaluate[chromedp.Void](set+"; void 0")); err != nil {
		t.Fatal(err)
	}
	command, err := chromedp.Run(tab, chromedp.Evaluate[string](`document.getElementById('curl-publish').textContent`))
	if err != nil {
		t.Fatal(err)
	}
	shell := exec.CommandContext(t.Context(), "bash", "-euc", command)
	shell.Env = append(os.Environ(), "EVENTSOURCE_TOKEN=hunter2")
	if output, err := shell.CombinedOutput(); err != nil || !strings.Contains(string(output), `"id"`) {
		t.Fatalf("%s\n%v: %s", command, err, output)
	}
	if err := chromedp.Do(tab, arrived("message", hostile)); err != nil {
		t.Error(err)
	}
}

// A link sets the topics, which the page shows in commands to paste. A terminal obeys control characters, of which some run the
// line, and shells differ in how they read quotes.
func TestServerDemoOfAHostileLink(t *testing.T) {
	t.Parallel()
	url := strings.Replace(startServer(t, true, "-public", ">"), "//", "//someone:secret@", 1)
	tab := newTab(t)
	const commands = `['curl', 'curl-publish', 'script'].map((id) => document.getElementById(id).textContent).join('\n')`
	for query, want := range map[string]string{
		"?topic=x%03curl+evil.example%0f":       "--data 'topic=x%03curl+evil.example%0F'",
		"?topic=%1b%5B201~%e2%80%ae":            "--data 'topic=%1B%5B201%7E%E2%80%AE'",
		"?topic='%26calc%26&topic=a":            "--data 'topic=%27%26calc%26'",
		"?topic=%3cimg+src=x+onerror=alert(1)>": "--data 'topic=%3Cimg+src%3Dx+onerror%3Dalert%281%29%3E'",
		"?topic=caf%c3%a9.$HOME":                "--data-urlencode 'topic=café.$HOME'",
	} {
		err := chromedp.Do(tab, chromedp.Navigate(url+"/"+query), waitFor(`document.getElementById('script').textContent !== ''`))
		if err != nil {
			t.Fatal(err)
		}
		text, err := chromedp.Run(tab, chromedp.Evaluate[string](commands))
		if err != nil {
			t.Fatal(err)
		}
		if isHostile := regexp.MustCompile(`[^\n\P{C}]|calc&|<img|secret`).FindString(text); isHostile != "" || !strings.Contains(text, want) {
			t.Errorf("%s: %q in %q, want %s", query, isHostile, text, want)
		}
	}
	if injected, err := chromedp.Run(tab, chromedp.Evaluate[bool](`document.querySelector('img') !== null`)); err != nil || injected {
		t.Errorf("an element of the link is in the page: %v", err)
	}
}

// The page stays usable when many or large events arrive.
func TestServerDemoBoundsItsList(t *testing.T) {
	t.Parallel()
	url := startServer(t, true, "-public", ">", "-token", "hunter2")
	tab := newTab(t)
	const publish = `(async () => {
		const post = (data) => fetch('events', { method: 'POST', headers: { Authorization: 'Bearer hunter2' }, body: new URLSearchParams({ topic: 'a', data }) });
		for (let n = 0; n < 510; n++) await post(n);
		await post('x'.repeat(20_000));
	})(); void 0`
	const last = `[document.querySelectorAll('#events tbody tr').length, document.querySelector('#events tbody td:last-child')?.textContent.length].join()`
	err := chromedp.Do(tab, chromedp.Navigate(url), press("#subscribe .primary"), says("status", `Connected to all topics\.`),
		chromedp.Evaluate[chromedp.Void](publish), waitFor(last+` === '500,10020'`))
	if err != nil {
		got, _ := chromedp.Run(context.WithoutCancel(tab), chromedp.Evaluate[string](last))
		t.Errorf("%v: rows, length of the last event: %s", err, got)
	}
}

// A binary of go build has no client. Its page says so, and works with the browser's own EventSource for public topics.
func TestServerDemoWithoutClient(t *testing.T) {
	t.Parallel()
	url := startServer(t, false, "-public", ">", "-token", "hunter2")
	err := chromedp.Do(newTab(t), chromedp.Navigate(url), says("note", `This binary was built without the JavaScript client.*`),
		press("#subscribe .primary"), says("status", `Connected to all topics\.`), typeInto("token", "hunter2"), typeInto("type", "greeting"),
		press("#publish .primary"), arrived("greeting", "Hello"))
	if err != nil {
		t.Error(err)
	}
}

// serverShowsEvents uses the page until it shows three events and the refusal of a fourth.
const serverShowsEvents = `(() => {
	const [status, result, token] = ['status', 'result', 'token'].map((id) => document.getElementById(id));
	const rows = document.querySelectorAll('#events tbody tr').length;
	if (status.dataset.state === 'none') document.querySelector('#subscribe .primary').click();
	if (status.dataset.state !== 'open' || result.textContent === 'Publishing.') return false;
	if (rows === 3 && token.value === '') return result.classList.contains('failed');
	token.value = rows < 3 ? 'hunter2' : '';
	token.dispatchEvent(new Event('input', { bubbles: true }));
	document.getElementById('data').value = ['A short one', '{"symbol":"EVNT","price":' + '1'.repeat(60) + '}', 'two\\nlines'][rows] ?? 'refused';
	if (rows === Number(document.body.dataset.published ?? 0) || rows === 3) {
		document.body.dataset.published = rows + 1;
		document.querySelector('#publish .primary').click();
	}
	return false;
})()`
