package filestore

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"hash/crc32"
	"math"

	"github.com/eventsource-wasm/eventsource-wasm/server"
)

// A frame has the events of one Append. If its write was incomplete, none of them count. Its format, in little-endian order:
//
//	size   uint32  bytes of the body
//	check  uint32  checksum of size
//	sum    uint32  checksum of the body
//	body:
//	  group  uint64  the write that stored the frame; several frames may share one
//	  first  uint64  sequence of the first event
//	  at     int64   nanoseconds since 1970
//	  keyed  byte    1 if an id and a sum of 16 bytes each follow
//	  count  uvarint
//	  count times: topic and block, each with its length as a uvarint
//
// Checksums are CRC-32C and begin with the seed of the segment. So a frame is valid in its own segment only, and no
// event that a client publishes can pass for a frame.
const (
	headBytes = 12
	bodyBytes = 8 + 8 + 8 + 1 + 1 // minimum

	// maxFrame limits the body of a frame.
	maxFrame = 64 << 20
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

var (
	errShort  = errors.New("frame is truncated")
	errDamage = errors.New("frame checksum mismatch")
	errKey    = errors.New("filestore: key ID must have 64 hexadecimal digits")
)

// A keyID is the first half of a [server.IdempotencyKey]'s ID, and a keySum of its Sum.
type (
	keyID  [16]byte
	keySum [16]byte
)

type frame struct {
	group, first uint64
	at           int64
	keyed        bool
	id           keyID
	sum          keySum
	count        int
	records      []byte // encoded
}

func (f *frame) last() uint64 { return f.first + uint64(f.count) - 1 }

// appendFrame appends the encoding of the frame with those records.
func appendFrame(dst []byte, seed uint32, f *frame, records []server.Record) []byte {
	start := len(dst)
	dst = append(dst, make([]byte, headBytes)...)
	dst = binary.LittleEndian.AppendUint64(dst, f.group)
	dst = binary.LittleEndian.AppendUint64(dst, f.first)
	dst = binary.LittleEndian.AppendUint64(dst, uint64(f.at))
	if f.keyed {
		dst = append(dst, 1)
		dst = append(dst, f.id[:]...)
		dst = append(dst, f.sum[:]...)
	} else {
		dst = append(dst, 0)
	}
	dst = binary.AppendUvarint(dst, uint64(len(records)))
	for _, r := range records {
		dst = binary.AppendUvarint(dst, uint64(len(r.Topic)))
		dst = append(dst, r.Topic...)
		dst = binary.AppendUvarint(dst, uint64(len(r.Block)))
		dst = append(dst, r.Block...)
	}
	head, body := dst[start:start+headBytes], dst[start+headBytes:]
	binary.LittleEndian.PutUint32(head, uint32(len(body)))
	binary.LittleEndian.PutUint32(head[4:], crc32.Update(seed, castagnoli, head[:4]))
	binary.LittleEndian.PutUint32(head[8:], crc32.Update(seed, castagnoli, body))
	return dst
}

// frameSize returns the size of the first frame in data, including its head. The error is errShort or errDamage.
func frameSize(data []byte, seed uint32) (int, error) {
	if len(data) < headBytes {
		return 0, errShort
	}
	size := binary.LittleEndian.Uint32(data)
	if crc32.Update(seed, castagnoli, data[:4]) != binary.LittleEndian.Uint32(data[4:]) || size < bodyBytes || size > maxFrame {
		return 0, errDamage
	}
	return headBytes + int(size), nil
}

// parseFrame returns the first frame in data, and its size. The frame refers to data.
func parseFrame(data []byte, seed uint32) (f frame, size int, err error) {
	if size, err = frameSize(data, seed); err != nil {
		return f, 0, err
	}
	if size > len(data) {
		return f, size, errShort
	}
	body := data[headBytes:size]
	if crc32.Update(seed, castagnoli, body) != binary.LittleEndian.Uint32(data[8:]) {
		return f, size, errDamage
	}
	f.group = binary.LittleEndian.Uint64(body)
	f.first = binary.LittleEndian.Uint64(body[8:])
	f.at = int64(binary.LittleEndian.Uint64(body[16:]))
	f.keyed = body[24] == 1
	rest := body[25:]
	if f.keyed {
		if len(rest) < len(f.id)+len(f.sum) {
			return f, size, errDamage
		}
		copy(f.id[:], rest)
		copy(f.sum[:], rest[len(f.id):])
		rest = rest[len(f.id)+len(f.sum):]
	}
	count, n := binary.Uvarint(rest)
	if n <= 0 || count == 0 || count > uint64(len(rest)) || f.first == 0 || f.first > math.MaxUint64-count {
		return f, size, errDamage
	}
	f.count, f.records = int(count), rest[n:]
	return f, size, nil
}

// each calls yield with the records, which refer to the frame's data, until it returns false.
func (f *frame) each(yield func(sequence uint64, topic, block []byte) bool) error {
	rest := f.records
	for i := range f.count {
		topic, ok := cut(&rest)
		if !ok {
			return errDamage
		}
		block, ok := cut(&rest)
		if !ok {
			return errDamage
		}
		if !yield(f.first+uint64(i), topic, block) {
			return nil
		}
	}
	return nil
}

// cut removes a length and that many bytes from rest, and returns the bytes.
func cut(rest *[]byte) ([]byte, bool) {
	length, n := binary.Uvarint(*rest)
	if n <= 0 || length > uint64(len(*rest)-n) {
		return nil, false
	}
	value := (*rest)[n : n+int(length)]
	*rest = (*rest)[n+int(length):]
	return value, true
}

// keyOf returns the halves of the key that are stored: 16 bytes of a SHA-256 do not collide by chance.
func keyOf(k server.IdempotencyKey) (id keyID, sum keySum, err error) {
	if len(k.ID) < 2*len(id) {
		return id, sum, errKey
	}
	if _, err := hex.Decode(id[:], []byte(k.ID[:2*len(id)])); err != nil {
		return id, sum, errKey
	}
	copy(sum[:], k.Sum[:])
	return id, sum, nil
}
