package server

import (
	"crypto/sha256"
	"crypto/subtle"
	"net/http"
	"strings"
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

	// Topics are what it names, or if it names none, all of the handler's. There is at least one: ">" stands for any.
	// Those of Subscribe may be patterns: compare them by [Covers].
	Topics []string
}

// BearerToken returns a [Handler.Authorize] that permits everything to those who present the token, as RFC 6750,
// section 2.1 says: in "Authorization: Bearer". Its time does not tell how much of a wrong token was right. An empty
// token permits nothing.
func BearerToken(token string) func(*http.Request, Access) error {
	want := sha256.Sum256([]byte(token))
	return func(r *http.Request, _ Access) error {
		scheme, credentials, _ := strings.Cut(r.Header.Get("Authorization"), " ")
		if !strings.EqualFold(scheme, "Bearer") {
			return ErrUnauthenticated
		}
		// Hashed, for the comparison's time depends on the length.
		got := sha256.Sum256([]byte(strings.TrimLeft(credentials, " ")))
		if subtle.ConstantTimeCompare(got[:], want[:]) != 1 || token == "" {
			return ErrInvalidToken
		}
		return nil
	}
}

func (h *Handler) authorize(r *http.Request, access Access) error {
	if h.Authorize == nil {
		return nil
	}
	return h.Authorize(r, access)
}
