package server

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"unicode/utf8"

	"github.com/eventsource-wasm/eventsource-wasm/server/internal/topic"
)

// A posting is what a POST asks to publish.
type posting struct {
	publications []Publication
	lines        []int // of a batch, where each is; nil for a single publication
	body         []byte
}

func (h *Handler) publish(w http.ResponseWriter, r *http.Request) error {
	if err := h.checkSite(r); err != nil {
		return err
	}
	if h.Authorize == nil && !h.OpenPublish {
		return &Error{
			Status:  http.StatusForbidden,
			Message: "publishing over HTTP is off: set the Handler's Authorize, or OpenPublish",
		}
	}
	key, err := idempotencyKey(r)
	if err != nil {
		return err
	}
	p, err := h.readPosting(w, r)
	if err != nil {
		return err
	}
	grant, err := h.authorize(r, Access{Publish, p.topics(), len(p.publications)})
	if err != nil {
		return err
	}
	ids, err := h.store(p, attempt{grant.Subject, key})
	if err != nil {
		return p.locate(err)
	}
	writeJSON(w, http.StatusCreated, p.answer(ids))
	return nil
}

func (h *Handler) store(p posting, a attempt) ([]string, error) {
	for i, publication := range p.publications {
		if err := topic.CheckName(publication.Topic, h.topics()); err != nil {
			return nil, &PublicationError{i, err}
		}
	}
	return h.Broker.publishOnce(a, p.body, p.publications)
}

// topics returns those of all publications, each once.
func (p posting) topics() (topics []string) {
	seen := map[string]bool{}
	for _, publication := range p.publications {
		if !seen[publication.Topic] {
			seen[publication.Topic] = true
			topics = append(topics, publication.Topic)
		}
	}
	return topics
}

// locate makes an error about one publication say in which line it is.
func (p posting) locate(err error) error {
	about, ok := errors.AsType[*PublicationError](err)
	switch {
	case !ok:
		return err
	case p.lines == nil:
		return about.Err
	}
	e := answer(about.Err)
	return inLine(p.lines[about.Index], &e)
}

func (p posting) answer(ids []string) any {
	if p.lines == nil {
		return published{ids[0]}
	}
	return publishedAll{ids}
}

type published struct {
	ID string `json:"id"`
}

type publishedAll struct {
	IDs []string `json:"ids"`
}

func (h *Handler) readPosting(w http.ResponseWriter, r *http.Request) (posting, error) {
	decode, err := h.decoder(r.Header.Get("Content-Type"))
	if err != nil {
		return posting{}, err
	}
	body := r.Body
	if limit := cmp.Or(h.MaxBodyBytes, DefaultMaxBodyBytes); limit >= 0 {
		body = http.MaxBytesReader(w, body, limit)
	}
	text, err := io.ReadAll(body)
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return posting{}, &Error{Status: http.StatusRequestEntityTooLarge}
	}
	if err != nil {
		return posting{}, malformed("", "the body could not be read")
	}
	p, err := decode(text)
	p.body = text
	return p, err
}

func (h *Handler) decoder(contentType string) (func([]byte) (posting, error), error) {
	mediaType, _, _ := mime.ParseMediaType(contentType)
	switch mediaType {
	case "application/json":
		return single(fromJSON), nil
	case "application/x-www-form-urlencoded":
		return single(fromForm), nil
	case "application/x-ndjson":
		return h.fromLines, nil
	}
	return nil, &Error{
		Status:  http.StatusUnsupportedMediaType,
		Field:   "Content-Type",
		Message: "must be application/json, application/x-ndjson or application/x-www-form-urlencoded",
	}
}

func single(decode func([]byte) (Publication, error)) func([]byte) (posting, error) {
	return func(body []byte) (posting, error) {
		p, err := decode(body)
		return posting{publications: []Publication{p}}, err
	}
}

// fromLines takes a JSON object a line, and ignores empty lines.
func (h *Handler) fromLines(body []byte) (p posting, err error) {
	number, limit := 0, cmp.Or(h.MaxBatch, DefaultMaxBatch)
	for line := range bytes.Lines(body) {
		number++
		if len(bytes.TrimSpace(line)) == 0 {
			continue
		}
		publication, err := fromJSON(line)
		if err != nil {
			return p, inLine(number, err)
		}
		p.publications = append(p.publications, publication)
		p.lines = append(p.lines, number)
		if over(len(p.lines), limit) {
			return p, &Error{Status: http.StatusRequestEntityTooLarge, Message: fmt.Sprintf("more than %d events", limit)}
		}
	}
	if len(p.lines) == 0 {
		return p, malformed("", "the body has no events")
	}
	return p, nil
}

func inLine(number int, err error) error {
	e := answer(err)
	e.Message = fmt.Sprintf("line %d: %s", number, cmp.Or(e.Message, http.StatusText(e.Status)))
	return &e
}

func fromForm(body []byte) (p Publication, err error) {
	values, err := url.ParseQuery(string(body))
	if err != nil {
		return p, malformed("", "the form is malformed")
	}
	for _, name := range slices.Sorted(maps.Keys(values)) {
		if len(values[name]) > 1 {
			return p, malformed(name, "given more than once")
		}
		if err := set(&p, name, values[name][0]); err != nil {
			return p, err
		}
	}
	return p, nil
}

func fromJSON(body []byte) (p Publication, err error) {
	var values map[string]json.RawMessage
	if !utf8.Valid(body) || json.Unmarshal(body, &values) != nil {
		return p, malformed("", "the body is not a JSON object")
	}
	for _, name := range slices.Sorted(maps.Keys(values)) {
		raw, text := values[name], ""
		switch {
		case string(raw) == "null":
			continue
		case name == "retry" && raw[0] != '"':
			text = string(raw) // a number, as set is going to see
		case json.Unmarshal(raw, &text) != nil:
			return p, malformed(name, "must be a string")
		}
		if err := set(&p, name, text); err != nil {
			return p, err
		}
	}
	return p, nil
}

// set refuses fields it does not know, for a misspelt one would be lost without a word.
func set(p *Publication, name, value string) (err error) {
	if !utf8.ValidString(value) {
		return malformed(name, "is not UTF-8")
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
			return malformed(name, "must be a number of milliseconds")
		}
	case "id":
		return malformed(name, "is for the server to assign")
	default:
		return malformed(name, "unknown field")
	}
	return nil
}

func malformed(field, message string) error {
	return &Error{Status: http.StatusBadRequest, Field: field, Message: message}
}
