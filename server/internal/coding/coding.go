// Package coding sends streams with a content coding. Events are compressed once for all clients with the same filter.
package coding

import (
	"strconv"
	"strings"
)

// A Coding is a content coding for streams (RFC 9110). Events for all clients with the same topics are compressed once, in
// sections. A section does not depend on earlier data, so a client can join where a section begins. Between sections, a
// body can contain data for its client alone. Coding cannot be implemented outside of this module.
type Coding interface {
	// Name is the name in Accept-Encoding and Content-Encoding.
	Name() string

	// NewEncoder returns an encoder of sections.
	NewEncoder() Encoder

	// NewBody returns the state of one body.
	NewBody() Body
}

// An Encoder compresses sections. Only one goroutine uses it at a time.
type Encoder interface {
	// Reset begins a section.
	Reset()

	// Append appends the compressed data to dst, flushed so that a decoder can return all of it.
	Append(dst, data []byte) []byte
}

// A Body is the state of one client's body. Its methods append to dst. Only one goroutine uses it at a time.
type Body interface {
	// Begin begins the body.
	Begin(dst []byte) []byte

	// Plain appends data outside of sections, without compression.
	Plain(dst, data []byte) []byte

	// Sectioned records data that the body received in a section.
	Sectioned(data []byte)

	// EndSection leaves the section, possibly before its end.
	EndSection(dst []byte) []byte

	// End ends the body.
	End(dst []byte) []byte
}

// Negotiate returns the preferred coding according to Accept-Encoding (RFC 9110, section 12.5.3), or nil for none. Of
// several with the same preference, it is the first in codings.
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

// quality returns 0, which refuses a coding, for an invalid weight.
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
