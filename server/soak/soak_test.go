package main

import (
	"os"
	"testing"
	"time"
)

// TestSoak is a short soak with few clients, for make test.
func TestSoak(t *testing.T) {
	p := plan{duration: 20 * time.Second, clients: 150, honest: 30, seed: uint64(time.Now().UnixNano()), log: t.Logf}
	report, err := p.run()
	report.print(os.Stdout)
	if err != nil {
		t.Fatalf("seed %d: %v", p.seed, err)
	}
	for i, n := range report.episodes {
		if n == 0 {
			t.Errorf("no client of the kind ran: %s", kinds[i].name)
		}
	}
}
