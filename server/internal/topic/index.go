package topic

import "strings"

// An Index finds the values whose filter selects a topic. The cost of a lookup depends on its results and on the patterns
// with the same first tokens, not on the number of other values. The zero Index is empty.
type Index[V comparable] struct {
	all   set[V]
	exact map[Name]*set[V]
	root  node[V]
}

// A node is a position in patterns: everything before it has matched.
type node[V comparable] struct {
	next map[string]*node[V] // by token
	one  *node[V]            // after "*"
	here set[V]              // values whose pattern ends here
	more set[V]              // values whose pattern ends here with ">"
}

// Add adds v with the filter. A value has only one filter.
func (x *Index[V]) Add(f *Filter, v V) {
	x.change(f, func(s *set[V]) { s.add(member[V]{f, v}) })
}

// Remove removes v, which was added with that filter.
func (x *Index[V]) Remove(f *Filter, v V) {
	x.change(f, func(s *set[V]) { s.remove(v) })
}

func (x *Index[V]) change(f *Filter, apply func(*set[V])) {
	switch {
	case f == nil:
		apply(&x.all)
	case f.exact != nil:
		for _, topic := range f.exact {
			x.changeExact(topic, apply)
		}
	default:
		for _, pattern := range f.patterns {
			x.root.change(pattern, apply)
		}
	}
}

func (x *Index[V]) changeExact(topic Name, apply func(*set[V])) {
	s := x.exact[topic]
	if s == nil {
		s = &set[V]{}
		if x.exact == nil {
			x.exact = map[Name]*set[V]{}
		}
		x.exact[topic] = s
	}
	if apply(s); len(s.members) == 0 {
		delete(x.exact, topic)
	}
}

// change calls apply for the set at the end of the pattern, and removes nodes that are empty afterwards.
func (n *node[V]) change(pattern string, apply func(*set[V])) {
	token, rest, more := strings.Cut(pattern, ".")
	if token == moreTokens && !more {
		apply(&n.more)
		return
	}
	child := n.child(token)
	if more {
		child.change(rest, apply)
	} else {
		apply(&child.here)
	}
	if child.empty() {
		n.drop(token)
	}
}

func (n *node[V]) child(token string) *node[V] {
	if token == oneToken {
		if n.one == nil {
			n.one = &node[V]{}
		}
		return n.one
	}
	child := n.next[token]
	if child == nil {
		child = &node[V]{}
		if n.next == nil {
			n.next = map[string]*node[V]{}
		}
		n.next[strings.Clone(token)] = child
	}
	return child
}

func (n *node[V]) drop(token string) {
	if token == oneToken {
		n.one = nil
		return
	}
	if delete(n.next, token); len(n.next) == 0 {
		n.next = nil
	}
}

func (n *node[V]) empty() bool {
	return len(n.next) == 0 && n.one == nil && len(n.here.members) == 0 && len(n.more.members) == 0
}

// Find calls found for every value whose filter selects the topic. The order depends only on earlier calls. If several
// patterns of a value match, it is found several times.
func (x *Index[V]) Find(topic Name, found func(V)) {
	if topic == Absent {
		return
	}
	x.all.each("", found)
	name := topic.Value()
	if s := x.exact[topic]; s != nil {
		s.each(name, found)
	}
	x.root.find(name, name, found)
}

func (n *node[V]) find(rest, name string, found func(V)) {
	n.more.each(name, found)
	if n.next == nil && n.one == nil {
		return
	}
	token, rest, more := strings.Cut(rest, ".")
	for _, child := range [2]*node[V]{n.next[token], n.one} {
		switch {
		case child == nil:
		case more:
			child.find(rest, name, found)
		default:
			child.here.each(name, found)
		}
	}
}

// A set keeps its members in order of arrival, except that the last one replaces one that is removed.
type set[V comparable] struct {
	members []member[V]
	places  map[V]int // nil for a small set
}

type member[V comparable] struct {
	filter *Filter
	value  V
}

// A set up to this size is searched linearly.
const smallSet = 16

func (s *set[V]) add(m member[V]) {
	if s.places != nil {
		s.places[m.value] = len(s.members)
	}
	s.members = append(s.members, m)
	if s.places == nil && len(s.members) > smallSet {
		s.places = make(map[V]int, len(s.members))
		for i, m := range s.members {
			s.places[m.value] = i
		}
	}
}

func (s *set[V]) remove(v V) {
	i := s.place(v)
	last := len(s.members) - 1
	s.members[i] = s.members[last]
	s.members[last] = member[V]{}
	s.members = s.members[:last]
	if s.places != nil {
		if i < last {
			s.places[s.members[i].value] = i
		}
		delete(s.places, v)
	}
	if last == 0 {
		*s = set[V]{}
	}
}

func (s *set[V]) place(v V) int {
	if s.places != nil {
		return s.places[v]
	}
	for i, m := range s.members {
		if m.value == v {
			return i
		}
	}
	panic("topic: the value is not in the index")
}

func (s *set[V]) each(name string, found func(V)) {
	for _, m := range s.members {
		if m.filter == nil || m.filter.serves(name) {
			found(m.value)
		}
	}
}
