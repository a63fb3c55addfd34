//go:build !wasm

package sse

import "bytes"

// lineEnd returns the index of the first CR or LF of b, or len(b). It looks for them in windows that grow, so that its
// time is that of the line, and not of all that lies behind it, in a stream that has but one of the two.
func lineEnd(b []byte) int {
	from := 0
	for size := 128; from < len(b); size *= 2 {
		window := b[from:min(from+size, len(b))]
		lf := bytes.IndexByte(window, '\n')
		if lf >= 0 {
			window = window[:lf]
		}
		if cr := bytes.IndexByte(window, '\r'); cr >= 0 {
			return from + cr
		}
		from += len(window)
		if lf >= 0 {
			break
		}
	}
	return from
}
