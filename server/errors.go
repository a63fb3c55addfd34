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

// Errors by which [Handler.Authorize] refuses a request.
var (
	ErrUnauthenticated = errors.New("server: missing credentials")                    // 401
	ErrInvalidToken    = errors.New("server: invalid credentials")                    // 401
	ErrForbidden       = errors.New("server: credentials do not permit this request") // 403
)

// An Error is the answer to a request that is refused. [Handler.Authorize] may return one to give an answer of its own,
// such as 429 with a time to retry after.
type Error struct {
	Status     int           // of the answer, 204 or an error's
	Message    string        // for the client; empty means the status's standard text
	Field      string        // of the request that is at fault, if one is
	RetryAfter time.Duration // in whole seconds, rounded up; zero sends none
}

func (e *Error) Error() string {
	message := cmp.Or(e.Message, http.StatusText(e.Status))
	if e.Field == "" {
		return message
	}
	return e.Field + ": " + message
}

// retryAfter is what clients are told to wait while the server is full or closes. Each keeps to it in its own time
// after its own refusal, so it needs no more than to be longer than a reconnection takes.
const retryAfter = 5 * time.Second

// manyTopicsRetryAfter is longer: topics leave with their last events, which takes minutes to hours.
const manyTopicsRetryAfter = time.Minute

// errMisdirected answers RFC 9110, section 15.5.20.
var errMisdirected = &Error{Status: http.StatusMisdirectedRequest, Field: "Host", Message: "this server does not serve that host"}

// answers says how errors are answered. Those of Authorize have fixed words, for what it wraps them in may be for the
// log alone; the others tell their own.
var answers = []struct {
	err error
	Error
}{
	{ErrUnauthenticated, Error{Status: http.StatusUnauthorized, Message: "missing credentials"}},
	{ErrInvalidToken, Error{Status: http.StatusUnauthorized, Message: "invalid credentials"}},
	{ErrForbidden, Error{Status: http.StatusForbidden, Message: "credentials do not permit this request"}},
	{ErrUnknownTopic, Error{Status: http.StatusNotFound, Field: "topic"}},
	{ErrInvalidTopic, Error{Status: http.StatusBadRequest, Field: "topic"}},
	{sse.ErrInvalidType, Error{Status: http.StatusBadRequest, Field: "type"}},
	{ErrReservedType, Error{Status: http.StatusBadRequest, Field: "type"}},
	{ErrInvalidRetry, Error{Status: http.StatusBadRequest, Field: "retry"}},
	{ErrManyTopics, Error{Status: http.StatusServiceUnavailable, Field: "topic", RetryAfter: manyTopicsRetryAfter}},
	{ErrEventTooLarge, Error{Status: http.StatusRequestEntityTooLarge}},
	{ErrClosed, Error{Status: http.StatusServiceUnavailable, RetryAfter: retryAfter}},
	{ErrDraining, Error{Status: http.StatusServiceUnavailable, RetryAfter: retryAfter}},
	{errFull, Error{Status: http.StatusServiceUnavailable, RetryAfter: retryAfter}},
	{errManyFromIP, Error{Status: http.StatusTooManyRequests, RetryAfter: retryAfter}},
	{errManyOfSubject, Error{Status: http.StatusTooManyRequests, RetryAfter: retryAfter}},
	{errManyFilters, Error{Status: http.StatusServiceUnavailable, RetryAfter: retryAfter}},
	{errManyFiltersFromIP, Error{Status: http.StatusTooManyRequests, RetryAfter: retryAfter}},
	{errManyFiltersOfSubject, Error{Status: http.StatusTooManyRequests, RetryAfter: retryAfter}},
	{errManyTickets, Error{Status: http.StatusTooManyRequests, RetryAfter: retryAfter}},
	{ErrUnavailable, Error{Status: http.StatusServiceUnavailable, Message: "event store is unavailable", RetryAfter: retryAfter}},
	{context.Canceled, Error{Status: http.StatusServiceUnavailable, Message: "request canceled"}},
	{context.DeadlineExceeded, Error{Status: http.StatusServiceUnavailable, Message: "request timed out", RetryAfter: retryAfter}},
	{ErrStoreFull, Error{Status: http.StatusServiceUnavailable, RetryAfter: retryAfter}},
	{ErrKeyReused, Error{Status: http.StatusUnprocessableEntity, Field: "Idempotency-Key"}},
}

func answer(err error) Error {
	if e, ok := errors.AsType[*Error](err); ok {
		return *e
	}
	for _, known := range answers {
		if errors.Is(err, known.err) {
			known.Message = cmp.Or(known.Message, strings.TrimPrefix(err.Error(), "server: "))
			return known.Error
		}
	}
	return Error{Status: http.StatusInternalServerError}
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
