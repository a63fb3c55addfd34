package server_test

import (
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/eventsource-wasm/eventsource-wasm/server"
	"github.com/eventsource-wasm/eventsource-wasm/server/compress"
	"github.com/eventsource-wasm/eventsource-wasm/sse"
)

// A testStore is a store in memory that can fail, forget events and hold back reports.
type testStore struct {
	mu      sync.Mutex
	state   server.StoreState
	records []server.StoredRecord
	report  func(server.StoreUpdate)
	held    []server.StoredRecord
	hold    bool
	failing error
	reading func() // called before every read
	asked   func() // called before the state is read

	appending func(context.Context) error // replaces Append, if set
}

func newTestStore() *testStore {
	return &testStore{state: server.StoreState{Epoch: "epoch000", First: 1}}
}

func (s *testStore) Append(ctx context.Context, _ server.IdempotencyKey, records ...server.Record) (uint64, error) {
	if s.appending != nil {
		return 0, s.appending(ctx)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failing != nil {
		return 0, s.failing
	}
	first := s.state.Last + 1
	for _, r := range records {
		s.state.Last++
		s.records = append(s.records, server.StoredRecord{Record: r, Sequence: s.state.Last})
		s.held = append(s.held, s.records[len(s.records)-1])
	}
	s.flush()
	return first, nil
}

func (s *testStore) flush() {
	if !s.hold && s.report != nil {
		s.report(server.StoreUpdate{StoreState: s.state, Records: s.held})
		s.held = nil
	}
}

func (s *testStore) Read(_ context.Context, from uint64) (some []server.StoredRecord, err error) {
	if s.reading != nil {
		s.reading()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.records {
		if r.Sequence >= from && len(some) < 3 {
			some = append(some, r)
		}
	}
	return some, s.failing
}

func (s *testStore) State(context.Context) (server.StoreState, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.asked != nil {
		s.asked()
	}
	return s.state, s.failing
}

func (s *testStore) Follow(ctx context.Context, report func(server.StoreUpdate)) error {
	s.mu.Lock()
	s.report, s.held = report, nil
	report(server.StoreUpdate{StoreState: s.state})
	s.mu.Unlock()
	<-ctx.Done()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.report = nil
	return context.Cause(ctx)
}

// change calls f under the lock, and reports records that are no longer held back.
func (s *testStore) change(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
	s.flush()
}

// drop removes the records before the sequence.
func (s *testStore) drop(before uint64) {
	s.state.First = before
	s.records = slices.DeleteFunc(s.records, func(r server.StoredRecord) bool { return r.Sequence < before })
}

// remove deletes one record, like an operator.
func (s *testStore) remove(sequences ...uint64) {
	removed := func(r server.StoredRecord) bool { return slices.Contains(sequences, r.Sequence) }
	s.records = slices.DeleteFunc(s.records, removed)
	s.held = slices.DeleteFunc(s.held, removed)
}

func startStored(t *testing.T, h *server.Handler) (store *testStore, url string) {
	t.Helper()
	store = newTestStore()
	h.Broker.Store, h.OpenPublish, h.Logger = store, true, quiet
	url = start(t, h)
	t.Cleanup(h.Broker.Close)
	return store, url
}

func numbers(from, to int) (data []string) {
	for i := from; i <= to; i++ {
		data = append(data, fmt.Sprint(i))
	}
	return data
}

func id(n int) string { return fmt.Sprintf("epoch000-%d", n) }

// A stream reads history from the store, then from memory, then live events, without a visible boundary.
func TestStoreReplay(t *testing.T) {
	onEachPath(t, func(t *testing.T, noHijack bool) {
		broker := &server.Broker{MaxEvents: 4}
		_, url := startStored(t, &server.Handler{Broker: broker, NoHijack: noHijack})
		if last := publish(t, broker, "t", numbers(1, 20)...); last != id(20) {
			t.Fatalf("the last id is %s", last)
		}
		for after := range 20 {
			c := opened(t, url, "Last-Event-ID", id(after))
			if gap := c.response.Header.Get("Event-Gap"); gap != "" {
				t.Errorf("after %d: gap %q", after, gap)
			}
			c.wantData(numbers(after+1, 20)...)
		}
		c := opened(t, url, "Last-Event-ID", id(2))
		live := opened(t, url)
		if b := live.next(); b["id"] != id(20) {
			t.Errorf("a client without an id gets %v", b)
		}
		c.wantData(numbers(3, 20)...)
		publish(t, broker, "t", numbers(21, 24)...) // no more, or memory might overtake streams with a goroutine
		c.wantData(numbers(21, 24)...)
		live.wantData(numbers(21, 24)...)
		if stats := broker.Stats(); stats.Published != 24 || stats.Events != 4 || stats.Offline || stats.Replayed < 16 {
			t.Errorf("Stats = %+v, want 24 published, 4 in memory, at least 16 replayed, and online", stats)
		}
	})
}

func TestStoreReplayOfTopicsAndCodings(t *testing.T) {
	broker := &server.Broker{MaxEvents: 1}
	_, url := startStored(t, &server.Handler{Broker: broker, MinSharing: 1, Codings: []server.Coding{compress.Gzip()}})
	for i, data := range numbers(1, 30) {
		publish(t, broker, []string{"a", "b", "c"}[i%3], data)
	}
	c := opened(t, url+"?topic=a&topic=c", "Last-Event-ID", id(20), "Accept-Encoding", "gzip")
	plain, err := gzip.NewReader(c.response.Body)
	if err != nil {
		t.Fatal(err)
	}
	c.reader.Reset(plain)
	c.wantData("21", "22", "24", "25", "27", "28", "30")
	publish(t, broker, "c", "live")
	c.wantData("live")
}

func TestStoreGaps(t *testing.T) {
	tests := map[string]struct {
		id, reason string
		policy     server.GapPolicy
		data       []string
	}{
		"kept":                 {id(5), "", 0, numbers(6, 10)},
		"oldest":               {id(2), "", 0, numbers(3, 10)},
		"expired":              {id(1), "expired", 0, numbers(3, 10)},
		"expired, from head":   {id(1), "expired", server.FromHead, nil},
		"earlier epoch":        {"earlier0-4", "", 0, numbers(5, 10)},
		"earlier, lost":        {"earlier0-5", "epoch", 0, numbers(3, 10)},
		"earlier, and expired": {"earlier0-1", "expired", 0, numbers(3, 10)},
		"earlier, in memory":   {"earlier1-9", "", 0, numbers(10, 10)},
		"another":              {"another0-4", "epoch", 0, numbers(3, 10)},
		"malformed":            {"x", "malformed", 0, numbers(3, 10)},
		"future":               {id(11), "future", 0, numbers(3, 10)},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			broker := &server.Broker{MaxEvents: 3}
			store, url := startStored(t, &server.Handler{Broker: broker, GapPolicy: test.policy})
			store.state.Earlier = map[string]uint64{"earlier0": 4, "earlier1": 9}
			publish(t, broker, "t", numbers(1, 10)...)
			store.change(func() { store.drop(3) })
			c := opened(t, url, "Last-Event-ID", test.id)
			if reason := c.response.Header.Get("Event-Gap"); reason != test.reason {
				t.Fatalf("gap %q, want %q", reason, test.reason)
			}
			if test.reason != "" {
				if b := c.next(); b["event"] != "gap" {
					t.Errorf("the first event is %v", b)
				}
			}
			c.wantData(test.data...)
			publish(t, broker, "t", "live")
			c.wantData("live")
		})
	}
}

// A client may have an id of an event that this node has not received yet.
func TestStoreIsAheadOfLog(t *testing.T) {
	broker := &server.Broker{}
	store, url := startStored(t, &server.Handler{Broker: broker})
	publish(t, broker, "t", "1")
	store.change(func() { store.hold = true })
	publish(t, broker, "t", "2", "3", "4")
	got := make(chan block)
	go func() {
		c := opened(t, url, "Last-Event-ID", id(3))
		got <- c.next()
	}()
	select {
	case b := <-got:
		t.Fatalf("got %v, which this node has not received", b)
	default:
	}
	store.change(func() { store.hold = false })
	if b := <-got; b["data"] != "4" {
		t.Errorf("got %v", b)
	}
}

// If the store drops events while they are being read, the client gets a gap event. Events that were deleted on purpose
// are skipped.
func TestStoreForgets(t *testing.T) {
	broker := &server.Broker{MaxEvents: 2}
	store, url := startStored(t, &server.Handler{Broker: broker})
	publish(t, broker, "t", numbers(1, 12)...)
	reads := 0
	store.reading = func() {
		if reads++; reads == 2 {
			store.change(func() { store.drop(7) })
		}
	}
	store.change(func() { store.remove(2, 9) })
	c := opened(t, url, "Last-Event-ID", id(0))
	c.wantData("1", "3", "4")
	if b := c.next(); b["event"] != "gap" || b["id"] != id(6) || !strings.Contains(b["data"], `"reason":"expired"`) {
		t.Errorf("got %v, want a gap", b)
	}
	c.wantData("7", "8", "10", "11", "12")
}

// Deleted events leave no trace in a stream, whether few or many.
func TestStoreSkipsDeleted(t *testing.T) {
	for _, missing := range []uint64{1, 3, 5000} {
		t.Run(fmt.Sprint(missing), func(t *testing.T) {
			onEachPath(t, func(t *testing.T, noHijack bool) {
				broker := &server.Broker{}
				store, url := startStored(t, &server.Handler{Broker: broker, NoHijack: noHijack})
				c := opened(t, url+"?topic=>", "Last-Event-ID", id(0))
				publish(t, broker, "t", "1")
				c.wantData("1")
				store.change(func() { store.state.Last += missing })
				last := publish(t, broker, "t", "after")
				if last != id(int(missing)+2) {
					t.Errorf("the id is %s", last)
				}
				for b, err := c.read(); ; b, err = c.read() {
					if err != nil { // it was appended to the store, and Follow reports it
						c = opened(t, url+"?topic=>", "Last-Event-ID", id(1))
						continue
					}
					if b["id"] != last || b["data"] != "after" {
						t.Errorf("got %v", b)
					}
					break
				}
				opened(t, url, "Last-Event-ID", id(0)).wantData("1", "after")
			})
		})
	}
}

// A stream that is behind the events in memory reads from the store, on its goroutine or when it resumes.
func TestOvertakenStreamReadsStore(t *testing.T) {
	onEachPath(t, func(t *testing.T, noHijack bool) {
		broker := &server.Broker{MaxEvents: 3}
		store, url := startStored(t, &server.Handler{Broker: broker, NoHijack: noHijack})
		publish(t, broker, "t", "1")
		c := opened(t, url, "Last-Event-ID", id(0))
		c.wantData("1")
		store.change(func() { store.hold = true })
		publish(t, broker, "t", numbers(2, 30)...)
		store.change(func() { store.hold = false })
		c.wantData(numbers(2, 30)...)
	})
}

func TestStoreStartsNewEpoch(t *testing.T) {
	onEachPath(t, func(t *testing.T, noHijack bool) {
		broker := &server.Broker{}
		store, url := startStored(t, &server.Handler{Broker: broker, NoHijack: noHijack})
		publish(t, broker, "t", numbers(1, 5)...)
		c := opened(t, url, "Last-Event-ID", id(4))
		c.wantData("5")
		store.change(func() {
			store.state = server.StoreState{Epoch: "epoch001", First: 1, Last: 0, Earlier: map[string]uint64{"epoch000": 0}}
			store.records = nil
		})
		if b, err := c.read(); err == nil {
			t.Errorf("a stream of the old epoch continues with %v", b)
		}
		if got := publish(t, broker, "t", "new"); got != "epoch001-1" {
			t.Errorf("continues with %s", got)
		}
		c = opened(t, url, "Last-Event-ID", id(5))
		if gap := c.response.Header.Get("Event-Gap"); gap != "epoch" {
			t.Errorf("gap %q", gap)
		}
		c.next()
		c.wantData("new")
	})
}

func TestStoreUnavailable(t *testing.T) {
	broker := &server.Broker{MaxEvents: 1}
	h := &server.Handler{Broker: broker}
	store, url := startStored(t, h)
	publish(t, broker, "t", "1", "2", "3")
	store.failing = fmt.Errorf("%w: for a test", server.ErrStoreUnavailable)
	answer := post(h, form, "topic=t&data=x")
	if answer.Code != http.StatusServiceUnavailable || answer.Header().Get("Retry-After") == "" || strings.Contains(answer.Body.String(), "for a test") {
		t.Errorf("POST got status %d, %v, %s", answer.Code, answer.Header(), answer.Body)
	}
	if _, err := broker.PublishAll(t.Context(), server.Publication{Topic: "t"}); !errors.Is(err, server.ErrStoreUnavailable) {
		t.Errorf("publish: %v", err)
	}
	if unstored := broker.Stats().Unstored; unstored != 2 {
		t.Errorf("Unstored = %d", unstored)
	}
	if c := open(t, url, "Last-Event-ID", id(0)); c.response.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("a stream from the store got status %d", c.response.StatusCode)
	}
	inMemory := opened(t, url, "Last-Event-ID", id(2))
	inMemory.wantData("3")
	inMemory.cancel()
	wantConnections(t, broker, 0) // no other stream reads the store from here on

	store.failing = nil
	reads := 0
	store.reading = func() {
		if reads++; reads == 2 {
			store.change(func() { store.failing = server.ErrStoreUnavailable })
		}
	}
	publish(t, broker, "t", numbers(4, 9)...)
	c := opened(t, url, "Last-Event-ID", id(0))
	c.wantData("1", "2", "3")
	if _, err := c.read(); err != io.EOF {
		t.Errorf("a replay that cannot continue ends with %v", err)
	}
}

// A stream is counted only when it will receive everything published from then on.
func TestCountedStreamsReceiveEvents(t *testing.T) {
	broker := &server.Broker{MaxEvents: 1}
	store, url := startStored(t, &server.Handler{Broker: broker})
	publish(t, broker, "t", "1", "2", "3")
	placing := int64(-1)
	store.asked = func() {
		if placing < 0 {
			placing = broker.Stats().Connections
		}
	}
	c := opened(t, url, "Last-Event-ID", id(0))
	wantConnections(t, broker, 1)
	publish(t, broker, "t", "4")
	c.wantData("1", "2", "3", "4")
	if placing != 0 {
		t.Errorf("%d streams are counted while the first is still seeking", placing)
	}
}

func TestStoreErrors(t *testing.T) {
	broker := &server.Broker{MaxEventBytes: 100}
	h := &server.Handler{Broker: broker}
	store, _ := startStored(t, h)
	for name, test := range map[string]struct {
		event sse.Event
		want  error
	}{
		"type":            {sse.Event{Type: "a\nb"}, sse.ErrInvalidType},
		"too large":       {sse.Event{Data: strings.Repeat("\n", 20)}, sse.ErrEventTooLarge},
		"too large to us": {sse.Event{Data: strings.Repeat("x", 101)}, sse.ErrEventTooLarge},
		"id":              {sse.Event{ID: "1"}, server.ErrEventHasID},
	} {
		if _, err := broker.Publish(t.Context(), "t", test.event); !errors.Is(err, test.want) {
			t.Errorf("%s: Publish = %v, want %v", name, err, test.want)
		}
		_, err := broker.PublishAll(t.Context(), server.Publication{Topic: "t"}, server.Publication{Topic: "t", Event: test.event})
		if about, ok := errors.AsType[*server.PublicationError](err); !ok || about.Index != 1 || !errors.Is(err, test.want) {
			t.Errorf("%s, in a batch: %v", name, err)
		}
	}
	if ids, err := broker.PublishAll(t.Context()); len(ids) != 0 || err != nil {
		t.Errorf("nothing: %v, %v", ids, err)
	}
	store.failing = server.ErrKeyReused
	if answer := post(h, form, "topic=t", "Idempotency-Key", "k"); answer.Code != http.StatusUnprocessableEntity {
		t.Errorf("a reused key got status %d", answer.Code)
	}
	broker.Close()
	if _, err := broker.Publish(t.Context(), "t", sse.Event{}); !errors.Is(err, server.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}

// A failedStore stops following after the first update.
type failedStore struct{ *testStore }

func (s failedStore) Follow(_ context.Context, report func(server.StoreUpdate)) error {
	report(server.StoreUpdate{StoreState: s.state})
	return server.ErrStoreUnavailable
}

// If Follow returns an error, the broker goes offline. If it ends because the broker was closed, it does not.
func TestFollowFails(t *testing.T) {
	for name, test := range map[string]struct {
		store   server.Store
		offline bool
	}{
		"failed": {failedStore{newTestStore()}, true},
		"closed": {newTestStore(), false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				broker := &server.Broker{Store: test.store}
				broker.Stats() // follows the store from now on
				synctest.Wait()
				if !test.offline {
					broker.Close()
					synctest.Wait()
				}
				if got := broker.Stats().Offline; got != test.offline {
					t.Errorf("offline: %v, want %v", got, test.offline)
				}
				broker.Close()
			})
		})
	}
}
