package filestore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"slices"
	"sort"
	"time"

	"github.com/eventsource-wasm/eventsource-wasm/server"
)

// Limits of one read. A single event may exceed readBytes.
const (
	readEvents = 1000
	readBytes  = 64 << 10
)

// Read implements [server.Store]. It returns at most 64 KiB, or one larger event.
func (s *Store) Read(ctx context.Context, from uint64) ([]server.StoredRecord, error) {
	select {
	case s.reads <- struct{}{}:
		defer func() { <-s.reads }()
	case <-ctx.Done():
		return nil, fmt.Errorf("%w: %w", server.ErrStoreUnavailable, ctx.Err())
	}
	records, _, err := s.read(ctx, from)
	return records, err
}

// read returns records, and the sequence up to which there are no others.
func (s *Store) read(ctx context.Context, from uint64) (records []server.StoredRecord, upTo uint64, err error) {
	for ctx.Err() == nil {
		p, ok := s.place(from)
		if !ok {
			return nil, p.last, p.err
		}
		c := collector{store: s, from: p.from, upTo: p.from - 1}
		err := readFrames(s.options.Dir, p.segment, p.offset, p.end, c.take)
		var at *damage
		switch {
		case errors.As(err, &at) || errors.Is(err, fs.ErrNotExist):
			if len(c.records) == 0 {
				s.skip(p, err)
				continue
			}
		case err != nil:
			return nil, 0, fmt.Errorf("%w: %w", server.ErrStoreUnavailable, err)
		}
		if len(c.records) > 0 {
			return c.records, c.upTo, nil
		}
		from = p.last + 1 // its other events are superseded
	}
	return nil, 0, fmt.Errorf("%w: %w", server.ErrStoreUnavailable, ctx.Err())
}

// A place says where to read.
type place struct {
	segment     *segment
	from        uint64
	offset, end int64
	last        uint64 // sequence of the segment's last event, or without a segment of the stream's
	err         error
}

// place returns the place of the event, or of the first later one that is kept. It reports false if there is none.
func (s *Store) place(from uint64) (p place, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return place{err: errClosed}, false
	}
	from = max(from, s.first)
	i := sort.Search(len(s.segments), func(i int) bool { return s.segments[i].last >= from })
	if from > s.last || i == len(s.segments) {
		return place{last: s.last}, false
	}
	segment := s.segments[i]
	return place{segment: segment, from: from, offset: segment.seek(from), end: segment.size, last: segment.last}, true
}

// A collector collects records up to the limits of a read.
type collector struct {
	store   *Store
	from    uint64
	records []server.StoredRecord
	bytes   int
	upTo    uint64
}

func (c *collector) take(f *frame) bool {
	if f.last() < c.from {
		return true
	}
	c.store.mu.Lock()
	defer c.store.mu.Unlock()
	f.each(func(sequence uint64, topic, block []byte) bool {
		if sequence < c.from {
			return true
		}
		if c.full(len(block)) {
			return false
		}
		c.upTo = sequence
		if c.store.topics == nil || c.store.topics.keeps(string(topic), sequence) {
			c.bytes += len(topic) + len(block)
			c.records = append(c.records, server.StoredRecord{
				Record:   server.Record{Topic: string(topic), Block: slices.Clone(block)},
				Sequence: sequence,
			})
		}
		return true
	})
	return c.upTo == f.last() && !c.full(0)
}

func (c *collector) full(more int) bool {
	return len(c.records) >= readEvents || len(c.records) > 0 && c.bytes+more > readBytes
}

// skip skips damaged events. They count as no longer kept, so clients that need them get a gap event.
func (s *Store) skip(p place, cause error) {
	next := point{p.last + 1, p.end, math.MaxInt64}
	data, err := os.ReadFile(s.path(p.segment))
	if err == nil {
		seed := p.segment.seed()
		start := p.offset
		if at, ok := errors.AsType[*damage](cause); ok {
			start = at.offset
		}
		data = data[:min(p.end, int64(len(data)))]
		if offset := resync(data, start+1, seed); offset < int64(len(data)) {
			f, _, _ := parseFrame(data[offset:], seed)
			next = point{f.first, offset, f.at}
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !slices.Contains(s.segments, p.segment) {
		return // it was removed or rewritten meanwhile
	}
	s.options.Logger.Error("events are damaged: clients that need them get a gap event", "dir", s.options.Dir, "file", p.segment.name(),
		"from", max(s.first, p.from), "before", next.sequence, "error", cause)
	s.first = min(max(s.first, next.sequence), s.last+1)
	i := sort.Search(len(p.segment.index), func(i int) bool { return p.segment.index[i].offset >= next.offset })
	if next.at != math.MaxInt64 && (i == len(p.segment.index) || p.segment.index[i].offset != next.offset) {
		p.segment.index = slices.Insert(p.segment.index, i, next)
	}
}

// A follower has the events that Follow must report.
type follower struct {
	wake    chan struct{}
	records []server.StoredRecord
	bytes   int
	missed  bool // some are not in records, and have to be read
}

// maxQueued limits the events that wait for a follower, in bytes.
const maxQueued = 16 << 20

// add adds records. The caller must hold the lock of the store.
func (f *follower) add(records []server.StoredRecord) {
	for _, r := range records {
		f.bytes += len(r.Topic) + len(r.Block)
	}
	if f.missed || f.bytes > maxQueued {
		f.missed, f.records, f.bytes = true, nil, 0
	} else {
		f.records = append(f.records, records...)
	}
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// Follow implements [server.Store].
func (s *Store) Follow(ctx context.Context, report func(server.StoreUpdate)) error {
	f := &follower{wake: make(chan struct{}, 1)}
	s.mu.Lock()
	s.followers[f] = true
	state := s.state()
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		delete(s.followers, f)
		s.mu.Unlock()
	}()
	report(server.StoreUpdate{StoreState: state})
	for {
		select {
		case <-f.wake:
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-s.stop:
			return errClosed
		}
		s.mu.Lock()
		records, missed := f.records, f.missed
		f.records, f.bytes, f.missed = nil, 0, false
		s.mu.Unlock()
		switch {
		case missed:
			s.reportMissed(ctx, f, &state, report)
		case len(records) > 0 && records[len(records)-1].Sequence > state.Last:
			records = slices.DeleteFunc(records, func(r server.StoredRecord) bool { return r.Sequence <= state.Last })
			state.Last = records[len(records)-1].Sequence
			report(server.StoreUpdate{StoreState: state, Records: records})
		}
	}
}

// rereadWait is the time before a failed read is repeated.
const rereadWait = time.Second

// reportMissed reads and reports events that were not queued. Some of them may be queued by then.
func (s *Store) reportMissed(ctx context.Context, f *follower, state *server.StoreState, report func(server.StoreUpdate)) {
	now, err := s.State(ctx)
	for err == nil && state.Last < now.Last {
		records, upTo, readErr := s.read(ctx, state.Last+1)
		if err = readErr; err != nil {
			break
		}
		state.Last = max(upTo, state.Last)
		report(server.StoreUpdate{StoreState: *state, Records: records})
	}
	if err == nil || ctx.Err() != nil {
		return
	}
	report(server.StoreUpdate{StoreState: *state, Err: err})
	s.mu.Lock()
	f.missed = true
	s.mu.Unlock()
	select {
	case <-time.After(rereadWait):
		s.mu.Lock()
		f.add(nil)
		s.mu.Unlock()
	case <-ctx.Done():
	case <-s.stop:
	}
}
