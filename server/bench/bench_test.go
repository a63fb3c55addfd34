package main

import (
	"bytes"
	"math"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestMain also runs as a server's process, like main.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "-serve" {
		main()
		return
	}
	os.Exit(m.Run())
}

// Every contestant that is installed must complete a short benchmark without losing events.
func TestBenchmark(t *testing.T) {
	p := plan{Rounds: 2, Connections: []int{10}, Windows: []int{1, 16}, Time: time.Millisecond, Readers: 2}
	m := &measurement{plan: p, missing: map[string]string{}, log: t.Logf}
	m.run(contestants)
	for name, why := range m.missing {
		if !strings.HasSuffix(why, errAbsent.Error()) {
			t.Errorf("%s is missing: %s", name, why)
		}
	}
	for _, r := range m.results {
		if len(r.Values) != p.Rounds {
			t.Errorf("%s has %d values of %q, want one per round", r.Contestant, len(r.Values), r.Figure)
		}
		for _, v := range r.Values {
			if positive := r.Figure != memoryPerClient && r.Figure != mallocsPerEvent; math.IsNaN(v) || positive && v <= 0 {
				t.Errorf("%s has %v of %q", r.Contestant, v, r.Figure)
			}
		}
	}
	var table bytes.Buffer
	newReport(m).print(&table)
	for _, c := range contestants {
		if !strings.Contains(table.String(), c.name) {
			t.Errorf("%s is not in the report", c.name)
		}
	}
}

func TestLatency(t *testing.T) {
	m := &measurement{plan: plan{Latency: 200 * time.Millisecond}}
	ours := contestants[1]
	i, err := launch(ours, 0, dataBytes)
	if err != nil {
		t.Fatal(err)
	}
	defer i.stop()
	clients, err := dial(i, 5, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer clients.close()
	if err := clients.settle(i); err != nil {
		t.Fatal(err)
	}
	if err := m.latency(ours, i, clients); err != nil {
		t.Fatal(err)
	}
	p50, p99 := m.results[0].Values[0], m.results[1].Values[0]
	if p50 <= 0 || p99 < p50 {
		t.Errorf("p50 is %v ms, p99 %v ms", p50, p99)
	}
}

// Contestants that support TLS must complete a short benchmark in HTTP/1.1 and HTTP/2, too.
func TestProtocols(t *testing.T) {
	for _, protocol := range []string{overTLS, http2TLS} {
		t.Run(protocol, func(t *testing.T) {
			p := plan{Rounds: 1, Connections: []int{5}, Windows: []int{1, 16}, Time: time.Millisecond, Readers: 1}
			m := &measurement{plan: p, missing: map[string]string{}, log: t.Logf}
			chosen, err := choose("")
			if err != nil {
				t.Fatal(err)
			}
			for i := range chosen {
				chosen[i].protocol = protocol
			}
			m.run(chosen)
			for name, why := range m.missing {
				if !strings.HasSuffix(why, errAbsent.Error()) {
					t.Errorf("%s: %s", name, why)
				}
			}
			for _, c := range chosen {
				if m.missing[c.name] == "" && !slices.ContainsFunc(m.results, func(r *result) bool {
					return r.Contestant == c.name && r.Figure == cpuPerDelivery && r.Values[0] > 0
				}) {
					t.Errorf("%s has no results", c.name)
				}
			}
		})
	}
}

// Clients that stall in a replay may slow down other clients, but must not cost them events.
func TestStalled(t *testing.T) {
	p := plan{Time: time.Millisecond, Latency: 200 * time.Millisecond, Readers: 1}
	for _, name := range []string{"ours", "ours, NoHijack"} {
		chosen, err := choose(name)
		if err != nil {
			t.Fatal(err)
		}
		c := chosen[0]
		c.sendBuffer = stalledSendBuffer
		if found := beside(p, c, 10, 20); found.Failed != "" || found.CPU <= 0 || found.P99 < found.P50 || found.P50 <= 0 {
			t.Errorf("%s: %+v, want no failure, a CPU time, and P99 ≥ P50 > 0", name, found)
		}
	}
}

func TestRatios(t *testing.T) {
	a := &result{Values: []float64{6, 8}, Rounds: []int{0, 2}} // failed in round 1
	b := &result{Values: []float64{2, 5, 4}, Rounds: []int{0, 1, 2}}
	if got := ratios(a, b); !slices.Equal(got, []float64{3, 2}) {
		t.Errorf("the ratios are %v", got)
	}
}

func TestMedian(t *testing.T) {
	for _, test := range []struct {
		values []float64
		want   float64
	}{{[]float64{3}, 3}, {[]float64{9, 1, 2}, 2}, {[]float64{4, 1, 3, 2}, 2.5}} {
		if got := median(test.values); got != test.want {
			t.Errorf("the median of %v is %v, want %v", test.values, got, test.want)
		}
	}
}
