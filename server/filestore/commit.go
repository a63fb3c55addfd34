package filestore

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"github.com/eventsource-wasm/eventsource-wasm/server"
	"github.com/eventsource-wasm/eventsource-wasm/sse"
)

// A request is a waiting Append.
type request struct {
	frame
	given []server.Record
	size  int      // of the frame
	same  *request // the request with the same key in the same write, if any
	err   error
	done  chan struct{}
}

// Limits of one write. A single Append may exceed maxWrite.
const (
	maxRequests = 4096
	maxWrite    = 8 << 20
)

// retryAfter is the Retry-After for publications beyond MaxKeys.
const retryAfter = 30 * time.Second

// Append implements [server.Store].
func (s *Store) Append(ctx context.Context, key server.IdempotencyKey, records ...server.Record) (first uint64, err error) {
	if len(records) == 0 {
		return 0, errors.New("filestore: Append needs at least one record")
	}
	r := &request{given: records, done: make(chan struct{})}
	size := 0
	for _, record := range records {
		size += len(record.Topic) + len(record.Block) + 20
	}
	if size > maxFrame-bodyBytes-len(r.id)-len(r.sum) {
		return 0, sse.ErrEventTooLarge
	}
	if key.ID != "" {
		r.keyed = true
		if r.id, r.sum, err = keyOf(key); err != nil {
			return 0, err
		}
	}
	if err := s.submit(r); err != nil {
		return 0, err
	}
	select {
	case <-r.done:
		return r.first, r.err
	case <-ctx.Done():
		return 0, fmt.Errorf("%w: %w", server.ErrStoreUnavailable, ctx.Err())
	}
}

func (s *Store) submit(r *request) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return errClosed
	}
	s.waiting = append(s.waiting, r)
	select {
	case s.wake <- struct{}{}:
	default:
	}
	return nil
}

// commitAll stores waiting requests together, until the store is closed and none are left.
func (s *Store) commitAll() {
	for {
		requests := s.take()
		if len(requests) > 0 {
			s.commit(requests)
			continue
		}
		select {
		case <-s.wake:
		case <-s.stop:
			if requests := s.take(); len(requests) > 0 {
				s.commit(requests)
				continue
			}
			return
		}
	}
}

func (s *Store) take() (requests []*request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n, size := 0, 0
	for n < min(len(s.waiting), maxRequests) && (n == 0 || size < maxWrite) {
		for _, r := range s.waiting[n].given {
			size += len(r.Topic) + len(r.Block)
		}
		n++
	}
	requests, s.waiting = s.waiting[:n:n], s.waiting[n:]
	return requests
}

// commit stores all requests in one write, or none, and returns their results.
func (s *Store) commit(requests []*request) {
	s.io.Lock()
	defer s.io.Unlock()
	fresh, err := s.store(requests)
	s.report(err)
	if err == nil {
		s.publish(fresh)
	}
	for _, r := range fresh {
		r.err = err
	}
	for _, r := range requests {
		switch {
		case r.same != nil && r.same.sum != r.sum:
			r.err = server.ErrKeyReused
		case r.same != nil:
			r.first, r.err = r.same.first, r.same.err
		}
		close(r.done)
	}
}

// store writes requests that are not stored yet. After an error, the state is unchanged.
func (s *Store) store(requests []*request) (fresh []*request, err error) {
	now := time.Now()
	s.keys.expire(now)
	fresh = s.unknown(requests)
	if len(fresh) == 0 {
		return nil, nil
	}
	if s.space.isShort() {
		return fresh, server.ErrStoreFull
	}
	newest := s.segments[len(s.segments)-1]
	if newest.size >= s.full || s.suspect {
		if err := s.roll(); err != nil {
			return fresh, err
		}
		newest = s.segments[len(s.segments)-1]
	}
	seed, next := newest.seed(), s.last+1
	s.buffer = s.buffer[:0]
	for _, r := range fresh {
		r.group, r.first, r.at, r.count = s.group+1, next, now.UnixNano(), len(r.given)
		before := len(s.buffer)
		s.buffer = appendFrame(s.buffer, seed, &r.frame, r.given)
		r.size = len(s.buffer) - before
		next += uint64(r.count)
	}
	return fresh, s.write(newest, next-1)
}

// unknown completes requests whose keys were used before, and returns the others.
func (s *Store) unknown(requests []*request) (fresh []*request) {
	var now map[keyID]*request
	for _, r := range requests {
		if !r.keyed {
			fresh = append(fresh, r)
			continue
		}
		before, known := s.keys.known[r.id]
		switch {
		case known && before.sum != r.sum:
			r.err = server.ErrKeyReused
		case known:
			r.first = before.first
		case now[r.id] != nil:
			r.same = now[r.id]
		case s.options.MaxKeys > 0 && len(s.keys.known)+len(now) >= s.options.MaxKeys:
			r.err = &server.HTTPError{Status: 503, Message: "too many idempotency keys: retry later, or publish without a key", RetryAfter: retryAfter}
		default:
			if now == nil {
				now = map[keyID]*request{}
			}
			now[r.id] = r
			fresh = append(fresh, r)
		}
	}
	return fresh
}

// write writes the buffer and then the mark. The next write overwrites a failed one.
func (s *Store) write(newest *segment, last uint64) error {
	size := newest.size + int64(len(s.buffer))
	_, err := s.file.WriteAt(s.buffer, newest.size)
	if err == nil && s.synced {
		if err = s.file.Sync(); err != nil {
			s.suspect = true
		}
	}
	if err == nil {
		m := s.marker.mark
		m.group, m.high, m.offset = s.group+1, last, size
		err = s.marker.write(m)
	}
	if err != nil {
		return errors.Join(refusal(err), s.file.Truncate(newest.size))
	}
	return nil
}

// refusal converts an error of the system to one of a server.Store.
func refusal(err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return fmt.Errorf("%w: %w", server.ErrStoreFull, err)
	}
	return fmt.Errorf("%w: %w", server.ErrStoreUnavailable, err)
}

// report logs when writing starts to fail, and when it works again.
func (s *Store) report(err error) {
	switch failing := err != nil && !errors.Is(err, errClosed); {
	case failing && !s.failing && err != server.ErrStoreFull:
		s.options.Logger.Error("cannot write events: publishing fails", "dir", s.options.Dir, "error", err)
		s.failing = true
	case !failing && s.failing:
		s.options.Logger.Info("can write events again", "dir", s.options.Dir)
		s.failing = false
	}
}

// roll starts a new segment.
func (s *Store) roll() error {
	if err := s.file.Sync(); err != nil && !s.suspect {
		return refusal(err)
	}
	next := &segment{id: randomID(), first: s.last + 1, last: s.last}
	file, err := createSegment(s.options.Dir, next)
	if err != nil {
		return refusal(err)
	}
	segments := append(s.segments[:len(s.segments):len(s.segments)], next)
	if err := s.putManifest(segments, s.keyFiles); err != nil {
		file.Close()
		os.Remove(file.Name())
		return refusal(err)
	}
	old := s.file
	s.mu.Lock()
	s.segments, s.file, s.suspect = segments, file, false
	s.mu.Unlock()
	old.Close()
	return nil
}

// publish makes written events part of the stream, and passes them to the followers.
func (s *Store) publish(fresh []*request) {
	if len(fresh) == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	newest := s.segments[len(s.segments)-1]
	var records []server.StoredRecord
	for _, r := range fresh {
		newest.add(&r.frame, newest.size, r.size)
		if r.keyed {
			s.keys.add(r.id, keyed{r.sum, r.first, r.at})
		}
		for i, record := range r.given {
			sequence := r.first + uint64(i)
			records = append(records, server.StoredRecord{Record: record, Sequence: sequence})
			if s.topics != nil {
				s.topics.add(record.Topic, sequence)
			}
		}
	}
	if s.first > s.last {
		s.first = records[0].Sequence
	}
	s.last, s.group, s.dirty = records[len(records)-1].Sequence, s.group+1, true
	s.trim(time.Unix(0, fresh[0].at))
	for f := range s.followers {
		f.add(records)
	}
}
