package server

import (
	"slices"

	"github.com/eventsource-wasm/eventsource-wasm/server/internal/topic"
)

// MaxTopicBytes is the maximum length of a topic or pattern, 255 bytes. It is not an option because no reasonable name is longer.
const MaxTopicBytes = topic.MaxBytes

// Covers reports whether pattern matches topicOrPattern or, if that is a pattern, everything that it matches. Use it in
// [Handler.Authorize] to compare requested topics with permitted ones.
//
// A name has tokens separated by dots. In a pattern, the token "*" matches exactly one token, and ">", which must be
// last, matches one or more. "orders.*" covers "orders.new" but not "orders.new.eu". "orders.>" covers both, and also
// "orders.*". Neither covers "orders". A name without wildcards covers only itself. Within a longer token, "*" and ">"
// are ordinary characters. An invalid pattern such as "a.>.b" covers nothing.
func Covers(pattern, topicOrPattern string) bool { return topic.Covers(pattern, topicOrPattern) }

// all returns the topics of a request without topics.
func (h *Handler) all() []string {
	if len(h.topics()) == 0 {
		return []string{topic.All}
	}
	return slices.Clone(h.topics()) // a copy, because Authorize might change it
}

func (h *Handler) topics() []string {
	if len(h.Topics) > 0 {
		return h.Topics
	}
	return h.Broker.Topics
}
