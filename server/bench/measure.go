package main

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// A plan says what to measure and for how long.
type plan struct {
	Rounds      int
	Connections []int
	Windows     []int
	Time        time.Duration // of a throughput measurement
	Latency     time.Duration // of a latency measurement, at 20 events per second
	Readers     int
}

const eventsPerSecond = 20

// A result is one figure of one contestant, with one value for each round that succeeded.
type result struct {
	Contestant  string
	Connections int
	Window      int `json:",omitempty"`
	Figure      figure
	Values      []float64
	Rounds      []int // the rounds of the values
}

type figure string

const (
	cpuPerDelivery    figure = "server CPU per delivery, µs"
	deliveryRate      figure = "deliveries/s"
	mallocsPerEvent   figure = "allocations per delivery"
	memoryPerClient   figure = "memory per idle connection, kB"
	latencyMedian     figure = "latency p50, ms"
	latencyPercentile figure = "latency p99, ms"
)

// latencyConnections is the number of connections at which latency is measured.
const latencyConnections = 1000

type measurement struct {
	plan    plan
	round   int
	results []*result
	missing map[string]string // why a contestant was skipped or failed
	log     func(format string, args ...any)
}

// run measures the contestants in turn, round after round, so that other load on the machine affects all of them. Every second
// round is in reverse order.
func (m *measurement) run(contestants []contestant) {
	for m.round = range m.plan.Rounds {
		for _, connections := range m.plan.Connections {
			order := slices.Clone(contestants)
			if m.round%2 == 1 {
				slices.Reverse(order)
			}
			for _, c := range order {
				if m.missing[c.name] != "" && !slices.ContainsFunc(m.results, func(r *result) bool { return r.Contestant == c.name }) {
					continue
				}
				m.log("round %d of %d: %d connections, %s", m.round+1, m.plan.Rounds, connections, c.name)
				if err := m.measure(c, connections); err != nil {
					m.missing[c.name] = fmt.Sprintf("with %d connections: %v", connections, err)
				}
			}
		}
	}
}

// measure starts a server and measures all figures with a number of connections.
func (m *measurement) measure(c contestant, connections int) (err error) {
	i, err := launch(c, 0, dataBytes)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, i.stop()) }()
	before, err := idleMemory(i)
	if err != nil {
		return err
	}
	clients, err := dial(i, connections, m.plan.Readers)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, clients.close()) }()
	if err := clients.settle(i); err != nil {
		return err
	}
	if err := m.memory(c, i, connections, before); err != nil {
		return err
	}
	for _, window := range m.plan.Windows {
		if err := m.throughput(c, i, clients, window); err != nil {
			return fmt.Errorf("window %d: %w", window, err)
		}
	}
	if connections == latencyConnections {
		return m.latency(c, i, clients)
	}
	return nil
}

func idleMemory(i *instance) (int64, error) {
	if err := i.free(); err != nil {
		return 0, err
	}
	return i.memory()
}

func (m *measurement) memory(c contestant, i *instance, connections int, before int64) error {
	after, err := idleMemory(i)
	if err != nil {
		return err
	}
	m.add(c, connections, 0, memoryPerClient, float64(after-before)/1000/float64(connections))
	return nil
}

func (m *measurement) throughput(c contestant, i *instance, clients *clients, window int) error {
	for begin := time.Now(); ; { // until caches, stacks and buffers have grown
		if err := clients.window(i, window); err != nil {
			return err
		}
		if time.Since(begin) > m.plan.Time/4 {
			break
		}
	}
	before, err := sample(i)
	if err != nil {
		return err
	}
	deliveries := 0
	for time.Since(before.at) < m.plan.Time {
		if err := clients.window(i, window); err != nil {
			return err
		}
		deliveries += window * clients.total
	}
	elapsed := time.Since(before.at)
	after, err := sample(i)
	if err != nil {
		return err
	}
	per := 1 / float64(deliveries)
	m.add(c, clients.total, window, deliveryRate, float64(deliveries)/elapsed.Seconds())
	m.add(c, clients.total, window, cpuPerDelivery, float64((after.cpu-before.cpu).Nanoseconds())/1000*per)
	if after.Mallocs > 0 && c.name != "raw" {
		m.add(c, clients.total, window, mallocsPerEvent, float64(after.Mallocs-before.Mallocs)*per)
	}
	return nil
}

type usage struct {
	figures
	cpu time.Duration
	at  time.Time
}

func sample(i *instance) (u usage, err error) {
	u.figures, err = i.figures()
	if err != nil {
		return u, err
	}
	u.cpu, err = i.cpu()
	u.at = time.Now()
	return u, err
}

func (m *measurement) latency(c contestant, i *instance, clients *clients) error {
	for _, r := range clients.readers {
		r.recording.Store(true)
	}
	ticker := time.NewTicker(time.Second / eventsPerSecond)
	defer ticker.Stop()
	for range int(m.plan.Latency.Seconds() * eventsPerSecond) {
		<-ticker.C
		if err := clients.publish(i, 1); err != nil {
			return err
		}
	}
	if err := clients.wait(); err != nil {
		return err
	}
	latencies := clients.recorded()
	slices.Sort(latencies)
	m.add(c, clients.total, 0, latencyMedian, milliseconds(latencies[len(latencies)/2]))
	m.add(c, clients.total, 0, latencyPercentile, milliseconds(latencies[len(latencies)*99/100]))
	return nil
}

func milliseconds(d time.Duration) float64 {
	return float64(d.Microseconds()) / 1000
}

func (m *measurement) add(c contestant, connections, window int, f figure, value float64) {
	for _, r := range m.results {
		if r.Contestant == c.name && r.Connections == connections && r.Window == window && r.Figure == f {
			r.Values, r.Rounds = append(r.Values, value), append(r.Rounds, m.round)
			return
		}
	}
	m.results = append(m.results, &result{c.name, connections, window, f, []float64{value}, []int{m.round}})
}
