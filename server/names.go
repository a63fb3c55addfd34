package server

import (
	"cmp"
	"hash/maphash"
	"sync"
	"time"

	"github.com/eventsource-wasm/eventsource-wasm/server/internal/eventlog"
)

// topicNames counts the distinct topics with published events, and forgets those whose events have left the log.
// Tracking the last event of each topic would cost time for every event. Instead, there are two generations: topics of
// the recent one and of the one before. A generation lasts as long as the log keeps an event from its start. So a topic
// is forgotten after its last event has left, at most one generation later.
//
// Names are kept as 64-bit hashes. Two names that collide count as one, and without the seed no one can cause a collision.
type topicNames struct {
	mu            sync.Mutex
	seed          maphash.Seed
	recent, older map[uint64]struct{} // no topic is in both
	generation    span                // published since recent began
	begun         time.Time
}

// A span is an amount of published data.
type span struct {
	events int
	bytes  int64
}

// eventOverhead is less than the size of an event beyond its data, so that a generation does not end too soon.
const eventOverhead = len("id: 12345678-1\ndata: \n\n")

// admitTopics returns ErrTooManyTopics if the publications would exceed the limit on topics.
func (b *Broker) admitTopics(publications ...Publication) error {
	lasts := b.log().Limits()
	if b.Store != nil {
		lasts = eventlog.Limits{Events: -1, Bytes: -1, Age: cmp.Or(b.DistinctTopicAge, DefaultDistinctTopicAge)}
	}
	if !b.names.admit(publications, cmp.Or(b.MaxDistinctTopics, DefaultMaxDistinctTopics), lasts) {
		b.refused.Add(1)
		return ErrTooManyTopics
	}
	return nil
}

// admit adds the topics of all publications, or none if they would exceed the limit.
func (t *topicNames) admit(publications []Publication, limit int, lasts eventlog.Limits) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.turn(lasts)
	var added []uint64
	for _, p := range publications {
		hash := maphash.String(t.seed, p.Topic)
		if _, known := t.recent[hash]; known {
			continue
		}
		if _, known := t.older[hash]; known {
			delete(t.older, hash)
		} else if added = append(added, hash); over(len(t.recent)+len(t.older)+1, limit) {
			for _, hash := range added {
				delete(t.recent, hash)
			}
			return false
		}
		t.recent[hash] = struct{}{}
	}
	for _, p := range publications {
		t.generation.events++
		t.generation.bytes += int64(eventOverhead + len(p.Event.Data))
	}
	return true
}

// turn starts a new generation when the recent one has lasted long enough.
func (t *topicNames) turn(lasts eventlog.Limits) {
	now := time.Now()
	if t.recent == nil {
		t.seed, t.recent, t.begun = maphash.MakeSeed(), map[uint64]struct{}{}, now
	}
	g := t.generation
	if over(g.events, lasts.Events) || over(g.bytes, lasts.Bytes) || over(now.Sub(t.begun), lasts.Age) {
		t.recent, t.older = map[uint64]struct{}{}, t.recent
		t.generation, t.begun = span{}, now
	}
}

func (t *topicNames) count() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.recent) + len(t.older)
}
