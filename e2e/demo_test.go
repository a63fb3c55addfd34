package e2e

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/chromedp/chromedp"
)

var screenshot = flag.String("screenshot", "", "write a picture of the demo to this `file`")

// startDemo builds and starts the demo as `make run` does, on a free port, and returns its URL.
func startDemo(t *testing.T) string {
	t.Helper()
	requireDist(t)
	binary := filepath.Join(t.TempDir(), "demo")
	if output, err := exec.Command("go", "build", "-o", binary, "../server/cmd/demo").CombinedOutput(); err != nil {
		t.Fatalf("building the demo: %v\n%s", err, output)
	}
	server := exec.Command(binary, "-addr", "127.0.0.1:0")
	server.Dir = ".."
	stdout, err := server.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	server.Stderr = &log
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		server.Process.Signal(syscall.SIGTERM)
		if err := server.Wait(); err != nil {
			t.Errorf("the server ended with %v, its log:\n%s", err, log.String())
		}
	})
	url, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		t.Fatalf("the server printed no URL: %v", err)
	}
	return strings.TrimSpace(url)
}

// rows waits until these are a lane's newest rows in the log, newest first.
func rows(lane string, want ...string) chromedp.Action[chromedp.Void] {
	return waitFor(fmt.Sprintf(`(() => {
		const rows = [...document.querySelectorAll('#log tr[data-lane=%s]')].slice(0, %d);
		return rows.map(({ cells }) => cells[2].textContent).join('\n') === %q;
	})()`, lane, len(want), strings.Join(want, "\n")))
}

// words waits until a lane's text matches the pattern.
func words(lane, pattern string) chromedp.Action[chromedp.Void] {
	return waitFor(fmt.Sprintf(`/^%s$/.test(document.querySelector('#%s .words').textContent)`, pattern, lane))
}

// drawn waits until the selector matches in a lane's plot.
func drawn(lane, selector string) chromedp.Action[chromedp.Void] {
	return waitFor(fmt.Sprintf(`document.querySelector('#%s .plot %s') !== null`, lane, selector))
}

// events waits until a lane has count events, but only if a screenshot will show them.
func events(lane string, count int) chromedp.Action[chromedp.Void] {
	if *screenshot == "" {
		count = 1
	}
	return waitFor(fmt.Sprintf(`Number(document.querySelector('#%s [data-count=events]').textContent) >= %d`, lane, count))
}

func press(selector string) chromedp.Action[chromedp.Void] {
	return chromedp.Click(chromedp.CSS(selector))
}

func waitFor(condition string) chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, _ *chromedp.Target) error {
		_, err := chromedp.Run(ctx, chromedp.Poll[bool](condition, chromedp.WithPollingTimeout(0)))
		return err
	})
}

func publish(message string) chromedp.Action[chromedp.Void] {
	return chromedp.Steps(
		empty("message"),
		chromedp.SendKeys(chromedp.CSS("#message"), message),
		press("#publish .primary"),
	)
}

func empty(id string) chromedp.Action[chromedp.Void] {
	return chromedp.Evaluate[chromedp.Void](fmt.Sprintf(`document.getElementById(%q).value = ''`, id))
}

// TestDemo does what a visitor does, in one session. Outages are long enough for a slow machine to notice.
func TestDemo(t *testing.T) {
	t.Parallel()
	url := startDemo(t)
	tab := newTab(t)
	messages := chromedp.Console(tab)
	const (
		lost, lostOurs = "Connection lost. Trying again.", "Connection lost. Trying again in 3 s."
		silent, asked  = "Closed for good. The error event does not say why.", "A fetch shows the reason: the server answers "
		reconnected    = "Reconnected."
		broke          = "Broke all connections."
	)
	type actions = []chromedp.Action[chromedp.Void]
	for _, step := range []struct {
		name    string
		actions actions
	}{
		{"before any click, the protected stream refuses native and serves ours", actions{
			chromedp.EmulateViewport(1360, 960), chromedp.Navigate(url + "?seconds=60"),
			rows("wasm", "Streaming."), words("wasm", `Streaming\.`), drawn("wasm", ".open"), drawn("wasm", ".event"),
			rows("native", asked+"401 Unauthorized.", silent), words("native", `401 Unauthorized\. It cannot send a token, and it never tries again\.`),
			drawn("native", ".closed"), waitFor(`document.querySelector('#native .cross text').textContent === '401'`),
			waitFor(`document.querySelector('#native .event') === null`)}},
		{"a message to the protected topic arrives", actions{
			publish("For those with a token"), rows("wasm", "message: For those with a token", "Streaming."), drawn("wasm", ".message"),
			rows("you", "Published “For those with a token” to the topic private."), events("wasm", 14)}},
		{"a broken connection leaves a gap, which the missed events fill", actions{
			press("#break"), rows("you", broke), publish("Sent meanwhile"),
			rows("wasm", "message: Sent meanwhile", reconnected, lostOurs, "message: For those with a token"),
			drawn("wasm", ".open + .gap + .open"), drawn("wasm", ".late"), words("wasm", `Reconnected\. \d+ missed events? arrived\.`),
			events("wasm", 24), chromedp.Func(takeScreenshot)}},
		{"ours retries after 401 until the server accepts it", actions{
			press("[data-answer='401']"), words("wasm", `The server answered 401 Unauthorized\. Trying again in [\d.]+ s\.`),
			chromedp.Evaluate[chromedp.Void](`fetch('/demo/answer', { method: 'DELETE' })`), words("wasm", `Reconnected.*`)}},
		{"both follow an unprotected stream", actions{
			press("[data-stream='/events']"), words("native", `Streaming\.`), words("wasm", `Streaming\.`),
			publish("Hello, both of you"), rows("native", "message: Hello, both of you"), rows("wasm", "message: Hello, both of you"),
			waitFor(`document.querySelector('[data-figure=connections]').textContent === '2'`)}},
		{"both resume after a break and receive the missed events", actions{
			press("#break"), rows("you", broke), publish("Sent meanwhile"),
			rows("native", "message: Sent meanwhile", reconnected, lost, "message: Hello, both of you", "Streaming."),
			rows("wasm", "message: Sent meanwhile", reconnected, lostOurs, "message: Hello, both of you", "Streaming."),
			waitFor(`[...document.querySelectorAll('[data-count=reconnections]')].every((count) => count.textContent === '1')`)}},
		{"an event of another type arrives", actions{
			chromedp.SendKeys(chromedp.CSS("#type"), "greeting"), publish("Hi"), rows("native", "greeting: Hi"), rows("wasm", "greeting: Hi"), empty("type")}},
		{"503 ends native, and ours shows when it will retry", actions{
			press("[data-answer='503']"), rows("native", asked+"503 Service Unavailable.", silent), words("native", `503 Service Unavailable\. It never tries again\.`),
			words("wasm", `The server answered 503 Service Unavailable\. Trying again in \d+.* s\.`)}},
		{"204 ends both", actions{
			press("#reconnect"), words("native", `Streaming\.`), words("wasm", `Streaming\.`),
			press("[data-answer='204']"), rows("native", asked+"204 No Content.", silent), rows("wasm", "The server answered 204 No Content. Closed for good.")}},
		{"a malformed header is reported", actions{
			press("summary"), chromedp.SendKeys(chromedp.CSS("#headers"), "nonsense"), press("#connect .primary"),
			rows("you", "“nonsense” is not a header. Write Name: value.")}},
		{"a wrong token is refused", actions{
			empty("headers"), chromedp.SendKeys(chromedp.CSS("#headers"), "Authorization: Bearer wrong"),
			empty("url"), chromedp.SendKeys(chromedp.CSS("#url"), "/protected"), press("#reconnect"),
			words("wasm", `The server answered 401 Unauthorized\..*`)}},
		{"events are late while the network is slow", actions{
			press("[data-stream='/events']"), words("native", `Streaming\.`), words("wasm", `Streaming\.`),
			press("#slow"), rows("you", "The network is slow for 60 seconds."), publish("Slow"),
			rows("native", "message: Slow"), rows("wasm", "message: Slow"),
			waitFor(`[...document.querySelectorAll('.plot .late.message text')].filter((text) => text.textContent === 'Slow').length === 2`)}},
	} {
		limited, cancel := context.WithTimeout(tab, patience)
		err := chromedp.Do(limited, step.actions...)
		cancel()
		if err != nil {
			lanes, _ := chromedp.Run(context.WithoutCancel(tab), chromedp.Evaluate[string](`document.querySelector('main').innerText`))
			t.Fatalf("%s: %v\n%s", step.name, err, lanes)
		}
	}
	for _, message := range consoleErrors(t, tab, messages) {
		// The browser itself logs broken connections, and the native EventSource's 401.
		if !strings.Contains(message, "Failed to load resource") {
			t.Errorf("console: %s", message)
		}
	}
}

func takeScreenshot(ctx context.Context, _ *chromedp.Target) error {
	if *screenshot == "" {
		return nil
	}
	png, err := chromedp.Run(ctx, chromedp.CaptureScreenshot())
	if err != nil {
		return err
	}
	return os.WriteFile(*screenshot, png, 0o644)
}
