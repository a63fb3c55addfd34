package eventsource

import (
	"cmp"
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/eventsource-wasm/eventsource-wasm/sse"
	"github.com/eventsource-wasm/eventsource-wasm/wasm/lifecycle"
)

// Options are the options of a [Source]. With the zero Options, it behaves like an EventSource without options.
type Options struct {
	// Header has the headers of every request. It is copied. Accept is text/event-stream unless Header contains it. The
	// source sets Last-Event-ID once the stream has a last event ID. Authorization and Cookie are not sent to another
	// origin after a redirect.
	Header map[string][]string

	// HeaderFunc returns the headers of a request, and replaces Header. It is called before every request. If it fails or
	// returns invalid headers, OnError gets ReasonHeaders, and the next attempt calls it again. Its context is done when
	// that of the source is done.
	HeaderFunc func(ctx context.Context, attempt Attempt) (map[string][]string, error)

	// Method is the request method. Empty means GET. A request with another method than GET or HEAD is sent only once,
	// unless BodyFunc or ResumeByGET is set: the source ends with ReasonEnded when its stream ends. Such a request always
	// goes to the original URL, even if that redirects.
	Method string

	// Body is the request body. It is copied and sent only once. It requires a Method other than GET and HEAD.
	Body []byte

	// BodyFunc returns the body of a request, and replaces Body. It is called before every request. Set it if the request
	// may be repeated. If it fails, OnError gets ReasonBody. Its context is done when that of the source is done.
	BodyFunc func(ctx context.Context, attempt Attempt) ([]byte, error)

	// ResumeByGET resumes a request with another Method by GET: once the stream has a last event ID, the source reconnects
	// with a GET without a body, to the URL that the first request was redirected to. Without a last event ID, it cannot
	// resume.
	ResumeByGET bool

	// FlushAtEnd delivers an unfinished event when the server ends the stream. The standard discards it. If the connection
	// breaks, an unfinished event is always discarded.
	FlushAtEnd bool

	// Accept lists responses to accept in addition to those that the standard accepts.
	Accept Accept

	// LastEventID is the event ID from which to resume. It must not contain NUL, CR or LF.
	LastEventID string

	// LastEventIDParam is the name of a query parameter for the last event ID, instead of the header. In a browser, this
	// avoids the CORS preflight for requests to other origins.
	LastEventIDParam string

	// Retry says when to reconnect. Nil means after the stream's reconnection time, without a limit, and never after an
	// HTTP error.
	Retry *Retry

	// IdleTimeout is how long a connection may be silent before the source reconnects, at least 1 ms. The server must send
	// something, such as a comment, more often than that. Time that the program spends on an event does not count. Zero
	// means no timeout.
	IdleTimeout time.Duration

	// MaxEventSize is the maximum size of an event, in bytes. The source fails if an event is larger. Zero means 16 MiB.
	MaxEventSize int

	// WithCredentials lets a browser send cookies and other credentials to other origins. Elsewhere it has no effect: the
	// cookie jar of Transport.Client decides.
	WithCredentials bool

	// Transport sends the requests: with an [net/http.Client], or with fetch in a browser.
	Transport Transport

	// OnOpen is called when a connection is open, before its first event. OnError is called when a connection is lost or
	// cannot be made, but not when the context is done. The goroutine that reads the source calls both and waits for them.
	OnOpen  func(Response)
	OnError func(*Error)
}

// Accept lists responses to accept in addition to those that the standard accepts.
type Accept struct {
	// Statuses from 201 to 299, except 204 and 205, which have no body.
	Statuses []int

	// ContentTypes are media types without parameters, such as "application/octet-stream". An empty string accepts
	// responses without a Content-Type.
	ContentTypes []string
}

// Retry is exponential backoff. The stream's "retry:" field sets the minimum delay.
type Retry struct {
	// Initial is the first delay, at least 1 ms. Each consecutive failure multiplies it by Factor, from 1 to 1000, up to
	// Max. Zero means 1 s, 30 s and 2.
	Initial, Max time.Duration
	Factor       float64

	// Jitter is the random part of a delay, at most 1. Zero means 1; a negative value means no jitter.
	Jitter float64

	// Attempts is the number of consecutive failures after which the source fails for good. Zero means no limit.
	Attempts int

	// Statuses are the HTTP statuses to try again, after Retry-After if that is longer. Nil means 429, 500, 502, 503 and
	// 504. 204 is not allowed, because it ends a source.
	Statuses []int

	// ResetAfter is how long a connection must stay open to reset the count of failures and the delay, at most 24 days.
	// Zero means 5 s; a negative value resets them when the connection opens.
	ResetAfter time.Duration
}

// An Attempt describes the next request to HeaderFunc and BodyFunc.
type Attempt struct {
	// Number is the number of this request since the connection was last open, from 1.
	Number      int
	LastEventID string

	// Reason says why another request is needed. It is empty for the first one.
	Reason Reason

	// Status is that of the last response, or 0.
	Status int
}

var retriedStatuses = []int{429, 500, 502, 503, 504}

// checked validates the options and returns a copy that does not share memory with the caller's.
func (o Options) checked() (Options, error) {
	switch {
	case o.Header != nil && o.HeaderFunc != nil:
		return o, errors.New("eventsource: Options.Header and Options.HeaderFunc are both set: set only one of them")
	case o.Body != nil && o.BodyFunc != nil:
		return o, errors.New("eventsource: Options.Body and Options.BodyFunc are both set: set only one of them")
	case (o.Body != nil || o.BodyFunc != nil) && !hasBody(o.Method):
		return o, errors.New("eventsource: Options.Body requires a Method other than GET and HEAD")
	case o.ResumeByGET && !hasBody(o.Method):
		return o, errors.New("eventsource: Options.ResumeByGET requires a Method other than GET and HEAD")
	case o.Method != "" && !isToken(o.Method):
		return o, errors.New("eventsource: Options.Method: " + strconv.Quote(o.Method) + " is not an HTTP method")
	case strings.ContainsAny(o.LastEventID, "\x00\r\n"):
		return o, errors.New("eventsource: Options.LastEventID contains NUL, CR or LF")
	case o.MaxEventSize < 0:
		return o, errors.New("eventsource: Options.MaxEventSize is negative")
	case o.IdleTimeout < 0 || o.IdleTimeout > 0 && o.IdleTimeout < time.Millisecond:
		return o, errors.New("eventsource: Options.IdleTimeout must be 0 or at least 1ms, not " + o.IdleTimeout.String())
	}
	if err := checkHeader(o.Header); err != nil {
		return o, errors.New("eventsource: Options.Header: " + err.Error())
	}
	o.Header = cloneHeader(o.Header)
	o.Body = slices.Clone(o.Body)
	var err error
	if o.Accept, err = o.Accept.checked(); err != nil {
		return o, err
	}
	if o.Retry == nil {
		return o, nil
	}
	retry, err := o.Retry.checked()
	o.Retry = &retry
	return o, err
}

func (a Accept) checked() (Accept, error) {
	a.Statuses, a.ContentTypes = slices.Clone(a.Statuses), slices.Clone(a.ContentTypes)
	for _, status := range a.Statuses {
		if status < 200 || status > 299 || status == 204 || status == 205 {
			return a, errors.New("eventsource: Options.Accept.Statuses: " + strconv.Itoa(status) + " is not a status from 200 to 299 with a body")
		}
	}
	for i, contentType := range a.ContentTypes {
		essence := lifecycle.Essence(contentType)
		if contentType != "" && !strings.EqualFold(essence, contentType) {
			return a, errors.New("eventsource: Options.Accept.ContentTypes: " + strconv.Quote(contentType) +
				" must be a MIME type without parameters")
		}
		a.ContentTypes[i] = essence
	}
	return a, nil
}

// standard replaces an accepted status and type by those that the standard requires.
func (a *Accept) standard(r lifecycle.Response) lifecycle.Response {
	if slices.Contains(a.Statuses, r.Status) {
		r.Status = 200
	}
	if slices.Contains(a.ContentTypes, lifecycle.Essence(r.ContentType)) {
		r.ContentType = sse.ContentType
	}
	return r
}

func (r Retry) checked() (Retry, error) {
	r.Initial = cmp.Or(r.Initial, time.Second)
	r.Max = cmp.Or(r.Max, 30*time.Second)
	r.Factor = cmp.Or(r.Factor, 2)
	r.Jitter = max(cmp.Or(r.Jitter, 1), 0)
	r.ResetAfter = max(cmp.Or(r.ResetAfter, 5*time.Second), 0)
	if r.Statuses = slices.Clone(r.Statuses); r.Statuses == nil {
		r.Statuses = retriedStatuses
	}
	switch {
	case r.Initial < time.Millisecond:
		return r, errors.New("eventsource: Options.Retry.Initial must be at least 1ms, not " + r.Initial.String())
	case r.Max < time.Millisecond:
		return r, errors.New("eventsource: Options.Retry.Max must be at least 1ms, not " + r.Max.String())
	case !(r.Factor >= 1 && r.Factor <= 1000): // also refuses NaN
		return r, errors.New("eventsource: Options.Retry.Factor must be from 1 to 1000")
	case !(r.Jitter <= 1):
		return r, errors.New("eventsource: Options.Retry.Jitter must be at most 1")
	case r.Attempts < 0 || int64(r.Attempts) > lifecycle.MaxDelay:
		return r, errors.New("eventsource: Options.Retry.Attempts must be from 0 to 2147483647")
	case r.ResetAfter > lifecycle.MaxDelay*time.Millisecond:
		return r, errors.New("eventsource: Options.Retry.ResetAfter must be at most 24 days")
	}
	for _, status := range r.Statuses {
		if status < 201 || status > 599 || status == 204 {
			return r, errors.New("eventsource: Options.Retry.Statuses: " + strconv.Itoa(status) + " must be an HTTP status from 201 to 599, except 204")
		}
	}
	return r, nil
}

// policy returns the retry policy for package lifecycle.
func (o *Options) policy() lifecycle.Retry {
	policy := o.Retry.policy()
	switch {
	case !o.once():
	case o.ResumeByGET:
		policy.NeedsID = true
	default:
		policy.Attempts = 1
	}
	return policy
}

// once reports whether the request must be sent only once.
func (o *Options) once() bool { return hasBody(o.Method) && o.BodyFunc == nil }

// policy returns the policy for package lifecycle.
func (r *Retry) policy() lifecycle.Retry {
	if r == nil {
		return lifecycle.Retry{}
	}
	return lifecycle.Retry{
		Initial:    milliseconds(r.Initial),
		Max:        milliseconds(r.Max),
		Factor:     r.Factor,
		Jitter:     r.Jitter,
		Attempts:   uint32(r.Attempts),
		Statuses:   r.Statuses,
		ResetAfter: uint32(milliseconds(r.ResetAfter)),
		Seed:       rand.Uint32(),
	}
}

func milliseconds(d time.Duration) uint64 { return uint64(max(d, 0) / time.Millisecond) }

func (o *Options) maxEventSize() int { return cmp.Or(o.MaxEventSize, sse.DefaultMaxEventSize) }

func hasBody(method string) bool { return method != "" && method != "GET" && method != "HEAD" }
