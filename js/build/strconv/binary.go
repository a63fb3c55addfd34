// Package strconv has a file that the browser build adds to internal/strconv. Go's runtime formats a floating-point number when it
// prints one or panics with one. The decimal format takes three algorithms and 11 kB of powers of ten, which do not compress. This
// file formats numbers exactly, too, but as a mantissa and a binary exponent: format 'b'.
package strconv

import "unsafe"

// A binaryFormat is a format of IEEE 754.
type binaryFormat struct {
	mantissaBits, exponentBits uint
	bias                       int
}

// appendBinary appends f in the format 'b'. If bitSize is 32, f was converted from a float32.
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
