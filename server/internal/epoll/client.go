package epoll

import (
	"github.com/eventsource-wasm/eventsource-wasm/server/internal/stream"
	"github.com/eventsource-wasm/eventsource-wasm/server/internal/topic"
)

const none = -1

// A client is the stream of one client and its socket. There may be very many, so it is kept small.
type client struct {
	fd     int // negative once closed
	place  int // in group.members, or negative
	serial int32
	left   bool
	queued bool
	steps  uint8 // taken since it was idle, up to a bound
	stream.Stream
	ended  Ended
	group  *group
	aside  int     // in broadcaster.apart, if not in a group
	behind *client // the next one in the queue
	slot   slot
}

// A group has the clients with the same filter. Its members have all events up to the broadcaster's cursor.
type group struct {
	filter  *topic.Filter
	members []*client
	users   int // all clients with the filter, members or not
	number  int // in broadcaster.order

	mark     uint64 // the part that from and to refer to
	from, to int    // range of the entries that the group selects
}

// enroll finds or creates the group of the client.
func (b *broadcaster) enroll(c *client) {
	filter := c.Filter()
	g := b.groups[filter]
	if g == nil {
		g = &group{filter: filter, number: len(b.ordered)}
		b.groups[filter] = g
		b.ordered = append(b.ordered, g)
		b.index.Add(filter, g)
	}
	g.users++
	c.group = g
}

func (b *broadcaster) disenroll(c *client) {
	g := c.group
	if g.users--; g.users > 0 {
		return
	}
	last := len(b.ordered) - 1
	b.ordered[g.number] = b.ordered[last]
	b.ordered[g.number].number = g.number
	b.ordered[last] = nil
	b.ordered = b.ordered[:last]
	b.index.Remove(g.filter, g)
	delete(b.groups, g.filter)
}

// join adds c, which has all events that its group has, to the members.
func (b *broadcaster) join(c *client) {
	b.unsetApart(c)
	c.place = len(c.group.members)
	c.group.members = append(c.group.members, c)
}

// part removes c from the members of its group.
func (b *broadcaster) part(c *client) {
	if c.place == none {
		return
	}
	g := c.group
	last := len(g.members) - 1
	g.members[c.place] = g.members[last]
	g.members[c.place].place = c.place
	g.members[last] = nil
	g.members = g.members[:last]
	c.place = none
	b.setApart(c)
}

func (b *broadcaster) setApart(c *client) {
	c.aside = len(b.apart)
	b.apart = append(b.apart, c)
}

func (b *broadcaster) unsetApart(c *client) {
	last := len(b.apart) - 1
	b.apart[c.aside] = b.apart[last]
	b.apart[c.aside].aside = c.aside
	b.apart[last] = nil
	b.apart = b.apart[:last]
}

// leave ends the stream, although the connection may stay open for a moment.
func (b *broadcaster) leave(c *client) {
	if c.left {
		return
	}
	c.left = true
	b.part(c)
	b.detached.Add(-1)
	c.ended(&c.Stream)
}

// close closes the connection.
func (b *broadcaster) close(c *client) {
	b.leave(c)
	b.unsetApart(c)
	b.disenroll(c)
	b.wheel.remove(c)
	delete(b.clients, c.serial)
	b.sockets.close(c.fd)
	c.fd = none
	b.release()
}

// A queue holds clients in order of arrival, each at most once.
type queue struct{ first, last *client }

// push queues c for a step.
func (b *broadcaster) push(c *client) {
	if c.queued || c.fd == none {
		return
	}
	c.queued = true
	if c.steps > fewSteps {
		b.late.push(c)
	} else {
		b.ready.push(c)
	}
}

func (q *queue) push(c *client) {
	if q.first == nil {
		q.first, q.last = c, c
	} else {
		q.last.behind, q.last = c, c
	}
}

// pop returns nil if the queue is empty.
func (q *queue) pop() *client {
	c := q.first
	if c != nil {
		q.first, c.behind, c.queued = c.behind, nil, false
	}
	return c
}
