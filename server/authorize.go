package server

import (
	"crypto/sha256"
	"crypto/subtle"
	"net/http"
	"strings"
	"time"
)

// An Action is what a request asks to do.
type Action int

const (
	Subscribe Action = iota
	Publish
)

// Access is what a request asks for.
type Access struct {
	Action Action

	// Topics are what the request names, or if it names none, all of the handler's: ">" stands for any. Those of
	// Subscribe may be patterns: compare them by [Covers]. There is at least one, except in the first of the two calls for
	// a POST (see [Handler.Authorize]): its topics are in the body, which is not read yet.
	Topics []string

	// Events is how many events the request publishes. It is 0 for Subscribe and in the first call for a POST.
	Events int
}

// A Grant is what a permitted request gets besides. The zero Grant never expires and is nobody's.
type Grant struct {
	// Expires is when a stream ends, so that its client comes back and is asked anew. Zero means never. How long that is
	// goes by the clock at the stream's beginning: one that is stepped later ends no stream, and prolongs none.
	Expires time.Time

	// Subject names those whose requests count as one client's, such as the subject of a token. Their connections and
	// publications are limited together, and their idempotency keys are apart from those of others. It is not logged.
	Subject string
}

// BearerToken returns a [Handler.Authorize] that permits everything to those who present the token, as RFC 6750,
// section 2.1 says: in "Authorization: Bearer". Its time does not tell how much of a wrong token was right. An empty
// token permits nothing. The grant has no subject, for the token does not tell one bearer from another.
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

func (h *Handler) authorize(r *http.Request, access Access) (Grant, error) {
	if h.Authorize == nil {
		return Grant{}, nil
	}
	return h.Authorize(r, access)
}
