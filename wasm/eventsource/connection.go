package eventsource

import (
	"context"
	"strings"
	"time"

	"github.com/eventsource-wasm/eventsource-wasm/wasm/lifecycle"
)

// maxErrorBody is how much is kept of the body of a response that is no event stream, and errorBodyTimeout how long it
// may take to arrive.
const (
	maxErrorBody     = 1 << 10
	errorBodyTimeout = time.Second
)

// A connection does what lifecycle commands, and tells it what came of it, in the goroutine that reads the source. So
// there is nothing to synchronize, and nothing left behind.
type connection struct {
	*lifecycle.Source
	reading context.Context // ends it
	source  *Source
	yield   func(Event) bool
	left    bool // yield has returned false

	// Of the request that is under way.
	ctx      context.Context
	cancel   context.CancelCauseFunc
	idle     *time.Timer // nil without IdleTimeout
	response *response
	stable   time.Time // when the failures before it do not count any more

	attempt int   // how many requests were made since the connection was open
	known   Error // of the last request
}

// A request is what http.go and fetch.go send.
type request struct {
	method, url string
	header      map[string][]string
	body        []byte
	repeatable  bool
}

// A response is what they return. They read its body in chunks, each valid until the next is read.
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

// end aborts the request, if there is one, and with it the reading of its response.
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

// request makes the next request, of what the last one has met.
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
		// A redirect has led here. The Fetch Standard takes Authorization away on the way, so that it must not go here
		// directly either.
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

// target returns the request without its header and body. One with another method than GET goes where the first one went:
// what it was redirected to may want none of its kind, since 303 means GET, and fetch keeps the method to itself.
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

// header returns the attempt's headers, which are the connection's to change.
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
		c.Timer() // it was open for long enough to make up for the failures before
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

// stream delivers events until the body ends, or cannot be read or parsed, or nil when nobody wants more.
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

// endOfEvent ends an unfinished line, and its event. If that line ended in CR, the first LF is the rest of its CRLF.
var endOfEvent = []byte("\n\n")

// deliver yields the chunk's events, and returns whether to read on. Once the context is done no event follows, and none
// counts as received that was not yielded.
func (c *connection) deliver(chunk []byte, event *Event) bool {
	for c.Parser.Feed(chunk); c.Parser.Next(); {
		if c.reading.Err() != nil {
			return false
		}
		// Most events are of the type of the one before: a comparison is less than an allocation.
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

// remember keeps the last event ID for the time after the connection: a block without data can change it, too.
func (c *connection) remember() {
	if id := c.Parser.LastEventID(); string(id) != c.source.lastEventID {
		c.source.lastEventID = string(id)
	}
}

// lost tells lifecycle that the request, or the reading of its response, failed.
func (c *connection) lost(err error) lifecycle.Command {
	if cause := context.Cause(c.ctx); cause == ReasonIdle {
		c.known.Reason = ReasonIdle
	} else {
		c.known.Cause = err
	}
	if reason, ok := err.(futile); ok {
		c.known.Reason, c.known.Cause = reason.Reason, reason.cause
		return c.Fail(true)
	}
	return c.Fail(false)
}

// futile is the error of a request that no other attempt would succeed with.
type futile struct {
	Reason
	cause error
}

// watchIdle begins the time that may pass until the next byte.
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

// wait waits for as long as lifecycle asks, or until the context is done.
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

// readErrorBody keeps the beginning of what the server says in place of a stream.
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

// report tells OnError what is known, and returns it.
func (c *connection) report(command lifecycle.Command) *Error {
	if c.known.Reason == "" {
		c.known.Reason = Reason(command.Reason.Word())
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

// fail reports the failure that is final. 204 is how a server ends a source in order.
func (c *connection) fail(command lifecycle.Command) error {
	if failure := c.report(command); failure.Status != 204 || failure.Reason != ReasonStatus {
		return failure
	}
	return nil
}
