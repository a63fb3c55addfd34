// Package coding sends streams in a content coding. What the clients of one filter receive is coded once for all.
package coding

import (
	"strconv"
	"strings"
)

// A Coding is a content coding of RFC 9110 in which streams can be sent. What every client of the same topics receives
// is coded once, in sections: pieces that need nothing of what precedes them, so that a client can join the others where
// one begins. Between sections, a body can have data that is for its client alone.
type Coding interface {
	// Name is what Accept-Encoding and Content-Encoding call it.
	Name() string

	// NewEncoder returns an encoder of sections.
	NewEncoder() Encoder

	// NewBody returns the state of one body.
	NewBody() Body
}

// An Encoder makes sections. It is used by one goroutine at a time.
type Encoder interface {
	// Reset begins a section.
	Reset()

	// Append appends to dst what continues the section by data, and enables a decoder to return all of it at once.
	Append(dst, data []byte) []byte
}

// A Body is one client's. Its methods append to dst what comes next in it. It is used by one goroutine at a time.
type Body interface {
	// Begin begins the body.
	Begin(dst []byte) []byte

	// Plain adds data, which is not worth to be compressed, outside of sections.
	Plain(dst, data []byte) []byte

	// Sectioned notes data that the body has got in a section.
	Sectioned(data []byte)

	// EndSection ends a section, wherever that is, for this body.
	EndSection(dst []byte) []byte

	// End ends the body.
	End(dst []byte) []byte
}

// Negotiate returns the coding that an Accept-Encoding prefers, by section 12.5.3 of RFC 9110, or nil for none. Of those
// it likes as much, it is the first.
func Negotiate(accept []string, codings []Coding) Coding {
	qualities := map[string]float64{}
	for element := range strings.SplitSeq(strings.Join(accept, ","), ",") {
		name, parameters, _ := strings.Cut(element, ";")
		qualities[strings.ToLower(strings.TrimSpace(name))] = quality(parameters)
	}
	var best Coding
	least := qualities["identity"]
	for _, coding := range codings {
		q, listed := qualities[coding.Name()]
		if !listed {
			q = qualities["*"]
		}
		if q > least || best == nil && q > 0 && q == least {
			best, least = coding, q
		}
	}
	return best
}

// quality returns 0, which refuses, for what is none.
func quality(parameters string) float64 {
	name, value, listed := strings.Cut(parameters, "=")
	if !listed {
		return 1
	}
	q, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
	if err != nil || !strings.EqualFold(strings.TrimSpace(name), "q") || !(q >= 0 && q <= 1) {
		return 0
	}
	return q
}
