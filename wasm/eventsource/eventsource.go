// Package eventsource is the client of event streams, text/event-stream, for Go: the EventSource of the HTML Standard,
// section 9.2, with headers, a policy of retries, and errors that say why.
//
//	source, err := eventsource.New("https://example.com/events", eventsource.Options{
//		Header: map[string][]string{"Authorization": {"Bearer " + token}},
//	})
//	…
//	for event, err := range source.Events(ctx) {
//		if err != nil {
//			return err
//		}
//		use(event.Type, event.Data)
//	}
//
// A lost connection is made again, and resumes behind the last event that was received. What the standard says of
// parsing, reconnecting and failing is done by the packages sse and wasm/lifecycle, as in this project's EventSource for
// JavaScript.
//
// In a browser, GOOS=js, requests are made by fetch, and net/http is not linked. Everywhere else net/http makes them.
package eventsource

import (
	"context"
	"errors"
	"iter"
	"sync/atomic"
)

// An Event is a message of the stream.
type Event struct {
	// Type is "message" unless the stream says otherwise.
	Type string

	// Data is the text of the event. Lines in it end in LF.
	Data string

	// LastEventID is the id of this event or, if it has none, of the last one before it that had. Kept, and given to a
	// later program in [Options.LastEventID], it makes that one resume here.
	LastEventID string

	// Origin is the scheme, host and port that the event came from, after redirects: "https://example.com".
	Origin string
}

// A Response is what a connection opened with.
type Response struct {
	Status int
	Header map[string][]string // names are as in [net/http.Header]; a browser shows only some from another origin
	URL    string              // after redirects

	// Attempt counts the requests that it took since the last connection that opened, from 1.
	Attempt int

	// Resumed tells that the request named a last event ID.
	Resumed bool
}

// A Source reads one event stream over as many connections as it takes. It holds nothing, no connection, goroutine or
// timer, but while it is read. Only one goroutine at a time may use it.
type Source struct {
	url         string
	options     Options
	lastEventID string
	sent        bool   // a request that must not be repeated
	resumeURL   string // where ResumeByGET goes
	reading     atomic.Bool
}

// ErrReading is what a second reader gets while another one reads the source.
var ErrReading = errors.New("eventsource: the source is being read already")

// ErrSent is what reading returns when the source would have to repeat a request that it must not repeat.
var ErrSent = errors.New("eventsource: the request was sent before: open another source, or set Options.BodyFunc")

// New returns a source of the events at url, or an error that names the invalid option. It sends nothing; reading the
// source does.
//
// The URL is an http or https one without a user name. In a browser it may be relative, and of any scheme that fetch
// takes.
func New(url string, options Options) (*Source, error) {
	url, err := resolve(url)
	if err != nil {
		return nil, err
	}
	if options, err = options.checked(); err != nil {
		return nil, err
	}
	return &Source{url: url, options: options, lastEventID: options.LastEventID, resumeURL: url}, nil
}

// LastEventID returns where the source resumes when it is read again: the stream's last event ID so far.
func (s *Source) LastEventID() string { return s.lastEventID }

// Events returns the events as they arrive, until ctx is done. They are read no faster than the loop takes them.
//
// A connection that is lost is made again without a word but to [Options.OnError]. What ends the loop for good is yielded
// once, as an [*Error] and without an event: ReasonAborted when the context is done, and otherwise what cannot or must
// not be tried again. A response of 204 No Content, by which a server says that there is nothing more to come, ends the
// loop without an error.
//
// A source whose request is sent once, such as a POST with [Options.Body], ends with ReasonEnded when the server ends its
// stream in order:
//
//	if errors.Is(err, eventsource.ReasonEnded) {
//		break // the answer is complete
//	}
//
// Leaving the loop closes the connection. Another loop resumes after the last event of this one, or yields [ErrSent] where
// that would send such a request again.
func (s *Source) Events(ctx context.Context) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		err := s.read(ctx, func(event Event) bool { return yield(event, nil) })
		if err != nil {
			yield(Event{}, err)
		}
	}
}

// read delivers events until yield returns false, and returns nil then, as after 204 No Content.
func (s *Source) read(ctx context.Context, yield func(Event) bool) error {
	if !s.reading.CompareAndSwap(false, true) {
		return ErrReading
	}
	defer s.reading.Store(false)
	if s.sent && !(s.options.ResumeByGET && s.lastEventID != "") {
		return ErrSent
	}
	c := newConnection(ctx, s, yield)
	defer c.end()
	return c.run()
}
