package epoll

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"iter"
	"math"
	"math/rand/v2"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/eventsource-wasm/eventsource-wasm/server/internal/eventlog"
	"github.com/eventsource-wasm/eventsource-wasm/server/internal/netstream"
	"github.com/eventsource-wasm/eventsource-wasm/server/internal/stream"
	"github.com/eventsource-wasm/eventsource-wasm/server/internal/topic"
	"github.com/eventsource-wasm/eventsource-wasm/sse"
)

// The simulation runs the log, the machine of the streams and both of their drivers against sockets, a store and a clock
// of its own. A seed decides everything that happens, so that a failure replays.
var (
	seeds = flag.Uint64("seeds", 20_000, "how many seeds the simulation runs")
	seed  = flag.Uint64("seed", 0, "the first of them")
)

func TestSimulation(t *testing.T) {
	count := *seeds
	if raceEnabled {
		count = min(count, 1000) // what runs on one goroutine has no races to find
	}
	var next atomic.Uint64
	var tasks sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		tasks.Go(func() {
			for !t.Failed() {
				s := next.Add(1) - 1
				if s >= count {
					return
				}
				if err := simulate(*seed + s); err != nil {
					t.Errorf("%v\nreplay it with: make simulate SEED=%d SEEDS=1", err, *seed+s)
				}
			}
		})
	}
	tasks.Wait()
}

// An entry of the truth.
type published struct {
	topic   topic.Name
	data    string
	deleted bool
}

type world struct {
	random *rand.Rand
	now    time.Duration
	log    *eventlog.Log
	limits eventlog.Limits
	faults bool // or everything goes well

	epoch   string
	history map[string][]published // by epoch, from sequence 1 on
	store   *simStore

	filters     topic.Registry
	detached    atomic.Int64
	broadcaster *broadcaster
	goroutines  netstream.Set
	counts      stream.Counts
	events      []event // reported, and not yet seen
	spawned     []func()
	cutoff      uint64
	draining    bool

	sockets map[int]*simSocket
	clients []*simClient
	fds     int
	ended   int
	broken  error
}

// A simClient is a stream, whichever driver has it.
type simClient struct {
	socket  *simSocket
	filter  *topic.Filter
	pace    int // bytes that it reads at a time; 0 is a client that does not read
	ended   int
	expires time.Duration
	timeout time.Duration // of writes
	beat    time.Duration
	reason  error

	driver *netstream.Driver // nil for one of the broadcaster
	resume func() (struct{}, bool)
	cancel func()
	done   bool
}

const simEpoch = "epoch000"

func simulate(seed uint64) (err error) {
	w := newWorld(seed)
	defer func() {
		if r := recover(); r != nil {
			stack := make([]byte, 4096)
			err = fmt.Errorf("seed %d: panic: %v\n%s", seed, r, stack[:runtime.Stack(stack, false)])
		}
		for _, c := range w.clients {
			if c.cancel != nil {
				c.cancel()
			}
		}
	}()
	for range 100 + w.random.IntN(200) {
		w.act()
		if err := w.check(); err != nil {
			return fmt.Errorf("seed %d: %w", seed, err)
		}
	}
	if err := w.finish(); err != nil {
		return fmt.Errorf("seed %d, at the end: %w", seed, err)
	}
	return nil
}

func newWorld(seed uint64) *world {
	r := rand.New(rand.NewPCG(seed, 0))
	w := &world{
		random: r, now: time.Second, faults: true, epoch: simEpoch,
		history: map[string][]published{}, sockets: map[int]*simSocket{},
	}
	w.limits = eventlog.Limits{
		Events: pick(r, -1, 0, 3, 20), Bytes: int64(pick(r, -1, 500, 3000)), Age: time.Duration(pick(r, -1, -1, 5)) * time.Second,
		EventBytes: -1, Pinned: int64(pick(r, -1, 1000, 4000)), Segment: 256,
	}
	stored := r.IntN(3) == 0
	w.log = eventlog.New(w.limits, stored, func() time.Duration { return w.now })
	if stored {
		w.store = &simStore{world: w, first: 1}
		w.log.Update(eventlog.Update{Epoch: w.epoch})
	}
	w.epoch = w.log.Extent().Epoch
	env := Env{
		Log:      w.log,
		Fetch:    func(_ context.Context, from uint64) stream.Fetched { return w.store.fetch(from) },
		Draining: func() (time.Duration, bool) { return time.Second, w.draining },
		Within:   func(d time.Duration) time.Duration { return time.Duration(r.Int64N(int64(d) + 1)) },
	}
	w.broadcaster = newBroadcaster(env, &w.detached)
	w.broadcaster.sockets, w.broadcaster.running = simSockets{w}, true
	w.broadcaster.spawn = func(f func()) { w.spawned = append(w.spawned, f) }
	w.broadcaster.steps, w.broadcaster.window = 2, pick(r, 1, 100, 1000)
	w.broadcaster.begin()
	return w
}

func pick[T any](r *rand.Rand, from ...T) T { return from[r.IntN(len(from))] }

// chance is for faults: one in n while there are any.
func (w *world) chance(n int) bool { return w.faults && w.random.IntN(n) == 0 }

func (w *world) clock() time.Time { return time.Unix(1_000_000, 0).Add(w.now) }

// act does one thing that can happen.
func (w *world) act() {
	r := w.random
	switch n := r.IntN(100); {
	case n < 6:
		w.connect()
	case n < 30:
		w.publish()
	case n < 60:
		w.turn()
	case n < 75:
		w.clientReads()
	case n < 80:
		w.clientActs()
	case n < 86:
		w.now += time.Duration(r.IntN(40)) * time.Millisecond
	case n < 88:
		w.now += time.Duration(r.IntN(5000)) * time.Millisecond
	case n < 91:
		w.spurious()
	case n < 93:
		w.runSpawned()
	case n == 93 && r.IntN(5) == 0:
		w.log.Break()
	case n == 94 && r.IntN(10) == 0 && !w.draining:
		w.drain()
	case n == 95 && r.IntN(20) == 0:
		w.log.Close()
	case n == 96 && w.store != nil:
		w.store.disturb()
	default:
		w.runGoroutines()
	}
}

var simTopics = []string{"a", "b", "a.x", "a.y", "b.x", "b.x.y"}

func (w *world) publish() {
	for range 1 + w.random.IntN(4) {
		name := pick(w.random, simTopics...)
		size := pick(w.random, 1, 10, 60, 300, 1500)
		data := strings.Repeat("d", w.random.IntN(size)+1)
		if w.store != nil {
			w.store.append(name, data)
			continue
		}
		if _, err := w.log.Append(name, sse.Event{Data: data}); err == nil {
			w.history[w.epoch] = append(w.history[w.epoch], published{topic.Make(name), data, false})
		}
	}
	if w.store != nil && w.random.IntN(3) > 0 {
		w.store.report()
	}
	w.relieve()
}

// relieve is the broker's part.
func (w *world) relieve() {
	if cutoff := w.log.Cutoff(); cutoff != w.cutoff {
		w.cutoff = cutoff
		w.goroutines.Relieve(w.log)
	}
}

func (w *world) truth(epoch string, sequence uint64) (published, bool) {
	history := w.history[epoch]
	if sequence == 0 || sequence > uint64(len(history)) {
		return published{}, false
	}
	return history[sequence-1], true
}

// available returns the sequence from which on everything can still be had.
func (w *world) available(epoch string) uint64 {
	switch {
	case epoch != w.epoch:
		return math.MaxUint64
	case w.store != nil:
		return min(w.store.first, w.log.Oldest())
	}
	return w.log.Oldest()
}

// connect has a client come: new, or back with an id.
func (w *world) connect() {
	if len(w.clients) >= 12 || w.log.Closed() || w.draining {
		return
	}
	r := w.random
	filter, err := w.filters.Acquire(pick(r, []string{">"}, []string{"a"}, []string{"a", "b.>"}, []string{"*.x"}, []string{"none"}), nil, -1)
	if err != nil {
		panic(err)
	}
	lastEventID := ""
	if r.IntN(2) == 0 {
		lastEventID = eventlog.ID(w.epoch, r.Uint64N(w.log.Extent().Next+2))
	}
	policy := eventlog.Policy{MaxLag: int64(pick(r, -1, 400, 5000)), FromHead: r.IntN(4) == 0}
	cursor, gap, ok := w.seek(lastEventID, policy)
	if !ok {
		w.filters.Release(filter)
		return
	}
	config := &stream.Config{
		Heartbeat:    pick(r, stream.Forever, 300*time.Millisecond, 3*time.Second),
		WriteTimeout: pick(r, -1, 200*time.Millisecond, 2*time.Second),
		SkipLagging:  r.IntN(3) == 0,
		Retry:        time.Second,
		Beat:         func() []byte { return []byte(":\n\n") },
	}
	greeting := []byte(":\n")
	if gap != nil {
		greeting = gap.Append(greeting)
	} else {
		greeting = w.log.AppendIDBlock(greeting, cursor.Next-1)
	}
	w.fds++
	c := &simClient{
		filter: filter, pace: pick(r, 0, 1, 20, 1000, 100_000, 100_000), expires: stream.Forever,
		timeout: config.WriteTimeout, beat: config.Heartbeat,
	}
	c.socket = &simSocket{world: w, fd: w.fds, capacity: pick(r, 1, 50, 700, 5000), partial: r.IntN(3) == 0}
	c.socket.check = &checker{world: w, filter: filter, epoch: w.epoch, skips: config.SkipLagging, expect: cursor.Next}
	w.sockets[w.fds] = c.socket
	w.clients = append(w.clients, c)
	detaches := r.IntN(3) > 0
	counts := &w.counts
	s := stream.New(config, w.log, filter, counts, cursor, greeting)
	if r.IntN(4) == 0 {
		c.expires = stream.After(w.now, pick(r, time.Duration(r.IntN(4000))*time.Millisecond, stream.Forever-1))
		s.ExpireAt(c.expires, errExpired)
	}
	if !detaches {
		w.run(c, &s)
		return
	}
	// The greeting was written by the goroutine of the request.
	c.socket.check.write(greeting)
	s.WroteAll(len(greeting), w.now)
	c.socket.check.framed = true
	w.broadcaster.users++
	w.broadcaster.attach(c.socket.fd, &s, func(_ *stream.Stream, reason error) { c.end(w, reason) })
}

var errExpired = errors.New("expired")

func (c *simClient) end(w *world, reason error) {
	c.ended++
	c.reason = reason
	w.ended++
	w.filters.Release(c.filter)
}

// seek is what the broker does. The client knows that it misses something by the gap that the greeting has.
func (w *world) seek(id string, p eventlog.Policy) (eventlog.Cursor, *eventlog.Gap, bool) {
	c, g := w.log.Seek(id, p)
	if w.store == nil || g == nil {
		return c, g, true
	}
	last, reason := w.store.extent().Locate(id)
	if reason == "" {
		c.Next, g = last+1, nil
	} else {
		c.Next = w.store.first
		if p.FromHead {
			c.Next = w.store.last() + 1
		}
		g = eventlog.NewGap(w.epoch, c.Next, id, reason)
	}
	if w.log.Extent().Next < c.Next {
		return c, g, false // the broker would wait for the log
	}
	_, err := w.log.Resume(&c)
	return c, g, err == nil
}

// run begins the goroutine of a stream, which goes on whenever the simulation says so.
func (w *world) run(c *simClient, s *stream.Stream) {
	conn := &simConn{simSocket: c.socket}
	env := netstream.Env{
		Log: w.log, WriteTimeout: c.timeout, Clock: w.clock,
		Fetch: func(_ context.Context, from uint64) stream.Fetched {
			conn.yield(struct{}{})
			return w.store.fetch(from)
		},
		Pause: func(d *netstream.Driver) {
			for !d.Awake() && conn.yield(struct{}{}) {
			}
		},
	}
	c.driver = netstream.New(env, s, conn, nil)
	w.goroutines.Add(c.driver)
	c.resume, c.cancel = iter.Pull(func(yield func(struct{}) bool) {
		conn.yield = func(struct{}) bool {
			if !yield(struct{}{}) {
				panic(errStopped)
			}
			return true
		}
		defer func() {
			if r := recover(); r != nil && r != errStopped {
				panic(r)
			}
		}()
		c.driver.Run(context.Background())
		w.goroutines.Remove(c.driver)
		c.end(w, c.driver.Ended())
		if c.socket.closed = true; c.driver.Complete() {
			c.socket.check.ended = true
		}
		c.done = true
	})
}

var errStopped = errors.New("the simulation is over")

func (w *world) runGoroutines() {
	for _, c := range w.clients {
		if c.driver != nil && !c.done && w.random.IntN(2) == 0 {
			c.resume()
		}
	}
}

func (w *world) runSpawned() {
	if len(w.spawned) > 0 {
		i := w.random.IntN(len(w.spawned))
		f := w.spawned[i]
		w.spawned = append(w.spawned[:i], w.spawned[i+1:]...)
		f()
	}
}

// turn lets the broadcaster work, as its goroutine does, and counts for how long nobody was served.
func (w *world) turn() bool {
	b := w.broadcaster
	b.now = w.now
	if n := w.random.IntN(len(w.events) + 1); n > 0 && w.random.IntN(3) > 0 {
		if w.chance(3) { // late
			w.random.Shuffle(n, func(i, j int) { w.events[i], w.events[j] = w.events[j], w.events[i] })
		}
		batch := append([]event(nil), w.events[:n]...)
		w.events = w.events[n:]
		b.handle(batch)
	}
	before := map[*client]uint64{}
	for _, c := range b.clients {
		before[c] = c.Cursor.Next
	}
	busy := b.turn()
	for _, c := range b.clients {
		s := w.sockets[c.fd]
		servable := c.queued && c.Cursor.Next <= b.cursor.Next && !c.Stalled() && s.inFlight < s.capacity
		if s.idle++; !servable || before[c] != c.Cursor.Next {
			s.idle = 0
		}
		soon := c.spoke.tick > 0 && c.spoke.tick <= b.wheel.done+1
		if s.overdue++; soon || c.Due() > b.now-2*wheelTick {
			s.overdue = 0
		}
	}
	return busy
}

// spurious has sockets report what is not so, or is known.
func (w *world) spurious() {
	w.events = append(w.events, event{serial: int32(w.random.IntN(w.fds + 2)), room: true, readable: w.random.IntN(2) == 0})
	if len(w.events) > 0 && w.random.IntN(2) == 0 {
		w.events = append(w.events, w.events[w.random.IntN(len(w.events))])
	}
}

func (w *world) someone() *simClient {
	if len(w.clients) == 0 {
		return nil
	}
	return pick(w.random, w.clients...)
}

func (w *world) clientReads() {
	for range 3 {
		if c := w.someone(); c != nil {
			c.socket.drain(c.pace)
		}
	}
}

// clientActs has a client do something to its side.
func (w *world) clientActs() {
	c := w.someone()
	if c == nil {
		return
	}
	s := c.socket
	switch w.random.IntN(8) {
	case 0:
		s.reset = true
		s.report(event{gone: true, room: true})
		c.hangUp()
	case 1:
		s.halfClosed = true
		s.report(event{halfClosed: true, readable: true})
		c.hangUp()
	case 2:
		s.junk++
		if s.lingering {
			s.report(event{readable: true})
		}
	default:
		c.pace = pick(w.random, 0, 1, 20, 1000, 100_000)
	}
}

// hangUp is what net/http tells a stream with a goroutine.
func (c *simClient) hangUp() {
	if c.driver != nil {
		c.driver.Do((*stream.Stream).HalfClosed)
	}
}

func (w *world) drain() {
	w.draining = true
	b := w.broadcaster
	b.order(func() {
		for _, c := range b.clients {
			b.depart(c, time.Second)
		}
	})
	w.goroutines.Drain(func(s *stream.Stream) { s.DepartAt(w.now+time.Second, time.Second) })
}

// check looks at what must hold at any time.
func (w *world) check() error {
	if w.broken != nil {
		return w.broken
	}
	b := w.broadcaster
	for _, c := range w.clients {
		if err := c.socket.check.broken; err != nil {
			return fmt.Errorf("client %d: %w", c.socket.fd, err)
		}
		if bound := 3*len(w.clients) + 5; c.socket.idle > bound {
			return fmt.Errorf("client %d could be served and was not for %d turns: %v, %+v, cursor %d, now %v",
				c.socket.fd, c.socket.idle, c, b.clients[c.socket.serial], b.cursor.Next, w.now)
		}
		if bound := 3*len(w.clients) + 5; c.socket.overdue > bound {
			return fmt.Errorf("client %d is overdue for %d turns: %v, now %v", c.socket.fd, c.socket.overdue, c, w.now)
		}
		if c.reason == errExpired && w.now < c.expires {
			return fmt.Errorf("client %d expired %v early", c.socket.fd, c.expires-w.now)
		}
		if c.ended > 1 {
			return fmt.Errorf("client %d ended %d times", c.socket.fd, c.ended)
		}
	}
	for _, c := range b.clients {
		if _, events := c.Batch(); events && !w.log.Holds(&c.Cursor) {
			return fmt.Errorf("client %d writes what it does not hold", c.fd)
		}
	}
	if int(w.detached.Load()) != w.attached() {
		return fmt.Errorf("%d streams are counted, %d are there", w.detached.Load(), w.attached())
	}
	for _, g := range b.ordered {
		for i, c := range g.members {
			if c.place != i || !c.Live() || c.Pending() || c.fd == none {
				return fmt.Errorf("client %d is no member of its group: %+v", c.fd, c.Stream)
			}
		}
	}
	return nil
}

// attached returns how many streams the broadcaster has that have not ended.
func (w *world) attached() (n int) {
	for _, c := range w.clients {
		if c.driver == nil && c.ended == 0 {
			n++
		}
	}
	return n
}

// settle lets everybody who can do something do it, with nothing failing, and returns an error if that takes too long.
func (w *world) settle() error {
	w.faults, w.broadcaster.window = false, 1000
	for turns := 0; ; turns++ {
		if turns > 20_000 {
			return errors.New("there is no end of things to do")
		}
		busy := w.turn() || len(w.events) > 0
		for len(w.spawned) > 0 {
			w.runSpawned()
			busy = true
		}
		for _, c := range w.clients {
			if s := c.socket; s.inFlight > 0 && c.pace > 0 || s.wants && s.inFlight < s.capacity {
				s.drain(c.pace)
				busy = true
			}
			if c.driver == nil || c.done {
				continue
			}
			before, events := c.driver.Cursor.Next, c.driver.Bytes
			c.resume()
			busy = busy || !c.done && (c.driver.Cursor.Next != before || c.driver.Bytes != events || !c.socket.blocked && c.driver.Awake())
		}
		w.relieve()
		if err := w.check(); err != nil {
			return err
		}
		if !busy && !w.passTime() {
			return nil
		}
	}
}

// passTime lets those go on who wait before they ask the store again.
func (w *world) passTime() bool {
	due := stream.Forever
	wait := func(s *stream.Stream) {
		if s.Live() && !s.Idle() && !s.Stalled() {
			due = min(due, s.Due())
		}
	}
	for _, c := range w.broadcaster.clients {
		wait(&c.Stream)
	}
	for _, c := range w.clients {
		if c.driver != nil && !c.done && !c.socket.blocked {
			wait(c.driver.Stream)
		}
	}
	if due == stream.Forever {
		return false
	}
	w.now = max(w.now, due) + wheelTick
	return true
}

// finish has everybody read, and looks at what must hold once there is nothing to do: everyone has everything, nothing
// is overdue, counts add up, and what has ended is released.
func (w *world) finish() error {
	for _, c := range w.clients {
		c.socket.capacity = max(c.socket.capacity, 200)
		if c.pace > 0 {
			c.pace = max(c.pace, 100)
		}
	}
	if err := w.settle(); err != nil {
		return err
	}
	if err := w.stalledAreBounded(); err != nil {
		return err
	}
	for _, c := range w.clients {
		c.socket.partial, c.socket.capacity = false, max(c.socket.capacity, 5000)
		if c.pace = 100_000; c.socket.inFlight < c.socket.capacity {
			c.socket.wants = false
			c.socket.report(event{room: true})
		}
	}
	if w.store != nil {
		w.store.failing = false
		w.store.report()
	}
	if err := w.settle(); err != nil {
		return err
	}
	if err := w.rest(); err != nil {
		return err
	}
	if err := w.everyoneHasEverything(); err != nil {
		return err
	}
	// Time passes: heartbeats come, grants expire.
	w.now += 4 * time.Second
	if err := w.settle(); err != nil {
		return err
	}
	if err := w.rest(); err != nil {
		return err
	}
	if err := w.wantCounts(); err != nil {
		return err
	}
	w.log.Close()
	if err := w.settle(); err != nil {
		return err
	}
	w.now += LingerTimes
	if err := w.settle(); err != nil {
		return err
	}
	return w.wantNothingLeft()
}

// stalledAreBounded looks at what must hold while some do not read: those who have gone are noticed, what the others
// hold is bounded, and their time is too.
func (w *world) stalledAreBounded() error {
	for _, c := range w.clients {
		s := c.socket
		if c.ended == 0 && c.driver == nil && (s.reset || s.halfClosed && c.pace > 0) {
			return fmt.Errorf("client %d has gone, and nobody has noticed", s.fd)
		}
	}
	if w.store == nil && w.limits.Pinned >= 0 && w.log.Pinned() > w.limits.Pinned {
		return fmt.Errorf("%d bytes are pinned while some do not read, of %d", w.log.Pinned(), w.limits.Pinned)
	}
	for range 3 {
		if err := w.settle(); err != nil {
			return err
		}
		w.now += 10 * time.Second
	}
	for _, c := range w.broadcaster.clients {
		if due := c.Due(); due < w.now-15*time.Second {
			return fmt.Errorf("client %d is overdue by %v", c.fd, w.now-due)
		}
	}
	return nil
}

// LingerTimes is longer than any stream lingers.
const LingerTimes = 10 * stream.LingerTime

// rest checks that nothing is due, and that nobody holds memory without need.
func (w *world) rest() error {
	for _, c := range w.broadcaster.clients {
		if due := c.Due(); due < w.now-wheelTick {
			return fmt.Errorf("client %d is overdue by %v", c.fd, w.now-due)
		}
	}
	if w.limits.Pinned >= 0 && w.log.Pinned() > w.limits.Pinned {
		return fmt.Errorf("%d bytes are pinned, of %d", w.log.Pinned(), w.limits.Pinned)
	}
	return nil
}

func (w *world) everyoneHasEverything() error {
	extent := w.log.Extent()
	for _, c := range w.clients {
		s := c.socket
		if c.ended > 0 || s.reset || s.halfClosed {
			continue
		}
		if w.now-wheelTick > c.expires {
			return fmt.Errorf("client %d outlives its grant: %v at %v", s.fd, c, w.now)
		}
		s.check.missesNone(extent.Next, "the end")
		if err := s.check.broken; err != nil {
			return fmt.Errorf("client %d: %w", s.fd, err)
		}
		if len(s.check.content) > 0 || s.check.inChunk {
			return fmt.Errorf("client %d is in the middle of an event", s.fd)
		}
	}
	return nil
}

// wantCounts checks that what is counted as delivered was, and no more.
func (w *world) wantCounts() error {
	var delivered, written, gaps int64
	whole := true
	for _, c := range w.clients {
		written += c.socket.check.events
		gaps += int64(c.socket.check.gaps)
		whole = whole && (c.ended == 0 || c.socket.check.ended)
	}
	for _, counts := range []*stream.Counts{&w.counts, &w.broadcaster.counts} {
		delivered += counts.Delivered.Load()
	}
	if delivered > written || whole && delivered != written {
		return fmt.Errorf("%d events are counted, %d were written", delivered, written)
	}
	return nil
}

func (w *world) wantNothingLeft() error {
	b := w.broadcaster
	for _, c := range w.clients {
		switch {
		case c.ended != 1:
			return fmt.Errorf("client %d ended %d times", c.socket.fd, c.ended)
		case !c.socket.closed:
			return fmt.Errorf("client %d is not closed", c.socket.fd)
		case c.reason == nil:
			return fmt.Errorf("client %d ended for no reason", c.socket.fd)
		}
	}
	if n := len(b.clients) + len(b.groups) + len(b.ordered) + len(b.apart) + b.wheel.count + b.users; n > 0 || b.ready.first != nil {
		return fmt.Errorf("the broadcaster keeps something: %d clients, %d groups, %d apart, %d timers, %d users",
			len(b.clients), len(b.groups), len(b.apart), b.wheel.count, b.users)
	}
	if n := w.filters.Len(); n > 0 {
		return fmt.Errorf("%d filters are kept for nobody", n)
	}
	if n := w.log.Pinned(); n != 0 {
		return fmt.Errorf("%d bytes are pinned by nobody", n)
	}
	return nil
}

// A simStore keeps events beyond what the log does, and loses some.
type simStore struct {
	world    *world
	first    uint64
	reported uint64
	failing  bool
}

func (s *simStore) last() uint64 { return uint64(len(s.world.history[s.world.epoch])) }

func (s *simStore) extent() eventlog.Extent {
	return eventlog.Extent{Epoch: s.world.epoch, First: s.first, Next: s.last() + 1}
}

func (s *simStore) append(name, data string) {
	w := s.world
	w.history[w.epoch] = append(w.history[w.epoch], published{topic.Make(name), data, false})
}

// records returns those that are not deleted.
func (s *simStore) records(from, to uint64) (records []eventlog.Record) {
	for i := from; i < to; i++ {
		e, known := s.world.truth(s.world.epoch, i)
		if !known || e.deleted {
			continue
		}
		block, err := sse.Append(nil, sse.Event{Data: e.data})
		if err != nil {
			panic(err)
		}
		records = append(records, eventlog.Record{Topic: e.topic.Value(), Block: block, Sequence: i})
	}
	return records
}

// report tells the log what is new, all of it or a part.
func (s *simStore) report() {
	to := s.reported + s.world.random.Uint64N(s.last()-s.reported+1)
	if !s.world.faults {
		to = s.last()
	}
	s.world.log.Update(eventlog.Update{Epoch: s.world.epoch, Last: to, Records: s.records(s.reported+1, to+1)})
	s.reported = to
}

func (s *simStore) fetch(from uint64) (f stream.Fetched) {
	if s.failing && s.world.faults {
		f.Err = os.ErrDeadlineExceeded
		return f
	}
	from = max(from, s.first)
	to := min(from+1+s.world.random.Uint64N(5), s.last()+1)
	if f.Records = s.records(from, to); len(f.Records) == 0 {
		f.Records = s.records(from, s.last()+1)
	}
	f.Epoch, f.First = s.world.epoch, s.first
	if s.world.chance(10) {
		f.Records = nil // a copy that is not up to date
	}
	return f
}

// disturb has the store drop its oldest events, delete some that nobody has got yet, fail for a while, or begin anew.
func (s *simStore) disturb() {
	w := s.world
	switch w.random.IntN(6) {
	case 0:
		s.first += w.random.Uint64N(s.reported + 2 - min(s.first, s.reported+1))
	case 1:
		for i := s.reported; i < s.last(); i++ {
			w.history[w.epoch][i].deleted = w.random.IntN(4) == 0
		}
	case 2:
		s.failing = !s.failing
	case 3:
		w.epoch = fmt.Sprintf("epoch%03d", len(w.history)+1)
		w.history[w.epoch] = nil
		s.first, s.reported = 1, 0
		w.log.Update(eventlog.Update{Epoch: w.epoch})
	}
}

func (c *simClient) String() string {
	return fmt.Sprintf("%+v ended %d expires %v driver %t done %t", *c.socket, c.ended, c.expires, c.driver != nil, c.done)
}
