package e2e

import (
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/eventsource-wasm/eventsource-wasm/server"
	"github.com/eventsource-wasm/eventsource-wasm/server/compress"
	"github.com/eventsource-wasm/eventsource-wasm/sse"
)

const compressedPage = `<!doctype html>
<script>const Native = EventSource;</script>
<script src="/dist/eventsource.js"></script>
<script>
	const lanes = [Native, EventSource].map((Class) => {
		const lane = { opened: 0, data: [] };
		const source = new Class("/events");
		source.onopen = () => lane.opened++;
		source.onmessage = (event) => lane.data.push(event.data);
		return lane;
	});
	const received = (count) => lanes.every(({ data }) => data.length === count);
	const inOrder = () => lanes.every(({ data }) => data.every((text, i) => text.startsWith(i + 1 + ' ')));
</script>`

// Both implementations receive every event of a compressed stream: one at a time, in bursts over several sections, and
// after a reconnection.
func TestCompressedStreams(t *testing.T) {
	t.Parallel()
	requireDist(t)
	for _, coding := range []server.Coding{compress.Gzip(), compress.Zstd()} {
		t.Run(coding.Name(), func(t *testing.T) {
			t.Parallel()
			broker := &server.Broker{}
			var coded atomic.Int64
			events := &server.Handler{Broker: broker, MinSharing: 1, Codings: []server.Coding{coding}, Logger: slog.New(slog.DiscardHandler)}
			mux := http.NewServeMux()
			mux.HandleFunc("/events", func(w http.ResponseWriter, r *http.Request) {
				events.ServeHTTP(w, r)
				if w.Header().Get("Content-Encoding") == coding.Name() {
					coded.Add(1)
				}
			})
			mux.HandleFunc("/{$}", func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Type", "text/html")
				io.WriteString(w, compressedPage)
			})
			mux.Handle("/dist/", http.StripPrefix("/dist/", http.FileServer(http.Dir(dist))))
			origin := httptest.NewServer(mux)
			defer origin.Close()
			defer origin.CloseClientConnections()

			published := 0
			publish := func(count int) {
				for range count {
					published++
					text := fmt.Sprintf(`%d {"sensor": %d, "unit": "degrees", "text": "Grüße"}`, published, published%7)
					if _, err := broker.Publish(t.Context(), "t", sse.Event{Data: text}); err != nil {
						t.Fatal(err)
					}
				}
			}
			tab := newTab(t)
			do := func(actions ...chromedp.Action[chromedp.Void]) {
				t.Helper()
				if err := chromedp.Do(tab, actions...); err != nil {
					t.Fatalf("after %d events: %v", published, err)
				}
			}
			do(chromedp.Navigate(origin.URL), waitFor(`lanes.every(({ opened }) => opened === 1)`))
			for range 10 {
				publish(1)
				do(waitFor(fmt.Sprintf(`received(%d)`, published)))
			}
			publish(1000)
			do(waitFor(fmt.Sprintf(`received(%d)`, published)))
			broker.DisconnectAll()
			publish(500)
			do(waitFor(fmt.Sprintf(`received(%d)`, published)), waitFor(`lanes.every(({ opened }) => opened === 2)`))
			publish(1)
			do(waitFor(fmt.Sprintf(`received(%d) && inOrder()`, published)))
			broker.Close()
			origin.CloseClientConnections()
			origin.Close() // waits for the handlers, which count
			if coded.Load() < 2 {
				t.Errorf("%d streams were compressed, want at least 2", coded.Load())
			}
		})
	}
}
