// Package compress provides content codings for event streams, for use in [server.Handler.Codings].
//
// Brotli is not available: its dictionary references depend on the length of the preceding body, which differs between
// clients, so they could not share compressed data.
package compress

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"hash/crc32"
	"math"

	"github.com/eventsource-wasm/eventsource-wasm/server"
	"github.com/eventsource-wasm/eventsource-wasm/server/internal/coding"
)

// Gzip returns the content coding gzip (RFC 1952). The body is a single member, because browsers ignore further ones.
// Shared data is in DEFLATE blocks (RFC 1951) that refer to no earlier ones. Data in between is in stored blocks.
func Gzip() server.Coding {
	return gzip{}
}

type gzip struct{}

func (gzip) Name() string               { return "gzip" }
func (gzip) NewEncoder() coding.Encoder { return newFlateEncoder() }
func (gzip) NewBody() coding.Body       { return &gzipBody{} }

type flateEncoder struct {
	writer *flate.Writer
	buffer bytes.Buffer
}

func newFlateEncoder() *flateEncoder {
	e := &flateEncoder{}
	writer, err := flate.NewWriter(&e.buffer, flate.DefaultCompression)
	if err != nil {
		panic(err) // the level is valid
	}
	e.writer = writer
	return e
}

func (e *flateEncoder) Reset() {
	e.writer.Reset(&e.buffer)
}

func (e *flateEncoder) Append(dst, data []byte) []byte {
	e.buffer.Reset()
	e.writer.Write(data) // writes to a buffer, so it cannot fail
	e.writer.Flush()
	return append(dst, e.buffer.Bytes()...)
}

// A gzipBody computes the checksum and the size for the trailer.
type gzipBody struct {
	checksum uint32
	size     uint32
}

// Begin writes the header: no flags, no time, no extra flags, unknown system.
func (*gzipBody) Begin(dst []byte) []byte {
	return append(dst, 0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255)
}

// Plain ends with an empty block, like a flush of DEFLATE: some decoders, such as Go's, return no data before that.
func (b *gzipBody) Plain(dst, data []byte) []byte {
	b.Sectioned(data)
	for len(data) > 0 {
		n := min(len(data), math.MaxUint16)
		dst = appendStored(dst, data[:n])
		data = data[n:]
	}
	return appendStored(dst, nil)
}

// appendStored appends a stored block that is not the last.
func appendStored(dst, data []byte) []byte {
	dst = append(dst, 0)
	dst = binary.LittleEndian.AppendUint16(dst, uint16(len(data)))
	dst = binary.LittleEndian.AppendUint16(dst, ^uint16(len(data)))
	return append(dst, data...)
}

func (b *gzipBody) Sectioned(data []byte) {
	b.checksum = crc32.Update(b.checksum, crc32.IEEETable, data)
	b.size += uint32(len(data))
}

// EndSection has nothing to do: every append ends at a byte boundary between blocks.
func (*gzipBody) EndSection(dst []byte) []byte { return dst }

// End writes an empty last block and the trailer.
func (b *gzipBody) End(dst []byte) []byte {
	dst = append(dst, 3, 0)
	dst = binary.LittleEndian.AppendUint32(dst, b.checksum)
	return binary.LittleEndian.AppendUint32(dst, b.size)
}
