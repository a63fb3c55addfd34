package server_test

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/eventsource-wasm/eventsource-wasm/server"
	"github.com/eventsource-wasm/eventsource-wasm/sse"
)

const (
	publishers      = 4
	eventsPublisher = 300
	readers         = 8
)

// Publishers race. Clients leave after any event, are disconnected, and resume with their last id. Each must get every
// event of its topics once, and all must get them in the same order.
func TestNoGapNoDuplicate(t *testing.T) { onEachPath(t, testNoGapNoDuplicate) }

func testNoGapNoDuplicate(t *testing.T, noHijack bool) {
	broker := &server.Broker{}
	url := start(t, &server.Handler{Broker: broker, NoHijack: noHijack, Logger: quiet})
	var tasks sync.WaitGroup
	traces := make([][]string, readers)
	var ready sync.WaitGroup
	ready.Add(readers)
	for i := range readers {
		target := url
		if i%2 == 1 {
			target += "?topic=even"
		}
		r := &reader{t: t, url: target, random: rand.New(rand.NewPCG(1, uint64(i)))}
		tasks.Go(func() { traces[i] = r.run(&ready) })
	}
	ready.Wait()
	var publishing sync.WaitGroup
	for p := range publishers {
		publishing.Go(func() { publishNumbered(t, broker, p) })
	}
	publishing.Wait()
	publish(t, broker, "even", "end")
	tasks.Wait()

	for i, trace := range traces {
		want := publishers * eventsPublisher
		if i%2 == 1 {
			want /= 2
		}
		if len(trace) != want {
			t.Errorf("client %d got %d events, want %d", i, len(trace), want)
		}
		if first := strings.Join(traces[i%2], " "); strings.Join(trace, " ") != first {
			t.Errorf("client %d got another order than client %d", i, i%2)
		}
	}
}

// publishNumbered publishes to two topics in turn, and sometimes disconnects all clients.
func publishNumbered(t *testing.T, broker *server.Broker, publisher int) {
	for n := range eventsPublisher {
		event := sse.Event{Data: fmt.Sprintf("%d:%d", publisher, n)}
		if _, err := broker.Publish(t.Context(), []string{"even", "odd"}[n%2], event); err != nil {
			t.Error(err)
		}
		if n%100 == 99 {
			broker.DisconnectAll()
		}
	}
}

// A reader is a client that reconnects. Its methods run on another goroutine than the test, so they do not use t.Fatal.
type reader struct {
	t      *testing.T
	url    string
	random *rand.Rand
	lastID string
	trace  []string
}

func (r *reader) run(ready *sync.WaitGroup) []string {
	for attempt := 0; !r.t.Failed(); attempt++ {
		var greeted func()
		if attempt == 0 {
			greeted = ready.Done
		}
		if r.connect(1+r.random.IntN(60), greeted) {
			break
		}
	}
	return r.trace
}

// connect reads a limited number of events, and reports whether it has reached the last one.
func (r *reader) connect(events int, greeted func()) (done bool) {
	request, err := http.NewRequest(http.MethodGet, r.url, nil)
	if err != nil {
		r.t.Error(err)
		return true
	}
	request.Header.Set("Last-Event-ID", r.lastID)
	response, err := http.DefaultTransport.RoundTrip(request)
	if err != nil {
		return false
	}
	defer response.Body.Close()
	if gap := response.Header.Get("Event-Gap"); gap != "" {
		r.t.Errorf("gap %s after %s", gap, r.lastID)
	}
	c := newClient(r.t, response)
	for range events {
		b, err := c.read()
		if err != nil {
			return false
		}
		if greeted != nil {
			greeted()
			greeted = nil
		}
		if done = r.take(b); done {
			break
		}
	}
	return done
}

func (r *reader) take(b block) (done bool) {
	if b["event"] == "gap" || number(b["id"]) < number(r.lastID) {
		r.t.Errorf("got %v after %s", b, r.lastID)
	}
	r.lastID = b["id"]
	data, isEvent := b["data"]
	if isEvent && data != "end" {
		r.trace = append(r.trace, data)
	}
	return data == "end"
}

func number(id string) int {
	_, digits, _ := strings.Cut(id, "-")
	n, _ := strconv.Atoi(digits)
	return n
}
