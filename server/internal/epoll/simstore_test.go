package epoll

import (
	"fmt"
	"os"

	"github.com/eventsource-wasm/eventsource-wasm/server/internal/eventlog"
	"github.com/eventsource-wasm/eventsource-wasm/server/internal/stream"
	"github.com/eventsource-wasm/eventsource-wasm/server/internal/topic"
	"github.com/eventsource-wasm/eventsource-wasm/sse"
)

// A simStore keeps more events than the log, and loses some.
type simStore struct {
	world    *world
	first    uint64
	reported uint64
	failing  bool
}

func (s *simStore) last() uint64 { return uint64(len(s.world.history[s.world.epoch])) }

func (s *simStore) extent() eventlog.Extent {
	return eventlog.Extent{Epoch: s.world.epoch, First: s.first, Next: s.last() + 1}
}

func (s *simStore) append(name, data string) {
	w := s.world
	w.history[w.epoch] = append(w.history[w.epoch], published{topic.Make(name), data, false})
}

// records returns the records that are not deleted.
func (s *simStore) records(from, to uint64) (records []eventlog.Record) {
	for i := from; i < to; i++ {
		e, known := s.world.truth(s.world.epoch, i)
		if !known || e.deleted {
			continue
		}
		block, err := sse.Append(nil, sse.Event{Data: e.data})
		if err != nil {
			panic(err)
		}
		records = append(records, eventlog.Record{Topic: e.topic.Value(), Block: block, Sequence: i})
	}
	return records
}

// report reports new events to the log, all of them or some.
func (s *simStore) report() {
	to := s.reported + s.world.random.Uint64N(s.last()-s.reported+1)
	if !s.world.faults {
		to = s.last()
	}
	s.world.log.Update(eventlog.Update{Epoch: s.world.epoch, Last: to, Records: s.records(s.reported+1, to+1)})
	s.reported = to
}

func (s *simStore) fetch(from uint64) (f stream.Fetched) {
	if s.failing && s.world.faults {
		f.Err = os.ErrDeadlineExceeded
		return f
	}
	from = max(from, s.first)
	to := min(from+1+s.world.random.Uint64N(5), s.last()+1)
	if f.Records = s.records(from, to); len(f.Records) == 0 {
		f.Records = s.records(from, s.last()+1)
	}
	f.Epoch, f.First = s.world.epoch, s.first
	if s.world.chance(10) {
		f.Records = nil // a stale copy
	}
	return f
}

// disturb makes the store drop its oldest events, delete some that no client has received yet, fail for a while, or start over.
func (s *simStore) disturb() {
	w := s.world
	switch w.random.IntN(6) {
	case 0:
		s.first += w.random.Uint64N(s.reported + 2 - min(s.first, s.reported+1))
	case 1:
		for i := s.reported; i < s.last(); i++ {
			w.history[w.epoch][i].deleted = w.random.IntN(4) == 0
		}
	case 2:
		s.failing = !s.failing
	case 3:
		w.epoch = fmt.Sprintf("epoch%03d", len(w.history)+1)
		w.history[w.epoch] = nil
		s.first, s.reported = 1, 0
		w.log.Update(eventlog.Update{Epoch: w.epoch})
	}
}
