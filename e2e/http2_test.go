package e2e

import (
	"context"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/eventsource-wasm/eventsource-wasm/server"
	"github.com/eventsource-wasm/eventsource-wasm/sse"
)

// manyPage opens the given number of streams, and counts those that are open, and the events of each.
const manyPage = `<!doctype html><link rel="icon" href="data:,"><script type="module">
	import { EventSource as wasm } from '/dist/eventsource.mjs';
	const implementations = { native: EventSource, wasm };
	const { searchParams } = new URL(location);
	globalThis.opened = 0;
	globalThis.errors = 0;
	globalThis.received = [];
	globalThis.sources = Array.from({ length: Number(searchParams.get('streams')) }, (_, i) => {
		const source = new implementations[searchParams.get('implementation')]('/events?topic=all&topic=only.' + i);
		source.onopen = () => { opened++; };
		source.onerror = () => { errors++; };
		received[i] = [];
		source.onmessage = ({ data }) => { received[i].push(data); };
		return source;
	});
</script>`

// A manyServer streams to manyPage and counts the streams by HTTP version.
type manyServer struct {
	*httptest.Server
	broker  *server.Broker
	streams [3]atomic.Int64 // by the major version of HTTP
}

func startMany(t *testing.T, start func(*httptest.Server)) *manyServer {
	t.Helper()
	requireDist(t)
	s := &manyServer{broker: &server.Broker{}}
	events := &server.Handler{Broker: s.broker, Logger: slog.New(slog.DiscardHandler)}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, manyPage) })
	mux.Handle("GET /dist/", http.StripPrefix("/dist/", http.FileServer(http.Dir(dist))))
	mux.HandleFunc("/events", func(w http.ResponseWriter, r *http.Request) {
		s.streams[r.ProtoMajor].Add(1)
		events.ServeHTTP(w, r)
	})
	s.Server = httptest.NewUnstartedServer(mux)
	s.Config.ErrorLog = log.New(io.Discard, "", 0) // browsers reset what they no longer want
	start(s.Server)
	t.Cleanup(func() {
		s.CloseClientConnections()
		s.Close()
	})
	return s
}

// publish publishes an event to a topic.
func (s *manyServer) publish(t *testing.T, topic, data string) {
	t.Helper()
	if _, err := s.broker.Publish(t.Context(), topic, sse.Event{Data: data}); err != nil {
		t.Fatal(err)
	}
}

// One HTTP/2 connection carries all streams of an origin. HTTP/1.1 needs a connection for each.
func TestStreamsOverHTTP2(t *testing.T) {
	t.Parallel()
	const streams = 50
	s := startMany(t, func(s *httptest.Server) {
		s.EnableHTTP2 = true
		s.StartTLS()
	})
	trusting, stop, err := startBrowser(chromedp.Flag("ignore-certificate-errors", true))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	for i, implementation := range []string{"native", "wasm"} {
		t.Run(implementation, func(t *testing.T) {
			tab, closeTab := chromedp.NewContext(trusting)
			defer closeTab()
			limited := limit(t, tab)
			do := func(actions ...chromedp.Action[chromedp.Void]) {
				t.Helper()
				if err := chromedp.Do(limited, actions...); err != nil {
					state, _ := chromedp.Run(tab, chromedp.Evaluate[string](`JSON.stringify({opened, errors, received})`))
					t.Fatalf("%v: %s", err, state)
				}
			}
			do(chromedp.Navigate(fmt.Sprintf("%s/?implementation=%s&streams=%d", s.URL, implementation, streams)),
				waitFor(fmt.Sprintf("globalThis.opened === %d", streams)))
			if open := s.broker.Stats().Connections; open != streams {
				t.Errorf("%d streams are open, want %d", open, streams)
			}
			s.publish(t, "all", "for all")
			for i := range streams {
				s.publish(t, fmt.Sprintf("only.%d", i), fmt.Sprint(i))
			}
			do(waitFor("received.every((data, i) => data.join() === 'for all,' + i) && errors === 0"))
			if by1, by2 := s.streams[1].Load(), s.streams[2].Load(); by1 != 0 || by2 != int64(streams*(i+1)) {
				t.Errorf("%d streams by HTTP/1.1 and %d by HTTP/2, want 0 and %d", by1, by2, streams*(i+1))
			}
			do(chromedp.Evaluate[chromedp.Void]("sources.forEach((source) => source.close())"))
			awaitConnections(limited, t, s.broker, 0)
		})
	}
}

// The seventh stream of an origin waits until one of the first six is closed.
func TestStreamsOverHTTP1(t *testing.T) {
	t.Parallel()
	const streams, connections = 7, 6
	for _, implementation := range []string{"native", "wasm"} {
		t.Run(implementation, func(t *testing.T) {
			s := startMany(t, (*httptest.Server).Start)
			tab := newTab(t)
			steps := []chromedp.Action[chromedp.Void]{
				chromedp.Navigate(fmt.Sprintf("%s/?implementation=%s&streams=%d", s.URL, implementation, streams)),
				waitFor(fmt.Sprintf("globalThis.opened === %d", connections)),
			}
			if err := chromedp.Do(tab, steps...); err != nil {
				t.Fatal(err)
			}
			s.publish(t, "all", "for the first")
			if err := chromedp.Do(tab, waitFor(fmt.Sprintf("received.filter((data) => data.length === 1).length === %d", connections))); err != nil {
				t.Fatal(err)
			}
			if asked := s.streams[1].Load(); asked != connections {
				t.Errorf("%d streams requested, want %d", asked, connections)
			}
			steps = []chromedp.Action[chromedp.Void]{
				chromedp.Evaluate[chromedp.Void]("sources.find((source) => source.readyState === EventSource.OPEN).close()"),
				waitFor(fmt.Sprintf("globalThis.opened === %d", streams)),
			}
			if err := chromedp.Do(tab, steps...); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// awaitConnections polls until want streams are open.
func awaitConnections(ctx context.Context, t *testing.T, broker *server.Broker, want int64) {
	t.Helper()
	for broker.Stats().Connections != want {
		select {
		case <-ctx.Done():
			t.Fatalf("%d streams are open, want %d", broker.Stats().Connections, want)
		case <-time.After(5 * time.Millisecond):
		}
	}
}
