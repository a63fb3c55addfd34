// Package lifecycle is the connection of an EventSource as the HTML Standard describes it in section 9.2.3 "Processing
// model", without the world around it: each input is a method that returns the [Command] which the driver carries out.
// It does no I/O, starts no goroutine and knows no clock, so it is exact, testable as a table, and safe to run inside a
// function that JavaScript calls.
package lifecycle

import "github.com/eventsource-wasm/eventsource-wasm/sse"

// ReadyState is the state of a connection as EventSource.readyState tells it.
type ReadyState uint8

const (
	Connecting ReadyState = iota
	Open
	Closed
)

// An Action is what a [Command] asks for.
type Action uint8

const (
	// None asks for nothing. Every input that comes too late gets it: a timer that fired while the page called close.
	None Action = iota

	// Fetch asks for a request of URL, with LastEventID in Last-Event-ID unless it is empty. It is answered by
	// [Source.Respond] or [Source.Fail].
	Fetch

	// Announce asks to fire open, then to read the response's body. Its bytes go to [Source.Parser], and
	// [Source.End] or [Source.Fail] follows. Unless Delay is zero, it also asks to call [Source.Timer] if the
	// connection is still open once that has passed.
	Announce

	// Reestablish asks to fire error with readyState CONNECTING, and to call [Source.Timer] once Delay has passed.
	Reestablish

	// Wait asks to call [Source.Timer] once Delay has passed.
	Wait

	// Fail asks to abort the request and to fire error with readyState CLOSED.
	Fail

	// Abort asks to abort the request, to stop the timer, and to fire nothing.
	Abort
)

// A Command is what the driver has to do. Only the fields that its Action names are set.
type Command struct {
	Do          Action
	URL         string
	LastEventID string // the id's UTF-8 bytes, as they go into the header
	Delay       uint32 // milliseconds, at most MaxDelay
	Reason      Reason
}

// MaxDelay is the longest delay, in milliseconds, that JavaScript's timers count: one of more fires at once. A longer
// reconnection time is waited for in turns.
const MaxDelay = 1<<31 - 1

// A Source is the state of one connection. Create one with [New].
type Source struct {
	// Parser takes the body of the response that was announced.
	Parser sse.Parser

	// Retry is the policy of reconnections. It may be set until the first of them.
	Retry Retry

	phase Phase
	url   string // of the next request
	wait  uint64 // what is left of the time until the next request, in milliseconds
}

// A Phase is what a [Source] waits for.
type Phase uint8

const (
	idle       Phase = iota // Connect
	requesting              // Respond
	streaming               // End
	waiting                 // Timer
	closed
)

// New returns the connection of an EventSource for url, which must be absolute.
func New(url string) *Source { return &Source{url: url} }

// A State is what a [Source] knows between two inputs, beside its Parser and its policy of retries.
type State struct {
	Phase    Phase
	URL      string // of the next request
	Wait     uint64 // what is left of a delay behind the one that was asked for, in milliseconds
	Failures uint32 // in a row
}

// Resume returns a connection that goes on where another has stopped. Its Parser and its policy are to be set.
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

// Connect begins: its command is the first request.
func (s *Source) Connect() Command {
	if s.phase != idle {
		return Command{}
	}
	return s.fetch()
}

// A Response is what of a response decides over the connection.
type Response struct {
	Status      int
	ContentType string // the Content-Type header's values, joined by commas
	URL         string // after redirects; empty means that of the request
	RetryAfter  uint64 // what Retry-After asks to wait, in milliseconds
}

// Respond takes the response to the request.
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
		// The reconnection goes where redirects have led: the standard keeps one request, and its URL list, for all.
		s.url = response.URL
	}
	s.phase = streaming
	s.Parser.Reset()
	return Command{Do: Announce, Delay: s.Retry.opened()}
}

// Fail takes a network error, of the request or of the response's body.
//
// "If res is a network error, then reestablish the connection, unless the user agent knows that to be futile, in which
// case the user agent may fail the connection."
func (s *Source) Fail(futile bool) Command {
	switch {
	case s.phase != requesting && s.phase != streaming:
		return Command{}
	case futile:
		return s.fail(ReasonFutile)
	default:
		return s.reestablish(ReasonNetwork)
	}
}

// End takes the end of the response's body, or of the driver's reading because [sse.Parser.Err] was not nil.
//
// "processResponseEndOfBody: […] If res is not a network error, then reestablish the connection." A stream that broke
// the parser's limit would break it again.
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

// Wake takes the news that the world has changed, as when a network is back or the computer has slept: a delay is not
// worth waiting for any more, and a connection that looks alive need not be. The request that follows is no further
// failure, so the policy of retries does not count it.
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

// Timer takes the end of the delay that Announce, Reestablish or Wait asked for.
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

// Close takes the page's call of close(), "which must abort any instances of the fetch algorithm started for this
// EventSource object, and must set the readyState attribute to CLOSED".
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
