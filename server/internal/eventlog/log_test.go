package eventlog

import (
	"errors"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/eventsource-wasm/eventsource-wasm/server/internal/topic"
	"github.com/eventsource-wasm/eventsource-wasm/sse"
)

var unlimited = Limits{Events: -1, Bytes: -1, Age: -1, EventBytes: -1, Pinned: -1}

func newTestLog(limits Limits) *Log { return New(limits, false, nil) }

func filterFor(t *testing.T, topics ...string) *topic.Filter {
	t.Helper()
	f, err := new(topic.Registry).Acquire(topics, nil, -1)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func fill(t *testing.T, l *Log, count int, data string) {
	t.Helper()
	for range count {
		if _, err := l.Append("t", sse.Event{Data: data}); err != nil {
			t.Fatal(err)
		}
	}
}

// readAll reads to the head and returns the text, and the gaps met on the way.
func readAll(t *testing.T, l *Log, c *Cursor) (text string, gaps []*Gap) {
	t.Helper()
	var b strings.Builder
	for {
		p, err := l.Read(c, nil)
		if err != nil {
			t.Fatal(err)
		}
		if p.Wait {
			return b.String(), gaps
		}
		if p.Gap != nil {
			gaps = append(gaps, p.Gap)
		}
		for run := range p.Runs(nil) {
			b.Write(run)
		}
	}
}

func firstKept(l *Log) (sequence uint64, events int, bytes int64) {
	published, events, bytes := l.Figures()
	return published - uint64(events) + 1, events, bytes
}

func TestRetention(t *testing.T) {
	block, err := sse.Append(nil, sse.Event{ID: "12345678-1", Data: "x"})
	if err != nil {
		t.Fatal(err)
	}
	size := int64(len(block)) // of the events 1 to 9
	tests := map[string]struct {
		limits Limits
		append int
		first  uint64
	}{
		"nothing":            {Limits{5, -1, -1, -1, -1, 0}, 0, 1},
		"within the count":   {Limits{5, -1, -1, -1, -1, 0}, 5, 1},
		"over the count":     {Limits{5, -1, -1, -1, -1, 0}, 8, 4},
		"within the bytes":   {Limits{-1, 4 * size, -1, -1, -1, 0}, 4, 1},
		"over the bytes":     {Limits{-1, 4*size - 1, -1, -1, -1, 0}, 4, 2},
		"newest stays":       {Limits{-1, 1, -1, -1, -1, 0}, 9, 9},
		"newest stays, none": {Limits{0, -1, -1, -1, -1, 0}, 9, 9},
		"unlimited":          {unlimited, 9, 1},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			l := newTestLog(test.limits)
			fill(t, l, test.append, "x")
			first, events, bytes := firstKept(l)
			if first != test.first {
				t.Errorf("first kept is %d, want %d", first, test.first)
			}
			if bytes != int64(events)*size {
				t.Errorf("%d bytes for %d events", bytes, events)
			}
		})
	}
}

func TestRetentionByAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newTestLog(Limits{-1, -1, time.Minute, -1, -1, 0})
		fill(t, l, 2, "old")
		<-time.After(time.Minute)
		if _, events, _ := firstKept(l); events != 2 {
			t.Errorf("%d events kept at the limit, want 2", events)
		}
		fill(t, l, 1, "new")
		<-time.After(time.Nanosecond)
		if first, events, _ := firstKept(l); first != 3 || events != 1 {
			t.Errorf("%d events kept from %d, want 1 from 3", events, first)
		}
		<-time.After(time.Minute)
		if first, events, bytes := firstKept(l); first != 4 || events != 0 || bytes != 0 {
			t.Errorf("%d events of %d bytes kept from %d, want none from 4", events, bytes, first)
		}
		if len(l.segments) != 0 {
			t.Errorf("%d empty segments are kept", len(l.segments))
		}
		// Dropped events must not prevent new ones.
		c, _ := l.Seek("", Policy{MaxLag: -1})
		fill(t, l, 1, "again")
		if text, gaps := readAll(t, l, &c); !strings.Contains(text, "data: again\n") || len(gaps) > 0 {
			t.Errorf("read %q and %d gaps", text, len(gaps))
		}
	})
}

func TestMemoryIsReleased(t *testing.T) {
	l := newTestLog(Limits{-1, 4 * SegmentBytes, -1, -1, -1, 0})
	fill(t, l, 1000, strings.Repeat("x", 4000))
	held := 0
	for _, s := range l.segments {
		held += cap(s.data)
	}
	if held > 6*SegmentBytes {
		t.Errorf("%d bytes are held for a limit of %d", held, 4*SegmentBytes)
	}
}

func TestLocate(t *testing.T) {
	l := newTestLog(Limits{3, -1, -1, -1, -1, 0})
	fill(t, l, 10, "x") // keeps 8, 9 and 10
	id := func(sequence string) string { return l.epoch + "-" + sequence }
	tests := map[string]struct {
		next   uint64
		reason string
	}{
		"":                              {11, ""},
		id("10"):                        {11, ""},
		id("8"):                         {9, ""},
		id("7"):                         {8, ""}, // nothing is missing before the first one kept
		id("6"):                         {8, Expired},
		id("0"):                         {8, Expired},
		id("11"):                        {8, Future},
		id("18446744073709551615"):      {8, Future},
		"other-9":                       {8, Epoch},
		id("18446744073709551616"):      {8, Malformed},
		id("09"):                        {8, Malformed},
		id("+9"):                        {8, Malformed},
		id("9 "):                        {8, Malformed},
		id(""):                          {8, Malformed},
		id("-9"):                        {8, Malformed},
		l.epoch:                         {8, Malformed},
		"-9":                            {8, Malformed},
		"9":                             {8, Malformed},
		"<script>alert('\u2028')":       {8, Malformed},
		strings.Repeat("long", 1000):    {8, Malformed},
		"e2b4a0d8-58cc-4372-a567-0e02b": {8, Malformed},
	}
	for id, test := range tests {
		t.Run(id, func(t *testing.T) {
			c, g := l.Seek(id, Policy{MaxLag: -1})
			if c.Next != test.next {
				t.Errorf("continues with %d, want %d", c.Next, test.next)
			}
			if (g == nil) != (test.reason == "") {
				t.Fatalf("gap %v, want %q", g, test.reason)
			}
			if g == nil {
				return
			}
			want := Gap{Requested: id[:min(len(id), maxRequested)], First: l.epoch + "-8", Reason: test.reason, id: l.epoch + "-7"}
			if *g != want {
				t.Errorf("gap %+v, want %+v", *g, want)
			}
		})
	}
}

// With any size of segments, every reader gets the same bytes, in the order of their publication.
func TestReadAcrossSegments(t *testing.T) {
	l := newTestLog(unlimited)
	live, _ := l.Seek("", Policy{MaxLag: -1})
	var want, got strings.Builder
	for i := range 300 {
		event := sse.Event{Type: "t", Data: strings.Repeat("d", i*i%9000)}
		if i%100 == 50 {
			event.Data = strings.Repeat("e", 3*SegmentBytes)
		}
		id, err := l.Append("t", event)
		if err != nil {
			t.Fatal(err)
		}
		event.ID = id
		block, err := sse.Append(nil, event)
		if err != nil {
			t.Fatal(err)
		}
		want.Write(block)
		if i%7 == 0 {
			text, _ := readAll(t, l, &live)
			got.WriteString(text)
		}
	}
	text, _ := readAll(t, l, &live)
	got.WriteString(text)
	replay, _ := l.Seek(l.epoch+"-0", Policy{MaxLag: -1})
	all, _ := readAll(t, l, &replay)
	if got.String() != want.String() || all != want.String() {
		t.Errorf("live read %d bytes, replayed %d, want %d", got.Len(), len(all), want.Len())
	}
	if live.Position != l.head || replay.Position != l.head {
		t.Errorf("positions %d and %d, want %d", live.Position, replay.Position, l.head)
	}
}

func TestOvertakenByRetention(t *testing.T) {
	l := newTestLog(Limits{2, -1, -1, -1, -1, 0})
	c, _ := l.Seek("", Policy{MaxLag: -1})
	fill(t, l, 5, "x")
	text, gaps := readAll(t, l, &c)
	want := Gap{Requested: l.epoch + "-0", First: l.epoch + "-4", Reason: Expired, id: l.epoch + "-3"}
	if len(gaps) != 1 || *gaps[0] != want {
		t.Fatalf("gaps %v, want %v", gaps, want)
	}
	if strings.Count(text, "data: x\n") != 2 {
		t.Errorf("read %q", text)
	}
}

func TestLag(t *testing.T) {
	const maxLag = 1000
	events := func(n int) string { return strings.Repeat("x", n) }
	tests := map[string]struct {
		before func(*Log, *Cursor) // the reader reads
		after  int                 // bytes of data published then
		lags   bool
	}{
		"history does not count": {func(l *Log, c *Cursor) {
			fill(t, l, 1, events(5*maxLag))
			*c, _ = l.Seek(l.epoch+"-0", Policy{MaxLag: maxLag})
		}, 900, false},
		"events after history count": {func(l *Log, c *Cursor) {
			fill(t, l, 1, events(5*maxLag))
			*c, _ = l.Seek(l.epoch+"-0", Policy{MaxLag: maxLag})
		}, 1001, true},
		"a burst does not count": {func(l *Log, c *Cursor) {
			l.Read(c, nil)
			fill(t, l, 10, events(maxLag))
			l.Read(c, nil)
		}, 900, false},
		"events after a burst count": {func(l *Log, c *Cursor) {
			l.Read(c, nil)
			fill(t, l, 10, events(maxLag))
			l.Read(c, nil)
		}, 1001, true},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			l := newTestLog(unlimited)
			c, _ := l.Seek("", Policy{MaxLag: maxLag})
			test.before(l, &c)
			fill(t, l, 1, events(test.after))
			next := c.Next
			_, err := l.Read(&c, nil)
			if got := errors.Is(err, ErrLag); got != test.lags {
				t.Fatalf("read: %v, want lag: %v", err, test.lags)
			}
			if err != nil && c.Next != next {
				t.Error("the cursor moved past events that the reader did not get")
			}
		})
	}
}

func TestSkip(t *testing.T) {
	l := newTestLog(unlimited)
	c, _ := l.Seek("", Policy{MaxLag: 10})
	fill(t, l, 3, "x")
	want := Gap{Requested: l.epoch + "-0", First: l.epoch + "-4", Reason: Lagged, id: l.epoch + "-3"}
	if g := l.Skip(&c); *g != want {
		t.Errorf("gap %+v, want %+v", *g, want)
	}
	if text, gaps := readAll(t, l, &c); text != "" || gaps != nil {
		t.Errorf("read %q and %v after the skip", text, gaps)
	}
}

func TestWaitingReadersAreWoken(t *testing.T) {
	wakers := map[string]func(*Log){
		"append": func(l *Log) { l.Append("t", sse.Event{}) },
		"close":  (*Log).Close,
		"break":  (*Log).DisconnectAll,
	}
	for name, wake := range wakers {
		t.Run(name, func(t *testing.T) {
			l := newTestLog(unlimited)
			c, _ := l.Seek("", Policy{MaxLag: -1})
			calls := 0
			w := l.NewWaiter(nil, func() { calls++ })
			l.Read(&c, w)
			first, second := l.Watch(), l.Watch()
			wake(l)
			<-first
			<-second
			if l.wake != nil {
				t.Error("the channel is kept without waiters")
			}
			if wake(l); calls != 1 {
				t.Errorf("a waiter is woken %d times before it reads", calls)
			}
			l.Release(w)
		})
	}
}

// A waiter is woken by events that its filter selects. It continues with the first of them, and misses nothing because of
// other events or dropped ones.
func TestWaitersAreWokenByFilter(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	l := newTestLog(Limits{200, -1, -1, -1, -1, 0})
	type reader struct {
		cursor Cursor
		waiter *Waiter
		filter *topic.Filter
		woken  bool
		wants  []string
	}
	var readers []*reader
	for _, topics := range [][]string{{">"}, {"a"}, {"b", "c"}, {"*.x"}, {"none"}} {
		r := &reader{filter: filterFor(t, topics...)}
		r.cursor, _ = l.Seek("", Policy{MaxLag: -1})
		r.waiter = l.NewWaiter(r.filter, func() { r.woken = true })
		readers = append(readers, r)
	}
	read := func(r *reader) {
		for random.IntN(2) == 0 || !l.Waits(&r.cursor, r.waiter) {
			p, err := l.Read(&r.cursor, r.waiter)
			if err != nil || p.Gap != nil {
				t.Fatalf("read: %v, gap %+v", err, p.Gap)
			}
			if p.Wait {
				break
			}
			for run := range p.Runs(r.filter) {
				for range strings.Count(string(run), "\n\n") {
					r.wants = r.wants[1:]
				}
			}
		}
		if r.woken = false; len(r.wants) > 0 {
			t.Fatalf("%d events are missing", len(r.wants))
		}
	}
	for range 2000 {
		name := []string{"a", "b", "c", "a.x", "d"}[random.IntN(5)]
		if random.IntN(10) == 0 { // a batch that is undone
			l.AppendAll([]Item{{Topic: name}, {Topic: "a"}, {"b", sse.Event{Type: "\n"}}})
			continue
		}
		l.Append(name, sse.Event{})
		for _, r := range readers {
			if r.filter.Has(topic.Make(name)) {
				if r.wants = append(r.wants, name); !r.woken && r.waiter.state.Load() != awake {
					t.Fatalf("%v: not woken for %s", r.filter, name)
				}
			}
			if len(r.wants) > 5 || random.IntN(20) == 0 {
				read(r)
			}
		}
	}
	for _, r := range readers {
		l.Release(r.waiter)
	}
	if len(l.groups) > 0 {
		t.Errorf("%d unused groups of waiters are kept", len(l.groups))
	}
	l.index.Find(topic.Make("a"), func(*waiters) { t.Error("an unused group is in the index") })
}

// A reader may have moved on since it was woken, because newer events were compressed together with its own. It is not
// moved back.
func TestWokenReaderKeepsPosition(t *testing.T) {
	l := newTestLog(unlimited)
	c, _ := l.Seek("", Policy{MaxLag: -1})
	w := l.NewWaiter(filterFor(t, ">"), func() {})
	l.Append("t", sse.Event{Data: "a"})
	if p, err := l.Read(&c, w); err != nil || len(p.Entries) != 1 {
		t.Fatalf("read %d events, %v", len(p.Entries), err)
	}
	l.Append("t", sse.Event{Data: "b"})
	l.Append("t", sse.Event{Data: "c"})
	ahead := c.Copy()
	if p, err := l.Read(&ahead, nil); err != nil || len(p.Entries) != 2 {
		t.Fatalf("read %d events, %v", len(p.Entries), err)
	}
	c.Next, c.Position = ahead.Next, ahead.Position
	l.Append("t", sse.Event{Data: "d"})
	p, err := l.Read(&c, w)
	if err != nil || len(p.Entries) != 1 || p.First != 4 {
		t.Errorf("read %d events from %d, %v; want the fourth", len(p.Entries), p.First, err)
	}
}

// A failed Append leaves no trace, including bytes that it may have written.
func TestFailedAppend(t *testing.T) {
	l := newTestLog(Limits{-1, -1, -1, 100, -1, 0})
	c, _ := l.Seek("", Policy{MaxLag: -1})
	fill(t, l, 1, "a")
	for want, event := range map[error]sse.Event{
		sse.ErrInvalidType:   {Type: "a\nb"},
		sse.ErrEventTooLarge: {Data: strings.Repeat("\n", 20)},
	} {
		if _, err := l.Append("t", event); !errors.Is(err, want) {
			t.Errorf("append: %v, want %v", err, want)
		}
	}
	fill(t, l, 1, "b")
	want := "id: " + l.ID(1) + "\ndata: a\n\nid: " + l.ID(2) + "\ndata: b\n\n"
	if text, _ := readAll(t, l, &c); text != want {
		t.Errorf("read %q, want %q", text, want)
	}
}

func TestRuns(t *testing.T) {
	l := newTestLog(unlimited)
	for i, name := range strings.Split("aabacbba", "") {
		if _, err := l.Append(name, sse.Event{Data: strconv.Itoa(i)}); err != nil {
			t.Fatal(err)
		}
	}
	tests := map[string]struct {
		topics []string
		runs   []int // events of each
		data   string
	}{
		"all":     {[]string{">"}, []int{8}, "01234567"},
		"one":     {[]string{"a"}, []int{2, 1, 1}, "0137"},
		"two":     {[]string{"b", "a"}, []int{4, 3}, "0123567"},
		"last":    {[]string{"c"}, []int{1}, "4"},
		"unknown": {[]string{"d"}, nil, ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			c, _ := l.Seek(l.ID(0), Policy{MaxLag: -1})
			p, err := l.Read(&c, nil)
			if err != nil {
				t.Fatal(err)
			}
			var runs []int
			var data strings.Builder
			for run, events := range p.Runs(filterFor(t, test.topics...)) {
				runs = append(runs, events)
				for line := range strings.Lines(string(run)) {
					if value, ok := strings.CutPrefix(line, "data: "); ok {
						data.WriteString(strings.TrimSpace(value))
					}
				}
			}
			if !slices.Equal(runs, test.runs) || data.String() != test.data {
				t.Errorf("runs %v of %q, want %v of %q", runs, data.String(), test.runs, test.data)
			}
		})
	}
}

// A reader can stop after any run.
func TestRunsCanStop(t *testing.T) {
	l := newTestLog(unlimited)
	for _, name := range []string{"a", "b", "a"} {
		l.Append(name, sse.Event{})
	}
	c, _ := l.Seek(l.ID(0), Policy{MaxLag: -1})
	p, _ := l.Read(&c, nil)
	for range p.Runs(filterFor(t, "a")) {
		break
	}
}
