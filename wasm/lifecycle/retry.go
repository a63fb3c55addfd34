package lifecycle

import "github.com/eventsource-wasm/eventsource-wasm/sse"

// A Retry is a reconnection policy. The zero Retry is the standard's: reconnect after the reconnection time, without a limit,
// and fail for any status other than 200.
type Retry struct {
	// Initial is the delay after the first failure, in milliseconds. Each consecutive failure multiplies it by Factor, up
	// to Max. If the stream has set a reconnection time, that is the minimum delay. If Initial is zero, every delay is the
	// reconnection time.
	Initial, Max uint64
	Factor       float64 // at least 1

	// Jitter is the random part of a delay, from 0 to 1. It keeps clients that were disconnected at the same moment from
	// returning at the same moment.
	Jitter float64

	// Attempts is the number of consecutive failures after which the connection fails. Zero means no limit.
	Attempts uint32

	// NeedsID makes the connection fail if it is lost without a last event ID. It is for requests that cannot be repeated,
	// only resumed.
	NeedsID bool

	// Statuses are tried again. 204 never is.
	Statuses []int

	// ResetAfter is how long a connection must stay open to reset the count of failures, in milliseconds. Zero resets it
	// when the connection opens.
	ResetAfter uint32

	// Seed seeds the random part of delays.
	Seed uint32

	failures uint32 // consecutive
}

func (r *Retry) includes(status int) bool {
	for _, s := range r.Statuses {
		if s == status {
			return status != 204
		}
	}
	return false
}

// opened returns after how many milliseconds to call [Source.Timer] to reset the count of failures.
func (r *Retry) opened() uint32 {
	if r.ResetAfter == 0 {
		r.failures = 0
	}
	return r.ResetAfter
}

// another counts a failure and reports whether another attempt follows.
func (r *Retry) another(p *sse.Parser) bool {
	r.failures++
	if r.NeedsID && len(p.LastEventID()) == 0 {
		return false
	}
	return r.Attempts == 0 || r.failures < r.Attempts
}

// delay returns the next delay in milliseconds.
func (r *Retry) delay(p *sse.Parser) uint64 {
	if r.Initial == 0 {
		return p.ReconnectionTime()
	}
	delay := float64(r.Initial)
	for n := uint32(1); n < r.failures && delay < float64(r.Max); n++ {
		delay *= r.Factor
	}
	delay = min(delay, float64(r.Max))
	delay -= float64(float64(delay*r.Jitter) * r.chance()) // the conversions forbid fused operations, so that the result equals js/lifecycle.js's
	if p.HasReconnectionTime() {
		return max(uint64(delay), p.ReconnectionTime())
	}
	return uint64(delay)
}

// chance returns the next number in [0, 1) of a xorshift generator (Marsaglia, 2003). It is random enough for jitter and
// needs no package.
func (r *Retry) chance() float64 {
	r.Seed |= 1 // zero would only lead to zero
	r.Seed ^= r.Seed << 13
	r.Seed ^= r.Seed >> 17
	r.Seed ^= r.Seed << 5
	return float64(r.Seed) / (1 << 32)
}
