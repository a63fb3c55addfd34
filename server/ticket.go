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

// Defaults of [Tickets], for fields that are zero.
const (
	DefaultTicketLifetime       = 30 * time.Second
	DefaultTicketMaxAge         = time.Hour
	DefaultMaxTicketsPerSubject = 1000
	DefaultMaxTicketsPerIP      = 1000
	DefaultMaxTicketBytes       = 16 << 20
)

// Tickets lets a browser's own EventSource, which cannot send Authorization, open a protected stream. A page with a
// token requests a ticket with fetch, and puts it into the URL of the stream:
//
//	const answer = await fetch("/ticket?topic=orders.*", {method: "POST", headers: {Authorization: "Bearer " + token}});
//	const {ticket} = await answer.json();
//	const source = new EventSource("/events?ticket=" + ticket);
//
// A ticket opens one stream of the topics that it was requested for, with the grant of its token. An EventSource
// reconnects with the same URL, so a used ticket can resume: with the header Last-Event-ID, which browsers send on
// reconnection, until the grant expires or MaxAge has passed. After that, it gets 401, which ends an EventSource. The
// page then requests a new ticket and passes the last id in the query as lastEventId. A stream that is refused by a
// limit also uses up its ticket.
//
// So a leaked URL cannot open a second stream in a browser, in contrast to a URL with a token, and it is limited to
// those topics and that time. A program can add the header, though: Cookie protects against that.
//
// A ticket contains its topics and its grant, encrypted with a key that only this process knows. It has about 120
// characters, plus four for every three bytes of its topics. Unused tickets take no memory. A used ticket takes 256
// bytes until it can no longer resume.
//
// A ticket is valid for the handler that issued it. The zero Tickets has the default limits. Its fields must not change
// after its first use.
type Tickets struct {
	// Lifetime is how long an unused ticket is valid. Zero means 30 s.
	Lifetime time.Duration

	// MaxAge is how long after its issue a ticket can resume, unless its grant expires earlier. Authorize is not called
	// again. Zero means 1 hour. Negative means that every reconnection needs a new ticket.
	MaxAge time.Duration

	// MaxPerSubject and MaxPerIP limit the used tickets that can resume, per [Grant.Subject], or per address (per /64
	// for IPv6) for grants without a subject. Beyond the limit, the oldest ticket can no longer resume. A client that
	// uses this many within one Lifetime gets 429. Zero means 1,000. Negative means no limit.
	MaxPerSubject, MaxPerIP int

	// MaxBytes limits the memory for used tickets. Beyond it, the oldest can no longer resume. If this many are used
	// within one Lifetime, unused tickets expire early. Both get 401, and the page requests a new ticket. Zero means 16
	// MiB, or 65,536 tickets. Negative means no limit.
	MaxBytes int64

	// Cookie is the name of a cookie that is set with every ticket and required to use it. It works for pages of the
	// stream's own site. Pages of other sites must be in [Handler.AllowedOrigins], use credentials for both requests,
	// and run in a browser that does not block third-party cookies. Choose a name that starts with "__Host-". Empty
	// means no cookie.
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

// ServeTicket issues tickets. POST requests one for the topics in the query, or for all, as for a stream.
// [Handler.Authorize] decides as for that stream. The response is 201 with {"ticket": text}. Errors are those of a
// stream. If h.Tickets is nil, the response is 404. The CORS rules of h apply: pages of listed origins may request
// tickets.
func (h *Handler) ServeTicket(w http.ResponseWriter, r *http.Request) {
	leaveBody(w, r) // the body has no meaning here
	if !h.receive(w, r) {
		return
	}
	var err error
	switch {
	case h.Tickets == nil:
		err = &HTTPError{Status: http.StatusNotFound, Message: "tickets are not enabled: set Handler.Tickets"}
	case r.Method == http.MethodOptions:
		h.preflight(w, r, ticketMethods)
	case r.Method == http.MethodPost:
		err = h.issue(w, r)
	default:
		w.Header().Set("Allow", ticketMethods)
		err = &HTTPError{Status: http.StatusMethodNotAllowed}
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

// redeem returns the topics and the grant of a ticket.
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

// number returns the number of the handler in its tickets. Another handler might not permit them.
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

// open decrypts a ticket, and returns it and its id.
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
	return known, ticketID(sealed), err // sealed begins with the nonce
}

// use returns the ticket if it is valid for the request to h. HEAD does not use it up.
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
	if err := t.check(known, id, r); err != nil || r.Method != http.MethodGet || t.used.has(id) {
		return known, err
	}
	return known, t.markUsed(known, id, h.owner(r, known.grant))
}

// check returns an error if the ticket cannot be used for the request.
func (t *Tickets) check(known ticket, id ticketID, r *http.Request) error {
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

// markUsed remembers the ticket for as long as it could otherwise be used again, or can resume.
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

// Used returns the number of used tickets that can still resume, and their memory in bytes as MaxBytes counts it.
func (t *Tickets) Used() (tickets int, bytes int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.used.byID), int64(len(t.used.byID)) * usedTicketBytes
}

// holder returns the cookie value that ties tickets to one browser, or "" without Cookie.
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
