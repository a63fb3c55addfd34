package jetstream

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/eventsource-wasm/eventsource-wasm/server"
)

// Times of a follower.
const (
	checkEvery = time.Second          // interval of reads for messages that were not received
	lookEvery  = 10                   // checks between two looks at the state of the stream
	lostAfter  = 15 * time.Second     // until missing messages of a replicated stream count as lost
	lostAlone  = 2 * time.Second      // the same for a stream without replicas
	goneAfter  = 2 * time.Second      // until the stream counts as deleted
	refill     = 5 * time.Millisecond // first wait before missing messages are read again; it doubles
	maxRefill  = 200 * time.Millisecond
	readWithin = time.Second
)

// buffered is the number of messages that can wait for a follower. Others are read from the stream.
const buffered = 16 << 10

var errDisconnected = errors.New("not connected to NATS")

// A follower reports republished messages, and reads missing ones from the stream. A consumer would notice a loss only
// after seconds.
type follower struct {
	store  *Store
	report func(server.StoreUpdate)
	looks  chan look // result of the current look

	state     server.StoreState // Last is the last sequence reported
	target    uint64            // sequence of the newest message known
	witness   witness           // the newest message reported
	begun     bool
	offline   bool
	suspect   bool // the stream may be a different one, until a look shows that it is not
	doubts    int  // how often suspect was set
	looking   bool
	wait      time.Duration
	lostSince time.Time
	goneSince time.Time
}

// A witness is a message that identifies the stream. If the stream was restored from a copy or has lost its newest
// messages, it has another message with this sequence, with another time.
type witness struct {
	sequence uint64
	at       string // time at which the server stored it
}

type look struct {
	had     uint64 // last sequence reported when the look began
	doubts  int    // of the follower at that time
	state   server.StoreState
	witness witness // the newest message, if nothing was reported yet
	forked  bool    // the message of the witness is a different one
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

// awaitStream opens the stream as soon as possible, and reports whether it is open.
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

// follow follows the stream until ctx is done, or returns the error of a closed connection.
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

// doubt stops reporting and storing until a look has shown that the stream is the same.
func (f *follower) doubt() {
	f.suspect = true
	f.doubts++
	f.store.trust.withdraw()
}

// believe ends a doubt.
func (f *follower) believe(found look) {
	if f.suspect {
		f.suspect = false
		f.store.reset(max(found.state.Last, f.state.Last))
		f.store.trust.give()
	}
}

// again returns a channel for the time to read missing messages again. The server that responded may not have had them
// yet.
func (f *follower) again() <-chan time.Time {
	if !f.begun || f.suspect || f.state.Last >= f.target {
		f.wait = refill
		return nil
	}
	f.wait = min(2*f.wait, maxRefill)
	return time.After(f.wait)
}

// maxReported limits the messages in one report.
const maxReported = 1000

// receive reports the message and those that wait after it, up to the first gap.
func (f *follower) receive(ctx context.Context, m *nats.Msg, more <-chan *nats.Msg) {
	if !f.begun || f.suspect {
		return // catchUp reads it
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

// timeHeader is the header with the time at which a message was stored.
const timeHeader = "Nats-Time-Stamp"

// contradicts reports whether the message is known to have a sequence that another message had before.
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

// pass reports the records, which are all up to the sequence last.
func (f *follower) pass(records []server.StoredRecord, last uint64) {
	if last == f.state.Last {
		return
	}
	f.state.Last = last
	f.store.raise(last)
	f.online()
	f.report(server.StoreUpdate{StoreState: f.state, Records: records})
}

// check reads messages that were not received, and starts a look if asked to or necessary.
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

// look requests the state of the stream, which can take long if it has no leader.
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
	case m == nil: // deleted, or not yet in the copy that responded
	case w.at == "":
		l.witness = witness{w.sequence, m.Header.Get(timeHeader)}
	default:
		l.forked = !sameTime(m.Header.Get(timeHeader), w.at)
	}
	return l
}

// compare starts over if the stream is a different one or has lost events, for example after a power failure or a
// restore.
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
		f.look(ctx) // this look may have started before the doubt
	case !f.begun || found.state.Epoch != f.state.Epoch:
		f.begin(found)
	case found.forked:
		f.renew(ctx, found)
	case found.state.Last >= found.had:
		f.lostSince = time.Time{}
		f.target = max(f.target, found.state.Last)
		f.believe(found)
		f.pass(nil, max(f.state.Last, found.state.First-1)) // skip events that are no longer kept
		f.restore()
	case f.lostSince.IsZero():
		f.lostSince = time.Now() // a new leader may need a moment to catch up
		f.doubt()
	case time.Since(f.lostSince) > f.store.patience():
		f.renew(ctx, found)
	}
}

// patience is how long a stream may have fewer events than before.
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

// renew starts a new epoch. It is unknown which sequences were assigned again, so no earlier id is valid.
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

// remake creates the stream again after it has been gone for some time.
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

// catchUp reads until there are no more messages.
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

// fail reports that the stream cannot be followed. check continues to look.
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
