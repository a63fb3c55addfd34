package main

import (
	"bytes"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode/utf16"
)

// A workload is a stream and the way it is sent. Every source first gets one event that does not count.
type workload struct {
	name   string
	event  string // a format with a verb for its number
	count  int    // of events
	chunk  int    // bytes per write; zero means one event
	pace   time.Duration
	sample bool // measures memory: it takes long, and one round is enough

	sources int // streams that each event is sent on; zero means one
}

const small = "id: %07d\ndata: " + hundred + "\n\n"

const hundred = "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"

// workloads returns all workloads. Those that sustain a rate last for sustain.
func workloads(sustain time.Duration) []workload {
	const perSecond, burst = 20_000, 200
	bursts := int(sustain * perSecond / burst / time.Second)
	return []workload{
		{name: "small events", event: small, count: 30_000, chunk: 16 << 10},
		{name: "small events in CRLF", event: strings.ReplaceAll(small, "\n", "\r\n"), count: 30_000, chunk: 16 << 10},
		{name: "text beyond ASCII", event: "id: %07d\ndata: " + strings.Repeat("é✓😀x", 10) + "\n\n", count: 30_000, chunk: 16 << 10},
		{name: "ten lines of data", event: "id: %07d\n" + strings.Repeat("data: 0123456789\n", 10) + "\n", count: 10_000, chunk: 16 << 10},
		{name: "a chunk for each event", event: small, count: 2_000, pace: 100 * time.Microsecond},
		{name: "100 kB of JSON", event: "id: %07d\ndata: [" + strings.Repeat(`{"name":"value"},`, 6_000) + "0]\n\n", count: 150, chunk: 16 << 10},
		{name: "8 MiB in one event", event: "id: %07d\ndata: " + strings.Repeat("x", 8<<20) + "\n\n", count: 2, chunk: 4 << 10},
		{name: "20,000 events a second", event: small, count: bursts * burst, chunk: burst * len(fmt.Sprintf(small, 0)),
			pace: time.Second * burst / perSecond, sample: true},
		// Chromium opens at most 256 streams per HTTP/2 connection, whatever the server allows.
		{name: "200 sources, an event a second", event: small, count: max(2, int(sustain/time.Second)), pace: time.Second, sample: true, sources: 200},
	}
}

// stream returns all bytes but the first event's.
func (w workload) stream() []byte {
	var b bytes.Buffer
	for i := range w.count {
		fmt.Fprintf(&b, w.event, i)
	}
	return b.Bytes()
}

// streams returns the number of streams that each event is sent on.
func (w workload) streams() int { return max(1, w.sources) }

// units returns the length of all events' data in UTF-16 code units.
func (w workload) units() int {
	n := 0
	for line := range strings.Lines(w.event) {
		if data, found := strings.CutPrefix(line, "data: "); found {
			n += len(utf16.Encode([]rune(strings.TrimRight(data, "\r\n")))) + 1 // for the line feed
		}
	}
	return (n - 1) * w.count * w.streams()
}

// seconds returns the duration of sending at the workload's pace.
func (w workload) seconds() float64 {
	if !w.sample {
		return 0
	}
	writes := w.count
	if w.chunk > 0 {
		writes = len(w.stream()) / w.chunk
	}
	return w.pace.Seconds() * float64(writes)
}

// send writes the stream, each chunk at its time.
func (w workload) send(rw http.ResponseWriter, r *http.Request, stream []byte, begin <-chan struct{}) {
	rw.Header().Set("Content-Type", "text/event-stream")
	control := http.NewResponseController(rw)
	fmt.Fprint(rw, "data: first\n\n")
	control.Flush()
	select {
	case <-begin:
	case <-r.Context().Done():
		return
	}
	size := w.chunk
	if size == 0 {
		size = len(stream) / w.count
	}
	next := time.Now()
	for part := range slices.Chunk(stream, size) {
		if w.pace > 0 {
			next = next.Add(w.pace)
			time.Sleep(time.Until(next))
		}
		if _, err := rw.Write(part); err != nil || control.Flush() != nil {
			return
		}
	}
	<-r.Context().Done()
}
