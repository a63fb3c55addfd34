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
		t.Fatalf("the server told no URL: %v", err)
	}
	return strings.TrimSpace(url)
}

// rows waits until a lane's newest rows are these, each "type data", newest first.
func rows(lane string, want ...string) chromedp.Action[chromedp.Void] {
	return waitFor(fmt.Sprintf(`(() => {
		const rows = [...document.querySelectorAll('#%s tbody tr:not(.stats)')].slice(0, %d);
		return rows.map(({ cells }) => [cells[1].textContent, cells[3].textContent].join(' ').trim()).join('\n') === %q;
	})()`, lane, len(want), strings.Join(want, "\n")))
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
		chromedp.Click(chromedp.CSS("#publish .primary")),
	)
}

func empty(id string) chromedp.Action[chromedp.Void] {
	return chromedp.Evaluate[chromedp.Void](fmt.Sprintf(`document.getElementById(%q).value = ''`, id))
}

// What a visitor of the demo does, in one sitting.
func TestDemo(t *testing.T) {
	t.Parallel()
	url := startDemo(t)
	tab := newTab(t)
	messages := chromedp.Console(tab)
	const lost, failed = "error the connection is lost, another attempt follows", "error the connection has failed"
	for _, step := range []struct {
		name    string
		actions []chromedp.Action[chromedp.Void]
	}{
		{"both lanes open", []chromedp.Action[chromedp.Void]{
			chromedp.EmulateViewport(1360, 960), chromedp.Navigate(url), rows("native", "open"), rows("wasm", "open")}},
		{"a typed message arrives in both", []chromedp.Action[chromedp.Void]{
			publish("Hello, both of you"), rows("native", "message Hello, both of you"), rows("wasm", "message Hello, both of you")}},
		{"the server's figures are shown", []chromedp.Action[chromedp.Void]{
			waitFor(`document.querySelector('[data-figure=connections]').textContent === '2'`)}},
		{"a broken connection is resumed, and what was missed arrives", []chromedp.Action[chromedp.Void]{
			chromedp.Click(chromedp.CSS("#break")), rows("native", lost), rows("wasm", lost),
			publish("Sent meanwhile"),
			rows("native", "message Sent meanwhile", "open", lost, "message Hello, both of you", "open"),
			rows("wasm", "message Sent meanwhile", "open", lost, "message Hello, both of you", "open"),
			waitFor(`[...document.querySelectorAll('[data-count=reconnections]')].every((count) => count.textContent === '1')`)}},
		{"an event of another type arrives", []chromedp.Action[chromedp.Void]{
			chromedp.SendKeys(chromedp.CSS("#type"), "greeting"), publish("Hi"), rows("native", "greeting Hi"), rows("wasm", "greeting Hi"),
			empty("type")}},
		{"the protected stream opens with headers only", []chromedp.Action[chromedp.Void]{
			chromedp.Click(chromedp.CSS("[data-stream=protected]")), rows("wasm", "open"), rows("native", failed),
			chromedp.SetValue(chromedp.CSS("#topic"), "private"), publish("For those with a token"), rows("wasm", "message For those with a token", "open"),
			chromedp.Func(takeScreenshot)}},
		{"an answer of 204 ends both", []chromedp.Action[chromedp.Void]{
			chromedp.Click(chromedp.CSS("[data-stream=open]")), rows("native", "open"), rows("wasm", "open"),
			chromedp.Click(chromedp.CSS("#answer")), rows("native", failed), rows("wasm", failed),
			chromedp.Click(chromedp.CSS("#answer-end")), waitFor(`document.getElementById('faults-result').textContent.includes('as usual')`)}},
		{"a header that is none is told", []chromedp.Action[chromedp.Void]{
			chromedp.SendKeys(chromedp.CSS("#headers"), "nonsense"), chromedp.Click(chromedp.CSS("#connect .primary")),
			waitFor(`document.getElementById('connect-result').textContent.includes('is not a header')`)}},
	} {
		limited, cancel := context.WithTimeout(tab, patience)
		err := chromedp.Do(limited, step.actions...)
		cancel()
		if err != nil {
			lanes, _ := chromedp.Run(tab, chromedp.Evaluate[string](`document.getElementById('lanes').innerText`))
			t.Fatalf("%s: %v\n%s", step.name, err, lanes)
		}
	}
	for _, message := range consoleErrors(t, tab, messages) {
		// The browser itself logs broken connections, and the native EventSource's 401.
		if !strings.Contains(message, "Failed to load resource") {
			t.Errorf("on the console: %s", message)
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
