package sse

import "math/bits"

const (
	lowBits  = 0x0101010101010101
	highBits = 0x8080808080808080
)

// lineEnd returns the index of the first CR or LF in b, or len(b). It searches for both at once, eight bytes at a time.
// WebAssembly has no instruction for that, and most lines are so short that calling bytes.IndexByte takes longer.
func lineEnd(b []byte) int {
	i := 0
	for len(b)-i >= 32 && below16(b[i:])|below16(b[i+8:])|below16(b[i+16:])|below16(b[i+24:]) == 0 {
		i += 32
	}
	for ; len(b)-i >= 8; i += 8 {
		word := load64(b[i:])
		lf, cr := word^lowBits*'\n', word^lowBits*'\r'
		// The lowest set bit is that of the first zero byte. Higher bits may be wrong.
		if zeros := ((lf-lowBits)&^lf | (cr-lowBits)&^cr) & highBits; zeros != 0 {
			return i + bits.TrailingZeros64(zeros)/8
		}
	}
	for ; i < len(b); i++ {
		if b[i] == '\n' || b[i] == '\r' {
			break
		}
	}
	return i
}

// below16 returns zero if none of the first eight bytes is less than 16. CR and LF are.
func below16(b []byte) uint64 {
	word := load64(b)
	return (word - lowBits*16) &^ word & highBits
}

// load64 compiles to a single load. encoding/binary has the same function, but links reflect.
func load64(b []byte) uint64 {
	_ = b[7]
	return uint64(b[0]) | uint64(b[1])<<8 | uint64(b[2])<<16 | uint64(b[3])<<24 |
		uint64(b[4])<<32 | uint64(b[5])<<40 | uint64(b[6])<<48 | uint64(b[7])<<56
}
