//go:build js && wasm

package main

import (
	"unsafe"

	"github.com/eventsource-wasm/eventsource-wasm/sse"
	"github.com/eventsource-wasm/eventsource-wasm/wasm/lifecycle"
)

// A source is the lifecycle of one EventSource. It holds no references to JavaScript objects: Go releases them when it
// collects garbage, which may never happen in such a small program. JavaScript refers to the source by its number.
type source struct {
	*lifecycle.Source
	sentID []byte // the last event ID that js/ has
}

// sources has the sources that are not CLOSED, by number. js/ assigns the numbers.
var sources = map[int32]*source{}

// adopt takes over a source from js/lifecycle.js between two inputs. Its state is in input: an array of numbers, then the
// statuses of its retry policy, then its strings.
//
//go:wasmexport adopt
func adopt(id int32) {
	numbers := (*[numberCount]float64)(unsafe.Pointer(unsafe.SliceData(input)))
	rest := input[unsafe.Sizeof(*numbers):]
	statuses := make([]int, int(numbers[statusCount]))
	for i := range statuses {
		statuses[i] = int(rest[0]) | int(rest[1])<<8
		rest = rest[2:]
	}
	take := func(length int) []byte {
		taken := rest[:int(numbers[length])]
		rest = rest[len(taken):]
		return taken
	}
	s := &source{Source: lifecycle.Resume(lifecycle.State{
		Phase:    lifecycle.Phase(numbers[phase]),
		Wait:     uint64(numbers[waitLeft]),
		Failures: uint32(numbers[failures]),
		URL:      string(take(urlLength)),
	}, lifecycle.Retry{
		Initial:    uint64(numbers[retryInitial]),
		Max:        uint64(numbers[retryMax]),
		Factor:     numbers[retryFactor],
		Jitter:     numbers[retryJitter],
		Attempts:   uint32(numbers[retryAttempts]),
		ResetAfter: uint32(numbers[retryResetAfter]),
		NeedsID:    numbers[retryNeedsID] != 0,
		Seed:       uint32(numbers[retrySeed]),
		Statuses:   statuses,
	})}
	s.Parser.MaxEventSize = int(numbers[maxEventSize])
	s.Parser.Comments = numbers[comments] != 0
	s.Parser.Resume(sse.State{
		LastEventID:         take(lastEventIDLength),
		IDBuffer:            take(idLength),
		EventType:           take(typeLength),
		Data:                take(dataLength),
		Line:                take(lineLength),
		IDChanged:           numbers[idChanged] != 0,
		DataLines:           int(numbers[dataLines]),
		BOM:                 int(numbers[bom]),
		AfterCR:             numbers[afterCR] != 0,
		ReconnectionTime:    uint64(numbers[retryTime]),
		HasReconnectionTime: numbers[hasRetry] != 0,
	})
	s.sentID = append(s.sentID, s.Parser.LastEventID()...)
	sources[id] = s
}

// The indexes of the numbers, in the order of js/engine.js.
const (
	phase = iota
	waitLeft
	failures
	maxEventSize
	comments
	idChanged
	dataLines
	bom
	afterCR
	retryTime
	hasRetry
	retryInitial
	retryMax
	retryFactor
	retryJitter
	retryAttempts
	retryResetAfter
	retryNeedsID
	retrySeed
	statusCount
	urlLength
	lastEventIDLength
	idLength
	typeLength
	dataLength
	lineLength
	numberCount
)

// respond handles a response. Its Content-Type and its URL are in input, one after the other.
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

//go:wasmexport interrupt
func interrupt(id int32, forbidden bool) {
	if s := sources[id]; s != nil {
		s.do(id, s.Fail(forbidden))
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

//go:wasmexport wake
func wake(id int32) {
	if s := sources[id]; s != nil {
		s.do(id, s.Wake())
	}
}

// reset discards an unfinished event.
//
//go:wasmexport reset
func reset(id int32) {
	if s := sources[id]; s != nil {
		s.Parser.Reset()
	}
}

// closeSource handles close(). It ignores the command to abort: js/connection.js has aborted the request already.
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
		s.call(id, "fetch", command.URL, lifecycle.ByteString(command.LastEventID))
	case lifecycle.Announce:
		s.call(id, "announce", command.Delay)
	case lifecycle.Reestablish:
		s.call(id, "reestablish", command.Delay, string(command.Reason))
	case lifecycle.Wait:
		s.call(id, "wait", command.Delay)
	case lifecycle.Fail:
		s.call(id, "fail", string(command.Reason))
	}
}

func (s *source) call(id int32, command string, args ...any) {
	// An error is a bug in js/. After the panic, js/connection.js continues without this program.
	if _, err := engine.Call("command", append([]any{id, command}, args...)...); err != nil {
		panic(err)
	}
}
