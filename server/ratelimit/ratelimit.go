// Package ratelimit limits how fast each client publishes over HTTP.
//
//	limiter := &ratelimit.Limiter{Authorize: tokens.Authorize, Rate: 10, Burst: 100}
//	http.Handle("/events", &server.Handler{Broker: broker, Authorize: limiter.Permit})
package ratelimit

import (
	"cmp"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/eventsource-wasm/eventsource-wasm/server"
)

// Defaults of a [Limiter], for fields that are zero.
const (
	DefaultRate          = 100
	DefaultBurst         = 1000
	DefaultMaxPublishers = 10_000
)

// A Limiter gives each publisher a token bucket of events: up to Burst at once, and Rate per second on average. A
// publisher is a [server.Grant.Subject] or, without one, the address of the client (the /64 for IPv6). Only Authorize
// is required. Its fields must not change after its first use.
type Limiter struct {
	// Authorize is called first. Requests that it refuses do not count.
	Authorize func(*http.Request, server.Access) (server.Grant, error)

	// Rate is the number of events per second. Zero means 100.
	Rate rate.Limit

	// Burst is the maximum number of events at once, and so of a batch. Zero means 1,000.
	Burst int

	// TrustedProxies has the same meaning as in [server.Handler].
	TrustedProxies []netip.Prefix

	// MaxPublishers limits the publishers that are remembered, at about 300 bytes each. A publisher that is silent
	// while as many others publish is forgotten and starts again with a full bucket. Zero means 10,000.
	MaxPublishers int

	mu            sync.Mutex
	recent, older map[publisher]*rate.Limiter
}

type publisher struct {
	subject [sha256.Size]byte // hashed, for it may be as long as a token
	network netip.Prefix
}

// Permit is a function for [server.Handler.Authorize]. It returns the result of l.Authorize, but a POST beyond the
// limit gets 429 with the time to wait, and one with more events than Burst gets 413. If the bucket is empty, the POST
// is refused before its body is read.
func (l *Limiter) Permit(r *http.Request, access server.Access) (server.Grant, error) {
	if l.Authorize == nil {
		return server.Grant{}, errors.New("ratelimit: Limiter.Authorize is nil")
	}
	grant, err := l.Authorize(r, access)
	if err != nil || access.Action != server.ActionPublish {
		return grant, err
	}
	if err := l.take(l.publisher(r, grant), access.Events); err != nil {
		return server.Grant{}, err
	}
	return grant, nil
}

func (l *Limiter) publisher(r *http.Request, grant server.Grant) publisher {
	if grant.Subject != "" {
		return publisher{subject: sha256.Sum256([]byte(grant.Subject))}
	}
	return publisher{network: server.ClientNetwork(server.ClientIP(r, l.TrustedProxies))}
}

// take takes all events from the publisher's bucket, or none. For a POST whose body is not read yet, which has 0
// events, it takes nothing but requires that at least one is left.
func (l *Limiter) take(p publisher, events int) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	reservation := l.bucket(p).ReserveN(now, max(events, 1))
	if !reservation.OK() {
		message := fmt.Sprintf("more than %d events in one request", cmp.Or(l.Burst, DefaultBurst))
		return &server.HTTPError{Status: http.StatusRequestEntityTooLarge, Message: message}
	}
	if wait := reservation.DelayFrom(now); wait > 0 {
		reservation.CancelAt(now)
		return &server.HTTPError{Status: http.StatusTooManyRequests, Message: "publish rate limit exceeded", RetryAfter: wait}
	}
	if events == 0 {
		reservation.CancelAt(now)
	}
	return nil
}

// bucket keeps two generations: publishers since the recent one began, and those of the one before. So forgetting needs
// no search.
func (l *Limiter) bucket(p publisher) *rate.Limiter {
	if bucket := l.recent[p]; bucket != nil {
		return bucket
	}
	bucket := l.older[p]
	if bucket == nil {
		bucket = rate.NewLimiter(cmp.Or(l.Rate, DefaultRate), cmp.Or(l.Burst, DefaultBurst))
	}
	if l.recent == nil || 2*len(l.recent) >= cmp.Or(l.MaxPublishers, DefaultMaxPublishers) {
		l.recent, l.older = map[publisher]*rate.Limiter{}, l.recent
	}
	l.recent[p] = bucket
	return bucket
}
