package server

import (
	"cmp"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"sync"
	"time"
)

// Limits of [Tickets] whose fields are zero.
const (
	DefaultTicketLifetime       = 30 * time.Second
	DefaultTicketMaxAge         = time.Hour
	DefaultMaxTickets           = 100_000
	DefaultMaxTicketsPerSubject = 1000
)

// Tickets are for the EventSource of browsers, which sends no Authorization: a page that has a token asks by fetch for a
// ticket, and puts that in the URL of the stream.
//
//	const answer = await fetch("/ticket?topic=orders.*", {method: "POST", headers: {Authorization: "Bearer " + token}});
//	const {ticket} = await answer.json();
//	const source = new EventSource("/events?ticket=" + ticket);
//
// A ticket is random, opaque and good for one stream of the topics that it was asked for, by the grant that its bearer
// had. Since an EventSource comes back with the same URL, a ticket that was used can still resume: with the header
// Last-Event-ID, which browsers send then, until the grant expires or MaxAge is over. After that it is answered 401,
// which ends an EventSource; the page gets a new ticket then, and passes on the last id as the query's lastEventId. A
// stream that is refused for want of room uses its ticket up, too.
//
// So a URL that leaks, unlike one with a token, opens no second stream in a browser, and nothing beyond those topics
// and that time. But whoever can send a request of their own making can add the header; Cookie is against that.
//
// Tickets are known to this process alone, and good for the handler that has issued them. The zero Tickets have the
// default limits. The fields must not change after the first use.
type Tickets struct {
	// Lifetime is how long a ticket waits for its first use. Zero means 30 s.
	Lifetime time.Duration

	// MaxAge is how long after its issue a ticket can resume, if its grant does not expire before. Authorize is not
	// asked again. Zero means 1 hour; negative, not at all: then every reconnection needs a new ticket.
	MaxAge time.Duration

	// MaxTickets and MaxPerSubject bound the tickets that are good for something, over all, answered 503 beyond, and of
	// one [Grant.Subject], answered 429. One takes half a kilobyte and its topics. Zero means 100,000 and 1,000;
	// negative, no limit.
	MaxTickets, MaxPerSubject int

	// Cookie names a cookie that is set with every ticket, and without which it is worth nothing. It works for pages of
	// the stream's own site; others must be listed in [Handler.AllowedOrigins], fetch with credentials, construct
	// their sources with them, and meet no browser that blocks third parties' cookies. Choose a name that begins with
	// "__Host-". Empty means none.
	Cookie string

	mu       sync.Mutex
	known    map[string]*ticket
	of       map[string]int // how many, by subject
	tidiedAt time.Time
}

type ticket struct {
	from   *Handler // whose Authorize has permitted it: another's might not
	topics []string
	grant  Grant
	holder string // value of the cookie
	issued time.Time
	used   bool
}

var (
	errTicketsFull = errors.New("server: as many tickets as are kept")
	errManyTickets = errors.New("server: as many tickets as one subject may have")
)

const ticketMethods = "OPTIONS, POST"

// ServeTicket issues tickets, if h has any. POST asks for one to the topics that the query names as it does for a
// stream, or to all; [Handler.Authorize] decides on it as on that stream. The answer is 201 with {"ticket": text}.
// Refusals are those of a stream. CORS is the handler's: pages of listed origins may ask.
func (h *Handler) ServeTicket(w http.ResponseWriter, r *http.Request) {
	h.allowOrigin(w.Header(), r)
	var err error
	switch {
	case h.Tickets == nil:
		err = &Error{Status: http.StatusNotFound, Message: "there are no tickets here: set the Handler's Tickets"}
	case r.Method == http.MethodOptions:
		h.preflight(w, r, ticketMethods)
	case r.Method == http.MethodPost:
		err = h.issue(w, r)
	default:
		w.Header().Set("Allow", ticketMethods)
		err = &Error{Status: http.StatusMethodNotAllowed}
	}
	if err != nil {
		h.fail(w, r, err)
	}
}

func (h *Handler) issue(w http.ResponseWriter, r *http.Request) error {
	if err := h.checkSite(r); err != nil {
		return err
	}
	query, err := parseQuery(r)
	if err != nil {
		return err
	}
	topics, grant, err := h.permitted(r, query["topic"])
	if err != nil {
		return err
	}
	holder := h.Tickets.holder(r)
	text, err := h.Tickets.issue(&ticket{from: h, topics: topics, grant: grant, holder: holder, issued: time.Now()})
	if err != nil {
		return err
	}
	if holder != "" {
		http.SetCookie(w, h.ticketCookie(r, holder))
	}
	writeJSON(w, http.StatusCreated, issued{text})
	return nil
}

type issued struct {
	Ticket string `json:"ticket"`
}

// redeem returns what a ticket is good for.
func (h *Handler) redeem(r *http.Request, query url.Values) ([]string, Grant, error) {
	if len(query["ticket"]) > 1 || query.Has("topic") {
		return nil, Grant{}, malformed("ticket", "is one, and stands for its topics")
	}
	t, err := h.Tickets.use(query.Get("ticket"), h, r)
	if err != nil {
		return nil, Grant{}, fmt.Errorf("%w: %w", ErrInvalidToken, err)
	}
	return t.topics, t.grant, nil
}

func (t *Tickets) issue(fresh *ticket) (string, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.tidy()
	switch {
	case over(len(t.known)+1, cmp.Or(t.MaxTickets, DefaultMaxTickets)):
		return "", errTicketsFull
	case fresh.grant.Subject != "" && over(t.of[fresh.grant.Subject]+1, cmp.Or(t.MaxPerSubject, DefaultMaxTicketsPerSubject)):
		return "", errManyTickets
	}
	if t.known == nil {
		t.known = map[string]*ticket{}
	}
	text := rand.Text()
	t.known[text] = fresh
	count(&t.of, fresh.grant.Subject, 1)
	return text, nil
}

// use returns the ticket if it is good for the request to h. HEAD does not use it up.
func (t *Tickets) use(text string, h *Handler, r *http.Request) (*ticket, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	known := t.known[text]
	switch {
	case known == nil || known.from != h:
		return nil, errors.New("the ticket is unknown")
	case !t.isGood(known):
		return nil, errors.New("the ticket has expired")
	case known.used && r.Header.Get("Last-Event-ID") == "":
		return nil, errors.New("the ticket was used, and this is no reconnection")
	case known.holder != "" && subtle.ConstantTimeCompare([]byte(known.holder), []byte(t.cookie(r))) != 1:
		return nil, errors.New("the ticket is another browser's")
	}
	known.used = known.used || r.Method == http.MethodGet
	return known, nil
}

func (t *Tickets) isGood(known *ticket) bool {
	lifetime := cmp.Or(t.Lifetime, DefaultTicketLifetime)
	if known.used {
		lifetime = cmp.Or(t.MaxAge, DefaultTicketMaxAge)
	}
	now := time.Now()
	return now.Sub(known.issued) < lifetime && (known.grant.Expires.IsZero() || now.Before(known.grant.Expires))
}

// tidy forgets what is good for nothing, at intervals that make it cheap.
func (t *Tickets) tidy() {
	interval := cmp.Or(t.Lifetime, DefaultTicketLifetime)
	if over(len(t.known)+1, cmp.Or(t.MaxTickets, DefaultMaxTickets)) {
		interval = time.Second
	}
	if time.Since(t.tidiedAt) < interval {
		return
	}
	t.tidiedAt = time.Now()
	for text, known := range t.known {
		if !t.isGood(known) {
			delete(t.known, text)
			count(&t.of, known.grant.Subject, -1)
		}
	}
}

// holder returns what ties the tickets of one browser to it, if they are to be tied.
func (t *Tickets) holder(r *http.Request) string {
	if t.Cookie == "" {
		return ""
	}
	holder := rand.Text()
	if present := t.cookie(r); len(present) == len(holder) {
		return present
	}
	return holder
}

func (t *Tickets) cookie(r *http.Request) string {
	cookie, err := r.Cookie(t.Cookie)
	if err != nil {
		return ""
	}
	return cookie.Value
}

func (h *Handler) ticketCookie(r *http.Request, holder string) *http.Cookie {
	same := http.SameSiteStrictMode
	if h.lists(r.Header.Get("Origin")) {
		same = http.SameSiteNoneMode
	}
	return &http.Cookie{Name: h.Tickets.Cookie, Value: holder, Path: "/", Secure: true, HttpOnly: true, SameSite: same}
}
