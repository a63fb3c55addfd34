// Package strconv is the part of the standard library's internal/strconv that writes floating-point numbers, for the
// browser build: Go's runtime links it for the print statement and the panic of such a number. In decimals that takes
// 11 kB of powers of ten, which do not compress, and three algorithms. Here they are written exactly, too, but always in
// the format 'b', a mantissa and a binary exponent. Our own packages write none.
package strconv

import "unsafe"

// How the types of IEEE 754 are laid out. The reading of numbers, which is the library's, has these names for it.
const (
	float32MantBits, float64MantBits = 23, 52
	float32ExpBits, float64ExpBits   = 8, 11
	float32Bias, float64Bias         = -127, -1023
)

type floatInfo struct {
	mantbits, expbits uint
	bias              int
}

var (
	float32info = floatInfo{float32MantBits, float32ExpBits, float32Bias}
	float64info = floatInfo{float64MantBits, float64ExpBits, float64Bias}
)

// FormatFloat returns what [AppendFloat] appends.
func FormatFloat(f float64, format byte, precision, bitSize int) string {
	return string(AppendFloat(nil, f, format, precision, bitSize))
}

// AppendFloat appends f, or the float32 that it was when bitSize is 32, in the format 'b' whatever the format and its
// precision.
func AppendFloat(text []byte, f float64, _ byte, _, bitSize int) []byte {
	info, bits := &float64info, *(*uint64)(unsafe.Pointer(&f))
	if bitSize == 32 {
		small := float32(f)
		info, bits = &float32info, uint64(*(*uint32)(unsafe.Pointer(&small)))
	}
	negative := bits>>(info.mantbits+info.expbits) != 0
	exponent := int(bits>>info.mantbits) & (1<<info.expbits - 1)
	mantissa := bits & (1<<info.mantbits - 1)
	switch {
	case exponent == 1<<info.expbits-1:
		return append(text, notFinite(negative, mantissa)...)
	case exponent == 0:
		exponent++ // a subnormal has no leading one
	default:
		mantissa |= 1 << info.mantbits
	}
	if negative {
		text = append(text, '-')
	}
	return appendExponent(appendDigits(text, mantissa), exponent+info.bias-int(info.mantbits))
}

func notFinite(negative bool, mantissa uint64) string {
	switch {
	case mantissa != 0:
		return "NaN"
	case negative:
		return "-Inf"
	default:
		return "+Inf"
	}
}

func appendExponent(text []byte, exponent int) []byte {
	if exponent < 0 {
		return appendDigits(append(text, 'p', '-'), uint64(-exponent))
	}
	return appendDigits(append(text, 'p', '+'), uint64(exponent))
}

func appendDigits(text []byte, n uint64) []byte {
	if n >= 10 {
		text = appendDigits(text, n/10)
	}
	return append(text, byte('0'+n%10))
}
