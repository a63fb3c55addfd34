package server

import (
	"cmp"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"unicode/utf8"

	"github.com/eventsource-wasm/eventsource-wasm/sse"
)

// A publication is what a POST asks to publish.
type publication struct {
	topic string
	event sse.Event
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
	p, err := h.readPublication(w, r)
	if err != nil {
		return err
	}
	if err := h.authorize(r, Access{Publish, []string{p.topic}}); err != nil {
		return err
	}
	if err := checkTopic(p.topic, h.topics()); err != nil {
		return err
	}
	id, err := h.Broker.Publish(p.topic, p.event)
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusCreated, published{id})
	return nil
}

type published struct {
	ID string `json:"id"`
}

func (h *Handler) readPublication(w http.ResponseWriter, r *http.Request) (publication, error) {
	decode, err := decoder(r.Header.Get("Content-Type"))
	if err != nil {
		return publication{}, err
	}
	body := r.Body
	if limit := cmp.Or(h.MaxBodyBytes, DefaultMaxBodyBytes); limit >= 0 {
		body = http.MaxBytesReader(w, body, limit)
	}
	text, err := io.ReadAll(body)
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return publication{}, &Error{Status: http.StatusRequestEntityTooLarge}
	}
	if err != nil {
		return publication{}, malformed("", "the body could not be read")
	}
	return decode(text)
}

func decoder(contentType string) (func([]byte) (publication, error), error) {
	mediaType, _, _ := mime.ParseMediaType(contentType)
	switch mediaType {
	case "application/json":
		return fromJSON, nil
	case "application/x-www-form-urlencoded":
		return fromForm, nil
	}
	return nil, &Error{
		Status:  http.StatusUnsupportedMediaType,
		Field:   "Content-Type",
		Message: "must be application/json or application/x-www-form-urlencoded",
	}
}

func fromForm(body []byte) (p publication, err error) {
	values, err := url.ParseQuery(string(body))
	if err != nil {
		return p, malformed("", "the form is malformed")
	}
	for _, name := range slices.Sorted(maps.Keys(values)) {
		if len(values[name]) > 1 {
			return p, malformed(name, "given more than once")
		}
		if err := p.set(name, values[name][0]); err != nil {
			return p, err
		}
	}
	return p, nil
}

func fromJSON(body []byte) (p publication, err error) {
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
		if err := p.set(name, text); err != nil {
			return p, err
		}
	}
	return p, nil
}

// set refuses fields it does not know, for a misspelt one would be lost without a word.
func (p *publication) set(name, value string) (err error) {
	if !utf8.ValidString(value) {
		return malformed(name, "is not UTF-8")
	}
	switch name {
	case "topic":
		p.topic = value
	case "data":
		p.event.Data = value
	case "type":
		p.event.Type = value
	case "retry":
		if p.event.Retry, err = strconv.ParseUint(value, 10, 64); err != nil {
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
