package e2e

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// browser is the one Chromium of the run. Its tabs are contexts made from it.
var browser context.Context

// perProcessor is the number of parallel tests per processor. They mostly wait for the browser.
const perProcessor = 3

func TestMain(m *testing.M) {
	flag.Parse()
	if isDefault("test.parallel") {
		flag.Set("test.parallel", strconv.Itoa(perProcessor*runtime.GOMAXPROCS(0)))
	}
	os.Exit(runTests(m))
}

func isDefault(name string) bool {
	isDefault := true
	flag.Visit(func(f *flag.Flag) { isDefault = isDefault && f.Name != name })
	return isDefault
}

func runTests(m *testing.M) int {
	ctx, stop, err := startBrowser()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer stop()
	browser = ctx
	defer func() {
		if stopBare != nil {
			stopBare()
		}
	}()
	return m.Run()
}

// startBrowser starts Chromium. Tests that need a browser of their own pass further options.
func startBrowser(further ...chromedp.ExecAllocatorOption) (context.Context, func(), error) {
	path, err := chromium()
	if err != nil {
		return nil, nil, err
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(path),
		chromedp.NoSandbox, // containers run tests as root, which Chromium's sandbox refuses
		chromedp.DisableGPU,
		chromedp.Flag("disable-quic", true),
		chromedp.Flag("disable-component-update", true),
	)
	options = append(options, further...)
	allocator, stopAllocator := chromedp.NewExecAllocator(context.Background(), options...)
	ctx, stop := chromedp.NewContext(allocator)
	if err := chromedp.Do(ctx); err != nil {
		stop()
		stopAllocator()
		return nil, nil, fmt.Errorf("e2e: starting %s: %w", path, err)
	}
	return ctx, func() { stop(); stopAllocator() }, nil
}

// chromium finds the browser: $CHROMIUM, or one of its usual names.
func chromium() (string, error) {
	names := []string{"chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome",
		"/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
		"/Applications/Chromium.app/Contents/MacOS/Chromium",
	}
	if path := os.Getenv("CHROMIUM"); path != "" {
		names = []string{path}
	}
	for _, name := range names {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("e2e: no browser (looked for %s): install Chromium, on Debian with "+
		"`apt-get install chromium`, or set CHROMIUM to the path of a Chromium or Chrome", strings.Join(names, ", "))
}

// newTab opens a tab for the test, and cancels its context if the test hangs.
func newTab(t *testing.T) context.Context {
	t.Helper()
	tab := openTab(t)
	t.Cleanup(tab.close)
	return limit(t, tab.Context)
}

type tab struct {
	context.Context
	close context.CancelFunc
}

func openTab(t *testing.T) tab {
	t.Helper()
	return openTabOf(t, browser)
}

func openTabOf(t *testing.T, browser context.Context) tab {
	t.Helper()
	ctx, cancel := chromedp.NewContext(browser)
	if err := chromedp.Do(ctx); err != nil {
		cancel()
		t.Fatalf("opening a tab: %v", err)
	}
	return tab{ctx, cancel}
}

// patience limits a test that hangs. It measures nothing: on a busy machine, a page takes a hundred times as long.
const patience = 10 * time.Minute

func limit(t *testing.T, tab context.Context) context.Context {
	limited, cancel := context.WithTimeout(tab, patience)
	t.Cleanup(cancel)
	return limited
}
