package topic

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// After any changes, the index finds exactly the filters that select the topic.
func TestIndexAgreesWithFilters(t *testing.T) {
	var asked []string
	for _, pattern := range names([]string{"a", "b", "*", ">"}, 3) {
		if checkPattern(pattern) == nil {
			asked = append(asked, pattern)
		}
	}
	topics := names([]string{"a", "b", "c", ""}, 4)
	for seed := range uint64(10) {
		random := rand.New(rand.NewPCG(seed, 0))
		var index Index[int]
		in := map[int]*Filter{}
		for step := range 150 {
			if len(in) > 0 && random.IntN(3) == 0 {
				v := slices.Sorted(keys(in))[random.IntN(len(in))]
				index.Remove(in[v], v)
				delete(in, v)
			} else {
				f := randomFilter(random, asked)
				index.Add(f, step)
				in[step] = f
			}
			wantFound(t, &index, in, topics[random.IntN(len(topics))])
		}
		for v, f := range in {
			index.Remove(f, v)
		}
		if len(index.all.members) > 0 || len(index.exact) > 0 || !index.root.empty() {
			t.Fatalf("seed %d: an index without values is not empty: %+v", seed, index)
		}
	}
}

func keys(in map[int]*Filter) func(func(int) bool) {
	return func(yield func(int) bool) {
		for v := range in {
			if !yield(v) {
				return
			}
		}
	}
}

func randomFilter(random *rand.Rand, asked []string) *Filter {
	pick := func(n int) (patterns []string) {
		for range n {
			patterns = append(patterns, asked[random.IntN(len(asked))])
		}
		slices.Sort(patterns)
		return slices.Compact(patterns)
	}
	return newFilter(pick(1+random.IntN(4)), pick(random.IntN(3)))
}

func wantFound(t *testing.T, index *Index[int], in map[int]*Filter, topic string) {
	t.Helper()
	if topic == "" {
		return
	}
	found := map[int]bool{}
	index.Find(Make(topic), func(v int) { found[v] = true })
	for v, f := range in {
		if found[v] != f.Has(Make(topic)) {
			t.Fatalf("%q for %+v: found %t", topic, f, found[v])
		}
	}
	for v := range found {
		if _, there := in[v]; !there {
			t.Fatalf("%q: found %d, which was removed", topic, v)
		}
	}
}

// A large set works like a small one.
func TestLargeSets(t *testing.T) {
	var index Index[int]
	f := newFilter([]string{"a"}, nil)
	const count = 10 * smallSet
	for v := range count {
		index.Add(f, v)
	}
	for v := 0; v < count; v += 2 {
		index.Remove(f, v)
	}
	var found []int
	index.Find(Make("a"), func(v int) { found = append(found, v) })
	slices.Sort(found)
	for i, v := range found {
		if v != 2*i+1 {
			t.Fatalf("found %v", found)
		}
	}
	if len(found) != count/2 {
		t.Errorf("found %d of %d", len(found), count/2)
	}
}

// BenchmarkIndex shows that the cost of a lookup depends on its results, not on other filters.
func BenchmarkIndex(b *testing.B) {
	for name, filters := range map[string]int{"100 filters": 100, "10,000 filters": 10_000} {
		var index Index[int]
		for v := range filters {
			tenant := "tenant" + strings.Repeat("x", v%7) + string(rune('a'+v%26))
			index.Add(newFilter([]string{tenant + ".*.log", tenant + ".>", "*." + tenant + ".x"}, nil), v)
		}
		b.Run(name, func(b *testing.B) {
			topic := Make("nobody.wants.this")
			for b.Loop() {
				index.Find(topic, func(int) { b.Fatal("found") })
			}
		})
	}
}
