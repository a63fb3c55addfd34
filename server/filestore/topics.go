package filestore

// topics records the newest events of each topic, for MaxEventsPerTopic.
type topics struct {
	limit  int
	newest map[string]*ring
}

// A ring has the sequences of up to limit events.
type ring struct {
	sequences []uint64
	oldest    int // index, once it is full
}

func newTopics(limit int64) *topics {
	if limit <= 0 {
		return nil
	}
	return &topics{int(limit), map[string]*ring{}}
}

// add records a new event, and returns the sequence of the event that it supersedes, or zero.
func (t *topics) add(topic string, sequence uint64) (superseded uint64) {
	r := t.newest[topic]
	if r == nil {
		r = &ring{}
		t.newest[topic] = r
	}
	if len(r.sequences) < t.limit {
		r.sequences = append(r.sequences, sequence)
		return 0
	}
	superseded = r.sequences[r.oldest]
	r.sequences[r.oldest] = sequence
	r.oldest = (r.oldest + 1) % t.limit
	return superseded
}

// keeps reports whether the event is one of the newest of its topic. Without a limit, all are.
func (t *topics) keeps(topic string, sequence uint64) bool {
	if t == nil {
		return true
	}
	r := t.newest[topic]
	return r == nil || len(r.sequences) < t.limit || sequence >= r.sequences[r.oldest]
}

// forget removes topics without kept events.
func (t *topics) forget(first uint64) {
	if t == nil {
		return
	}
	for topic, r := range t.newest {
		if newest := (r.oldest + len(r.sequences) - 1) % len(r.sequences); r.sequences[newest] < first {
			delete(t.newest, topic)
		}
	}
}
