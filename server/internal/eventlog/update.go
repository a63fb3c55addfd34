package eventlog

import (
	"context"
	"unique"

	"github.com/eventsource-wasm/eventsource-wasm/server/internal/topic"
	"github.com/eventsource-wasm/eventsource-wasm/sse"
)

// An Update is a report of a store about its events.
type Update struct {
	Epoch   string
	Earlier map[string]uint64 // see Extent
	Last    uint64            // sequence of the newest event that this update covers, even if deleted
	Records []Record          // in order
}

// A Record is an event of a store. Its block is the encoding without the id.
type Record struct {
	Topic    string
	Block    []byte
	Sequence uint64
}

// IDLineBytes is the maximum size that an id adds to the block of a record.
const IDLineBytes = len("id: 12345678-18446744073709551615\n")

// AppendTo appends the encoding of the event with its id, byte for byte as a log without a store has it.
func (r Record) AppendTo(dst []byte, id string) []byte {
	line, err := sse.AppendID(dst, id)
	if err != nil {
		panic(err) // an epoch does not break its line
	}
	return append(line[:len(line)-1], r.Block...) // without the blank line after the id
}

// Update applies a report of the store. With another epoch, or a Last that goes back, the log starts over after Last.
func (l *Log) Update(u Update) {
	l.update(u).now()
}

func (l *Log) update(u Update) (w wakening) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return w
	}
	if u.Epoch != l.epoch || len(u.Records) == 0 && u.Last+1 < l.next {
		l.begin(u)
	}
	for _, r := range u.Records {
		if r.Sequence < l.next {
			continue
		}
		l.omit(r.Sequence)
		l.put(r.AppendTo(l.free(), ID(l.epoch, r.Sequence)), unique.Make(r.Topic))
	}
	l.omit(u.Last + 1)
	l.trim()
	return l.waken()
}

// begin empties the log, which then continues after the store's last event. Readers of another epoch have to reconnect.
func (l *Log) begin(u Update) {
	if l.epoch != "" {
		l.generation++
	}
	l.epoch, l.earlier = u.Epoch, u.Earlier
	l.restart(u.Last + 1)
	l.callAll()
}

func (l *Log) restart(next uint64) {
	dropped := l.segments
	l.segments, l.first, l.next = nil, next, next
	for _, s := range dropped {
		l.disown(s)
	}
}

// maxOmitted limits the consecutive missing events that get entries. Beyond it, the log starts over after them.
const maxOmitted = 1000

// omit makes the log continue at that sequence, because the events before it were deleted.
func (l *Log) omit(to uint64) {
	if to <= l.next {
		return
	}
	if to-l.next > maxOmitted || len(l.segments) == 0 {
		l.restart(to)
		return
	}
	for l.next < to {
		l.put(l.free()[:0], topic.Absent)
	}
}

// Await waits until reached returns true for the current extent. The error is ErrClosed or the cause of ctx.
func (l *Log) Await(ctx context.Context, reached func(Extent) bool) error {
	for {
		l.mu.Lock()
		done, closed, wake := reached(l.extent()), l.closed, l.waiter()
		l.mu.Unlock()
		switch {
		case closed:
			return ErrClosed
		case done:
			return nil
		}
		select {
		case <-wake:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// IDs returns the ids of n successive sequences.
func (l *Log) IDs(first uint64, n int) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	ids := make([]string, n)
	for i := range ids {
		ids[i] = ID(l.epoch, first+uint64(i))
	}
	return ids
}
