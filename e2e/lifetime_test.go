package e2e

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"testing"

	"github.com/chromedp/cdproto/heapprofiler"
	"github.com/chromedp/chromedp"
)

// importOf returns the statement that sets EventSource to the implementation.
func importOf(implementation string) string {
	if implementation == "native" {
		return ""
	}
	return importModule
}

// HTML Standard, 9.2.9: "If an EventSource object's readyState is OPEN, and the object has one or more event listeners
// registered for message or error events, there must be a strong reference from the Window". The page keeps no other
// reference.
func TestOpenSourceIsNotCollected(t *testing.T) {
	t.Parallel()
	for _, implementation := range implementations {
		t.Run(implementation, func(t *testing.T) {
			t.Parallel()
			s := openSite(t)
			more := make(chan struct{})
			s.mux.HandleFunc("GET /slow", func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Type", "text/event-stream")
				fmt.Fprint(w, "retry: 1\ndata: before\n\n")
				http.NewResponseController(w).Flush()
				select {
				case <-more: // ends the stream: the source must reconnect
				case <-r.Context().Done():
				}
			})
			tab := newTab(t)
			if err := chromedp.Do(tab, chromedp.Navigate(s.URL)); err != nil {
				t.Fatal(err)
			}
			const open = `(async () => {%s
				globalThis.seen = [];
				const first = new Promise((resolve) => {
					const source = new EventSource('/slow');
					source.onmessage = ({ data }) => { seen.push(data); resolve(); globalThis.second?.(); };
				});
				await first;
				return true;
			})()`
			if _, err := chromedp.Run(tab, chromedp.Evaluate[bool](fmt.Sprintf(open, importOf(implementation)), chromedp.EvalAwaitPromise)); err != nil {
				t.Fatal(err)
			}
			for range 3 {
				collectGarbage(t, tab)
			}
			close(more)
			const wait = `(async () => {
				if (seen.length < 2) await new Promise((resolve) => { globalThis.second = resolve; });
				return seen.slice(0, 2);
			})()`
			seen, err := chromedp.Run(tab, chromedp.Evaluate[[]string](wait, chromedp.EvalAwaitPromise))
			if err != nil {
				t.Fatalf("the source was collected: %v", err)
			}
			if want := []string{"before", "before"}; !slices.Equal(seen, want) {
				t.Errorf("got %q, want %q", seen, want)
			}
		})
	}
}

func collectGarbage(t *testing.T, tab context.Context) {
	t.Helper()
	if err := chromedp.Do(tab, chromedp.Func(func(ctx context.Context, _ *chromedp.Target) error {
		_, err := chromedp.Call(ctx, heapprofiler.CollectGarbage, chromedp.Void{})
		return err
	})); err != nil {
		t.Fatal(err)
	}
}
