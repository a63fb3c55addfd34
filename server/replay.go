package server

import (
	"context"
	"fmt"
	"time"
	"unique"
)

// catchUp replays what the log does not keep, before the stream may leave its goroutine.
func (s *stream) catchUp() error {
	if s.cursor.next >= s.log.oldest() {
		return nil
	}
	ctx, leave := s.join()
	defer leave()
	return s.replay(ctx)
}

// replay delivers from the store what the log does not keep, and leaves the cursor in the log, where it goes on without
// a gap or a duplicate.
func (s *stream) replay(ctx context.Context) error {
	for {
		resumed, err := s.log.resume(&s.cursor)
		if resumed || err != nil {
			return err
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err := s.replaySome(ctx); err != nil {
			return err
		}
	}
}

// staleRead is how long a replay waits for a copy of the store that does not have yet what the log had.
const staleRead = 20 * time.Millisecond

func (s *stream) replaySome(ctx context.Context) error {
	until := s.log.oldest()
	records, err := s.broker.Store.Read(ctx, s.cursor.next)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err != nil {
		return err
	}
	if len(records) == 0 || records[0].Sequence > s.cursor.next {
		if told, err := s.tellExpired(ctx); told || err != nil {
			return err
		}
	}
	if len(records) == 0 {
		return pause(ctx, staleRead)
	}
	return s.deliverStored(records, until)
}

// tellExpired tells of a gap if the store has dropped what is next, rather than somebody deleted it.
func (s *stream) tellExpired(ctx context.Context) (told bool, err error) {
	state, err := s.broker.Store.State(ctx)
	if err != nil || state.First <= s.cursor.next {
		return false, err
	}
	next := min(state.First, s.log.oldest())
	g := newGap(state.Epoch, next, eventID(state.Epoch, s.cursor.next-1), gapExpired)
	s.cursor.next, s.told = next, next-1
	return true, s.sendGap(nil, g)
}

// deliverStored writes those of the records before until that the stream is for.
func (s *stream) deliverStored(records []StoredRecord, until uint64) error {
	var block []byte
	var count int64
	next := s.cursor.next
	for _, r := range records {
		if r.Sequence >= until {
			next = until
			break
		}
		if next = r.Sequence + 1; s.topics.has(unique.Make(r.Topic)) {
			block = appendStored(block, s.log.eventID(r.Sequence), r)
			s.told = r.Sequence
			count++
		}
	}
	s.cursor.next = next
	if count == 0 {
		return nil
	}
	s.broker.delivered.Add(count)
	s.broker.replayed.Add(count)
	if err := s.send(block); err != nil {
		return fmt.Errorf("replay: %w", err)
	}
	return nil
}
