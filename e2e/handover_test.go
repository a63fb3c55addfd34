package e2e

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"flag"
	"math/rand/v2"
	"os"
	"os/exec"
	"testing"

	"github.com/eventsource-wasm/eventsource-wasm/internal/nodetest"
	"github.com/eventsource-wasm/eventsource-wasm/sse"
)

var handOvers = flag.Int("handovers", 50, "the `number` of random streams to parse, with a hand-over at each byte")

// TestHandOvers compares three parsers on random streams: package sse, package sse in the module, and js/parser.js. At each
// byte, one of the last two hands over to the other and back. See harness/handover.mjs.
func TestHandOvers(t *testing.T) {
	t.Parallel()
	requireDist(t)
	nodetest.Require(t)
	const batch = 50
	for first := 0; first < *handOvers && !t.Failed(); first += batch {
		compareHandOvers(t, *streamSeed+uint64(first), min(batch, *handOvers-first))
	}
}

func compareHandOvers(t *testing.T, first uint64, count int) {
	var input bytes.Buffer
	streams := make([][]byte, count)
	for i := range streams {
		g := grammar{rand.New(rand.NewPCG(first+uint64(i), 1))}
		streams[i] = append(g.segment(), pick(g, "\n\n", "\r\r", "\r\n\r\n", "")...)
		binary.Write(&input, binary.LittleEndian, uint32(len(streams[i])))
		input.Write(streams[i])
	}
	cmd := exec.CommandContext(t.Context(), "node", "harness/handover.mjs")
	cmd.Stdin = &input
	cmd.Stderr = os.Stderr
	output, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v", cmd, err)
	}
	lines := bufio.NewScanner(bytes.NewReader(output))
	lines.Buffer(nil, len(output)+1)
	for i, stream := range streams {
		var result struct {
			Script      []any
			Differences []struct{ Name, Other string }
		}
		if !lines.Scan() {
			t.Fatalf("%d results for %d streams", i, count)
		}
		if err := json.Unmarshal(lines.Bytes(), &result); err != nil {
			t.Fatal(err)
		}
		script, want := marshal(t, result.Script), marshal(t, parsed(stream, i))
		if script != want {
			t.Errorf("seed %d: %.2000q\npackage sse %.2000s\nthe script  %.2000s", first+uint64(i), stream, want, script)
		}
		for _, d := range result.Differences {
			t.Errorf("seed %d: %.2000q\nthe script alone %.2000s\n%s: %.2000s", first+uint64(i), stream, script, d.Name, d.Other)
		}
	}
}

// parsed returns package sse's events for a stream, in the format of harness/handover.mjs.
func parsed(stream []byte, number int) []any {
	p := sse.Parser{Comments: number%3 == 2}
	if number%5 == 4 {
		p.MaxEventSize = 12
	}
	events := [][3]string{}
	for p.Feed(stream); p.Next(); {
		if text, ok := p.Comment(); ok {
			events = append(events, [3]string{"#", string(text), ""})
			continue
		}
		events = append(events, [3]string{string(p.Type()), string(p.Data()), string(p.LastEventID())})
	}
	failed, reconnectionTime := p.Err() != nil, float64(p.ReconnectionTime())
	if failed {
		reconnectionTime = 0
	}
	return []any{events, string(p.LastEventID()), failed, reconnectionTime}
}

func marshal(t *testing.T, value any) string {
	t.Helper()
	text, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
