package main

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

func TestStream(t *testing.T) {
	event := func(n int) string { return fmt.Sprintf("data: !%010d %019d xx\n\n", n, 1000+n) }
	chunk := func(data string) string { return fmt.Sprintf("%x\r\n%s\r\n", len(data), data) }
	const head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
	for _, test := range []struct {
		name, input string
		want        []int
		err         string
	}{
		{"an event a chunk", head + chunk(": \n") + chunk(event(1)) + chunk(event(2)), []int{1, 2}, ""},
		{"events in one chunk", head + chunk(event(7)+event(8)) + chunk(event(9)), []int{7, 8, 9}, ""},
		{"an event in two chunks", head + chunk(event(1)[:20]) + chunk(event(1)[20:]+event(2)), []int{1, 2}, ""},
		{"with a chunk's extension", head + "1c;a=b\r\n" + event(1)[:28] + "\r\n" + chunk(event(1)[28:]), []int{1}, ""},
		{"without chunks", "HTTP/1.1 200 OK\r\n\r\n" + event(1) + event(2), []int{1, 2}, ""},
		{"complete", head + chunk(event(1)) + "0\r\n\r\n", []int{1}, ""},
		{"lost", head + chunk(event(1)) + chunk(event(3)), []int{1}, "event 3 follows event 1"},
		{"twice", head + chunk(event(1)) + chunk(event(1)), []int{1}, "event 1 follows event 1"},
		{"refused", "HTTP/1.1 503 Service Unavailable\r\n\r\n", nil, "503"},
		{"no size", head + "g\r\n", nil, "size of a chunk"},
		{"no stamp", head + chunk("!"+strings.Repeat("y", 40)), nil, "no stamp"},
		{"after the end", head + "0\r\nx", nil, "follow the end"},
	} {
		for size := 1; size <= len(test.input); size++ {
			s := &stream{}
			var got []int
			on := func(n int, published int64) {
				if published != int64(1000+n) {
					t.Errorf("%s: event %d was published at %d", test.name, n, published)
				}
				got = append(got, n)
			}
			var err error
			for piece := range slices.Chunk([]byte(test.input), size) {
				if err = s.receive(piece, on); err != nil {
					break
				}
			}
			if !slices.Equal(got, test.want) || !matches(err, test.err) {
				t.Fatalf("%s, in pieces of %d: events %v, error %v; want %v, %q", test.name, size, got, err, test.want, test.err)
			}
		}
	}
}

func matches(err error, text string) bool {
	if err == nil || text == "" {
		return err == nil && text == ""
	}
	return strings.Contains(err.Error(), text)
}
