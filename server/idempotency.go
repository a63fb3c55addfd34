package server

import (
	"cmp"
	"context"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// maxKeyBytes limits an Idempotency-Key. Most are UUIDs, with 36 bytes.
const maxKeyBytes = 255

// idempotencyKey returns the key of the request, or "" if it has none.
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

// Bytes that a key counts, measured with many keys of different owners and rounded up. With a store, they include the
// memory of NATS.
const (
	keyBytes       = 256
	storedKeyBytes = 768
)

// A keyed remembers what was published under a key, so that a client that did not get the response can repeat its request.
// With a Store, it only counts keys, because the Store remembers them.
type keyed struct {
	mu      sync.Mutex
	numbers map[digest]uint64 // of keys in known
	known   []remembered      // oldest first
	first   uint64            // number of known[0]
	of      map[digest]int    // keys by owner
	size    int64             // bytes that a key counts
}

// An attempt is a key, its subject, and the owner to which its memory is charged.
type attempt struct {
	subject, key string
	owner        digest
}

type remembered struct {
	key, owner, sum digest
	sequence        uint64 // of the first event
	events          int
	at              time.Time
}

// publishOnce publishes unless the same request was published under this key, and returns the new or the earlier ids.
func (b *Broker) publishOnce(ctx context.Context, a attempt, request []byte, publications []Publication) ([]string, error) {
	switch {
	case a.key == "":
		return b.PublishAll(ctx, publications...)
	case b.Store != nil:
		return b.publishStoredOnce(ctx, a, request, publications)
	}
	return b.publishKeyed(ctx, a, request, publications)
}

// publishStoredOnce relies on the Store to recognize the key.
func (b *Broker) publishStoredOnce(ctx context.Context, a attempt, request []byte, publications []Publication) ([]string, error) {
	if err := b.checkAll(publications); err != nil {
		return nil, err
	}
	if err := b.admitKey(a); err != nil {
		return nil, err
	}
	return b.publishAll(ctx, a.storeKey(request), publications)
}

func (b *Broker) admitKey(a attempt) error {
	k, key := &b.keyed, a.digest()
	k.mu.Lock()
	defer k.mu.Unlock()
	k.size = storedKeyBytes
	if _, known := k.find(key, b.keyAge()); known {
		return nil
	}
	if err := b.makeRoom(a.owner); err != nil {
		return err
	}
	k.remember(remembered{key: key, owner: a.owner, at: time.Now()})
	return nil
}

// publishKeyed holds the lock while it publishes, which takes microseconds and never waits.
func (b *Broker) publishKeyed(ctx context.Context, a attempt, request []byte, publications []Publication) ([]string, error) {
	k, key, sum := &b.keyed, a.digest(), sumOf(request)
	k.mu.Lock()
	defer k.mu.Unlock()
	k.size = keyBytes
	if before, known := k.find(key, b.keyAge()); known {
		if before.sum != sum {
			return nil, ErrKeyReused
		}
		return b.log().IDs(before.sequence, before.events), nil
	}
	if err := b.makeRoom(a.owner); err != nil {
		return nil, err
	}
	ids, err := b.PublishAll(ctx, publications...)
	if err == nil && len(ids) > 0 {
		k.remember(remembered{key, a.owner, sum, sequenceOf(ids[0]), len(ids), time.Now()})
	}
	return ids, err
}

func (b *Broker) keyAge() time.Duration { return cmp.Or(b.IdempotencyMaxAge, DefaultIdempotencyMaxAge) }

// makeRoom returns an error if there is no room for another key of the owner.
func (b *Broker) makeRoom(owner digest) error {
	k, limit, age := &b.keyed, cmp.Or(b.IdempotencyMaxBytes, DefaultIdempotencyMaxBytes), b.keyAge()
	full := over(int64(len(k.known)+1)*k.size, limit)
	ownersFull := age >= 0 && owner != digest{} && over(2*int64(k.of[owner]+1)*k.size, limit)
	switch {
	case !full && !ownersFull:
		return nil
	case age < 0 && len(k.known) > 0:
		k.drop()
		return nil
	}
	b.refused.Add(1)
	wait := retryAfter
	if len(k.known) > 0 {
		wait = max(time.Second, age-time.Since(k.known[0].at))
	}
	if ownersFull {
		return &HTTPError{Status: http.StatusTooManyRequests, Field: "Idempotency-Key", Message: "too many idempotency keys from this client: retry later, or publish without a key", RetryAfter: wait}
	}
	return &HTTPError{Status: http.StatusServiceUnavailable, Field: "Idempotency-Key", Message: "too many idempotency keys: retry later, or publish without a key", RetryAfter: wait}
}

// find drops expired keys, and returns what is remembered under a key.
func (k *keyed) find(key digest, age time.Duration) (remembered, bool) {
	for len(k.known) > 0 && over(time.Since(k.known[0].at), age) {
		k.drop()
	}
	number, known := k.numbers[key]
	if !known {
		return remembered{}, false
	}
	return k.known[number-k.first], true
}

func (k *keyed) remember(r remembered) {
	if k.numbers == nil {
		k.numbers = map[digest]uint64{}
	}
	k.numbers[r.key] = k.first + uint64(len(k.known))
	k.known = append(k.known, r)
	count(&k.of, r.owner, 1)
}

// drop forgets the oldest key.
func (k *keyed) drop() {
	oldest := k.known[0]
	delete(k.numbers, oldest.key)
	count(&k.of, oldest.owner, -1)
	k.known = k.known[1:]
	k.first++
}

func (k *keyed) figures() (keys int, bytes int64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return len(k.known), int64(len(k.known)) * k.size
}

// digest identifies the key within its subject.
func (a attempt) digest() digest { return digestOf(a.subject, a.key) }

func sequenceOf(id string) uint64 {
	_, digits, _ := strings.Cut(id, "-")
	sequence, err := strconv.ParseUint(digits, 10, 64)
	if err != nil {
		panic(err) // every log id has a sequence
	}
	return sequence
}
