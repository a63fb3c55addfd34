package epoll

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"iter"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
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

// The simulation runs the log, the state machine of streams and both drivers against simulated sockets, a simulated store and a
// simulated clock. A seed decides everything that happens, so that a failure can be replayed.
var (
	seeds = flag.Uint64("seeds", 20_000, "`number` of seeds to run")
	seed  = flag.Uint64("seed", 0, "the first `seed`")
)

func TestSimulation(t *testing.T) {
	count := *seeds
	if raceEnabled {
		count = min(count, 1000) // the race detector finds little in a simulation on one goroutine
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

// A published event, for checking what clients receive.
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
	faults bool // enables faults

	epoch   string
	history map[string][]published // by epoch, starting with sequence 1
	store   *simStore

	filters     topic.Registry
	detached    atomic.Int64
	broadcaster *broadcaster
	goroutines  netstream.Set
	counts      stream.Counts
	events      []event // reported but not yet handled
	spawned     []func()
	routines    []*routine
	carried     []*routine // of carriers
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
	pace    int // bytes read at a time; 0 means that the client does not read
	ended   int
	expires time.Duration
	timeout time.Duration // of writes
	beat    time.Duration
	reason  error

	driver  *netstream.Driver // nil if the broadcaster serves it
	routine *routine          // of the driver
	done    bool
}

const simEpoch = "epoch000"

func simulate(seed uint64) (err error) {
	w := newWorld(seed)
	defer func() {
		if r := recover(); r != nil {
			stack := make([]byte, 4096)
			err = fmt.Errorf("seed %d: panic: %v\n%s", seed, r, stack[:runtime.Stack(stack, false)])
		}
		for _, r := range w.routines {
			r.cancel()
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

// chance decides about faults: true once in n calls while there are faults.
func (w *world) chance(n int) bool { return w.faults && w.random.IntN(n) == 0 }

func (w *world) clock() time.Time { return time.Unix(1_000_000, 0).Add(w.now) }

// act does one random action.
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
		w.log.DisconnectAll()
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

// relieve does the same as the broker when clients pin too much.
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

// available returns the first sequence from which all events are available.
func (w *world) available(epoch string) uint64 {
	switch {
	case epoch != w.epoch:
		return math.MaxUint64
	case w.store != nil:
		return min(w.store.first, w.log.Oldest())
	}
	return w.log.Oldest()
}

// connect connects a client, with or without an id.
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
	if w.store != nil && config.WriteTimeout < 0 {
		config.WriteTimeout = 2 * time.Second // otherwise clients that do not read could keep others from reading the store
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
	w.broadcaster.attach(c.socket.fd, &s, func(s *stream.Stream) { c.end(w, s.Ended()) })
}

var errExpired = errors.New("expired")

func (c *simClient) end(w *world, reason error) {
	c.ended++
	c.reason = reason
	w.ended++
	w.filters.Release(c.filter)
}

// seek does the same as the broker. If the client misses events, its greeting has a gap.
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

// run starts the goroutine of a stream, which continues whenever the simulation decides. Some streams have carriers.
func (w *world) run(c *simClient, s *stream.Stream) {
	conn := &simConn{simSocket: c.socket}
	env := netstream.Env{
		Log: w.log, Clock: w.clock,
		Fetch: func(_ context.Context, from uint64) stream.Fetched {
			conn.pause()
			return w.store.fetch(from)
		},
		Arm: func() {
			if w.faults && w.random.IntN(4) == 0 {
				conn.pause()
			}
		},
		Pause: func(d *netstream.Driver) {
			for !d.Awake() {
				conn.pause()
			}
		},
	}
	if w.random.IntN(2) == 0 {
		env.Carry = func(d *netstream.Driver) {
			k := &netstream.Carrier{}
			w.carried = append(w.carried, w.begin(conn, func() {
				conn.carrier = k
				k.Serve(d)
			}))
		}
	}
	c.driver = netstream.New(env, s, conn, nil)
	w.goroutines.Add(c.driver)
	c.routine = w.begin(conn, func() {
		conn.carrier = nil
		c.driver.Run(context.Background())
		w.goroutines.Remove(c.driver)
		c.end(w, c.driver.Ended())
		if c.socket.closed = true; c.driver.Complete() {
			c.socket.check.ended = true
		}
		c.done = true
	})
}

// A routine is a goroutine of the simulation that writes to a connection.
type routine struct {
	conn   *simConn
	resume func() (struct{}, bool)
	cancel func()
	yield  func(struct{}) bool
}

func (w *world) begin(conn *simConn, f func()) *routine {
	r := &routine{conn: conn}
	r.resume, r.cancel = iter.Pull(func(yield func(struct{}) bool) {
		r.yield = yield
		defer func() {
			if problem := recover(); problem != nil && problem != errStopped {
				panic(problem)
			}
		}()
		f()
	})
	w.routines = append(w.routines, r)
	return r
}

// next lets the routine continue, and reports whether it has not ended.
func (r *routine) next() bool {
	before := r.conn.running
	r.conn.running = r
	_, more := r.resume()
	r.conn.running = before
	return more
}

var errStopped = errors.New("the simulation is over")

func (w *world) runGoroutines() {
	for _, c := range w.clients {
		if c.driver != nil && !c.done && w.random.IntN(2) == 0 {
			c.routine.next()
		}
	}
	if len(w.carried) > 0 {
		w.carry(w.random.IntN(len(w.carried)))
	}
}

// carry lets a carrier continue.
func (w *world) carry(i int) {
	if r := w.carried[i]; !r.next() {
		w.carried = slices.DeleteFunc(w.carried, func(other *routine) bool { return other == r })
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

// turn runs a turn of the broadcaster, like its goroutine, and counts the turns in which a client was not served.
func (w *world) turn() bool {
	b := w.broadcaster
	b.now = w.now
	if n := w.random.IntN(len(w.events) + 1); n > 0 && w.random.IntN(3) > 0 {
		if w.chance(3) { // delayed
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
		soon := c.slot.tick > 0 && c.slot.tick <= b.wheel.done+1
		if s.overdue++; soon || c.Due() > b.now-2*wheelTick {
			s.overdue = 0
		}
	}
	return busy
}

// spurious makes sockets send wrong or repeated reports.
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

// clientActs makes a client do something to its side of the connection.
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

// hangUp does what net/http does when the client of a stream with a goroutine disconnects.
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

func (c *simClient) String() string {
	return fmt.Sprintf("%+v ended %d expires %v driver %t done %t", *c.socket, c.ended, c.expires, c.driver != nil, c.done)
}
