package jetstream

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/eventsource-wasm/eventsource-wasm/server"
)

// What a follower does without being told.
const (
	checkEvery = time.Second          // reads what may be new, because what is told can be lost
	lookEvery  = 10                   // checks; looks whether the stream is still the same one
	lostAfter  = 15 * time.Second     // believes that a replicated stream has lost what it had told
	lostAlone  = 2 * time.Second      // believes so of a stream without replicas
	goneAfter  = 2 * time.Second      // believes that there is no stream any more
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
	store  *Store
	report func(server.StoreUpdate)
	looks  chan look // what the look that is under way finds

	state     server.StoreState // whose Last is what is told last
	target    uint64            // sequence of the newest message that is known of
	witness   witness           // the newest message that was told
	begun     bool
	offline   bool
	suspect   bool // the stream may be another one, until a look says that it is not
	doubts    int  // how often that was so
	looking   bool
	wait      time.Duration
	lostSince time.Time
	goneSince time.Time
}

// A witness is a message by which the stream is known again: one that was put back from a copy, or lost its newest
// messages, gives their sequences to others, at another time.
type witness struct {
	sequence uint64
	at       string // as the server has it
}

type look struct {
	had     uint64 // sequence of what was told last when it began
	doubts  int    // of the follower, then
	state   server.StoreState
	witness witness // of the newest message, if nothing was told yet
	forked  bool    // the message of the witness is another one
	err     error
}

// Follow implements [server.Store]. With [Options.Lazy] it first makes the stream, or waits until that is possible.
func (s *Store) Follow(ctx context.Context, report func(server.StoreUpdate)) error {
	record := func(u server.StoreUpdate) {
		s.setErr(u.Err)
		report(u)
	}
	if !s.established.Load() && !s.awaitStream(ctx, record) {
		return context.Cause(ctx)
	}
	err := s.follow(ctx, record)
	if ctx.Err() == nil {
		s.setErr(err)
	}
	return err
}

// awaitStream opens the stream as soon as that is possible, and reports whether it is open.
func (s *Store) awaitStream(ctx context.Context, report func(server.StoreUpdate)) bool {
	logged := ""
	for ctx.Err() == nil {
		attempt, cancel := context.WithTimeout(ctx, openWait)
		err := s.attempt(attempt)
		cancel()
		if err == nil {
			s.established.Store(true)
			s.options.Logger.Info("stream opened", "name", s.options.Name)
			return true
		}
		if text := err.Error(); ctx.Err() == nil && text != logged {
			s.options.Logger.Warn("cannot open the stream yet: waiting for NATS", "name", s.options.Name, "error", err)
			logged = text
		}
		report(server.StoreUpdate{Err: unavailable(err)})
		pause(ctx, checkEvery)
	}
	return false
}

// follow returns an error of ctx, or of a connection that was closed.
func (s *Store) follow(ctx context.Context, report func(server.StoreUpdate)) error {
	messages, elected := make(chan *nats.Msg, buffered), make(chan *nats.Msg, 1)
	for subject, to := range map[string]chan *nats.Msg{
		s.subject(republished) + ">":                                 messages,
		"$JS.EVENT.ADVISORY.STREAM.LEADER_ELECTED." + s.options.Name: elected,
	} {
		subscription, err := s.conn.ChanSubscribe(subject, to)
		if err != nil {
			return unavailable(err)
		}
		defer subscription.Unsubscribe()
	}
	changes := s.conn.StatusChanged(nats.CONNECTED, nats.RECONNECTING, nats.DISCONNECTED, nats.CLOSED)
	defer s.conn.RemoveStatusListener(changes)
	f := &follower{store: s, report: report, looks: make(chan look, 1)}
	f.run(ctx, messages, elected, changes)
	if f.looking {
		<-f.looks
	}
	s.trust.give()
	return context.Cause(ctx)
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
		case <-f.store.alarm:
			f.doubt()
			f.check(ctx, true)
		case <-elected:
			f.doubt()
			f.check(ctx, true)
		case _, open := <-changes:
			if !open {
				changes = nil
			}
			f.doubt()
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

// doubt has nothing told or stored until a look has found the stream to be the same.
func (f *follower) doubt() {
	f.suspect = true
	f.doubts++
	f.store.trust.withdraw()
}

// believe ends the doubt.
func (f *follower) believe(found look) {
	if f.suspect {
		f.suspect = false
		f.store.reset(max(found.state.Last, f.state.Last))
		f.store.trust.give()
	}
}

// again is when to read again what is missing: a server that has not got it yet may have answered.
func (f *follower) again() <-chan time.Time {
	if !f.begun || f.suspect || f.state.Last >= f.target {
		f.wait = refill
		return nil
	}
	f.wait = min(2*f.wait, maxRefill)
	return time.After(f.wait)
}

// maxReported bounds what is told at once.
const maxReported = 1000

// receive tells the message, and those that wait behind it, as far as nothing is missing.
func (f *follower) receive(ctx context.Context, m *nats.Msg, more <-chan *nats.Msg) {
	if !f.begun || f.suspect {
		return // it is read
	}
	var records []server.StoredRecord
	next, hole := f.state.Last+1, false
	for count := 1; ; count++ {
		r, ok := f.store.record(m)
		f.target = max(f.target, r.Sequence)
		if f.contradicts(m, r.Sequence) {
			f.doubt()
			f.look(ctx)
			break
		}
		if r.Sequence >= next {
			f.witness = witness{r.Sequence, m.Header.Get(timeHeader)}
		}
		if hole = r.Sequence > next; hole {
			break
		}
		if r.Sequence == next {
			next++
			if ok {
				records = append(records, r)
			}
		}
		if len(more) == 0 || count == maxReported {
			break
		}
		m = <-more
	}
	f.pass(records, next-1)
	if hole {
		f.catchUp(ctx)
	}
}

// timeHeader has the time at which a message was stored, as told and as read.
const timeHeader = "Nats-Time-Stamp"

// contradicts reports whether the message has a sequence that another one had, as far as that can be seen.
func (f *follower) contradicts(m *nats.Msg, sequence uint64) bool {
	w, at := f.witness, m.Header.Get(timeHeader)
	if sequence == 0 || sequence > w.sequence || w.at == "" || at == "" {
		return false
	}
	return sequence == w.sequence && !sameTime(at, w.at) || sequence < w.sequence && isLater(at, w.at)
}

func isLater(a, b string) bool {
	at, err1 := time.Parse(time.RFC3339Nano, a)
	bt, err2 := time.Parse(time.RFC3339Nano, b)
	return err1 == nil && err2 == nil && at.After(bt)
}

func sameTime(a, b string) bool {
	at, err1 := time.Parse(time.RFC3339Nano, a)
	bt, err2 := time.Parse(time.RFC3339Nano, b)
	return err1 == nil && err2 == nil && at.Equal(bt)
}

// pass tells the records, and that there are none else up to last.
func (f *follower) pass(records []server.StoredRecord, last uint64) {
	if last == f.state.Last {
		return
	}
	f.state.Last = last
	f.store.raise(last)
	f.online()
	f.report(server.StoreUpdate{StoreState: f.state, Records: records})
}

// check reads what nobody has told, and looks at the stream if told to.
func (f *follower) check(ctx context.Context, look bool) {
	if !f.store.conn.IsConnected() {
		f.fail(errDisconnected)
		return
	}
	if look || f.offline || f.suspect || !f.begun || !f.lostSince.IsZero() {
		f.look(ctx)
	}
	if f.begun && !f.suspect {
		f.catchUp(ctx)
	}
}

// look asks for the state of the stream, which may take long if it has no leader.
func (f *follower) look(ctx context.Context) {
	if f.looking {
		return
	}
	f.looking = true
	had, doubts, w := f.state.Last, f.doubts, f.witness
	go func() {
		l := f.store.look(ctx, had, w)
		l.doubts = doubts
		f.looks <- l
	}()
}

func (s *Store) look(ctx context.Context, had uint64, w witness) look {
	info, err := s.info(ctx)
	if err != nil {
		return look{err: err}
	}
	l := look{had: had, state: stateOf(info)}
	if w.sequence == 0 {
		w.sequence = l.state.Last
	}
	if w.sequence < l.state.First || w.sequence > l.state.Last {
		return l // it is no longer kept, or lost
	}
	within, cancel := context.WithTimeout(ctx, readWithin)
	defer cancel()
	m, err := s.get(within, w.sequence)
	switch {
	case err != nil:
		l.err = err
	case m == nil: // deleted, or not yet in the copy that was asked
	case w.at == "":
		l.witness = witness{w.sequence, m.Header.Get(timeHeader)}
	default:
		l.forked = !sameTime(m.Header.Get(timeHeader), w.at)
	}
	return l
}

// compare begins anew if the stream is another, or has lost what it had, as when all its servers lose their power or are
// put back from a copy.
func (f *follower) compare(ctx context.Context, found look) {
	if !errors.Is(found.err, jetstream.ErrStreamNotFound) {
		f.goneSince = time.Time{}
	}
	switch {
	case errors.Is(found.err, jetstream.ErrStreamNotFound):
		f.fail(found.err)
		f.remake(ctx)
	case found.err != nil:
		f.fail(found.err)
	case found.doubts != f.doubts:
		f.look(ctx) // it may have been asked before what is doubted
	case !f.begun || found.state.Epoch != f.state.Epoch:
		f.begin(found)
	case found.forked:
		f.renew(ctx, found)
	case found.state.Last >= found.had:
		f.lostSince = time.Time{}
		f.target = max(f.target, found.state.Last)
		f.believe(found)
		f.pass(nil, max(f.state.Last, found.state.First-1)) // what is no longer kept
		f.restore()
	case f.lostSince.IsZero():
		f.lostSince = time.Now() // a new leader may need a moment to have it all
		f.doubt()
	case time.Since(f.lostSince) > f.store.patience():
		f.renew(ctx, found)
	}
}

// patience is how long a stream may have less than it had.
func (s *Store) patience() time.Duration {
	if s.options.Replicas > 1 {
		return lostAfter
	}
	return lostAlone
}

func (f *follower) begin(found look) {
	if f.begun {
		f.store.options.Logger.Warn("stream has a new epoch: clients get a gap event", "name", f.store.options.Name,
			"epoch", found.state.Epoch, "before", f.state.Epoch)
	}
	f.state, f.target, f.witness, f.begun, f.suspect = found.state, found.state.Last, found.witness, true, false
	f.lostSince = time.Time{}
	f.store.reset(found.state.Last)
	f.store.trust.give()
	f.online()
	f.report(server.StoreUpdate{StoreState: f.state})
}

// renew begins a new epoch. Nobody knows which sequences were given to others meanwhile, so no id of before is good.
func (f *follower) renew(ctx context.Context, found look) {
	f.doubt()
	f.store.options.Logger.Error("stream lost stored events: starting a new epoch, clients get a gap event",
		"name", f.store.options.Name, "had", found.had, "has", found.state.Last, "epoch", f.state.Epoch)
	if err := f.store.renew(ctx, f.state.Epoch, 0); err != nil {
		f.fail(err)
		return
	}
	f.look(ctx)
}

// remake makes the stream again after it has been gone for some time.
func (f *follower) remake(ctx context.Context) {
	switch {
	case f.goneSince.IsZero():
		f.goneSince = time.Now()
	case time.Since(f.goneSince) > goneAfter:
		f.store.options.Logger.Error("stream is gone with all its events: creating it again with a new epoch", "name", f.store.options.Name,
			"had", f.state.Last, "epoch", f.state.Epoch)
		attempt, cancel := context.WithTimeout(ctx, openWait)
		defer cancel()
		if err := f.store.attempt(attempt); err != nil {
			f.store.options.Logger.Error("cannot create the stream", "name", f.store.options.Name, "error", err)
			return
		}
		f.goneSince = time.Time{}
		f.look(ctx)
	}
}

// catchUp reads until there is nothing more.
func (f *follower) catchUp(ctx context.Context) {
	for ctx.Err() == nil && !f.suspect {
		within, cancel := context.WithTimeout(ctx, readWithin)
		records, newest, err := f.store.readTo(within, f.state.Last+1, followEvents, followBytes)
		cancel()
		if err != nil {
			f.fail(err)
			return
		}
		if newest.sequence == 0 {
			return
		}
		f.witness = newest
		f.pass(records, newest.sequence)
	}
}

// fail tells that nothing can be told. Then check goes on to look.
func (f *follower) fail(err error) {
	if !f.offline {
		f.offline = true
		f.store.options.Logger.Warn("cannot follow the stream", "name", f.store.options.Name, "error", err)
		f.report(server.StoreUpdate{StoreState: f.state, Err: unavailable(err)})
	}
}

func (f *follower) restore() {
	if f.offline {
		f.online()
		f.report(server.StoreUpdate{StoreState: f.state})
	}
}

func (f *follower) online() {
	if f.offline {
		f.offline = false
		f.store.options.Logger.Info("following the stream again", "name", f.store.options.Name)
	}
}
