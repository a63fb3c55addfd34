package server

import (
	"slices"

	"github.com/eventsource-wasm/eventsource-wasm/server/internal/topic"
)

// MaxTopicBytes bounds the name of a topic, and a pattern. It is not an option because no honest name meets it.
const MaxTopicBytes = topic.MaxBytes

// Covers reports whether pattern matches every topic that topic, which may be a pattern itself, stands for. Use it in a
// [Handler.Authorize] to compare what is permitted with what is requested.
//
// Names consist of tokens separated by dots. In a pattern, the token "*" matches any one token, and ">", which must be
// the last, matches one or more: "orders.*" covers "orders.new" and not "orders.new.eu". "orders.>" covers both, and
// "orders.*" too; neither covers "orders". A name without such tokens covers itself alone. Within a longer token, "*"
// and ">" are ordinary characters. An invalid pattern, such as "a.>.b", covers nothing.
func Covers(pattern, topicOrPattern string) bool { return topic.Covers(pattern, topicOrPattern) }

// all is what a request gets that names no topic.
func (h *Handler) all() []string {
	if len(h.topics()) == 0 {
		return []string{topic.All}
	}
	return slices.Clone(h.topics()) // for Authorize, which is not to change the handler's
}

func (h *Handler) topics() []string {
	if len(h.Topics) > 0 {
		return h.Topics
	}
	return h.Broker.Topics
}
