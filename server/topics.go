package server

import (
	"crypto/sha256"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"unique"
	"weak"
)

// MaxTopicBytes bounds the name of a topic, and a pattern. It is not an option because no honest name meets it.
const MaxTopicBytes = 255

// The tokens of a pattern that stand for others.
const (
	oneToken   = "*"
	moreTokens = ">"
)

// Covers reports whether pattern matches every topic that topic, which may be a pattern itself, stands for. It is for
// a [Handler.Authorize] that compares what is permitted with what is asked.
//
// Names consist of tokens with dots between them. In a pattern, the token "*" matches any one token, and ">", which
// must be the last, matches one or more: "orders.*" covers "orders.new" and not "orders.new.eu", which "orders.>"
// covers as it covers "orders.*"; none of them covers "orders". A name without such tokens covers itself alone; within
// a longer token, "*" and ">" mean themselves. What is no pattern, such as "a.>.b", covers nothing.
func Covers(pattern, topic string) bool {
	for {
		p, patternRest, patternMore := strings.Cut(pattern, ".")
		t, topicRest, topicMore := strings.Cut(topic, ".")
		switch {
		case p == moreTokens && !patternMore:
			return true
		case t == moreTokens, p != oneToken && p != t, patternMore != topicMore:
			return false
		case !patternMore:
			return true
		}
		pattern, topic = patternRest, topicRest
	}
}

// overlap reports whether there can be a topic that both patterns match.
func overlap(a, b string) bool {
	for {
		s, aRest, aMore := strings.Cut(a, ".")
		t, bRest, bMore := strings.Cut(b, ".")
		switch {
		case s == moreTokens && !aMore, t == moreTokens && !bMore:
			return true
		case s != t && s != oneToken && t != oneToken, aMore != bMore:
			return false
		case !aMore:
			return true
		}
		a, b = aRest, bRest
	}
}

func anyCovers(patterns []string, topic string) bool {
	return slices.ContainsFunc(patterns, func(pattern string) bool { return Covers(pattern, topic) })
}

// checkTopic returns why topic cannot be published to, when known lists what exists, of which none means any.
func checkTopic(topic string, known []string) error {
	if err := checkPattern(topic); err != nil {
		return err
	}
	if hasWildcard(topic) {
		return fmt.Errorf("%w: events go to one topic, not to a pattern", ErrInvalidTopic)
	}
	if len(known) > 0 && !anyCovers(known, topic) {
		return fmt.Errorf("%w %q", ErrUnknownTopic, topic)
	}
	return nil
}

// checkSubscription returns why there can be no event that matches pattern.
func checkSubscription(pattern string, known []string) error {
	if err := checkPattern(pattern); err != nil {
		return err
	}
	meets := func(topic string) bool { return overlap(topic, pattern) }
	if len(known) > 0 && !slices.ContainsFunc(known, meets) {
		return fmt.Errorf("%w %q", ErrUnknownTopic, pattern)
	}
	return nil
}

func checkPattern(pattern string) error {
	switch {
	case pattern == "":
		return fmt.Errorf("%w: it is empty", ErrInvalidTopic)
	case len(pattern) > MaxTopicBytes:
		return fmt.Errorf("%w: it is longer than %d bytes", ErrInvalidTopic, MaxTopicBytes)
	case strings.HasPrefix(pattern, moreTokens+"."), strings.Contains(pattern, "."+moreTokens+"."):
		return fmt.Errorf("%w: %q is not its last token", ErrInvalidTopic, moreTokens)
	}
	return nil
}

func hasWildcard(pattern string) bool {
	if !strings.ContainsAny(pattern, oneToken+moreTokens) {
		return false // most names, at a fraction of the cost
	}
	for token := range strings.SplitSeq(pattern, ".") {
		if token == oneToken || token == moreTokens {
			return true
		}
	}
	return false
}

// A filter says which topics a stream is for. Nil is for all. Streams that ask for the same have the same filter.
type filter struct {
	exact []unique.Handle[string] // all that it is for, if there is no pattern

	patterns []string // asked for
	prefixes []string // of patterns, what comes before the first wildcard
	within   []string // and served if one of these matches; none means any

	resolved sync.Map     // of topics with one of the prefixes, the handle to whether the filter has it
	misses   atomic.Int64 // since resolved was empty
}

// maxResolved bounds a filter's memory, of which a topic takes some 100 bytes. Where there are more topics than that,
// the others are compared each time, and the choice is made anew after so many times as many.
const (
	maxResolved = 128
	maxMisses   = 16 * maxResolved
)

func newFilter(asked, served []string) *filter {
	if len(served) == 0 && slices.Contains(asked, moreTokens) {
		return nil
	}
	f := &filter{patterns: asked, within: served}
	if !slices.ContainsFunc(asked, func(topic string) bool { return !anyCovers(served, topic) }) {
		f.within = nil
	}
	if !slices.ContainsFunc(asked, hasWildcard) {
		for _, topic := range asked {
			f.exact = append(f.exact, unique.Make(topic))
		}
		return f
	}
	for _, pattern := range asked {
		f.prefixes = append(f.prefixes, literalPrefix(pattern))
	}
	return f
}

// literalPrefix returns what every topic that the pattern matches begins with.
func literalPrefix(pattern string) string {
	end := 0
	for token := range strings.SplitAfterSeq(pattern, ".") {
		if hasWildcard(strings.TrimSuffix(token, ".")) {
			break
		}
		end += len(token)
	}
	return pattern[:end]
}

// has is called for every event and stream. Most streams are for few of the topics, so most calls end at the prefix;
// of the others, a name is compared with the patterns once.
func (f *filter) has(topic unique.Handle[string]) bool {
	switch {
	case topic == absent:
		return false
	case f == nil:
		return true
	case f.exact != nil:
		return slices.Contains(f.exact, topic)
	}
	name := topic.Value()
	for _, prefix := range f.prefixes {
		if strings.HasPrefix(name, prefix) {
			if has, known := f.resolved.Load(topic); known {
				return has.(bool)
			}
			return f.resolve(topic)
		}
	}
	return false
}

func (f *filter) resolve(topic unique.Handle[string]) bool {
	name := topic.Value()
	has := anyCovers(f.patterns, name) && (len(f.within) == 0 || anyCovers(f.within, name))
	switch misses := f.misses.Add(1); {
	case misses <= maxResolved:
		f.resolved.Store(topic, has)
	case misses == maxMisses:
		f.resolved.Clear()
		f.misses.Store(0)
	}
	return has
}

// filters are those in use, each until the last of its streams has ended.
type filters struct {
	mu    sync.Mutex
	known map[filterKey]weak.Pointer[filter]
}

// A filterKey stands for what a filter was made of, which may be long: as long as a query.
type filterKey [sha256.Size]byte

// get returns the filter for the patterns asked for, as far as they are within those served, of which none means any.
func (s *filters) get(asked, served []string) *filter {
	asked = slices.Compact(slices.Sorted(slices.Values(asked)))
	key := filterKey(sha256.Sum256(fmt.Appendf(nil, "%q of %q", asked, served))) // quoted: a name may hold any byte
	s.mu.Lock()
	defer s.mu.Unlock()
	if f := s.known[key].Value(); f != nil {
		return f
	}
	f := newFilter(asked, served)
	if f == nil {
		return nil
	}
	if s.known == nil {
		s.known = map[filterKey]weak.Pointer[filter]{}
	}
	s.known[key] = weak.Make(f)
	runtime.AddCleanup(f, s.forget, key)
	return f
}

func (s *filters) forget(key filterKey) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.known[key].Value() == nil { // or it has a successor
		delete(s.known, key)
	}
}
