package jetstream

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/eventsource-wasm/eventsource-wasm/server"
)

// What a follower does without being told.
const (
	checkEvery = time.Second          // reads what may be new, because what is told can be lost
	lookEvery  = 10                   // checks; looks whether the stream is still the same one
	lostAfter  = 15 * time.Second     // believes that the stream has lost what it had told
	refill     = 5 * time.Millisecond // reads again where something is missing, and then waits twice as long
	maxRefill  = 200 * time.Millisecond
	readWithin = time.Second
)

// buffered is how many messages wait for a follower that reads. What does not fit is read, too.
const buffered = 16 << 10

var errDisconnected = errors.New("not connected to NATS")

// A follower tells what the stream republishes, and reads from the stream what is missing there. A consumer would find
// that out by itself, in seconds.
type follower struct {
	store *Store
	tell  func(server.StoreUpdate)
	looks chan look // what the look that is under way finds

	state     server.StoreState // whose Last is what is told last
	target    uint64            // sequence of the newest message that is known of
	begun     bool
	offline   bool
	looking   bool
	wait      time.Duration
	lostSince time.Time
}

type look struct {
	had   uint64 // sequence of what was told last when it began
	state server.StoreState
	err   error
}

// Follow implements [server.Store].
func (s *Store) Follow(ctx context.Context, tell func(server.StoreUpdate)) {
	messages, elected := make(chan *nats.Msg, buffered), make(chan *nats.Msg, 1)
	for subject, to := range map[string]chan *nats.Msg{
		s.subject(told) + ">": messages,
		"$JS.EVENT.ADVISORY.STREAM.LEADER_ELECTED." + s.options.Name: elected,
	} {
		subscription, err := s.conn.ChanSubscribe(subject, to)
		if err != nil {
			tell(server.StoreUpdate{Err: unavailable(err)})
			return
		}
		defer subscription.Unsubscribe()
	}
	changes := s.conn.StatusChanged(nats.CONNECTED, nats.RECONNECTING, nats.DISCONNECTED, nats.CLOSED)
	defer s.conn.RemoveStatusListener(changes)
	f := &follower{store: s, tell: tell, looks: make(chan look, 1)}
	f.run(ctx, messages, elected, changes)
	if f.looking {
		<-f.looks
	}
}

func (f *follower) run(ctx context.Context, messages, elected <-chan *nats.Msg, changes <-chan nats.Status) {
	ticker := time.NewTicker(checkEvery)
	defer ticker.Stop()
	f.look(ctx)
	for checks := 1; ctx.Err() == nil; {
		select {
		case m := <-messages:
			f.receive(ctx, m, messages)
		case l := <-f.looks:
			f.looking = false
			f.compare(ctx, l)
		case <-elected:
			f.check(ctx, true)
		case _, open := <-changes:
			if !open {
				changes = nil
			}
			f.check(ctx, true)
		case <-ticker.C:
			f.check(ctx, checks%lookEvery == 0)
			checks++
		case <-f.again():
			f.catchUp(ctx)
		case <-ctx.Done():
		}
	}
}

// again is when to read again what is missing: a server that has not got it yet may have answered.
func (f *follower) again() <-chan time.Time {
	if !f.begun || f.state.Last >= f.target {
		f.wait = refill
		return nil
	}
	f.wait = min(2*f.wait, maxRefill)
	return time.After(f.wait)
}

// maxTold bounds what is told at once.
const maxTold = 1000

// receive tells the message, and those that wait behind it, as far as nothing is missing.
func (f *follower) receive(ctx context.Context, m *nats.Msg, more <-chan *nats.Msg) {
	if !f.begun {
		return // it is read
	}
	var records []server.StoredRecord
	next, hole := f.state.Last+1, false
	for count := 1; ; count++ {
		r, ok := f.store.record(m)
		f.target = max(f.target, r.Sequence)
		if hole = r.Sequence > next; hole {
			break
		}
		if r.Sequence == next {
			next++
			if ok {
				records = append(records, r)
			}
		}
		if len(more) == 0 || count == maxTold {
			break
		}
		m = <-more
	}
	f.pass(records, next-1)
	if hole {
		f.catchUp(ctx)
	}
}

// pass tells the records, and that there are none else up to last.
func (f *follower) pass(records []server.StoredRecord, last uint64) {
	if last == f.state.Last {
		return
	}
	f.state.Last = last
	f.offline = false
	f.tell(server.StoreUpdate{StoreState: f.state, Records: records})
}

// check reads what nobody has told, and looks at the stream if told to.
func (f *follower) check(ctx context.Context, look bool) {
	if !f.store.conn.IsConnected() {
		f.fail(errDisconnected)
		return
	}
	if look || f.offline || !f.begun || !f.lostSince.IsZero() {
		f.look(ctx)
	}
	if f.begun {
		f.catchUp(ctx)
	}
}

// look asks for the state of the stream, which may take long if it has no leader.
func (f *follower) look(ctx context.Context) {
	if f.looking {
		return
	}
	f.looking = true
	had := f.state.Last
	go func() {
		info, err := f.store.info(ctx)
		if err != nil {
			f.looks <- look{err: err}
			return
		}
		f.looks <- look{had, stateOf(info), nil}
	}()
}

// compare begins anew if the stream is another, or has lost what it had, as when all its servers lose their power.
func (f *follower) compare(ctx context.Context, found look) {
	switch {
	case found.err != nil:
		f.fail(found.err)
	case !f.begun || found.state.Epoch != f.state.Epoch:
		f.state, f.target, f.begun, f.offline = found.state, found.state.Last, true, false
		f.lostSince = time.Time{}
		f.tell(server.StoreUpdate{StoreState: f.state})
	case found.state.Last >= found.had:
		f.lostSince = time.Time{}
		f.target = max(f.target, found.state.Last)
		f.pass(nil, max(f.state.Last, found.state.First-1)) // what is no longer kept
		f.restore()
	case f.lostSince.IsZero():
		f.lostSince = time.Now() // a new leader may need a moment to have it all
	case time.Since(f.lostSince) > lostAfter:
		f.store.options.Logger.Error("the stream has lost events that it had stored", "had", found.had, "has", found.state.Last)
		if err := f.store.Renew(ctx, 0); err == nil { // nobody knows which sequences are given to others by now
			f.look(ctx)
		}
	}
}

// catchUp reads until there is nothing more.
func (f *follower) catchUp(ctx context.Context) {
	for ctx.Err() == nil {
		within, cancel := context.WithTimeout(ctx, readWithin)
		records, last, err := f.store.read(within, f.state.Last+1, followEvents, followBytes)
		cancel()
		if err != nil {
			f.fail(err)
			return
		}
		if last == 0 {
			return
		}
		f.pass(records, last)
	}
}

// fail tells that nothing can be told. Then check goes on to look.
func (f *follower) fail(err error) {
	if !f.offline {
		f.offline = true
		f.tell(server.StoreUpdate{StoreState: f.state, Err: err})
	}
}

func (f *follower) restore() {
	if f.offline {
		f.offline = false
		f.tell(server.StoreUpdate{StoreState: f.state})
	}
}
