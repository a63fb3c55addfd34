package server

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"unicode/utf8"
)

// A decoder decodes the body of a POST. It reads each byte once and stops at the first invalid field, so its work is
// limited by the size of the body.
type decoder func(body []byte) (posting, error)

func (h *Handler) decoder(contentType string) (decoder, error) {
	mediaType, _, _ := mime.ParseMediaType(contentType)
	switch mediaType {
	case "application/json":
		return single(fromJSON), nil
	case "application/x-www-form-urlencoded":
		return single(fromForm), nil
	case "application/x-ndjson":
		return h.fromLines, nil
	}
	return nil, &HTTPError{
		Status:  http.StatusUnsupportedMediaType,
		Field:   "Content-Type",
		Message: "must be application/json, application/x-ndjson or application/x-www-form-urlencoded",
	}
}

func single(decode func([]byte) (Publication, error)) decoder {
	return func(body []byte) (posting, error) {
		p, err := decode(body)
		return posting{publications: []Publication{p}}, err
	}
}

// fromLines decodes one JSON object per line, and ignores empty lines.
func (h *Handler) fromLines(body []byte) (p posting, err error) {
	number, limit := 0, cmp.Or(h.MaxBatch, DefaultMaxBatch)
	for line := range bytes.Lines(body) {
		number++
		if len(bytes.TrimSpace(line)) == 0 {
			continue
		}
		if over(len(p.lines)+1, limit) {
			return p, &HTTPError{Status: http.StatusRequestEntityTooLarge, Message: fmt.Sprintf("batch has more than %d events", limit)}
		}
		publication, err := fromJSON(line)
		if err != nil {
			return p, inLine(number, err)
		}
		p.publications = append(p.publications, publication)
		p.lines = append(p.lines, number)
	}
	if len(p.lines) == 0 {
		return p, malformed("", "request body has no events")
	}
	return p, nil
}

func inLine(number int, err error) error {
	e := answer(err)
	e.Message = fmt.Sprintf("line %d: %s", number, cmp.Or(e.Message, http.StatusText(e.Status)))
	return &e
}

func fromForm(body []byte) (p Publication, err error) {
	var f fields
	for pair := range strings.SplitSeq(string(body), "&") {
		if pair == "" {
			continue
		}
		key, value, _ := strings.Cut(pair, "=")
		name, err := unescape(key)
		if err != nil {
			return p, err
		}
		if err := f.begin(name); err != nil {
			return p, err
		}
		text, err := unescape(value)
		if err != nil {
			return p, err
		}
		if err := set(&p, name, text); err != nil {
			return p, err
		}
	}
	return p, nil
}

// unescape rejects a semicolon, which some treat as a separator, as [url.ParseQuery] does.
func unescape(text string) (string, error) {
	unescaped, err := url.QueryUnescape(text)
	if err != nil || strings.Contains(text, ";") {
		return "", malformed("", "malformed form")
	}
	return unescaped, nil
}

var errNoObject = malformed("", "invalid JSON object")

// fromJSON parses the object by hand, because package json would parse all of it before it reports an invalid field.
func fromJSON(body []byte) (p Publication, err error) {
	s := jsonScanner{body}
	if !utf8.Valid(body) || !s.take('{') {
		return p, errNoObject
	}
	var f fields
	for first := true; !s.take('}'); first = false {
		if !first && !s.take(',') {
			return p, errNoObject
		}
		name, ok := s.text()
		if !ok {
			return p, errNoObject
		}
		if err := f.begin(name); err != nil {
			return p, err
		}
		if !s.take(':') {
			return p, errNoObject
		}
		if err := s.setNext(&p, name); err != nil {
			return p, err
		}
	}
	if s.space(); len(s.rest) > 0 {
		return p, errNoObject
	}
	return p, nil
}

// A jsonScanner parses an object of strings and numbers.
type jsonScanner struct{ rest []byte }

func (s *jsonScanner) space() { s.rest = bytes.TrimLeft(s.rest, " \t\r\n") }

// take consumes the character if it comes next.
func (s *jsonScanner) take(character byte) bool {
	s.space()
	if len(s.rest) == 0 || s.rest[0] != character {
		return false
	}
	s.rest = s.rest[1:]
	return true
}

// setNext sets the field to the next value. null leaves it unset.
func (s *jsonScanner) setNext(p *Publication, name string) error {
	s.space()
	if rest, ok := bytes.CutPrefix(s.rest, []byte("null")); ok {
		s.rest = rest
		return nil
	}
	if bytes.HasPrefix(s.rest, []byte{'"'}) {
		value, ok := s.text()
		if !ok {
			return errNoObject
		}
		return set(p, name, value)
	}
	if name != "retry" {
		return malformed(name, "must be a string")
	}
	number := s.number()
	if !json.Valid(number) {
		return errRetry
	}
	return set(p, name, string(number))
}

func (s *jsonScanner) number() []byte {
	end := 0
	for end < len(s.rest) && strings.IndexByte("0123456789+-.eE", s.rest[end]) >= 0 {
		end++
	}
	number := s.rest[:end]
	s.rest = s.rest[end:]
	return number
}

// text parses a string.
func (s *jsonScanner) text() (string, bool) {
	if s.space(); len(s.rest) == 0 || s.rest[0] != '"' {
		return "", false
	}
	escaped := false
	for end := 1; end < len(s.rest); end++ {
		switch character := s.rest[end]; {
		case character == '\\':
			escaped = true
			end++
		case character < ' ':
			return "", false
		case character == '"':
			quoted := s.rest[:end+1]
			s.rest = s.rest[end+1:]
			return unquote(quoted, escaped)
		}
	}
	return "", false
}

func unquote(quoted []byte, escaped bool) (text string, ok bool) {
	if !escaped {
		return string(quoted[1 : len(quoted)-1]), true
	}
	err := json.Unmarshal(quoted, &text)
	return text, err == nil
}

// fields records which fields were seen.
type fields struct{ topic, data, typ, retry bool }

// begin returns an error if the field is not allowed. A misspelled field would otherwise be lost silently.
func (f *fields) begin(name string) error {
	var seen *bool
	switch name {
	case "topic":
		seen = &f.topic
	case "data":
		seen = &f.data
	case "type":
		seen = &f.typ
	case "retry":
		seen = &f.retry
	case "id":
		return malformed(name, "must not be set: the server assigns IDs")
	default:
		return malformed(shown(name), "unknown field")
	}
	if *seen {
		return malformed(name, "given more than once")
	}
	*seen = true
	return nil
}

// maxShown limits how much of an unknown field name a response repeats.
const maxShown = 64

func shown(name string) string {
	if len(name) <= maxShown {
		return name
	}
	return strings.ToValidUTF8(name[:maxShown], "") + "…"
}

var errRetry = malformed("retry", "must be a number of milliseconds")

func set(p *Publication, name, value string) (err error) {
	if !utf8.ValidString(value) {
		return malformed(name, "must be valid UTF-8")
	}
	switch name {
	case "topic":
		p.Topic = value
	case "data":
		p.Event.Data = value
	case "type":
		p.Event.Type = value
	case "retry":
		if p.Event.Retry, err = strconv.ParseUint(value, 10, 64); err != nil {
			return errRetry
		}
	}
	return nil
}

func malformed(field, message string) error {
	return &HTTPError{Status: http.StatusBadRequest, Field: field, Message: message}
}
