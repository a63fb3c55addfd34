package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/eventsource-wasm/eventsource-wasm/server"
)

// The topics are the probe's, two with large events, and shards*shards topics with two varying tokens.
const (
	probeTopic = iota
	heavyTopic
	burstTopic
	firstShard
	shards = 8
)

const (
	maxSize   = 1<<20 - 200     // of an event's data, so that the event fits into MaxEventBytes
	patience  = 2 * time.Minute // limits every wait
	maxEvents = 20_000          // kept by the broker
	probing   = 20 * time.Millisecond
	arrears   = 25 // pending probes at which the publishers wait
)

// A plan is a soak to run.
type plan struct {
	duration time.Duration
	clients  int
	honest   int
	seed     uint64
	log      func(format string, args ...any)
}

// run runs the soak, and returns the first fault. The report covers the time until then.
func (p plan) run() (*report, error) {
	p.log("seed %d, %v, %d clients and %d honest subscribers", p.seed, p.duration, p.clients, p.honest)
	before := resources()
	r := &report{duration: p.duration}
	err := p.soak(r)
	if err != nil {
		return r, err
	}
	r.before, r.after = before, before
	return r, before.regained(&r.after)
}

// A soak is a running soak.
type soak struct {
	plan
	broker     *server.Broker
	ledger     *ledger
	fronts     []*front
	routes     []*route
	complaints complaints
	crowd      *crowd
	honest     []*subscriber
	probes     []*subscriber
	report     *report
	quiet      atomic.Bool // publishers pause

	ctx    context.Context
	failed context.CancelCauseFunc
}

func (p plan) soak(r *report) error {
	s := &soak{plan: p, report: r}
	s.broker = &server.Broker{MaxConnections: -1, MaxEvents: maxEvents, MaxBytes: 48 << 20}
	s.ledger = newLedger(s.broker, topics())
	s.ctx, s.failed = context.WithCancelCause(context.Background())
	defer s.failed(nil)
	s.fronts = fronts(s.broker, &s.complaints)
	for _, f := range s.fronts {
		s.routes = append(s.routes, f.routes()...)
	}
	s.crowd = &crowd{ledger: s.ledger, routes: s.routes, fail: s.failed, tables: make(chan struct{}, greedy), episodes: make([]atomic.Int64, len(kinds))}
	err := s.phases()
	s.broker.Close()
	s.failed(nil)
	for _, sub := range append(s.honest, s.probes...) {
		<-sub.done
	}
	for _, route := range s.routes {
		route.honest.CloseIdleConnections()
		route.rough.CloseIdleConnections()
	}
	for _, f := range s.fronts {
		f.close()
	}
	r.stats = s.broker.Stats()
	r.complaints = s.complaints.lines.Load()
	if err != nil {
		return err
	}
	if err := s.complaints.fault(); err != nil {
		return err
	}
	return s.emptied()
}

func topics() (names []string) {
	names = []string{probeTopic: "probe", heavyTopic: "large.heavy", burstTopic: "large.burst"}
	for i := range shards * shards {
		names = append(names, fmt.Sprintf("t.%d.%d", i/shards, i%shards))
	}
	return names
}

func (s *soak) phases() error {
	s.subscribe()
	publishing, stop := context.WithCancel(s.ctx)
	defer stop()
	var publishers sync.WaitGroup
	s.publish(publishing, &publishers)

	alone := min(s.duration/5, time.Minute)
	s.phase("without the crowd", alone, func(context.Context) {})
	s.phase("with the crowd", s.duration-alone, func(ctx context.Context) { s.chaos(ctx) })
	stop()
	publishers.Wait()
	if err := context.Cause(s.ctx); err != nil {
		return err
	}
	s.log("the chaos has ended: subscribers must receive everything, and other clients must be gone")
	return errors.Join(s.allReceived(), s.othersGone(), s.exam())
}

// phase measures the delays of the probes while during runs.
func (s *soak) phase(name string, d time.Duration, during func(context.Context)) {
	s.log("%v %s", d.Round(time.Second), name)
	ctx, cancel := context.WithTimeout(s.ctx, d)
	defer cancel()
	begin, _ := time.Now(), s.takeDelays()
	_, from := s.ledger.newest()
	during(ctx)
	<-ctx.Done()
	_, to := s.ledger.newest()
	s.report.phases = append(s.report.phases, phase{
		name: name, events: to - from, elapsed: time.Since(begin), delays: s.takeDelays(),
	})
}

func (s *soak) takeDelays() map[string][]time.Duration {
	all := map[string][]time.Duration{}
	for _, p := range s.probes {
		all[p.route.String()] = p.take()
	}
	return all
}

// chaos runs the crowd at full strength, and sometimes disconnects all streams.
func (s *soak) chaos(ctx context.Context) {
	var members sync.WaitGroup
	for i := range s.clients {
		members.Go(func() { s.crowd.run(ctx, i, rand.New(rand.NewPCG(s.seed, uint64(i)))) })
	}
	members.Go(func() {
		for pause(ctx, 15*time.Second) {
			s.broker.DisconnectAll()
		}
	})
	watch := time.NewTicker(100 * time.Millisecond)
	defer watch.Stop()
	for ctx.Err() == nil {
		select {
		case <-watch.C:
			s.report.peak(s.broker)
		case <-ctx.Done():
		}
	}
	members.Wait()
	s.report.crowd(s.crowd)
}

// publish starts publishers, which are as fast as the first probe, an honest subscriber, can read.
func (s *soak) publish(ctx context.Context, done *sync.WaitGroup) {
	each := func(topics []int, wait time.Duration, burst int, size func(*rand.Rand) int) {
		r := rand.New(rand.NewPCG(s.seed, uint64(1_000_000+topics[0])))
		done.Go(func() {
			for pause(ctx, within(r, wait)) {
				for range 1 + r.IntN(burst) {
					if err := s.ledger.publish(topics[r.IntN(len(topics))], size(r)); err != nil {
						s.failed(fmt.Errorf("publish: %w", err))
						return
					}
				}
				for (s.quiet.Load() || s.behind()) && pause(ctx, probing) {
				}
			}
		})
	}
	const publishers = 4
	for i := range publishers {
		var own []int
		for shard := i; shard < shards*shards; shard += publishers {
			own = append(own, firstShard+shard)
		}
		each(own, 10*time.Millisecond, 16, someSize)
	}
	each([]int{heavyTopic}, time.Second, 2, func(*rand.Rand) int { return maxSize })
	done.Go(func() {
		for pause(ctx, probing) {
			if s.quiet.Load() {
				continue
			}
			if err := s.ledger.publish(probeTopic, 60); err != nil {
				s.failed(fmt.Errorf("publish: %w", err))
				return
			}
		}
	})
	done.Go(func() { s.fallSilent(ctx) })
}

// fallSilent sometimes stops publishing after a burst. A client whose stall then ends has no new events to wake it, which
// is a separate state.
func (s *soak) fallSilent(ctx context.Context) {
	r := rand.New(rand.NewPCG(s.seed, 3_000_000))
	for pause(ctx, within(r, time.Second)) {
		s.quiet.Store(true)
		for range r.IntN(8) {
			if err := s.ledger.publish(burstTopic, r.IntN(maxSize/2)); err != nil {
				s.failed(fmt.Errorf("publish: %w", err))
				return
			}
		}
		pause(ctx, within(r, time.Second))
		s.quiet.Store(false)
	}
}

// behind reports whether too many probes are pending.
func (s *soak) behind() bool {
	_, head := s.ledger.newest()
	return int64(s.ledger.after(probeTopic, head))-s.probes[0].seen.Load() > arrears
}

func someSize(r *rand.Rand) int {
	switch n := r.IntN(1000); {
	case n < 800:
		return 20 + r.IntN(200)
	case n < 960:
		return 1000
	case n < 997:
		return r.IntN(16 << 10)
	}
	return r.IntN(200 << 10)
}
