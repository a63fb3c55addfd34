package epoll

import (
	"context"
	"maps"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/eventsource-wasm/eventsource-wasm/server/internal/eventlog"
	"github.com/eventsource-wasm/eventsource-wasm/server/internal/stream"
	"github.com/eventsource-wasm/eventsource-wasm/server/internal/topic"
)

// CaughtUp is the position of a reader that has everything.
const CaughtUp = int64(math.MaxInt64)

// What bounds a turn.
const (
	turnSteps   = 64                    // with clients that are behind
	windowBytes = eventlog.SegmentBytes // of one write
	clockPace   = 32                    // writes for which one look at the clock is good enough
	maxFetches  = 8                     // at a time
)

// sockets is the system, or a simulation of it.
type sockets interface {
	watch(fd int, serial int32) error    // reports room, and what the client does, when that changes
	linger(fd int, serial int32) error   // closes the sending side, and reports what arrives
	write(fd int, p []byte) (int, error) // as much as the socket takes at once
	discard(fd int) (open bool)          // what has arrived
	close(fd int)
}

// An event is what a socket reports.
type event struct {
	serial                           int32
	room, readable, halfClosed, gone bool
}

// A broadcaster is one goroutine that writes to any number of sockets. It runs while it has any.
//
// Clients that have everything are members of groups, by what they select. What is published is read once and framed
// once for a group, and written to all its members. A client that is behind, because it asked for history or because its
// socket was full, reads on by itself until it has caught up. Each turn serves the groups first, and then a bounded
// number of those who are behind, in the order of their arrival: nobody's delay depends on how many others are slow.
type broadcaster struct {
	env      Env
	log      *eventlog.Log
	counts   stream.Counts
	detached *atomic.Int64
	lowest   atomic.Int64  // position of who is furthest behind
	signal   chan struct{} // that there is something in what follows

	mu       sync.Mutex
	users    int // connections, and reservations
	running  bool
	attached []*client // that are new
	orders   []func()

	// The rest belongs to the goroutine.
	spawn    func(func()) // starts a goroutine
	steps    int          // turnSteps
	window   int          // windowBytes
	poller   *poller
	sockets  sockets
	ctx      context.Context // while it runs
	stopped  context.CancelFunc
	clients  map[int32]*client // by serial
	serial   int32
	cursor   eventlog.Cursor // everyone in a group has everything before it
	groups   map[*topic.Filter]*group
	ordered  []*group // the same, in an order
	index    topic.Index[*group]
	ready    queue     // clients with something to do
	apart    []*client // that are in no group
	waiting  []*client // to fetch
	fetches  int
	wheel    wheel
	now      time.Duration
	measured time.Duration // when lowest was
	cutoff   uint64
	mark     uint64
	entry    int
	hit      []*group
	scratch  []byte
}

func newBroadcaster(env Env, detached *atomic.Int64) *broadcaster {
	b := &broadcaster{
		env:      env,
		log:      env.Log,
		detached: detached,
		signal:   make(chan struct{}, 1),
		spawn:    func(f func()) { go f() },
		steps:    turnSteps,
		window:   windowBytes,
		clients:  map[int32]*client{},
		groups:   map[*topic.Filter]*group{},
	}
	b.lowest.Store(CaughtUp)
	return b
}

func (b *broadcaster) reserve() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.running {
		poller, err := newPoller()
		if err != nil {
			return err
		}
		b.poller, b.sockets, b.running = poller, poller, true
		b.begin()
		go b.run()
	}
	b.users++
	return nil
}

// begin makes the broadcaster one that has nobody and everything.
func (b *broadcaster) begin() {
	b.ctx, b.stopped = context.WithCancel(context.Background())
	b.cursor, _ = b.log.Seek("", eventlog.Policy{MaxLag: -1})
	b.waiting, b.fetches = nil, 0
}

func (b *broadcaster) release() {
	b.mu.Lock()
	b.users--
	b.mu.Unlock()
	b.wake()
}

// attach takes over a connection for which there is a reservation, and its stream.
func (b *broadcaster) attach(fd int, s *stream.Stream, ended Ended) {
	c := &client{Stream: *s, fd: fd, place: none, ended: ended}
	c.Detach(&b.counts)
	b.detached.Add(1)
	b.mu.Lock()
	b.attached = append(b.attached, c)
	b.mu.Unlock()
	b.wake()
}

// order has f called on the broadcaster's goroutine, if it runs.
func (b *broadcaster) order(f func()) {
	b.mu.Lock()
	if b.running {
		b.orders = append(b.orders, f)
	}
	b.mu.Unlock()
	b.wake()
}

func (b *broadcaster) wake() {
	select {
	case b.signal <- struct{}{}:
	default:
	}
}

func (b *broadcaster) run() {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		published := b.log.Watch() // before reading, so that nothing is missed
		b.now = b.log.Now()
		busy := b.turn()
		if b.stop() {
			return
		}
		if busy {
			select {
			case events := <-b.poller.events:
				b.handle(events)
			default:
			}
			continue
		}
		timer.Reset(b.sleep())
		select {
		case <-published:
		case <-b.signal:
		case <-timer.C:
		case events := <-b.poller.events:
			b.now = b.log.Now()
			b.handle(events)
		}
	}
}

// sleep returns how long there is nothing to do unless something happens.
func (b *broadcaster) sleep() time.Duration {
	next, ok := b.wheel.next()
	if !ok {
		next = b.now + time.Hour
	}
	if b.measured < b.now && len(b.apart) > 0 {
		next = min(next, b.measured+measurePace)
	}
	return max(next-b.now, 0)
}

// stop ends the broadcaster if nobody needs it.
func (b *broadcaster) stop() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.users > 0 {
		return false
	}
	b.poller.stop()
	b.stopped()
	b.running, b.orders = false, nil
	return true
}

// turn does what there is to do, within bounds, and reports whether there is more.
func (b *broadcaster) turn() (busy bool) {
	b.admit()
	busy = b.publish()
	b.relieve()
	b.serve()
	b.wheel.turn(b.now, b.due)
	b.measure()
	return busy || b.ready.first != nil
}

// admit takes in what is new, and does what it is ordered to.
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
	if err := b.sockets.watch(c.fd, c.serial); err != nil {
		b.cut(c, err)
	}
	if window, draining := b.env.Draining(); draining {
		b.depart(c, window)
	}
	b.push(c)
}

// depart gives the client its moment within the window, and a reconnection time of its own.
func (b *broadcaster) depart(c *client, window time.Duration) {
	c.DepartAt(b.now+b.env.Within(window), c.Retry()+b.env.Within(c.Retry()))
	b.schedule(c)
}

// publish gives those in groups what was published, a segment at most, and reports whether there may be more.
func (b *broadcaster) publish() bool {
	before := b.cursor.Copy()
	p, err := b.log.Read(&b.cursor, nil)
	switch {
	case err == eventlog.ErrBroken:
		b.log.Renew(&b.cursor)
		b.breakAll()
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

// breakAll cuts the streams that were broken, be they written to or not.
func (b *broadcaster) breakAll() {
	for _, serial := range slices.Sorted(maps.Keys(b.clients)) {
		if c := b.clients[serial]; b.log.Broken(&c.Cursor) {
			b.cut(c, eventlog.ErrBroken)
		}
	}
}

// cut ends the stream in its middle.
func (b *broadcaster) cut(c *client, reason error) {
	c.Fail(reason)
	b.part(c)
	b.push(c)
}

// scatter has everyone who is in a group read on by themselves from there, and reports whether there was anyone.
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

// deliver writes the part to those who want something of it. What others want does not matter.
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

// hits notes that the group wants the present entry.
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

// fan writes the batch to every member. It is framed once.
func (b *broadcaster) fan(g *group, batch stream.Batch) {
	var frame []byte
	for done, written := 0, 1; done < len(g.members); written++ {
		c := g.members[done]
		c.Cursor.Follow(&b.cursor)
		c.Take(batch)
		if frame == nil {
			frame = b.frame(c)
		}
		switch b.write(c, frame); {
		case c.Pending():
			b.log.HoldWith(&c.Cursor, &b.cursor)
			b.part(c) // and its place is another's
		case !c.Live():
			b.part(c)
		default:
			done++
		}
		if written%clockPace == 0 {
			b.now = b.log.Now()
		}
	}
}

// frame returns what comes next of the client's output, valid until the next call.
func (b *broadcaster) frame(c *client) []byte {
	b.scratch = c.AppendPending(b.scratch[:0], b.window)
	return b.scratch
}

// write writes to the client as much as its socket takes. If that is not all, it tries again, since readiness is
// reported only after the socket was found full.
func (b *broadcaster) write(c *client, p []byte) {
	for {
		n, err := b.sockets.write(c.fd, p)
		c.Wrote(n, b.now)
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

// serve takes a step with those who have something to do, in turn.
func (b *broadcaster) serve() {
	for range b.steps {
		c := b.ready.pop()
		if c == nil {
			return
		}
		b.step(c)
	}
}

// step does the next thing for the client.
func (b *broadcaster) step(c *client) {
	b.sync(c)
	c.Cursor.Until = b.cursor.Next
	command := c.Next(b.now)
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

// settle puts a client that has everything into its group.
func (b *broadcaster) settle(c *client) {
	switch {
	case !c.Idle() || c.place != none:
	case c.Cursor.Next == b.cursor.Next:
		b.join(c)
	case c.Cursor.Next > b.cursor.Next:
		b.push(c) // until the groups have what was published since
	}
}

// relieve cuts those who make the log keep too much.
func (b *broadcaster) relieve() {
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

// fetchNext starts reading the store for those who wait for that, unless clients hold as much as they may.
func (b *broadcaster) fetchNext() {
	for len(b.waiting) > 0 && b.fetches < maxFetches && !(b.log.Full() && b.fetches > 0) {
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
			if ctx == b.ctx { // or it was asked for before the broadcaster stopped
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

// handle notes what the sockets report.
func (b *broadcaster) handle(events []event) {
	for _, e := range events {
		c := b.clients[e.serial]
		if c == nil { // it is from before the client was closed
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

// sync makes explicit the place in the log that a client in a group has.
func (b *broadcaster) sync(c *client) {
	if c.place != none {
		c.Cursor.Follow(&b.cursor)
	}
}

// due does what the client's time has come for.
func (b *broadcaster) due(c *client) {
	if b.now < c.Due() { // it was put off since
		b.schedule(c)
		return
	}
	b.push(c)
}

// schedule has due called for c when it is time. It need not be called when that is put off.
func (b *broadcaster) schedule(c *client) {
	if c.fd == none {
		return
	}
	due := c.Due()
	if due < stream.Forever && (c.spoke.tick == 0 || ticks(due) < c.spoke.tick) {
		b.wheel.put(c, due)
	}
}

// measurePace is how often it is looked who is furthest behind, if many are.
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
