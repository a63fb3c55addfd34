package topic

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"unique"
)

// A Filter selects topics. A nil Filter selects all. It is safe for concurrent use.
type Filter struct {
	exact []Name // all topics, if the filter has no pattern

	patterns []string // the requested patterns
	prefixes []string // the parts of patterns before the first wildcard
	within   []string // a topic must also match one of these, if any

	resolved sync.Map     // caches whether the filter has a topic with one of the prefixes
	misses   atomic.Int64 // since resolved was empty

	key   filterKey
	users int // under the registry's lock
}

// maxResolved limits the memory of a filter: a topic takes about 100 bytes. Beyond it, topics are compared each time, and
// resolved starts over after maxMisses.
const (
	maxResolved = 128
	maxMisses   = 16 * maxResolved
)

func newFilter(asked, served []string) *Filter {
	if len(served) == 0 && slices.Contains(asked, moreTokens) {
		return nil
	}
	f := &Filter{patterns: asked, within: served}
	if !slices.ContainsFunc(asked, func(topic string) bool { return !anyCovers(served, topic) }) {
		f.within = nil
	}
	if !slices.ContainsFunc(asked, hasWildcard) {
		f.exact = []Name{}
		for _, topic := range asked {
			if f.serves(topic) {
				f.exact = append(f.exact, unique.Make(topic))
			}
		}
		f.within = nil
		return f
	}
	for _, pattern := range asked {
		f.prefixes = append(f.prefixes, literalPrefix(pattern))
	}
	return f
}

// literalPrefix returns the common prefix of all topics that the pattern matches.
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

// Has reports whether the filter selects the topic. The result for a name is cached; most calls return earlier because
// no prefix matches.
func (f *Filter) Has(topic Name) bool {
	switch {
	case topic == Absent:
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

func (f *Filter) resolve(topic Name) bool {
	name := topic.Value()
	has := anyCovers(f.patterns, name) && f.serves(name)
	switch misses := f.misses.Add(1); {
	case misses <= maxResolved:
		f.resolved.Store(topic, has)
	case misses == maxMisses:
		f.resolved.Clear()
		f.misses.Store(0)
	}
	return has
}

func (f *Filter) serves(name string) bool {
	return len(f.within) == 0 || anyCovers(f.within, name)
}

// ErrTooManyFilters is returned by [Registry.Acquire] at its limit.
var ErrTooManyFilters = errors.New("server: too many distinct topic filters")

// A Registry interns filters, so that clients with the same topics share one. The zero Registry is empty.
type Registry struct {
	mu    sync.Mutex
	known map[filterKey]*Filter
}

// A filterKey identifies a filter in constant size. Its topics may be as long as a query.
type filterKey [sha256.Size]byte

// Acquire returns the filter for the requested topics, restricted to the served ones; empty served means all. Release
// it once. A negative limit on the number of filters means none.
func (r *Registry) Acquire(asked, served []string, limit int) (*Filter, error) {
	asked = slices.Compact(slices.Sorted(slices.Values(asked)))
	key := filterKey(sha256.Sum256(fmt.Appendf(nil, "%q of %q", asked, served))) // quoted because a name may contain any byte
	r.mu.Lock()
	defer r.mu.Unlock()
	if f := r.known[key]; f != nil {
		f.users++
		return f, nil
	}
	for i, topic := range asked {
		asked[i] = strings.Clone(topic) // otherwise it would keep the whole query in memory
	}
	f := newFilter(asked, served)
	if f == nil {
		return nil, nil
	}
	if limit >= 0 && len(r.known) >= limit {
		return nil, ErrTooManyFilters
	}
	if r.known == nil {
		r.known = map[filterKey]*Filter{}
	}
	f.key, f.users = key, 1
	r.known[key] = f
	return f, nil
}

// Release ends one use of the filter.
func (r *Registry) Release(f *Filter) {
	if f == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if f.users--; f.users == 0 {
		delete(r.known, f.key)
	}
}

// Len returns the number of distinct filters in use.
func (r *Registry) Len() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.known)
}
