package server

import (
	"errors"
	"slices"
	"time"
)

// A groupKey is what connections have in common that get the same bytes.
type groupKey struct {
	topics     *filter
	fromHead   bool
	generation uint64
}

// A group is connections that have everything up to its cursor.
type group struct {
	cursor  cursor
	members []*conn
	users   int // members, and those that may become or were ones
	broken  bool
	told    uint64        // sequence of the last event that its members were given
	spoken  time.Duration // when that was
}

// join makes c one that may become a member.
func (b *broadcaster) join(c *conn) {
	g := b.groups[c.key]
	if g == nil {
		g = &group{}
		g.cursor, _ = b.log.seek("", seeker{maxLag: -1, fromHead: c.key.fromHead})
		g.cursor.generation = c.key.generation
		b.groups[c.key] = g
	}
	g.users++
	c.group, c.place = g, none
}

// drop takes c out of its group for good.
func (b *broadcaster) drop(c *conn) {
	if c.group.users--; c.group.users == 0 {
		delete(b.groups, c.key)
	}
}

// enter makes c, which has everything that its group has, a member.
func (b *broadcaster) enter(c *conn) {
	delete(b.behind, c)
	c.cursor, c.place = nil, len(c.group.members)
	c.group.members = append(c.group.members, c)
}

// part takes c out of the members. It is where they are.
func (b *broadcaster) part(c *conn) {
	if c.place == none {
		return
	}
	g := c.group
	last := len(g.members) - 1
	g.members[c.place] = g.members[last]
	g.members[c.place].place = c.place
	g.members[last] = nil
	g.members = g.members[:last]
	c.place, c.told = none, max(c.told, g.told)
	c.cursor = new(g.cursor)
	c.cursor.maxLag = c.handler.maxLag()
}

// advance gives the members what there is for them, a segment at most, and reports whether there may be more.
func (b *broadcaster) advance(g *group, key groupKey) bool {
	p, err := b.log.read(&g.cursor)
	switch {
	case errors.Is(err, errBroken):
		g.broken = true
		for _, c := range slices.Clone(g.members) {
			b.close(c, err)
		}
		return false
	case err != nil:
		for _, c := range slices.Clone(g.members) {
			b.end(c, nil, err)
		}
		return false
	case p.wait != nil:
		return false
	case p.gap != nil:
		b.broker.gaps.Add(int64(len(g.members)))
		b.writeAll(g, chunkOf(p.gap.append(nil)), 0, b.now)
		g.told = g.cursor.next - 1
		return true
	}
	if chunk, events, last := b.frame(key.topics, p, g.cursor.next); events > 0 {
		g.told = last
		b.writeAll(g, chunk, events, p.entries[0].at)
	}
	return true
}

// latencyPace is for how many connections one look at the clock is good enough.
const latencyPace = 32

// writeAll writes to every member a chunk of so many events, of which the first was published at that time.
func (b *broadcaster) writeAll(g *group, chunk []byte, events int, published time.Duration) {
	g.spoken = b.now
	whole := 0
	for len(g.members) > whole {
		c := g.members[whole]
		if !b.write(c, chunk) {
			c.owed, c.first = events, published // and its place is another's
			continue
		}
		if whole++; events > 0 && (whole%latencyPace == 0 || whole == len(g.members)) {
			n := (whole-1)%latencyPace + 1
			b.broker.latency.observe(time.Since(b.log.start)-published, n)
		}
	}
	b.broker.delivered.Add(int64(whole * events))
}

// frame makes a chunk of the events of p that are in the filter. next is the sequence behind p, and last that of the
// last event in the chunk.
func (b *broadcaster) frame(topics *filter, p part, next uint64) (chunk []byte, events int, last uint64) {
	if b.pinned {
		b.chunk, b.pinned = chunkWriter{}, false
	}
	b.chunk.reset()
	for block, count := range topics.runs(p) {
		b.chunk.add(block)
		events += count
	}
	if events == 0 {
		return nil, 0, 0
	}
	for i := len(p.entries) - 1; !topics.has(p.entries[i].topic); i-- {
		next--
	}
	return b.chunk.chunk(), events, next - 1
}

// catchUp gives c, which is behind its group, what is next for it, and reports whether there is more to do.
func (b *broadcaster) catchUp(c *conn) bool {
	g := c.group
	switch {
	case g.broken:
	case c.cursor.next == g.cursor.next:
		b.enter(c)
		return true // the group may be at the end of a closed log, and had its turn without c
	case c.cursor.next > g.cursor.next:
		return true // published since the group's turn
	}
	c.cursor.until = g.cursor.next
	p, err := b.log.read(c.cursor)
	switch {
	case errors.Is(err, errLag):
		b.lag(c, err)
	case errors.Is(err, errBroken):
		b.close(c, err)
	case err != nil:
		b.end(c, nil, err)
	case p.gap != nil:
		b.writeGap(c, p.gap)
	default:
		b.deliver(c, p)
	}
	return true
}

func (b *broadcaster) lag(c *conn, err error) {
	b.broker.lagged.Add(1)
	if c.handler.LagPolicy != SkipLagging {
		b.end(c, nil, err)
		return
	}
	b.writeGap(c, b.log.skip(c.cursor))
}

func (b *broadcaster) writeGap(c *conn, g *gap) {
	b.broker.gaps.Add(1)
	c.told, c.spoken = c.cursor.next-1, b.now
	b.write(c, chunkOf(g.append(nil)))
}

func (b *broadcaster) deliver(c *conn, p part) {
	chunk, events, last := b.frame(c.key.topics, p, c.cursor.next)
	if events == 0 {
		return
	}
	c.told, c.spoken = last, b.now
	if b.write(c, chunk) {
		b.broker.count(c.cursor, events, p.entries[0].at)
	} else {
		c.owed, c.first = events, p.entries[0].at
	}
}
