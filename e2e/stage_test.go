package e2e

import (
	"context"
	"fmt"
	"net/http/httptest"
	"sync"
	"testing"

	"github.com/chromedp/chromedp"
)

// A stage is a tab in which scenarios run one after the other, each in a frame of the same page, as the conformance page
// runs them. A tab, a page and a renderer process for each take three times the CPU of the scenarios themselves.
type stage struct {
	tab
	runs int
}

// maxRuns bounds what the renderer process of a stage collects.
const maxRuns = 100

// stages are those of a browser that nobody uses.
type stages struct {
	browser *context.Context
	idle    chan *stage
}

var mainStages = &stages{&browser, make(chan *stage, 16)}

// bareStages are those of a browser without WebAssembly, which starts with the first of them.
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

// stageServer serves the page. It is of the same site as the origins of the labs, so that their cookies are not those of
// a third party.
var stageServer = sync.OnceValue(func() *httptest.Server { return httptest.NewServer(pages()) })

// borrow returns a stage and its tab, which ends whatever hangs in it. A test that fails does not give its stage back.
func (s *stages) borrow(t *testing.T) (*stage, context.Context) {
	t.Helper()
	borrowed := s.take(t)
	t.Cleanup(func() {
		if t.Failed() || borrowed.runs >= maxRuns || borrowed.clear() != nil {
			borrowed.close()
			return
		}
		select {
		case s.idle <- borrowed:
		default:
			borrowed.close()
		}
	})
	return borrowed, limit(t, borrowed.Context)
}

func (s *stages) take(t *testing.T) *stage {
	t.Helper()
	select {
	case idle := <-s.idle:
		return idle
	default:
	}
	opened := &stage{tab: openTabOf(t, *s.browser)}
	if err := chromedp.Do(opened.Context, chromedp.Navigate(stageServer().URL+"/harness/stage.html")); err != nil {
		opened.close()
		t.Fatalf("opening a stage: %v", err)
	}
	return opened
}

// show shows the page that the scenario is in.
func (s *stage) show(tab context.Context, url string) error {
	s.runs++
	return chromedp.Do(tab, chromedp.Evaluate[chromedp.Void](fmt.Sprintf("show(%q)", url)))
}

// clear removes it. What it still loads would be an error on the console of the next one.
func (s *stage) clear() error {
	return chromedp.Do(s.Context, chromedp.Evaluate[chromedp.Void]("hide()"))
}
