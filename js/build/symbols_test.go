package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"
	"testing"
)

// tablesOf returns the module's function tables, as they lie in its memory.
func tablesOf(t *testing.T) []byte {
	t.Helper()
	memory, _ := memoryOf(t, linkModule(t))
	tables := memory[bytes.Index(memory, headerMagic):]
	return tables[:binary.LittleEndian.Uint64(tables[8+8*7:])+1<<20]
}

func TestEmptySymbols(t *testing.T) {
	before := tablesOf(t)
	after := slices.Clone(before)
	if err := emptySymbols([]segment{{0, []byte("other data")}, {100, after}}); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"main.feed", "runtime.main", "lane.go"} {
		if !bytes.Contains(before, []byte(name)) || bytes.Contains(after, []byte(name)) {
			t.Errorf("%s is not there before, or still there afterwards", name)
		}
	}
	field := func(n int) int { return int(binary.LittleEndian.Uint64(before[8+8*n:])) }
	if functions := field(0); functions < 1000 {
		t.Errorf("%d functions", functions)
	}
	pcs, funcs := field(6), field(7)
	for i := range field(0) {
		was, _ := functionAt(before[funcs:], i)
		is, err := functionAt(after[funcs:], i)
		if err != nil {
			t.Fatal(err)
		}
		for _, offsets := range [][2]int{{funcPCSP, funcPCFile}, {funcNPCData, funcCUOffset}} {
			if !bytes.Equal(was[offsets[0]:offsets[1]], is[offsets[0]:offsets[1]]) {
				t.Fatalf("function %d: what the runtime works with has changed", i)
			}
		}
		depths := binary.LittleEndian.Uint32(is[funcPCSP:])
		if depths == 0 {
			continue
		}
		length, err := tableLength(before[pcs+int(depths) : funcs])
		if err != nil || !bytes.Equal(before[pcs+int(depths):][:length], after[pcs+int(depths):][:length]) {
			t.Fatalf("function %d: its table of stack depths has changed, %v", i, err)
		}
	}
}

// What is not understood stays as it is.
func TestEmptySymbolsRefuses(t *testing.T) {
	tables := tablesOf(t)
	for name, spoil := range map[string]func([]byte) []byte{
		"no tables":           func(b []byte) []byte { return b[8:] },
		"nothing but a head":  func(b []byte) []byte { return b[:headerSize] },
		"names elsewhere":     func(b []byte) []byte { b[8+8*3]++; return b },
		"tables out of order": func(b []byte) []byte { b[8+8*5+3] = 0x7F; return b },
		"too many functions":  func(b []byte) []byte { b[8+3] = 0x7F; return b },
		"no functions":        func(b []byte) []byte { clear(b[8:16]); return b },
		"functions elsewhere": func(b []byte) []byte {
			copy(b[binary.LittleEndian.Uint64(b[8+8*7:])+4:], "\xFF\xFF\xFF\x7F")
			return b
		},
		"an endless table": func(b []byte) []byte {
			pcs, funcs := binary.LittleEndian.Uint64(b[8+8*6:]), binary.LittleEndian.Uint64(b[8+8*7:])
			copy(b[pcs:funcs], bytes.Repeat([]byte{0xFF}, int(funcs-pcs)))
			return b
		},
	} {
		spoilt := spoil(slices.Clone(tables))
		before := slices.Clone(spoilt)
		if err := emptySymbols([]segment{{0, spoilt}}); !errors.Is(err, errUnknownLayout) || !bytes.Equal(before, spoilt) {
			t.Errorf("%s: %v, or it was changed", name, err)
		}
	}
}
