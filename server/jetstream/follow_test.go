package jetstream

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"maps"
	"testing"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/eventsource-wasm/eventsource-wasm/server"
)

// openInProcess opens a store on a NATS server in this process.
func openInProcess(t *testing.T, o Options) *Store {
	t.Helper()
	ns, err := natsserver.NewServer(&natsserver.Options{DontListen: true, NoSigs: true, NoLog: true, JetStream: true, StoreDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	ns.Start()
	t.Cleanup(func() {
		ns.Shutdown()
		ns.WaitForShutdown()
	})
	if !ns.ReadyForConnections(time.Minute) {
		t.Fatal("the NATS server is not ready after a minute")
	}
	conn, err := Connect("", nats.InProcessServer(ns))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	o.Logger = cmp.Or(o.Logger, slog.New(slog.DiscardHandler))
	s, err := Open(t.Context(), conn, o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *Store) mustAppend(t *testing.T, data ...string) {
	t.Helper()
	for _, d := range data {
		if _, err := s.Append(t.Context(), server.IdempotencyKey{}, server.Record{Topic: "t", Block: []byte("data: " + d + "\n\n")}); err != nil {
			t.Fatal(err)
		}
	}
}

// republished returns the message with which NATS republishes an event.
func (s *Store) republished(sequence uint64) *nats.Msg {
	m := nats.NewMsg(s.subject(republished) + "t")
	m.Data = fmt.Appendf(nil, "data: %d\n\n", sequence)
	m.Header.Set("Nats-Subject", s.subject(stored)+"t")
	m.Header.Set("Nats-Sequence", fmt.Sprint(sequence))
	return m
}

// Whatever messages are lost, duplicated or reordered, the follower reports every event once and in order.
func TestFollowerFillsGaps(t *testing.T) {
	const stored = 9
	for name, test := range map[string]struct {
		messages []uint64
		reported int
	}{
		"none":              {nil, 0},
		"all":               {[]uint64{1, 2, 3, 4, 5, 6, 7, 8, 9}, 9},
		"some":              {[]uint64{1, 2, 3}, 3},
		"a hole":            {[]uint64{1, 2, 5}, 9},
		"the first":         {[]uint64{2}, 9},
		"only the last":     {[]uint64{9}, 9},
		"doubled":           {[]uint64{1, 1, 2, 1, 2, 3, 3}, 3},
		"duplicate, a hole": {[]uint64{1, 1, 3, 1, 2, 9, 9, 8}, 9},
		"beyond the store":  {[]uint64{1, 12}, 9}, // reported, but not yet in the replica that was read
	} {
		t.Run(name, func(t *testing.T) {
			s := openInProcess(t, Options{})
			for i := range stored {
				s.mustAppend(t, fmt.Sprint(i+1))
			}
			var got []uint64
			f := &follower{store: s, begun: true, report: func(u server.StoreUpdate) {
				for _, r := range u.Records {
					if want := fmt.Sprintf("data: %d\n\n", r.Sequence); string(r.Block) != want || r.Topic != "t" {
						t.Errorf("%+v, want %q", r, want)
					}
					got = append(got, r.Sequence)
				}
			}}
			messages := make(chan *nats.Msg, len(test.messages))
			for _, sequence := range test.messages {
				messages <- s.republished(sequence)
			}
			for len(messages) > 0 {
				f.receive(t.Context(), <-messages, messages)
			}
			if len(got) != test.reported || int(f.state.Last) != test.reported {
				t.Errorf("reported %v, want %d", got, test.reported)
			}
			for i, sequence := range got {
				if sequence != uint64(i+1) {
					t.Fatalf("reported %v", got)
				}
			}
			if again := f.again() != nil; again != (name == "beyond the store") {
				t.Errorf("reads again = %v", again)
			}
		})
	}
}

// The result of a look may be older than events that were reported meanwhile.
func TestStaleLookIsIgnored(t *testing.T) {
	f := &follower{store: &Store{}, begun: true, state: server.StoreState{Epoch: "e", Last: 100}}
	f.compare(t.Context(), look{had: 90, state: server.StoreState{Epoch: "e", First: 1, Last: 95}})
	if !f.lostSince.IsZero() {
		t.Error("the stream counts as having lost events")
	}
	f.compare(t.Context(), look{had: 100, state: server.StoreState{Epoch: "e", First: 1, Last: 99}})
	if f.lostSince.IsZero() {
		t.Error("the stream does not count as having lost events")
	}
	f.compare(t.Context(), look{had: 100, doubts: f.doubts, state: server.StoreState{Epoch: "e", First: 1, Last: 100}})
	if !f.lostSince.IsZero() {
		t.Error("the stream still counts as having lost events")
	}
}

// A stream that has permanently lost events begins a new epoch. Ids of the old epoch are no longer valid.
func TestLostEvents(t *testing.T) {
	s := openInProcess(t, Options{})
	s.mustAppend(t, "1", "2", "3")
	info, err := s.info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	old := stateOf(info)
	updates := make(chan server.StoreUpdate, 100)
	f := &follower{store: s, begun: true, state: old, report: func(u server.StoreUpdate) { updates <- u }, looks: make(chan look, 1)}
	f.state.Last = 7
	found := look{had: 7, state: old}
	f.compare(t.Context(), found)
	found.doubts = f.doubts
	f.lostSince = time.Now().Add(-2 * lostAfter)
	f.compare(t.Context(), found)
	f.compare(t.Context(), <-f.looks)
	u := <-updates
	if u.Epoch == old.Epoch || u.Last != 3 || len(u.Records) > 0 || u.Err != nil || !maps.Equal(u.Earlier, map[string]uint64{old.Epoch: 0}) {
		t.Errorf("%+v follows the epoch %s", u, old.Epoch)
	}
}

// The number of earlier epochs is limited, and their ids are valid only up to the last event of each.
func TestRenew(t *testing.T) {
	s := openInProcess(t, Options{})
	var epochs []string
	for range maxEarlier + 3 {
		s.mustAppend(t, "x")
		state, err := s.State(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		epochs = append(epochs, state.Epoch)
		if err := s.renew(t.Context(), state.Epoch, min(state.Last, 6)); err != nil {
			t.Fatal(err)
		}
	}
	state, err := s.State(t.Context())
	if err != nil || len(state.Earlier) != maxEarlier {
		t.Fatalf("State = %+v, %v; want %d earlier epochs", state, err, maxEarlier)
	}
	for i, epoch := range epochs[3:] {
		if got := state.Earlier[epoch]; got != uint64(min(i+4, 6)) {
			t.Errorf("epoch %d is valid up to %d", i+3, got)
		}
	}
}

// The responses to a read may stop anywhere. An incomplete read is an error.
func TestIncompleteReadFails(t *testing.T) {
	s := openInProcess(t, Options{})
	answer := func(replies ...*nats.Msg) {
		t.Helper()
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		fake := &Store{conn: s.conn, options: s.options, reads: s.reads}
		fake.options.Name, fake.options.Timeout = "fake", 100*time.Millisecond
		subscription, err := s.conn.Subscribe("$JS.API.DIRECT.GET.fake", func(m *nats.Msg) {
			for _, reply := range replies {
				reply.Subject = m.Reply
				s.conn.PublishMsg(reply)
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		defer subscription.Unsubscribe()
		if records, err := fake.Read(ctx, 1); err == nil {
			t.Errorf("%+v counts as complete", records)
		}
	}
	message := func(sequence, before uint64) *nats.Msg {
		m := s.republished(sequence)
		m.Header.Set("Nats-Last-Sequence", fmt.Sprint(before))
		return m
	}
	status := func(code string, before uint64) *nats.Msg {
		return &nats.Msg{Header: nats.Header{"Status": {code}, "Nats-Last-Sequence": {fmt.Sprint(before)}}}
	}
	answer()
	answer(message(1, 0))
	answer(message(1, 0), message(3, 2), status("204", 3))
	answer(message(1, 0), status("204", 2))
	answer(status("408", 0))
	answer(status("500", 0))
}
