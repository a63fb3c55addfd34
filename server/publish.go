package server

import (
	"context"
	"errors"
	"net/http"

	"github.com/eventsource-wasm/eventsource-wasm/server/internal/topic"
)

// A posting is the decoded body of a POST.
type posting struct {
	publications []Publication
	lines        []int // of a batch, where each is; nil for a single publication
	body         []byte
}

func (h *Handler) publish(w http.ResponseWriter, r *http.Request) error {
	decode, key, err := h.admitPublisher(r)
	if err != nil {
		leaveBody(w, r)
		return err
	}
	body := h.newBodyReader(r)
	defer body.end()
	if err := body.begin(); err != nil {
		leaveBody(w, r)
		return err
	}
	text, err := body.read(w)
	if err != nil {
		leaveBody(w, r)
		return err
	}
	p, err := decode(text)
	if err != nil {
		return err
	}
	p.body = text
	grant, err := h.authorize(r, Access{ActionPublish, p.topics(), len(p.publications)})
	if err != nil {
		return err
	}
	ids, err := h.store(r.Context(), p, attempt{grant.Subject, key, h.owner(r, grant)})
	if err != nil {
		return p.locate(err)
	}
	writeJSON(w, http.StatusCreated, p.answer(ids))
	return nil
}

// admitPublisher decides from the header of the request. It checks first whether the client may publish, so that others
// learn nothing else.
func (h *Handler) admitPublisher(r *http.Request) (decode decoder, key string, err error) {
	if err := h.checkSite(r); err != nil {
		return nil, "", err
	}
	if h.Authorize == nil && !h.OpenPublish {
		return nil, "", &HTTPError{
			Status:  http.StatusForbidden,
			Message: "publishing over HTTP is disabled: set Handler.Authorize or Handler.OpenPublish",
		}
	}
	if _, err := h.authorize(r, Access{Action: ActionPublish}); err != nil {
		return nil, "", err
	}
	if key, err = idempotencyKey(r); err != nil {
		return nil, "", err
	}
	decode, err = h.decoder(r.Header.Get("Content-Type"))
	return decode, key, err
}

func (h *Handler) store(ctx context.Context, p posting, a attempt) ([]string, error) {
	for i, publication := range p.publications {
		if err := topic.CheckName(publication.Topic, h.topics()); err != nil {
			return nil, &PublicationError{i, err}
		}
	}
	return h.Broker.publishOnce(ctx, a, p.body, p.publications)
}

// topics returns the distinct topics of all publications.
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

// locate adds the line number to an error about one publication of a batch.
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
