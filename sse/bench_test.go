package sse

import (
	"fmt"
	"strings"
	"testing"
)

// BenchmarkParser parses streams of different events in chunks of different sizes. Compare MB/s: the cost of a byte must not
// grow with the size of its event.
func BenchmarkParser(b *testing.B) {
	text := "id: 1234567\ndata: " + strings.Repeat("x", 100) + "\n\n"
	for _, stream := range []struct{ name, text string }{
		{"small", strings.Repeat(text, 8<<10)},
		{"CRLF", strings.Repeat(strings.ReplaceAll(text, "\n", "\r\n"), 8<<10)},
		{"lines", strings.Repeat(strings.Repeat("data: some line of text\n", 40)+"\n", 1<<10)},
		{"nonASCII", strings.Repeat("data: "+strings.Repeat("é✓😀x", 10)+"\n\n", 8<<10)},
		{"8MiB", "data: " + strings.Repeat("x", 8<<20) + "\n\n"},
	} {
		for _, size := range []int{64 << 10, 16 << 10, 1 << 10, 64} {
			b.Run(fmt.Sprintf("%s/chunk=%d", stream.name, size), func(b *testing.B) {
				b.SetBytes(int64(len(stream.text)))
				var p Parser
				for b.Loop() {
					feed(&p, []byte(stream.text), size)
				}
			})
		}
	}
}

func feed(p *Parser, stream []byte, size int) (events int) {
	for len(stream) > 0 {
		n := min(size, len(stream))
		p.Feed(stream[:n])
		for p.Next() {
			events++
		}
		stream = stream[n:]
	}
	return events
}

func BenchmarkAppend(b *testing.B) {
	e := Event{ID: "1234567", Type: "tick", Data: strings.Repeat("x", 100)}
	var buffer []byte
	b.ReportAllocs()
	for b.Loop() {
		buffer, _ = Append(buffer[:0], e)
	}
}
