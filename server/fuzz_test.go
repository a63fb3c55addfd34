package server_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/eventsource-wasm/eventsource-wasm/server"
	"github.com/eventsource-wasm/eventsource-wasm/sse"
)

func fuzzed() *server.Handler {
	return &server.Handler{
		Broker:         &server.Broker{Topics: []string{"a", "b.*"}, MaxEventBytes: 1000, MaxConnectionsPerIP: 1},
		Authorize:      server.BearerToken("secret"),
		AllowedOrigins: []string{listed},
		Tickets:        &server.Tickets{Cookie: "ticket"},
		MaxBatch:       10,
		MaxBodyBytes:   2000,
		Logger:         quiet,
	}
}

// Every POST gets one of the documented responses. If that is 201, the event was published completely, and once if it has
// a key. Otherwise, it was not published.
func FuzzPublishRequest(f *testing.F) {
	f.Add(form, "topic=a&data=x&type=y&retry=5000", "Bearer secret", "", "", "")
	f.Add(jsonType, `{"topic":"a","data":"x","type":"y","retry":5000}`, "Bearer secret", listed, "cross-site", "key")
	f.Add(jsonType, `{"topic":null,"retry":"x","data":["\ud800"]}`, "Bearer secret", unlisted, "same-origin", "")
	f.Add(form+`; charset="`, "topic=a&type=%0Aid:1&&=;%zz", "bearer  secret", "null", "none", "\x00")
	f.Add("multipart/form-data; boundary=x", "--x\r\n", "Basic x", "*", "same-site", "")
	f.Add(ndjson, "{\"topic\":\"a\"}\r\n\n{\"topic\":\"b.c\",\"data\":\"\\r\\u0000\"}", "Bearer secret", "", "", "8e03978e-40d5-43dd-bc93-6894a57f9324")
	f.Add(ndjson, "{\"topic\":\"a\"}\n{\"topic\":\"*\"}", "Bearer secret", "", "", strings.Repeat("k", 256))
	documented := []int{201, 400, 401, 403, 404, 413, 415}
	check := func(t *testing.T, contentType, body, authorization, origin, site, key string) {
		h := fuzzed()
		header := []string{"Authorization", authorization, "Origin", origin, "Sec-Fetch-Site", site}
		if key != "" {
			header = append(header, "Idempotency-Key", key)
		}
		answer := post(h, contentType, body, header...)
		if !slices.Contains(documented, answer.Code) {
			t.Fatalf("status %d: %s", answer.Code, answer.Body)
		}
		if strings.ContainsAny(answer.Body.String(), "<>") || answer.Header().Get("Content-Type") != jsonType {
			t.Errorf("a browser might take this for HTML: %v %s", answer.Header(), answer.Body)
		}
		var stored []string
		if answer.Code == http.StatusCreated {
			stored = ids(t, answer)
		}
		if got := h.Broker.Stats().Published; got != uint64(len(stored)) {
			t.Errorf("%d events published by a response with status %d and the ids %v", got, answer.Code, stored)
		}
		defer checkStream(t, h, stored)
		if key == "" || answer.Code != http.StatusCreated {
			return
		}
		if again := post(h, contentType, body, header...); !slices.Equal(ids(t, again), stored) {
			t.Errorf("the repeated request got %d, %s", again.Code, again.Body)
		}
		if other := post(h, contentType, body+" ", header...); other.Code == http.StatusCreated {
			t.Errorf("another body under the same key: %s", other.Body)
		}
		if got := h.Broker.Stats().Published; got != uint64(len(stored)) {
			t.Errorf("%d events published, want %d", got, len(stored))
		}
	}
	f.Fuzz(func(t *testing.T, contentType, body, authorization, origin, site, key string) {
		synctest.Test(t, func(t *testing.T) { check(t, contentType, body, authorization, origin, site, key) })
	})
}

// recorder is a response writer with everything that a stream needs.
type recorder struct{ *httptest.ResponseRecorder }

func (recorder) SetReadDeadline(time.Time) error  { return nil }
func (recorder) SetWriteDeadline(time.Time) error { return nil }

// checkStream parses the whole stream according to the standard. There must be an event for every id, and nothing else. A line end
// injected into a field would make an additional event, or another id.
func checkStream(t *testing.T, h *server.Handler, ids []string) {
	t.Helper()
	if len(ids) == 0 {
		return
	}
	r := httptest.NewRequest(http.MethodGet, "/?lastEventId="+epochOf(ids[0])+"-0", nil)
	r.Header.Set("Authorization", "Bearer secret")
	answer, done := recorder{httptest.NewRecorder()}, make(chan struct{})
	go func() {
		defer close(done)
		h.ServeHTTP(answer, r)
	}()
	synctest.Wait()
	h.Broker.Close()
	<-done
	var parser sse.Parser
	var got []string
	for parser.Feed(answer.Body.Bytes()); parser.Next(); {
		got = append(got, string(parser.LastEventID()))
	}
	blocks := strings.Count(answer.Body.String(), "\n\n")
	if len(got) > len(ids) || blocks != len(ids) || string(parser.LastEventID()) != ids[len(ids)-1] {
		t.Errorf("ids = %v in %q", got, answer.Body)
	}
}

// Every request for a ticket is granted only with the token, and the ticket opens a stream of the requested topics.
func FuzzTicketRequest(f *testing.F) {
	f.Add("topic=a&topic=b.*", "Bearer secret", listed, "cross-site", "")
	f.Add("topic=b.%3E&ticket=x", "Bearer", "null", "same-origin", "ticket=AAAAAAAAAAAAAAAAAAAAAAAAAA")
	f.Add("topic=%zz&=;", "Bearer secret", unlisted, "none", "ticket=x; ticket=\"y\"")
	documented := []int{201, 400, 401, 403, 404}
	f.Fuzz(func(t *testing.T, query, authorization, origin, site, cookie string) {
		h := fuzzed()
		r := httptest.NewRequest(http.MethodPost, "/ticket", nil)
		r.URL.RawQuery = query
		r.Header = http.Header{"Authorization": {authorization}, "Origin": {origin}, "Sec-Fetch-Site": {site}, "Cookie": {cookie}}
		answer := httptest.NewRecorder()
		h.ServeTicket(answer, r)
		if !slices.Contains(documented, answer.Code) {
			t.Fatalf("status %d: %s", answer.Code, answer.Body)
		}
		if answer.Code != http.StatusCreated {
			return
		}
		if !strings.HasSuffix(authorization, "secret") {
			t.Errorf("granted to %q", authorization)
		}
		var got struct{ Ticket string }
		if err := json.Unmarshal(answer.Body.Bytes(), &got); err != nil {
			t.Fatal(err)
		}
		set, err := http.ParseSetCookie(answer.Header().Get("Set-Cookie"))
		if err != nil {
			t.Fatal(err)
		}
		for cookie, status := range map[string]int{"": 401, set.Name + "=" + set.Value: 200} {
			if stream := do(h, http.MethodHead, "/?ticket="+got.Ticket, "Cookie", cookie); stream.Code != status {
				t.Errorf("the ticket with the cookie %q got status %d, %s", cookie, stream.Code, stream.Body)
			}
		}
	})
}

// Every GET gets one of the documented responses, and a gap event if it cannot continue from the id.
func FuzzSubscribeRequest(f *testing.F) {
	f.Add("topic=a&topic=b", "x-1", "Bearer secret", listed)
	f.Add("lastEventId=%00&topic=%zz", "", "Bearer", "null")
	f.Add("topic=<script>", "-18446744073709551616", "Bearer secret", "")
	f.Add("topic=*&topic=b.%3E", "", "Bearer secret", "")
	f.Add("topic=%3E.a&ticket=", "", "Bearer secret", listed)
	f.Add("ticket=AAAAAAAAAAAAAAAAAAAAAAAAAA&lastEventId=a", "a", "", "")
	documented := []int{200, 400, 401, 404}
	gaps := []string{"expired", "future", "epoch", "malformed"}
	f.Fuzz(func(t *testing.T, query, lastEventID, authorization, origin string) {
		h := fuzzed()
		request := httptest.NewRequest(http.MethodHead, "/", nil)
		request.URL.RawQuery = query
		request.Header = http.Header{
			"Last-Event-Id": {lastEventID},
			"Authorization": {authorization},
			"Origin":        {origin},
		}
		answer := httptest.NewRecorder()
		h.ServeHTTP(answer, request)
		if !slices.Contains(documented, answer.Code) {
			t.Fatalf("status %d: %s", answer.Code, answer.Body)
		}
		gap := answer.Header().Get("Event-Gap")
		if gap != "" && !slices.Contains(gaps, gap) || answer.Code == 200 && lastEventID != "" && gap == "" {
			t.Errorf("gap %q for %q", gap, lastEventID)
		}
	})
}
