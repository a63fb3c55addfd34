package e2e

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/eventsource-wasm/eventsource-wasm/server"
	"github.com/eventsource-wasm/eventsource-wasm/sse"
)

// The browser's own EventSource opens a protected stream with a ticket and resumes with it after a break. It cannot open a
// second stream with the ticket, nor can another browser.
func TestTicketInTheBrowser(t *testing.T) {
	t.Parallel()
	for name, cookie := range map[string]string{"ticket": "", "ticket and cookie": "__Host-ticket"} {
		t.Run(name, func(t *testing.T) {
			site := openSite(t)
			broker := &server.Broker{}
			h := &server.Handler{
				Broker:    broker,
				Authorize: server.BearerToken("the token"),
				Tickets:   &server.Tickets{Cookie: cookie},
				Retry:     time.Millisecond,
			}
			site.mux.Handle("/events", h)
			site.mux.HandleFunc("/ticket", h.ServeTicket)
			site.mux.HandleFunc("POST /break", func(w http.ResponseWriter, r *http.Request) {
				broker.DisconnectAll()
				if _, err := broker.Publish(t.Context(), "news", sse.Event{Data: "while away"}); err != nil {
					t.Error(err)
				}
			})
			// Cookies are shared between the ports of a host. No other test uses this host name.
			page := strings.Replace(site.URL, "127.0.0.1", "localhost", 1)
			got, _ := evaluate[[]string](t, page, `async () => {
				const seen = [];
				const headers = { Authorization: 'Bearer the token' };
				const answer = await fetch('/ticket?topic=news', { method: 'POST', headers });
				const url = '/events?ticket=' + (await answer.json()).ticket;
				const source = new EventSource(url);
				const next = (source) => new Promise((resolve) => {
					source.onopen = source.onerror = ({ type }) => { seen.push(type + ' ' + source.readyState); resolve(); };
					source.onmessage = ({ data }) => { seen.push(data); resolve(); };
				});
				await next(source);
				await fetch('/break', { method: 'POST' });
				while (!seen.includes('while away')) await next(source);
				source.close();
				await next(new EventSource(url));
				const plain = await fetch(url, { headers: { 'Last-Event-ID': 'x' }, credentials: 'omit' });
				plain.body.cancel();
				return [...seen, url, String(plain.status)];
			}`)
			if len(got) < 2 {
				t.Fatal(got)
			}
			want := []string{"open 1", "error 0", "open 1", "while away", "error 2"}
			if seen := got[:len(got)-2]; !slices.Equal(seen, want) {
				t.Errorf("the page saw %q, want %q", seen, want)
			}
			// A handmade request can resume in the page's place, unless a cookie ties the ticket to the browser.
			if status := got[len(got)-1]; (status == "401") != (cookie != "") {
				t.Errorf("status without the browser's cookies = %s", status)
			}
			if !strings.HasPrefix(got[len(got)-2], "/events?ticket=") {
				t.Errorf("the stream's URL is %q", got[len(got)-2])
			}
		})
	}
}
