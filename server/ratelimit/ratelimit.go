// Package ratelimit bounds how fast each publisher publishes over HTTP.
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

// What a [Limiter] has whose fields are zero.
const (
	DefaultRate          = 100
	DefaultBurst         = 1000
	DefaultMaxPublishers = 10_000
)

// A Limiter gives every publisher a bucket of events: as many as Burst at once, and Rate a second in the long run. A
// publisher is a [server.Grant.Subject], or where there is none, a client's address, of IPv6 its /64. Only Authorize is
// required. The fields must not change after the first use.
type Limiter struct {
	// Authorize decides before the limit does. What it refuses costs nothing.
	Authorize func(*http.Request, server.Access) (server.Grant, error)

	// Rate is in events per second. Zero means 100.
	Rate rate.Limit

	// Burst bounds the events at once, and by that those of a batch. Zero means 1,000.
	Burst int

	// TrustedProxies is as in [server.Handler].
	TrustedProxies []netip.Prefix

	// MaxPublishers bounds those who are remembered, at some 300 bytes each. One who is silent while as many others
	// publish is forgotten, and has a full bucket when it returns. Zero means 10,000.
	MaxPublishers int

	mu            sync.Mutex
	recent, older map[publisher]*rate.Limiter
}

type publisher struct {
	subject [sha256.Size]byte // hashed, for it may be as long as a token
	network netip.Prefix
}

// Permit is a [server.Handler.Authorize]. It permits what l.Authorize does, but answers a POST beyond the limit 429,
// with the time after which it would pass, and one that is larger than Burst 413. A publisher whose bucket has not one
// event left is refused before the body is read, with the time after which there is one.
func (l *Limiter) Permit(r *http.Request, access server.Access) (server.Grant, error) {
	if l.Authorize == nil {
		return server.Grant{}, errors.New("ratelimit: Limiter.Authorize is nil")
	}
	grant, err := l.Authorize(r, access)
	if err != nil || access.Action != server.Publish {
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

// take takes the events from the publisher's bucket, all or none. Of a POST whose body is not read, which has 0 events,
// it takes nothing, but there must be at least one left.
func (l *Limiter) take(p publisher, events int) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	reservation := l.bucket(p).ReserveN(now, max(events, 1))
	if !reservation.OK() {
		message := fmt.Sprintf("more than %d events in one request", cmp.Or(l.Burst, DefaultBurst))
		return &server.Error{Status: http.StatusRequestEntityTooLarge, Message: message}
	}
	if wait := reservation.DelayFrom(now); wait > 0 {
		reservation.CancelAt(now)
		return &server.Error{Status: http.StatusTooManyRequests, Message: "publish rate limit exceeded", RetryAfter: wait}
	}
	if events == 0 {
		reservation.CancelAt(now)
	}
	return nil
}

// bucket keeps two generations: those who have published since the recent one began, and those who did in the one
// before. So what is forgotten costs no search.
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
