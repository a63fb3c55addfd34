package server

import (
	"net/http"
	"net/netip"
	"sync"

	"github.com/eventsource-wasm/eventsource-wasm/server/internal/topic"
)

// An account identifies whom a stream is charged to. A zero field is not charged.
type account struct {
	network netip.Prefix
	subject string
}

// account returns whom the request is charged to. Fields without a limit are zero.
func (h *Handler) account(r *http.Request, grant Grant) (a account) {
	b := h.Broker
	if b.MaxConnectionsPerIP > 0 || b.MaxFiltersPerIP > 0 {
		a.network = ClientNetwork(ClientIP(r, h.TrustedProxies))
	}
	if b.MaxConnectionsPerSubject > 0 || b.MaxFiltersPerSubject > 0 {
		a.subject = grant.Subject
	}
	return a
}

// A quota counts the open streams, and their distinct filters, by network and by subject.
type quota struct {
	mu        sync.Mutex
	byNetwork map[netip.Prefix]int
	bySubject map[string]int
	filters   map[filterUse]int
	distinctN map[netip.Prefix]int
	distinctS map[string]int
}

// A filterUse is a filter and the account that uses it: a network or a subject.
type filterUse struct {
	account
	filter *topic.Filter
}

// take counts a new stream, or returns the error of the limit that it would exceed. Limits of zero or less do not
// apply.
func (q *quota) take(b *Broker, a account, f *topic.Filter) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	network, subject := filterUse{account{network: a.network}, f}, filterUse{account{subject: a.subject}, f}
	switch {
	case reached(b.MaxConnectionsPerIP, q.byNetwork, a.network):
		return errManyFromIP
	case reached(b.MaxConnectionsPerSubject, q.bySubject, a.subject):
		return errManyOfSubject
	case q.filters[network] == 0 && reached(b.MaxFiltersPerIP, q.distinctN, a.network):
		return errManyFiltersFromIP
	case q.filters[subject] == 0 && reached(b.MaxFiltersPerSubject, q.distinctS, a.subject):
		return errManyFiltersOfSubject
	}
	count(&q.byNetwork, a.network, 1)
	count(&q.bySubject, a.subject, 1)
	if b.MaxFiltersPerIP > 0 && a.network.IsValid() {
		q.use(network, 1)
	}
	if b.MaxFiltersPerSubject > 0 && a.subject != "" {
		q.use(subject, 1)
	}
	return nil
}

// giveBack undoes take.
func (q *quota) giveBack(b *Broker, a account, f *topic.Filter) {
	q.mu.Lock()
	defer q.mu.Unlock()
	count(&q.byNetwork, a.network, -1)
	count(&q.bySubject, a.subject, -1)
	if b.MaxFiltersPerIP > 0 && a.network.IsValid() {
		q.use(filterUse{account{network: a.network}, f}, -1)
	}
	if b.MaxFiltersPerSubject > 0 && a.subject != "" {
		q.use(filterUse{account{subject: a.subject}, f}, -1)
	}
}

// use counts the streams of one account with one filter, and the filters of that account.
func (q *quota) use(u filterUse, step int) {
	before := q.filters[u]
	count(&q.filters, u, step)
	switch {
	case before == 0:
		step = 1
	case before+step == 0:
		step = -1
	default:
		return
	}
	count(&q.distinctN, u.network, step)
	count(&q.distinctS, u.subject, step)
}

func reached[K comparable](limit int, counts map[K]int, key K) bool {
	var nobody K
	return limit > 0 && key != nobody && counts[key] >= limit
}

// count adds step to the count of a key. It keeps no entry for a zero count or the zero key.
func count[K comparable](counts *map[K]int, key K, step int) {
	var none K
	if key == none {
		return
	}
	if *counts == nil {
		*counts = map[K]int{}
	}
	if (*counts)[key] += step; (*counts)[key] == 0 {
		delete(*counts, key)
	}
}
