package jetstream

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go"

	"github.com/eventsource-wasm/eventsource-wasm/server"
)

// Limits of one read: for one of possibly many clients, and for the follower.
const (
	readEvents   = 1000
	readBytes    = 64 << 10
	followEvents = 10_000
	followBytes  = 4 << 20
)

// Read implements [server.Store]. It returns at most 64 KiB, or one larger event.
func (s *Store) Read(ctx context.Context, from uint64) ([]server.StoredRecord, error) {
	leave, err := s.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	for {
		records, last, err := s.read(ctx, from, readEvents, readBytes)
		if len(records) > 0 || last == 0 || err != nil {
			return records, err
		}
		from = last + 1 // all were from other programs
	}
}

// A getRequest is the JSON of a direct get.
type getRequest struct {
	Sequence uint64 `json:"seq"`
	Batch    int    `json:"batch,omitempty"`
	MaxBytes int    `json:"max_bytes,omitempty"`
}

var errIncomplete = errors.New("incomplete response")

// read asks any server that has the stream. That server has everything before the messages that it returns, so anything
// missing in between was deleted. It may not have the newest messages yet. last is the sequence of the last message
// returned, including those that are not events, or zero.
func (s *Store) read(ctx context.Context, from uint64, events, maxBytes int) (records []server.StoredRecord, last uint64, err error) {
	records, newest, err := s.readTo(ctx, from, events, maxBytes)
	return records, newest.sequence, err
}

// readTo is like read, and returns the last message as a witness.
func (s *Store) readTo(ctx context.Context, from uint64, events, maxBytes int) (records []server.StoredRecord, last witness, err error) {
	ctx, cancel := context.WithTimeout(ctx, s.options.Timeout)
	defer cancel()
	answers, err := s.ask(getRequest{max(from, 1), events, maxBytes})
	if err != nil {
		return nil, witness{}, unavailable(err)
	}
	defer answers.Unsubscribe()
	for {
		m, err := answers.NextMsgWithContext(ctx)
		if err != nil {
			return nil, witness{}, unavailable(err)
		}
		switch status := m.Header.Get("Status"); {
		case status == "404":
			return nil, witness{}, nil
		case status == "" || status == "204":
			if before := sequence(m, "Nats-Last-Sequence"); before != last.sequence {
				return nil, witness{}, unavailable(errIncomplete)
			}
			if status == "204" {
				return records, last, nil
			}
		default:
			return nil, witness{}, unavailable(fmt.Errorf("status %s %s", status, m.Header.Get("Description")))
		}
		r, ok := s.record(m)
		if last = (witness{r.Sequence, m.Header.Get(timeHeader)}); ok {
			records = append(records, r)
		}
	}
}

func (s *Store) ask(r getRequest) (*nats.Subscription, error) {
	request, err := json.Marshal(r)
	if err != nil {
		return nil, err
	}
	inbox := s.conn.NewInbox()
	answers, err := s.conn.SubscribeSync(inbox)
	if err != nil {
		return nil, err
	}
	answers.SetPendingLimits(-1, -1) // the request limits the answers
	if err := s.conn.PublishRequest("$JS.API.DIRECT.GET."+s.options.Name, inbox, request); err != nil {
		answers.Unsubscribe()
		return nil, err
	}
	return answers, nil
}

// get returns the message with the sequence, or nil if there is none.
func (s *Store) get(ctx context.Context, sequence uint64) (*nats.Msg, error) {
	request, err := json.Marshal(getRequest{Sequence: sequence})
	if err != nil {
		return nil, err
	}
	m, err := s.conn.RequestWithContext(ctx, "$JS.API.DIRECT.GET."+s.options.Name, request)
	if err != nil {
		return nil, unavailable(err)
	}
	if m.Header.Get("Status") == "404" {
		return nil, nil
	}
	return m, nil
}

// record returns the event in a message. It returns false for a message from another program.
func (s *Store) record(m *nats.Msg) (r server.StoredRecord, ok bool) {
	r.Sequence = sequence(m, "Nats-Sequence")
	subject, found := strings.CutPrefix(m.Header.Get("Nats-Subject"), s.subject(stored))
	r.Topic, ok = decodeTopic(subject)
	r.Block = m.Data
	return r, ok && found && isBlock(m.Data)
}

func sequence(m *nats.Msg, header string) uint64 {
	n, _ := strconv.ParseUint(m.Header.Get(header), 10, 64) // zero if missing
	return n
}

// isBlock reports whether data is one event, without an id.
func isBlock(data []byte) bool {
	body, ended := bytes.CutSuffix(data, []byte("\n\n"))
	if !ended || bytes.IndexByte(body, '\r') >= 0 {
		return false
	}
	for line := range bytes.SplitSeq(body, []byte("\n")) {
		switch name, _, _ := bytes.Cut(line, []byte(": ")); string(name) {
		case "data", "event", "retry":
		default:
			return false
		}
	}
	return true
}
