package filestore

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"os"
	"path/filepath"
)

// A mark records how far the stream has come. It is written after the events and before anyone sees them. So it is
// never ahead of the events, and at most one write behind.
//
// The file has two slots, in different pages, that are written in turn. If a write fails, the other slot remains.
type mark struct {
	counter  uint64 // of the writes of the mark
	manifest uint64 // name of the manifest in force
	check    uint32 // its checksum
	changed  int64  // when its file was last changed according to the file system; zero if unknown
	group    uint64 // the last write of events
	high     uint64 // the highest sequence ever assigned
	offset   int64  // end of the newest segment
	closed   bool   // the store was closed, with everything synced
}

const (
	markName  = "mark"
	markMagic = "ESMARK1\n"
	slotBytes = 4096
	markBytes = len(markMagic) + 8 + 8 + 4 + 8 + 8 + 8 + 8 + 1 + 4
)

func (m *mark) encode() []byte {
	b := []byte(markMagic)
	b = binary.LittleEndian.AppendUint64(b, m.counter)
	b = binary.LittleEndian.AppendUint64(b, m.manifest)
	b = binary.LittleEndian.AppendUint32(b, m.check)
	b = binary.LittleEndian.AppendUint64(b, uint64(m.changed))
	b = binary.LittleEndian.AppendUint64(b, m.group)
	b = binary.LittleEndian.AppendUint64(b, m.high)
	b = binary.LittleEndian.AppendUint64(b, uint64(m.offset))
	if m.closed {
		b = append(b, 1)
	} else {
		b = append(b, 0)
	}
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

// decodeMark reports whether the slot has a valid mark.
func decodeMark(slot []byte) (m mark, ok bool) {
	if len(slot) < markBytes || !bytes.HasPrefix(slot, []byte(markMagic)) {
		return m, false
	}
	b := slot[:markBytes]
	if crc32.Checksum(b[:markBytes-4], castagnoli) != binary.LittleEndian.Uint32(b[markBytes-4:]) {
		return m, false
	}
	b = b[len(markMagic):]
	m.counter = binary.LittleEndian.Uint64(b)
	m.manifest = binary.LittleEndian.Uint64(b[8:])
	m.check = binary.LittleEndian.Uint32(b[16:])
	m.changed = int64(binary.LittleEndian.Uint64(b[20:]))
	m.group = binary.LittleEndian.Uint64(b[28:])
	m.high = binary.LittleEndian.Uint64(b[36:])
	m.offset = int64(binary.LittleEndian.Uint64(b[44:]))
	m.closed = b[52] == 1
	return m, true
}

// readMark returns the newest mark. intact reports whether both slots are valid, and adjacent whether they are from
// consecutive writes. The error is [os.ErrNotExist] if there is no file, or errNoMark.
func readMark(dir string) (m mark, intact, adjacent bool, err error) {
	data, err := os.ReadFile(filepath.Join(dir, markName))
	if err != nil {
		return m, false, false, err
	}
	data = append(data, make([]byte, max(0, 2*slotBytes-len(data)))...)
	a, okA := decodeMark(data)
	b, okB := decodeMark(data[slotBytes:])
	if !okA && !okB {
		return m, false, false, errNoMark
	}
	if !okA || okB && b.counter > a.counter {
		a, b = b, a
	}
	intact = okA && okB
	return a, intact, intact && a.counter == b.counter+1, nil
}

var errNoMark = errors.New("mark is damaged")

// A marker writes marks.
type marker struct {
	mark
	file *os.File
}

func openMarker(dir string, from mark) (*marker, error) {
	file, err := os.OpenFile(filepath.Join(dir, markName), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	return &marker{from, file}, nil
}

// write makes m the mark.
func (w *marker) write(m mark) error {
	m.counter = w.counter + 1
	if _, err := w.file.WriteAt(m.encode(), int64(m.counter%2)*slotBytes); err != nil {
		return err
	}
	w.mark = m
	return nil
}

// writeBoth writes m to both slots, so that neither refers to an older manifest. It returns when the mark is synced.
func (w *marker) writeBoth(m mark) error {
	return errors.Join(w.write(m), w.write(m), w.file.Sync())
}
