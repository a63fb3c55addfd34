package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"strings"
)

// The replayed history is larger than the buffers of the sockets of clients that stall. The buffers are limited, because the
// system's default is megabytes, which the kernel would hold for each client.
const (
	stalledHistory      = 2000
	stalledHistoryBytes = 1000
	stalledSendBuffer   = 32 << 10
)

// A burden is the cost of clients that stall in a replay for the others. The number of the others is the same with and
// without stalled clients.
type burden struct {
	Contestant string
	Honest     int // clients that read
	Stalled    int // clients that stall
	Without    costs
	With       costs
}

// Costs are the costs of the clients that read. Memory is for all clients.
type costs struct {
	CPU      float64 `json:",omitempty"` // µs per delivery, one event at a time
	P50, P99 float64 `json:",omitempty"` // ms
	Memory   float64 `json:",omitempty"` // MB in addition to the history
	Failed   string  `json:",omitempty"`
}

// runStalled measures half of the connections, first alone and then beside the other half, which requests the history and
// does not read it.
func runStalled(p plan, chosen []contestant, out string) error {
	var burdens []burden
	for _, n := range p.Connections {
		for _, c := range chosen {
			if c.name == "raw" || c.name == "nchan" { // raw has no history, and nchan publishes by requests
				continue
			}
			log.Printf("stalled in a replay: %d of %d connections, %s", n/2, n, c.name)
			c.sendBuffer = stalledSendBuffer
			b := burden{Contestant: c.name, Honest: n - n/2, Stalled: n / 2}
			b.Without = beside(p, c, b.Honest, 0)
			b.With = beside(p, c, b.Honest, b.Stalled)
			burdens = append(burdens, b)
		}
	}
	printBurdens(os.Stdout, burdens)
	if out == "" {
		return nil
	}
	text, err := json.MarshalIndent(burdens, "", "\t")
	if err != nil {
		return err
	}
	return os.WriteFile(out, append(text, '\n'), 0o644)
}

func beside(p plan, c contestant, honest, stalled int) (found costs) {
	err := with(c, stalledHistory, stalledHistoryBytes, func(i *instance) error { return found.measure(p, c, i, honest, stalled) })
	if err != nil {
		found.Failed = err.Error()
	}
	return found
}

func (found *costs) measure(p plan, c contestant, i *instance, honest, stalled int) error {
	path, id, err := resumption(c, i)
	if err != nil {
		return err
	}
	if err := publishAll(i, stalledHistory-1); err != nil {
		return err
	}
	before, err := idleMemory(i)
	if err != nil {
		return err
	}
	for n := range stalled {
		fd, err := open(i, path, id, byte(100+n/5000), 4<<10)
		if err != nil {
			return fmt.Errorf("stalled connection %d: %w", n+1, err)
		}
		defer reset(fd)
	}
	clients, err := dial(i, honest, p.Readers)
	if err != nil {
		return err
	}
	defer clients.close()
	clients.published = stalledHistory
	if err := clients.settle(i); err != nil {
		return err
	}
	m := &measurement{plan: p}
	if err := errors.Join(m.throughput(c, i, clients, 1), m.latency(c, i, clients)); err != nil {
		return err
	}
	found.CPU, found.P50, found.P99 = m.only(cpuPerDelivery), m.only(latencyMedian), m.only(latencyPercentile)
	after, err := idleMemory(i)
	found.Memory = float64(after-before) / 1e6
	return err
}

// resumption publishes the first event, and returns the path and id to resume after it.
func resumption(c contestant, i *instance) (path, id string, err error) {
	first, err := (&verdict{}).first(i)
	switch {
	case err != nil:
		return "", "", err
	case c.resume != "":
		return fmt.Sprintf(c.resume, epoch(first.data)), "", nil
	case first.id == "":
		return "", "", errors.New("has no ids")
	}
	return i.path, first.id, nil
}

// only returns a figure's only value.
func (m *measurement) only(f figure) float64 {
	for _, r := range m.results {
		if r.Figure == f {
			return r.Values[0]
		}
	}
	return 0
}

func printBurdens(w io.Writer, burdens []burden) {
	fmt.Fprintf(w, "| clients that read, clients that stall in a replay | %s | %s | %s | MB |\n|%s\n", cpuPerDelivery, latencyMedian, latencyPercentile, strings.Repeat(" --- |", 5))
	for _, b := range burdens {
		for _, row := range []struct {
			stalled int
			costs
		}{{0, b.Without}, {b.Stalled, b.With}} {
			fmt.Fprintf(w, "| %s, %d and %d | ", b.Contestant, b.Honest, row.stalled)
			if row.Failed != "" {
				fmt.Fprintf(w, "%s |\n", strings.ReplaceAll(row.Failed, "\n", "; "))
				continue
			}
			fmt.Fprintf(w, "%s | %s | %s | %.0f |\n", short(row.CPU), short(row.P50), short(row.P99), row.Memory)
		}
	}
}
