// Package sse encodes and parses event streams in the format text/event-stream of Server-Sent Events. [Append] encodes
// an event. A [Parser] parses a stream. It follows the HTML Standard, sections 9.2.5 "Parsing an event stream" and
// 9.2.6 "Interpreting an event stream". It avoids dependencies that make a WebAssembly binary large.
package sse

import (
	"errors"
	"strconv"
	"strings"
)

// ContentType is the MIME type of an event stream.
const ContentType = "text/event-stream"

// DefaultReconnectionTime is the reconnection time, in milliseconds, of a stream that has not set one. The standard
// leaves the value to the client ("probably in the region of a few seconds"). This is Chromium's.
const DefaultReconnectionTime = 3000

// An Event is one event of a stream. The zero Event is a message with empty data.
type Event struct {
	// ID becomes the last event ID of the client, which sends it as Last-Event-ID when it reconnects. It must not
	// contain CR, LF or NUL. Empty leaves the last event ID unchanged.
	ID string

	// Type is the event type, for which listeners are registered. It must not contain CR or LF. Empty means "message".
	Type string

	// Data is the text of the event. It may contain line ends: CR, LF or CRLF. The client receives each as LF, because
	// the format does not distinguish them.
	Data string

	// Retry sets the reconnection time of the client, in milliseconds. Zero leaves it unchanged.
	Retry uint64
}

// Errors that [Append] and [AppendID] return for an event that would break out of its line on the wire.
var (
	ErrInvalidID   = errors.New("sse: event id contains CR, LF or NUL")
	ErrInvalidType = errors.New("sse: event type contains CR or LF")
)

// Append appends the encoding of e to dst, including the blank line at the end, and returns the extended slice. If e
// cannot be encoded, it returns dst unchanged and [ErrInvalidID] or [ErrInvalidType]. It allocates only to grow dst.
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

// AppendID appends a block that sets the last event ID of the client without dispatching an event. An empty id clears
// it. For an invalid id, it returns dst unchanged and [ErrInvalidID].
func AppendID(dst []byte, id string) ([]byte, error) {
	if strings.ContainsAny(id, "\r\n\x00") {
		return dst, ErrInvalidID
	}
	dst = appendField(dst, "id", id)
	return append(dst, '\n'), nil
}

// AppendRetry appends a line that sets the reconnection time of the client, in milliseconds. It takes effect
// immediately.
func AppendRetry(dst []byte, milliseconds uint64) []byte {
	dst = append(dst, "retry: "...)
	dst = strconv.AppendUint(dst, milliseconds, 10)
	return append(dst, '\n')
}

// AppendComment appends text as comment lines, which clients ignore. Use comments to keep a silent connection open.
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
