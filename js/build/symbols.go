package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"
)

// A Go program carries the names, files and lines of its functions, to print them when it panics and to tell them to
// those who ask. Nobody asks in the browser build, and what a panic prints there is the number of a function at most.
// emptySymbols overwrites them with zeros, which compress to nothing; all that the runtime works with stays where it is.
// See pcHeader, _func and step in Go's runtime/symtab.go and runtime2.go.

// symbolsKnownFor is the beginning of the Go versions whose layout this is known to be.
const symbolsKnownFor = "go1.26"

var errUnknownLayout = errors.New("the function tables are not laid out as this build knows them")

// Where fields lie, in bytes.
const (
	headerSize = 72 // of pcHeader

	functabSize = 8 // of an entry: entryoff, funcoff

	funcNameOff  = 4 // in _func
	funcPCSP     = 16
	funcPCFile   = 20
	funcPCLn     = 24
	funcNPCData  = 28
	funcCUOffset = 32
	funcSize     = 44
)

// pcHeader begins with its magic number, two zeros, the size of an instruction and that of a pointer.
var headerMagic = []byte{0xF1, 0xFF, 0xFF, 0xFF, 0, 0, 1, 8}

// emptySymbols empties the tables in the one segment that has them.
func emptySymbols(segments []segment) error {
	for _, s := range segments {
		if i := bytes.Index(s.data, headerMagic); i >= 0 && len(s.data)-i > headerSize {
			return emptyTables(s.data[i:])
		}
	}
	return errUnknownLayout
}

func emptyTables(tables []byte) error {
	field := func(n int) int { return int(binary.LittleEndian.Uint64(tables[8+8*n:])) }
	functions, names, units, files, pcs, funcs := field(0), field(3), field(4), field(5), field(6), field(7)
	if names != headerSize || !slices.IsSorted([]int{names, units, files, pcs, funcs, len(tables)}) ||
		functions <= 0 || functions*(functabSize+funcSize) > len(tables)-funcs {
		return errUnknownLayout
	}
	pctab := tables[pcs:funcs]
	needed := make([]bool, len(pctab))
	for i := range functions {
		function, err := functionAt(tables[funcs:], i)
		if err != nil {
			return err
		}
		if err := markTables(needed, pctab, function); err != nil {
			return err
		}
	}
	// Nothing is changed before all is understood.
	for i := range functions {
		function, _ := functionAt(tables[funcs:], i)
		for _, offset := range []int{funcNameOff, funcPCFile, funcPCLn, funcCUOffset} {
			binary.LittleEndian.PutUint32(function[offset:], 0)
		}
	}
	clear(tables[names:pcs])
	for i, need := range needed {
		if !need {
			pctab[i] = 0
		}
	}
	return nil
}

// functionAt returns the i-th function's _func and what follows it.
func functionAt(pclntab []byte, i int) ([]byte, error) {
	offset := int(binary.LittleEndian.Uint32(pclntab[i*functabSize+4:]))
	if offset > len(pclntab)-funcSize {
		return nil, errUnknownLayout
	}
	function := pclntab[offset:]
	if count := int(binary.LittleEndian.Uint32(function[funcNPCData:])); count > (len(function)-funcSize)/4 {
		return nil, errUnknownLayout
	}
	return function, nil
}

// markTables marks the bytes of pctab that the function's tables of stack depths and of pointer maps take.
func markTables(needed []bool, pctab, function []byte) error {
	offsets := []uint32{binary.LittleEndian.Uint32(function[funcPCSP:])}
	for i := range binary.LittleEndian.Uint32(function[funcNPCData:]) {
		offsets = append(offsets, binary.LittleEndian.Uint32(function[funcSize+4*i:]))
	}
	for _, offset := range offsets {
		if offset == 0 {
			continue // none
		}
		if int(offset) >= len(pctab) {
			return errUnknownLayout
		}
		length, err := tableLength(pctab[offset:])
		if err != nil {
			return err
		}
		for i := range length {
			needed[int(offset)+i] = true
		}
	}
	return nil
}

// tableLength returns how many bytes the table takes: pairs of variable-length numbers, the first of which is zero only
// in the first pair and behind the last.
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
