// Package strconv is an addition to the standard library's internal/strconv for the browser build. Go's runtime writes
// floating-point numbers when it prints one or panics with one. In decimals that takes three algorithms and 11 kB of powers
// of ten, which do not compress. Here a number is written exactly, too, but as a mantissa and a binary exponent: format 'b'.
package strconv

import "unsafe"

// A binaryFormat is a type of IEEE 754.
type binaryFormat struct {
	mantissaBits, exponentBits uint
	bias                       int
}

// appendBinary appends f, or the float32 that it was if bitSize is 32, in the format 'b'.
func appendBinary(text []byte, f float64, bitSize int) []byte {
	format, bits := binaryFormat{52, 11, -1023}, *(*uint64)(unsafe.Pointer(&f))
	if bitSize == 32 {
		small := float32(f)
		format, bits = binaryFormat{23, 8, -127}, uint64(*(*uint32)(unsafe.Pointer(&small)))
	}
	negative := bits>>(format.mantissaBits+format.exponentBits) != 0
	exponent := int(bits>>format.mantissaBits) & (1<<format.exponentBits - 1)
	mantissa := bits & (1<<format.mantissaBits - 1)
	switch {
	case exponent == 1<<format.exponentBits-1:
		return append(text, notFinite(negative, mantissa)...)
	case exponent == 0:
		exponent++ // a subnormal number has no leading one
	default:
		mantissa |= 1 << format.mantissaBits
	}
	if negative {
		text = append(text, '-')
	}
	return appendExponent(appendDigits(text, mantissa), exponent+format.bias-int(format.mantissaBits))
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
