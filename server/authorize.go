package server

import (
	"crypto/sha256"
	"crypto/subtle"
	"net/http"
	"strings"
	"time"
)

// An Action is what a request wants to do.
type Action int

const (
	ActionSubscribe Action = iota // GET or HEAD
	ActionPublish                 // POST
)

// Access describes what a request wants to access.
type Access struct {
	Action Action

	// Topics lists the requested topics. If a request names none, it lists all topics of the handler, where ">" means
	// any. For ActionSubscribe, they can be patterns: compare them with [Covers]. It is empty only in the first of the
	// two calls for a POST (see [Handler.Authorize]), because the body is not read yet.
	Topics []string

	// Events is the number of events to publish. It is 0 for ActionSubscribe and in the first call for a POST.
	Events int
}

// A Grant has the conditions of a permitted request. The zero Grant never expires and has no subject.
type Grant struct {
	// Expires is when a stream ends, so that the client reconnects and is authorized again. Zero means never. The
	// duration is computed when the stream begins, so later changes of the clock do not matter.
	Expires time.Time

	// Subject identifies the client, for example by the subject of its token. Limits per subject apply to all of its
	// connections and publications, and each subject has its own idempotency keys. It is not logged.
	Subject string
}

// BearerToken returns a function for [Handler.Authorize] that permits everything to clients with the token, sent as
// "Authorization: Bearer" (RFC 6750, section 2.1), publishing included: see [SubscribeOnly]. The comparison takes constant
// time. An empty token permits nothing. The grant has no subject, since all clients share the token.
func BearerToken(token string) func(*http.Request, Access) (Grant, error) {
	want := sha256.Sum256([]byte(token))
	return func(r *http.Request, _ Access) (Grant, error) {
		scheme, credentials, _ := strings.Cut(r.Header.Get("Authorization"), " ")
		if !strings.EqualFold(scheme, "Bearer") {
			return Grant{}, ErrUnauthenticated
		}
		// Hashed, for the comparison's time depends on the length.
		got := sha256.Sum256([]byte(strings.TrimLeft(credentials, " ")))
		if subtle.ConstantTimeCompare(got[:], want[:]) != 1 || token == "" {
			return Grant{}, ErrInvalidToken
		}
		return Grant{}, nil
	}
}

// SubscribeOnly returns a function for [Handler.Authorize] that refuses to publish with [ErrForbidden] and leaves everything
// else to authorize. Use it where clients have credentials for reading only, for example a token that a page sends.
func SubscribeOnly(authorize func(*http.Request, Access) (Grant, error)) func(*http.Request, Access) (Grant, error) {
	return func(r *http.Request, access Access) (Grant, error) {
		grant, err := authorize(r, access)
		if err == nil && access.Action != ActionSubscribe {
			return Grant{}, ErrForbidden
		}
		return grant, err
	}
}

func (h *Handler) authorize(r *http.Request, access Access) (Grant, error) {
	if h.Authorize == nil {
		return Grant{}, nil
	}
	return h.Authorize(r, access)
}
