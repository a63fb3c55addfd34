package filestore

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/eventsource-wasm/eventsource-wasm/server"
)

// A recovery reads everything in a folder, and decides whether it is what the last process left.
//
// If it is, the stream continues in its epoch. If anything is missing, damaged or restored from a copy, it is unknown
// what clients have seen and what they miss. Then a new epoch starts, which tells all of them. Sequences continue above
// the highest one known, so that no id is used twice. Intact events are kept.
type recovery struct {
	store  *Store
	dir    string
	logger *slog.Logger

	mark     mark
	manifest *manifest // nil if there is none that can be read
	cut      bool      // the machine may have stopped while the folder was open
	doubts   []string  // why this is not what the last process left
	orphans  []string  // files that the stream does not refer to
	replaced []string  // files of the stream that were replaced

	segments []*segment
	high     uint64 // the highest sequence known to have been assigned
	last     uint64 // sequence of the newest event found
	group    uint64
}

const (
	epochLength = 8
	maxEarlier  = 8
)

func newEpoch() string { return strings.ToLower(rand.Text()[:epochLength]) }

func (r *recovery) doubt(message string, args ...any) {
	r.doubts = append(r.doubts, message)
	r.logger.Error(message, append([]any{"dir", r.dir}, args...)...)
}

// run recovers the folder and sets the state of the store.
func (r *recovery) run(ctx context.Context) error {
	files, err := os.ReadDir(r.dir)
	if err != nil {
		return err
	}
	fresh, err := r.begin(files)
	if err != nil {
		return err
	}
	entries, keyFiles := r.listed(files)
	for i, e := range entries {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := r.take(e, i == len(entries)-1); err != nil {
			return err
		}
	}
	keyFiles = r.takeKeys(keyFiles)
	r.high = max(r.high, r.last)
	m := r.judge(fresh)
	m.Keys = keyFiles
	return r.settle(m)
}

// begin reads the mark and the manifest. fresh means that the folder was never used.
func (r *recovery) begin(files []os.DirEntry) (fresh bool, err error) {
	var intact, adjacent bool
	r.mark, intact, adjacent, err = readMark(r.dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if !slices.ContainsFunc(files, isOurs) {
			if slices.ContainsFunc(files, func(f os.DirEntry) bool { return f.Name() == "jetstream" }) {
				return false, ErrOldFormat
			}
			return true, nil
		}
		r.doubt("mark file is missing")
		return false, nil
	case errors.Is(err, errNoMark):
		r.doubt("mark file is damaged")
		return false, nil
	case err != nil:
		return false, err
	}
	r.high = r.mark.high
	r.cut = !r.mark.closed && !r.store.folder.sameRun()
	if !intact || !adjacent && !r.cut { // after a power failure, either page may be old
		r.doubt("one half of the mark file is damaged")
	}
	m, check, at, err := readManifest(r.dir, r.mark.manifest)
	switch {
	case err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, errManifest):
		return false, err
	case err != nil || check != r.mark.check:
		r.doubt("manifest is missing or damaged")
		return false, nil
	case at != r.mark.changed:
		r.doubt("files were restored from a copy")
	}
	r.manifest = m
	return false, nil
}

func isOurs(f os.DirEntry) bool {
	return f.Name() == openName || strings.HasPrefix(f.Name(), manifestPrefix) || strings.HasSuffix(f.Name(), segmentSuffix) || strings.HasSuffix(f.Name(), keySuffix)
}

// listed returns the files of the stream or, without a manifest, all files that could be.
func (r *recovery) listed(files []os.DirEntry) (entries []entry, keyFiles []keyFile) {
	known := map[string]bool{}
	if r.manifest != nil {
		entries, keyFiles = r.manifest.Segments, r.manifest.Keys
		for _, e := range entries {
			known[(&segment{id: e.ID, first: e.First}).name()] = true
			r.high = max(r.high, e.Last)
		}
		for _, f := range keyFiles {
			known[f.name()] = true
		}
	}
	for _, f := range files {
		name := f.Name()
		s := parseSegmentName(name)
		text, isKeys := strings.CutSuffix(name, keySuffix)
		switch {
		case known[name] || s == nil && !isKeys:
		case r.manifest != nil:
			r.orphans = append(r.orphans, name)
		case s != nil:
			entries = append(entries, entry{ID: s.id, First: s.first})
		default:
			var id uint64
			if _, err := fmt.Sscanf(text, "%016x", &id); err == nil {
				keyFiles = append(keyFiles, keyFile{ID: id, Newest: time.Now().UnixNano()})
			}
		}
	}
	slices.SortFunc(entries, func(a, b entry) int {
		return cmp.Or(cmp.Compare(a.First, b.First), cmp.Compare(a.ID, b.ID))
	})
	return entries, keyFiles
}

// take reads a segment, compares it with what is known about it, and adds it to the stream.
func (r *recovery) take(e entry, newest bool) error {
	s := &segment{id: e.ID, first: e.First, last: e.First - 1}
	found, err := scanSegment(r.dir, s, r.last)
	if errors.Is(err, fs.ErrNotExist) {
		r.doubt("segment file is missing", "file", s.name(), "first", e.First, "last", e.Last)
		return nil
	}
	if err != nil {
		return err
	}
	if newest && r.manifest != nil {
		r.compareNewest(found)
	} else {
		r.compareSealed(found, e)
	}
	for _, h := range found.holes {
		if newest && r.manifest != nil && h.atEnd && h.offset >= r.mark.offset {
			continue // a write that was cut short
		}
		r.doubt("events are damaged: checksum mismatch", "file", s.name(), "byte", h.offset, "bytes", h.size,
			"after", h.after, "before", h.before)
	}
	repaired, err := r.repair(found)
	if err != nil {
		return err
	}
	r.add(repaired, found)
	return nil
}

// compareSealed compares a segment that no longer grows.
func (r *recovery) compareSealed(found *scan, e entry) {
	s := found.segment
	if r.manifest == nil || len(found.holes) > 0 {
		return
	}
	if found.badHead || s.last != e.Last || s.events != e.Events || s.size != e.Size {
		r.doubt("segment file has changed", "file", s.name(), "had", e.Events, "has", s.events, "last", e.Last, "found", s.last)
	}
}

// compareNewest compares the segment that grew. A killed process may have written events of one write that are not in
// the mark, and a part of a frame.
func (r *recovery) compareNewest(found *scan) {
	end, last := segmentHead, uint64(0)
	for _, f := range found.frames {
		if f.group <= r.mark.group {
			end, last = f.offset+int64(f.size), f.last()
		}
	}
	switch {
	case found.badHead:
		r.doubt("segment header is damaged", "file", found.segment.name())
	case end < r.mark.offset:
		r.doubt("events are missing at the end of the stream", "had", r.mark.high, "has", max(last, r.last))
	case r.cut:
		r.compareCut(found)
	case end > r.mark.offset || found.segment.size > segmentHead && r.newestGroup(found) > r.mark.group+1:
		r.doubt("mark file is older than the events", "had", r.mark.high, "has", found.segment.last)
	}
}

func (r *recovery) newestGroup(found *scan) uint64 {
	if len(found.frames) == 0 {
		return 0
	}
	return found.frames[len(found.frames)-1].group
}

// compareCut compares a segment after the machine has stopped: the mark may be old, and any part of the last write may
// be missing. A hole before a later write is damage.
func (r *recovery) compareCut(found *scan) {
	for i, h := range found.holes {
		if h.atEnd || h.offset < r.mark.offset {
			continue
		}
		if r.newestGroup(found) > h.group+1 {
			return // take reports it
		}
		r.truncate(found, i)
		return
	}
}

// truncate ends the segment at the hole. What follows was never acknowledged.
func (r *recovery) truncate(found *scan, i int) {
	h := found.holes[i]
	h.size, h.before, h.atEnd = int64(len(found.data))-h.offset, 0, true
	found.holes = append(found.holes[:i], h)
	all := found.frames
	found.frames = nil
	*found.segment = segment{id: found.segment.id, first: found.segment.first, last: found.segment.first - 1, size: segmentHead}
	for _, f := range all {
		if f.offset < h.offset {
			found.frames = append(found.frames, f)
			found.segment.add(&f.frame, f.offset, f.size)
		}
	}
}

// repair returns a segment without holes. It writes a new file unless truncating the old one is enough.
func (r *recovery) repair(found *scan) (*segment, error) {
	s := found.segment
	atEnd := len(found.holes) == 0 || len(found.holes) == 1 && found.holes[0].atEnd
	if !found.badHead && atEnd {
		if len(found.holes) == 0 {
			return s, nil
		}
		return s, truncateFile(filepath.Join(r.dir, s.name()), s.size)
	}
	r.replaced = append(r.replaced, s.name())
	return rewrite(r.dir, max(s.first, r.last+1), found.frames, nil)
}

func truncateFile(path string, size int64) error {
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	return errors.Join(file.Truncate(size), file.Sync(), file.Close())
}

// rewrite writes the frames to a new segment. If keep is not nil, it writes only the events for which keep returns
// true, without keys.
func rewrite(dir string, first uint64, frames []found, keep func(topic string, sequence uint64) bool) (*segment, error) {
	s := &segment{id: randomID(), first: first, last: first - 1, size: segmentHead}
	data := s.head()
	add := func(f frame, records []server.Record) {
		f.count = len(records)
		offset := int64(len(data))
		data = appendFrame(data, s.seed(), &f, records)
		s.add(&f, offset, len(data)-int(offset))
	}
	for _, f := range frames {
		var records []server.Record
		err := f.each(func(sequence uint64, topic, block []byte) bool {
			r := server.Record{Topic: string(topic), Block: block}
			if keep == nil {
				records = append(records, r)
			} else if keep(r.Topic, sequence) {
				add(frame{group: f.group, first: sequence, at: f.at}, []server.Record{r})
			}
			return true
		})
		if err != nil {
			return nil, err
		}
		if len(records) > 0 {
			add(f.frame, records)
		}
	}
	path := filepath.Join(dir, s.name())
	if err := writeSynced(path, data); err != nil {
		os.Remove(path)
		return nil, err
	}
	return s, nil
}

// add makes the segment the newest one, and records the keys and topics of its events.
func (r *recovery) add(s *segment, found *scan) {
	r.segments = append(r.segments, s)
	for _, f := range found.frames {
		if f.keyed {
			r.store.keys.add(f.id, keyed{f.sum, f.first, f.at})
		}
		r.group = max(r.group, f.group)
		if r.store.topics != nil {
			f.each(func(sequence uint64, topic, _ []byte) bool {
				r.store.topics.add(string(topic), sequence)
				return true
			})
		}
	}
	r.last = max(r.last, s.last)
}

// takeKeys returns the key files that are intact and not expired.
func (r *recovery) takeKeys(files []keyFile) (intact []keyFile) {
	k := &r.store.keys
	for _, f := range files {
		if time.Since(time.Unix(0, f.Newest)) > k.age {
			r.orphans = append(r.orphans, f.name())
			continue
		}
		if err := k.read(r.dir, f); err != nil {
			r.logger.Error("idempotency keys are lost: a repeated publication may be stored twice", "dir", r.dir, "file", f.name(), "keys", f.Keys, "error", err)
			continue
		}
		intact = append(intact, f)
	}
	k.sort()
	k.expire(time.Now())
	return intact
}

// judge returns the manifest with which the stream continues.
func (r *recovery) judge(fresh bool) *manifest {
	m := &manifest{Epoch: newEpoch(), Synced: r.store.options.Sync < 0}
	old := cmp.Or(r.manifest, &manifest{})
	switch {
	case fresh:
	case len(r.doubts) > 0:
		r.logger.Error("starting a new epoch, because events may be missing: every client gets a gap event", "dir", r.dir,
			"epoch", m.Epoch, "before", old.Epoch, "had", r.high, "has", r.last)
	case r.cut && old.Synced:
		m.Earlier = continued(old, r.last)
		r.logger.Warn("starting a new epoch, because the machine stopped while the folder was open: old IDs remain valid", "dir", r.dir,
			"epoch", m.Epoch, "before", old.Epoch, "upto", r.last)
	case r.cut:
		r.logger.Error("starting a new epoch, because the machine stopped before the newest events were synced: every client gets a gap event",
			"dir", r.dir, "epoch", m.Epoch, "before", old.Epoch, "has", r.last)
	default:
		m.Epoch, m.Earlier = old.Epoch, old.Earlier
	}
	return m
}

// continued returns the earlier epochs whose ids remain valid up to the sequence last.
func continued(m *manifest, last uint64) map[string]uint64 {
	earlier := map[string]uint64{m.Epoch: last}
	newest := slices.SortedFunc(maps.Keys(m.Earlier), func(a, b string) int { return cmp.Compare(m.Earlier[b], m.Earlier[a]) })
	for _, epoch := range newest[:min(len(newest), maxEarlier-1)] {
		earlier[epoch] = min(m.Earlier[epoch], last)
	}
	return earlier
}

// settle saves the new state of the folder. It takes effect when the mark is written.
func (r *recovery) settle(m *manifest) (err error) {
	s := r.store
	s.epoch, s.earlier = m.Epoch, m.Earlier
	s.last, s.group = max(r.high, r.last), max(r.group, r.mark.group)
	s.first = s.last + 1
	var kept []*segment
	for _, segment := range r.segments {
		if segment.events > 0 {
			s.first = min(s.first, firstOf(segment))
		} else if segment != r.segments[len(r.segments)-1] || segment.first <= r.last {
			r.replaced = append(r.replaced, segment.name())
			continue
		}
		kept = append(kept, segment)
	}
	s.segments, s.keyFiles, s.synced = kept, m.Keys, m.Synced
	if s.file, err = s.openNewest(); err != nil {
		return err
	}
	if s.marker, err = openMarker(r.dir, r.mark); err != nil {
		return err
	}
	if err := s.folder.open(); err != nil {
		return err
	}
	if err := s.writeManifest(); err != nil {
		return err
	}
	r.clean()
	return nil
}

func firstOf(s *segment) uint64 {
	if len(s.index) > 0 {
		return s.index[0].sequence
	}
	return s.last + 1
}

// clean removes files that the stream no longer refers to. If something is wrong, it only renames unknown files,
// because they may contain what is missing.
func (r *recovery) clean() {
	for _, name := range r.replaced {
		os.Remove(filepath.Join(r.dir, name))
	}
	for _, name := range r.orphans {
		path := filepath.Join(r.dir, name)
		if len(r.doubts) == 0 || strings.HasSuffix(name, keySuffix) {
			os.Remove(path)
			continue
		}
		r.logger.Warn("renaming a file that does not belong to the stream", "file", path, "as", name+".unused")
		os.Rename(path, path+".unused")
	}
}
