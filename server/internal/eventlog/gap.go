package eventlog

import (
	"encoding/json"
	"strconv"

	"github.com/eventsource-wasm/eventsource-wasm/sse"
)

// Reasons of a gap.
const (
	Expired   = "expired"   // the next event is no longer kept
	Future    = "future"    // the id has not been assigned yet
	Epoch     = "epoch"     // the id belongs to another log, most often to an earlier run of the program
	Malformed = "malformed" // the id is not in the form of an id
	Lagged    = "lag"       // the client was too slow and was moved to the newest event
)

// GapType is the type of the event that reports a gap.
const GapType = "gap"

// maxRequested limits how many bytes of the requested id a gap repeats. No valid id is longer.
const maxRequested = 255

// A Gap says that events are missing before the next one of a stream.
type Gap struct {
	Requested string `json:"requested"` // the id that the stream cannot continue from
	First     string `json:"first"`     // the id that the stream continues with, which may not be published yet
	Reason    string `json:"reason"`

	id string // of the event before First, from which a client that reconnects continues with First
}

// NewGap returns the gap of a stream that continues at the sequence next.
func NewGap(epoch string, next uint64, requested, reason string) *Gap {
	requested = requested[:min(len(requested), maxRequested)]
	return &Gap{Requested: requested, First: ID(epoch, next), Reason: reason, id: ID(epoch, next-1)}
}

// Append appends the gap event. It has an id: otherwise, a client would reconnect with its old id and get the same gap
// again.
func (g *Gap) Append(dst []byte) []byte {
	data, err := json.Marshal(g)
	if err != nil {
		panic(err) // strings always marshal
	}
	dst, err = sse.Append(dst, sse.Event{ID: g.id, Type: GapType, Data: string(data)})
	if err != nil {
		panic(err) // neither a log's id nor "gap" breaks its line
	}
	return dst
}

// ID returns the id of an event: the epoch, a hyphen, and the sequence in decimal.
func ID(epoch string, sequence uint64) string {
	return epoch + "-" + strconv.FormatUint(sequence, 10)
}
