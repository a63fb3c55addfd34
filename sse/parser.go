package sse

import (
	"bytes"
	"errors"
	"unicode/utf8"
)

// DefaultMaxEventSize is the maximum event size, in bytes, of a [Parser] whose MaxEventSize is zero.
const DefaultMaxEventSize = 16 << 20

// ErrEventTooLarge is returned for an event, or a line of one, that is larger than a limit: of [Parser] or of package
// server.
var ErrEventTooLarge = errors.New("sse: event is larger than the limit")

// A Parser parses an event stream that arrives in chunks of any size. The zero Parser is ready for the first byte of a
// stream.
//
//	p.Feed(chunk)
//	for p.Next() {
//		use(p.Type(), p.Data(), p.LastEventID())
//	}
//	if p.Err() != nil { … }
//
// Parsing takes time linear in the number of bytes, however they are divided into chunks. Memory is limited by
// MaxEventSize; events that are complete within a chunk need only a fixed amount. A Parser is not safe for concurrent
// use.
type Parser struct {
	// MaxEventSize is how many bytes of one event's data, type and id are kept before parsing fails with
	// [ErrEventTooLarge]. Zero means [DefaultMaxEventSize]. Comments and unknown fields are not kept, so they do not
	// count.
	MaxEventSize int

	// Comments makes Next stop at comments, too. It may be set until the first Feed.
	Comments bool

	chunk      []byte
	pos        int  // of the next byte in chunk
	validated  bool // wellFormed is set
	wellFormed bool
	err        error

	bom     int  // bytes of a leading BOM read so far, or len(utf8BOM) when no BOM can follow
	afterCR bool // the last line ended in CR, so an LF directly after it belongs to it

	field     field
	name      [maxName + 1]byte // of a field whose line began in an earlier chunk
	nameLen   int
	trimSpace bool // the value's first byte has not been read; a space is dropped
	retry     retryValue

	comment    []byte
	commented  bool // Next returned the comment
	dispatched bool // Next returned the event that the buffers hold
	dataLines  int
	data       []byte // the data buffer; a part of chunk while borrowed
	borrowed   bool
	spare      []byte // storage for data when it is not borrowed
	eventType  []byte
	idValue    []byte // the id field being read
	idBuffer   []byte // "last event ID buffer"
	idChanged  bool   // idBuffer is not yet committed

	lastEventID      []byte
	reconnectionTime uint64
	hasRetry         bool
}

// A field is what a line contains.
type field uint8

const (
	fieldName field = iota // the line's field name is being read
	fieldIgnored
	fieldData
	fieldEvent
	fieldID
	fieldRetry
	fieldComment

	maxName = len("retry")
)

const utf8BOM = "\xEF\xBB\xBF"

// keepStorage is the largest storage to keep after an event, in bytes, so that one large event does not occupy memory forever.
const keepStorage = 1 << 20

// Feed sets the next chunk of the stream. Call [Parser.Next] until it returns false before calling Feed again, and do
// not modify chunk until then. After an error, or with an empty chunk, Feed does nothing.
func (p *Parser) Feed(chunk []byte) {
	p.chunk, p.pos = chunk, 0
	p.validated = false
}

// Next advances to the next event and reports whether there is one. It returns false at the end of the chunk, where an
// incomplete event waits for the next chunk, and after an error: see [Parser.Err].
func (p *Parser) Next() bool {
	if p.dispatched {
		p.clearEvent()
	}
	p.commented = false
	for p.pos < len(p.chunk) && p.err == nil {
		if (p.afterCR || p.bom < len(utf8BOM)) && p.skipByte(p.chunk[p.pos]) {
			p.pos++
			continue
		}
		piece, ended := p.piece()
		whole := ended && p.field == fieldName && p.nameLen == 0
		switch {
		case whole && len(piece) == 0:
			if p.dispatchEvent() {
				return true
			}
		case !whole || !p.readCommonLine(piece):
			p.read(piece, ended)
			if p.commented {
				return true
			}
		}
	}
	p.own()
	p.chunk, p.pos = nil, 0
	return false
}

// Comment returns the text of a comment, without a leading space, and whether Next stopped at a comment instead of an
// event. That happens only if Comments is set. The text is valid until the next call of Next, Feed or Reset.
func (p *Parser) Comment() ([]byte, bool) { return p.comment, p.commented }

// Type returns the type of the event, or an empty slice for "message". Like Data and LastEventID, it is valid UTF-8 for
// any input, and valid until the next call of Next, Feed or Reset.
func (p *Parser) Type() []byte { return p.eventType }

// Data returns the data of the event. Its lines are separated by LF.
func (p *Parser) Data() []byte { return p.data }

// LastEventID returns the last event ID: after Next, that of the event, and otherwise the value to send in
// Last-Event-ID. It is empty if there is none.
func (p *Parser) LastEventID() []byte { return p.lastEventID }

// SetLastEventID sets the last event ID, for a stream that resumes an earlier one.
func (p *Parser) SetLastEventID(id string) {
	p.lastEventID = append(p.lastEventID[:0], id...)
}

// HasReconnectionTime reports whether the stream has set the reconnection time.
func (p *Parser) HasReconnectionTime() bool { return p.hasRetry }

// ReconnectionTime returns the reconnection time in milliseconds: the value that the stream has set, or
// [DefaultReconnectionTime].
func (p *Parser) ReconnectionTime() uint64 {
	if !p.hasRetry {
		return DefaultReconnectionTime
	}
	return p.reconnectionTime
}

// Err returns [ErrEventTooLarge] if that ended parsing, and nil otherwise.
func (p *Parser) Err() error { return p.err }

// Reset prepares the parser for the first byte of another stream of the same source. It keeps the last event ID and the
// reconnection time, and discards an incomplete event: "Once the end of the file is reached, any pending data must be
// discarded."
func (p *Parser) Reset() {
	*p = Parser{
		MaxEventSize:     p.MaxEventSize,
		Comments:         p.Comments,
		spare:            p.spare[:0],
		eventType:        p.eventType[:0],
		idValue:          p.idValue[:0],
		idBuffer:         p.idBuffer[:0],
		lastEventID:      p.lastEventID,
		reconnectionTime: p.reconnectionTime,
		hasRetry:         p.hasRetry,
	}
}

// skipByte reports whether c belongs to no line: it is part of a leading BOM, or the LF of a CRLF. A CR ends its line at once.
// Waiting for the next byte would delay an event until the server sends more.
func (p *Parser) skipByte(c byte) bool {
	if p.afterCR {
		p.afterCR = false
		if c == '\n' {
			return true
		}
	}
	if p.bom == len(utf8BOM) {
		return false
	}
	if c == utf8BOM[p.bom] {
		p.bom++
		return true
	}
	if p.bom > 0 {
		p.field = fieldIgnored // an incomplete BOM begins the name of an unknown field
	}
	p.bom = len(utf8BOM)
	return false
}

// piece returns the rest of the current line, or as much of it as the chunk contains, and whether the line has ended.
func (p *Parser) piece() (piece []byte, ended bool) {
	end := p.pos + lineEnd(p.chunk[p.pos:])
	piece = p.chunk[p.pos:end]
	if end == len(p.chunk) {
		p.pos = end
		return piece, false
	}
	p.afterCR = p.chunk[end] == '\r'
	p.pos = end + 1
	return piece, true
}

// readCommonLine is a fast path of read for the most common lines: the first data line and the id, if they are complete. It
// reports false for other lines. In WebAssembly it saves a quarter of the time for an event.
func (p *Parser) readCommonLine(line []byte) bool {
	switch {
	case len(line) >= 5 && line[0] == 'd' && line[1] == 'a' && line[2] == 't' && line[3] == 'a' && line[4] == ':':
		if p.dataLines > 0 {
			return false
		}
		value := trimSpace(line[5:])
		if p.fits(len(value)) {
			p.data, p.borrowed, p.dataLines = value, true, 1
		}
		return true
	case len(line) >= 3 && line[0] == 'i' && line[1] == 'd' && line[2] == ':':
		value := trimSpace(line[3:])
		if p.fits(len(value)) && bytes.IndexByte(value, 0) < 0 {
			p.idBuffer, p.idChanged = append(p.idBuffer[:0], value...), true
		}
		return true
	}
	return false
}

func trimSpace(value []byte) []byte {
	if len(value) > 0 && value[0] == ' ' {
		return value[1:]
	}
	return value
}

// read parses a piece of a line. If ended is true, it is the last one.
func (p *Parser) read(piece []byte, ended bool) {
	if p.field == fieldName {
		piece = p.readName(piece, ended)
	}
	p.readValue(piece, ended)
	if ended {
		p.endField()
	}
}

// readName reads the rest of the field's name and returns the part of piece after its colon. "Otherwise, the string is not
// empty but does not contain a U+003A COLON character (:): Process the field […] using the whole line as the field name, and
// the empty string as the field value."
func (p *Parser) readName(piece []byte, ended bool) (rest []byte) {
	room := len(p.name) - p.nameLen
	window := piece[:min(len(piece), room)]
	colon := bytes.IndexByte(window, ':')
	switch {
	case colon >= 0:
		p.beginField(append(p.name[:p.nameLen], window[:colon]...))
		p.trimSpace = true
		return piece[colon+1:]
	case len(window) == room:
		p.field = fieldIgnored
	case ended:
		p.beginField(append(p.name[:p.nameLen], window...))
	default:
		p.nameLen += copy(p.name[p.nameLen:], window)
	}
	return nil
}

func (p *Parser) beginField(name []byte) {
	switch string(name) {
	case "data":
		p.field = fieldData
		p.beginDataLine()
	case "event":
		p.field = fieldEvent
		p.eventType = p.eventType[:0]
	case "id":
		p.field = fieldID
		p.idValue = p.idValue[:0]
	case "retry":
		p.field = fieldRetry
		p.retry = retryValue{}
	case "":
		p.beginComment()
	default:
		p.field = fieldIgnored
	}
}

// "If the line starts with a U+003A COLON character (:): Ignore the line."
func (p *Parser) beginComment() {
	p.field = fieldIgnored
	if p.Comments {
		p.field, p.comment = fieldComment, p.comment[:0]
	}
}

// "Append the field value to the data buffer, then append a single U+000A LINE FEED (LF) character to the data
// buffer." The LF is appended before a further line instead, so that there is no last one to remove.
func (p *Parser) beginDataLine() {
	if p.dataLines++; p.dataLines > 1 {
		p.own()
		p.data = p.keep(p.data, '\n')
	}
}

func (p *Parser) readValue(piece []byte, ended bool) {
	if p.trimSpace && len(piece) > 0 {
		p.trimSpace = false
		if piece[0] == ' ' {
			piece = piece[1:]
		}
	}
	switch p.field {
	case fieldData:
		p.readData(piece, ended)
	case fieldEvent:
		p.eventType = p.keep(p.eventType, piece...)
	case fieldID:
		p.idValue = p.keep(p.idValue, piece...)
	case fieldRetry:
		p.retry.read(piece)
	case fieldComment:
		if p.fits(len(p.comment) + len(piece)) {
			p.comment = append(p.comment, piece...)
		}
	}
}

// readData does not copy the data of an event if it is one line in one chunk, as it is for most events.
func (p *Parser) readData(piece []byte, ended bool) {
	if ended && p.dataLines == 1 && len(p.data) == 0 && p.fits(len(piece)) {
		p.data, p.borrowed = piece, true
		return
	}
	p.own()
	if !ended {
		p.grow(len(piece))
	}
	p.data = p.keep(p.data, piece...)
}

// grow makes room for n more bytes, and at least doubles the storage within the limit. append would grow large storage by only
// a quarter at a time, and each old copy occupies memory until garbage is collected.
func (p *Parser) grow(n int) {
	if n > cap(p.data)-len(p.data) && p.fits(n) {
		more := max(n, min(len(p.data), p.limit()-len(p.data)))
		p.data = append(make([]byte, 0, len(p.data)+more), p.data...)
	}
}

// own copies borrowed data to the parser's own storage.
func (p *Parser) own() {
	if p.borrowed {
		p.data, p.borrowed = append(p.spare[:0], p.data...), false
	} else if p.data == nil {
		p.data = p.spare[:0]
	}
}

func (p *Parser) keep(buffer []byte, value ...byte) []byte {
	if !p.fits(len(value)) {
		return buffer
	}
	return append(buffer, value...)
}

func (p *Parser) fits(n int) bool {
	if n > p.limit()-len(p.data)-len(p.eventType)-len(p.idValue) {
		p.err = ErrEventTooLarge
	}
	return p.err == nil
}

func (p *Parser) limit() int {
	if p.MaxEventSize == 0 {
		return DefaultMaxEventSize
	}
	return p.MaxEventSize
}

func (p *Parser) endField() {
	switch p.field {
	case fieldID:
		// "If the field value does not contain U+0000 NULL, then set the last event ID buffer to the field value.
		// Otherwise, ignore the field."
		if bytes.IndexByte(p.idValue, 0) < 0 {
			p.idBuffer, p.idValue = p.idValue, p.idBuffer[:0]
			p.idChanged = true
		} else {
			p.idValue = p.idValue[:0] // an ignored id does not count toward the event's size
		}
	case fieldRetry:
		p.setReconnectionTime()
	case fieldComment:
		p.comment, p.commented = wellFormed(p.comment), p.err == nil
	}
	p.field, p.nameLen, p.trimSpace = fieldName, 0, false
}

// "If the field value consists of only ASCII digits, then interpret the field value as an integer in base ten, and set
// the event stream's reconnection time to that integer. Otherwise, ignore the field." It applies at once, before the
// blank line. The standard is ambiguous about an empty value; like Chromium, we return to the default.
func (p *Parser) setReconnectionTime() {
	if p.retry.invalid {
		return
	}
	p.hasRetry = p.retry.digits
	p.reconnectionTime = p.retry.value
}

type retryValue struct {
	value   uint64
	digits  bool // there was a digit
	invalid bool
}

func (r *retryValue) read(piece []byte) {
	for _, c := range piece {
		digit := uint64(c - '0')
		if digit > 9 || r.value > (1<<64-1-digit)/10 {
			r.invalid = true
			return
		}
		r.value = r.value*10 + digit
		r.digits = true
	}
}

// dispatchEvent implements the parser's part of the standard's "dispatch the event". It reports whether there is an event.
func (p *Parser) dispatchEvent() bool {
	// 1. "Set the last event ID string of the event source to the value of the last event ID buffer." Whether or not
	// there is data.
	if p.idChanged {
		p.lastEventID, p.idBuffer, p.idChanged = wellFormed(p.idBuffer), p.lastEventID[:0], false
	}
	// 2. "If the data buffer is an empty string, set the data buffer and the event type buffer to the empty string and
	// return." One line with empty data is not an empty buffer: it holds that line's LF.
	if p.dataLines == 0 {
		p.clearEvent()
		return false
	}
	if !p.borrowed || !p.isWellFormed() {
		p.data = wellFormed(p.data)
	}
	if len(p.eventType) > 0 {
		p.eventType = wellFormed(p.eventType)
	}
	p.dispatched = true
	return true
}

// isWellFormed reports whether the whole chunk is well-formed UTF-8. It is checked once, because that takes less time than
// checking each event.
func (p *Parser) isWellFormed() bool {
	if !p.validated {
		p.wellFormed, p.validated = utf8.Valid(p.chunk), true
	}
	return p.wellFormed
}

func (p *Parser) clearEvent() {
	if !p.borrowed && cap(p.data) > cap(p.spare) {
		p.spare = p.data
	}
	if cap(p.spare) > keepStorage {
		p.spare = nil
	}
	p.data, p.borrowed, p.dataLines = nil, false, 0
	p.eventType = p.eventType[:0]
	p.idValue = p.idValue[:0]
	p.dispatched = false
}
