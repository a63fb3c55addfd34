package strconv

import (
	"math"
	"math/rand/v2"
	standard "strconv"
	"testing"
)

// Numbers are formatted like the standard library's format 'b'.
func TestAsStandard(t *testing.T) {
	numbers := []float64{
		0, math.Copysign(0, -1), 1, -1, 0.1, 10, 1e100, math.MaxFloat64, math.MaxFloat32, math.SmallestNonzeroFloat64,
		math.SmallestNonzeroFloat32, 0x1p-1022, 0x1p-126, 1 << 52, 1 << 53, math.Inf(1), math.Inf(-1), math.NaN(),
	}
	for range 10_000 {
		numbers = append(numbers, math.Float64frombits(rand.Uint64()), float64(math.Float32frombits(rand.Uint32())))
	}
	for _, f := range numbers {
		for _, bitSize := range []int{32, 64} {
			want := standard.FormatFloat(f, 'b', -1, bitSize)
			if got := string(appendBinary(nil, f, bitSize)); got != want {
				t.Errorf("%v in %d bits: %s, want %s", f, bitSize, got, want)
			}
		}
	}
}
