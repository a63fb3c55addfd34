// Package sse is the wire format of Server-Sent Events, text/event-stream, for both of its ends: [Append] writes an
// event, [Parser] reads a stream of them. It follows the HTML Standard, section 9.2.5 "Parsing an event stream" and
// section 9.2.6 "Interpreting an event stream", and depends on nothing that makes a WebAssembly binary large.
package sse

import (
	"errors"
	"strconv"
	"strings"
)

// ContentType is the MIME type of an event stream.
const ContentType = "text/event-stream"

// DefaultReconnectionTime is what a client waits, in milliseconds, until the stream sets another time. The standard
// leaves the value to the client ("probably in the region of a few seconds"); this is Chromium's.
const DefaultReconnectionTime = 3000

// An Event is one message of a stream. The zero Event is a message with empty data.
type Event struct {
	// ID becomes the client's last event ID, which it sends back in Last-Event-ID when it reconnects. It must not
	// contain CR, LF or NUL. Empty leaves the client's last event ID as it is.
	ID string

	// Type is the name that listeners are registered under. It must not contain CR or LF. Empty means "message".
	Type string

	// Data is the text of the event. Each CR, LF or CRLF in it ends a line, and the client receives every one of them
	// as LF: the format has no way to tell them apart.
	Data string

	// Retry sets the client's reconnection time, in milliseconds. Zero leaves it as it is.
	Retry uint64
}

// Errors that [Append] and [AppendID] return for an event that would break out of its line on the wire.
var (
	ErrInvalidID   = errors.New("sse: event id contains CR, LF or NUL")
	ErrInvalidType = errors.New("sse: event type contains CR or LF")
)

// Append appends the encoding of e to dst, blank line included, and returns the extended slice. It returns dst as it
// was and [ErrInvalidID] or [ErrInvalidType] when e cannot be encoded. It allocates only to grow dst.
func Append(dst []byte, e Event) ([]byte, error) {
	if strings.ContainsAny(e.ID, "\r\n\x00") {
		return dst, ErrInvalidID
	}
	if strings.ContainsAny(e.Type, "\r\n") {
		return dst, ErrInvalidType
	}
	if e.ID != "" {
		dst = appendField(dst, "id", e.ID)
	}
	if e.Type != "" {
		dst = appendField(dst, "event", e.Type)
	}
	if e.Retry != 0 {
		dst = AppendRetry(dst, e.Retry)
	}
	dst = appendLines(dst, "data", e.Data)
	return append(dst, '\n'), nil
}

// AppendID appends a block that sets the client's last event ID and dispatches no event, or returns dst as it was and
// [ErrInvalidID]. An empty id makes the client forget the one it has.
func AppendID(dst []byte, id string) ([]byte, error) {
	if strings.ContainsAny(id, "\r\n\x00") {
		return dst, ErrInvalidID
	}
	dst = appendField(dst, "id", id)
	return append(dst, '\n'), nil
}

// AppendRetry appends a line that sets the client's reconnection time, in milliseconds, and takes effect at once.
func AppendRetry(dst []byte, milliseconds uint64) []byte {
	dst = append(dst, "retry: "...)
	dst = strconv.AppendUint(dst, milliseconds, 10)
	return append(dst, '\n')
}

// AppendComment appends text as comment lines, which clients skip: they keep a silent connection from being taken for
// a dead one.
func AppendComment(dst []byte, text string) []byte {
	return appendLines(dst, "", text)
}

func appendLines(dst []byte, field, text string) []byte {
	for {
		end := strings.IndexAny(text, "\r\n")
		if end < 0 {
			return appendField(dst, field, text)
		}
		dst = appendField(dst, field, text[:end])
		if strings.HasPrefix(text[end:], "\r\n") {
			end++
		}
		text = text[end+1:]
	}
}

// The space after the colon is always written: the parser removes one, so a value that begins with a space keeps it.
func appendField(dst []byte, field, value string) []byte {
	dst = append(dst, field...)
	dst = append(dst, ": "...)
	dst = append(dst, value...)
	return append(dst, '\n')
}
