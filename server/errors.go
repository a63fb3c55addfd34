package server

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/eventsource-wasm/eventsource-wasm/sse"
)

// Errors with which [Handler.Authorize] refuses a request.
var (
	ErrUnauthenticated = errors.New("server: missing credentials")                    // 401
	ErrInvalidToken    = errors.New("server: invalid credentials")                    // 401
	ErrForbidden       = errors.New("server: credentials do not permit this request") // 403
)

// An HTTPError is the response to a refused request. [Handler.Authorize] can return one for a response of its own, such
// as 429 with Retry-After.
type HTTPError struct {
	Status     int           // 204, or 400 to 599
	Message    string        // for the client; empty means the standard text of the status
	Field      string        // the field of the request that is wrong, if any
	RetryAfter time.Duration // rounded up to whole seconds; zero means no Retry-After header
}

func (e *HTTPError) Error() string {
	message := cmp.Or(e.Message, http.StatusText(e.Status))
	if e.Field == "" {
		return message
	}
	return e.Field + ": " + message
}

// retryAfter is the Retry-After of a full or closing server. Clients wait from their own refusal on, so it only has to
// be longer than a reconnection takes.
const retryAfter = 5 * time.Second

// manyTopicsRetryAfter is longer: a topic counts until its last event is dropped, after minutes to hours.
const manyTopicsRetryAfter = time.Minute

// errMisdirected is the response of RFC 9110, section 15.5.20.
var errMisdirected = &HTTPError{Status: http.StatusMisdirectedRequest, Field: "Host", Message: "this server does not serve that host"}

// answers maps errors to responses. Errors of Authorize have fixed messages, because the wrapped error may be for the
// log only. Other errors use their own message.
var answers = []struct {
	err      error
	response HTTPError
}{
	{ErrUnauthenticated, HTTPError{Status: http.StatusUnauthorized, Message: "missing credentials"}},
	{ErrInvalidToken, HTTPError{Status: http.StatusUnauthorized, Message: "invalid credentials"}},
	{ErrForbidden, HTTPError{Status: http.StatusForbidden, Message: "credentials do not permit this request"}},
	{ErrUnknownTopic, HTTPError{Status: http.StatusNotFound, Field: "topic"}},
	{ErrInvalidTopic, HTTPError{Status: http.StatusBadRequest, Field: "topic"}},
	{sse.ErrInvalidType, HTTPError{Status: http.StatusBadRequest, Field: "type"}},
	{ErrReservedType, HTTPError{Status: http.StatusBadRequest, Field: "type"}},
	{ErrInvalidRetry, HTTPError{Status: http.StatusBadRequest, Field: "retry"}},
	{ErrTooManyTopics, HTTPError{Status: http.StatusServiceUnavailable, Field: "topic", RetryAfter: manyTopicsRetryAfter}},
	{sse.ErrEventTooLarge, HTTPError{Status: http.StatusRequestEntityTooLarge}},
	{ErrClosed, HTTPError{Status: http.StatusServiceUnavailable, RetryAfter: retryAfter}},
	{ErrDraining, HTTPError{Status: http.StatusServiceUnavailable, RetryAfter: retryAfter}},
	{errFull, HTTPError{Status: http.StatusServiceUnavailable, RetryAfter: retryAfter}},
	{errManyFromIP, HTTPError{Status: http.StatusTooManyRequests, RetryAfter: retryAfter}},
	{errManyOfSubject, HTTPError{Status: http.StatusTooManyRequests, RetryAfter: retryAfter}},
	{errManyFilters, HTTPError{Status: http.StatusServiceUnavailable, RetryAfter: retryAfter}},
	{errManyFiltersFromIP, HTTPError{Status: http.StatusTooManyRequests, RetryAfter: retryAfter}},
	{errManyFiltersOfSubject, HTTPError{Status: http.StatusTooManyRequests, RetryAfter: retryAfter}},
	{errManyTickets, HTTPError{Status: http.StatusTooManyRequests, RetryAfter: retryAfter}},
	{ErrStoreUnavailable, HTTPError{Status: http.StatusServiceUnavailable, Message: "event store is unavailable", RetryAfter: retryAfter}},
	{context.Canceled, HTTPError{Status: http.StatusServiceUnavailable, Message: "request canceled"}},
	{context.DeadlineExceeded, HTTPError{Status: http.StatusServiceUnavailable, Message: "request timed out", RetryAfter: retryAfter}},
	{ErrStoreFull, HTTPError{Status: http.StatusServiceUnavailable, RetryAfter: retryAfter}},
	{ErrKeyReused, HTTPError{Status: http.StatusUnprocessableEntity, Field: "Idempotency-Key"}},
}

func answer(err error) HTTPError {
	if e, ok := errors.AsType[*HTTPError](err); ok {
		return *e
	}
	for _, known := range answers {
		if errors.Is(err, known.err) {
			e := known.response
			e.Message = cmp.Or(e.Message, publicMessage(err))
			return e
		}
	}
	return HTTPError{Status: http.StatusInternalServerError}
}

// publicMessage returns the text of the error without the name of the package.
func publicMessage(err error) string {
	text := err.Error()
	if _, message, found := strings.Cut(text, ": "); found && (strings.HasPrefix(text, "server: ") || strings.HasPrefix(text, "sse: ")) {
		return message
	}
	return text
}

func (h *Handler) fail(w http.ResponseWriter, r *http.Request, err error) {
	e := answer(err)
	if e.Status == http.StatusInternalServerError {
		h.logger().Error("request failed", "method", r.Method, "path", r.URL.Path, "error", err)
	}
	if e.Status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", h.challenge(err))
	}
	if e.RetryAfter > 0 {
		seconds := (e.RetryAfter + time.Second - 1) / time.Second
		w.Header().Set("Retry-After", strconv.Itoa(int(seconds)))
	}
	if e.Status == http.StatusNoContent {
		w.WriteHeader(e.Status)
		return
	}
	writeJSON(w, e.Status, failure{cmp.Or(e.Message, http.StatusText(e.Status)), e.Field})
}

type failure struct {
	Error string `json:"error"`
	Field string `json:"field,omitempty"`
}

// RFC 6750, section 3.1: "If the request lacks any authentication information [...], the resource server SHOULD NOT
// include an error code".
func (h *Handler) challenge(err error) string {
	challenge := fmt.Sprintf("Bearer realm=%q", cmp.Or(h.Realm, DefaultRealm))
	if errors.Is(err, ErrInvalidToken) {
		challenge += `, error="invalid_token"`
	}
	return challenge
}

func writeJSON(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(body) // fails only if the client is gone
}
