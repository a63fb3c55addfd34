//go:build unix

package jetstream_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	client "github.com/nats-io/nats.go"
	api "github.com/nats-io/nats.go/jetstream"

	"github.com/eventsource-wasm/eventsource-wasm/server"
	"github.com/eventsource-wasm/eventsource-wasm/server/jetstream"
	"github.com/eventsource-wasm/eventsource-wasm/sse"
)

// stream opens a stream after the event with the id.
func (n *node) stream(t testing.TB, lastEventID string) (*http.Response, *bufio.Scanner) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, n.url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if lastEventID != "" {
		request.Header.Set("Last-Event-ID", lastEventID)
	}
	response, err := http.DefaultTransport.RoundTrip(request)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { response.Body.Close() })
	return response, bufio.NewScanner(response.Body)
}

// readTo reads up to the line, and returns all fields with a name.
func readTo(t testing.TB, lines *bufio.Scanner, line string) (before []string) {
	t.Helper()
	for lines.Scan() {
		if lines.Text() == line {
			return before
		}
		if lines.Text() != "" && lines.Text() != ": " {
			before = append(before, lines.Text())
		}
	}
	t.Fatalf("the stream ended before %q: %v", line, lines.Err())
	return nil
}

func publish(t testing.TB, b *server.Broker, topic, data string) (id string) {
	t.Helper()
	id, err := b.Publish(t.Context(), topic, sse.Event{Data: data})
	if err != nil {
		t.Fatal(err)
	}
	return id
}

const unavailable = ": event store is unavailable: events are delayed"

// While NATS is down or does not respond, streams stay open, clients learn that events are delayed, and publishing fails.
// Then everything continues.
func TestUnreachable(t *testing.T) {
	for name, fault := range map[string]struct{ begin, end func(*natsServer) }{
		"killed": {(*natsServer).kill, func(s *natsServer) { s.start(t) }},
		"stopped": {
			func(s *natsServer) { s.signal(t, syscall.SIGSTOP) },
			func(s *natsServer) { s.signal(t, syscall.SIGCONT) },
		},
	} {
		t.Run(name, func(t *testing.T) {
			servers := startServers(t, 1)
			o := jetstream.Options{Timeout: 3 * time.Second}
			n := startNode(t, servers, o, &server.Broker{MaxEvents: 2}, 10*time.Millisecond)
			first := publish(t, n.broker, "t", "1")
			_, live := n.stream(t, first)
			for _, data := range []string{"2", "3", "4"} { // one by one, because a client that falls behind the events in memory may be disconnected
				publish(t, n.broker, "t", data)
				readTo(t, live, "data: "+data)
			}

			fault.begin(servers[0])
			readTo(t, live, unavailable)
			if !n.broker.Stats().Offline {
				t.Error("Stats.Offline is false")
			}
			status, header, err := post(t.Context(), n.url, "", `{"topic":"t","data":"lost"}`)
			if err != nil || status != http.StatusServiceUnavailable || header.Get("Retry-After") == "" {
				t.Errorf("publishing: %d, %v, %v", status, header, err)
			}
			if unstored := n.broker.Stats().Unstored; unstored != 1 {
				t.Errorf("Unstored = %d, want 1", unstored)
			}
			epoch, _, _ := strings.Cut(first, "-")
			if response, lines := n.stream(t, epoch+"-2"); response.StatusCode != http.StatusOK {
				t.Errorf("a stream from memory got status %d", response.StatusCode)
			} else {
				readTo(t, lines, "data: 4")
			}
			if response, _ := n.stream(t, first); response.StatusCode != http.StatusServiceUnavailable || response.Header.Get("Retry-After") == "" {
				t.Errorf("a stream from the store got status %d", response.StatusCode)
			}

			fault.end(servers[0])
			eventually(t, "publishing is possible again", func() bool {
				_, err := n.broker.Publish(t.Context(), "t", sse.Event{Data: "5"})
				return err == nil
			})
			readTo(t, live, "data: 5")
			eventually(t, "Stats.Offline is false", func() bool { return !n.broker.Stats().Offline })
		})
	}
}

// All nodes have the same ids, so a client can move between nodes after any event.
func TestNodesShareIDs(t *testing.T) {
	servers := startServers(t, 1)
	var nodes [3]*node
	var starting sync.WaitGroup
	for i := range nodes {
		starting.Go(func() {
			nodes[i] = startNode(t, servers, jetstream.Options{Name: "shared"}, &server.Broker{}, 0)
		})
	}
	starting.Wait()
	id := ""
	for i := range 30 {
		next := publish(t, nodes[i%3].broker, "t", fmt.Sprint(i))
		if id != "" {
			response, lines := nodes[(i+1)%3].stream(t, id)
			if gap := response.Header.Get("Event-Gap"); gap != "" {
				t.Fatalf("%s gets the gap %q", id, gap)
			}
			if before := readTo(t, lines, "id: "+next); len(before) > 0 {
				t.Errorf("between %s and %s there is %q", id, next, before)
			}
		}
		id = next
	}
}

func manage(t testing.TB, conn *client.Conn) api.Stream {
	t.Helper()
	management, err := api.New(conn)
	if err != nil {
		t.Fatal(err)
	}
	stream, err := management.Stream(t.Context(), jetstream.DefaultName)
	if err != nil {
		t.Fatal(err)
	}
	return stream
}

// Messages from other publishers are ignored, unless they look like events, and cannot confuse clients. Deleted messages
// are skipped.
func TestForeignAndDeletedMessages(t *testing.T) {
	servers := startServers(t, 1)
	n := startNode(t, servers, jetstream.Options{}, &server.Broker{}, 0)
	small := startNode(t, servers, jetstream.Options{}, &server.Broker{MaxEvents: 3}, 0)
	first := publish(t, n.broker, "t", "first")
	epoch, _, _ := strings.Cut(first, "-")
	_, live := n.stream(t, first)
	for _, message := range []string{"garbage", "id: x-1\ndata: forged\n\n", "data: a\n\ndata: b\n\n", "data: honest\n\n"} {
		if _, err := n.conn.Request("es.events.t.other", []byte(message), time.Minute); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := n.conn.Request("es.events.t.%", []byte("garbage"), time.Minute); err != nil {
		t.Fatal(err)
	}
	if err := n.conn.Publish("es.events.r.spoof", []byte("data: never stored\n\n")); err != nil {
		t.Fatal(err)
	}
	deleted := publish(t, n.broker, "t", "deleted")
	last := publish(t, n.broker, "t", "last")
	want := []string{"id: " + epoch + "-5", "data: honest", "id: " + deleted, "data: deleted"}
	if got := readTo(t, live, "id: "+last); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("live: %q, want %q", got, want)
	}
	if err := manage(t, n.conn).DeleteMsg(t.Context(), 7); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		last = publish(t, n.broker, "t", "more")
	}
	response, replay := small.stream(t, epoch+"-0")
	if gap := response.Header.Get("Event-Gap"); gap != "" {
		t.Errorf("replay: gap %q", gap)
	}
	got := readTo(t, replay, "id: "+last)
	want = []string{"id: " + first, "data: first", "id: " + epoch + "-5", "data: honest", "id: " + epoch + "-8", "data: last",
		"id: " + epoch + "-9", "data: more", "id: " + epoch + "-10", "data: more"}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("replay: %q, want %q", got, want)
	}
}

// With MaxEventsPerTopic, a client that reconnects gets the last events of each topic, and no gap event.
func TestEventsPerTopic(t *testing.T) {
	o := jetstream.Options{MaxEventsPerTopic: 1}
	servers := startServers(t, 1)
	n := startNode(t, servers, o, &server.Broker{MaxEvents: 1}, 0)
	_ = publish(t, n.broker, "kept", "0")
	second := publish(t, n.broker, "b", "1")
	for i := range 3000 {
		publish(t, n.broker, []string{"a", "b"}[i%2], fmt.Sprint(i))
	}
	last := publish(t, n.broker, "c", "last")
	for when, n := range map[string]*node{"the same node": n, "another": startNode(t, servers, o, &server.Broker{}, 0)} {
		response, lines := n.stream(t, second)
		if gap := response.Header.Get("Event-Gap"); gap != "" {
			t.Errorf("%s: gap %q", when, gap)
		}
		got := strings.Join(readTo(t, lines, "id: "+last), " ")
		if !strings.Contains(got, "data: 2998 ") || !strings.HasSuffix(got, "data: 2999") || strings.Count(got, "id: ") != 2 {
			t.Errorf("%s: received %q, want events 2998 and 2999 once each", when, got)
		}
	}
}

// A stream that was deleted and created again has a new epoch: clients are disconnected, and get a gap event when they
// return.
func TestRecreatedStreamIsNewEpoch(t *testing.T) {
	servers := startServers(t, 1)
	n := startNode(t, servers, jetstream.Options{}, &server.Broker{}, 0)
	var old string
	for range 5 {
		old = publish(t, n.broker, "t", "old")
	}
	_, live := n.stream(t, old)
	management, err := api.New(n.conn)
	if err != nil {
		t.Fatal(err)
	}
	if err := management.DeleteStream(t.Context(), jetstream.DefaultName); err != nil {
		t.Fatal(err)
	}
	other := startNode(t, servers, jetstream.Options{}, &server.Broker{}, 0)
	id := publish(t, other.broker, "t", "new")
	for live.Scan() {
		if strings.HasPrefix(live.Text(), "data: ") {
			t.Errorf("a client of the old stream gets %q", live.Text())
		}
	}
	eventually(t, "the first node has the new stream", func() bool {
		response, lines := n.stream(t, old)
		return response.Header.Get("Event-Gap") == "epoch" && readTo(t, lines, "id: "+id) != nil
	})
}

func TestOpenFails(t *testing.T) {
	conn := connect(t, startServers(t, 1))
	management, err := api.New(conn)
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "another's stream", func() bool {
		_, err = management.CreateStream(t.Context(), api.StreamConfig{Name: "orders", Subjects: []string{"orders.>"}})
		return err == nil
	})
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for name, test := range map[string]struct {
		ctx     context.Context
		options jetstream.Options
		want    string
	}{
		"name":             {t.Context(), jetstream.Options{Name: "a.b"}, jetstream.ErrName.Error()},
		"another's stream": {t.Context(), jetstream.Options{Name: "orders"}, "choose another name"},
		"context":          {ended, jetstream.Options{}, "canceled"},
		"replicas":         {t.Context(), jetstream.Options{Replicas: 3}, "replicas"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := jetstream.Open(test.ctx, conn, test.options); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("open: %v, want %q", err, test.want)
			}
		})
	}
	if info, err := management.Stream(t.Context(), "orders"); err != nil || info.CachedInfo().Config.Subjects[0] != "orders.>" {
		t.Errorf("another's stream is changed: %+v, %v", info, err)
	}
	if _, err := jetstream.Connect("nats://user:secret@127.0.0.1:1"); err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("connect: %v", err)
	}
}

func TestAppendErrors(t *testing.T) {
	n := startNode(t, startServers(t, 1), jetstream.Options{}, &server.Broker{MaxEventBytes: -1}, 0)
	if _, err := n.broker.Publish(t.Context(), "t", sse.Event{Data: strings.Repeat("x", 1<<20)}); !errors.Is(err, sse.ErrEventTooLarge) {
		t.Errorf("an event larger than a NATS message: %v", err)
	}
	publications := make([]server.Publication, 1001)
	for i := range publications {
		publications[i] = server.Publication{Topic: "t"}
	}
	if _, err := n.broker.PublishAll(t.Context(), publications...); err == nil || !strings.Contains(err.Error(), "1000") {
		t.Errorf("1,001 events: %v", err)
	}
	ids, err := n.broker.PublishAll(t.Context(), publications[:1000]...)
	if err != nil || len(ids) != 1000 || !strings.HasSuffix(ids[0], "-1") || !strings.HasSuffix(ids[999], "-1000") {
		t.Errorf("1,000 events: %d ids, %v", len(ids), err)
	}
}

// While it runs, NATS remembers every key for KeyAge. After a restart, it knows only the keys of the events that it
// keeps, as STORES.md says.
func TestKeysAndRetention(t *testing.T) {
	servers := startServers(t, 1)
	n := startNode(t, servers, jetstream.Options{MaxEvents: 3}, &server.Broker{}, 0)
	body := `{"topic":"t","data":"x"}`
	last := func() uint64 {
		t.Helper()
		var state server.StoreState
		eventually(t, "the state is known", func() (ok bool) {
			var err error
			state, err = n.store.State(t.Context())
			return err == nil
		})
		return state.Last
	}
	mustPost := func(key string) {
		t.Helper()
		eventually(t, "publishing is possible", func() bool {
			status, _, err := post(t.Context(), n.url, key, body)
			return err == nil && status == http.StatusCreated
		})
	}
	mustPost("old")
	for range 5 {
		mustPost("")
	}
	mustPost("new")
	before := last()
	mustPost("old")
	if last() != before {
		t.Error("a key was forgotten with its event")
	}
	servers[0].kill()
	servers[0].start(t)
	mustPost("new")
	if last() != before {
		t.Error("a key was forgotten although its event is kept")
	}
	mustPost("old")
	if last() != before+1 {
		t.Error("STORES.md promises too little: NATS remembers keys of dropped events")
	}
}
