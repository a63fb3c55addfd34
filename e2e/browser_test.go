package e2e

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// browser is the one Chromium of the run. Its tabs are contexts made from it.
var browser context.Context

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(runTests(m))
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

// startBrowser starts the Chromium of the tests, with further options for what needs one of its own.
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

// chromium finds the browser: $CHROMIUM, or one of the names that systems give it.
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

// newTab opens a tab that is closed with the test, and ends whatever hangs in it.
func newTab(t *testing.T) context.Context {
	t.Helper()
	tab := openTab(t)
	t.Cleanup(tab.close)
	return limit(t, tab.Context)
}

// A tabPool has the tabs of a browser that nobody uses.
type tabPool struct {
	browser *context.Context
	idle    chan tab
}

var mainTabs = &tabPool{&browser, make(chan tab, 16)}

// bareTabs are those of a browser that has no WebAssembly. It is started when it is asked for.
func bareTabs(t *testing.T) *tabPool {
	t.Helper()
	pool, err := startBare()
	if err != nil {
		t.Fatal(err)
	}
	return pool
}

var startBare = sync.OnceValues(func() (*tabPool, error) {
	ctx, stop, err := startBrowser(chromedp.Flag("js-flags", "--noexpose-wasm"))
	stopBare = stop
	return &tabPool{&ctx, make(chan tab, 16)}, err
})

var stopBare func()

// borrow is newTab for tests that leave a tab as it was, but for the page that it shows: to open a tab takes as long as to
// run a scenario. A test that fails does not give its tab back.
func (p *tabPool) borrow(t *testing.T) context.Context {
	t.Helper()
	var borrowed tab
	select {
	case borrowed = <-p.idle:
	default:
		borrowed = openTabOf(t, *p.browser)
	}
	t.Cleanup(func() {
		if !t.Failed() && leave(borrowed) == nil {
			select {
			case p.idle <- borrowed:
				return
			default:
			}
		}
		borrowed.close()
	})
	return limit(t, borrowed.Context)
}

// leave leaves the tab's page. What it still loads would be an error on the console of the next one.
func leave(t tab) error {
	return chromedp.Do(t.Context, chromedp.Navigate("about:blank"))
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

func limit(t *testing.T, tab context.Context) context.Context {
	limited, cancel := context.WithTimeout(tab, time.Minute)
	t.Cleanup(cancel)
	return limited
}
