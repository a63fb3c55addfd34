package filestore

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// A keyed records what was stored under a key.
type keyed struct {
	sum   keySum
	first uint64
	at    int64
}

// keys remembers keys for some time, whether or not their events are kept.
type keys struct {
	age   time.Duration
	known map[keyID]keyed
	order []use // oldest first
}

type use struct {
	id keyID
	at int64
}

func (k *keys) add(id keyID, v keyed) {
	k.known[id] = v
	k.order = append(k.order, use{id, v.at})
}

// sort sorts keys that were added from several files.
func (k *keys) sort() {
	slices.SortFunc(k.order, func(a, b use) int { return cmp.Compare(a.at, b.at) })
}

// expire forgets old keys.
func (k *keys) expire(now time.Time) {
	oldest := now.Add(-k.age).UnixNano()
	for len(k.order) > 0 && k.order[0].at < oldest {
		if k.known[k.order[0].id].at == k.order[0].at {
			delete(k.known, k.order[0].id)
		}
		k.order = k.order[1:]
	}
}

// A keyFile is a file of keys whose events are no longer kept.
type keyFile struct {
	ID     uint64 `json:"id,string"`
	Keys   int    `json:"keys"`
	Newest int64  `json:"newest"`
}

const (
	keySuffix = ".keys"
	keyBytes  = 16 + 16 + 8 + 8
)

func (f keyFile) name() string { return fmt.Sprintf("%016x%s", f.ID, keySuffix) }

// write writes the keys to a new file. If all of them have expired, it returns a keyFile without an ID.
func (k *keys) write(dir string, ids []keyID) (f keyFile, err error) {
	var data []byte
	for _, id := range ids {
		v, known := k.known[id]
		if !known {
			continue
		}
		data = append(append(data, id[:]...), v.sum[:]...)
		data = binary.LittleEndian.AppendUint64(data, v.first)
		data = binary.LittleEndian.AppendUint64(data, uint64(v.at))
		f.Keys++
		f.Newest = max(f.Newest, v.at)
	}
	if f.Keys == 0 {
		return keyFile{}, nil
	}
	f.ID = randomID()
	data = binary.LittleEndian.AppendUint32(data, crc32.Checksum(data, castagnoli))
	path := filepath.Join(dir, f.name())
	if err := writeSynced(path, data); err != nil {
		os.Remove(path)
		return keyFile{}, err
	}
	return f, nil
}

// read adds the keys of the file.
func (k *keys) read(dir string, f keyFile) error {
	data, err := os.ReadFile(filepath.Join(dir, f.name()))
	if err != nil {
		return err
	}
	end := len(data) - 4
	if end < 0 || end%keyBytes != 0 || crc32.Checksum(data[:end], castagnoli) != binary.LittleEndian.Uint32(data[end:]) {
		return errDamage
	}
	for b := data[:end]; len(b) > 0; b = b[keyBytes:] {
		var id keyID
		var v keyed
		copy(id[:], b)
		copy(v.sum[:], b[16:])
		v.first = binary.LittleEndian.Uint64(b[32:])
		v.at = int64(binary.LittleEndian.Uint64(b[40:]))
		k.add(id, v)
	}
	return nil
}
