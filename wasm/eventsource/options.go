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

// Options are what a [Source] takes beside its URL. The zero Options are those of an EventSource without any.
type Options struct {
	// Header goes with every request; a [net/http.Header] is one. It is copied. Accept is text/event-stream unless it is
	// among them, and Last-Event-ID is the stream's as soon as it has one. Authorization, and Cookie if it is among
	// them, do not go to an origin that the server redirected to.
	Header map[string][]string

	// HeaderFunc, in place of Header, is called before every request. If it fails, or returns what are no headers, that
	// is an [Error] with ReasonHeaders, and it is called again for the next attempt. The context ends with the source's.
	HeaderFunc func(ctx context.Context, attempt Attempt) (map[string][]string, error)

	// Method is the request's. Empty means GET. A request with another method than GET or HEAD is sent once, unless
	// BodyFunc or ResumeByGET allows more: when its stream ends, the source ends with ReasonEnded. Such a request always
	// goes to the URL that the source was opened with, even if that redirects.
	Method string

	// Body is the request's. It is copied, and never sent twice. It needs a Method that has a body.
	Body []byte

	// BodyFunc, in place of Body, is called before every request: set it if the server can bear the request again. If it
	// fails, that is an [Error] with ReasonBody. The context ends with the source's.
	BodyFunc func(ctx context.Context, attempt Attempt) ([]byte, error)

	// ResumeByGET resumes with GET what began with another Method: a request with a last event ID is a GET without a
	// body, to the URL that the first one was redirected to. A source that has no last event ID yet cannot resume.
	ResumeByGET bool

	// FlushAtEnd delivers an event whose blank line is missing when the server ends the stream. The standard discards
	// it. An event that a broken connection has cut off is discarded all the same.
	FlushAtEnd bool

	// Accept lists what a response may be besides the standard's 200 and text/event-stream.
	Accept Accept

	// LastEventID is what the source resumes from, without NUL, CR and LF.
	LastEventID string

	// LastEventIDParam is a query parameter that the last event ID is sent in, in place of the header, which in a
	// browser needs a CORS preflight to another origin.
	LastEventIDParam string

	// Retry is how to try again. Nil means: after the stream's reconnection time, for ever, and after no HTTP error.
	Retry *Retry

	// IdleTimeout is after how long without a byte, of a comment even, a connection is taken for dead and made anew,
	// from a millisecond on. It must be longer than the server is ever silent. The time that the program takes for an
	// event does not count. Zero means never.
	IdleTimeout time.Duration

	// MaxEventSize is how many bytes one event may have before the source fails. Zero means 16 MiB.
	MaxEventSize int

	// WithCredentials lets a browser send cookies and other credentials to another origin, too. Elsewhere it means
	// nothing: the Client's cookie jar decides.
	WithCredentials bool

	// Client makes the requests. Nil means [net/http.DefaultClient]. Its Timeout does not apply, which is meant for
	// responses that end. In a browser this is a function to call in place of fetch, and the zero Value means fetch.
	Client Client

	// OnOpen is called when a connection is open, before its first event, and OnError when one is lost or cannot be
	// made, as an EventSource fires its events of these names. Both are called by the goroutine that reads the source,
	// which waits for them. OnError is not told when the context is done.
	OnOpen  func(Response)
	OnError func(*Error)
}

// Accept lets servers deviate from the standard. The zero Accept is the standard's.
type Accept struct {
	// Statuses are accepted besides 200, from 201 to 299 without 204 and 205, which have no body.
	Statuses []int

	// ContentTypes are accepted besides text/event-stream, without parameters: "application/octet-stream". An empty one
	// stands for a response without a Content-Type.
	ContentTypes []string
}

// Retry is exponential backoff. What the stream sets by "retry:" is the least that a delay can be.
type Retry struct {
	// Initial is the first delay, and Max what it grows to, each by Factor times the one before. Zero means 1 s, 30 s
	// and 2. None can be less than a millisecond, and Factor not less than 1.
	Initial, Max time.Duration
	Factor       float64

	// Jitter is the part of a delay that is left to chance, up to 1 for all of it. Zero means 1; negative, none.
	Jitter float64

	// Attempts is after how many failures in a row the source fails for good. Zero means never.
	Attempts int

	// Statuses are the HTTP statuses that are tried again, after Retry-After if that is longer. Nil means 429, 500, 502,
	// 503 and 504. 204 cannot be among them: it ends a source.
	Statuses []int

	// ResetAfter is how long a connection must be open for the failures before it not to count, at most 24 days. Zero
	// means 5 s; negative, that they do not from the moment it opens.
	ResetAfter time.Duration
}

// An Attempt is what HeaderFunc and BodyFunc are told of the request to come.
type Attempt struct {
	// Number is 1 for the first request, and for the first one after a connection was open.
	Number      int
	LastEventID string

	// Reason is why there has to be another request, empty for the first.
	Reason Reason

	// Status is that of the last response, or 0.
	Status int
}

var retriedStatuses = []int{429, 500, 502, 503, 504}

// checked returns the options as the source keeps them, whatever the caller does to theirs.
func (o Options) checked() (Options, error) {
	switch {
	case o.Header != nil && o.HeaderFunc != nil:
		return o, errors.New("eventsource: Options.Header and Options.HeaderFunc: only one of them can be set")
	case o.Body != nil && o.BodyFunc != nil:
		return o, errors.New("eventsource: Options.Body and Options.BodyFunc: only one of them can be set")
	case (o.Body != nil || o.BodyFunc != nil) && !hasBody(o.Method):
		return o, errors.New("eventsource: Options.Body: a GET or HEAD request has none, set Options.Method")
	case o.ResumeByGET && !hasBody(o.Method):
		return o, errors.New("eventsource: Options.ResumeByGET is for other methods than GET and HEAD, set Options.Method")
	case o.Method != "" && !isToken(o.Method):
		return o, errors.New("eventsource: Options.Method: " + strconv.Quote(o.Method) + " is no HTTP method")
	case strings.ContainsAny(o.LastEventID, "\x00\r\n"):
		return o, errors.New("eventsource: Options.LastEventID contains NUL, CR or LF")
	case o.MaxEventSize < 0:
		return o, errors.New("eventsource: Options.MaxEventSize is negative")
	case o.IdleTimeout < 0 || o.IdleTimeout > 0 && o.IdleTimeout < time.Millisecond:
		return o, errors.New("eventsource: Options.IdleTimeout must be 0 or from 1ms on, not " + o.IdleTimeout.String())
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
			return a, errors.New("eventsource: Options.Accept.Statuses: " + strconv.Itoa(status) + " has no stream")
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

// standard returns the response as the standard would have it, if it is accepted.
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
		return r, errors.New("eventsource: Options.Retry.Initial must be from 1ms on, not " + r.Initial.String())
	case r.Max < time.Millisecond:
		return r, errors.New("eventsource: Options.Retry.Max must be from 1ms on, not " + r.Max.String())
	case !(r.Factor >= 1 && r.Factor <= 1000): // NaN is neither
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
			return r, errors.New("eventsource: Options.Retry.Statuses: " + strconv.Itoa(status) + " cannot be tried again")
		}
	}
	return r, nil
}

// policy returns what there is of retries in lifecycle's terms.
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

// once reports whether the request must not be repeated.
func (o *Options) once() bool { return hasBody(o.Method) && o.BodyFunc == nil }

// policy returns it in lifecycle's terms.
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
