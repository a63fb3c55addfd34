package main

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

func moduleOf(segments ...segment) []byte {
	data := appendSegments(nil, segments)
	module := append([]byte("\x00asm\x01\x00\x00\x00"), 1, 1, 0) // an empty type section
	module = append(module, dataSection, byte(len(data)))
	return append(append(module, data...), 0, 2, 1, 'x') // and a custom section
}

func asTheyAre([]segment) error { return nil }

func TestMergeSegments(t *testing.T) {
	tests := []struct {
		name       string
		have, want []segment
	}{
		{"none", nil, nil},
		{"one", []segment{{100, []byte("a")}}, []segment{{100, []byte("a")}}},
		{"neighbours", []segment{{0, []byte("a")}, {1, []byte("b")}}, []segment{{0, []byte("ab")}}},
		{"a gap", []segment{{70, []byte("a")}, {73, []byte("b")}, {75, []byte("c")}}, []segment{{70, []byte("a\x00\x00b\x00c")}}},
		{"another order", []segment{{73, []byte("b")}, {70, []byte("a")}}, []segment{{70, []byte("a\x00\x00b")}}},
		{"a long gap", []segment{{70, []byte("a")}, {1 << 20, []byte("b")}}, []segment{{70, []byte("a")}, {1 << 20, []byte("b")}}},
	}
	for _, tt := range tests {
		got, err := mergeSegments(moduleOf(tt.have...), asTheyAre)
		if want := moduleOf(tt.want...); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: %q, %v, want %q", tt.name, got, err, want)
		}
	}
}

func TestMergeSegmentsRefuses(t *testing.T) {
	good := moduleOf(segment{70, []byte("a")}, segment{80, []byte("b")})
	for n := range len(good) - 4 {
		if n == 8 || n == 11 {
			continue // cut between two sections, it is still a module
		}
		if got, err := mergeSegments(good[:n], asTheyAre); !errors.Is(err, errNotMergeable) {
			t.Errorf("cut off at %d: %q, %v", n, got, err)
		}
	}
	for name, module := range map[string][]byte{
		"overlapping": moduleOf(segment{70, []byte("abc")}, segment{72, []byte("d")}),
		"passive":     bytes.Replace(moduleOf(segment{70, []byte("a")}), []byte{0, i32Const}, []byte{1, i32Const}, 1),
		"no module":   []byte("<!doctype html>"),
	} {
		if got, err := mergeSegments(module, asTheyAre); !errors.Is(err, errNotMergeable) {
			t.Errorf("%s: mergeSegments = %q, %v; want error %v", name, got, err, errNotMergeable)
		}
	}
}

func TestSignedNumbers(t *testing.T) {
	numbers := []int64{0, 1, -1, 63, 64, -64, -65, 127, 128, 1<<31 - 1, -1 << 31, 1<<63 - 1, -1 << 63}
	for range 1000 {
		numbers = append(numbers, int64(rand.Uint64())>>rand.IntN(64))
	}
	for _, want := range numbers {
		r := reader{rest: appendSigned(nil, want)}
		if got := r.int(); got != want || r.failed || len(r.rest) > 0 {
			t.Errorf("%d: read as %d", want, got)
		}
	}
}

// Merging segments does not change the memory of the module that we ship.
func TestMergedMemoryIsTheSame(t *testing.T) {
	linked := linkModule(t)
	merged, err := mergeSegments(linked, asTheyAre)
	if err != nil {
		t.Fatal(err)
	}
	before, n := memoryOf(t, linked)
	after, m := memoryOf(t, merged)
	if !bytes.Equal(before, after) {
		t.Error("the memory differs")
	}
	if n < 1000 || m > n/100 {
		t.Errorf("%d segments of %d are left", m, n)
	}
}

func linkModule(t *testing.T) []byte {
	t.Helper()
	return link(t, "../../wasm/polyfill")
}

func link(t *testing.T, pkg string) []byte {
	t.Helper()
	file := filepath.Join(t.TempDir(), "linked.wasm")
	cmd := exec.Command("go", "build", "-o", file, pkg)
	cmd.Env = append(os.Environ(), "GOOS=js", "GOARCH=wasm")
	if output, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, output)
	}
	linked, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return linked
}

// memoryOf returns the initial memory of the module, and its number of segments.
func memoryOf(t *testing.T, module []byte) ([]byte, uint64) {
	t.Helper()
	r := reader{rest: module[8:]}
	for r.byte() != dataSection {
		r.bytes(r.uint())
	}
	r.uint()
	count := r.uint()
	memory := make([]byte, 16<<20)
	for range count {
		r.bytes(2)
		address := r.int()
		r.byte()
		copy(memory[address:], r.bytes(r.uint()))
	}
	if r.failed {
		t.Fatal("the data section cannot be read")
	}
	return memory, count
}
