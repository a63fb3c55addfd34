package server_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/eventsource-wasm/eventsource-wasm/server"
)

// ticketed returns a handler. Clients may subscribe for ten minutes, to topics that begin with their names.
func ticketed(tickets *server.Tickets) *server.Handler {
	h := &server.Handler{Broker: &server.Broker{}, Tickets: tickets, AllowedOrigins: []string{listed}}
	h.Authorize = func(r *http.Request, access server.Access) (server.Grant, error) {
		name, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		if !ok {
			return server.Grant{}, server.ErrUnauthenticated
		}
		for _, topic := range access.Topics {
			if !server.Covers(name+".>", topic) || access.Action != server.ActionSubscribe {
				return server.Grant{}, server.ErrForbidden
			}
		}
		return server.Grant{Subject: name, Expires: time.Now().Add(10 * time.Minute)}, nil
	}
	return h
}

func requestTicket(h *server.Handler, query string, header ...string) *httptest.ResponseRecorder {
	return do(http.HandlerFunc(h.ServeTicket), http.MethodPost, "/ticket?"+query, header...)
}

// ticketFor requests a ticket, which must succeed.
func ticketFor(t testing.TB, h *server.Handler, query string, header ...string) string {
	t.Helper()
	answer := requestTicket(h, query, append([]string{"Authorization", "Bearer ada"}, header...)...)
	var got struct{ Ticket string }
	if err := json.Unmarshal(answer.Body.Bytes(), &got); err != nil || answer.Code != http.StatusCreated || got.Ticket == "" || got.Ticket != url.QueryEscape(got.Ticket) {
		t.Fatalf("status %d, body %s", answer.Code, answer.Body)
	}
	return got.Ticket
}

func TestTicket(t *testing.T) {
	h := ticketed(&server.Tickets{})
	base := start(t, h)
	ticket := ticketFor(t, h, "topic=ada.*&topic=ada.x.y")
	c := opened(t, base+"?ticket="+ticket)
	id := c.next()["id"]
	for _, topic := range []string{"bob.a", "ada.a", "ada.x.z", "ada.x.y"} {
		publish(t, h.Broker, topic, topic)
	}
	c.wantData("ada.a", "ada.x.y")
	// A reconnection gets the same topics, and others get nothing.
	again := opened(t, base+"?ticket="+ticket, "Last-Event-ID", id)
	again.wantData("ada.a", "ada.x.y")
	if c := open(t, base+"?ticket="+ticket); c.response.StatusCode != http.StatusUnauthorized {
		t.Errorf("a second stream: status %d", c.response.StatusCode)
	}
}

func TestTicketRequests(t *testing.T) {
	const bearer = "Bearer ada"
	tests := map[string]struct {
		tickets *server.Tickets
		method  string
		query   string
		header  []string
		status  int
	}{
		"valid":               {&server.Tickets{}, "POST", "topic=ada.*", []string{"Authorization", bearer}, 201},
		"of a listed page":    {&server.Tickets{}, "POST", "topic=ada.*", []string{"Authorization", bearer, "Origin", listed, "Sec-Fetch-Site", "cross-site"}, 201},
		"of another page":     {&server.Tickets{}, "POST", "topic=ada.*", []string{"Authorization", bearer, "Origin", unlisted, "Sec-Fetch-Site", "cross-site"}, 403},
		"no credentials":      {&server.Tickets{}, "POST", "topic=ada.*", nil, 401},
		"too much":            {&server.Tickets{}, "POST", "topic=ada.*&topic=bob.*", []string{"Authorization", bearer}, 403},
		"all":                 {&server.Tickets{}, "POST", "", []string{"Authorization", bearer}, 403},
		"invalid topic":       {&server.Tickets{}, "POST", "topic=ada.%3E.x", []string{"Authorization", bearer}, 400},
		"malformed query":     {&server.Tickets{}, "POST", "topic=%zz", []string{"Authorization", bearer}, 400},
		"too many topics":     {&server.Tickets{}, "POST", strings.Repeat("topic=ada.a&", 33), []string{"Authorization", bearer}, 400},
		"by a ticket":         {&server.Tickets{}, "POST", "ticket=x", nil, 401},
		"another method":      {&server.Tickets{}, "GET", "topic=ada.*", []string{"Authorization", bearer}, 405},
		"preflight":           {&server.Tickets{}, "OPTIONS", "", []string{"Origin", listed}, 204},
		"no tickets":          {nil, "POST", "topic=ada.*", []string{"Authorization", bearer}, 404},
		"no limits":           {&server.Tickets{MaxBytes: -1, MaxPerSubject: -1, MaxPerIP: -1}, "POST", "topic=ada.*", []string{"Authorization", bearer}, 201},
		"malformed, no token": {&server.Tickets{}, "POST", "topic=", nil, 401},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			h := ticketed(test.tickets)
			answer := do(http.HandlerFunc(h.ServeTicket), test.method, "/ticket?"+test.query, test.header...)
			if answer.Code != test.status || (answer.Header().Get("Allow") == "OPTIONS, POST") != (test.status == 405 || test.method == "OPTIONS") {
				t.Errorf("status %d, headers %v, body %s", answer.Code, answer.Header(), answer.Body)
			}
			if test.status == 201 && answer.Header().Get("Cache-Control") != "no-store" {
				t.Errorf("headers %v", answer.Header())
			}
		})
	}
}

func TestTicketCORS(t *testing.T) {
	answer := requestTicket(ticketed(&server.Tickets{}), "topic=ada.a", "Authorization", "Bearer ada", "Origin", listed)
	if got := answer.Header().Get("Access-Control-Allow-Origin"); got != listed {
		t.Errorf("allowed %q", got)
	}
}

// TestTicketTimes checks when a ticket can be used, by the time since it was issued.
func TestTicketTimes(t *testing.T) {
	type use struct {
		after  time.Duration // since the use before, or the issue
		method string
		id     string // Last-Event-ID
		status int
	}
	const resume = "id-1"
	tests := map[string]struct {
		tickets *server.Tickets
		uses    []use
	}{
		"used in time":            {&server.Tickets{}, []use{{30*time.Second - 1, "GET", "", 200}}},
		"used late":               {&server.Tickets{}, []use{{30 * time.Second, "GET", "", 401}}},
		"used late, resuming":     {&server.Tickets{}, []use{{30 * time.Second, "GET", resume, 401}}},
		"used later, option":      {&server.Tickets{Lifetime: time.Minute}, []use{{time.Minute - 1, "GET", "", 200}}},
		"used twice":              {&server.Tickets{}, []use{{0, "GET", "", 200}, {0, "GET", "", 401}, {0, "HEAD", "", 401}}},
		"resumed":                 {&server.Tickets{}, []use{{0, "GET", "", 200}, {0, "GET", resume, 200}, {5 * time.Minute, "GET", resume, 200}}},
		"resumed until expiry":    {&server.Tickets{}, []use{{0, "GET", "", 200}, {10*time.Minute - 1, "GET", resume, 200}, {1, "GET", resume, 401}}},
		"resumed until age":       {&server.Tickets{MaxAge: time.Minute}, []use{{0, "GET", "", 200}, {time.Minute - 1, "GET", resume, 200}, {1, "GET", resume, 401}}},
		"not resumed":             {&server.Tickets{MaxAge: -1}, []use{{0, "GET", "", 200}, {0, "GET", resume, 401}}},
		"HEAD, then used":         {&server.Tickets{}, []use{{0, "HEAD", "", 200}, {0, "HEAD", "", 200}, {0, "GET", "", 200}}},
		"first use with an id":    {&server.Tickets{}, []use{{0, "GET", resume, 200}, {0, "GET", "", 401}, {0, "GET", resume, 200}}},
		"waits beyond the expiry": {&server.Tickets{Lifetime: time.Hour}, []use{{10 * time.Minute, "GET", "", 401}}},
		"cleanup by another use":  {&server.Tickets{}, []use{{0, "GET", "", 200}, {time.Minute, "TIDY", "", 201}, {0, "GET", resume, 200}}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := ticketed(test.tickets)
				h.Broker.Close() // a permitted stream gets 503
				ticket := ticketFor(t, h, "topic=ada.a")
				for i, use := range test.uses {
					time.Sleep(use.after)
					if use.method == "TIDY" {
						ticketFor(t, h, "topic=ada.a")
						continue
					}
					answer := do(h, use.method, "/?ticket="+ticket, "Last-Event-ID", use.id)
					if status := min(answer.Code, 503); (status == 503) != (use.status == 200) || status != 503 && status != use.status {
						t.Errorf("use %d: status %d, body %s", i+1, answer.Code, answer.Body)
					}
				}
			})
		})
	}
}

// If several clients use a ticket at the same time, one of them succeeds.
func TestConcurrentTicketUse(t *testing.T) {
	h := ticketed(&server.Tickets{})
	h.Broker.Close() // a permitted stream gets 503
	ticket := ticketFor(t, h, "topic=ada.a")
	var granted, refused atomic.Int64
	var clients sync.WaitGroup
	for range 20 {
		clients.Go(func() {
			switch status := do(h, http.MethodGet, "/?ticket="+ticket).Code; status {
			case http.StatusServiceUnavailable:
				granted.Add(1)
			case http.StatusUnauthorized:
				refused.Add(1)
			}
			ticketFor(t, h, "topic=ada.b")
		})
	}
	clients.Wait()
	if granted.Load() != 1 || refused.Load() != 19 {
		t.Errorf("granted %d times, refused %d times", granted.Load(), refused.Load())
	}
}

func TestInvalidTickets(t *testing.T) {
	tickets := &server.Tickets{}
	h, other := ticketed(tickets), ticketed(tickets)
	ticket := ticketFor(t, h, "topic=ada.a")
	tests := map[string]struct {
		handler *server.Handler
		query   string
		status  int
	}{
		"unknown":            {h, "ticket=AAAAAAAAAAAAAAAAAAAAAAAAAA", 401},
		"empty":              {h, "ticket=", 401},
		"another case":       {h, "ticket=" + strings.ToLower(ticket), 401},
		"one letter less":    {h, "ticket=" + ticket[:len(ticket)-1], 401},
		"one letter more":    {h, "ticket=" + ticket + "A", 401},
		"another first":      {h, "ticket=" + otherLetter(ticket[0]) + ticket[1:], 401},
		"another last":       {h, "ticket=" + ticket[:len(ticket)-1] + otherLetter(ticket[len(ticket)-1]), 401},
		"of another server":  {h, "ticket=" + ticketFor(t, ticketed(&server.Tickets{}), "topic=ada.a"), 401},
		"twice":              {h, "ticket=" + ticket + "&ticket=" + ticket, 400},
		"with topics":        {h, "ticket=" + ticket + "&topic=bob.a", 400},
		"another handler's":  {other, "ticket=" + ticket, 401},
		"tickets disabled":   {&server.Handler{Broker: h.Broker, Authorize: h.Authorize}, "ticket=" + ticket, 401},
		"for an empty topic": {h, "ticket=" + ticket + "&topic=", 400},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			answer := do(test.handler, http.MethodHead, "/?"+test.query)
			if answer.Code != test.status || strings.Contains(answer.Body.String(), ticket) {
				t.Errorf("status %d, body %s", answer.Code, answer.Body)
			}
		})
	}
	if answer := do(h, http.MethodHead, "/?ticket=x", "Authorization", "Bearer ada"); answer.Code != http.StatusUnauthorized {
		t.Errorf("a ticket as a bearer token: status %d", answer.Code)
	}
	if answer := post(h, form, "topic=ada.a&ticket="+ticket); answer.Code != http.StatusUnauthorized && answer.Code != http.StatusBadRequest {
		t.Errorf("a ticket published: status %d", answer.Code)
	}
}

func otherLetter(letter byte) string {
	if letter == 'A' {
		return "B"
	}
	return "A"
}

// A client that uses many tickets invalidates only its own oldest ones.
func TestTicketsOfOneClient(t *testing.T) {
	onClients := func(t *testing.T, name func(client string) []string, tickets *server.Tickets) {
		synctest.Test(t, func(t *testing.T) {
			h := ticketed(tickets)
			if name("x") == nil {
				h.Authorize = nil
			}
			h.Broker.Close() // a permitted stream gets 503
			ask := func(client, ticket, id string, status int) {
				t.Helper()
				r := httptest.NewRequest(http.MethodGet, "/?ticket="+ticket, nil)
				r.RemoteAddr, r.Header = client, http.Header{"Last-Event-Id": {id}}
				answer := httptest.NewRecorder()
				if h.ServeHTTP(answer, r); answer.Code != status {
					t.Errorf("%s: status %d, want %d: %s", client, answer.Code, status, answer.Body)
				}
			}
			const ada, bob = "192.0.2.1:1", "192.0.2.2:1"
			issue := func(client string) string { return ticketFor(t, h, "topic="+client+".a", name(client)...) }
			adas := []string{issue("ada"), issue("ada"), issue("ada"), issue("ada")}
			bobs := issue("bob")
			ask(bob, bobs, "", 503)
			ask(ada, adas[0], "", 503)
			time.Sleep(time.Second)
			ask(ada, adas[1], "", 503)
			ask(ada, adas[2], "", 429) // if the first ticket were forgotten, it could be used again
			ask(ada, adas[0], "x", 503)
			ask(ada, adas[0], "", 401)
			time.Sleep(29 * time.Second)
			adas[2] = issue("ada")
			ask(ada, adas[2], "", 503)
			ask(ada, adas[0], "x", 401)
			ask(ada, adas[1], "x", 503)
			ask(ada, adas[2], "x", 503)
			ask(bob, bobs, "x", 503)
			if used, bytes := tickets.Used(); used != 3 || bytes != 3*256 {
				t.Errorf("%d used tickets of %d bytes", used, bytes)
			}
			time.Sleep(time.Hour)
			ask(bob, issue("bob"), "", 503)
			if used, _ := tickets.Used(); used != 1 {
				t.Errorf("%d used tickets after an hour", used)
			}
		})
	}
	t.Run("subject", func(t *testing.T) {
		onClients(t, func(client string) []string { return []string{"Authorization", "Bearer " + client} }, &server.Tickets{MaxPerSubject: 2, MaxPerIP: 1})
	})
	t.Run("address", func(t *testing.T) {
		onClients(t, func(string) []string { return nil }, &server.Tickets{MaxPerSubject: 1, MaxPerIP: 2})
	})
}

// When the memory for used tickets is full, the oldest tickets become invalid, for every kind of use.
func TestTicketsOfAllClients(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := ticketed(&server.Tickets{MaxBytes: 2 * 256})
		h.Broker.Close() // a permitted stream gets 503
		ask := func(ticket, id string, status int) {
			t.Helper()
			if answer := do(h, http.MethodGet, "/?ticket="+ticket, "Last-Event-ID", id); answer.Code != status {
				t.Errorf("status %d, want %d: %s", answer.Code, status, answer.Body)
			}
		}
		var tickets []string
		for range 4 {
			tickets = append(tickets, ticketFor(t, h, "topic=ada.a"))
			time.Sleep(time.Second)
		}
		ask(tickets[1], "", 503)
		ask(tickets[2], "", 503)
		ask(tickets[3], "", 503)
		for i, status := range []int{401, 401, 503, 503} {
			ask(tickets[i], "x", status)
			ask(tickets[i], "", 401)
		}
		ask(ticketFor(t, h, "topic=ada.a"), "", 503)
	})
}

func TestTicketCookie(t *testing.T) {
	h := ticketed(&server.Tickets{Cookie: "__Host-ticket"})
	answer := requestTicket(h, "topic=ada.a", "Authorization", "Bearer ada", "Origin", listed)
	set, err := http.ParseSetCookie(answer.Header().Get("Set-Cookie"))
	if err != nil {
		t.Fatal(err)
	}
	if set.Name != "__Host-ticket" || !set.Secure || !set.HttpOnly || set.Path != "/" || set.SameSite != http.SameSiteNoneMode || set.Domain != "" {
		t.Errorf("cookie %v", set)
	}
	cookie := set.Name + "=" + set.Value
	var got struct{ Ticket string }
	json.Unmarshal(answer.Body.Bytes(), &got)
	for _, test := range []struct {
		cookie string
		status int
	}{{"", 401}, {set.Name + "=", 401}, {set.Name + "=AAAAAAAAAAAAAAAAAAAAAAAAAA", 401}, {cookie, 200}} {
		if answer := do(h, http.MethodHead, "/?ticket="+got.Ticket, "Cookie", test.cookie); answer.Code != test.status {
			t.Errorf("%q: status %d", test.cookie, answer.Code)
		}
	}
	tests := map[string]struct {
		present string
		same    bool // as the browser has
	}{
		"another ticket":  {cookie, true},
		"a forged cookie": {set.Name + "=x", false},
		"a large cookie":  {set.Name + "=" + strings.Repeat("x", 1000), false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			answer := requestTicket(h, "topic=ada.a", "Authorization", "Bearer ada", "Cookie", test.present)
			again, err := http.ParseSetCookie(answer.Header().Get("Set-Cookie"))
			if err != nil || (again.Name+"="+again.Value == test.present) != test.same || len(again.Value) != 26 {
				t.Errorf("cookie %v, %v", again, err)
			}
			if again.SameSite != http.SameSiteStrictMode {
				t.Errorf("cookie %v", again)
			}
		})
	}
}
