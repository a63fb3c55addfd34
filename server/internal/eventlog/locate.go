package eventlog

import (
	"strconv"
	"strings"
)

// An Extent says which ids a reader can continue from.
type Extent struct {
	Epoch       string
	Earlier     map[string]uint64 // earlier epochs, each with the last sequence that is still valid
	First, Next uint64            // sequences of the oldest event kept, and of the next one
}

// Locate returns the sequence of an id that a reader can continue from, or the reason why it cannot. The id before the
// first event kept is one: nothing is missing between the two.
func (e Extent) Locate(id string) (sequence uint64, reason string) {
	epoch, digits, _ := strings.Cut(id, "-")
	sequence, err := strconv.ParseUint(digits, 10, 64)
	switch {
	case err != nil || epoch == "" || digits != strconv.FormatUint(sequence, 10):
		return 0, Malformed
	case epoch != e.Epoch && !e.continues(epoch, sequence):
		return 0, Epoch
	case sequence >= e.Next:
		return 0, Future
	case sequence+1 < e.First:
		return 0, Expired
	}
	return sequence, ""
}

// continues reports whether the sequence of that earlier epoch is still valid.
func (e Extent) continues(epoch string, sequence uint64) bool {
	last, known := e.Earlier[epoch]
	return known && sequence <= last
}
