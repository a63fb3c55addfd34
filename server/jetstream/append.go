package jetstream

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/eventsource-wasm/eventsource-wasm/server"
	"github.com/eventsource-wasm/eventsource-wasm/sse"
)

// sumHeader is the header with the sum of a key.
const sumHeader = "Eventsource-Sum"

// maxBatch is the maximum number of messages that NATS stores at once.
const maxBatch = 1000

// Error codes of the JetStream API.
const (
	codeTooLarge    = 10054
	codeInProcess   = 10158 // the same key is being stored
	codeDuplicate   = 10201 // a key of the batch was stored before
	codeIncomplete  = 10176 // the server lacks parts of the batch
	codeManyBatches = 10210
)

// retryWait is the time between attempts that certainly stored nothing.
const retryWait = 20 * time.Millisecond

// Append implements [server.Store].
func (s *Store) Append(ctx context.Context, key server.IdempotencyKey, records ...server.Record) (first uint64, err error) {
	ctx, cancel := context.WithTimeout(ctx, s.options.Timeout)
	defer cancel()
	messages := make([]*nats.Msg, len(records))
	for i, r := range records {
		messages[i] = &nats.Msg{Subject: s.subject(stored) + encodeTopic(r.Topic), Data: r.Block}
		if limit := int(s.conn.MaxPayload()); limit > 0 && len(r.Block)+maxHeader > limit { // zero before the first connection
			return 0, sse.ErrEventTooLarge
		}
	}
	if err := s.trust.await(ctx); err != nil {
		return 0, err
	}
	switch {
	case len(messages) > maxBatch:
		return 0, &server.HTTPError{Status: 413, Message: fmt.Sprintf("batch has more than %d events", maxBatch)}
	case key.ID != "":
		return s.appendOnce(ctx, key, messages)
	}
	return s.append(ctx, messages)
}

// maxHeader is the maximum size of the headers and subject of a message.
const maxHeader = 2048

// append stores the messages at once.
func (s *Store) append(ctx context.Context, messages []*nats.Msg) (first uint64, err error) {
	for {
		high := s.high.Load()
		ack, err := s.send(ctx, messages)
		switch {
		case err == nil && !ack.Duplicate && ack.Sequence <= high:
			return 0, s.goneBack(ack.Sequence, high)
		case err == nil:
			if !ack.Duplicate {
				s.raise(ack.Sequence)
			}
			return ack.Sequence - uint64(len(messages)-1), nil
		case !storedNothing(err):
			return 0, failure(err)
		}
		if pause(ctx, retryWait) != nil {
			return 0, failure(err)
		}
	}
}

// goneBack handles a sequence that the stream had already assigned, so it has lost events. It alerts the follower, which
// investigates.
func (s *Store) goneBack(sequence, high uint64) error {
	s.options.Logger.Error("stream assigned an old sequence again: it lost events", "name", s.options.Name, "had", high, "gave", sequence)
	select {
	case s.alarm <- struct{}{}:
	default:
	}
	return fmt.Errorf("%w: stream went back from sequence %d to %d", server.ErrStoreUnavailable, high, sequence)
}

// storedNothing reports whether the error is temporary and certainly nothing was stored: the stream has no leader, or
// the servers are overloaded.
func storedNothing(err error) bool {
	refused, ok := errors.AsType[*apiError](err)
	return errors.Is(err, nats.ErrNoResponders) ||
		ok && (refused.ErrCode == codeIncomplete || refused.ErrCode == codeManyBatches || refused.ErrCode == codeInProcess)
}

func failure(err error) error {
	if refused, ok := errors.AsType[*apiError](err); ok && refused.ErrCode == codeTooLarge {
		return sse.ErrEventTooLarge
	}
	return unavailable(err)
}

// send sends the messages, several as a batch, and returns the response to the last one.
func (s *Store) send(ctx context.Context, messages []*nats.Msg) (pubAck, error) {
	if len(messages) == 1 {
		return s.request(ctx, messages[0])
	}
	id, last := rand.Text(), len(messages)-1
	for i, m := range messages {
		part := &nats.Msg{Subject: m.Subject, Data: m.Data, Header: nats.Header{}}
		maps.Copy(part.Header, m.Header)
		part.Header["Nats-Batch-Id"] = []string{id}
		part.Header["Nats-Batch-Sequence"] = []string{strconv.Itoa(i + 1)}
		if i == last {
			part.Header["Nats-Batch-Commit"] = []string{"1"}
			return s.request(ctx, part)
		}
		if err := s.conn.PublishMsg(part); err != nil {
			return pubAck{}, err
		}
	}
	return pubAck{}, errors.New("nothing to send")
}

func (s *Store) request(ctx context.Context, m *nats.Msg) (pubAck, error) {
	answer, err := s.conn.RequestMsgWithContext(ctx, m)
	if err != nil {
		return pubAck{}, err
	}
	return parseAck(answer.Data)
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// appendOnce is append with a key, which is a header of the first message.
func (s *Store) appendOnce(ctx context.Context, key server.IdempotencyKey, messages []*nats.Msg) (first uint64, err error) {
	sum := hex.EncodeToString(key.Sum[:])
	messages[0].Header = nats.Header{nats.MsgIdHdr: {key.ID}, sumHeader: {sum}}
	first, err = s.append(ctx, messages)
	if refused, ok := errors.AsType[*apiError](err); ok && refused.ErrCode == codeDuplicate {
		first, err = s.find(ctx, key.ID)
	}
	if err != nil {
		return 0, err
	}
	return first, s.checkSum(ctx, first, sum)
}

// find returns the sequence of the message with the key. It publishes another message with that key that the stream
// cannot store, because it requests an unsupported rollup. NATS compares keys before it notices that.
func (s *Store) find(ctx context.Context, key string) (uint64, error) {
	return s.append(ctx, []*nats.Msg{{
		Subject: s.subject(stored) + "probe",
		Header:  nats.Header{nats.MsgIdHdr: {key}, nats.MsgRollup: {"never"}},
	}})
}

// checkSum returns an error if the message with the key has another sum. It returns nil if the message is no longer
// kept.
func (s *Store) checkSum(ctx context.Context, sequence uint64, sum string) error {
	message, err := s.get(ctx, sequence)
	if err != nil || message == nil {
		return err
	}
	if had := message.Header.Get(sumHeader); had != sum {
		return server.ErrKeyReused
	}
	return nil
}
