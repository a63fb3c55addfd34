package server

import (
	"errors"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/eventsource-wasm/eventsource-wasm/sse"
)

var unlimited = limits{events: -1, bytes: -1, age: -1, eventBytes: -1}

func fill(t *testing.T, l *eventLog, count int, data string) {
	t.Helper()
	for range count {
		if _, err := l.append("t", sse.Event{Data: data}); err != nil {
			t.Fatal(err)
		}
	}
}

// readAll reads to the head and returns the text, and the gaps met on the way.
func readAll(t *testing.T, l *eventLog, c *cursor) (text string, gaps []*gap) {
	t.Helper()
	var b strings.Builder
	for {
		p, err := l.read(c)
		if err != nil {
			t.Fatal(err)
		}
		if p.wait != nil {
			return b.String(), gaps
		}
		if p.gap != nil {
			gaps = append(gaps, p.gap)
		}
		for run := range (*filter)(nil).runs(p) {
			b.Write(run)
		}
	}
}

func firstKept(l *eventLog) (sequence uint64, events int, bytes int64) {
	published, events, bytes := l.figures()
	return published - uint64(events) + 1, events, bytes
}

func TestRetention(t *testing.T) {
	block, err := sse.Append(nil, sse.Event{ID: "12345678-1", Data: "x"})
	if err != nil {
		t.Fatal(err)
	}
	size := int64(len(block)) // of the events 1 to 9
	tests := map[string]struct {
		limits limits
		append int
		first  uint64
	}{
		"nothing":            {limits{5, -1, -1, -1}, 0, 1},
		"within the count":   {limits{5, -1, -1, -1}, 5, 1},
		"over the count":     {limits{5, -1, -1, -1}, 8, 4},
		"within the bytes":   {limits{-1, 4 * size, -1, -1}, 4, 1},
		"over the bytes":     {limits{-1, 4*size - 1, -1, -1}, 4, 2},
		"newest stays":       {limits{-1, 1, -1, -1}, 9, 9},
		"newest stays, none": {limits{0, -1, -1, -1}, 9, 9},
		"unlimited":          {unlimited, 9, 1},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			l := newLog(test.limits)
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
		l := newLog(limits{-1, -1, time.Minute, -1})
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
			t.Errorf("%d segments are kept for nothing", len(l.segments))
		}
		// What is gone must not be in the way of what comes.
		c, _ := l.seek("", seeker{maxLag: -1})
		fill(t, l, 1, "again")
		if text, gaps := readAll(t, l, &c); !strings.Contains(text, "data: again\n") || len(gaps) > 0 {
			t.Errorf("read %q and %d gaps", text, len(gaps))
		}
	})
}

func TestMemoryIsGivenBack(t *testing.T) {
	l := newLog(limits{-1, 4 * segmentBytes, -1, -1})
	fill(t, l, 1000, strings.Repeat("x", 4000))
	held := 0
	for _, s := range l.segments {
		held += cap(s.data)
	}
	if held > 6*segmentBytes {
		t.Errorf("%d bytes are held for a limit of %d", held, 4*segmentBytes)
	}
}

func TestLocate(t *testing.T) {
	l := newLog(limits{3, -1, -1, -1})
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
		id("6"):                         {8, gapExpired},
		id("0"):                         {8, gapExpired},
		id("11"):                        {8, gapFuture},
		id("18446744073709551615"):      {8, gapFuture},
		"other-9":                       {8, gapEpoch},
		id("18446744073709551616"):      {8, gapMalformed},
		id("09"):                        {8, gapMalformed},
		id("+9"):                        {8, gapMalformed},
		id("9 "):                        {8, gapMalformed},
		id(""):                          {8, gapMalformed},
		id("-9"):                        {8, gapMalformed},
		l.epoch:                         {8, gapMalformed},
		"-9":                            {8, gapMalformed},
		"9":                             {8, gapMalformed},
		"<script>alert('\u2028')":       {8, gapMalformed},
		strings.Repeat("long", 1000):    {8, gapMalformed},
		"e2b4a0d8-58cc-4372-a567-0e02b": {8, gapMalformed},
	}
	for id, test := range tests {
		t.Run(id, func(t *testing.T) {
			c, g := l.seek(id, seeker{maxLag: -1})
			if c.next != test.next {
				t.Errorf("continues with %d, want %d", c.next, test.next)
			}
			if (g == nil) != (test.reason == "") {
				t.Fatalf("gap %v, want %q", g, test.reason)
			}
			if g == nil {
				return
			}
			want := gap{Requested: id[:min(len(id), maxRequested)], First: l.epoch + "-8", Reason: test.reason, id: l.epoch + "-7"}
			if *g != want {
				t.Errorf("gap %+v, want %+v", *g, want)
			}
		})
	}
}

// Whatever the sizes, every reader gets the same bytes, in the order in which they were appended.
func TestReadAcrossSegments(t *testing.T) {
	l := newLog(unlimited)
	live, _ := l.seek("", seeker{maxLag: -1})
	var want, got strings.Builder
	for i := range 300 {
		event := sse.Event{Type: "t", Data: strings.Repeat("d", i*i%9000)}
		if i%100 == 50 {
			event.Data = strings.Repeat("e", 3*segmentBytes)
		}
		id, err := l.append("t", event)
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
	replay, _ := l.seek(l.epoch+"-0", seeker{maxLag: -1})
	all, _ := readAll(t, l, &replay)
	if got.String() != want.String() || all != want.String() {
		t.Errorf("live read %d bytes, replayed %d, want %d", got.Len(), len(all), want.Len())
	}
	if live.position != l.head || replay.position != l.head {
		t.Errorf("positions %d and %d, want %d", live.position, replay.position, l.head)
	}
}

func TestOvertakenByRetention(t *testing.T) {
	l := newLog(limits{2, -1, -1, -1})
	c, _ := l.seek("", seeker{maxLag: -1})
	fill(t, l, 5, "x")
	text, gaps := readAll(t, l, &c)
	want := gap{Requested: l.epoch + "-0", First: l.epoch + "-4", Reason: gapExpired, id: l.epoch + "-3"}
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
		before func(*eventLog, *cursor) // the reader turns to the log
		after  int                      // bytes of data published then
		lags   bool
	}{
		"history does not count": {func(l *eventLog, c *cursor) {
			fill(t, l, 1, events(5*maxLag))
			*c, _ = l.seek(l.epoch+"-0", seeker{maxLag: maxLag})
		}, 900, false},
		"what follows history does": {func(l *eventLog, c *cursor) {
			fill(t, l, 1, events(5*maxLag))
			*c, _ = l.seek(l.epoch+"-0", seeker{maxLag: maxLag})
		}, 1001, true},
		"a burst does not count": {func(l *eventLog, c *cursor) {
			l.read(c)
			fill(t, l, 10, events(maxLag))
			l.read(c)
		}, 900, false},
		"what follows a burst does": {func(l *eventLog, c *cursor) {
			l.read(c)
			fill(t, l, 10, events(maxLag))
			l.read(c)
		}, 1001, true},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			l := newLog(unlimited)
			c, _ := l.seek("", seeker{maxLag: maxLag})
			test.before(l, &c)
			fill(t, l, 1, events(test.after))
			next := c.next
			_, err := l.read(&c)
			if got := errors.Is(err, errLag); got != test.lags {
				t.Fatalf("read: %v, want lag: %v", err, test.lags)
			}
			if err != nil && c.next != next {
				t.Error("the cursor moved, so that its id is that of an event it did not get")
			}
		})
	}
}

func TestSkip(t *testing.T) {
	l := newLog(unlimited)
	c, _ := l.seek("", seeker{maxLag: 10})
	fill(t, l, 3, "x")
	want := gap{Requested: l.epoch + "-0", First: l.epoch + "-4", Reason: gapLag, id: l.epoch + "-3"}
	if g := l.skip(&c); *g != want {
		t.Errorf("gap %+v, want %+v", *g, want)
	}
	if text, gaps := readAll(t, l, &c); text != "" || gaps != nil {
		t.Errorf("read %q and %v behind the skip", text, gaps)
	}
}

func TestWaitingReadersAreWoken(t *testing.T) {
	wakers := map[string]func(*eventLog){
		"append": func(l *eventLog) { l.append("t", sse.Event{}) },
		"close":  (*eventLog).close,
		"break":  (*eventLog).breakReaders,
	}
	for name, wake := range wakers {
		t.Run(name, func(t *testing.T) {
			l := newLog(unlimited)
			a, _ := l.seek("", seeker{maxLag: -1})
			b := a
			first, _ := l.read(&a)
			second, _ := l.read(&b)
			wake(l)
			<-first.wait
			<-second.wait
			if l.wake != nil {
				t.Error("a channel is kept though nobody waits")
			}
		})
	}
}

// A publish that fails leaves no trace: the bytes it may have written belong to nobody.
func TestFailedAppend(t *testing.T) {
	l := newLog(limits{-1, -1, -1, 100})
	c, _ := l.seek("", seeker{maxLag: -1})
	fill(t, l, 1, "a")
	for want, event := range map[error]sse.Event{
		sse.ErrInvalidType: {Type: "a\nb"},
		ErrEventTooLarge:   {Data: strings.Repeat("\n", 20)},
	} {
		if _, err := l.append("t", event); !errors.Is(err, want) {
			t.Errorf("append: %v, want %v", err, want)
		}
	}
	fill(t, l, 1, "b")
	want := "id: " + l.id(1) + "\ndata: a\n\nid: " + l.id(2) + "\ndata: b\n\n"
	if text, _ := readAll(t, l, &c); text != want {
		t.Errorf("read %q, want %q", text, want)
	}
}

func TestRuns(t *testing.T) {
	l := newLog(unlimited)
	for i, topic := range strings.Split("aabacbba", "") {
		if _, err := l.append(topic, sse.Event{Data: strconv.Itoa(i)}); err != nil {
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
			c, _ := l.seek(l.id(0), seeker{maxLag: -1})
			p, err := l.read(&c)
			if err != nil {
				t.Fatal(err)
			}
			var runs []int
			var data strings.Builder
			for run, events := range newFilter(test.topics, nil).runs(p) {
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

// A reader may stop at any run.
func TestRunsStop(t *testing.T) {
	l := newLog(unlimited)
	for _, topic := range []string{"a", "b", "a"} {
		l.append(topic, sse.Event{})
	}
	c, _ := l.seek(l.id(0), seeker{maxLag: -1})
	p, _ := l.read(&c)
	for range newFilter([]string{"a"}, nil).runs(p) {
		break
	}
}
