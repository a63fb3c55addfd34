package lifecycle

import (
	"math"
	"testing"

	"github.com/eventsource-wasm/eventsource-wasm/sse"
)

const (
	url    = "http://a.example/stream"
	stream = "text/event-stream"
)

// An input is one call of a method of Source.
type input func(*Source) Command

func connect(s *Source) Command   { return s.Connect() }
func ok(s *Source) Command        { return s.Respond(Response{Status: 200, ContentType: stream, URL: url}) }
func lost(s *Source) Command      { return s.Fail(false) }
func forbidden(s *Source) Command { return s.Fail(true) }
func end(s *Source) Command       { return s.End() }
func timer(s *Source) Command     { return s.Timer() }
func stop(s *Source) Command      { return s.Close() }
func wake(s *Source) Command      { return s.Wake() }

func respond(status int, contentType, url string) input {
	return func(s *Source) Command {
		return s.Respond(Response{Status: status, ContentType: contentType, URL: url})
	}
}

func receive(chunk string) input {
	return func(s *Source) Command {
		s.Parser.Feed([]byte(chunk))
		for s.Parser.Next() {
		}
		return Command{}
	}
}

// The commands that tests expect.
var (
	nothing  = Command{}
	first    = Command{Do: Fetch, URL: url}
	announce = Command{Do: Announce}
	abort    = Command{Do: Abort}
)

func fetchWith(id string) Command { return Command{Do: Fetch, URL: url, LastEventID: id} }

func fetchFrom(url string) Command { return Command{Do: Fetch, URL: url} }

func again(delay uint32, reason Reason) Command {
	return Command{Do: Reestablish, Delay: delay, Reason: reason}
}

func wait(delay uint32) Command { return Command{Do: Wait, Delay: delay} }

func failed(reason Reason) Command { return Command{Do: Fail, Reason: reason} }

type step struct {
	name  string
	input input
	want  Command
	state ReadyState
}

func TestLifecycle(t *testing.T) {
	opened := []step{{"connect", connect, first, Connecting}, {"200", ok, announce, Open}}
	ended := append(opened[:2:2], step{"end", end, again(3000, ReasonEnded), Connecting})
	for _, tt := range []struct {
		name  string
		steps []step
	}{
		{"the stream ends and is resumed", append(ended[:3:3],
			step{"timer", timer, first, Connecting},
			step{"200", ok, announce, Open})},
		{"the last event ID is sent", append(opened[:2:2],
			step{"event", receive("id: é\ndata\n\nid: 2"), nothing, Open},
			step{"end", end, again(3000, ReasonEnded), Connecting},
			step{"timer", timer, fetchWith("é"), Connecting},
			step{"200", ok, announce, Open},
			step{"end", end, again(3000, ReasonEnded), Connecting},
			step{"timer", timer, fetchWith("é"), Connecting})},
		{"the network fails before the response", []step{
			{"connect", connect, first, Connecting},
			{"error", lost, again(3000, ReasonNetwork), Connecting},
			{"timer", timer, first, Connecting}}},
		{"the network fails in the stream", append(opened[:2:2],
			step{"error", lost, again(3000, ReasonNetwork), Connecting})},
		{"the browser forbids the request", []step{
			{"connect", connect, first, Connecting},
			{"error", forbidden, failed(ReasonForbidden), Closed},
			{"timer", timer, nothing, Closed}}},
		{"wake ends the delay", append(ended[:3:3],
			step{"wake", wake, first, Connecting},
			step{"the old timer", timer, nothing, Connecting},
			step{"200", ok, announce, Open})},
		{"wake replaces an open connection and resumes at once", append(opened[:2:2],
			step{"event", receive("retry: 7\nid: 2\ndata\n\n"), nothing, Open},
			step{"wake", wake, again(0, ReasonWake), Connecting},
			step{"timer", timer, fetchWith("2"), Connecting},
			step{"error", lost, again(7, ReasonNetwork), Connecting})},
		{"wake replaces a request", []step{
			{"connect", connect, first, Connecting},
			{"wake", wake, again(0, ReasonWake), Connecting},
			{"its response", ok, nothing, Connecting},
			{"timer", timer, first, Connecting}}},
		{"wake does nothing before connect or after close", []step{
			{"wake", wake, nothing, Connecting},
			{"connect", connect, first, Connecting},
			{"close", stop, abort, Closed},
			{"wake", wake, nothing, Closed}}},
		{"retry changes the delay", append(opened[:2:2],
			step{"retry", receive("retry: 7\n"), nothing, Open},
			step{"end", end, again(7, ReasonEnded), Connecting},
			step{"timer", timer, first, Connecting},
			step{"error", lost, again(7, ReasonNetwork), Connecting})},
		{"retry zero", append(opened[:2:2],
			step{"retry", receive("retry: 0\n"), nothing, Open},
			step{"end", end, again(0, ReasonEnded), Connecting},
			step{"timer", timer, first, Connecting})},
		{"a delay longer than a timer's takes several waits", append(opened[:2:2],
			step{"retry", receive("retry: 4294967295\n"), nothing, Open},
			step{"end", end, again(MaxDelay, ReasonEnded), Connecting},
			step{"timer", timer, wait(MaxDelay), Connecting},
			step{"timer", timer, wait(1), Connecting},
			step{"timer", timer, first, Connecting})},
		{"redirects", []step{
			{"connect", connect, first, Connecting},
			{"200", respond(200, stream, "http://b.example/"), announce, Open},
			{"end", end, again(3000, ReasonEnded), Connecting},
			{"timer", timer, fetchFrom("http://b.example/"), Connecting},
			{"200", respond(200, stream, ""), announce, Open},
			{"end", end, again(3000, ReasonEnded), Connecting},
			{"timer", timer, fetchFrom("http://b.example/"), Connecting}}},
		{"204 ends permanently", []step{
			{"connect", connect, first, Connecting},
			{"204", respond(204, stream, url), failed(ReasonStatus), Closed},
			{"end", end, nothing, Closed}}},
		{"200 without an event stream", []step{
			{"connect", connect, first, Connecting},
			{"200", respond(200, "text/html", url), failed(ReasonContentType), Closed}}},
		{"500 after a reconnection", append(ended[:3:3],
			step{"timer", timer, first, Connecting},
			step{"500", respond(500, stream, url), failed(ReasonStatus), Closed})},
		{"close before it begins", []step{
			{"close", stop, abort, Closed},
			{"connect", connect, nothing, Closed}}},
		{"close during the request", []step{
			{"connect", connect, first, Connecting},
			{"close", stop, abort, Closed},
			{"200", ok, nothing, Closed},
			{"error", lost, nothing, Closed},
			{"close", stop, nothing, Closed}}},
		{"close in the stream", append(opened[:2:2],
			step{"close", stop, abort, Closed},
			step{"end", end, nothing, Closed},
			step{"error", forbidden, nothing, Closed})},
		{"close while waiting", append(ended[:3:3],
			step{"close", stop, abort, Closed},
			step{"timer", timer, nothing, Closed})},
		{"inputs out of turn", []step{
			{"timer", timer, nothing, Connecting},
			{"200", ok, nothing, Connecting},
			{"end", end, nothing, Connecting},
			{"error", lost, nothing, Connecting},
			{"connect", connect, first, Connecting},
			{"connect", connect, nothing, Connecting},
			{"end", end, nothing, Connecting},
			{"timer", timer, nothing, Connecting}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := New(url)
			for i, step := range tt.steps {
				got, state := step.input(s), s.ReadyState()
				if got != step.want || state != step.state {
					t.Fatalf("step %d, %s: %+v in state %d, want %+v in %d", i, step.name, got, state, step.want, step.state)
				}
			}
		})
	}
}

func TestLongestDelay(t *testing.T) {
	s := New(url)
	connect(s)
	ok(s)
	receive("retry: 18446744073709551615\n")(s)
	if got, want := s.End(), again(MaxDelay, ReasonEnded); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	if left := uint64(math.MaxUint64 - MaxDelay); s.wait != left {
		t.Errorf("%d ms left, want %d", s.wait, left)
	}
}

func TestLimit(t *testing.T) {
	s := New(url)
	s.Parser.MaxEventSize = 1
	connect(s)
	ok(s)
	receive("data: ab\n\n")(s)
	if s.Parser.MaxEventSize != 1 || s.Parser.Err() != sse.ErrEventTooLarge {
		t.Fatalf("limit %d, error %v", s.Parser.MaxEventSize, s.Parser.Err())
	}
	if got, want := s.End(), failed(ReasonLimit); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}

func TestStatus(t *testing.T) {
	for status := 100; status < 600; status++ {
		s := New(url)
		connect(s)
		want := failed(ReasonStatus)
		if status == 200 {
			want = announce
		}
		if got := s.Respond(Response{Status: status, ContentType: stream, URL: url}); got != want {
			t.Errorf("%d: %+v, want %+v", status, got, want)
		}
	}
}

func TestContentType(t *testing.T) {
	for contentType, want := range map[string]bool{
		"text/event-stream":                            true,
		"TEXT/Event-Stream":                            true,
		" text/event-stream\t":                         true,
		"text/event-stream;":                           true,
		"text/event-stream; charset=utf-8":             true,
		"text/event-stream;charset=iso-8859-1":         true,
		"text/event-stream ; x=\"a,b\\\"\", ":          true,
		"text/plain, text/event-stream":                true,
		"text/event-stream, */*":                       true,
		"text/event-stream, bogus":                     true,
		"text/event-stream, text/plain":                false,
		"text/plain; x=\"a, text/event-stream\"":       false,
		"text/plain; x=\"a\\\", text/event-stream\"":   false,
		"text/plain; x=\"\", text/event-stream; y=\"z": true,
		"":                         false,
		"text/plain":               false,
		"text/event-streams":       false,
		"text/event stream":        false,
		"text/event-stream foo":    false,
		"text/event-stream/x":      false,
		"/event-stream":            false,
		"text/":                    false,
		"text":                     false,
		"*/*":                      false,
		"application/event-stream": false,
		"téxt/event-stream":        false,
	} {
		if got := isEventStream(contentType); got != want {
			t.Errorf("%q: %v, want %v", contentType, got, want)
		}
	}
}

func TestByteString(t *testing.T) {
	for s, want := range map[string]string{"": "", "abc": "abc", "é": "\u00c3\u00a9", "\uFEFFa": "\u00ef\u00bb\u00bfa"} {
		if got := ByteString(s); got != want {
			t.Errorf("%q: %q, want %q", s, got, want)
		}
	}
}
