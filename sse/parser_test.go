package sse

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"reflect"
	"runtime"
	"strings"
	"testing"
)

const replaced = "\uFFFD"

var streams = []struct {
	name   string
	stream string
	want   result
}{
	{"an event", "data: a\n\n", events("", "a", "")},
	{"lines end in CR", "data: a\rdata: b\r\r", events("", "a\nb", "")},
	{"lines end in CRLF", "data: a\r\ndata: b\r\n\r\n", events("", "a\nb", "")},
	{"line ends mix", "data: a\ndata: b\r\ndata: c\r\n\r", events("", "a\nb\nc", "")},
	{"LF CR is two line ends", "data: a\n\rdata: b\n\n", events("", "a", "", "", "b", "")},
	{"no blank line, no event", "data: a\n", none()},
	{"no line end, no event", "data: a\n\ndata: b", events("", "a", "")},
	{"an event type", "event: tick\ndata: a\n\ndata: b\n\n", events("tick", "a", "", "", "b", "")},
	{"the last event type counts", "event: a\nevent: b\ndata\n\n", events("b", "", "")},
	{"a type without data is dropped", "event: tick\n\ndata: a\n\n", events("", "a", "")},
	{"empty data is data", "data\n\ndata:\n\ndata: \n\n", events("", "", "", "", "", "", "", "", "")},
	{"two empty lines of data", "data\ndata\n\n", events("", "\n", "")},
	{"data ends in an empty line", "data: a\ndata\n\n", events("", "a\n", "")},
	{"data begins with an empty line", "data\ndata: a\n\n", events("", "\na", "")},
	{"one space is removed", "data:  a \n\n", events("", " a ", "")},
	{"a tab is kept", "data:\ta\n\n", events("", "\ta", "")},
	{"data beside data", "data:a\ndata: b\nid:1\nid: 2\n\n", id("2", "", "a\nb", "2")},
	{"names with a common prefix", "dat:a\ndata\ni:1\nid\nidx: 1\ndatab: c\n\n", events("", "", "")},
	{"data of a space", "data:  \n\n", events("", " ", "")},
	{"colons in the value", "data: a: b\n\ndata::\n\n", events("", "a: b", "", "", ":", "")},
	{"comments", ": a\n:\ndata: b\n:data: c\n\n", events("", "b", "")},
	{"unknown fields", "Data: a\n data: b\ndata : c\ndatax: d\ndat: e\nfoobar\n\ndata: f\n\n", events("", "f", "")},
	{"a long unknown field", strings.Repeat("x", 1000) + ": data: a\ndata: b\n\n", events("", "b", "")},
	{"an id", "id: 1\ndata: a\n\ndata: b\n\n", id("1", "", "a", "1", "", "b", "1")},
	{"an id without data is kept", "id: 1\n\ndata: a\n\n", id("1", "", "a", "1")},
	{"an id without a blank line is lost", "id: 1\n\nid: 2\ndata: a\n", id("1")},
	{"an empty id resets", "id: 1\ndata: a\n\nid\ndata: b\n\n", events("", "a", "1", "", "b", "")},
	{"an id with NUL is ignored", "id: 1\nid: 2\x003\ndata: a\n\n", id("1", "", "a", "1")},
	{"an id keeps its spaces", "id:  1 \n\n", id(" 1 ")},
	{"the last id counts", "id: 1\nid: 2\ndata: a\n\n", id("2", "", "a", "2")},
	{"retry", "retry: 10\n", retry(10)},
	{"retry needs a line end", "retry: 10", none()},
	{"retry with leading zeros", "retry:0010\n", retry(10)},
	{"retry zero", "retry: 0\n", retry(0)},
	{"retry with a sign", "retry: +1\nretry: -1\n", none()},
	{"retry with spaces", "retry:  1\nretry: 1 \nretry: 1 2\n", none()},
	{"retry with other digits", "retry: 0x1\nretry: 1e3\nretry: 1.5\nretry: ١\n", none()},
	{"retry empty is the default", "retry: 10\nretry\n", none()},
	{"retry at 64 bits", "retry: 18446744073709551615\n", retry(1<<64 - 1)},
	{"retry beyond 64 bits", "retry: 5\nretry: 18446744073709551616\n", retry(5)},
	{"a BOM", "\uFEFFdata: a\n\n", events("", "a", "")},
	{"a BOM before a line end", "\uFEFF\ndata: a\n\n", events("", "a", "")},
	{"a second BOM is a name", "\uFEFF\uFEFFdata: a\ndata: b\n\n", events("", "b", "")},
	{"a BOM in the stream is data", "data: \uFEFFa\n\n", events("", "\uFEFFa", "")},
	{"a BOM after a line is a name", "\n\uFEFFdata: a\n\n", none()},
	{"half a BOM is a name", "\xEF\xBBdata: a\ndata: b\n\n", events("", "b", "")},
	{"half a BOM alone on a line", "\xEF\xBB\ndata: b\n\n", events("", "b", "")},
	{"ill-formed UTF-8", "data: \xE2\x82|\xFF|\xC0\x80|\xF0\x9F\x98\n\n", events("", replaced+"|"+replaced+"|"+replaced+replaced+"|"+replaced, "")},
	{"surrogates in UTF-8", "data: \xED\xA0\x80\n\n", events("", replaced+replaced+replaced, "")},
	{"a cut sequence and its rest", "data: \xE2\x82\ndata: \xAC\n\n", events("", replaced+"\n"+replaced, "")},
	{"ill-formed type and id", "event: \xFF\nid: \xFF\ndata: a\n\n", id(replaced, replaced, "a", replaced)},
	{"NUL in data", "data: a\x00b\n\n", events("", "a\x00b", "")},
}

func none() result { return result{ReconnectionTime: DefaultReconnectionTime} }

func retry(ms uint64) result { return result{ReconnectionTime: ms} }

// events takes type, data and last event ID of each event.
func events(fields ...string) result {
	r := none()
	for i := 0; i < len(fields); i += 3 {
		r.Events = append(r.Events, received{fields[i], fields[i+1], fields[i+2]})
		r.LastEventID = fields[i+2]
	}
	return r
}

func id(last string, fields ...string) result {
	r := events(fields...)
	r.LastEventID = last
	return r
}

func TestParser(t *testing.T) {
	for _, tt := range streams {
		t.Run(tt.name, func(t *testing.T) {
			if got := interpret(tt.stream); !reflect.DeepEqual(got, tt.want) {
				t.Fatalf("the table disagrees with the reference: reference\n%+v, table\n%+v", got, tt.want)
			}
			for _, chunks := range cuts(tt.stream) {
				if got := parse(new(Parser), chunks...); !reflect.DeepEqual(got, tt.want) {
					t.Errorf("%q:\n got %+v\nwant %+v", chunks, got, tt.want)
				}
			}
		})
	}
}

// cuts returns the stream as a whole, in single bytes, and cut in two at every position.
func cuts(stream string) [][]string {
	all := [][]string{{stream}, strings.Split(stream, "")}
	if len(stream) > 200 {
		return all
	}
	bytewise := make([]string, len(stream))
	for i := range stream {
		all = append(all, []string{stream[:i], stream[i:]})
	}
	for i := range len(stream) {
		bytewise[i] = stream[i : i+1]
	}
	return append(all, bytewise)
}

func TestCRDispatchesAtOnce(t *testing.T) {
	var p Parser
	if got := parse(&p, "data: a\r\r"); len(got.Events) != 1 {
		t.Errorf("%d events before the byte after the CR, want 1", len(got.Events))
	}
	if got := parse(&p, "\ndata: b\r\n\r"); len(got.Events) != 1 {
		t.Errorf("%d events, want 1", len(got.Events))
	}
}

func TestComments(t *testing.T) {
	const stream = "\uFEFF: a\n:\ndata: 1\r\n::b \r\ndata: 2\r: \xFFé\r\rid: 3\n:  c\n\n: no end"
	want := []string{"#a", "#", "#:b ", "#\uFFFDé", "1\n2", "# c"}
	for size := 1; size <= len(stream); size++ {
		p := Parser{Comments: true}
		p.Reset()
		var got []string
		for rest := []byte(stream); len(rest) > 0; rest = rest[min(size, len(rest)):] {
			for p.Feed(rest[:min(size, len(rest))]); p.Next(); {
				if text, ok := p.Comment(); ok {
					got = append(got, "#"+string(text))
				} else {
					got = append(got, string(p.Data()))
				}
			}
		}
		if !reflect.DeepEqual(got, want) || string(p.LastEventID()) != "3" {
			t.Errorf("in chunks of %d: %q and id %q, want %q", size, got, p.LastEventID(), want)
		}
	}
}

func TestCommentLimit(t *testing.T) {
	for _, size := range []int{1, 20} {
		p := Parser{Comments: true, MaxEventSize: 4}
		for rest := []byte(":1234\n:12345\n:6\n"); len(rest) > 0; rest = rest[min(size, len(rest)):] {
			p.Feed(rest[:min(size, len(rest))])
			for p.Next() {
				if text, _ := p.Comment(); string(text) != "1234" {
					t.Errorf("in chunks of %d: %q", size, text)
				}
			}
		}
		if !errors.Is(p.Err(), ErrEventTooLarge) {
			t.Errorf("in chunks of %d: %v", size, p.Err())
		}
	}
}

func TestResetKeepsIDAndReconnectionTime(t *testing.T) {
	var p Parser
	parse(&p, "id: 1\nretry: 7\ndata: a\n\nid: 2\nevent: x\ndata: half")
	p.Reset()
	want := id("1", "", "b", "1")
	want.ReconnectionTime = 7
	if got := parse(&p, "\uFEFFdata: b\n\n"); !reflect.DeepEqual(got, want) {
		t.Errorf("after Reset\n got %+v\nwant %+v", got, want)
	}
}

func TestSetLastEventID(t *testing.T) {
	var p Parser
	p.SetLastEventID("9")
	if got, want := parse(&p, "data: a\n\n"), events("", "a", "9"); !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestEventSizeLimit(t *testing.T) {
	long := strings.Repeat("x", 100)
	for _, tt := range []struct {
		name, stream string
		events       int
		fails        bool
	}{
		{"data at the limit", "data:" + long + "\n\n", 1, false},
		{"data over it", "data: a\n\ndata:" + long + "y\n\n", 1, true},
		{"data in lines", "data: a\n\n" + strings.Repeat("data:xxxxxxxxx\n", 11) + "\n", 1, true},
		{"a type", "event:" + long + "y\ndata\n\n", 0, true},
		{"an id", "id:" + long + "y\ndata\n\n", 0, true},
		{"a comment", ":" + long + long + "\ndata\n\n", 1, false},
		{"an unknown field", "x:" + long + long + "\ndata\n\n", 1, false},
		{"events together", strings.Repeat("data:"+long+"\n\n", 5), 5, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, chunks := range [][]string{{tt.stream}, strings.Split(tt.stream, "")} {
				p := Parser{MaxEventSize: len(long)}
				got := parse(&p, chunks...)
				if len(got.Events) != tt.events || errors.Is(p.Err(), ErrEventTooLarge) != tt.fails {
					t.Errorf("%d events, error %v; want %d, failing %v", len(got.Events), p.Err(), tt.events, tt.fails)
				}
			}
		})
	}
	t.Run("no event after an error", func(t *testing.T) {
		p := Parser{MaxEventSize: 1}
		if got := parse(&p, "data: ab\n\n", "data: a\n\n"); len(got.Events) != 0 {
			t.Errorf("events after the error: %+v", got.Events)
		}
		p.Reset()
		if got := parse(&p, "data: a\n\n"); len(got.Events) != 1 || p.Err() != nil {
			t.Errorf("after Reset: %+v, %v", got, p.Err())
		}
	})
}

// A line of a gigabyte uses no more memory than the limit allows.
func TestEndlessLineKeepsMemoryFlat(t *testing.T) {
	chunk := []byte(strings.Repeat("x", 64<<10))
	for _, start := range []string{"data: ", ": ", "unknown: ", "", "id: ", "retry: "} {
		p := Parser{MaxEventSize: 1 << 20}
		p.Feed([]byte(start))
		p.Next()
		before := heap()
		for range 16 << 10 {
			p.Feed(chunk)
			if p.Next() {
				t.Fatal("an unexpected event")
			}
		}
		if grown := int64(heap()) - int64(before); grown > 4<<20 {
			t.Errorf("a line that begins with %q: the heap grew by %d bytes", start, grown)
		}
		runtime.KeepAlive(&p)
	}
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func TestLargeEventIsNotPinned(t *testing.T) {
	var p Parser
	before := heap()
	parse(&p, "data: "+strings.Repeat("x", 8<<20), "\n\n", "data: a\n\n")
	if grown := int64(heap()) - int64(before); grown > 2*keepStorage {
		t.Errorf("%d bytes in use after an event of 8 MiB has been read", grown)
	}
	runtime.KeepAlive(&p)
}

func TestNoAllocationPerEvent(t *testing.T) {
	chunk := []byte(strings.Repeat("id: 12345\nevent: tick\ndata: some text\n\n", 100))
	for _, size := range []int{len(chunk), 16, 1} {
		var p Parser
		read := func() {
			for rest := chunk; len(rest) > 0; rest = rest[min(size, len(rest)):] {
				p.Feed(rest[:min(size, len(rest))])
				for p.Next() {
				}
			}
		}
		read()
		if n := testing.AllocsPerRun(10, read); n != 0 {
			t.Errorf("in chunks of %d: %v allocations for 100 events", size, n)
		}
	}
}

func FuzzParser(f *testing.F) {
	for i, tt := range streams {
		f.Add(tt.stream, uint64(i))
	}
	f.Fuzz(func(t *testing.T, stream string, seed uint64) {
		want := interpret(stream)
		chunks := randomCuts(stream, seed)
		if got := parse(new(Parser), chunks...); !reflect.DeepEqual(got, want) {
			t.Errorf("%q:\n got %+v\nwant %+v", chunks, got, want)
		}
	})
}

func randomCuts(stream string, seed uint64) (chunks []string) {
	random := rand.New(rand.NewPCG(seed, 0))
	longest := 1 + random.IntN(len(stream)+1)
	for len(stream) > 0 {
		n := min(random.IntN(longest+1), len(stream))
		chunks = append(chunks, stream[:n])
		stream = stream[n:]
	}
	return chunks
}

// TestLineEnd puts the end of a line at every position, next to bytes that could be mistaken for one.
func TestLineEnd(t *testing.T) {
	for _, filler := range []string{"x", "\x00", "\t", "\x0b\x0c", "\x8a\x8d", "\x0e\xff"} {
		for length := range 100 {
			line := strings.Repeat(filler, length)[:length]
			for _, end := range []string{"", "\n", "\r", "\n\r", "\r\n", "\nx\r", "\x0e\n"} {
				b := []byte(line + end + strings.Repeat(filler, 40))
				want := bytes.IndexAny(b, "\r\n")
				if want < 0 {
					want = len(b)
				}
				if got := lineEnd(b); got != want {
					t.Errorf("lineEnd(%q): %d, want %d", b, got, want)
				}
			}
		}
	}
}

// A parser that resumes the state of another one continues like it.
func TestResume(t *testing.T) {
	for _, tt := range []struct {
		state State
		rest  string
		want  string // type, data and last event ID of the event
	}{
		{State{}, "\ufeffdata: a\n\n", "|a|"},
		{State{BOM: 1}, "\xbb\xbfdata: a\n\n", "|a|"},
		{State{BOM: 3, AfterCR: true, DataLines: 1, Data: []byte("a")}, "\n\n", "|a|"},
		{State{BOM: 3, Line: []byte("data: a")}, "b\n\n", "|ab|"},
		{State{Line: []byte("da")}, "ta: b\n\n", "|b|"},
		{State{BOM: 3, DataLines: 2, Data: []byte("a\n"), EventType: []byte("t"), LastEventID: []byte("1")}, "data: c\n\n", "t|a\n\nc|1"},
		{State{BOM: 3, IDBuffer: []byte("2"), IDChanged: true, LastEventID: []byte("1"), Line: []byte("ignored")}, "x\ndata\n\n", "||2"},
	} {
		p := Parser{}
		p.Feed([]byte("data: other\nid: other\n"))
		p.Next()
		p.Resume(tt.state)
		p.Feed([]byte(tt.rest))
		if !p.Next() {
			t.Errorf("%+v and %q: no event", tt.state, tt.rest)
		}
		if got := string(p.Type()) + "|" + string(p.Data()) + "|" + string(p.LastEventID()); got != tt.want {
			t.Errorf("%+v and %q: %q, want %q", tt.state, tt.rest, got, tt.want)
		}
	}
	p := Parser{}
	p.Resume(State{HasReconnectionTime: true, ReconnectionTime: 7})
	if got := p.ReconnectionTime(); got != 7 {
		t.Errorf("reconnection time %d, want 7", got)
	}
}

func TestRest(t *testing.T) {
	p := Parser{}
	p.Feed([]byte("data: a\n\ndata: b"))
	if !p.Next() || string(p.Rest()) != "data: b" {
		t.Errorf("the rest is %q", p.Rest())
	}
}

// An ignored id does not count toward the size of its event, wherever it is cut.
func TestIgnoredIDHasNoSize(t *testing.T) {
	const stream = "id: 1234567\x00\nevent: type\ndata: a\n\n"
	for cut := range len(stream) {
		p := Parser{MaxEventSize: 12}
		events := 0
		for _, chunk := range []string{stream[:cut], stream[cut:]} {
			for p.Feed([]byte(chunk)); p.Next(); events++ {
			}
		}
		if events != 1 || p.Err() != nil {
			t.Errorf("cut at %d: %d events, %v", cut, events, p.Err())
		}
	}
}
