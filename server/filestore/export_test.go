package filestore

// Abandon ends the store like the end of its process: nothing is closed properly.
func (s *Store) Abandon() {
	if s.shut() {
		s.io.Lock()
		defer s.io.Unlock()
		s.release()
	}
}

// FrameEnds returns the offsets at which a segment's frames end, and the number of events before each.
func FrameEnds(dir, name string) (ends map[int64]int64, err error) {
	segment := parseSegmentName(name)
	if segment == nil {
		return nil, errDamage
	}
	found, err := scanSegment(dir, segment, 0)
	if err != nil {
		return nil, err
	}
	ends = map[int64]int64{segmentHead: 0}
	var events int64
	for _, f := range found.frames {
		events += int64(f.count)
		ends[f.offset+int64(f.size)] = events
	}
	return ends, nil
}

// Maintain runs the periodic maintenance.
func (s *Store) Maintain() {
	s.sync()
	s.drop()
}

// MaxQueued is the maximum number of bytes that wait for a follower.
const MaxQueued = maxQueued
