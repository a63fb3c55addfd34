package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

var (
	streamTime = flag.Duration("streamtime", 0, "compare random streams for this `duration`, instead of a fixed number")
	streamSeed = flag.Uint64("streamseed", 0, "the seed of the first stream")
)

// The streams that every run compares, and those compared between two looks at the clock.
const (
	fixedStreams = 200
	streamBatch  = 200
)

// The types that both implementations listen for. The last two are the server's own marks.
var streamTypes = []string{"message", "open", "error", "a", "A", "é", " a", "a ", "\ufeff", "�", "segment", "end"}

type streamDifference struct {
	Seed    uint64 `json:"seed"`
	Segment int    `json:"segment"`
	Name    string `json:"name"` // of ours
	Native  string `json:"native"`
	Ours    string `json:"ours"`
}

// TestStreams compares native and both of our engines on the same random bytes. To save connections, a stream has many
// random segments. A mark after each ends whatever the segment left open.
func TestStreams(t *testing.T) {
	t.Parallel()
	requireDist(t)
	mux := http.NewServeMux()
	mux.Handle("GET /", pages())
	mux.HandleFunc("GET /stream", serveRandomStream)
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	tab := openTab(t)
	t.Cleanup(tab.close)
	if err := chromedp.Do(tab, chromedp.Navigate(server.URL+"/harness/catalogue.html")); err != nil {
		t.Fatalf("opening the page: %v", err)
	}
	streams, segments := 0, 0
	for begin := time.Now(); ; {
		segments += compareStreams(t, tab, *streamSeed+uint64(streams))
		streams += streamBatch
		if t.Failed() || time.Since(begin) >= *streamTime && streams >= fixedStreams {
			break
		}
	}
	t.Logf("compared %d segments in %d streams from seed %d on", segments, streams, *streamSeed)
}

// compareStreams compares a batch of streams and returns its number of segments.
func compareStreams(t *testing.T, tab context.Context, first uint64) int {
	ctx, cancel := context.WithTimeout(tab, patience)
	defer cancel()
	batch, err := json.Marshal(map[string]any{"first": first, "count": streamBatch, "types": streamTypes})
	if err != nil {
		t.Fatal(err)
	}
	type result struct {
		Segments    int                `json:"segments"`
		Differences []streamDifference `json:"differences"`
	}
	expression := fmt.Sprintf(`import('/harness/streams.js').then(({ compare }) => compare(%s))`, batch)
	r, err := chromedp.Run(ctx, chromedp.Evaluate[result](expression, chromedp.EvalAwaitPromise))
	if err != nil {
		t.Fatalf("comparing the streams from seed %d on: %v", first, err)
	}
	if r.Segments < streamBatch {
		t.Errorf("%d segments arrived, want at least %d", r.Segments, streamBatch)
	}
	for _, d := range r.Differences {
		segment := []byte("the end of the stream")
		if segments, _ := randomStream(d.Seed); d.Segment < len(segments) {
			segment = segments[d.Segment]
		}
		t.Errorf("seed %d, segment %d: %.2000q\nnative %.2000s\n%s %.2000s", d.Seed, d.Segment, segment, d.Native, d.Name, d.Ours)
	}
	return r.Segments
}

// serveRandomStream answers the first request with the seed's stream. Each implementation gets different chunks, which must
// not matter. It answers the reconnection with the Last-Event-ID.
func serveRandomStream(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	if id := r.Header.Get("Last-Event-ID"); id != "" {
		fmt.Fprintf(w, "event: end\ndata: %x\n\n", id)
		return
	}
	seed, err := strconv.ParseUint(r.FormValue("seed"), 10, 64)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	segments, tail := randomStream(seed)
	var stream bytes.Buffer
	for i, segment := range segments {
		stream.Write(segment)
		fmt.Fprintf(&stream, "\n\nid\nevent: segment\ndata: %d\n\n", i)
	}
	stream.Write(tail)
	chunks := rand.New(rand.NewPCG(seed, uint64(len(r.FormValue("name")))))
	for rest := stream.Bytes(); len(rest) > 0; {
		n := 1 + chunks.IntN(len(rest))
		if chunks.IntN(4) == 0 {
			n = 1 + chunks.IntN(min(8, len(rest)))
		}
		w.Write(rest[:n])
		http.NewResponseController(w).Flush()
		rest = rest[n:]
	}
}

// randomStream makes the segments of a stream and its tail: an id, which marks the reconnection; the shortest reconnection
// time, since the segments set others; and an incomplete event, which must be ignored.
func randomStream(seed uint64) (segments [][]byte, tail []byte) {
	g := grammar{rand.New(rand.NewPCG(seed, 0))}
	for range 1 + g.IntN(40) {
		segments = append(segments, g.segment())
	}
	// Chromium loses the event after a byte order mark and a line end: see differences.json.
	for _, end := range []string{"\n", "\r"} {
		if bytes.HasPrefix(slices.Concat(segments[0], []byte("\n")), []byte("\ufeff"+end)) {
			segments[0] = segments[0][len("\ufeff"):]
		}
	}
	return segments, fmt.Appendf(nil, "id: x\nid: x%s\nretry: 1\n\nid: y\ndata: %s", g.text(), g.text())
}

// A grammar makes text that looks like an event stream, and mutilates parts of it.
type grammar struct{ *rand.Rand }

func pick[T any](g grammar, from ...T) T { return from[g.IntN(len(from))] }

func (g grammar) segment() []byte {
	var segment []byte
	if g.IntN(8) == 0 {
		segment = append(segment, "\ufeff"...)
	}
	end := pick(g, "\n", "\r", "\r\n")
	for range g.IntN(14) {
		segment = append(segment, g.line()...)
		segment = append(segment, end...)
		if g.IntN(4) == 0 {
			end = pick(g, "\n", "\r", "\r\n", "\n\r")
		}
	}
	if g.IntN(3) == 0 {
		for range 1 + g.IntN(4) {
			segment = g.mutate(segment)
		}
	}
	return segment
}

func (g grammar) line() string {
	switch g.IntN(8) {
	case 0, 1:
		return ""
	case 2:
		return "event" + g.separator() + pick(g, streamTypes[:len(streamTypes)-2]...)
	case 3:
		return "retry" + g.separator() + pick(g, "0", "1", "00", "-1", "1 ", "", "4294967296", "99999999999999999999", g.text())
	case 4:
		return pick(g, "id", "id", ":", "", "Data", "data ", " data", "dat", "datax", "idx", "\x00", "\ufeffdata") + g.separator() + g.text()
	default:
		return pick(g, "data", "data", "data", "id") + g.separator() + g.text()
	}
}

func (g grammar) separator() string {
	return pick(g, ":", ": ", ": ", ": ", ":  ", ":\t", "::", "", " : ")
}

func (g grammar) text() string {
	if g.IntN(500) == 0 {
		return strings.Repeat(pick(g, "x", "é", "💡", "\xff"), 1+g.IntN(70_000))
	}
	var text strings.Builder
	for range g.IntN(5) {
		text.WriteString(pick(g, atoms...))
	}
	return text.String()
}

// atoms are parts of values: UTF-8 of every length, and invalid UTF-8.
var atoms = []string{
	"a", "7", "xyz", " ", ":", "\t", "\x00", "\x01", "\x7f", "\v", "\u0085", "\u2028", "é", "✓", "💡", "\ufeff", "\uffff", "\U0010ffff",
	"data:", "a longer text of plain ASCII, of more than thirty-two bytes",
	"\xff", "\x80", "\xc3", "\xe2\x9c", "\xf0\x9f\x92", "\xc0\x80", "\xe0\x80\x80", "\xf4\x90\x80\x80", "\xf8\x88\x80\x80\x80",
	"\xed\xa0\xbd\xed\xb2\xa1", "\xed\xbf\xbf", "\xef\xbb", "\xef\xbf",
}

func (g grammar) mutate(b []byte) []byte {
	at := g.IntN(len(b) + 1)
	end := min(len(b), at+1+g.IntN(8))
	piece := bytes.Clone(b[at:end])
	switch g.IntN(4) {
	case 0:
		return append(b[:at:at], b[end:]...)
	case 1:
		return append(append(b[:at:at], pick(g, append(atoms, "\n", "\r", "\r\n", "\n\n")...)...), b[at:]...)
	case 2:
		return append(append(b[:end:end], piece...), b[end:]...)
	default:
		for i := range piece {
			piece[i] = byte(g.IntN(256))
		}
		return append(append(b[:at:at], piece...), b[end:]...)
	}
}
