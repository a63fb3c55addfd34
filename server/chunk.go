package server

import (
	"strconv"
)

// What ends a body in the chunked transfer coding of RFC 9112, section 7.1. A body without it was cut.
const lastChunk = "0\r\n\r\n"

// chunkHead is room for the longest size and its line end.
const chunkHead = 16 + 2

// A chunkWriter makes one chunk. Its buffer may be used again.
type chunkWriter struct{ buffer []byte }

func (w *chunkWriter) reset() {
	if cap(w.buffer) < chunkHead {
		w.buffer = make([]byte, chunkHead, 512)
	}
	w.buffer = w.buffer[:chunkHead]
}

func (w *chunkWriter) add(block []byte) {
	w.buffer = append(w.buffer, block...)
}

// chunk returns what was added since reset, which is not empty, as a chunk. It is valid until the next reset.
func (w *chunkWriter) chunk() []byte {
	size := len(w.buffer) - chunkHead
	var digits [16]byte
	head := append(strconv.AppendInt(digits[:0], int64(size), 16), "\r\n"...)
	start := chunkHead - len(head)
	copy(w.buffer[start:], head)
	w.buffer = append(w.buffer, "\r\n"...)
	return w.buffer[start:]
}

// chunkOf returns the block, if it is not empty, as a chunk of its own memory.
func chunkOf(block []byte) []byte {
	if len(block) == 0 {
		return nil
	}
	var w chunkWriter
	w.reset()
	w.add(block)
	return w.chunk()
}
