// Package topic implements topic names, patterns and filters, and an index from a topic to the filters that select it.
package topic

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unique"
)

// MaxBytes is the maximum length of a name or pattern.
const MaxBytes = 255

// The wildcard tokens of a pattern.
const (
	oneToken   = "*"
	moreTokens = ">"
)

// All is the pattern that matches every topic.
const All = moreTokens

var (
	ErrInvalid = errors.New("server: invalid topic")
	ErrUnknown = errors.New("server: unknown topic")
)

// A Name is a topic name that can be compared in constant time.
type Name = unique.Handle[string]

// Make returns the name of a topic.
func Make(topic string) Name { return unique.Make(topic) }

// Absent is the topic of a sequence without an event. No filter selects it.
var Absent = unique.Make("")

// Covers reports whether pattern matches topic or, if that is a pattern, everything that it matches.
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

// overlap reports whether some topic matches both patterns.
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

// CheckName returns an error if an event cannot be published to the topic. known lists the existing names and patterns;
// empty means any.
func CheckName(topic string, known []string) error {
	if err := checkPattern(topic); err != nil {
		return err
	}
	if hasWildcard(topic) {
		return fmt.Errorf("%w: cannot publish to a pattern", ErrInvalid)
	}
	if len(known) > 0 && !anyCovers(known, topic) {
		return fmt.Errorf("%w %q", ErrUnknown, topic)
	}
	return nil
}

// CheckPattern returns an error if no event can match the name or pattern.
func CheckPattern(pattern string, known []string) error {
	if err := checkPattern(pattern); err != nil {
		return err
	}
	meets := func(topic string) bool { return overlap(topic, pattern) }
	if len(known) > 0 && !slices.ContainsFunc(known, meets) {
		return fmt.Errorf("%w %q", ErrUnknown, pattern)
	}
	return nil
}

func checkPattern(pattern string) error {
	switch {
	case pattern == "":
		return fmt.Errorf("%w: must not be empty", ErrInvalid)
	case len(pattern) > MaxBytes:
		return fmt.Errorf("%w: longer than %d bytes", ErrInvalid, MaxBytes)
	case strings.HasPrefix(pattern, moreTokens+"."), strings.Contains(pattern, "."+moreTokens+"."):
		return fmt.Errorf("%w: %q must be the last token", ErrInvalid, moreTokens)
	}
	return nil
}

func hasWildcard(pattern string) bool {
	if !strings.ContainsAny(pattern, oneToken+moreTokens) {
		return false // true of most names, and cheaper
	}
	for token := range strings.SplitSeq(pattern, ".") {
		if token == oneToken || token == moreTokens {
			return true
		}
	}
	return false
}
