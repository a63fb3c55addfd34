//go:build !wasm

package sse

import "bytes"

// lineEnd returns the index of the first CR or LF in b, or len(b). It searches windows of growing size. So its time depends on
// the length of the line, not on the rest of b, even if b contains only one of the two.
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
