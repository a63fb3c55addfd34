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

// sumHeader has the sum of what was published under a key.
const sumHeader = "Eventsource-Sum"

// maxBatch is the most that a server of NATS stores at once.
const maxBatch = 1000

// Codes of errors of the API.
const (
	codeTooLarge    = 10054
	codeInProcess   = 10158 // the same key, stored right now
	codeDuplicate   = 10201 // a key in a batch, stored before
	codeIncomplete  = 10176 // parts of a batch that a server has not got
	codeManyBatches = 10210
)

// retryWait is the time between attempts that are certain to have stored nothing.
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

// maxHeader is what the headers of a message take at most, subject included.
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

// goneBack is the error if the stream has given a sequence that it had given before: it has lost what it had. Whoever
// follows it finds that out.
func (s *Store) goneBack(sequence, high uint64) error {
	s.options.Logger.Error("stream assigned an old sequence again: it lost events", "name", s.options.Name, "had", high, "gave", sequence)
	select {
	case s.alarm <- struct{}{}:
	default:
	}
	return fmt.Errorf("%w: stream went back from sequence %d to %d", server.ErrStoreUnavailable, high, sequence)
}

// storedNothing reports whether the error is one that ends by itself, and before which nothing was stored: the stream has
// no leader, for a moment or longer, or the servers have too much to do at once.
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

// send sends the messages, several as a batch, and returns what the stream answers to the last one.
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

// appendOnce is append under a key, which the first message has.
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

// find returns the sequence of the message that has the key. It publishes another with it, which cannot be stored
// because it asks for what the stream does not do: but keys are compared before that is noticed.
func (s *Store) find(ctx context.Context, key string) (uint64, error) {
	return s.append(ctx, []*nats.Msg{{
		Subject: s.subject(stored) + "probe",
		Header:  nats.Header{nats.MsgIdHdr: {key}, nats.MsgRollup: {"never"}},
	}})
}

// checkSum reports whether what has the key is what was asked for. It cannot know if that is no longer kept.
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
