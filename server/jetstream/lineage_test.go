package jetstream

import (
	"errors"
	"testing"
	"time"

	natsclient "github.com/nats-io/nats.go/jetstream"

	"github.com/eventsource-wasm/eventsource-wasm/server"
)

// finish passes the result of a look to the follower.
func (f *follower) finish(t *testing.T) {
	t.Helper()
	select {
	case found := <-f.looks:
		f.looking = false
		f.compare(t.Context(), found)
	case <-time.After(time.Minute):
		t.Fatal("no look started")
	}
}

// If a stream was restored from a backup and continued, the time of a message reveals it, even if the stream has more
// messages than before. Earlier ids are no longer valid.
func TestRestoredStreamIsNoticed(t *testing.T) {
	s := openInProcess(t, Options{})
	s.mustAppend(t, "1", "2", "3", "4", "5")
	_, newest, err := s.readTo(t.Context(), 1, followEvents, followBytes)
	if err != nil || newest.sequence != 5 || newest.at == "" {
		t.Fatalf("%+v, %v", newest, err)
	}
	for name, test := range map[string]struct {
		witness witness
		forked  bool
	}{
		"the same":       {newest, false},
		"another":        {witness{4, newest.at}, true},
		"no longer kept": {witness{0, ""}, false},
		"lost":           {witness{9, newest.at}, false}, // shown by the sequence
	} {
		if l := s.look(t.Context(), 3, test.witness); l.err != nil || l.forked != test.forked {
			t.Errorf("%s: look = %+v, want forked %v", name, l, test.forked)
		}
	}

	updates := make(chan server.StoreUpdate, 100)
	f := &follower{store: s, report: func(u server.StoreUpdate) { updates <- u }, looks: make(chan look, 1)}
	f.look(t.Context())
	f.finish(t)
	before := <-updates
	if f.witness != newest {
		t.Errorf("witness = %+v, want %+v", f.witness, newest)
	}
	f.witness.at = "2020-01-01T00:00:00Z"
	f.doubt()
	f.look(t.Context())
	f.finish(t)
	f.finish(t)
	after := <-updates
	if after.Epoch == before.Epoch || after.Earlier[before.Epoch] != 0 || f.suspect {
		t.Errorf("%+v follows %+v", after, before)
	}
	s.mustAppend(t, "6")
}

// While a stream is suspect, nothing is reported, whatever messages arrive.
func TestSuspectStreamReportsNothing(t *testing.T) {
	s := openInProcess(t, Options{})
	s.mustAppend(t, "1", "2")
	f := &follower{store: s, begun: true, report: func(u server.StoreUpdate) { t.Errorf("%+v is reported", u) }, looks: make(chan look, 1)}
	f.doubt()
	f.receive(t.Context(), s.republished(1), nil)
	f.catchUp(t.Context())
	f.check(t.Context(), false)
	if f.again() != nil {
		t.Error("it reads")
	}
	s.trust.give()
}

// A sequence that is not greater than those known before does not acknowledge an event.
func TestOldSequenceIsNotAcknowledgment(t *testing.T) {
	s := openInProcess(t, Options{Timeout: time.Second})
	s.mustAppend(t, "1", "2", "3")
	s.raise(10)
	if first, err := s.Append(t.Context(), server.IdempotencyKey{}, server.Record{Topic: "t", Block: []byte("data: x\n\n")}); !errors.Is(err, server.ErrStoreUnavailable) {
		t.Errorf("stored as %d, %v", first, err)
	}
	select {
	case <-s.alarm:
	default:
		t.Error("the follower is not alerted")
	}
	s.trust.withdraw()
	if _, err := s.Append(t.Context(), server.IdempotencyKey{}, server.Record{Topic: "t", Block: []byte("data: x\n\n")}); !errors.Is(err, server.ErrStoreUnavailable) {
		t.Errorf("in doubt: %v", err)
	}
	s.trust.give()
	s.reset(4)
	s.mustAppend(t, "5")
}

// A deleted stream is created again after a while, with a new epoch.
func TestDeletedStreamIsCreatedAgain(t *testing.T) {
	s := openInProcess(t, Options{})
	s.mustAppend(t, "1", "2", "3")
	updates := make(chan server.StoreUpdate, 100)
	f := &follower{store: s, report: func(u server.StoreUpdate) { updates <- u }, looks: make(chan look, 1)}
	step := func() {
		t.Helper()
		f.look(t.Context())
		f.finish(t)
	}
	step()
	before := <-updates
	if err := s.stream.DeleteStream(t.Context(), s.options.Name); err != nil {
		t.Fatal(err)
	}
	step()
	if u := <-updates; !errors.Is(u.Err, natsclient.ErrStreamNotFound) || f.goneSince.IsZero() {
		t.Errorf("update %+v, want %v; gone since %v, want a time", u, natsclient.ErrStreamNotFound, f.goneSince)
	}
	f.goneSince = time.Now().Add(-2 * goneAfter)
	step()
	f.finish(t)
	if u := <-updates; u.Err != nil || u.Epoch == before.Epoch || u.Last != 0 || len(u.Earlier) != 0 {
		t.Errorf("%+v follows %+v", u, before)
	}
	s.mustAppend(t, "1")
}
