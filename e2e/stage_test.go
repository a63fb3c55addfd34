package e2e

import (
	"context"
	"fmt"
	"net/http/httptest"
	"sync"
	"testing"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/css"
	"github.com/chromedp/cdproto/dom"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"
)

// A stage is a tab that shows scenario pages one after the other, each in a frame, as the conformance page does. A tab and
// a renderer process for each page would take more time than the scenarios.
type stage struct {
	tab
	pages int // shown so far
}

// maxPages bounds the memory of a stage's renderer process.
const maxPages = 50

// stages are the idle stages of a browser.
type stages struct {
	browser *context.Context
	idle    chan *stage
}

var mainStages = &stages{&browser, make(chan *stage, 16)}

// bareStages returns the stages of a browser without WebAssembly, which starts at the first call.
func bareStages(t *testing.T) *stages {
	t.Helper()
	s, err := startBare()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

var startBare = sync.OnceValues(func() (*stages, error) {
	ctx, stop, err := startBrowser(chromedp.Flag("js-flags", "--noexpose-wasm"))
	stopBare = stop
	return &stages{&ctx, make(chan *stage, 16)}, err
})

var stopBare func()

// stageServer serves the page. It is same-site with the labs, so that their cookies are not third-party.
var stageServer = sync.OnceValue(func() *httptest.Server { return httptest.NewServer(pages()) })

// giveBack keeps a stage for reuse, unless a scenario failed on it.
func (s *stages) giveBack(borrowed *stage, passed bool) {
	if !passed || borrowed.pages >= maxPages || borrowed.clear() != nil {
		borrowed.close()
		return
	}
	select {
	case s.idle <- borrowed:
	default:
		borrowed.close()
	}
}

func (s *stages) borrow(t *testing.T) *stage {
	t.Helper()
	select {
	case idle := <-s.idle:
		return idle
	default:
	}
	opened := &stage{tab: openTabOf(t, *s.browser)}
	if err := ignoreDetails(opened.Context); err != nil {
		opened.close()
		t.Fatalf("opening a stage: %v", err)
	}
	if err := chromedp.Do(opened.Context, chromedp.Navigate(stageServer().URL+"/harness/stage.html")); err != nil {
		opened.close()
		t.Fatalf("opening a stage: %v", err)
	}
	return opened
}

// ignoreDetails turns off the reports about each request, chunk, element and style, which chromedp enables. Tests read
// the console and evaluate scripts, and making those reports takes more time than many scenarios.
func ignoreDetails(tab context.Context) error {
	for _, disable := range []cdp.Command[cdp.Empty, cdp.Empty]{network.Disable, css.Disable, dom.Disable} {
		if _, err := chromedp.Call(tab, disable, cdp.Empty{}); err != nil {
			return fmt.Errorf("%s: %w", disable.Method, err)
		}
	}
	return nil
}

// show opens a scenario page in the frame.
func (s *stage) show(tab context.Context, url string) error {
	s.pages++
	return chromedp.Do(tab, chromedp.Evaluate[chromedp.Void](fmt.Sprintf("show(%q)", url)))
}

// clear removes the page, whose canceled requests would be errors on the console of the next one.
func (s *stage) clear() error {
	return chromedp.Do(s.Context, chromedp.Evaluate[chromedp.Void]("hide()"))
}
