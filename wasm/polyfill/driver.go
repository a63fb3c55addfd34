//go:build js && wasm

package main

import (
	"github.com/eventsource-wasm/eventsource-wasm/wasm/lifecycle"
	"github.com/hack-pad/safejs"
)

// A source is the lifecycle of one EventSource and the JavaScript object that carries out its commands, the Connection
// of js/connection.js.
type source struct {
	*lifecycle.Source
	connection safejs.Value
	sentID     []byte // the last event ID that JavaScript has
}

// sources are those that are not CLOSED, by the number that js/ gave them.
var sources = map[int32]*source{}

//go:wasmexport connect
func connect(id int32) {
	connection := must(engine.Call("connection", id))
	s := &source{
		Source:     lifecycle.New(text(connection, "url")),
		connection: connection,
	}
	s.Parser.SetLastEventID(text(connection, "lastEventId"))
	s.Parser.MaxEventSize = must(must(connection.Get("maxEventSize")).Int())
	sources[id] = s
	s.do(id, s.Connect())
}

//go:wasmexport respond
func respond(id int32) {
	s := sources[id]
	if s == nil {
		return
	}
	response := must(s.connection.Get("response"))
	headers := must(response.Get("headers"))
	contentType := must(headers.Call("get", "Content-Type"))
	r := lifecycle.Response{
		Status: must(must(response.Get("status")).Int()),
		URL:    text(response, "url"),
	}
	if !contentType.IsNull() {
		r.ContentType = must(contentType.String())
	}
	s.do(id, s.Respond(r))
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
		s.call("fetch", command.URL, byteString(command.LastEventID))
	case lifecycle.Announce:
		s.call("announce")
	case lifecycle.Reestablish:
		s.call("reestablish", command.Delay)
	case lifecycle.Wait:
		s.call("wait", command.Delay)
	case lifecycle.Fail:
		s.call("fail", warning(command.Reason))
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

func (s *source) call(method string, args ...any) {
	must(s.connection.Call(method, args...))
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

func text(v safejs.Value, property string) string {
	return must(must(v.Get(property)).String())
}

// must ends the program when js/ broke its side of the contract; js/engine.js then starts a new one, and connections
// resume from their last event IDs.
func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}
