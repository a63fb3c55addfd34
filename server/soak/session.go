package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/eventsource-wasm/eventsource-wasm/sse"
)

// A session checks what one client receives: every event of each topic in its filter, once and in order, from the requested
// position on, or a correct gap event.
type session struct {
	ledger *ledger
	filter *filter
	asked  string // the Last-Event-ID sent
	header string // Event-Gap; the first event must be that gap

	parser sse.Parser
	placed bool        // base is known
	base   uint64      // the session begins after this event
	at     uint64      // everything up to here was received
	next   map[int]int // number of the next event, for topics received since base
	unsure []receipt   // events that arrived before their publisher had recorded them
	on     func(publication)

	events, gaps int64
	trace        []string // the newest blocks, for the message of a fault
}

func (s *session) note(format string, args ...any) {
	if len(s.trace) == 12 {
		s.trace = append(s.trace[:0], s.trace[1:]...)
	}
	s.trace = append(s.trace, fmt.Sprintf(format, args...))
}

type receipt struct {
	topic, n int
	sequence uint64
}

// begin sets the beginning of the session to an id that the log has assigned.
func (s *session) begin(sequence uint64) {
	s.placed, s.base, s.at, s.next = true, sequence, sequence, map[int]int{}
}

// again returns the next session of a client that reconnects. It does not use the ledger, because the client may have
// received events that are not recorded yet.
func (s *session) again() *session {
	next := &session{ledger: s.ledger, filter: s.filter, asked: s.id(), unsure: s.unsure}
	next.parser.SetLastEventID(next.asked)
	next.placed, next.base, next.at, next.next = s.placed, s.base, s.at, s.next
	return next
}

// id returns the id that a resuming client sends.
func (s *session) id() string { return string(s.parser.LastEventID()) }

// feed parses bytes of the stream. Its errors are faults of the server.
func (s *session) feed(chunk []byte) error {
	for !s.placed && s.asked == "" { // the parser does not report a block with only an id
		end := bytes.IndexByte(chunk, '\n') + 1
		if end == 0 {
			break
		}
		if err := s.take(chunk[:end]); err != nil {
			return err
		}
		chunk = chunk[end:]
	}
	return s.take(chunk)
}

func (s *session) take(chunk []byte) error {
	s.parser.Feed(chunk)
	for s.parser.Next() {
		if err := s.receive(); err != nil {
			return err
		}
	}
	if err := s.parser.Err(); err != nil {
		return err
	}
	if id := s.id(); id != "" && id != s.asked {
		return s.reach(id)
	}
	return nil
}

func (s *session) receive() error {
	_, sequence, err := parseID(s.id())
	if err != nil {
		return err
	}
	switch kind := string(s.parser.Type()); kind {
	case "gap":
		return s.gap(sequence)
	case "":
		return s.event(sequence)
	default:
		return fmt.Errorf("event of unknown type %q", kind)
	}
}

func (s *session) event(sequence uint64) error {
	p, err := s.ledger.read(s.parser.Data())
	switch {
	case err != nil:
		return fmt.Errorf("event %d: %w", sequence, err)
	case !s.placed && s.asked == "": // no id was received before this one
		return fmt.Errorf("event %d arrived before an id to resume from", sequence)
	case !s.placed:
		return fmt.Errorf("event %d follows %q without a gap", sequence, s.asked)
	case s.header != "":
		return fmt.Errorf("event %d arrived before the gap event that the header announces: %s", sequence, s.header)
	case sequence <= s.at:
		return fmt.Errorf("event %d follows %d", sequence, s.at)
	case !s.filter.has[p.topic]:
		return fmt.Errorf("event %d is of topic %q, the client asked for %q", sequence, s.ledger.names[p.topic], s.filter.patterns)
	case p.n != s.nextOf(p.topic):
		due, _ := s.ledger.sequence(p.topic, s.nextOf(p.topic))
		return fmt.Errorf("event %d is number %d of topic %q, want number %d after sequence %d, which is event %d", sequence, p.n, s.ledger.names[p.topic], s.nextOf(p.topic), s.base, due)
	}
	s.next[p.topic], s.at = p.n+1, sequence
	s.events++
	s.note("event %d", sequence)
	if s.on != nil {
		s.on(p)
	}
	s.unsure = append(s.unsure, receipt{p.topic, p.n, sequence})
	return s.settle()
}

func (s *session) nextOf(topic int) int {
	if n, known := s.next[topic]; known {
		return n
	}
	return s.ledger.after(topic, s.base)
}

// settle compares the received sequences with the recorded ones.
func (s *session) settle() error {
	kept := s.unsure[:0]
	for _, r := range s.unsure {
		switch sequence, known := s.ledger.sequence(r.topic, r.n); {
		case !known:
			kept = append(kept, r)
		case sequence != r.sequence:
			return fmt.Errorf("number %d of topic %q arrived with sequence %d, but was published as %d", r.n, s.ledger.names[r.topic], r.sequence, sequence)
		}
	}
	s.unsure = kept
	return nil
}

// reach handles an id without an event, which moves the client to that position.
func (s *session) reach(id string) error {
	epoch, sequence, err := parseID(id)
	if err != nil {
		return err
	}
	if known, _ := s.ledger.newest(); known != "" && epoch != known {
		return fmt.Errorf("id %q has an unknown epoch", id)
	}
	if !s.placed {
		s.begin(sequence)
		return nil
	}
	return s.complete(sequence)
}

// complete checks that nothing is missing up to the sequence, and moves the session there.
func (s *session) complete(sequence uint64) error {
	if sequence < s.at {
		return fmt.Errorf("id goes back from %d to %d", s.at, sequence)
	}
	if sequence == s.at {
		return nil
	}
	s.note("id %d", sequence)
	for _, topic := range s.filter.topics {
		due, known := s.ledger.sequence(topic, s.nextOf(topic))
		if known && s.base < due && due <= sequence { // an event up to base was recorded in between
			return fmt.Errorf("event %d of topic %q is missing: the server moved the client to %d", due, s.ledger.names[topic], sequence)
		}
	}
	s.at = sequence
	return nil
}

// gap compares a gap event with what the client has received, and continues after it.
func (s *session) gap(sequence uint64) error {
	var g struct{ Requested, First, Reason string }
	if err := json.Unmarshal(s.parser.Data(), &g); err != nil {
		return fmt.Errorf("invalid gap event %q: %w", s.parser.Data(), err)
	}
	_, first, err := parseID(g.First)
	if err != nil || first != sequence+1 {
		return fmt.Errorf("gap event with sequence %d does not match its data %q", sequence, s.parser.Data())
	}
	if s.header != "" && g.Reason != s.header {
		return fmt.Errorf("Event-Gap is %q, but the gap event has reason %q", s.header, g.Reason)
	}
	if err := s.believe(g.Requested, g.Reason, first); err != nil {
		return fmt.Errorf("wrong gap event %q: %w", s.parser.Data(), err)
	}
	s.note("gap %s %s to %s", g.Reason, g.Requested, g.First)
	s.header = ""
	s.gaps++
	s.begin(sequence)
	return nil
}

func (s *session) believe(requested, reason string, first uint64) error {
	if !s.placed { // the requested id is not of this log
		want, err := s.wrong()
		switch {
		case err != nil:
			return err
		case requested != s.asked || reason != want:
			return fmt.Errorf("wrong reason: the client asked for %q, which is %s", s.asked, want)
		}
		return nil
	}
	_, from, err := parseID(requested)
	switch {
	case err != nil:
		return err
	case reason != "expired" && reason != "lag":
		return errors.New("the log has assigned this id")
	case first <= from, reason == "expired" && first == from+1:
		return errors.New("no event is missing")
	}
	return s.complete(from)
}

// wrong returns the gap reason for an id that the log has not assigned.
func (s *session) wrong() (reason string, err error) {
	epoch, _, err := parseID(s.asked)
	if err != nil {
		return "malformed", nil
	}
	if known, _ := s.ledger.newest(); epoch != known {
		return "epoch", nil
	}
	return "future", nil
}

// open sets the beginning of the session from the header of its response. If the header announces a gap, a gap event must precede
// every other event.
func (s *session) open(response *http.Response) error {
	s.header = response.Header.Get("Event-Gap")
	if s.header != "" && s.asked == "" {
		return fmt.Errorf("Event-Gap is %q, but the client sent no id", s.header)
	}
	return nil
}

// A fault is an error of the server. All other errors come from the network, and are part of the chaos.
type fault struct{ error }

// read reads the stream until it ends or more returns false.
func (s *session) read(body io.Reader, buffer []byte, more func() bool) error {
	for more() {
		n, err := body.Read(buffer)
		if err := s.feed(buffer[:n]); err != nil {
			return fault{err}
		}
		if err != nil {
			return err
		}
	}
	return nil
}
