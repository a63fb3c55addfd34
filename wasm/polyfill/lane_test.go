//go:build js && wasm

package main

import (
	"strings"
	"testing"
	"unicode/utf16"
	"unicode/utf8"
	"unsafe"

	"github.com/eventsource-wasm/eventsource-wasm/wasm/lifecycle"
)

func TestUTF16Length(t *testing.T) {
	for _, text := range []string{"", "a", "é", "✓", "😀", "\x00\x7f\u0080\u07ff\u0800\uffff\U00010000\U0010ffff", "a😀b✓cédefg😀😀😀"} {
		for n := range 20 {
			padded := strings.Repeat("x", n) + strings.Repeat(text, n)
			if got, want := utf16Length([]byte(padded)), int32(len(utf16.Encode([]rune(padded)))); got != want {
				t.Errorf("%q: %d, want %d", padded, got, want)
			}
		}
	}
}

// give passes a part of a stream to feed, like js/, and returns the events and the result.
func give(part string) (events []string, n int32) {
	copy(unsafe.Slice((*byte)(reserve(int32(len(part)))), len(part)), part)
	n = feed(1, int32(len(part)))
	units := utf16.Encode([]rune(string(output)))
	text := func(from, to int32) string { return string(utf16.Decode(units[from:to])) }
	start := int32(0)
	row := table
	for ; len(row) > 1; row = row[3:] {
		event := "#"
		if row[0] == comment {
			event += text(start, row[1])
		} else {
			event = text(start, row[0]) + "|" + text(row[0], row[1])
		}
		if start = row[1]; row[2] != unchanged {
			event += "|" + text(row[1], row[2])
			start = row[2]
		}
		events = append(events, event)
	}
	if row[0] != unchanged {
		events = append(events, "id "+text(start, row[0]))
	}
	return events, n
}

func open(t *testing.T, limit int) {
	s := &source{Source: lifecycle.New("http://a.example/")}
	s.Parser.MaxEventSize = limit
	sources[1] = s
	t.Cleanup(func() { delete(sources, 1) })
}

func TestFeed(t *testing.T) {
	open(t, 0)
	for _, tt := range []struct {
		part   string
		events string
	}{
		{"data: a\n\n", "|a"},
		{"id: 1\ndata: é😀\n\ndata: b\n\n", "|é😀|1, |b"},
		{"event: tick ✓\ndata: c\n\nid\ndata\n\n", "tick ✓|c, ||"},
		{"data: cut", ""},
		{" off\xE2\x82", ""},
		{"\xAC\n\n", "|cut off€"},
		{"data: \xE2\x82\n\ndata: \xAC\n\n", "|\uFFFD, |\uFFFD"},
		{"id: 2\n\n", "id 2"},
		{"id: 3\ndata: d\n\nid: é\n\nid: 4\n", "|d|3, id é"},
		{"\n:\n", "id 4"},
		{"data: e\n\n", "|e"},
	} {
		events, result := give(tt.part)
		if got := strings.Join(events, ", "); got != tt.events || int(result) != len(table)/3 || !utf8.Valid(output) {
			t.Errorf("%q: %q and %d, want %q", tt.part, got, result, tt.events)
		}
	}
}

func TestFeedReportsLimit(t *testing.T) {
	open(t, 2)
	events, result := give("data: a\n\ndata: abc\n\n")
	if len(events) != 1 || result != -2 {
		t.Errorf("%q and %d, want one event and -2", events, result)
	}
}

func TestLargeBuffersAreReleased(t *testing.T) {
	open(t, 0)
	reserve(2 * largestKept)
	if give("data: a\n\n"); len(input) > largestKept {
		t.Errorf("%d bytes of input are kept", len(input))
	}
	output = make([]byte, 2*largestKept)
	if give("data: a\n\n"); cap(output) > largestKept {
		t.Errorf("%d bytes of output are kept", cap(output))
	}
}

func TestFeedDoesNotAllocate(t *testing.T) {
	open(t, 0)
	part := strings.Repeat("id: 1\nevent: tick\ndata: text ✓\n\nid: 2\ndata: a\ndata: b\n\n", 50)
	copy(unsafe.Slice((*byte)(reserve(int32(len(part)))), len(part)), part)
	if n := testing.AllocsPerRun(10, func() { feed(1, int32(len(part))) }); n != 0 {
		t.Errorf("%v allocations for 100 events", n)
	}
}

// BenchmarkFeed measures the part of an event's work that Go does.
func BenchmarkFeed(b *testing.B) {
	text := strings.Repeat("x", 110)
	for _, stream := range []struct {
		name  string
		chunk int
		text  string
	}{
		{"small", 64 << 10, strings.Repeat("data: "+text+"\n\n", 138)},
		{"id", 64 << 10, strings.Repeat("id: 0123456789\ndata: "+text+"\n\nid: 1\ndata: "+text+"\n\n", 65)},
		{"beyondASCII", 64 << 10, strings.Repeat("data: "+strings.Repeat("é✓😀x", 11)+"\n\n", 138)},
		{"100kB", 64 << 10, "data: " + strings.Repeat("x", 100<<10) + "\n\n"},
		{"8MiB", 4 << 10, "data: " + strings.Repeat("x", 8<<20) + "\n\n"},
	} {
		b.Run(stream.name, func(b *testing.B) {
			sources[1] = &source{Source: lifecycle.New("http://a.example/")}
			b.Cleanup(func() { delete(sources, 1) })
			b.SetBytes(int64(len(stream.text)))
			for b.Loop() {
				for rest := stream.text; len(rest) > 0; {
					n := min(len(rest), stream.chunk)
					copy(unsafe.Slice((*byte)(reserve(int32(n))), n), rest)
					feed(1, int32(n))
					rest = rest[n:]
				}
			}
		})
	}
}

func TestFeedOfComments(t *testing.T) {
	open(t, 0)
	sources[1].Parser.Comments = true
	const part = ": é\nevent: a\n:\ndata: b\nid: 1\n\n:c\n: cut"
	if got, _ := give(part); strings.Join(got, ", ") != "#é, #, a|b|1, #c" {
		t.Errorf("give(%q) = %q, want both comments, the event, and the third comment", part, got)
	}
	if got, n := give(" off\n"); strings.Join(got, ", ") != "#cut off" || n != 1 {
		t.Errorf("the rest: %q and %d", got, n)
	}
}

// If the program ends, js/ parses the bytes after the part's last event again.
func TestFeedReportsRest(t *testing.T) {
	open(t, 0)
	for _, tt := range []struct {
		part  string
		rest  uint32
		retry uint32
		has   uint32
	}{
		{"data: a\n\n", 0, 3000, 0},
		{"data: a\n\ndata: b\n\n: c\nda", 6, 3000, 0},
		{"ta: d\nretry: 7\n", 15, 7, 1},
		{"\n", 0, 7, 1},
		{"id: 1\n\n", 7, 7, 1},
	} {
		give(tt.part)
		if got := [4]uint32(result[3:]); got != [4]uint32{tt.rest, tt.retry, 0, tt.has} {
			t.Errorf("%q: result %d, want rest %d, reconnection time %d, set %d", tt.part, got, tt.rest, tt.retry, tt.has)
		}
	}
}

func TestWakeAndResetOfSources(t *testing.T) {
	open(t, 0)
	give("data: half")
	reset(1)
	if got, _ := give("data: whole\n\n"); strings.Join(got, ", ") != "|whole" {
		t.Errorf("after reset: %q", got)
	}
	for _, unknown := range []func(int32){wake, reset} {
		unknown(2) // a source that has been closed
	}
}
