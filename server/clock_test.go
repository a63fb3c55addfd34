package server

import (
	"bufio"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
	"unsafe"

	"github.com/eventsource-wasm/eventsource-wasm/sse"
)

// stepped returns what a clock read at that time which was d behind and has been set right since: the wall clock's
// reading is moved, the monotonic one stays. No function of package time does the one without the other, so this knows
// how a Time is laid out; it fails if that has changed.
func stepped(t *testing.T, at time.Time, d time.Duration) time.Time {
	t.Helper()
	const secondsShift = 30 // of the first word, above the nanoseconds
	moved := at
	*(*uint64)(unsafe.Pointer(&moved)) += uint64(int64(d/time.Second)) << secondsShift
	if moved.Sub(at) != 0 || moved.Round(0).Sub(at.Round(0)) != d {
		t.Fatalf("cannot step the clock: from %v to %v", at, moved)
	}
	return moved
}

// By how much what was read before the step differs from what would be read now.
var steps = map[string]time.Duration{"forward": -10 * time.Hour, "back": 10 * time.Hour}

// Not in a bubble of testing/synctest, whose clock has no monotonic reading.
func TestSteppedClockExpiresNothing(t *testing.T) {
	for name, step := range steps {
		t.Run(name, func(t *testing.T) {
			minute, instant := newLog(limits{-1, -1, time.Minute, -1}), newLog(limits{-1, -1, 0, -1})
			for _, l := range []*eventLog{minute, instant} {
				fill(t, l, 2, "before")
				l.start = stepped(t, l.start, step)
				fill(t, l, 1, "after")
			}
			if _, events, _ := firstKept(minute); events != 3 {
				t.Errorf("%d events kept for a minute, want 3", events)
			}
			<-time.After(time.Millisecond)
			if _, events, _ := firstKept(instant); events != 0 {
				t.Errorf("%d events kept beyond their age", events)
			}
		})
	}
}

// Streams beat, deliver and end as if nothing had happened. Only when a grant ends is a matter of the wall clock, and
// that as it was when the stream began.
func TestSteppedClockEndsNothing(t *testing.T) {
	for name, step := range steps {
		for path, noHijack := range map[string]bool{"fast": false, "default": true} {
			t.Run(name+" "+path, func(t *testing.T) {
				broker := &Broker{MaxAge: time.Minute}
				broker.log().start = stepped(t, broker.log().start, step)
				expires := time.Now().Add(2 * time.Hour).Round(0) // as from a token
				s := httptest.NewServer(&Handler{
					Broker:    broker,
					NoHijack:  noHijack,
					Heartbeat: 10 * time.Millisecond,
					Authorize: func(*http.Request, Access) (Grant, error) { return Grant{Expires: expires}, nil },
				})
				t.Cleanup(s.Close)
				t.Cleanup(broker.Close)
				response, err := http.Get(s.URL)
				if err != nil {
					t.Fatal(err)
				}
				defer response.Body.Close()
				lines := bufio.NewScanner(response.Body)
				scanTo(t, lines, "") // the greeting's end
				for range 3 {
					scanTo(t, lines, ": ")
				}
				if _, err := broker.Publish("t", sse.Event{Data: "event"}); err != nil {
					t.Fatal(err)
				}
				scanTo(t, lines, "data: event")
				scanTo(t, lines, "")
				scanTo(t, lines, ": ")
				if stats := broker.Stats(); stats.Events != 1 || stats.Connections != 1 || stats.TimedOut > 0 {
					t.Errorf("stats %+v", stats)
				}
			})
		}
	}
}

func scanTo(t *testing.T, lines *bufio.Scanner, want string) {
	t.Helper()
	for lines.Scan() {
		if lines.Text() == want {
			return
		}
	}
	t.Fatalf("the stream ends before %q: %v", want, lines.Err())
}
