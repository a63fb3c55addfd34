// Package eventsource is a client for event streams (text/event-stream). It is the EventSource of the HTML Standard, section
// 9.2, with headers, a retry policy, and errors that say what happened.
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
// It reconnects when the connection is lost, and resumes after the last event it received. Parsing, reconnecting and failing
// follow the standard.
//
// In a browser (GOOS=js), the client sends requests by fetch and does not link net/http. Elsewhere it uses net/http.
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

	// LastEventID is the id of this event or, if it has none, of the last event that had one. A program that stores it
	// and passes it in [Options.LastEventID] later resumes after this event.
	LastEventID string

	// Origin is the scheme, host and port of the final URL, such as "https://example.com".
	Origin string
}

// A Response describes the response that opened a connection.
type Response struct {
	Status int
	Header map[string][]string // with names as in [net/http.Header]; browsers hide some headers of other origins
	URL    string              // after redirects

	// Attempt is the number of requests since the connection was last open, from 1.
	Attempt int

	// Resumed reports whether the request had a last event ID.
	Resumed bool
}

// A Source reads one event stream, over as many connections as necessary. It has a connection and timers only while it is
// being read. It must not be used by more than one goroutine at a time.
type Source struct {
	url         string
	options     Options
	lastEventID string
	sent        bool   // a request that must not be repeated
	resumeURL   string // where ResumeByGET goes
	reading     atomic.Bool
}

// ErrReading is returned if the source is already being read.
var ErrReading = errors.New("eventsource: the source is already being read")

// ErrSent is returned if the source would have to repeat a request that must be sent only once.
var ErrSent = errors.New("eventsource: the request was already sent: make a new source, or set Options.BodyFunc")

// New returns a source of the events at url. It sends no request; reading the source does. If an option is invalid, the error
// names it.
//
// The URL must be an absolute http or https URL without a user name. In a browser it may be relative, or have another scheme
// that fetch supports.
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

// LastEventID returns the last event ID of the stream, from which the source resumes when it is read again.
func (s *Source) LastEventID() string { return s.lastEventID }

// Events returns an iterator over the events as they arrive, until ctx is done. It reads the stream no faster than the loop
// takes events.
//
// If the connection is lost, the source calls [Options.OnError] and reconnects. A permanent failure ends the loop: the last
// iteration has no event, and its error is an [*Error]. Its reason is ReasonAborted if the context is done. If the server
// responds with 204 No Content, which means that no more events will come, the loop ends without an error.
//
// A source whose request is sent only once, such as a POST with [Options.Body], ends with ReasonEnded when the stream is
// complete:
//
//	if errors.Is(err, eventsource.ReasonEnded) {
//		break // the answer is complete
//	}
//
// Leaving the loop closes the connection. Another loop resumes after the last event of this one, or yields [ErrSent] if that
// would send such a request again.
func (s *Source) Events(ctx context.Context) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		err := s.read(ctx, func(event Event) bool { return yield(event, nil) })
		if err != nil {
			yield(Event{}, err)
		}
	}
}

// read delivers events until the source fails, or until yield returns false. It returns nil in that case and after 204.
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
