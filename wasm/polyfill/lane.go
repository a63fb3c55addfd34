//go:build js && wasm

package main

import (
	"bytes"
	"math/bits"
	"unicode/utf8"
	"unsafe"
)

// The lane carries a stream's bytes. js/ writes a part of a chunk to input and calls feed. That returns the events as one
// text, which js/ decodes in one call, and a table with the ends of their strings. Once the buffers are large enough, it
// allocates nothing.

var (
	input  []byte
	output []byte // the types, data and ids of the events, one after the other, as well-formed UTF-8

	// table has three numbers for each event: the ends of its type, data and id in output, in UTF-16 code units. The last
	// number is the end of a last event ID that was set without an event.
	table []int32

	// result is for js/. It has the address and length of output and the address of table, which change when the slices
	// grow. Addresses have 32 bits, but a uintptr would have 64. The rest is needed if this program ends: how many
	// bytes of the part follow its last event, the reconnection time in two halves, and whether the stream has set it.
	result [7]uint32
)

// comment replaces the end of a type in the table: the row is a comment, and its data is the text.
const comment = -1

// unchanged replaces the end of an id in the table if the id has not changed.
const unchanged = -1

// reserve returns the address of input, which has room for at least n bytes.
//
//go:wasmexport reserve
func reserve(n int32) unsafe.Pointer {
	if int(n) > len(input) || len(input) > largestKept {
		input = make([]byte, n)
	}
	return unsafe.Pointer(unsafe.SliceData(input))
}

// takeInput returns two strings from input by their lengths in bytes.
func takeInput(first, second int32) (string, string) {
	return string(input[:first]), string(input[first : first+second])
}

//go:wasmexport resultAddress
func resultAddress() unsafe.Pointer { return unsafe.Pointer(&result) }

// feed parses the first n bytes of input as the next bytes of the source's stream. It returns the number of events and
// comments that they complete, or -1 minus that number if an event is too large.
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

// appendNewID appends the last event ID to output if js/ does not have it. It returns its end, or unchanged.
func (s *source) appendNewID() int32 {
	lastEventID := s.Parser.LastEventID()
	if bytes.Equal(lastEventID, s.sentID) {
		return unchanged
	}
	s.sentID = append(s.sentID[:0], lastEventID...)
	output = append(output, lastEventID...)
	return int32(len(output))
}

// largestKept is the largest buffer to keep, in bytes, so that one large event or long URL does not occupy memory forever.
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

// countCodeUnits converts ends in bytes to ends in UTF-16 code units. In ASCII text they are equal.
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

// utf16Length returns the number of UTF-16 code units of well-formed UTF-8: one for each byte that is not a continuation
// byte, and one more for each sequence of four bytes. It counts eight bytes at a time, because this is the only extra cost
// of text that is not ASCII.
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

// load64 compiles to a single load. encoding/binary has the same function, but links reflect.
func load64(b []byte) uint64 {
	_ = b[7]
	return uint64(b[0]) | uint64(b[1])<<8 | uint64(b[2])<<16 | uint64(b[3])<<24 |
		uint64(b[4])<<32 | uint64(b[5])<<40 | uint64(b[6])<<48 | uint64(b[7])<<56
}
