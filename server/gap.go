package server

import (
	"encoding/json"

	"github.com/eventsource-wasm/eventsource-wasm/sse"
)

// Why a stream does not continue where its client asked, or where it was: the values of Event-Gap and of "reason".
const (
	gapExpired   = "expired"   // the next event is no longer kept
	gapFuture    = "future"    // the id is not yet given
	gapEpoch     = "epoch"     // the id is another log's, most often that of an earlier run of the program
	gapMalformed = "malformed" // the id is none of a log's
	gapLag       = "lag"       // the client was too slow and was moved to the newest event
)

// maxRequested bounds what a gap tells of an id in bytes. No log's is longer.
const maxRequested = 255

// A gap says that events are missing before the next one of a stream.
type gap struct {
	Requested string `json:"requested"` // the id that cannot be continued from
	First     string `json:"first"`     // the id that the stream continues with, which may not be published yet
	Reason    string `json:"reason"`

	id string // of the event before First, from which a client that reconnects gets First
}

// newGap returns the gap of a stream that goes on with the sequence next.
func newGap(epoch string, next uint64, requested, reason string) *gap {
	requested = requested[:min(len(requested), maxRequested)]
	return &gap{Requested: requested, First: eventID(epoch, next), Reason: reason, id: eventID(epoch, next-1)}
}

// append appends the event "gap". It carries an id, or the client would come back with the one it has and meet the
// same gap again.
func (g *gap) append(dst []byte) []byte {
	data, err := json.Marshal(g)
	if err != nil {
		panic(err) // strings always marshal
	}
	dst, err = sse.Append(dst, sse.Event{ID: g.id, Type: "gap", Data: string(data)})
	if err != nil {
		panic(err) // neither a log's id nor "gap" breaks its line
	}
	return dst
}
