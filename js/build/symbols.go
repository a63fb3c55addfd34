package main

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"slices"
)

// A Go program contains the names, files, lines and arguments of its functions, including inlined ones. It needs them to print a
// panic, and for package runtime's functions. The browser build uses no such function, and without them a panic prints only
// numbers. emptySymbols overwrites them with zeros, which compress to almost nothing. Everything that the runtime needs stays:
// the sizes of frames and which of their words are pointers.
//
// Two features of the runtime depend on the removed tables, and the browser build uses neither. The first is the rule that only
// the deferred function itself can recover: if the compiler has wrapped it, a function that it calls recovers, too. The second is
// the panic of a value method called through a nil pointer, whose text contains the method's name: it cannot be recovered.
//
// See moduledata, pcHeader, _func, findfuncbucket and step in Go's runtime/symtab.go and runtime2.go, and the numbers of tables
// in internal/abi/symtab.go.

// A layout has the positions of fields in moduledata that differ between versions of Go, in words.
type layout struct {
	data int // the field gofunc
}

// layouts has the layouts of the supported Go versions. See the type moduledata in runtime/symtab.go.
var layouts = map[string]layout{
	"go1.26": {data: 40},
	"go1.27": {data: 43},
}

// words is the number of words of moduledata that we need.
func (l layout) words() int { return l.data + 1 }

var errUnknownLayout = errors.New("unknown layout of the function tables")

// Offsets of fields, in bytes.
const (
	headerSize = 72 // of pcHeader

	functabSize = 8 // of an entry: entryoff, funcoff

	funcNameOff   = 4 // in _func
	funcPCSP      = 16
	funcPCFile    = 20
	funcPCLn      = 24
	funcNPCData   = 28
	funcCUOffset  = 32
	funcStartLine = 36
	funcNFuncData = 43
	funcSize      = 44

	bucketSize = 20 // of findfuncbucket: idx, subbuckets
)

// Positions of fields in moduledata, in words. We use two words of a slice: its address and its length.
const (
	wordNames   = 1
	wordUnits   = 4
	wordFiles   = 7
	wordPCs     = 10
	wordFuncs   = 13
	wordFunctab = 16
	wordBuckets = 19
	wordMinPC   = 20
	wordMaxPC   = 21
)

// These tables of a function are only used for printing, and for interrupting threads, which wasm does not have:
// PCDATA_UnsafePoint, _InlTreeIndex and _ArgLiveIndex; FUNCDATA_InlTree, _ArgInfo, _ArgLiveInfo and _WrapInfo.
var (
	uselessPCData   = []int{0, 2, 3}
	uselessFuncData = []int{3, 5, 6, 7}
)

const (
	noPCData   = 0
	noFuncData = 1<<32 - 1
)

// pcHeader begins with a magic number, two zeros, the size of an instruction and the size of a pointer.
var headerMagic = []byte{0xF1, 0xFF, 0xFF, 0xFF, 0, 0, 1, 8}

// emptySymbols overwrites the tables, which are in one segment. It changes nothing if it does not recognize all of them.
func emptySymbols(segments []segment, l layout) error {
	tables, err := readSymbols(segments, l)
	if err != nil {
		return err
	}
	return tables.empty()
}

// symbols are the tables of a program.
type symbols struct {
	names, units, files []byte

	pcs  []byte // tables from positions in a function to numbers; _func has their offsets in its fields and its pcdata
	data []byte // tables at the offsets in the funcdata of _func

	functions []function
	buckets   []byte // the index for finding a function
}

// A function is a _func with the two lists of offsets, of four bytes each, that follow it.
type function struct{ fixed, pcData, funcData []byte }

// readSymbols finds the tables by moduledata.
func readSymbols(segments []segment, l layout) (*symbols, error) {
	m, err := findModuledata(segments, l)
	if err != nil {
		return nil, err
	}
	t := &symbols{
		names: m.slice(wordNames, 1),
		units: m.slice(wordUnits, 4),
		files: m.slice(wordFiles, 1),
		pcs:   m.slice(wordPCs, 1),
		// moduledata does not have the length of these two. The linker puts the first directly before the second.
		data:    m.between(m.word(l.data), m.word(wordBuckets)),
		buckets: m.between(m.word(wordBuckets), m.word(wordBuckets)+bucketsLength(m.word(wordMaxPC)-m.word(wordMinPC))),
	}
	funcs := m.slice(wordFuncs, 1) // with functab at its beginning
	err = t.readFunctions(m.slice(wordFunctab, functabSize), funcs)
	if err != nil || m.failed || overlap(t.names, t.units, t.files, t.pcs, funcs, t.data, t.buckets) {
		return nil, errUnknownLayout
	}
	return t, nil
}

// overlap reports whether two of these parts of a segment overlap. Tables never do. If they seem to, the layout is that of
// another Go version, and emptying them would crash the program.
func overlap(tables ...[]byte) bool {
	// The capacity of each part ends with the segment, so it determines where the part begins.
	slices.SortFunc(tables, func(a, b []byte) int { return cmp.Compare(cap(b), cap(a)) })
	for i, table := range tables[:len(tables)-1] {
		if cap(table)-len(table) < cap(tables[i+1]) {
			return true
		}
	}
	return false
}

// bucketsLength returns the length of the buckets for a range of the runtime's program counter. A bucket covers 4,096 numbers,
// each of its bytes 256, and a function 65,536. The linker cuts the last bucket after the last byte that is needed. Other
// data follows.
func bucketsLength(pcs uint64) uint64 { return (pcs+4095)/4096*4 + (pcs+255)/256 }

// moduledata is a reader of moduledata and of the data it points to, which is in one segment. After invalid data it has failed.
type moduledata struct {
	in     segment
	words  []byte
	failed bool
}

// findModuledata searches for the first fields of moduledata: the addresses of pcHeader and of the names after it. moduledata
// may be in another segment than these.
func findModuledata(segments []segment, l layout) (*moduledata, error) {
	for _, in := range segments {
		i := bytes.Index(in.data, headerMagic)
		if i < 0 {
			continue
		}
		header := uint64(in.address) + uint64(i)
		start := binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64(nil, header), header+headerSize)
		for _, s := range segments {
			if at := bytes.Index(s.data, start); at >= 0 && len(s.data)-at >= 8*l.words() {
				return &moduledata{in: in, words: s.data[at:]}, nil
			}
		}
	}
	return nil, errUnknownLayout
}

func (m *moduledata) word(n int) uint64 { return binary.LittleEndian.Uint64(m.words[8*n:]) }

func (m *moduledata) slice(n int, size uint64) []byte {
	start, length := m.word(n), m.word(n+1)
	return m.between(start, start+length*size)
}

func (m *moduledata) between(start, end uint64) []byte {
	if start < uint64(m.in.address) || start >= end || end > uint64(m.in.end()) {
		m.failed = true
		return nil
	}
	return m.in.data[start-uint64(m.in.address) : end-uint64(m.in.address)]
}

// readFunctions reads the functions that the entries of functab point to. The last entry marks the end of the functions.
func (t *symbols) readFunctions(functab, funcs []byte) error {
	for ; len(functab) >= 2*functabSize; functab = functab[functabSize:] {
		f, err := functionAt(funcs, int(binary.LittleEndian.Uint32(functab[4:])))
		if err != nil {
			return err
		}
		t.functions = append(t.functions, f)
	}
	return nil
}

func functionAt(funcs []byte, offset int) (f function, err error) {
	if offset > len(funcs)-funcSize {
		return f, errUnknownLayout
	}
	f.fixed, funcs = funcs[offset:offset+funcSize], funcs[offset+funcSize:]
	n, m := uint64(binary.LittleEndian.Uint32(f.fixed[funcNPCData:])), uint64(f.fixed[funcNFuncData])
	if 4*(n+m) > uint64(len(funcs)) {
		return f, errUnknownLayout
	}
	f.pcData, f.funcData = funcs[:4*n], funcs[4*n:4*(n+m)]
	return f, nil
}

func (t *symbols) empty() error {
	neededPCs, err := t.neededPCs()
	if err != nil {
		return err
	}
	neededData, err := t.neededData()
	if err != nil {
		return err
	}
	for _, f := range t.functions {
		for _, field := range []int{funcNameOff, funcPCFile, funcPCLn, funcCUOffset, funcStartLine} {
			binary.LittleEndian.PutUint32(f.fixed[field:], 0)
		}
		overwrite(f.pcData, uselessPCData, noPCData)
		overwrite(f.funcData, uselessFuncData, noFuncData)
	}
	for _, table := range [][]byte{t.names, t.units, t.files} {
		clear(table)
	}
	clearRest(t.pcs, neededPCs)
	clearRest(t.data, neededData)
	t.coarsenBuckets()
	return nil
}

func overwrite(offsets []byte, which []int, none uint32) {
	for _, i := range which {
		if 4*i < len(offsets) {
			binary.LittleEndian.PutUint32(offsets[4*i:], none)
		}
	}
}

func clearRest(table []byte, needed []bool) {
	for i, need := range needed {
		if !need {
			table[i] = 0
		}
	}
}

// neededPCs reports for each byte of pcs whether it belongs to a table that is needed.
func (t *symbols) neededPCs() ([]bool, error) {
	needed := make([]bool, len(t.pcs))
	for _, f := range t.functions {
		offsets := append(f.useful(f.pcData, uselessPCData, noPCData), binary.LittleEndian.Uint32(f.fixed[funcPCSP:]))
		for _, offset := range offsets {
			if offset == noPCData {
				continue
			}
			if int(offset) >= len(t.pcs) {
				return nil, errUnknownLayout
			}
			length, err := tableLength(t.pcs[offset:])
			if err != nil {
				return nil, err
			}
			for i := range length {
				needed[int(offset)+i] = true
			}
		}
	}
	return needed, nil
}

// neededData reports for each byte of data whether it is needed. A table ends at the next offset.
func (t *symbols) neededData() ([]bool, error) {
	var all, useful []uint32
	for _, f := range t.functions {
		all = append(all, f.useful(f.funcData, nil, noFuncData)...)
		useful = append(useful, f.useful(f.funcData, uselessFuncData, noFuncData)...)
	}
	all = append(all, uint32(len(t.data)))
	slices.Sort(all)
	if int(all[len(all)-1]) != len(t.data) {
		return nil, errUnknownLayout
	}
	needed := make([]bool, len(t.data))
	for _, offset := range useful {
		next, _ := slices.BinarySearch(all, offset+1)
		for i := offset; i < all[next]; i++ {
			needed[i] = true
		}
	}
	return needed, nil
}

// useful returns the offsets of tables that are needed.
func (f function) useful(offsets []byte, useless []int, none uint32) (useful []uint32) {
	for i := 0; 4*i < len(offsets); i++ {
		offset := binary.LittleEndian.Uint32(offsets[4*i:])
		if offset != none && !slices.Contains(useless, i) {
			useful = append(useful, offset)
		}
	}
	return useful
}

// coarsenBuckets makes the bucket entries of sixteen consecutive functions point to the first of them. The runtime searches
// forward from there. That takes seven more steps for a frame, and makes the module smaller.
func (t *symbols) coarsenBuckets() {
	for bucket := range slices.Chunk(t.buckets, bucketSize) {
		first := binary.LittleEndian.Uint32(bucket) &^ 15
		clear(bucket)
		binary.LittleEndian.PutUint32(bucket, first)
	}
}

// tableLength returns the length of a table in bytes. It consists of pairs of variable-length numbers. The first number of a
// pair is zero only in the first pair and after the last one.
func tableLength(table []byte) (int, error) {
	for length, first := 0, true; length < len(table); first = false {
		if table[length] == 0 && !first {
			return length + 1, nil
		}
		for range 2 {
			_, n := binary.Uvarint(table[length:])
			if n <= 0 {
				return 0, errUnknownLayout
			}
			length += n
		}
	}
	return 0, errUnknownLayout
}
