package lifecycle

import "github.com/eventsource-wasm/eventsource-wasm/sse"

// A Retry is a policy of reconnections. The zero Retry is the standard's: whatever was lost is tried again after the
// reconnection time, as often as it takes, and a status other than 200 is final.
type Retry struct {
	// Initial is the delay before the first attempt after a failure, in milliseconds. Each further failure in a row
	// multiplies it by Factor, up to Max. If Initial is zero, each delay is the reconnection time. Otherwise that is
	// the least a delay is, if the stream has set one.
	Initial, Max uint64
	Factor       float64 // at least 1

	// Jitter is the part of a delay that is left to chance, from 0 for none to 1 for all of it, so that clients that were
	// cut off in one instant do not come back in one.
	Jitter float64

	// Attempts bounds the failures in a row: after as many, the connection fails. Zero means no bound.
	Attempts uint32

	// NeedsID makes a failure final while there is no last event ID: the first request cannot be repeated, and only an ID
	// lets another one go on from there.
	NeedsID bool

	// Statuses lists those that are tried again. 204 never is.
	Statuses []int

	// ResetAfter is how long a connection must be open, in milliseconds, for the failures before it not to count.
	// Zero means that they do not from the moment it opens.
	ResetAfter uint32

	// Seed makes the chances of one source differ from those of another.
	Seed uint32

	failures uint32 // in a row
}

func (r *Retry) includes(status int) bool {
	for _, s := range r.Statuses {
		if s == status {
			return status != 204
		}
	}
	return false
}

// opened returns when to call [Source.Timer] for the connection to count as stable.
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

// delay returns how long to wait now, in milliseconds.
func (r *Retry) delay(p *sse.Parser) uint64 {
	if r.Initial == 0 {
		return p.ReconnectionTime()
	}
	delay := float64(r.Initial)
	for n := uint32(1); n < r.failures && delay < float64(r.Max); n++ {
		delay *= r.Factor
	}
	delay = min(delay, float64(r.Max))
	delay -= float64(float64(delay*r.Jitter) * r.chance()) // js/lifecycle.js rounds as often, whatever the processor
	if p.HasReconnectionTime() {
		return max(uint64(delay), p.ReconnectionTime())
	}
	return uint64(delay)
}

// chance returns the next number in [0, 1) of a xorshift generator (Marsaglia, 2003), which is random enough to spread
// clients, and has no package to link.
func (r *Retry) chance() float64 {
	r.Seed |= 1 // of zero, nothing else would come
	r.Seed ^= r.Seed << 13
	r.Seed ^= r.Seed >> 17
	r.Seed ^= r.Seed << 5
	return float64(r.Seed) / (1 << 32)
}
