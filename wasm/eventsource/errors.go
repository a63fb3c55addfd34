package eventsource

import (
	"strconv"
	"time"
)

// A Reason says why a connection was lost or could not be made. It is an error, so that errors.Is can test an [*Error]
// for it:
//
//	errors.Is(err, eventsource.ReasonIdle)
type Reason string

const (
	ReasonEnded       Reason = "ended"        // the server ended the stream
	ReasonNetwork     Reason = "network"      // the connection could not be made, or broke
	ReasonIdle        Reason = "idle"         // nothing arrived for IdleTimeout
	ReasonStatus      Reason = "status"       // the response's status is not 200
	ReasonContentType Reason = "content-type" // the response is not an event stream
	ReasonLimit       Reason = "limit"        // an event is larger than MaxEventSize
	ReasonHeaders     Reason = "headers"      // HeaderFunc failed, or returned invalid headers
	ReasonBody        Reason = "body"         // BodyFunc failed
	ReasonAborted     Reason = "aborted"      // the context is done

	// In browsers only, which do not allow the request:
	ReasonCORS Reason = "cors" // the server does not allow the page's origin
	ReasonCSP  Reason = "csp"  // the page's Content-Security-Policy does not allow the URL
	ReasonURL  Reason = "url"  // fetch does not support the URL's scheme
)

// Error returns the reason as a sentence.
func (r Reason) Error() string {
	switch r {
	case ReasonEnded:
		return "the server ended the stream"
	case ReasonNetwork:
		return "the network failed"
	case ReasonIdle:
		return "nothing arrived for IdleTimeout"
	case ReasonStatus:
		return "the response's status is not 200"
	case ReasonContentType:
		return "the response's Content-Type is not text/event-stream"
	case ReasonLimit:
		return "an event of the stream is larger than MaxEventSize"
	case ReasonHeaders:
		return "HeaderFunc failed, or returned invalid headers"
	case ReasonBody:
		return "BodyFunc failed"
	case ReasonAborted:
		return "the context is done"
	case ReasonCORS:
		return "the server does not allow the page's origin by CORS"
	case ReasonCSP:
		return "the page's Content-Security-Policy does not allow the request"
	case ReasonURL:
		return "fetch does not support the URL's scheme"
	default:
		return string(r)
	}
}

// An Error says why a connection was lost or could not be made, and whether another attempt follows.
type Error struct {
	Reason Reason

	// Status and Header are those of the response to the last request, if there was one. If it was not an event stream,
	// Body has its first bytes, at most 1,024.
	Status int
	Header map[string][]string
	Body   []byte

	// URL is that of the response, after redirects, or else that of the request. Its query may contain secrets, so the
	// method Error does not include it.
	URL string

	// Attempt is the number of requests since the connection was last open, from 1. Resumed reports whether the last one
	// had a last event ID.
	Attempt int
	Resumed bool

	// WillRetry reports whether another attempt follows. RetryIn is the delay, or about 24 days if it is longer.
	WillRetry bool
	RetryIn   time.Duration

	// Cause is the error of net/http, fetch, HeaderFunc or BodyFunc, or the context's cause. It may be nil.
	Cause error
}

// Error returns the reason and the cause, without the URL.
func (e *Error) Error() string {
	text := "eventsource: " + e.Reason.Error()
	if e.Reason == ReasonStatus {
		text += " but " + strconv.Itoa(e.Status)
	}
	if e.Cause != nil {
		text += ": " + e.Cause.Error()
	}
	return text
}

// Is reports whether target is the error's Reason.
func (e *Error) Is(target error) bool { return target == e.Reason }

// Unwrap returns the Cause.
func (e *Error) Unwrap() error { return e.Cause }
