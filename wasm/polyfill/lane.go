//go:build js && wasm

package main

import (
	"bytes"
	"math/bits"
	"unicode/utf8"
	"unsafe"
)

// The lane is the way of a stream's bytes. js/ writes a part of a chunk to input and calls feed, which leaves the
// part's events behind as one text, to be decoded in one go, and a table that tells where in it their strings end. It
// allocates nothing once its buffers have grown to what the streams need.

var (
	input  []byte
	output []byte // the types, data and ids of the events, one after the other, as well-formed UTF-8

	// table tells for each event where in output its type, data and id end, in UTF-16 code units, and behind the last
	// event where the last event ID ends if it has changed there.
	table []int32

	// result is where js/ finds them: the address and the length of output, and the address of table. New ones each
	// time, since the slices move when they grow. A uintptr would have 64 bits, and addresses have 32. Behind them is
	// what js/ has to know should this program end: how many bytes of the part follow its last event, and the
	// reconnection time, in two halves, and whether there is one.
	result [7]uint32
)

// comment stands in the table for the end of a type: the row is that of a comment, whose text is where data is.
const comment = -1

// unchanged stands in the table for the end of an id that is the event's before.
const unchanged = -1

// reserve returns the address of n bytes of input, for js/ to write to.
//
//go:wasmexport reserve
func reserve(n int32) unsafe.Pointer {
	if int(n) > len(input) || len(input) > largestKept {
		input = make([]byte, n)
	}
	return unsafe.Pointer(unsafe.SliceData(input))
}

// takeInput returns two strings that js/ has written to input, by their lengths in bytes.
func takeInput(first, second int32) (string, string) {
	return string(input[:first]), string(input[first : first+second])
}

//go:wasmexport resultAddress
func resultAddress() unsafe.Pointer { return unsafe.Pointer(&result) }

// feed parses the first n bytes of input as the next of the source's stream and returns how many events and
// comments they complete, or, when the stream broke the parser's limit, -1 less that number.
//
//go:wasmexport feed
func feed(id, n int32) int32 {
	s := sources[id]
	if s == nil {
		return 0
	}
	output, table = reuse(output), reuse(table)
	events, rest := int32(0), n
	for s.Parser.Feed(input[:n]); s.Parser.Next(); events++ {
		if text, ok := s.Parser.Comment(); ok {
			output = append(output, text...)
			table = append(table, comment, int32(len(output)), unchanged)
			continue
		}
		output = append(output, s.Parser.Type()...)
		typeEnd := int32(len(output))
		output = append(output, s.Parser.Data()...)
		dataEnd := int32(len(output))
		table = append(table, typeEnd, dataEnd, s.appendNewID())
		rest = int32(len(s.Parser.Rest()))
	}
	table = append(table, s.appendNewID())
	countCodeUnits(table, output)
	retry, hasRetry := s.Parser.ReconnectionTime(), uint32(0)
	if s.Parser.HasReconnectionTime() {
		hasRetry = 1
	}
	result = [...]uint32{address(output), uint32(len(output)), address(table), uint32(rest), uint32(retry), uint32(retry >> 32), hasRetry}
	if s.Parser.Err() != nil {
		return -1 - events
	}
	return events
}

// appendNewID appends the last event ID to output if js/ does not have it, and returns where it ends, or unchanged.
func (s *source) appendNewID() int32 {
	lastEventID := s.Parser.LastEventID()
	if bytes.Equal(lastEventID, s.sentID) {
		return unchanged
	}
	s.sentID = append(s.sentID[:0], lastEventID...)
	output = append(output, lastEventID...)
	return int32(len(output))
}

// One large event must not pin its size for ever, nor must a long URL.
const largestKept = 1 << 20

func reuse[T any](buffer []T) []T {
	if cap(buffer) > largestKept {
		return nil
	}
	return buffer[:0]
}

func address[T any](buffer []T) uint32 {
	return uint32(uintptr(unsafe.Pointer(unsafe.SliceData(buffer))))
}

// countCodeUnits makes of ends in bytes ends in UTF-16 code units, which are the same where the text is ASCII.
func countCodeUnits(ends []int32, text []byte) {
	if isASCII(text) {
		return
	}
	at, units := int32(0), int32(0)
	for i, end := range ends {
		if end < 0 {
			continue
		}
		units += utf16Length(text[at:end])
		at, ends[i] = end, units
	}
}

func isASCII(text []byte) bool {
	for len(text) >= 32 && (load64(text)|load64(text[8:])|load64(text[16:])|load64(text[24:]))&highBits == 0 {
		text = text[32:]
	}
	for _, c := range text {
		if c >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

const (
	highBits = 0x8080808080808080
	lowBits  = 0x0101010101010101
)

// utf16Length returns how many UTF-16 code units well-formed UTF-8 has: one for each byte that is not a continuation
// byte, and a second one for each that begins a sequence of four. Eight bytes at a time, since this is all that tells
// text beyond ASCII from ASCII in cost.
func utf16Length(s []byte) int32 {
	n := len(s)
	for len(s) >= 8 {
		b := load64(s)
		continuation := b >> 7 & ^(b >> 6) & lowBits
		four := b >> 7 & (b >> 6) & (b >> 5) & (b >> 4) & lowBits
		n += bits.OnesCount64(four) - bits.OnesCount64(continuation)
		s = s[8:]
	}
	for _, c := range s {
		if c&0xC0 == 0x80 {
			n--
		} else if c >= 0xF0 {
			n++
		}
	}
	return int32(n)
}

// The compiler makes one load of it. encoding/binary has the same, and reflect with it.
func load64(b []byte) uint64 {
	_ = b[7]
	return uint64(b[0]) | uint64(b[1])<<8 | uint64(b[2])<<16 | uint64(b[3])<<24 |
		uint64(b[4])<<32 | uint64(b[5])<<40 | uint64(b[6])<<48 | uint64(b[7])<<56
}
