package filestore

import (
	"os"
	"path/filepath"
	"slices"
	"time"
)

// trim advances first according to all limits. The newest event always stays.
func (s *Store) trim(now time.Time) {
	if n := s.options.MaxEvents; n > 0 && s.last > uint64(n) {
		s.first = max(s.first, s.last+1-uint64(n))
	}
	if limit := s.options.MaxBytes; limit > 0 {
		s.trimBytes(limit)
	}
	s.expire(now)
}

func (s *Store) trimBytes(limit int64) {
	var total int64
	for _, segment := range s.segments {
		total += segment.size
	}
	for _, segment := range s.segments {
		if total <= limit {
			return
		}
		if segment != s.segments[len(s.segments)-1] && total-segment.size >= limit {
			total -= segment.size
			s.first = max(s.first, segment.last+1)
			continue
		}
		for _, p := range segment.index {
			s.first = max(s.first, p.sequence)
			if total-p.offset <= limit {
				return
			}
		}
		total -= segment.size
	}
}

// expire advances first according to MaxAge.
func (s *Store) expire(now time.Time) {
	if s.options.MaxAge <= 0 {
		return
	}
	oldest := now.Add(-s.options.MaxAge).UnixNano()
	for _, segment := range s.segments {
		if segment.last < s.first || segment.events == 0 {
			continue
		}
		if segment.newest < oldest {
			s.first = segment.last + 1
			continue
		}
		for _, p := range segment.index[1:] {
			if p.at >= oldest {
				break
			}
			s.first = max(s.first, p.sequence)
		}
		break
	}
	if !slices.ContainsFunc(s.segments, func(segment *segment) bool { return segment.events > 0 && segment.last >= s.first }) {
		s.first = s.last + 1
	}
}

// drop removes segments without kept events, and rewrites one with few.
func (s *Store) drop() {
	s.io.Lock()
	defer s.io.Unlock()
	s.keys.expire(time.Now())
	s.mu.Lock()
	s.trim(time.Now())
	var kept, gone []*segment
	for i, segment := range s.segments {
		if segment.last < s.first && i < len(s.segments)-1 {
			gone = append(gone, segment)
		} else {
			kept = append(kept, segment)
		}
	}
	s.topics.forget(s.first)
	first := s.first
	s.mu.Unlock()
	kept, rewritten, err := s.compact(kept, first)
	gone = append(gone, rewritten...)
	keyFiles := slices.DeleteFunc(slices.Clone(s.keyFiles), s.isStale)
	if err == nil && (len(gone) > 0 || len(keyFiles) < len(s.keyFiles)) {
		err = s.replace(kept, gone, keyFiles)
	}
	if err != nil {
		s.options.Logger.Error("cannot remove old events", "dir", s.options.Dir, "error", err)
	}
}

func (s *Store) isStale(f keyFile) bool { return time.Since(time.Unix(0, f.Newest)) > s.keys.age }

// replace makes kept the segments of the store, and removes the others after saving their keys.
func (s *Store) replace(kept, gone []*segment, keyFiles []keyFile) error {
	var ids []keyID
	for _, segment := range gone {
		ids = append(ids, segment.keys...)
	}
	f, err := s.keys.write(s.options.Dir, ids)
	if err != nil {
		return err
	}
	if f.Keys > 0 {
		keyFiles = append(keyFiles, f)
	}
	if err := s.putManifest(kept, keyFiles); err != nil {
		return err
	}
	for _, f := range s.keyFiles {
		if s.isStale(f) {
			os.Remove(filepath.Join(s.options.Dir, f.name()))
		}
	}
	s.keyFiles = keyFiles
	s.mu.Lock()
	s.segments = kept
	s.mu.Unlock()
	for _, segment := range gone {
		os.Remove(s.path(segment))
	}
	return nil
}

// compact rewrites one of the segments if most of its events are superseded by newer ones of their topics. It returns
// the new list of segments, and the old segment.
func (s *Store) compact(segments []*segment, first uint64) (kept, old []*segment, err error) {
	if s.topics == nil {
		return segments, nil, nil
	}
	keeps := func(topic string, sequence uint64) bool { return sequence >= first && s.topics.keeps(topic, sequence) }
	for i, candidate := range segments[:len(segments)-1] {
		if candidate.checked > s.last-s.last/8 {
			continue // little can have changed
		}
		candidate.checked = s.last
		found, err := scanSegment(s.options.Dir, copyOf(candidate), 0)
		if err != nil || len(found.holes) > 0 {
			continue // reading reports it
		}
		live := found.count(keeps)
		switch {
		case live == 0:
			return slices.Concat(segments[:i], segments[i+1:]), segments[i : i+1], nil
		case 2*live > candidate.events:
			continue
		}
		next, err := rewrite(s.options.Dir, candidate.first, found.frames, keeps)
		if err != nil {
			return segments, nil, err
		}
		return slices.Concat(segments[:i], []*segment{next}, segments[i+1:]), segments[i : i+1], nil
	}
	return segments, nil, nil
}
