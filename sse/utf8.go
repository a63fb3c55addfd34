package sse

import "unicode/utf8"

// wellFormed decodes b and returns the result as UTF-8: "Streams must be decoded using the UTF-8 decode algorithm." If b is
// well formed, it returns b itself; otherwise a copy with U+FFFD for each maximal subpart of an ill-formed sequence. No UTF-8
// sequence crosses a CR, an LF or a colon, so decoding each value gives the same result as decoding the stream.
func wellFormed(b []byte) []byte {
	if len(b) == 0 || utf8.Valid(b) {
		return b
	}
	decoded := make([]byte, 0, len(b)+len(b)/2)
	for len(b) > 0 {
		if r, n := utf8.DecodeRune(b); r != utf8.RuneError || n > 1 {
			decoded = append(decoded, b[:n]...)
			b = b[n:]
			continue
		}
		decoded = append(decoded, "\uFFFD"...)
		b = b[maximalSubpart(b):]
	}
	return decoded
}

// maximalSubpart returns how many bytes of the ill-formed sequence at the beginning of b one U+FFFD replaces: those that could
// begin a well-formed sequence. See "UTF-8 decoder" in the Encoding Standard.
func maximalSubpart(b []byte) int {
	var needed int
	lower, upper := byte(0x80), byte(0xBF)
	switch c := b[0]; {
	case c >= 0xC2 && c <= 0xDF:
		needed = 1
	case c >= 0xE0 && c <= 0xEF:
		needed = 2
	case c >= 0xF0 && c <= 0xF4:
		needed = 3
	}
	switch b[0] {
	case 0xE0:
		lower = 0xA0
	case 0xED:
		upper = 0x9F
	case 0xF0:
		lower = 0x90
	case 0xF4:
		upper = 0x8F
	}
	n := 1
	for n < len(b) && n <= needed && b[n] >= lower && b[n] <= upper {
		lower, upper = 0x80, 0xBF
		n++
	}
	return n
}
