package main

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/eventsource-wasm/eventsource-wasm/server"
	"github.com/eventsource-wasm/eventsource-wasm/sse"
)

// The soak relies on sessions to detect every fault. These streams are written by hand.
func TestSessionDetectsFaults(t *testing.T) {
	broker := &server.Broker{}
	l := newLedger(broker, []string{"a", "b"})
	data := map[int]string{} // by sequence
	for sequence, topic := range []int{1: 0, 2: 1, 3: 0, 4: 0, 5: 1, 6: 0} {
		if sequence == 0 {
			continue
		}
		n := l.after(topic, 100)
		if err := l.publish(topic, 10); err != nil {
			t.Fatal(err)
		}
		data[sequence] = fmt.Sprintf("%d %d 1 10 %s", topic, n, l.filler[:10])
	}
	epoch, _ := l.newest()
	id := func(sequence int) string { return fmt.Sprintf("id: %s-%d\n\n", epoch, sequence) }
	event := func(sequence int) string { return fmt.Sprintf("data: %s\n%s", data[sequence], id(sequence)) }
	gap := func(requested string, first int, reason string) string {
		return fmt.Sprintf("event: gap\ndata: {\"requested\":%q,\"first\":\"%s-%d\",\"reason\":%q}\n%s", requested, epoch, first, reason, id(first-1))
	}
	own := func(sequence int) string { return fmt.Sprintf("%s-%d", epoch, sequence) }

	for _, test := range []struct {
		name   string
		asked  string
		after  uint64
		header string
		stream string
		fault  string // part of the error; empty means none
	}{
		{name: "live", stream: ":\n" + id(0) + event(1) + event(3) + event(4)},
		{name: "an id moves the client", stream: id(1) + id(2) + event(3)},
		{name: "resumed", asked: own(3), after: 3, stream: ":\n\n" + event(4) + event(6) + id(6)},
		{name: "a gap in between", asked: own(0), stream: event(1) + gap(own(2), 4, "lag") + event(4)},
		{name: "a gap first", asked: own(1), after: 1, header: "expired", stream: gap(own(1), 6, "expired") + event(6)},
		{name: "an id from another log", asked: "other-4", header: "epoch", stream: gap("other-4", 3, "epoch") + event(3)},
		{name: "no id", asked: "four", header: "malformed", stream: gap("four", 3, "malformed") + event(3)},
		{name: "a future id", asked: own(99), header: "future", stream: gap(own(99), 3, "future") + event(3)},

		{name: "a lost event", stream: id(0) + event(1) + event(4), fault: "want number 1"},
		{name: "the first event is lost", stream: id(0) + event(3), fault: "want number 0"},
		{name: "the last event is lost", stream: id(0) + event(1) + id(4), fault: "event 3 of topic \"a\" is missing"},
		{name: "a duplicate", stream: id(0) + event(1) + event(1), fault: "event 1 follows 1"},
		{name: "a duplicate after a resumption", asked: own(3), after: 3, stream: event(3), fault: "event 3 follows 3"},
		{name: "out of order", stream: id(0) + event(1) + event(4) + event(3), fault: "want number 1"},
		{name: "an event of another topic", stream: id(0) + event(1) + event(2), fault: "the client asked for"},
		{name: "no id before an event", stream: event(1), fault: "before an id"},
		{name: "a wrong id", stream: id(0) + strings.Replace(event(1), "-1\n", "-2\n", 1), fault: "was published as 1"},
		{name: "damaged data", stream: id(0) + strings.Replace(event(1), "345", "3x5", 1), fault: "is damaged"},
		{name: "a torn event", stream: id(0) + "data: 0 0\n" + id(1), fault: "the data is"},
		{name: "an unknown id", stream: "id: other-3\n\n", fault: "unknown epoch"},
		{name: "an id goes back", stream: id(3) + event(4) + id(2), fault: "goes back"},
		{name: "an unknown type", stream: id(0) + "event: x\n" + event(1), fault: "unknown type"},

		{name: "a gap that hides a loss before it", asked: own(0), stream: event(1) + gap(own(3), 5, "lag"), fault: "event 3 of topic \"a\" is missing"},
		{name: "a gap without a reason", asked: own(1), after: 1, stream: gap(own(1), 2, "expired"), fault: "no event is missing"},
		{name: "a gap that goes back", asked: own(4), after: 4, stream: gap(own(4), 2, "expired"), fault: "no event is missing"},
		{name: "a gap for a known id", asked: own(1), after: 1, stream: gap(own(1), 3, "epoch"), fault: "has assigned this id"},
		{name: "a gap with another's id", asked: "other-4", stream: gap("other-5", 3, "epoch"), fault: "the client asked for"},
		{name: "a gap with the wrong reason", asked: "other-4", stream: gap("other-4", 3, "malformed"), fault: "which is epoch"},
		{name: "a gap event that is not a gap", asked: own(1), after: 1, stream: "event: gap\ndata: x\n" + id(1), fault: "gap event \"x\""},
		{name: "a gap with a wrong id", asked: own(1), after: 1, stream: strings.Replace(gap(own(1), 6, "lag"), "-5\n", "-4\n", 1), fault: "with sequence 4"},
		{name: "a header without its event", asked: own(1), after: 1, header: "expired", stream: event(3), fault: "that the header announces"},
		{name: "a header of another reason", asked: own(1), after: 1, header: "lag", stream: gap(own(1), 6, "expired"), fault: "Event-Gap is"},
		{name: "an event instead of a gap", asked: "other-4", stream: event(3), fault: "without a gap"},
		{name: "a gap for a new client", header: "expired", stream: event(3), fault: "sent no id"},
	} {
		for _, size := range []int{1, 7, 1 << 20} {
			t.Run(fmt.Sprintf("%s in pieces of %d", test.name, size), func(t *testing.T) {
				s := resume(l, l.filter("a"), test.asked, test.after)
				err := s.open(&http.Response{Header: http.Header{"Event-Gap": {test.header}}})
				for rest := []byte(test.stream); err == nil && len(rest) > 0; {
					n := min(size, len(rest))
					err = s.feed(rest[:n])
					rest = rest[n:]
				}
				checkFault(t, err, test.fault)
			})
		}
		t.Run(test.name+" with a reconnection after each block", func(t *testing.T) {
			s := resume(l, l.filter("a"), test.asked, test.after)
			err := s.open(&http.Response{Header: http.Header{"Event-Gap": {test.header}}})
			for block := range strings.SplitAfterSeq(test.stream, "\n\n") {
				if err == nil {
					err = s.feed([]byte(block))
					s = s.again()
				}
			}
			checkFault(t, err, test.fault)
		})
	}
}

func checkFault(t *testing.T, err error, want string) {
	t.Helper()
	switch {
	case want == "" && err != nil:
		t.Errorf("feed: %v, want no error", err)
	case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
		t.Errorf("feed: %v, want %q", err, want)
	}
}

// A client may receive an event and reconnect before the publisher has recorded the event's id.
func TestSessionIsAheadOfPublishers(t *testing.T) {
	broker := &server.Broker{}
	l := newLedger(broker, []string{"a", "b"})
	var ids, blocks []string
	for n := range 2 {
		for topic, name := range l.names {
			data := fmt.Sprintf("%d %d 1 0 ", topic, n)
			id, err := broker.Publish(t.Context(), name, sse.Event{Data: data})
			if err != nil {
				t.Fatal(err)
			}
			ids, blocks = append(ids, id), append(blocks, fmt.Sprintf("data: %s\nid: %s\n\n", data, id))
		}
	}
	record := func(topic, i int) {
		if err := l.record(topic, ids[i]); err != nil {
			t.Fatal(err)
		}
	}
	s := resume(l, l.filter("a", "b"), "", 0)
	receive := func(stream string) {
		t.Helper()
		if err := s.feed([]byte(stream)); err != nil {
			t.Fatal(err)
		}
		s = s.again()
	}
	epoch, _, _ := strings.Cut(ids[0], "-")
	receive(fmt.Sprintf("id: %s-0\n\n", epoch) + blocks[0])
	record(1, 1)
	receive(blocks[1])
	if _, head := l.newest(); head != 0 {
		t.Errorf("the ledger claims to be complete up to %d, but the first event is not recorded", head)
	}
	record(0, 0)
	receive(blocks[2] + blocks[3])
	if s.at != 4 {
		t.Errorf("the session is at %d", s.at)
	}
	if err := s.feed([]byte(blocks[3])); err == nil {
		t.Error("a duplicate after a reconnection is not a fault")
	}
}

// An event with a wrong id is a fault, also if its publisher records the right id only after the client has reconnected.
func TestSessionChecksEventsOfTheConnectionBefore(t *testing.T) {
	l := newLedger(&server.Broker{}, []string{"a"})
	s := resume(l, l.filter("a"), "", 0)
	if err := s.feed([]byte("id: x-0\n\ndata: 0 0 1 0 \nid: x-2\n\n")); err != nil {
		t.Fatal(err)
	}
	s = s.again()
	if err := l.record(0, "x-1"); err != nil {
		t.Fatal(err)
	}
	checkFault(t, s.feed([]byte("data: 0 1 1 0 \nid: x-3\n\n")), "was published as 1")
}

func TestMatches(t *testing.T) {
	for _, test := range []struct {
		pattern, name string
		want          bool
	}{
		{"a.b", "a.b", true}, {"a.b", "a.c", false}, {"a", "a.b", false}, {"a.b", "a", false},
		{"a.*", "a.b", true}, {"a.*", "a", false}, {"a.*", "a.b.c", false}, {"*.b", "a.b", true},
		{"a.>", "a.b.c", true}, {"a.>", "a", false}, {">", "a", true}, {">.a", "b.a", false},
	} {
		if got := matches(test.pattern, test.name); got != test.want {
			t.Errorf("matches(%q, %q) = %v", test.pattern, test.name, got)
		}
	}
}

// Damaged compressed data is a fault. A broken connection is not.
func TestDecode(t *testing.T) {
	var whole bytes.Buffer
	w := gzip.NewWriter(&whole)
	w.Write(bytes.Repeat([]byte("data: x\n\n"), 1000))
	w.Close()
	damaged := bytes.Clone(whole.Bytes())
	damaged[len(damaged)-6] ^= 1 // its checksum
	cut := io.MultiReader(bytes.NewReader(whole.Bytes()[:20]), errorReader{errors.New("reset")})
	for _, test := range []struct {
		name  string
		body  io.Reader
		fault bool
	}{
		{"whole", bytes.NewReader(whole.Bytes()), false},
		{"damaged", bytes.NewReader(damaged), true},
		{"truncated, but the connection ended cleanly", bytes.NewReader(whole.Bytes()[:20]), true},
		{"cut", cut, false},
		{"plain", strings.NewReader("data: x\n\n"), true},
	} {
		t.Run(test.name, func(t *testing.T) {
			response := &http.Response{Header: http.Header{"Content-Encoding": {"gzip"}}, Body: io.NopCloser(test.body)}
			body, err := decode(response, "gzip")
			if err == nil {
				_, err = io.Copy(io.Discard, body)
			}
			if _, is := errors.AsType[fault](err); is != test.fault {
				t.Errorf("decode: %v", err)
			}
		})
	}
}

type errorReader struct{ err error }

func (r errorReader) Read([]byte) (int, error) { return 0, r.err }

func TestReportedFaults(t *testing.T) {
	c := &complaints{}
	web := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("a fault") }))
	web.Config.ErrorLog = c.logger()
	web.Start()
	defer web.Close()
	if response, err := http.Get(web.URL); err == nil {
		response.Body.Close()
	}
	if err := c.fault(); err == nil {
		t.Error("a panic is not reported as a fault")
	}
}
