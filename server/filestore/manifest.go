package filestore

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"strings"
)

// A manifest lists the files of the stream. It is never modified, only replaced by another file with a new name. The
// mark names the current one, and records when the file system last changed its file, which differs in any copy. While
// events are written, every sync replaces the manifest. So files restored from a copy are detected.
type manifest struct {
	Epoch    string            `json:"epoch"`
	Earlier  map[string]uint64 `json:"earlier,omitempty"`
	Synced   bool              `json:"synced"` // every write of events is synced
	Segments []entry           `json:"segments"`
	Keys     []keyFile         `json:"keys,omitempty"`
}

// An entry describes a segment. Of the last one, which grows, only ID and First are set.
type entry struct {
	ID     uint64 `json:"id,string"`
	First  uint64 `json:"first"`
	Last   uint64 `json:"last,omitempty"`
	Events int64  `json:"events,omitempty"`
	Size   int64  `json:"size,omitempty"`
}

const manifestPrefix = "manifest-"

func manifestName(id uint64) string { return fmt.Sprintf("%s%016x", manifestPrefix, id) }

func randomID() uint64 {
	var b [8]byte
	rand.Read(b[:])
	return binary.LittleEndian.Uint64(b[:]) | 1 // not zero
}

// encode returns the text. Its first line is the checksum of the rest.
func (m *manifest) encode() (text []byte, check uint32, err error) {
	body, err := json.MarshalIndent(m, "", " ")
	if err != nil {
		return nil, 0, err
	}
	body = append(body, '\n')
	check = crc32.Checksum(body, castagnoli)
	return append(fmt.Appendf(nil, "%08x\n", check), body...), check, nil
}

var errManifest = errors.New("manifest is damaged")

func decodeManifest(text []byte) (m *manifest, check uint32, err error) {
	line, body, _ := bytes.Cut(text, []byte("\n"))
	check = crc32.Checksum(body, castagnoli)
	if string(line) != fmt.Sprintf("%08x", check) {
		return nil, 0, errManifest
	}
	m = &manifest{}
	if err := json.Unmarshal(body, m); err != nil || m.Epoch == "" {
		return nil, 0, errManifest
	}
	return m, check, nil
}

// readManifest returns the manifest, its checksum, and when its file was last changed.
func readManifest(dir string, id uint64) (m *manifest, check uint32, at int64, err error) {
	path := filepath.Join(dir, manifestName(id))
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, 0, 0, err
	}
	m, check, err = decodeManifest(text)
	return m, check, changed(path), err
}

// writeManifest writes the file, and returns its id when it is synced.
func writeManifest(dir string, m *manifest) (id uint64, check uint32, at int64, err error) {
	text, check, err := m.encode()
	if err != nil {
		return 0, 0, 0, err
	}
	id = randomID()
	path := filepath.Join(dir, manifestName(id))
	if err := writeSynced(path, text); err != nil {
		os.Remove(path)
		return 0, 0, 0, err
	}
	return id, check, changed(path), syncPath(dir)
}

// writeSynced writes and syncs a new file.
func writeSynced(path string, data []byte) error {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = file.Write(data)
	return errors.Join(err, file.Sync(), file.Close())
}

// removeManifests removes all manifests but one.
func removeManifests(dir string, keep uint64) {
	files, _ := os.ReadDir(dir)
	for _, f := range files {
		if strings.HasPrefix(f.Name(), manifestPrefix) && f.Name() != manifestName(keep) {
			os.Remove(filepath.Join(dir, f.Name()))
		}
	}
}

// syncPath syncs a file or a folder.
func syncPath(path string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	return file.Sync()
}
