package server

import (
	"cmp"
	"crypto/sha256"
	"net/http"
	"sync"
	"time"
)

// maxKeyBytes bounds an Idempotency-Key. A UUID, which most are, has 36.
const maxKeyBytes = 255

// idempotencyKey returns the request's key, of which empty is none.
func idempotencyKey(r *http.Request) (string, error) {
	values := r.Header.Values("Idempotency-Key")
	switch {
	case len(values) == 0:
		return "", nil
	case len(values) > 1:
		return "", malformed("Idempotency-Key", "given more than once")
	case values[0] == "" || len(values[0]) > maxKeyBytes:
		return "", malformed("Idempotency-Key", "must have 1 to 255 bytes")
	}
	return values[0], nil
}

// keyed remembers what was published under a key, so that a client that has missed the answer can ask again.
type keyed struct {
	mu     sync.Mutex
	known  map[attempt]outcome
	oldest []attempt // of known, in the order of their publication
	events int       // of known
}

// An attempt is a key, and whose.
type attempt struct{ subject, key string }

type outcome struct {
	request [sha256.Size]byte
	ids     []string
	at      time.Time
}

// publishOnce publishes unless the same request has been under this key, and returns the ids it got then or now. While
// it does, other keys wait: publishing takes microseconds, and waits for nobody.
func (b *Broker) publishOnce(a attempt, request []byte, publications []Publication) ([]string, error) {
	if a.key == "" {
		return b.PublishAll(publications...)
	}
	if b.Store != nil {
		return b.publishAll(a.storeKey(request), publications)
	}
	k, sum := &b.keyed, sha256.Sum256(request)
	k.mu.Lock()
	defer k.mu.Unlock()
	k.forget(cmp.Or(b.IdempotencyMaxAge, DefaultIdempotencyMaxAge))
	if before, ok := k.known[a]; ok {
		if before.request != sum {
			return nil, ErrKeyReused
		}
		return before.ids, nil
	}
	ids, err := b.PublishAll(publications...)
	if err == nil {
		k.remember(a, outcome{sum, ids, time.Now()}, cmp.Or(b.IdempotencyMaxEvents, DefaultIdempotencyMaxEvents))
	}
	return ids, err
}

// remember keeps the newest outcome whatever its size.
func (k *keyed) remember(a attempt, o outcome, limit int) {
	if k.known == nil {
		k.known = map[attempt]outcome{}
	}
	k.known[a] = o
	k.oldest = append(k.oldest, a)
	k.events += len(o.ids)
	for over(k.events, limit) && len(k.oldest) > 1 {
		k.drop()
	}
}

func (k *keyed) forget(age time.Duration) {
	for len(k.oldest) > 0 && over(time.Since(k.known[k.oldest[0]].at), age) {
		k.drop()
	}
}

func (k *keyed) drop() {
	k.events -= len(k.known[k.oldest[0]].ids)
	delete(k.known, k.oldest[0])
	k.oldest = k.oldest[1:]
}
