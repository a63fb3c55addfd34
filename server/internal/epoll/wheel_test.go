package epoll

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

// However connections are added, moved and removed, each is due once, at its time or at most one tick later. A time
// beyond the wheel is due early, and is added again.
func TestWheel(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	var w wheel
	want := map[*client]time.Duration{}
	var now time.Duration
	later := func() time.Duration { return now + time.Duration(random.Int64N(int64(3*wheelSlots*wheelTick/2))) }
	for range 20_000 {
		switch random.IntN(4) {
		case 0, 1:
			c := &client{}
			want[c] = later()
			w.put(c, want[c])
		case 2:
			for c := range want {
				if want[c] = later(); random.IntN(2) == 0 {
					delete(want, c)
					w.remove(c)
				} else {
					w.put(c, want[c])
				}
				break
			}
		case 3:
			now += time.Duration(random.Int64N(int64(10 * wheelTick)))
			w.turn(now, func(c *client) {
				due, ok := want[c]
				switch {
				case !ok:
					t.Fatal("a connection is due that was removed, or was due before")
				case due > now:
					w.put(c, due)
				default:
					delete(want, c)
				}
			})
			for _, due := range want {
				if due <= now-wheelTick {
					t.Fatalf("a connection that is due at %v is not due at %v", due, now)
				}
			}
		}
		if w.count != len(want) {
			t.Fatalf("%d connections are in the wheel, want %d", w.count, len(want))
		}
	}
}

func TestWheelNext(t *testing.T) {
	var w wheel
	if _, ok := w.next(); ok {
		t.Error("an empty wheel has a next time")
	}
	w.turn(time.Hour, func(*client) { t.Error("an empty wheel has a connection that is due") })
	var soon, late, never client
	w.put(&never, math.MaxInt64)
	w.put(&late, time.Hour+10*wheelTick)
	w.put(&soon, 0) // long past
	for _, want := range []time.Duration{time.Hour + wheelTick, time.Hour + 10*wheelTick} {
		if got, ok := w.next(); !ok || got != want {
			t.Errorf("next is %v, want %v", got, want)
		}
		w.turn(want, func(*client) {})
	}
	if got, ok := w.next(); !ok || got > time.Hour+wheelSlots*wheelTick {
		t.Errorf("next is %v", got)
	}
}
