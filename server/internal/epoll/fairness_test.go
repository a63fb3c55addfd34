package epoll

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/eventsource-wasm/eventsource-wasm/server/internal/eventlog"
	"github.com/eventsource-wasm/eventsource-wasm/server/internal/stream"
	"github.com/eventsource-wasm/eventsource-wasm/sse"
)

// calm returns a world without random events.
func calm(limits eventlog.Limits) *world {
	w := newWorld(1)
	w.faults, w.store = false, nil
	w.log = eventlog.New(limits, false, func() time.Duration { return w.now })
	w.epoch = w.log.Extent().Epoch
	w.broadcaster = newBroadcaster(Env{
		Log: w.log, Draining: func() (time.Duration, bool) { return 0, false }, Within: func(time.Duration) time.Duration { return 0 },
	}, &w.detached)
	w.broadcaster.sockets, w.broadcaster.running = simSockets{w}, true
	w.broadcaster.begin()
	return w
}

// enter connects a client for the topics, with that last event ID, or as a new client.
func (w *world) enter(t testing.TB, topics []string, lastEventID string, capacity int) *simSocket {
	t.Helper()
	filter, err := w.filters.Acquire(topics, nil, -1)
	if err != nil {
		t.Fatal(err)
	}
	cursor, gap := w.log.Seek(lastEventID, eventlog.Policy{MaxLag: -1})
	if gap != nil {
		t.Fatalf("gap %+v", gap)
	}
	config := &stream.Config{Heartbeat: stream.Forever, WriteTimeout: -1, Beat: func() []byte { return nil }}
	s := stream.New(config, w.log, filter, &w.counts, cursor, []byte(":\n\n"))
	s.WroteAll(3, w.now)
	w.fds++
	socket := &simSocket{world: w, fd: w.fds, capacity: capacity}
	socket.check = &checker{world: w, filter: filter, epoch: w.epoch, expect: cursor.Next, opened: true, framed: true}
	w.sockets[w.fds] = socket
	w.broadcaster.users++
	w.broadcaster.attach(socket.fd, &s, func(*stream.Stream) {})
	return socket
}

func (w *world) append(t testing.TB, topic, data string) {
	t.Helper()
	if _, err := w.log.Append(topic, sse.Event{Data: data}); err != nil {
		t.Fatal(err)
	}
}

func (w *world) turns(n int) {
	for range n {
		w.broadcaster.now = w.now
		w.broadcaster.handle(w.events)
		w.events = nil
		w.broadcaster.turn()
	}
}

var everything = eventlog.Limits{Events: -1, Bytes: -1, Age: -1, EventBytes: -1, Pinned: -1}

// Clients that have all events get a new one in the next turn, however many others read history slowly.
func TestSlowReadersDelayNobody(t *testing.T) {
	w := calm(everything)
	for range 20 {
		w.append(t, "history", strings.Repeat("x", 100_000))
	}
	honest := w.enter(t, []string{"news"}, "", 1<<20)
	w.turns(30) // the broadcaster, which already runs, reads the history
	var slow []*simSocket
	for range 2000 {
		slow = append(slow, w.enter(t, []string{"history"}, eventlog.ID(w.epoch, 0), 100))
	}
	for round := range 50 {
		for i := round; i < len(slow); i += 7 {
			slow[i].drain(100)
		}
		before := honest.inFlight
		w.append(t, "news", "now")
		w.turns(1)
		if honest.inFlight == before {
			t.Fatalf("round %d: the event waits for slow readers", round)
		}
	}
	if pinned := w.log.Pinned(); pinned > 0 {
		t.Errorf("%d bytes are pinned, although the history has everything", pinned)
	}
}

// A turn takes a limited number of steps for clients that are behind.
func TestTurnIsBounded(t *testing.T) {
	w := calm(everything)
	w.append(t, "history", "x")
	for range 1000 {
		w.enter(t, []string{"history"}, eventlog.ID(w.epoch, 0), 1<<20)
	}
	for w.broadcaster.ready.first != nil || w.broadcaster.late.first != nil || len(w.broadcaster.attached) > 0 {
		before := len(w.broadcaster.apart)
		w.turns(1)
		if after := len(w.broadcaster.apart); before-after > turnSteps {
			t.Fatalf("%d clients are served in one turn", before-after)
		}
	}
	if n := w.broadcaster.counts.Delivered.Load(); n != 1000 {
		t.Errorf("%d deliveries", n)
	}
}

// The cost of a publication depends on the clients that receive it, not on others.
func TestPublicationCostsItsReceivers(t *testing.T) {
	w := calm(everything)
	honest := w.enter(t, []string{"news"}, "", 1<<20)
	for i := range 500 {
		var topics []string
		for p := range 32 {
			topics = append(topics, fmt.Sprintf("c%d.p%d.*", i, p))
		}
		w.enter(t, topics, "", 1<<20)
	}
	w.turns(100)
	w.append(t, "news", "now")
	w.append(t, "other.topic", "now")
	w.turns(1)
	if honest.check.events != 1 {
		t.Fatalf("%d events", honest.check.events)
	}
	if n := len(w.broadcaster.hit); n > 1 {
		t.Errorf("%d groups were looked at for one subscriber", n)
	}
}

// Clients that hold dropped history hold no more than the limit together. Clients that read get everything.
func TestStalledReadersPinLimit(t *testing.T) {
	limits := everything
	limits.Events, limits.Pinned = 10, 1<<20
	w := calm(limits)
	honest := w.enter(t, []string{">"}, "", 1<<30)
	w.turns(2)
	for i := range 500 {
		w.enter(t, []string{">"}, "", 50_000+i)
		w.append(t, "t", strings.Repeat("x", 60_000))
		w.turns(20)
		if pinned := w.log.Pinned(); pinned > limits.Pinned {
			t.Fatalf("%d bytes are pinned", pinned)
		}
	}
	if honest.check.events != 500 || honest.check.broken != nil {
		t.Errorf("the reading subscriber has %d events: %v", honest.check.events, honest.check.broken)
	}
}

// A client without a history does not wait for clients that read history, even if it connects after them.
func TestNewClientsDoNotWait(t *testing.T) {
	w := calm(everything)
	for range 50 {
		w.append(t, "history", strings.Repeat("x", 100_000))
	}
	w.turns(60)
	for range 1000 {
		w.enter(t, []string{"history"}, eventlog.ID(w.epoch, 0), 1<<20)
	}
	w.turns(3)
	honest := w.enter(t, []string{"news"}, "", 1<<20)
	w.turns(2)
	w.append(t, "news", "now")
	w.turns(1)
	if honest.check.events != 1 {
		t.Error("a new client waits for clients that read history")
	}
}
