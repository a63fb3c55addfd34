package filestore

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
)

// A segment is a file of frames. Only the newest one grows.
type segment struct {
	id     uint64 // random
	first  uint64 // lower bound of the events' sequences
	last   uint64 // sequence of its newest event; first-1 if it has none
	events int64
	size   int64 // of the file, as far as it is valid
	newest int64 // time of the newest event
	index  []point
	keys   []keyID // of its frames

	checked uint64 // the newest sequence when compact last checked the segment
}

// copyOf returns the segment without its events.
func copyOf(s *segment) *segment { return &segment{id: s.id, first: s.first, last: s.first - 1} }

// A point is the place of a frame in a segment. There is one for every few kilobytes.
type point struct {
	sequence uint64
	offset   int64
	at       int64
}

// pointEvery is the distance between points: the maximum to read before an event.
const pointEvery = 4 << 10

// A segment begins with these bytes, its id and its first sequence, and their checksum. The file's name says the same.
const (
	segmentMagic = "ESLOG1\r\n"
	segmentHead  = int64(len(segmentMagic)) + 8 + 8 + 4
)

func (s *segment) head() []byte {
	head := binary.LittleEndian.AppendUint64([]byte(segmentMagic), s.id)
	head = binary.LittleEndian.AppendUint64(head, s.first)
	return binary.LittleEndian.AppendUint32(head, crc32.Checksum(head, castagnoli))
}

// seed is the start value of all checksums in the segment. It excludes the head's own checksum, with which it would be
// constant.
func (s *segment) seed() uint32 { return crc32.Checksum(s.head()[:segmentHead-4], castagnoli) }

const segmentSuffix = ".events"

func (s *segment) name() string { return fmt.Sprintf("%020d-%016x%s", s.first, s.id, segmentSuffix) }

// parseSegmentName returns an empty segment, or nil for the name of another file.
func parseSegmentName(name string) *segment {
	text, found := strings.CutSuffix(name, segmentSuffix)
	digits, id, cut := strings.Cut(text, "-")
	if !found || !cut {
		return nil
	}
	s := &segment{}
	var err1, err2 error
	s.first, err1 = strconv.ParseUint(digits, 10, 64)
	s.id, err2 = strconv.ParseUint(id, 16, 64)
	if errors.Join(err1, err2) != nil || s.first == 0 || s.name() != name {
		return nil
	}
	s.last = s.first - 1
	return s
}

// add records a frame that was written at the offset.
func (s *segment) add(f *frame, offset int64, size int) {
	if n := len(s.index); n == 0 || offset-s.index[n-1].offset >= pointEvery {
		s.index = append(s.index, point{f.first, offset, f.at})
	}
	s.last, s.newest = f.last(), f.at
	s.events += int64(f.count)
	s.size = offset + int64(size)
	if f.keyed {
		s.keys = append(s.keys, f.id)
	}
}

// seek returns the offset of a frame at or before the event.
func (s *segment) seek(sequence uint64) int64 {
	i := sort.Search(len(s.index), func(i int) bool { return s.index[i].sequence > sequence })
	if i == 0 {
		return segmentHead
	}
	return s.index[i-1].offset
}

// A hole is a part of a segment that is not a valid frame.
type hole struct {
	offset, size  int64
	after, before uint64 // sequences of the events around it; before is zero at the end
	atEnd         bool
	group         uint64 // of the frame before
}

// A scan is the result of reading a whole segment.
type scan struct {
	segment *segment
	frames  []found
	holes   []hole
	badHead bool
	data    []byte
}

// count returns how many of the events are kept.
func (s *scan) count(keeps func(topic string, sequence uint64) bool) (n int64) {
	for _, f := range s.frames {
		f.each(func(sequence uint64, topic, _ []byte) bool {
			if keeps(string(topic), sequence) {
				n++
			}
			return true
		})
	}
	return n
}

type found struct {
	frame
	offset int64
	size   int
}

// scanSegment reads the segment and verifies every byte. A frame whose sequence is not above the previous one, or above
// after, counts as a hole. The error is one of the system.
func scanSegment(dir string, s *segment, after uint64) (*scan, error) {
	data, err := os.ReadFile(filepath.Join(dir, s.name()))
	if err != nil {
		return nil, err
	}
	result := &scan{segment: s, data: data}
	result.badHead = !bytes.HasPrefix(data, s.head())
	seed, offset := s.seed(), min(segmentHead, int64(len(data)))
	last, group := max(after, s.first-1), uint64(0)
	for offset < int64(len(data)) {
		f, size, err := parseFrame(data[offset:], seed)
		if err == nil && f.first > last && f.each(func(uint64, []byte, []byte) bool { return true }) == nil {
			result.frames = append(result.frames, found{f, offset, size})
			s.add(&f, offset, size)
			last, group = f.last(), f.group
			offset += int64(size)
			continue
		}
		h := hole{offset: offset, after: last, group: group}
		if n := len(result.holes); n > 0 && result.holes[n-1].offset+result.holes[n-1].size == offset {
			h, result.holes = result.holes[n-1], result.holes[:n-1]
		}
		offset = resync(data, offset+1, seed)
		h.size, h.atEnd = offset-h.offset, offset == int64(len(data))
		result.holes = append(result.holes, h)
	}
	for i, h := range result.holes {
		for _, f := range result.frames {
			if f.offset > h.offset {
				result.holes[i].before = f.first
				break
			}
		}
	}
	if len(result.frames) == 0 {
		s.size = segmentHead
	}
	return result, nil
}

// resync returns the offset of the next valid frame, or the end of data.
func resync(data []byte, offset int64, seed uint32) int64 {
	for ; offset < int64(len(data)); offset++ {
		if _, err := frameSize(data[offset:], seed); err != nil {
			continue
		}
		if _, _, err := parseFrame(data[offset:], seed); err == nil {
			return offset
		}
	}
	return int64(len(data))
}

// createSegment creates the file of an empty segment.
func createSegment(dir string, s *segment) (*os.File, error) {
	file, err := os.OpenFile(filepath.Join(dir, s.name()), os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if _, err := file.WriteAt(s.head(), 0); err != nil {
		file.Close()
		os.Remove(file.Name())
		return nil, err
	}
	s.size = segmentHead
	return file, nil
}

// readFrames calls yield with the frames of the segment from offset to end, until yield returns false. The error is one
// of the system, or a *damage.
func readFrames(dir string, s *segment, offset, end int64, yield func(*frame) bool) error {
	file, err := os.Open(filepath.Join(dir, s.name()))
	if err != nil {
		return err
	}
	defer file.Close()
	seed, buffer := s.seed(), []byte(nil)
	for offset < end {
		if buffer, err = readAt(file, buffer, offset, min(readChunk, end-offset)); err != nil {
			return err
		}
		used := 0
		for used < len(buffer) {
			f, size, err := parseFrame(buffer[used:], seed)
			if errors.Is(err, errShort) && size > readChunk && used == 0 && offset+int64(size) <= end {
				if buffer, err = readAt(file, buffer, offset, int64(size)); err != nil {
					return err
				}
				if len(buffer) < size {
					return &damage{offset} // the file was truncated
				}
				continue
			}
			if errors.Is(err, errShort) && used > 0 && offset+int64(len(buffer)) < end {
				break // the rest is in the next chunk
			}
			if err != nil {
				return &damage{offset + int64(used)}
			}
			used += size
			if !yield(&f) {
				return nil
			}
		}
		offset += int64(used)
	}
	return nil
}

// readChunk is the size of a read from a file.
const readChunk = 64 << 10

// readAt returns size bytes of the file, or fewer at its end. It allocates a buffer if the given one is too small.
func readAt(file *os.File, buffer []byte, offset, size int64) ([]byte, error) {
	if int64(cap(buffer)) < size {
		buffer = make([]byte, size)
	}
	n, err := file.ReadAt(buffer[:size], offset)
	if errors.Is(err, io.EOF) && n > 0 {
		err = nil
	}
	if errors.Is(err, io.EOF) {
		return nil, &damage{offset}
	}
	return buffer[:n], err
}

// A damage is the place of a frame that is no longer valid.
type damage struct{ offset int64 }

func (d *damage) Error() string { return fmt.Sprintf("no valid frame at byte %d", d.offset) }
