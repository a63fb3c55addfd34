package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// A subscriber is honest: it reads, and when its stream ends, it resumes with the id of its last event.
type subscriber struct {
	crowd  *crowd // for its ledger and counters
	route  *route
	filter *filter
	done   chan struct{}

	at      atomic.Uint64 // it has received all events of its filter up to here, except for gaps
	events  atomic.Int64
	seen    atomic.Int64 // for probes: number of its topic's last event, plus one
	streams atomic.Int64

	mu     sync.Mutex
	delays []time.Duration
}

// subscribe starts the honest subscribers, and probes whose delays are measured.
func (s *soak) subscribe() {
	r := rand.New(rand.NewPCG(s.seed, 2_000_000))
	for i := range s.plan.honest {
		s.honest = append(s.honest, s.start(s.routes[i%len(s.routes)], s.crowd.some(r)))
	}
	for _, route := range s.routes {
		if route.coding == "" && (route.name == "plain" || route.name == "NoHijack" || route.name == "TLS") {
			s.probes = append(s.probes, s.start(route, s.ledger.filter("probe")))
		}
	}
}

func (s *soak) start(route *route, f *filter) *subscriber {
	sub := &subscriber{crowd: s.crowd, route: route, filter: f, done: make(chan struct{})}
	go func() {
		defer close(sub.done)
		if err := sub.run(s.ctx); err != nil {
			s.failed(fmt.Errorf("an honest subscriber: %w", err))
		}
	}()
	return sub
}

func (sub *subscriber) run(ctx context.Context) error {
	session := resume(sub.crowd.ledger, sub.filter, "", 0)
	for ctx.Err() == nil {
		sub.streams.Add(1)
		session.on = sub.receive
		err := sub.crowd.follow(ctx, sub.route, sub.route.honest, session, 16<<10, func() bool {
			sub.at.Store(session.at)
			return true
		})
		if err != nil {
			return err
		}
		session = session.again()
		pause(ctx, 50*time.Millisecond)
	}
	return nil
}

func (sub *subscriber) receive(p publication) {
	sub.events.Add(1)
	if p.topic != probeTopic {
		return
	}
	sub.seen.Store(int64(p.n) + 1)
	sub.mu.Lock()
	defer sub.mu.Unlock()
	sub.delays = append(sub.delays, time.Since(p.at))
}

func (sub *subscriber) take() []time.Duration {
	sub.mu.Lock()
	defer sub.mu.Unlock()
	delays := sub.delays
	sub.delays = nil
	slices.Sort(delays)
	return delays
}

// missing returns the number of events that the subscriber has not received yet.
func (sub *subscriber) missing() (n int) {
	l, at := sub.crowd.ledger, sub.at.Load()
	_, head := l.newest()
	for _, topic := range sub.filter.topics {
		n += l.after(topic, head) - l.after(topic, at)
	}
	return n
}

func (s *soak) allReceived() error {
	return s.eventually(func() error {
		for _, sub := range append(s.honest, s.probes...) {
			if n := sub.missing(); n > 0 {
				return fmt.Errorf("%s, filter %q: %d events are missing", sub.route, sub.filter.patterns, n)
			}
		}
		return nil
	})
}

// othersGone checks that disconnected clients are no longer counted.
func (s *soak) othersGone() error {
	want := int64(len(s.honest) + len(s.probes))
	return s.eventually(func() error {
		if stats := s.broker.Stats(); stats.Connections != want || stats.Lag != 0 {
			return fmt.Errorf("%d streams for %d subscribers, %d bytes of lag", stats.Connections, want, stats.Lag)
		}
		return nil
	})
}

// exam checks that counts add up, now that every client receives everything.
func (s *soak) exam() error {
	before, received := s.broker.Stats(), s.received()
	const events = 200
	for i := range events {
		if err := s.ledger.publish(firstShard+i%(shards*shards), 100); err != nil {
			return err
		}
	}
	if err := s.allReceived(); err != nil {
		return err
	}
	return s.eventually(func() error {
		after := s.broker.Stats()
		counted, got := after.Delivered-before.Delivered, s.received()-received
		if counted != got || after.Published-before.Published != events || after.Written <= before.Written {
			return fmt.Errorf("of %d events, %d are counted as published; %d deliveries are counted, %d were received",
				events, after.Published-before.Published, counted, got)
		}
		return nil
	})
}

func (s *soak) received() (n int64) {
	for _, sub := range append(s.honest, s.probes...) {
		n += sub.events.Load()
	}
	return n
}

// emptied checks the broker after all clients have left.
func (s *soak) emptied() error {
	published := s.ledger.count(s.ledger.filter(">"))
	return s.eventually(func() error {
		stats := s.broker.Stats()
		switch {
		case stats.Connections != 0 || stats.Detached != 0 || stats.Lag != 0:
			return fmt.Errorf("no client is connected, but %d streams are counted, %d detached, %d bytes of lag", stats.Connections, stats.Detached, stats.Lag)
		case stats.Published != uint64(published):
			return fmt.Errorf("%d events were published, but %d are counted", published, stats.Published)
		case stats.Delivered < s.received(), stats.Replayed > stats.Delivered, stats.Gaps < s.crowd.gaps.Load():
			return fmt.Errorf("subscribers received %d events and all clients %d gaps, but Stats is %+v", s.received(), s.crowd.gaps.Load(), stats)
		}
		return s.drained()
	})
}

// drained checks that Drain returns at once on a broker without streams.
func (s *soak) drained() error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return s.broker.Drain(ctx, 0)
}

// eventually waits until check returns no error.
func (s *soak) eventually(check func() error) error {
	deadline := time.Now().Add(patience)
	for {
		err := check()
		if err == nil || time.Now().After(deadline) {
			return err
		}
		if cause := context.Cause(s.ctx); cause != nil && !errors.Is(cause, context.Canceled) {
			return cause // a fault, not the planned end
		}
		<-time.After(10 * time.Millisecond)
	}
}
