package compress

import (
	"bytes"
	"encoding/binary"

	zstandard "github.com/klauspost/compress/zstd"

	"github.com/eventsource-wasm/eventsource-wasm/server"
	"github.com/eventsource-wasm/eventsource-wasm/server/internal/coding"
)

// Zstd returns the content coding zstd (RFC 8878). Shared data is in one frame per section. Data in between is in
// frames with raw blocks.
func Zstd() server.Coding {
	return zstd{}
}

// zstdWindow is the amount of a section that a decoder must keep. Sections are hardly larger.
const zstdWindow = 64 << 10

type zstd struct{}

func (zstd) Name() string               { return "zstd" }
func (zstd) NewEncoder() coding.Encoder { return newZstdEncoder() }
func (zstd) NewBody() coding.Body       { return zstdBody{} }

type zstdEncoder struct {
	writer *zstandard.Encoder
	buffer bytes.Buffer
}

func newZstdEncoder() *zstdEncoder {
	e := &zstdEncoder{}
	writer, err := zstandard.NewWriter(&e.buffer,
		zstandard.WithWindowSize(zstdWindow),
		zstandard.WithEncoderConcurrency(1),
		zstandard.WithLowerEncoderMem(true),
		zstandard.WithEncoderCRC(false), // a body that leaves a section early cannot have its checksum
	)
	if err != nil {
		panic(err) // the options are valid
	}
	e.writer = writer
	return e
}

func (e *zstdEncoder) Reset() {
	e.writer.Reset(&e.buffer)
}

func (e *zstdEncoder) Append(dst, data []byte) []byte {
	e.buffer.Reset()
	e.writer.Write(data) // writes to a buffer, so it cannot fail
	e.writer.Flush()
	return append(dst, e.buffer.Bytes()...)
}

type zstdBody struct{}

func (zstdBody) Begin(dst []byte) []byte { return dst }

// Parts of the format, section 3.1.1 of RFC 8878.
const (
	zstdMagic        = 0xfd2fb528
	zstdSingle4      = 0b101_00000 // frame header: a single segment, whose size is in four bytes
	zstdLastRawBlock = 0b001       // block header: last, raw; the size follows from bit 3 on
)

// maxRawBlock is a size that every decoder accepts.
const maxRawBlock = 64 << 10

func (zstdBody) Plain(dst, data []byte) []byte {
	for len(data) > 0 {
		n := uint32(min(len(data), maxRawBlock))
		dst = binary.LittleEndian.AppendUint32(dst, zstdMagic)
		dst = append(dst, zstdSingle4)
		dst = binary.LittleEndian.AppendUint32(dst, n)
		dst = appendBlockHeader(dst, n<<3|zstdLastRawBlock)
		dst = append(dst, data[:n]...)
		data = data[n:]
	}
	return dst
}

func appendBlockHeader(dst []byte, header uint32) []byte {
	return append(dst, byte(header), byte(header>>8), byte(header>>16))
}

func (zstdBody) Sectioned([]byte) {}

// EndSection ends the frame with an empty last block.
func (zstdBody) EndSection(dst []byte) []byte {
	return appendBlockHeader(dst, zstdLastRawBlock)
}

func (zstdBody) End(dst []byte) []byte { return dst }
