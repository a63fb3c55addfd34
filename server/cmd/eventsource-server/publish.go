package main

import (
	"errors"
	"flag"
	"math"

	"golang.org/x/time/rate"

	"github.com/eventsource-wasm/eventsource-wasm/server"
	"github.com/eventsource-wasm/eventsource-wasm/server/ratelimit"
)

// A publishLimit limits how fast each publisher publishes.
type publishLimit struct {
	rate  float64
	burst int
}

func (l *publishLimit) flags(f *flag.FlagSet) {
	f.Float64Var(&l.rate, "publish-rate", 0, "`events` per second that each token subject, or address, may publish (default no limit)")
	f.IntVar(&l.burst, "publish-burst", ratelimit.DefaultBurst, "`events` that it may publish at once, with -publish-rate")
}

func (l *publishLimit) validate(given map[string]bool) error {
	if given["publish-burst"] && l.rate == 0 {
		return errors.New("-publish-burst requires -publish-rate")
	}
	if l.rate < 0 || math.IsNaN(l.rate) || l.burst < 1 {
		return errors.New("-publish-rate and -publish-burst must be positive")
	}
	return nil
}

// before returns authorize with the limit applied to everything that it permits.
func (l *publishLimit) before(authorize authorizer, h *server.Handler) authorizer {
	if l.rate == 0 {
		return authorize
	}
	limiter := &ratelimit.Limiter{
		Authorize:      authorize,
		Rate:           rate.Limit(l.rate),
		Burst:          l.burst,
		TrustedProxies: h.TrustedProxies,
	}
	return limiter.Permit
}
