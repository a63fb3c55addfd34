package main

import (
	"cmp"
	"encoding/binary"
	"errors"
	"slices"
)

// Go's linker leaves runs of zeros out of a module's data. That makes tens of thousands of segments, whose addresses and lengths
// compress badly. Zeros compress well, so a module with the gaps filled is smaller.

// largestGap is the longest run of zeros, in bytes, that is filled. Filling longer ones saves nothing.
const largestGap = 4096

var errNotMergeable = errors.New("the module does not have the layout of Go's linker")

const (
	dataSection = 11
	i32Const    = 0x41
	endOfExpr   = 0x0B
)

// mergeSegments returns the WebAssembly module with fewer data segments. edit may change them first. Merging does not change
// the initial memory of an instance. See section 5.5 "Modules" of the WebAssembly specification.
func mergeSegments(module []byte, edit func([]segment) error) ([]byte, error) {
	const header = 8
	if len(module) < header || string(module[:4]) != "\x00asm" {
		return nil, errNotMergeable
	}
	merged := append([]byte(nil), module[:header]...)
	for r := (reader{rest: module[header:]}); len(r.rest) > 0 || r.failed; {
		id := r.byte()
		section := r.bytes(r.uint())
		if r.failed {
			return nil, errNotMergeable
		}
		if id == dataSection {
			segments, err := readSegments(section)
			if err != nil {
				return nil, err
			}
			if segments, err = join(segments); err != nil {
				return nil, err
			}
			if err := edit(segments); err != nil {
				return nil, err
			}
			section = appendSegments(nil, segments)
		}
		merged = append(merged, id)
		merged = binary.AppendUvarint(merged, uint64(len(section)))
		merged = append(merged, section...)
	}
	return merged, nil
}

type segment struct {
	address int64
	data    []byte
}

func (s segment) end() int64 { return s.address + int64(len(s.data)) }

func readSegments(section []byte) (segments []segment, err error) {
	r := reader{rest: section}
	for n := r.uint(); n > 0 && !r.failed; n-- {
		active := r.uint() == 0 && r.byte() == i32Const
		s := segment{address: r.int()}
		ends := r.byte() == endOfExpr
		s.data = r.bytes(r.uint())
		if !active || !ends {
			return nil, errNotMergeable
		}
		segments = append(segments, s)
	}
	if r.failed || len(r.rest) > 0 {
		return nil, errNotMergeable
	}
	return segments, nil
}

// join joins segments that are close to each other. Their order matters only if they overlap.
func join(segments []segment) (joined []segment, err error) {
	slices.SortFunc(segments, func(a, b segment) int { return cmp.Compare(a.address, b.address) })
	for i, s := range segments {
		if i == 0 {
			joined = append(joined, segment{s.address, slices.Clone(s.data)})
			continue
		}
		last := &joined[len(joined)-1]
		switch gap := s.address - last.end(); {
		case gap < 0:
			return nil, errNotMergeable
		case gap > largestGap:
			joined = append(joined, segment{s.address, slices.Clone(s.data)})
		default:
			last.data = append(append(last.data, make([]byte, gap)...), s.data...)
		}
	}
	return joined, nil
}

func appendSegments(section []byte, segments []segment) []byte {
	section = binary.AppendUvarint(section, uint64(len(segments)))
	for _, s := range segments {
		section = append(section, 0, i32Const)
		section = appendSigned(section, s.address)
		section = append(section, endOfExpr)
		section = binary.AppendUvarint(section, uint64(len(s.data)))
		section = append(section, s.data...)
	}
	return section
}

// appendSigned appends n in signed LEB128, which differs from the zigzag encoding of binary.AppendVarint.
func appendSigned(b []byte, n int64) []byte {
	for n < -64 || n > 63 {
		b = append(b, byte(n)|0x80)
		n >>= 7
	}
	return append(b, byte(n)&0x7F)
}

// A reader reads a module. After invalid data it has failed, and reads zeros.
type reader struct {
	rest   []byte
	failed bool
}

func (r *reader) bytes(n uint64) []byte {
	if n > uint64(len(r.rest)) {
		r.failed, r.rest = true, nil
		return nil
	}
	taken := r.rest[:n]
	r.rest = r.rest[n:]
	return taken
}

func (r *reader) byte() byte {
	if b := r.bytes(1); len(b) == 1 {
		return b[0]
	}
	return 0
}

func (r *reader) uint() uint64 {
	n, size := binary.Uvarint(r.rest)
	r.bytes(uint64(max(size, 0)))
	r.failed = r.failed || size <= 0
	return n
}

// int reads signed LEB128.
func (r *reader) int() (n int64) {
	for shift := 0; shift < 64; shift += 7 {
		b := r.byte()
		n |= int64(b&0x7F) << shift
		if b&0x80 == 0 {
			if shift+7 < 64 && b&0x40 != 0 {
				n |= -1 << (shift + 7)
			}
			return n
		}
	}
	r.failed = true
	return 0
}
