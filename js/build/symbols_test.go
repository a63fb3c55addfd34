package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/eventsource-wasm/eventsource-wasm/internal/nodetest"
)

// dataOf returns the module's memory as one segment, as emptySymbols receives it.
func dataOf(t *testing.T) segment {
	t.Helper()
	memory, _ := memoryOf(t, linkModule(t))
	return segment{0, bytes.TrimRight(memory, "\x00")}
}

func (s segment) clone() segment { return segment{s.address, slices.Clone(s.data)} }

// knownLayout returns the layout of this Go version, or skips the test if it is not supported.
func knownLayout(t *testing.T) layout {
	t.Helper()
	tools, err := findToolchain()
	if err != nil {
		t.Fatal(err)
	}
	if err := tools.supported(); err != nil {
		t.Skip(err)
	}
	return tools.layout
}

func tablesOf(t *testing.T, s segment) *symbols {
	t.Helper()
	tables, err := readSymbols([]segment{s}, knownLayout(t))
	if err != nil {
		t.Fatal(err)
	}
	return tables
}

func TestEmptySymbols(t *testing.T) {
	data := dataOf(t)
	emptied := data.clone()
	if err := emptySymbols([]segment{{1 << 30, []byte("other data")}, emptied}, knownLayout(t)); err != nil {
		t.Fatal(err)
	}
	before, after := tablesOf(t, data), tablesOf(t, emptied)
	names, rest := slices.Concat(before.names, before.files), slices.Concat(after.names, after.units, after.files)
	for _, name := range []string{"main.feed", "runtime.main", "lane.go"} {
		if !bytes.Contains(names, []byte(name)) {
			t.Errorf("%s is missing from the original module", name)
		}
	}
	if len(bytes.Trim(rest, "\x00")) > 0 {
		t.Error("the names were not removed")
	}
	if n := len(before.functions); n < 1000 || n != len(after.functions) {
		t.Fatalf("%d functions before, %d after", n, len(after.functions))
	}
	for i, was := range before.functions {
		is := after.functions[i]
		sameFields(t, was, is)
		samePCs(t, before, after, append([]byte{0, 0, 0, 0}, was.fixed[funcPCSP:][:4]...), append([]byte{0, 0, 0, 0}, is.fixed[funcPCSP:][:4]...))
		samePCs(t, before, after, was.pcData, is.pcData)
		sameData(t, before, after, was.funcData, is.funcData)
	}
	sameBuckets(t, before, after)
}

func sameFields(t *testing.T, was, is function) {
	t.Helper()
	for _, fields := range [][2]int{{0, funcNameOff}, {funcNameOff + 4, funcPCFile}, {funcNPCData, funcCUOffset}, {funcStartLine + 4, funcSize}} {
		if !bytes.Equal(was.fixed[fields[0]:fields[1]], is.fixed[fields[0]:fields[1]]) {
			t.Fatal("data that the runtime needs has changed")
		}
	}
}

// samePCs compares the tables at the offsets. Tables that are not needed must have no offset.
func samePCs(t *testing.T, before, after *symbols, was, is []byte) {
	t.Helper()
	for i := range len(was) / 4 {
		old, now := binary.LittleEndian.Uint32(was[4*i:]), binary.LittleEndian.Uint32(is[4*i:])
		switch useless := slices.Contains(uselessPCData, i); {
		case useless && now != noPCData, !useless && now != old:
			t.Fatalf("the offset of table %d changed from %d to %d", i, old, now)
		case useless || old == noPCData:
			continue
		}
		length, err := tableLength(before.pcs[old:])
		if err != nil || !bytes.Equal(before.pcs[old:][:length], after.pcs[now:][:length]) {
			t.Fatalf("table %d has changed, %v", i, err)
		}
	}
}

// sameData compares the first words of the data at the offsets.
func sameData(t *testing.T, before, after *symbols, was, is []byte) {
	t.Helper()
	for i := range len(was) / 4 {
		old, now := binary.LittleEndian.Uint32(was[4*i:]), binary.LittleEndian.Uint32(is[4*i:])
		switch useless := slices.Contains(uselessFuncData, i); {
		case useless && now != noFuncData, !useless && now != old:
			t.Fatalf("the offset of data %d changed from %#x to %#x", i, old, now)
		case useless || old == noFuncData:
			continue
		}
		if length := dataLength(before.data[old:], i); !bytes.Equal(before.data[old:][:length], after.data[now:][:length]) {
			t.Fatalf("data %d has changed", i)
		}
	}
}

// dataLength returns how many bytes the runtime reads. See stackmap, stackObjectRecord and FUNCDATA_OpenCodedDeferInfo in
// runtime/symtab.go, stack.go and panic.go.
func dataLength(data []byte, kind int) int {
	switch n := int(binary.LittleEndian.Uint32(data)); kind {
	case 0, 1:
		bits := int(binary.LittleEndian.Uint32(data[4:]))
		return 8 + n*((bits+7)/8)
	case 2:
		return 8 + 16*n
	default:
		return 2
	}
}

// sameBuckets looks up each position of each function like the runtime.
func sameBuckets(t *testing.T, before, after *symbols) {
	t.Helper()
	first := binary.LittleEndian.Uint32(before.functions[0].fixed)
	find := func(s *symbols, place int) int {
		bucket := s.buckets[place/16*bucketSize:]
		index := binary.LittleEndian.Uint32(bucket) + uint32(bucket[4+place%16])
		entry := first + uint32(place/256)
		for int(index+1) < len(s.functions) && binary.LittleEndian.Uint32(s.functions[index+1].fixed) <= entry {
			index++
		}
		return int(index)
	}
	places := len(before.buckets)/bucketSize*16 + max(0, len(before.buckets)%bucketSize-4)
	if places/256 != len(before.functions)-1 {
		t.Fatalf("%d positions for %d functions", places, len(before.functions))
	}
	for place := range places {
		if was, is := find(before, place), find(after, place); was != place/256 || is != was {
			t.Fatalf("position %d belongs to function %d before, %d after", place, was, is)
		}
	}
}

// After a long run of zeros, moduledata is in another segment.
func TestEmptySymbolsOfTwoSegments(t *testing.T) {
	l := knownLayout(t)
	whole := dataOf(t)
	two := whole.clone()
	at := bytes.LastIndex(two.data, headerAddresses(two))
	parts := []segment{{0, two.data[:at]}, {int64(at), two.data[at:]}}
	if err := errors.Join(emptySymbols([]segment{whole}, l), emptySymbols(parts, l)); err != nil || !bytes.Equal(whole.data, two.data) {
		t.Errorf("emptySymbols: error %v, or another result", err)
	}
}

// headerAddresses returns the first words of moduledata.
func headerAddresses(s segment) []byte {
	header := uint64(bytes.Index(s.data, headerMagic))
	return binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64(nil, header), header+headerSize)
}

// Unknown data stays unchanged.
func TestEmptySymbolsRefuses(t *testing.T) {
	l := knownLayout(t)
	data := dataOf(t)
	header := bytes.Index(data.data, headerMagic)
	at := bytes.Index(data.data, headerAddresses(data))
	word := func(b []byte, n int) []byte { return b[at+8*n:] }
	for name, spoil := range map[string]func(b []byte, s *symbols) []byte{
		"no tables":             func(b []byte, _ *symbols) []byte { clear(b[header:][:8]); return b },
		"nothing but a head":    func(b []byte, _ *symbols) []byte { return b[:header+headerSize] },
		"no moduledata":         func(b []byte, _ *symbols) []byte { clear(word(b, 0)[:8]); return b },
		"a part of moduledata":  func(b []byte, _ *symbols) []byte { return b[:at+8*l.words()-1] },
		"no names":              func(b []byte, _ *symbols) []byte { clear(word(b, wordNames+1)[:8]); return b },
		"files elsewhere":       func(b []byte, _ *symbols) []byte { word(b, wordFiles)[3] = 0x7F; return b },
		"endless tables":        func(b []byte, _ *symbols) []byte { word(b, wordPCs+1)[3] = 0x7F; return b },
		"data after buckets":    func(b []byte, _ *symbols) []byte { word(b, l.data)[3] = 0x7F; return b },
		"a code without end":    func(b []byte, _ *symbols) []byte { word(b, wordMaxPC)[5] = 1; return b },
		"functions elsewhere":   func(b []byte, _ *symbols) []byte { b[len(b)-1] = 0; word(b, wordFuncs)[3] = 0x7F; return b },
		"a function elsewhere":  func(b []byte, _ *symbols) []byte { place(b, word(b, wordFunctab))[7] = 0x7F; return b },
		"tables that overlap":   func(b []byte, _ *symbols) []byte { copy(word(b, l.data), word(b, wordFunctab)[:8]); return b },
		"too many tables":       func(b []byte, s *symbols) []byte { s.functions[9].fixed[funcNPCData+3] = 0x7F; return b },
		"a table elsewhere":     func(b []byte, s *symbols) []byte { s.functions[9].fixed[funcPCSP+3] = 0x7F; return b },
		"an endless table":      func(b []byte, s *symbols) []byte { fill(s.pcs); return b },
		"data that lies beyond": func(b []byte, s *symbols) []byte { lastData(s)[3] = 0x7F; return b },
	} {
		spoilt := data.clone()
		spoilt.data = spoil(spoilt.data, tablesOf(t, spoilt))
		before := slices.Clone(spoilt.data)
		if err := emptySymbols([]segment{spoilt}, l); !errors.Is(err, errUnknownLayout) || !bytes.Equal(before, spoilt.data) {
			t.Errorf("%s: error %v, or the data was changed", name, err)
		}
	}
}

// place returns the data at the address in the first word.
func place(memory, word []byte) []byte { return memory[binary.LittleEndian.Uint64(word):] }

func fill(table []byte) { copy(table, bytes.Repeat([]byte{0xFF}, len(table))) }

func lastData(s *symbols) []byte {
	for _, f := range slices.Backward(s.functions) {
		for ; len(f.funcData) > 0; f.funcData = f.funcData[4:] {
			if binary.LittleEndian.Uint32(f.funcData) != noFuncData {
				return f.funcData
			}
		}
	}
	return nil
}

// A program without symbols can still move stacks, collect garbage, recover, and print the value of a panic.
func TestProgramWithoutSymbols(t *testing.T) {
	nodetest.Require(t)
	l := knownLayout(t)
	linked := link(t, "./testdata/stacks")
	module, err := mergeSegments(linked, func(segments []segment) error { return emptySymbols(segments, l) })
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "stacks.wasm")
	if err := os.WriteFile(file, module, 0o644); err != nil {
		t.Fatal(err)
	}
	tools, err := findToolchain()
	if err != nil {
		t.Fatal(err)
	}
	run := filepath.Join(tools.root, "lib", "wasm", "go_js_wasm_exec")
	if output, err := exec.CommandContext(t.Context(), run, file).CombinedOutput(); err != nil || string(output) != "done\n" {
		t.Errorf("%v\n%s", err, output)
	}
	output, err := exec.CommandContext(t.Context(), run, file, "everything").CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 2 || !strings.HasPrefix(string(output), "panic: the end of everything\n\ngoroutine 1 [running]:\n") {
		t.Errorf("%v\n%s", err, output)
	}
}

// With the layout of another version nothing is changed, because the program would crash at its start.
func TestEmptySymbolsOfAnotherVersion(t *testing.T) {
	own, data := knownLayout(t), dataOf(t)
	for name, other := range layouts {
		if other == own {
			continue
		}
		emptied := data.clone()
		if err := emptySymbols([]segment{emptied}, other); !errors.Is(err, errUnknownLayout) || !bytes.Equal(data.data, emptied.data) {
			t.Errorf("%s: error %v, or the data was changed", name, err)
		}
	}
}

func TestSupportScriptHasNoUnusedFunctions(t *testing.T) {
	const used = "\t\t\t\t\t\"syscall/js.valueGet\": (sp) => {\n\t\t\t\t\t\tif (sp) {\n\t\t\t\t\t\t}\n\t\t\t\t\t},\n"
	const unused = "\t\t\t\t\t\"syscall/js.valueDelete\": (sp) => {\n\t\t\t\t\t\tsp >>>= 0;\n\t\t\t\t\t},\n"
	const runtime = "\t\t\t\t\t\"runtime.walltime\": (sp) => {\n\t\t\t\t\t},\n"
	got := withoutUnused([]byte(runtime+unused+used+unused+"rest\n"), []byte("\x00syscall/js.valueGet\x00"))
	if want := runtime + used + "rest\n"; string(got) != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
}

// An edit is made only if all of its parts are found. With some of them, the script would not run.
func TestPartialEditIsSkipped(t *testing.T) {
	parts := [][2]string{{`a (\d+)\n`, "$1 b\n"}, {`c\n`, ""}}
	for script, want := range map[string]string{"a 1\nc\nd\n": "1 b\nd\n", "a 1\nd\n": "a 1\nd\n", "c\nd\n": "c\nd\n"} {
		if got := replaceAll([]byte(script), parts); string(got) != want {
			t.Errorf("%q became %q, want %q", script, got, want)
		}
	}
}

// Every edit matches the script of a supported Go version. This finds edits that no longer match.
func TestEveryEditMatches(t *testing.T) {
	knownLayout(t)
	tools, err := findToolchain()
	if err != nil {
		t.Fatal(err)
	}
	script, err := os.ReadFile(filepath.Join(tools.root, "lib", "wasm", "wasm_exec.js"))
	if err != nil {
		t.Fatal(err)
	}
	for _, edit := range edits {
		if bytes.Equal(replaceAll(script, edit.parts), script) {
			t.Errorf("no match for the edit %q", edit.parts)
		}
	}
}
