package main

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
	"unicode/utf16"

	"github.com/eventsource-wasm/eventsource-wasm/sse"
)

// The counts that the page expects are those that a parser finds in the stream.
func TestWorkloads(t *testing.T) {
	for _, w := range workloads(2 * time.Second) {
		t.Run(w.name, func(t *testing.T) {
			events, units := 0, 0
			var parser sse.Parser
			parser.MaxEventSize = 16 << 20
			for parser.Feed(w.stream()); parser.Next(); events++ {
				units += len(utf16.Encode([]rune(string(parser.Data()))))
			}
			if parser.Err() != nil || events != w.count || units*w.streams() != w.units() {
				t.Errorf("error %v, %d events, %d units, want %d events, %d units", parser.Err(), events, units, w.count, w.units()/w.streams())
			}
		})
	}
}

// send sends every byte, in chunks of the given size.
func TestSend(t *testing.T) {
	w := workload{event: "data: %d\n\n", count: 100, chunk: 7}
	begin := make(chan struct{})
	close(begin)
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) { w.send(rw, r, w.stream(), begin) }))
	defer server.Close()
	response, err := http.Get(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	want := append([]byte("data: first\n\n"), w.stream()...)
	got := make([]byte, len(want))
	if _, err := io.ReadFull(response.Body, got); err != nil || !bytes.Equal(got, want) {
		t.Errorf("read %q (%v), want %q", got, err, want)
	}
	response.Body.Close()
}

func TestReport(t *testing.T) {
	if len(colors) != len(implementations) {
		t.Fatalf("%d colors for %d implementations", len(colors), len(implementations))
	}
	r := newReport()
	turn := func(cost time.Duration) figure { return figure{Processor: cost, Wall: 1, Memory: 2_000_000} }
	runs := map[string][]figure{"native": {turn(100), turn(400), turn(100)}, "ours": {turn(50), turn(100), turn(150)}}
	for _, name := range implementations[2:] {
		runs[name] = []figure{turn(200), turn(800), {Failure: "not all arrived: 1, 2"}}
	}
	r.add(workload{name: "<a>", count: 10}, runs)
	table := r.table()
	for _, want := range []string{"| <a> | 0.01 µs | **0.50** (0.25 to 1.50) |", " fails: not all arrived: 1, 2 |"} {
		if !strings.Contains(table, want) {
			t.Errorf("%q is not in\n%s", want, table)
		}
	}
	plot := r.plot()
	for _, want := range []string{"&lt;a&gt;", ">0.50<", ">fails<", fmt.Sprint(len(implementations)*barHeight + groupGap + plotTop)} {
		if !strings.Contains(plot, want) {
			t.Errorf("%q is not in the plot", want)
		}
	}
}
