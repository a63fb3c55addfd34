package server

import (
	"cmp"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
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
	DefaultMaxTicketsPerSubject = 1000
	DefaultMaxTicketsPerIP      = 1000
	DefaultMaxTicketBytes       = 16 << 20
)

// Tickets are for the EventSource of browsers, which sends no Authorization: a page that has a token asks by fetch for a
// ticket, and puts that in the URL of the stream.
//
//	const answer = await fetch("/ticket?topic=orders.*", {method: "POST", headers: {Authorization: "Bearer " + token}});
//	const {ticket} = await answer.json();
//	const source = new EventSource("/events?ticket=" + ticket);
//
// A ticket is opaque and good for one stream of the topics that it was asked for, by the grant that its bearer had.
// Since an EventSource comes back with the same URL, a ticket that was used can still resume: with the header
// Last-Event-ID, which browsers send then, until the grant expires or MaxAge is over. After that it is answered 401,
// which ends an EventSource; the page gets a new ticket then, and passes on the last id as the query's lastEventId. A
// stream that is refused for want of room uses its ticket up, too.
//
// So a URL that leaks, unlike one with a token, opens no second stream in a browser, and nothing beyond those topics
// and that time. But whoever can send a request of their own making can add the header; Cookie is against that.
//
// A ticket holds its topics and its grant, encrypted with a key that only this process knows: it is some 120 characters
// long, and four for every three bytes of its topics. So asking for tickets takes no memory here, however many nobody
// uses. A ticket that was used takes 256 bytes, until it cannot resume any more.
//
// Tickets are good for the handler that has issued them. The zero Tickets have the default limits. The fields must not
// change after the first use.
type Tickets struct {
	// Lifetime is how long a ticket waits for its first use. Zero means 30 s.
	Lifetime time.Duration

	// MaxAge is how long after its issue a ticket can resume, if its grant does not expire before. Authorize is not
	// asked again. Zero means 1 hour; negative, not at all: then every reconnection needs a new ticket.
	MaxAge time.Duration

	// MaxPerSubject and MaxPerIP bound the used tickets that can resume: of one [Grant.Subject] and, where grants have
	// none, of one address, of IPv6 of one /64. Beyond that, a stream makes the oldest one's reconnection need a new
	// ticket; a client that uses as many within a Lifetime is answered 429. Zero means 1,000; negative, no limit.
	MaxPerSubject, MaxPerIP int

	// MaxBytes bounds the memory of used tickets, of all clients. Beyond that, the oldest can no longer resume, and if
	// so many are used within a Lifetime, unused ones become worthless before their time. Either is answered 401, upon
	// which a page gets a new ticket: nobody is locked out. Zero means 16 MiB, which is 65,536 tickets; negative, no
	// limit.
	MaxBytes int64

	// Cookie names a cookie that is set with every ticket, and without which it is worth nothing. It works for pages of
	// the stream's own site; others must be listed in [Handler.AllowedOrigins], fetch with credentials, construct
	// their sources with them, and meet no browser that blocks third parties' cookies. Choose a name that begins with
	// "__Host-". Empty means none.
	Cookie string

	once  sync.Once
	seal  cipher.AEAD
	start time.Time

	mu       sync.Mutex
	handlers map[*Handler]uint64
	used     usedTickets
}

var errManyTickets = errors.New("server: too many tickets used by this client")

const ticketMethods = "OPTIONS, POST"

// ServeTicket issues tickets, if h has any. POST asks for one to the topics that the query names as it does for a
// stream, or to all; [Handler.Authorize] decides on it as on that stream. The answer is 201 with {"ticket": text}.
// Refusals are those of a stream. CORS is the handler's: pages of listed origins may ask.
func (h *Handler) ServeTicket(w http.ResponseWriter, r *http.Request) {
	leaveBody(w, r) // it means nothing here
	if !h.receive(w, r) {
		return
	}
	var err error
	switch {
	case h.Tickets == nil:
		err = &Error{Status: http.StatusNotFound, Message: "tickets are not enabled: set Handler.Tickets"}
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
	text := h.Tickets.issue(ticket{handler: h.Tickets.number(h), topics: topics, grant: grant, holder: holder})
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
		return nil, Grant{}, malformed("ticket", "must be given once, without any topic")
	}
	t, err := h.Tickets.use(query.Get("ticket"), h, r)
	if errors.Is(err, errManyTickets) {
		return nil, Grant{}, err
	}
	if err != nil {
		return nil, Grant{}, fmt.Errorf("%w: %w", ErrInvalidToken, err)
	}
	return t.topics, t.grant, nil
}

func (t *Tickets) init() {
	t.once.Do(func() {
		key := make([]byte, 32)
		rand.Read(key)
		block, err := aes.NewCipher(key)
		if err == nil {
			t.seal, err = cipher.NewGCMWithRandomNonce(block)
		}
		if err != nil {
			panic(err) // the key has the right size
		}
		t.start = time.Now()
	})
}

// number returns the number that stands for the handler in its tickets: another's Authorize might not permit them.
func (t *Tickets) number(h *Handler) uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.handlers == nil {
		t.handlers = map[*Handler]uint64{}
	}
	number, known := t.handlers[h]
	if !known {
		number = uint64(len(t.handlers))
		t.handlers[h] = number
	}
	return number
}

func (t *Tickets) issue(fresh ticket) string {
	t.init()
	fresh.issued = time.Since(t.start)
	return base64.RawURLEncoding.EncodeToString(t.seal.Seal(nil, nil, fresh.append(nil), nil))
}

// open returns the ticket that the text is, and what identifies it.
func (t *Tickets) open(text string) (ticket, ticketID, error) {
	t.init()
	sealed, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || len(sealed) < len(ticketID{}) {
		return ticket{}, ticketID{}, errNoTicket
	}
	plain, err := t.seal.Open(nil, nil, sealed, nil)
	if err != nil {
		return ticket{}, ticketID{}, errNoTicket
	}
	known, err := parseTicket(plain)
	return known, ticketID(sealed), err // which begins with a nonce of its own
}

// use returns the ticket if it is good for the request to h. HEAD does not use it up.
func (t *Tickets) use(text string, h *Handler, r *http.Request) (ticket, error) {
	known, id, err := t.open(text)
	switch {
	case err != nil:
		return ticket{}, err
	case known.handler != t.number(h):
		return ticket{}, errNoTicket
	case known.holder != "" && subtle.ConstantTimeCompare([]byte(known.holder), []byte(t.cookie(r))) != 1:
		return ticket{}, errors.New("ticket belongs to another browser")
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.used.forget(time.Since(t.start))
	if err := t.isGood(known, id, r); err != nil || r.Method != http.MethodGet || t.used.has(id) {
		return known, err
	}
	return known, t.markUsed(known, id, h.owner(r, known.grant))
}

// isGood returns why the ticket is not, if so.
func (t *Tickets) isGood(known ticket, id ticketID, r *http.Request) error {
	age, used := time.Since(t.start)-known.issued, t.used.has(id)
	lifetime := cmp.Or(t.Lifetime, DefaultTicketLifetime)
	if used {
		lifetime = cmp.Or(t.MaxAge, DefaultTicketMaxAge)
	}
	expires := known.grant.Expires
	switch {
	case age >= lifetime, !expires.IsZero() && !time.Now().Before(expires), !used && known.issued < t.used.usableFrom:
		return errors.New("ticket has expired")
	case used && r.Header.Get("Last-Event-ID") == "":
		return errors.New("ticket was already used, and the request has no Last-Event-ID")
	}
	return nil
}

// markUsed remembers the ticket for as long as it could be used once more, or resume.
func (t *Tickets) markUsed(known ticket, id ticketID, owner digest) error {
	lifetime := cmp.Or(t.Lifetime, DefaultTicketLifetime)
	until := known.issued + cmp.Or(t.MaxAge, DefaultTicketMaxAge)
	if expires := known.grant.Expires; !expires.IsZero() {
		until = min(until, expires.Sub(t.start))
	}
	until = max(until, known.issued+lifetime)
	perOwner := cmp.Or(t.MaxPerSubject, DefaultMaxTicketsPerSubject)
	if known.grant.Subject == "" {
		perOwner = cmp.Or(t.MaxPerIP, DefaultMaxTicketsPerIP)
	}
	if !t.used.makeRoomOf(owner, perOwner, time.Since(t.start)-lifetime) {
		return errManyTickets
	}
	t.used.makeRoom(cmp.Or(t.MaxBytes, DefaultMaxTicketBytes))
	t.used.add(&usedTicket{id: id, issued: known.issued, until: until}, owner)
	return nil
}

// Used returns how many used tickets are remembered, and the memory that they take, as MaxBytes counts it.
func (t *Tickets) Used() (tickets int, bytes int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.used.byID), int64(len(t.used.byID)) * usedTicketBytes
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
