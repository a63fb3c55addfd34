package eventsource

import (
	"context"
	"strings"
	"time"

	"github.com/eventsource-wasm/eventsource-wasm/wasm/lifecycle"
)

// The limits of the body of a response that is not an event stream: how many bytes are kept, and how long they may take.
const (
	maxErrorBody     = 1 << 10
	errorBodyTimeout = time.Second
)

// A connection executes the commands of package lifecycle and reports the results to it. It runs in the goroutine that
// reads the source, so it needs no synchronization and leaves nothing running.
type connection struct {
	*lifecycle.Source
	reading context.Context // ends the connection
	source  *Source
	yield   func(Event) bool
	left    bool // yield has returned false

	// Of the current request.
	ctx      context.Context
	cancel   context.CancelCauseFunc
	idle     *time.Timer // nil without IdleTimeout
	response *response
	stable   time.Time // when the count of failures is reset

	attempt int   // the number of requests since the connection was last open
	known   Error // what is known about the last request
}

// A request is sent by http.go or fetch.go.
type request struct {
	method, url string
	header      map[string][]string
	body        []byte
	repeatable  bool
}

// A response is the result of a request. Each chunk of its body is valid until the next one is read.
type response struct {
	Response
	retryAfter uint64 // in milliseconds
	body       *body
}

func newConnection(ctx context.Context, s *Source, yield func(Event) bool) *connection {
	c := &connection{Source: lifecycle.New(s.resumeURL), reading: ctx, source: s, yield: yield}
	c.Retry = s.options.policy()
	c.Parser.MaxEventSize = s.options.maxEventSize()
	c.Parser.SetLastEventID(s.lastEventID)
	return c
}

func (c *connection) run() error {
	for command := c.Connect(); ; {
		switch {
		case c.left:
			return nil
		case c.reading.Err() != nil:
			return &Error{Reason: ReasonAborted, URL: c.source.url, Cause: context.Cause(c.reading)}
		}
		switch command.Do {
		case lifecycle.Fetch:
			command = c.fetch(command)
		case lifecycle.Announce:
			command = c.announce(command)
		case lifecycle.Reestablish:
			c.readErrorBody(command.Reason)
			c.end()
			c.report(command)
			command = c.wait(command.Delay)
		case lifecycle.Wait:
			command = c.wait(command.Delay)
		case lifecycle.Fail:
			c.readErrorBody(command.Reason)
			c.end()
			return c.fail(command)
		}
	}
}

// end aborts the current request, if there is one.
func (c *connection) end() {
	if c.cancel == nil {
		return
	}
	c.cancel(nil)
	if c.idle != nil {
		c.idle.Stop()
	}
	if c.response != nil {
		c.response.body.close()
	}
	c.cancel, c.idle, c.response = nil, nil, nil
}

func (c *connection) fetch(command lifecycle.Command) lifecycle.Command {
	c.ctx, c.cancel = context.WithCancelCause(c.reading)
	r, err := c.request(command)
	if err != nil {
		return c.lost(err)
	}
	c.watchIdle()
	c.source.sent = c.source.sent || !r.repeatable
	if c.response, err = c.source.send(c.ctx, r); err != nil {
		return c.lost(err)
	}
	c.known.Status, c.known.Header, c.known.URL = c.response.Status, c.response.Header, c.response.URL
	return c.Respond(c.source.options.Accept.standard(lifecycle.Response{
		Status:      c.response.Status,
		ContentType: strings.Join(c.response.Header["Content-Type"], ","),
		URL:         c.response.URL,
		RetryAfter:  c.response.retryAfter,
	}))
}

// request returns the next request.
func (c *connection) request(command lifecycle.Command) (r request, err error) {
	o := &c.source.options
	c.attempt++
	attempt := Attempt{c.attempt, string(c.Parser.LastEventID()), c.known.Reason, c.known.Status}
	r = c.target(command)
	c.known = Error{URL: r.url, Attempt: c.attempt, Resumed: command.LastEventID != ""}
	if r.header, err = c.header(attempt); err != nil {
		c.known.Reason = ReasonHeaders
		return r, err
	}
	if origin(r.url) != origin(c.source.url) {
		// A redirect led to this origin. The Fetch Standard removes Authorization on such a redirect, so a request that goes
		// here directly must not contain it either.
		removeCredentials(r.header)
	}
	if o.LastEventIDParam != "" {
		r.url = withParam(r.url, o.LastEventIDParam, command.LastEventID)
	} else if command.LastEventID != "" {
		r.header["Last-Event-Id"] = []string{command.LastEventID}
	}
	if hasBody(r.method) {
		r.body, err = c.body(attempt)
	} else if hasBody(o.Method) {
		delete(r.header, "Content-Type")
	}
	return r, err
}

// target returns the request without its header and body. With another method than GET, it goes to the source's own URL. A
// redirect may have turned the method into GET, as 303 does, so the redirect's target may not accept the method. fetch does not
// report the final method.
func (c *connection) target(command lifecycle.Command) request {
	o := &c.source.options
	switch {
	case o.ResumeByGET && command.LastEventID != "":
		return request{method: "GET", url: command.URL, repeatable: true}
	case hasBody(o.Method):
		return request{method: o.Method, url: c.source.url, repeatable: !o.once()}
	default:
		return request{method: o.Method, url: command.URL, repeatable: true}
	}
}

func (c *connection) body(attempt Attempt) ([]byte, error) {
	o := &c.source.options
	if o.BodyFunc == nil {
		return o.Body, nil
	}
	body, err := o.BodyFunc(c.ctx, attempt)
	if err != nil {
		c.known.Reason = ReasonBody
	}
	return body, err
}

// header returns the headers of an attempt. The caller may modify them.
func (c *connection) header(attempt Attempt) (map[string][]string, error) {
	header := c.source.options.Header
	if get := c.source.options.HeaderFunc; get != nil {
		given, err := get(c.ctx, attempt)
		if err == nil {
			err = checkHeader(given)
		}
		if err != nil {
			return nil, err
		}
		header = given
	}
	header = cloneHeader(header)
	setDefault(header, "Accept", "text/event-stream")
	return header, nil
}

// announce fires open and reads the stream.
func (c *connection) announce(command lifecycle.Command) lifecycle.Command {
	c.stable = time.Now().Add(time.Duration(command.Delay) * time.Millisecond)
	c.attempt = 0
	opened := c.response.Response
	if c.source.options.ResumeByGET {
		c.source.resumeURL = opened.URL
	}
	opened.Attempt, opened.Resumed = c.known.Attempt, c.known.Resumed
	if c.source.options.OnOpen != nil {
		c.source.options.OnOpen(opened)
	}
	err := c.stream(origin(opened.URL))
	if !time.Now().Before(c.stable) {
		c.Timer() // it was open long enough to reset the count of failures
	}
	switch {
	case err == nil:
		return lifecycle.Command{}
	case c.Parser.Err() != nil || err == errEnd:
		return c.End()
	default:
		return c.lost(err)
	}
}

// stream delivers events. It returns why the body ended or could not be read or parsed, or nil if no more events are wanted.
func (c *connection) stream(origin string) error {
	event := Event{Origin: origin}
	for {
		c.watchIdle()
		chunk, err := c.response.body.read(c.ctx)
		if c.idle != nil {
			c.idle.Stop()
		}
		if !c.deliver(chunk, &event) {
			return nil
		}
		if err == errEnd && c.source.options.FlushAtEnd && !c.deliver(endOfEvent, &event) {
			return nil
		}
		if err == nil {
			err = c.Parser.Err()
		}
		if err != nil {
			return err
		}
	}
}

// endOfEvent ends an unfinished line and its event. After a CR, the first LF completes a CRLF.
var endOfEvent = []byte("\n\n")

// deliver yields the chunk's events and reports whether to read on. Once the context is done, it yields no more events, and
// the last event ID stays that of the last one yielded.
func (c *connection) deliver(chunk []byte, event *Event) bool {
	for c.Parser.Feed(chunk); c.Parser.Next(); {
		if c.reading.Err() != nil {
			return false
		}
		// Most events have the type of the previous one, and comparing is cheaper than allocating.
		if t := c.Parser.Type(); len(t) == 0 {
			event.Type = "message"
		} else if string(t) != event.Type {
			event.Type = string(t)
		}
		event.Data = string(c.Parser.Data())
		c.remember()
		event.LastEventID = c.source.lastEventID
		if c.left = !c.yield(*event); c.left {
			return false
		}
	}
	c.remember()
	return true
}

// remember copies the last event ID to the source, which outlives the connection. A block without data can change it, too.
func (c *connection) remember() {
	if id := c.Parser.LastEventID(); string(id) != c.source.lastEventID {
		c.source.lastEventID = string(id)
	}
}

// lost reports a failure of the request, or of reading its response.
func (c *connection) lost(err error) lifecycle.Command {
	if cause := context.Cause(c.ctx); cause == ReasonIdle {
		c.known.Reason = ReasonIdle
	} else {
		c.known.Cause = err
	}
	if reason, ok := err.(forbidden); ok {
		c.known.Reason, c.known.Cause = reason.Reason, reason.cause
		return c.Fail(true)
	}
	return c.Fail(false)
}

// forbidden is the error of a request that the browser does not allow.
type forbidden struct {
	Reason
	cause error
}

// watchIdle starts the timeout for the next byte.
func (c *connection) watchIdle() {
	timeout := c.source.options.IdleTimeout
	switch {
	case timeout == 0:
	case c.idle == nil:
		cancel := c.cancel
		c.idle = time.AfterFunc(timeout, func() { cancel(ReasonIdle) })
	default:
		c.idle.Reset(timeout)
	}
}

// wait waits for delay milliseconds, or until the context is done.
func (c *connection) wait(delay uint32) lifecycle.Command {
	timer := time.NewTimer(time.Duration(delay) * time.Millisecond)
	defer timer.Stop()
	select {
	case <-timer.C:
		return c.Timer()
	case <-c.reading.Done():
		return lifecycle.Command{}
	}
}

// readErrorBody reads the beginning of a response that is not an event stream.
func (c *connection) readErrorBody(reason lifecycle.Reason) {
	if reason != lifecycle.ReasonStatus && reason != lifecycle.ReasonContentType {
		return
	}
	late := time.AfterFunc(errorBodyTimeout, func() { c.cancel(context.DeadlineExceeded) })
	defer late.Stop()
	for len(c.known.Body) < maxErrorBody {
		chunk, err := c.response.body.read(c.ctx)
		c.known.Body = append(c.known.Body, chunk[:min(len(chunk), maxErrorBody-len(c.known.Body))]...)
		if err != nil {
			return
		}
	}
}

// report calls OnError with what is known, and returns that.
func (c *connection) report(command lifecycle.Command) *Error {
	if c.known.Reason == "" {
		c.known.Reason = Reason(command.Reason)
	}
	failure := c.known
	if command.Do == lifecycle.Reestablish {
		failure.WillRetry, failure.RetryIn = true, time.Duration(command.Delay)*time.Millisecond
	}
	if c.source.options.OnError != nil {
		c.source.options.OnError(&failure)
	}
	return &failure
}

// fail reports a permanent failure and returns it, or nil after 204, by which a server ends a source.
func (c *connection) fail(command lifecycle.Command) error {
	if failure := c.report(command); failure.Status != 204 || failure.Reason != ReasonStatus {
		return failure
	}
	return nil
}
