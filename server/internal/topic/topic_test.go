package topic

import (
	"crypto/rand"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"unique"
	"unsafe"
)

func TestCovers(t *testing.T) {
	tests := []struct {
		pattern, topic string
		want           bool
	}{
		{"orders", "orders", true},
		{"orders", "Orders", false},
		{"orders", "orders.new", false},
		{"orders.*", "orders.new", true},
		{"orders.*", "orders", false},
		{"orders.*", "orders.new.eu", false},
		{"orders.*", "orders.*", true},
		{"orders.*", "orders.>", false},
		{"orders.*", "*.new", false},
		{"orders.*.eu", "orders.new.eu", true},
		{"orders.>", "orders.new", true},
		{"orders.>", "orders.new.eu", true},
		{"orders.>", "orders", false},
		{"orders.>", "orders.*", true},
		{"orders.>", "orders.*.>", true},
		{"orders.new", "orders.*", false},
		{"*.>", ">", false},
		{">", "*.>", true},
		{">", "anything at all", true},
		{"*", "orders", true},
		{"*", ">", false},
		{"*", "a b/c{d}", true},
		{"a*", "ab", false},
		{"a*", "a*", true},
		{"a.b>", "a.b>", true},
		{"a.>.b", "a.x.b", false},
		{"a.>.b", "a.>.b", false},
		{">.a", "x.a", false},
		{"a.*", "a.", true}, // an empty token counts
		{"a.>", "a..b", true},
		{"a", "", false},
	}
	for _, test := range tests {
		if got := Covers(test.pattern, test.topic); got != test.want {
			t.Errorf("Covers(%q, %q) = %t", test.pattern, test.topic, got)
		}
	}
}

// names returns all names of up to longest tokens.
func names(tokens []string, longest int) (all []string) {
	grown := []string{""}
	for range longest {
		var next []string
		for _, name := range grown {
			for _, token := range tokens {
				next = append(next, strings.TrimPrefix(name+"."+token, "."))
			}
		}
		all, grown = append(all, next...), next
	}
	return all
}

// Covers and overlap must agree with the sets of topics that patterns match. The test compares them with regular
// expressions for all short patterns and topics. The token c, which is in no pattern, stands for all other tokens.
func TestCoversAgreesWithTopics(t *testing.T) {
	topics := names([]string{"a", "b", "c"}, 4)
	matched := map[string][]string{}
	for _, pattern := range names([]string{"a", "b", "*", ">"}, 3) {
		if checkPattern(pattern) != nil {
			continue
		}
		expression := strings.NewReplacer(".", `\.`, "*", "[^.]*", ">", ".+").Replace(pattern)
		is := regexp.MustCompile("^" + expression + "$")
		for _, topic := range topics {
			if is.MatchString(topic) {
				matched[pattern] = append(matched[pattern], topic)
			}
			if got := Covers(pattern, topic); got != is.MatchString(topic) {
				t.Errorf("Covers(%q, %q) = %t", pattern, topic, got)
			}
		}
	}
	for p, ofP := range matched {
		for q, ofQ := range matched {
			missing := slices.ContainsFunc(ofQ, func(topic string) bool { return !slices.Contains(ofP, topic) })
			if got := Covers(p, q); got == missing {
				t.Errorf("Covers(%q, %q) = %t", p, q, got)
			}
			common := slices.ContainsFunc(ofQ, func(topic string) bool { return slices.Contains(ofP, topic) })
			if got := overlap(p, q); got != common {
				t.Errorf("overlap(%q, %q) = %t", p, q, got)
			}
		}
	}
}

func TestCheckNameAndPattern(t *testing.T) {
	known := []string{"chat", "orders.*", "log.>"}
	long := strings.Repeat("t", MaxBytes)
	tests := map[string]struct {
		topic              string
		known              []string
		publish, subscribe error
	}{
		"any":                       {"a b\x00\xff", nil, nil, nil},
		"longest":                   {long, nil, nil, nil},
		"too long":                  {long + "t", nil, ErrInvalid, ErrInvalid},
		"empty":                     {"", nil, ErrInvalid, ErrInvalid},
		"empty, of a list":          {"", known, ErrInvalid, ErrInvalid},
		"star":                      {"*", nil, ErrInvalid, nil},
		"star within":               {"a.*.b", nil, ErrInvalid, nil},
		"rest":                      {"a.>", nil, ErrInvalid, nil},
		"rest within":               {"a.>.b", nil, ErrInvalid, ErrInvalid},
		"rest first":                {">.b", nil, ErrInvalid, ErrInvalid},
		"no wildcard":               {"a*.>b", nil, nil, nil},
		"listed":                    {"chat", known, nil, nil},
		"unlisted":                  {"chats", known, ErrUnknown, ErrUnknown},
		"of a listed pattern":       {"orders.new", known, nil, nil},
		"outside a listed pattern":  {"orders.new.eu", known, ErrUnknown, ErrUnknown},
		"below a listed pattern":    {"log.a.b.c", known, nil, nil},
		"a listed pattern":          {"orders.*", known, ErrInvalid, nil},
		"more than a listed one":    {"orders.>", known, ErrInvalid, nil},
		"everything":                {">", known, ErrInvalid, nil},
		"pattern that none matches": {"chat.*", known, ErrInvalid, ErrUnknown},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if err := CheckName(test.topic, test.known); !errors.Is(err, test.publish) {
				t.Errorf("publishing: %v, want %v", err, test.publish)
			}
			if err := CheckPattern(test.topic, test.known); !errors.Is(err, test.subscribe) {
				t.Errorf("subscribing: %v, want %v", err, test.subscribe)
			}
		})
	}
}

func TestFilter(t *testing.T) {
	tests := map[string]struct {
		asked, served []string
		has, hasNot   []string
	}{
		"all":               {[]string{">"}, nil, []string{"a", "a.b"}, nil},
		"all, and more":     {[]string{"a", ">"}, nil, []string{"a", "b"}, nil},
		"all of some":       {[]string{">"}, []string{"a", "b.*"}, []string{"a", "b.c"}, []string{"b", "b.c.d", "c"}},
		"names":             {[]string{"a", "b"}, nil, []string{"a", "b"}, []string{"c", "a.b"}},
		"names of some":     {[]string{"a", "b"}, []string{">"}, []string{"a", "b"}, []string{"c"}},
		"patterns":          {[]string{"a.*", "b.>"}, nil, []string{"a.x", "b.x.y"}, []string{"a", "a.x.y", "b"}},
		"names, patterns":   {[]string{"a", "b.>"}, []string{}, []string{"a", "b.x"}, []string{"a.x", "b"}},
		"pattern of some":   {[]string{"a.>"}, []string{"*.x", "b"}, []string{"a.x"}, []string{"a.y", "b.x", "a.x.x"}},
		"served pattern":    {[]string{"a.*"}, []string{"a.*"}, []string{"a.x"}, []string{"b.x"}},
		"name beyond those": {[]string{"a", "c.*"}, []string{"a", "c.d"}, []string{"a", "c.d"}, []string{"c.e"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			f := newFilter(test.asked, test.served)
			for range 2 { // first compared, then from the cache
				for _, topic := range test.has {
					if !f.Has(unique.Make(topic)) {
						t.Errorf("%s is not in the filter", topic)
					}
				}
				for _, topic := range test.hasNot {
					if f.Has(unique.Make(topic)) {
						t.Errorf("%s is in the filter", topic)
					}
				}
			}
		})
	}
}

func acquire(t *testing.T, r *Registry, asked, served []string) *Filter {
	t.Helper()
	f, err := r.Acquire(asked, served, -1)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestStreamsShareFilters(t *testing.T) {
	var r Registry
	f := acquire(t, &r, []string{"b", "a.*", "b"}, nil)
	if again := acquire(t, &r, []string{"a.*", "b"}, nil); again != f {
		t.Error("the same topics got two filters")
	}
	others := []*Filter{
		acquire(t, &r, []string{"a.*", "b"}, []string{"b"}),
		acquire(t, &r, []string{"a.*"}, nil),
		acquire(t, &r, []string{">"}, nil),
	}
	if slices.Contains(others, f) || others[2] != nil {
		t.Errorf("other topics got %v", others)
	}
	// A name may contain the characters that separate names.
	if acquire(t, &r, []string{"x\" \"y"}, nil) == acquire(t, &r, []string{"x", "y"}, nil) {
		t.Error("one topic and two have the same filter")
	}
}

func TestFiltersEnd(t *testing.T) {
	var r Registry
	kept := acquire(t, &r, []string{"kept"}, nil)
	acquire(t, &r, []string{"kept"}, nil)
	for i := range 100 {
		f := acquire(t, &r, []string{fmt.Sprint("topic ", i)}, nil)
		r.Release(f)
	}
	r.Release(kept)
	r.Release(acquire(t, &r, []string{">"}, nil))
	if n := r.Len(); n != 1 {
		t.Errorf("%d filters are in use, want 1", n)
	}
	if acquire(t, &r, []string{"kept"}, nil) != kept {
		t.Error("a filter in use was forgotten")
	}
}

func TestFiltersAreBounded(t *testing.T) {
	var r Registry
	for i := range 3 {
		if _, err := r.Acquire([]string{fmt.Sprint(i)}, nil, 3); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := r.Acquire([]string{"more"}, nil, 3); err != ErrTooManyFilters {
		t.Errorf("beyond the limit: %v", err)
	}
	for _, asked := range []string{"1", ">"} {
		if _, err := r.Acquire([]string{asked}, nil, 3); err != nil {
			t.Errorf("%s, which needs no new filter: %v", asked, err)
		}
	}
}

// The cache of a filter is bounded, follows changing topics, and is never wrong.
func TestFilterCache(t *testing.T) {
	f := newFilter([]string{"a.*", "b", "*.c"}, nil)
	remembered := func() (all []string) {
		f.resolved.Range(func(topic, _ any) bool {
			all = append(all, topic.(unique.Handle[string]).Value())
			return true
		})
		return all
	}
	var readers sync.WaitGroup
	for range 4 {
		readers.Go(func() {
			for i := range maxMisses {
				if in, out := unique.Make(fmt.Sprint("a.", i)), unique.Make(fmt.Sprint("c.", i)); !f.Has(in) || f.Has(out) {
					t.Errorf("wrong result for topic %d", i)
				}
			}
		})
	}
	readers.Wait()
	f.Has(unique.Make("a.last")) // in case the previous one has emptied the cache
	if n := len(remembered()); n == 0 || n > maxResolved+4 {
		t.Errorf("%d topics are cached", n)
	}
	for range maxMisses + maxResolved {
		f.Has(unique.Make("x.c"))
		f.Has(unique.Make("new"))
		f.Has(unique.Make(rand.Text()))
	}
	f.Has(unique.Make("x.c"))
	f.Has(unique.Make("new"))
	if all := remembered(); !slices.Contains(all, "x.c") || !slices.Contains(all, "new") {
		t.Errorf("the current topics are not among the %d cached ones", len(all))
	}
}

// A filter with a few topics does not cache others.
func TestFilterCachesOwnTopics(t *testing.T) {
	f := newFilter([]string{"user.7.*", "news"}, nil)
	for i := range 10 * maxResolved {
		f.Has(unique.Make(fmt.Sprintf("user.%d.inbox", i)))
	}
	n := 0
	f.resolved.Range(func(any, any) bool { n++; return true })
	if n != 1 {
		t.Errorf("%d topics are cached", n)
	}
}

// BenchmarkFilter measures the cost of a filter per event and stream: for a selected event, for another one, and for
// topics beyond the cache.
func BenchmarkFilter(b *testing.B) {
	many := names([]string{"orders", "*"}, 4)
	slices.Reverse(many)
	var topics []unique.Handle[string]
	for i := range 10 * maxResolved {
		topics = append(topics, unique.Make(fmt.Sprintf("orders.eu.%d", i)))
	}
	for name, asked := range map[string][]string{"name": {"orders.eu.7"}, "pattern": {"orders.*.7"}, "patterns": many[:30]} {
		f := newFilter(asked, nil)
		for kind, topic := range map[string]string{"has": "orders.eu.7", "has not": "invoices.eu.7"} {
			b.Run(name+"/"+kind, func(b *testing.B) {
				b.ReportAllocs()
				for handle := unique.Make(topic); b.Loop(); {
					f.Has(handle)
				}
			})
		}
		b.Run(name+"/many topics", func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				f.Has(topics[i%len(topics)])
			}
		})
		b.Run(name+"/compared", func(b *testing.B) {
			for b.Loop() {
				anyCovers(asked, "orders.eu.7")
			}
		})
	}
}

// A filter outlives its request. It keeps the names of the topics, but not the rest of the query.
func TestFilterKeepsNoQuery(t *testing.T) {
	query := "topic=a.b&junk=" + strings.Repeat("x", 1<<20)
	for name, asked := range map[string]string{"name": query[6:9], "pattern": query[6:8]} {
		var r Registry
		f := acquire(t, &r, []string{asked, map[string]string{"name": "c", "pattern": "c.*"}[name]}, nil)
		for _, pattern := range f.patterns {
			if pattern == asked && unsafe.StringData(pattern) == unsafe.StringData(asked) {
				t.Errorf("%s: the filter keeps the query", name)
			}
		}
	}
}
