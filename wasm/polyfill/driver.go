//go:build js && wasm

package main

import "github.com/eventsource-wasm/eventsource-wasm/wasm/lifecycle"

// A source is the lifecycle of one EventSource. It holds no reference to a JavaScript object: Go lets go of those when
// it collects garbage, which may be never in a program as small as this. JavaScript knows the source by its number.
type source struct {
	*lifecycle.Source
	sentID []byte // the last event ID that JavaScript has
}

// sources are those that are not CLOSED, by the number that js/ gave them.
var sources = map[int32]*source{}

// connect begins a source. Its URL and the last event ID that it resumes from are in input, one after the other.
//
//go:wasmexport connect
func connect(id, urlLength, lastEventIDLength, maxEventSize int32) {
	url, lastEventID := takeInput(urlLength, lastEventIDLength)
	s := &source{Source: lifecycle.New(url)}
	s.Parser.SetLastEventID(lastEventID)
	s.sentID = []byte(lastEventID)
	s.Parser.MaxEventSize = int(maxEventSize)
	sources[id] = s
	s.do(id, s.Connect())
}

// retry sets the policy of the source's reconnections, as [lifecycle.Retry] has it. The statuses are in input, each in
// two bytes, the lower first. Times are in milliseconds.
//
//go:wasmexport retry
func retry(id, statusesLength int32, initial, maximum, factor, jitter float64, attempts, resetAfter, seed int32) {
	s := sources[id]
	if s == nil {
		return
	}
	var statuses []int
	for list := input[:statusesLength]; len(list) > 1; list = list[2:] {
		statuses = append(statuses, int(list[0])|int(list[1])<<8)
	}
	s.Retry = lifecycle.Retry{
		Initial:    uint64(initial),
		Max:        uint64(maximum),
		Factor:     factor,
		Jitter:     jitter,
		Attempts:   uint32(attempts),
		Statuses:   statuses,
		ResetAfter: uint32(resetAfter),
		Seed:       uint32(seed),
	}
}

// respond takes a response. Its Content-Type and its URL are in input, one after the other.
//
//go:wasmexport respond
func respond(id, status, contentTypeLength, urlLength int32, retryAfter float64) {
	contentType, url := takeInput(contentTypeLength, urlLength)
	if s := sources[id]; s != nil {
		s.do(id, s.Respond(lifecycle.Response{
			Status:      int(status),
			ContentType: contentType,
			URL:         url,
			RetryAfter:  uint64(retryAfter),
		}))
	}
}

//go:wasmexport fail
func fail(id int32, futile bool) {
	if s := sources[id]; s != nil {
		s.do(id, s.Fail(futile))
	}
}

//go:wasmexport end
func end(id int32) {
	if s := sources[id]; s != nil {
		s.do(id, s.End())
	}
}

//go:wasmexport timer
func timer(id int32) {
	if s := sources[id]; s != nil {
		s.do(id, s.Timer())
	}
}

// comments makes feed tell of comments, too.
//
//go:wasmexport comments
func comments(id int32) {
	if s := sources[id]; s != nil {
		s.Parser.Comments = true
	}
}

//go:wasmexport wake
func wake(id int32) {
	if s := sources[id]; s != nil {
		s.do(id, s.Wake())
	}
}

// reset forgets what was received of an event.
//
//go:wasmexport reset
func reset(id int32) {
	if s := sources[id]; s != nil {
		s.Parser.Reset()
	}
}

// reconnectionTime returns that of the source, in milliseconds.
//
//go:wasmexport reconnectionTime
func reconnectionTime(id int32) float64 {
	if s := sources[id]; s != nil {
		return float64(s.Parser.ReconnectionTime())
	}
	return 0
}

// The page has called close(). lifecycle's command to abort is js/'s to follow even while there is no engine, so it has.
//
//go:wasmexport close
func closeSource(id int32) {
	if s := sources[id]; s != nil {
		s.do(id, s.Close())
	}
}

func (s *source) do(id int32, command lifecycle.Command) {
	if s.ReadyState() == lifecycle.Closed {
		delete(sources, id)
	}
	switch command.Do {
	case lifecycle.Fetch:
		s.call(id, "fetch", command.URL, byteString(command.LastEventID))
	case lifecycle.Announce:
		s.call(id, "announce", command.Delay)
	case lifecycle.Reestablish:
		s.call(id, "reestablish", command.Delay, command.Reason.Word())
	case lifecycle.Wait:
		s.call(id, "wait", command.Delay)
	case lifecycle.Fail:
		s.call(id, "fail", command.Reason.Word(), warning(command.Reason))
	}
}

// warning is what the page's author should read on the console. Of a status there is nothing to say: 204 is how a server
// ends a stream, and browsers log the others by themselves.
func warning(r lifecycle.Reason) string {
	if r == lifecycle.ReasonStatus {
		return ""
	}
	return r.String()
}

func (s *source) call(id int32, command string, args ...any) {
	// An error means that js/ broke its side of the contract. js/engine.js then starts a new program, and connections
	// resume from their last event IDs.
	if _, err := engine.Call("command", append([]any{id, command}, args...)...); err != nil {
		panic(err)
	}
}

// byteString returns the string whose code points are the bytes of s: fetch writes header values so, one byte for each
// code point. It also keeps what syscall/js would drop, a leading U+FEFF.
func byteString(s string) string {
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
