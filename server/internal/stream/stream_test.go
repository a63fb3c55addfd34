package stream

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/eventsource-wasm/eventsource-wasm/server/internal/eventlog"
	"github.com/eventsource-wasm/eventsource-wasm/server/internal/topic"
	"github.com/eventsource-wasm/eventsource-wasm/sse"
)

// A fixture is a stream with a clock and a log that the test controls.
type fixture struct {
	t   *testing.T
	now time.Duration
	log *eventlog.Log
	*Stream
	counts Counts
}

type setup struct {
	config   Config
	limits   eventlog.Limits
	policy   eventlog.Policy
	stored   bool
	topics   []string
	unframed bool
}

func newFixture(t *testing.T, s setup) *fixture {
	t.Helper()
	f := &fixture{t: t, now: time.Second}
	if s.limits == (eventlog.Limits{}) {
		s.limits = eventlog.Limits{Events: -1, Bytes: -1, Age: -1, EventBytes: -1, Pinned: -1}
	}
	f.log = eventlog.New(s.limits, s.stored, func() time.Duration { return f.now })
	if s.stored {
		f.log.Update(eventlog.Update{Epoch: "epoch000"})
	}
	if s.config.Heartbeat == 0 {
		s.config = Config{Heartbeat: 15 * time.Second, WriteTimeout: 10 * time.Second}
	}
	s.config.Beat = func() []byte { return []byte(":\n\n") }
	if s.policy == (eventlog.Policy{}) {
		s.policy.MaxLag = -1
	}
	var filter *topic.Filter
	if s.topics != nil {
		filter, _ = new(topic.Registry).Acquire(s.topics, nil, -1)
	}
	cursor, _ := f.log.Seek("", s.policy)
	stream := New(&s.config, f.log, filter, &f.counts, cursor, []byte("hello\n\n"))
	f.Stream = &stream
	f.wantWrite("hello\n\n")
	if !s.unframed {
		stream.Detach(&f.counts)
	}
	return f
}

func (f *fixture) publish(topic, data string) {
	f.t.Helper()
	if _, err := f.log.Append(topic, sse.Event{Data: data}); err != nil {
		f.t.Fatal(err)
	}
}

func (f *fixture) want(want Command) {
	f.t.Helper()
	if got := f.Next(f.now); got != want {
		f.t.Fatalf("command %d, want %d", got, want)
	}
}

// text returns what would be written, without the epochs of ids.
func (f *fixture) text() string {
	return strings.ReplaceAll(string(f.AppendPending(nil, 1<<20)), f.log.Extent().Epoch, "E")
}

func (f *fixture) wantWrite(want string) {
	f.t.Helper()
	f.want(Write)
	if got := f.text(); got != want {
		f.t.Fatalf("writes %q, want %q", got, want)
	}
	f.Wrote(f.Size(), f.now)
}

func (f *fixture) later(d time.Duration) { f.now += d }

var errTest = fmt.Errorf("for a test")

// TestStream checks the commands of a stream, input by input.
func TestStream(t *testing.T) {
	tests := map[string]struct {
		setup
		run func(f *fixture)
	}{
		"events are framed together": {setup{}, func(f *fixture) {
			f.want(Wait)
			f.publish("t", "1")
			f.publish("t", "2")
			f.wantWrite("30\r\nid: E-1\ndata: 1\n\nid: E-2\ndata: 2\n\n\r\n")
			f.want(Wait)
		}},
		"events for others are not written": {setup{topics: []string{"a"}}, func(f *fixture) {
			f.publish("b", "1")
			f.want(Again)
			f.want(Wait)
			f.publish("b", "2")
			f.publish("a", "3")
			f.publish("b", "4")
			f.wantWrite("18\r\nid: E-3\ndata: 3\n\n\r\n")
		}},
		"an output in pieces": {setup{}, func(f *fixture) {
			f.publish("t", "1")
			f.want(Write)
			all, got := f.text(), ""
			for f.Pending() {
				piece := f.AppendPending(nil, 3)
				got += string(piece)
				f.Wrote(len(piece), f.now)
			}
			if got = strings.ReplaceAll(got, f.log.Extent().Epoch, "E"); got != all {
				f.t.Errorf("in pieces %q, want %q", got, all)
			}
			f.want(Wait)
		}},
		"room without a stall": {setup{}, func(f *fixture) {
			f.HasRoom()
			f.want(Wait)
			f.Stall(f.now)
			f.want(Wait)
			f.Wrote(0, f.now)
			f.want(Wait)
		}},
		"a stall and its end": {setup{}, func(f *fixture) {
			f.publish("t", "1")
			f.want(Write)
			f.Wrote(5, f.now)
			f.Stall(f.now)
			f.want(Room)
			f.later(time.Second)
			f.HasRoom()
			f.want(Write)
			f.Stall(f.now) // a wrong report
			f.want(Room)
			f.HasRoom()
			f.Wrote(f.Size()-5, f.now)
			f.want(Wait)
			if n := f.counts.Stalled.Load(); n != 1 {
				f.t.Errorf("stalled %d times", n)
			}
		}},
		"the write timeout covers all pieces of an output": {setup{}, func(f *fixture) {
			f.publish("t", "1")
			f.want(Write)
			f.Stall(f.now)
			for range 9 {
				f.later(time.Second)
				f.HasRoom()
				f.want(Write)
				f.Wrote(1, f.now)
				f.Stall(f.now)
			}
			f.want(Room)
			f.later(time.Second)
			f.want(Close)
			if f.Ended() != os.ErrDeadlineExceeded || f.Complete() || f.counts.TimedOut.Load() != 1 {
				f.t.Errorf("ended by %v", f.Ended())
			}
		}},
		"one heartbeat per interval": {setup{}, func(f *fixture) {
			f.want(Wait)
			f.later(15*time.Second - 1)
			f.want(Wait)
			f.later(1)
			f.wantWrite("3\r\n:\n\n\r\n")
			f.want(Wait)
			f.later(15 * time.Second)
			f.wantWrite("3\r\n:\n\n\r\n")
		}},
		"an event postpones the heartbeat": {setup{}, func(f *fixture) {
			f.later(14 * time.Second)
			f.publish("t", "1")
			f.wantWrite("18\r\nid: E-1\ndata: 1\n\n\r\n")
			f.later(14 * time.Second)
			f.want(Wait)
			f.later(time.Second)
			f.wantWrite("3\r\n:\n\n\r\n")
		}},
		"a client without events learns its position": {setup{topics: []string{"a"}}, func(f *fixture) {
			f.publish("b", "1")
			f.publish("b", "2")
			f.want(Again)
			f.later(15 * time.Second)
			f.wantWrite("10\r\nid: E-2\n\n\r\n")
			f.later(15 * time.Second)
			f.wantWrite("3\r\n:\n\n\r\n")
		}},
		"a grant expires": {setup{}, func(f *fixture) {
			f.ExpireAt(f.now+time.Minute, errTest)
			f.ExpireAt(f.now+time.Hour, os.ErrClosed) // the earlier one counts
			f.publish("t", "1")
			f.wantWrite("18\r\nid: E-1\ndata: 1\n\n\r\n")
			f.later(time.Minute)
			f.wantWrite("0\r\n\r\n")
			f.want(Shutdown)
			if f.Ended() != errTest || !f.Complete() {
				f.t.Errorf("ended by %v", f.Ended())
			}
			f.want(Wait)
			f.later(LingerTime)
			f.want(Close)
		}},
		"a grant expires while the client does not read": {setup{config: Config{Heartbeat: Forever, WriteTimeout: -1}}, func(f *fixture) {
			f.ExpireAt(f.now+time.Minute, errTest)
			f.publish("t", "1")
			f.want(Write)
			f.Stall(f.now)
			f.want(Room)
			if due := f.Due(); due != f.now+time.Minute {
				f.t.Errorf("due at %v", due)
			}
			f.later(time.Minute)
			f.want(Close)
			if f.Ended() != errTest || f.Complete() {
				f.t.Errorf("ended by %v", f.Ended())
			}
		}},
		"a drain": {setup{}, func(f *fixture) {
			f.DepartAt(f.now+time.Second, 4*time.Second)
			f.want(Wait)
			f.later(time.Second)
			f.wantWrite("d\r\nretry: 4000\n\n\r\n0\r\n\r\n")
			f.want(Shutdown)
			if f.Ended() != ErrDraining {
				f.t.Errorf("ended by %v", f.Ended())
			}
		}},
		"a drain of a closed log": {setup{}, func(f *fixture) {
			f.publish("t", "1")
			f.log.Close()
			f.DepartAt(f.now, time.Second)
			f.wantWrite("18\r\nid: E-1\ndata: 1\n\n\r\n")
			f.want(Again)
			f.wantWrite("0\r\n\r\n")
			f.want(Shutdown)
			if f.Ended() != eventlog.ErrEnd {
				f.t.Errorf("ended by %v", f.Ended())
			}
		}},
		"the client closes its side": {setup{}, func(f *fixture) {
			f.HalfClosed()
			f.wantWrite("0\r\n\r\n")
			f.want(Close)
			if !f.Complete() || f.Ended() != ErrGone {
				f.t.Errorf("ended by %v", f.Ended())
			}
		}},
		"the client closes its side in the middle of an event": {setup{}, func(f *fixture) {
			f.publish("t", "1")
			f.want(Write)
			f.Wrote(3, f.now)
			f.HalfClosed()
			f.want(Write)
			f.Wrote(f.Size()-3, f.now)
			f.wantWrite("0\r\n\r\n")
			f.want(Close)
		}},
		"inputs after the end have no effect": {setup{}, func(f *fixture) {
			f.Fail(errTest)
			f.want(Close)
			f.HasRoom()
			f.HalfClosed()
			f.End(os.ErrClosed)
			f.Fail(os.ErrClosed)
			f.Stall(f.now)
			f.publish("t", "1")
			f.Fetched(Fetched{})
			f.later(time.Hour)
			f.want(Close)
			if f.Ended() != errTest || f.Due() != Forever {
				f.t.Errorf("ended by %v, due at %v", f.Ended(), f.Due())
			}
		}},
		"lag ends a stream": {setup{policy: eventlog.Policy{MaxLag: 10}}, func(f *fixture) {
			f.publish("t", "1")
			f.want(Again)
			f.wantWrite("0\r\n\r\n")
			f.want(Shutdown)
			if f.Ended() != eventlog.ErrLag || f.counts.Lagged.Load() != 1 {
				f.t.Errorf("ended by %v", f.Ended())
			}
		}},
		"lag skips": {setup{policy: eventlog.Policy{MaxLag: 10}, config: Config{SkipLagging: true, Heartbeat: Forever, WriteTimeout: -1}}, func(f *fixture) {
			f.publish("t", "1")
			f.want(Again)
			f.want(Write)
			if text := f.text(); !strings.Contains(text, `"reason":"lag"`) || !strings.Contains(text, "id: E-1\n") {
				f.t.Errorf("writes %q", text)
			}
		}},
		"a break": {setup{}, func(f *fixture) {
			f.log.DisconnectAll()
			f.want(Close)
			if f.Ended() != eventlog.ErrDisconnected || f.Complete() {
				f.t.Errorf("ended by %v", f.Ended())
			}
		}},
		"without framing, no end is written": {setup{unframed: true}, func(f *fixture) {
			f.publish("t", "1")
			f.wantWrite("id: E-1\ndata: 1\n\n")
			f.End(errTest)
			f.want(Shutdown)
		}},
		"events of the store": {setup{stored: true}, func(f *fixture) {
			records := []eventlog.Record{{Topic: "t", Block: []byte("data: 1\n\n"), Sequence: 1}, {Topic: "t", Block: []byte("data: 3\n\n"), Sequence: 3}}
			f.log.Update(eventlog.Update{Epoch: "epoch000", Last: 2000}) // too far ahead to hold
			f.want(Fetch)
			f.want(Wait)
			f.later(15 * time.Second)
			f.want(Write) // a heartbeat
			f.Wrote(1, f.now)
			f.Fetched(Fetched{Records: records, Epoch: "epoch000", First: 1})
			f.Wrote(f.Size()-1, f.now)
			f.want(Again)
			f.wantWrite("30\r\nid: E-1\ndata: 1\n\nid: E-3\ndata: 3\n\n\r\n")
			f.want(Fetch)
			f.Fetched(Fetched{Epoch: "epoch000", First: 1})
			f.want(Again)
			f.want(Wait) // for the store's copy to catch up
			f.later(fetchPause)
			f.want(Fetch)
			f.Fetched(Fetched{Epoch: "epoch001", First: 1, Records: records})
			f.want(Again)
			f.wantWrite("0\r\n\r\n")
			f.want(Shutdown)
			if f.Ended() != ErrRenewed {
				f.t.Errorf("ended by %v", f.Ended())
			}
		}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			test.run(newFixture(t, test.setup))
		})
	}
}

func TestAfter(t *testing.T) {
	for _, test := range []struct{ t, d, want time.Duration }{
		{1, 2, 3}, {1, 0, 1}, {1, -1, Forever}, {1, Forever, Forever}, {Forever, 1, Forever}, {1, Forever - 1, Forever}, {1, Forever - 2, Forever - 1},
	} {
		if got := After(test.t, test.d); got != test.want {
			t.Errorf("After(%d, %d) = %d, want %d", test.t, test.d, got, test.want)
		}
	}
}
