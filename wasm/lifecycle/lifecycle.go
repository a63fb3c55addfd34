// Package lifecycle implements the connection of an EventSource as a state machine. It follows section 9.2.3 "Processing
// model" of the HTML Standard. Each input is a method that returns a [Command] for the driver to execute. The package does
// no I/O, starts no goroutines and reads no clock, so it can be tested with tables and called from JavaScript.
package lifecycle

import "github.com/eventsource-wasm/eventsource-wasm/sse"

// ReadyState is the state of a connection. The values are those of EventSource.readyState.
type ReadyState uint8

const (
	Connecting ReadyState = iota
	Open
	Closed
)

// An Action is the kind of a [Command].
type Action uint8

const (
	// None does nothing. It is the result of inputs that no longer matter, such as a timer that fires after close.
	None Action = iota

	// Fetch requests URL, with LastEventID in Last-Event-ID unless it is empty. Call [Source.Respond] or [Source.Fail]
	// with the result.
	Fetch

	// Announce fires open, then reads the response's body into [Source.Parser]. Call [Source.End] or [Source.Fail] at
	// the end. Unless Delay is zero, also call [Source.Timer] after Delay if the connection is still open.
	Announce

	// Reestablish fires error with readyState CONNECTING. Call [Source.Timer] after Delay.
	Reestablish

	// Wait only waits. Call [Source.Timer] after Delay.
	Wait

	// Fail aborts the request and fires error with readyState CLOSED.
	Fail

	// Abort aborts the request and stops the timer. It fires no event.
	Abort
)

// A Command tells the driver what to do. Only the fields that its Action mentions are set.
type Command struct {
	Do          Action
	URL         string
	LastEventID string // as UTF-8 bytes, for the header
	Delay       uint32 // milliseconds, at most MaxDelay
	Reason      Reason
}

// MaxDelay is the maximum Delay of a [Command], in milliseconds. A timer in JavaScript with a longer delay fires at once, so
// a longer delay takes several commands.
const MaxDelay = 1<<31 - 1

// A Source is the state of one connection. Create one with [New].
type Source struct {
	// Parser parses the body of the announced response.
	Parser sse.Parser

	// Retry is the reconnection policy. It must be set before the first reconnection.
	Retry Retry

	phase Phase
	url   string // of the next request
	wait  uint64 // the remaining delay before the next request, in milliseconds
}

// A Phase is the phase of a connection. js/states.js has the same numbers.
type Phase uint8

const (
	idle       Phase = iota // waits for Connect
	requesting              // waits for Respond
	streaming               // waits for End
	waiting                 // waits for Timer
	closed
)

// New returns a connection for url, which must be absolute.
func New(url string) *Source { return &Source{url: url} }

// A State is the state of a [Source] between two inputs, except for its Parser and its retry policy.
type State struct {
	Phase    Phase
	URL      string // of the next request
	Wait     uint64 // the remaining delay after the one that was commanded, in milliseconds
	Failures uint32 // consecutive
}

// Resume returns a connection that continues where another one stopped. The caller sets its Parser.
func Resume(s State, r Retry) *Source {
	r.failures = s.Failures
	return &Source{phase: s.Phase, url: s.URL, wait: s.Wait, Retry: r}
}

// ReadyState returns the connection's state.
func (s *Source) ReadyState() ReadyState {
	switch s.phase {
	case streaming:
		return Open
	case closed:
		return Closed
	default:
		return Connecting
	}
}

// Connect begins. Its command is the first request.
func (s *Source) Connect() Command {
	if s.phase != idle {
		return Command{}
	}
	return s.fetch()
}

// A Response holds the fields that decide what happens next.
type Response struct {
	Status      int
	ContentType string // the Content-Type header's values, joined by commas
	URL         string // after redirects; empty means that of the request
	RetryAfter  uint64 // from Retry-After, in milliseconds
}

// Respond handles the response to the request.
//
// "Otherwise, if res's status is not 200, or if res's `Content-Type` is not `text/event-stream`, then fail the
// connection. Otherwise, announce the connection and interpret res's body line by line."
func (s *Source) Respond(response Response) Command {
	switch {
	case s.phase != requesting:
		return Command{}
	case response.Status != 200 && s.Retry.includes(response.Status):
		return s.reestablishAfter(ReasonStatus, response.RetryAfter)
	case response.Status != 200:
		return s.fail(ReasonStatus)
	case !isEventStream(response.ContentType):
		return s.fail(ReasonContentType)
	}
	if response.URL != "" {
		// Reconnect to the final URL: the standard reuses the request and its URL list, which includes redirects.
		s.url = response.URL
	}
	s.phase = streaming
	s.Parser.Reset()
	return Command{Do: Announce, Delay: s.Retry.opened()}
}

// Fail handles a network error of the request or of the response's body. If forbidden is true, the browser does not allow
// the request, and the connection fails.
//
// "If res is a network error, then reestablish the connection, unless the user agent knows that to be futile, in which
// case the user agent may fail the connection."
func (s *Source) Fail(forbidden bool) Command {
	switch {
	case s.phase != requesting && s.phase != streaming:
		return Command{}
	case forbidden:
		return s.fail(ReasonForbidden)
	default:
		return s.reestablish(ReasonNetwork)
	}
}

// End handles the end of the response's body, or of reading it because [sse.Parser.Err] is not nil.
//
// "processResponseEndOfBody: […] If res is not a network error, then reestablish the connection." A stream whose event was
// too large fails, because the server would send that event again.
func (s *Source) End() Command {
	switch {
	case s.phase != streaming:
		return Command{}
	case s.Parser.Err() != nil:
		return s.fail(ReasonLimit)
	default:
		return s.reestablish(ReasonEnded)
	}
}

// Wake reconnects at once, for example because the network is back or the computer has slept: it ends a delay, and replaces
// a connection that may be dead. The retry policy does not count this as a failure.
func (s *Source) Wake() Command {
	switch s.phase {
	case waiting:
		return s.fetch()
	case requesting, streaming:
		s.phase, s.wait = waiting, 0
		return Command{Do: Reestablish, Reason: ReasonWake}
	default:
		return Command{}
	}
}

// Timer handles the end of a delay: that of Announce, Reestablish or Wait.
func (s *Source) Timer() Command {
	switch {
	case s.phase == streaming:
		s.Retry.failures = 0
		return Command{}
	case s.phase != waiting:
		return Command{}
	case s.wait > 0:
		return Command{Do: Wait, Delay: s.takeDelay()}
	default:
		return s.fetch()
	}
}

// Close implements close(), "which must abort any instances of the fetch algorithm started for this EventSource object, and
// must set the readyState attribute to CLOSED".
func (s *Source) Close() Command {
	if s.phase == closed {
		return Command{}
	}
	s.phase = closed
	return Command{Do: Abort}
}

// fetch: "If the EventSource object's last event ID string is not the empty string, then: Let lastEventIDValue be the
// EventSource object's last event ID string, encoded as UTF-8. Set (`Last-Event-ID`, lastEventIDValue) in request's
// header list."
func (s *Source) fetch() Command {
	s.phase = requesting
	return Command{Do: Fetch, URL: s.url, LastEventID: string(s.Parser.LastEventID())}
}

// reestablish: "If the readyState attribute is set to CLOSED, abort the task. Set the readyState attribute to
// CONNECTING. Fire an event named error at the EventSource object. […] Wait a delay equal to the reconnection time of
// the event source. Optionally, wait some more. In particular, if the previous attempt failed, then user agents might
// introduce an exponential backoff delay". The timer may start before the event fires, since no timer fires within a
// task.
func (s *Source) reestablish(reason Reason) Command { return s.reestablishAfter(reason, 0) }

func (s *Source) reestablishAfter(reason Reason, atLeast uint64) Command {
	if !s.Retry.another(&s.Parser) {
		return s.fail(reason)
	}
	s.phase = waiting
	s.wait = max(atLeast, s.Retry.delay(&s.Parser))
	return Command{Do: Reestablish, Delay: s.takeDelay(), Reason: reason}
}

func (s *Source) takeDelay() uint32 {
	delay := min(s.wait, MaxDelay)
	s.wait -= delay
	return uint32(delay)
}

// fail: "Set the readyState attribute to CLOSED and fire an event named error at the EventSource object. Once the user
// agent has failed the connection, it does not attempt to reconnect."
func (s *Source) fail(reason Reason) Command {
	s.phase = closed
	return Command{Do: Fail, Reason: reason}
}

// ByteString returns a string whose code points are the bytes of s: fetch writes one byte of a header value for each code
// point. It also preserves a leading U+FEFF, which syscall/js would drop.
func ByteString(s string) string {
	for i := range len(s) {
		if s[i] >= 0x80 {
			points := make([]rune, len(s))
			for i := range len(s) {
				points[i] = rune(s[i])
			}
			return string(points)
		}
	}
	return s
}
