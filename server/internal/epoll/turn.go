package epoll

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/eventsource-wasm/eventsource-wasm/server/internal/eventlog"
	"github.com/eventsource-wasm/eventsource-wasm/server/internal/stream"
)

// turn does a bounded amount of work, and reports whether there is more.
func (b *broadcaster) turn() (busy bool) {
	b.admit()
	busy = b.publish()
	b.relieve()
	b.fetchNext()
	b.serve()
	b.wheel.turn(b.now, b.due)
	b.measure()
	return busy || b.ready.first != nil || b.late.first != nil
}

// admit accepts new clients and runs the functions passed to order.
func (b *broadcaster) admit() {
	b.mu.Lock()
	attached, orders := b.attached, b.orders
	b.attached, b.orders = nil, nil
	b.mu.Unlock()
	for _, c := range attached {
		b.admitClient(c)
	}
	for _, f := range orders {
		f()
	}
}

func (b *broadcaster) admitClient(c *client) {
	b.serial++
	c.serial = b.serial
	b.clients[c.serial] = c
	b.enroll(c)
	b.setApart(c)
	if c.Cursor.Next < b.cursor.Next { // it reads history, so it queues behind clients that do not
		c.steps = fewSteps + 1
	}
	if err := b.sockets.watch(c.fd, c.serial); err != nil {
		b.cut(c, err)
	}
	if window, draining := b.env.Draining(); draining {
		b.depart(c, window)
	}
	b.push(c)
}

// depart sets the random end time of the client within the drain window, and its reconnection time.
func (b *broadcaster) depart(c *client, window time.Duration) {
	c.DepartAt(b.now+b.env.Within(window), c.Retry()+b.env.Within(c.Retry()))
	b.schedule(c)
}

// publish delivers new events to the groups, at most one segment, and reports whether there may be more.
func (b *broadcaster) publish() bool {
	before := b.cursor.Copy()
	p, err := b.log.Read(&b.cursor, nil)
	switch {
	case err == eventlog.ErrDisconnected:
		b.log.Renew(&b.cursor)
		b.disconnectAll()
		return true
	case err == eventlog.ErrEnd:
		return b.scatter(&before)
	case err != nil:
		b.log.Renew(&b.cursor)
		b.scatter(&before)
		return true
	case p.Gap != nil:
		b.scatter(&before)
		return true
	case p.Wait:
		return false
	}
	b.deliver(p)
	b.log.LetGo(&b.cursor)
	return true
}

// disconnectAll closes the streams of an earlier generation, even in the middle of a write.
func (b *broadcaster) disconnectAll() {
	for _, serial := range slices.Sorted(maps.Keys(b.clients)) {
		if c := b.clients[serial]; b.log.Disconnected(&c.Cursor) {
			b.cut(c, eventlog.ErrDisconnected)
		}
	}
}

// cut closes the stream in its middle.
func (b *broadcaster) cut(c *client, reason error) {
	c.Fail(reason)
	b.part(c)
	b.push(c)
}

// scatter removes all clients from their groups, so that each continues from that cursor by itself. It reports whether
// there were any.
func (b *broadcaster) scatter(from *eventlog.Cursor) (any bool) {
	for _, g := range b.ordered {
		for len(g.members) > 0 {
			c := g.members[len(g.members)-1]
			c.Cursor.Follow(from)
			b.part(c)
			b.push(c)
			any = true
		}
	}
	return any
}

// deliver writes the part to the groups that select some of it. The cost does not depend on other groups.
func (b *broadcaster) deliver(p eventlog.Part) {
	b.mark++
	b.hit = b.hit[:0]
	for i, e := range p.Entries {
		b.entry = i
		b.index.Find(e.Topic, b.hits)
	}
	for _, g := range b.hit {
		if batch, ok := stream.Select(g.filter, p.Within(g.from, g.to)); ok {
			b.fan(g, batch)
		}
	}
	clear(b.hit)
}

// hits records that the group selects the current entry.
func (b *broadcaster) hits(g *group) {
	if len(g.members) == 0 {
		return
	}
	if g.mark != b.mark {
		g.mark, g.from = b.mark, b.entry
		b.hit = append(b.hit, g)
	}
	g.to = b.entry + 1
}

// fan writes the batch to every member. It is framed once. For a member that accepts all of it, only one cache line
// changes: with many members, a cache miss costs a third as much as the write.
func (b *broadcaster) fan(g *group, batch stream.Batch) {
	first := g.members[0]
	first.Take(batch)
	frame := b.frame(first)
	whole := len(frame) == first.Size()
	first.Untake()
	sent := 0
	for done := 0; done < len(g.members); {
		c := g.members[done]
		n, err := b.sockets.write(c.fd, frame)
		if whole && err == nil && n == len(frame) {
			c.Sent(&batch, n, b.now)
			done++
			if sent++; sent == clockPace {
				b.now = b.log.Now()
				b.counts.Sent(sent, &batch, len(frame), b.now)
				sent = 0
			}
			continue
		}
		b.continueAlone(c, batch, frame, n, err)
		if c.place == done {
			done++ // otherwise another client has taken the place
		}
	}
	if sent > 0 {
		b.now = b.log.Now()
		b.counts.Sent(sent, &batch, len(frame), b.now)
	}
}

// continueAlone removes a member that has accepted n bytes of the frame from its group, unless that was all of it.
func (b *broadcaster) continueAlone(c *client, batch stream.Batch, frame []byte, n int, err error) {
	c.Cursor.Follow(&b.cursor)
	c.Take(batch)
	c.Wrote(n, b.now)
	switch {
	case err != nil:
		c.Fail(err)
	case n < len(frame):
		b.write(c, frame[n:])
	}
	if c.Pending() {
		b.log.HoldWith(&c.Cursor, &b.cursor)
	}
	if c.Pending() || !c.Live() {
		b.part(c)
		b.push(c)
	}
}

// frame returns what comes next of the client's output, valid until the next call.
func (b *broadcaster) frame(c *client) []byte {
	b.scratch = c.AppendPending(b.scratch[:0], b.window)
	return b.scratch
}

// write writes as much to the client as its socket accepts. After a partial write it tries again, because readiness is
// reported only after the socket was found full.
func (b *broadcaster) write(c *client, p []byte) {
	for {
		n, err := b.sockets.write(c.fd, p)
		c.Wrote(n, b.log.Now()) // the events may be newer than b.now
		if err != nil {
			c.Fail(err)
			break
		}
		if p = p[n:]; len(p) == 0 {
			break
		}
		if n == 0 {
			c.Stall(b.now)
			b.schedule(c)
			return
		}
	}
	if c.Pending() || !c.Live() {
		b.push(c)
	}
}

// serve takes a bounded number of steps with the clients that have something to do, in turn.
func (b *broadcaster) serve() {
	for range b.steps {
		first, second := &b.ready, &b.late
		if b.served++; b.served%lateShare == 0 {
			first, second = second, first
		}
		c := first.pop()
		if c == nil {
			c = second.pop()
		}
		if c == nil {
			return
		}
		b.step(c)
		if b.log.Now()-b.now > turnTime {
			return
		}
	}
}

// step does the next thing for the client.
func (b *broadcaster) step(c *client) {
	b.sync(c)
	c.Cursor.Until = b.cursor.Next
	command := c.Next(b.now)
	c.steps = min(c.steps+1, fewSteps+1)
	if !c.Live() || command != stream.Wait && command != stream.Write {
		b.part(c)
	}
	switch command {
	case stream.Wait:
		b.settle(c)
	case stream.Write:
		b.write(c, b.frame(c))
		if c.Pending() || !c.Live() {
			b.part(c)
		}
		if c.place == none && !c.Stalled() {
			b.push(c)
		}
	case stream.Again:
		b.push(c)
	case stream.Fetch:
		b.waiting = append(b.waiting, c)
		b.fetchNext()
	case stream.Shutdown:
		b.leave(c)
		if err := b.sockets.linger(c.fd, c.serial); err != nil {
			b.cut(c, err)
		}
	case stream.Close:
		b.close(c)
		return
	}
	b.schedule(c)
}

// settle adds a client that has all events to its group.
func (b *broadcaster) settle(c *client) {
	if c.Idle() {
		c.steps = 0
	}
	switch {
	case !c.Idle() || c.place != none:
	case c.Cursor.Next == b.cursor.Next:
		b.join(c)
	case c.Cursor.Next > b.cursor.Next:
		b.push(c) // until the groups have the events published since
	}
}

// relieve closes the streams that hold the oldest dropped segments, if clients hold too much.
func (b *broadcaster) relieve() {
	if len(b.waiting) > 0 && b.log.Full() {
		b.cutCopy()
	}
	cutoff := b.log.Cutoff()
	if cutoff == b.cutoff {
		return
	}
	b.cutoff = cutoff
	for _, c := range b.apart {
		if b.log.MustLetGo(&c.Cursor) {
			b.cut(c, stream.ErrPinned)
		}
	}
}

// cutCopy closes a stalled stream that holds a copy, so that others can make one.
func (b *broadcaster) cutCopy() {
	for _, c := range b.apart {
		if c.Stalled() && c.Charged() {
			b.cut(c, stream.ErrPinned)
			return
		}
	}
}

// fetchNext starts reads from the store for waiting clients, unless clients hold as much as they may.
func (b *broadcaster) fetchNext() {
	for len(b.waiting) > 0 && b.fetches < maxFetches && !b.log.Full() {
		c := b.waiting[0]
		b.waiting[0] = nil
		if b.waiting = b.waiting[1:]; !c.Live() {
			continue
		}
		b.fetches++
		b.fetch(b.ctx, c.serial, c.Cursor.Next)
	}
}

func (b *broadcaster) fetch(ctx context.Context, serial int32, from uint64) {
	b.spawn(func() {
		fetched := b.env.Fetch(ctx, from)
		b.order(func() {
			if ctx == b.ctx { // otherwise the broadcaster has stopped since
				b.fetched(serial, fetched)
			}
		})
	})
}

func (b *broadcaster) fetched(serial int32, f stream.Fetched) {
	b.fetches--
	if c := b.clients[serial]; c != nil {
		c.Fetched(f)
		b.push(c)
	}
	b.fetchNext()
}

// handle processes the events of the sockets.
func (b *broadcaster) handle(events []event) {
	for _, e := range events {
		c := b.clients[e.serial]
		if c == nil { // an old event of a client that is closed
			continue
		}
		if e.room {
			c.HasRoom()
		}
		if e.halfClosed {
			b.sync(c)
			c.HalfClosed()
		}
		if e.gone || e.readable && c.Complete() && !b.sockets.discard(c.fd) {
			c.Fail(stream.ErrGone)
		}
		if !c.Live() {
			b.part(c)
		}
		if c.place == none {
			b.push(c)
		}
	}
}

// sync sets the cursor of a client in a group, which is implicit while it is a member.
func (b *broadcaster) sync(c *client) {
	if c.place != none {
		c.Cursor.Follow(&b.cursor)
	}
}

// due is called when the client is due.
func (b *broadcaster) due(c *client) {
	if b.now < c.Due() { // it was postponed since
		b.schedule(c)
		return
	}
	b.push(c)
}

// schedule arranges a call of due for c. It need not be called again if the time moves later.
func (b *broadcaster) schedule(c *client) {
	if c.fd == none {
		return
	}
	due := c.Due()
	if due < stream.Forever && (c.slot.tick == 0 || ticks(due) < c.slot.tick) {
		b.wheel.put(c, due)
	}
}

// measurePace is the minimum interval at which the slowest client is determined.
const measurePace = 20 * time.Millisecond

func (b *broadcaster) measure() {
	if len(b.apart) > turnSteps && b.now < b.measured+measurePace {
		return
	}
	b.measured = b.now
	lowest := CaughtUp
	if len(b.clients) > len(b.apart) {
		lowest = b.cursor.Position
	}
	for _, c := range b.apart {
		lowest = min(lowest, c.Reached())
	}
	b.lowest.Store(lowest)
}
