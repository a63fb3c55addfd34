package netstream

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/eventsource-wasm/eventsource-wasm/server/internal/eventlog"
	"github.com/eventsource-wasm/eventsource-wasm/server/internal/stream"
	"github.com/eventsource-wasm/eventsource-wasm/server/internal/topic"
	"github.com/eventsource-wasm/eventsource-wasm/sse"
)

// A testConn writes by calling write, if that is not nil.
type testConn struct {
	write func(p []byte) error

	mu   sync.Mutex
	text strings.Builder
}

func (c *testConn) Write(p []byte) (int, error) {
	if c.write != nil {
		if err := c.write(p); err != nil {
			return 0, err
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.text.Write(p)
}

func (c *testConn) Flush() error { return nil }

func (c *testConn) SetWriteDeadline(time.Time) error { return nil }

// data returns the data of the events in order.
func (c *testConn) data() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var data strings.Builder
	for line := range strings.Lines(c.text.String()) {
		if value, ok := strings.CutPrefix(line, "data: "); ok {
			data.WriteString(strings.TrimSpace(value) + " ")
		}
	}
	return data.String()
}

// A house has streams with carriers.
type house struct {
	log      *eventlog.Log
	carriers Carriers
	counts   stream.Counts
	filters  topic.Registry
	ended    sync.WaitGroup
}

func newHouse() *house {
	return &house{log: eventlog.New(eventlog.Limits{Events: -1, Bytes: -1, Age: -1, EventBytes: -1, Pinned: -1}, false, nil)}
}

// driver returns the driver of a stream of all events.
func (h *house) driver(t *testing.T, conn Conn) *Driver {
	filter, err := h.filters.Acquire([]string{">"}, []string{">"}, -1)
	if err != nil {
		t.Fatal(err)
	}
	cursor, _ := h.log.Seek("", eventlog.Policy{MaxLag: -1})
	config := &stream.Config{Heartbeat: stream.Forever, WriteTimeout: -1}
	s := stream.New(config, h.log, filter, &h.counts, cursor, []byte(":\n\n"))
	return New(Env{Log: h.log, Carry: h.carriers.Carry}, &s, conn, nil)
}

// open begins a stream of all events.
func (h *house) open(t *testing.T, conn Conn) {
	d := h.driver(t, conn)
	h.ended.Go(func() { d.Run(context.Background()) })
}

func (h *house) publish(t *testing.T, name string, n int) {
	if _, err := h.log.Append(name, sse.Event{Data: fmt.Sprint(n)}); err != nil {
		t.Error(err)
	}
}

func upTo(n int) string {
	var want strings.Builder
	for i := range n {
		fmt.Fprintf(&want, "%d ", i)
	}
	return want.String()
}

// Every stream gets every event once and in order, whether a carrier or its goroutine writes it, and whether it blocks or
// not.
func TestEveryStreamGetsEveryEvent(t *testing.T) {
	for seed := range uint64(200) {
		synctest.Test(t, func(t *testing.T) {
			h := newHouse()
			random := rand.New(rand.NewPCG(seed, 0))
			var conns []*testConn
			for range 1 + random.IntN(20) {
				conn := &testConn{}
				if slow := random.IntN(10); slow < 5 {
					var writes atomic.Int64
					conn.write = func(p []byte) error {
						if writes.Add(1)%int64(1+slow) == 0 {
							time.Sleep(time.Duration(slow) * tick)
						}
						return nil
					}
				}
				conns = append(conns, conn)
				h.open(t, conn)
			}
			const events = 100
			for i := range events {
				h.publish(t, "a", i)
				switch random.IntN(4) {
				case 0:
					synctest.Wait()
				case 1:
					time.Sleep(tick / 2)
				case 2:
					runtime.Gosched()
				}
			}
			h.log.Close()
			h.ended.Wait()
			for i, conn := range conns {
				if got := conn.data(); got != upTo(events) {
					t.Fatalf("seed %d: stream %d got %q", seed, i, got)
				}
			}
		})
	}
}

// However many connections stall, the other streams get their events, and later events are not delayed again.
func TestStalledStreamsDoNotBlockOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse()
		room := make(chan struct{})
		var stalled atomic.Int64
		for range 300 {
			h.open(t, &testConn{write: func(p []byte) error {
				if strings.Contains(string(p), "data") {
					stalled.Add(1)
					<-room
				}
				return nil
			}})
		}
		honest := &testConn{}
		h.open(t, honest)
		synctest.Wait()
		begun := time.Now()
		h.publish(t, "a", 0)
		for honest.data() == "" {
			time.Sleep(tick)
		}
		if took := time.Since(begun); took > 20*tick {
			t.Errorf("300 stalled streams delay another stream by %v", took)
		}
		for stalled.Load() < 300 { // the fast stream was not necessarily the last in the queue
			time.Sleep(tick)
		}
		time.Sleep(3 * tick) // until the last ones count as stalled
		begun = time.Now()
		h.publish(t, "a", 1)
		synctest.Wait()
		if got := honest.data(); got != upTo(2) || time.Since(begun) > 0 {
			t.Errorf("stalled streams delay another stream again: it has %q", got)
		}
		close(room)
		h.log.Close()
		h.ended.Wait()
	})
}

// A stream that has blocked is served by its goroutine. When it has not blocked for a while, carriers serve it again.
func TestStreamsAreCarriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse()
		var carried, block atomic.Bool
		h.open(t, &testConn{write: func(p []byte) error {
			stack := make([]byte, 8<<10)
			carried.Store(strings.Contains(string(stack[:runtime.Stack(stack, false)]), "(*Carriers).work"))
			if block.Load() {
				time.Sleep(3 * tick)
			}
			return nil
		}})
		synctest.Wait()
		turn := func() bool {
			h.publish(t, "a", 0)
			time.Sleep(10 * tick)
			synctest.Wait()
			return carried.Load()
		}
		wait := func(want bool) (turns int) {
			for turn() != want {
				turns++
			}
			return turns
		}
		wait(true)
		penalty := 0
		for i := range 4 {
			block.Store(true)
			turn()
			block.Store(false)
			penalty = max(2*penalty, minAlone)
			if got := wait(true); got < penalty-1 || got > penalty {
				t.Errorf("block %d: the stream is alone for %d turns, want %d", i, got, penalty)
			}
			penalty-- // because of the carried turn
		}
		for range penalty {
			turn()
		}
		block.Store(true)
		turn()
		block.Store(false)
		if got := wait(true); got > minAlone {
			t.Errorf("a stream that has not blocked for a long time is alone for %d turns, want %d", got, minAlone)
		}
		h.log.Close()
		h.ended.Wait()
	})
}

// A panic or a Goexit in a write on a carrier is raised again in the goroutine of the request.
func TestCarrierFailuresAreRaised(t *testing.T) {
	failure := errors.New("middleware failed")
	tests := map[string]struct {
		write func()
		want  any
	}{
		"panic":  {func() { panic(failure) }, failure},
		"Goexit": {runtime.Goexit, "gone"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHouse()
				raised := make(chan any, 1)
				d := h.driver(t, &testConn{write: func(p []byte) error {
					if strings.Contains(string(p), "data") {
						test.write()
					}
					return nil
				}})
				go func() {
					defer func() {
						if problem := recover(); problem != nil {
							raised <- problem
						} else {
							raised <- "gone"
						}
					}()
					d.Run(context.Background())
					t.Error("the stream continues")
				}()
				other := &testConn{}
				h.open(t, other)
				synctest.Wait()
				for i := range 3 {
					h.publish(t, "a", i)
					synctest.Wait()
				}
				if got := <-raised; got != test.want {
					t.Errorf("raised %v, want %v", got, test.want)
				}
				if got := other.data(); got != upTo(3) {
					t.Errorf("another stream has %q", got)
				}
				h.log.Close()
				h.ended.Wait()
			})
		})
	}
}

// A stream that reads history is left to its goroutine, so that it does not occupy a carrier.
func TestLongReadsAreNotCarried(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse()
		room := make(chan struct{})
		first := true
		long := &testConn{write: func(p []byte) error {
			if strings.Contains(string(p), "data") && first {
				first = false
				<-room
			}
			return nil
		}}
		h.open(t, long)
		synctest.Wait()
		const events = 40_000
		for i := range events {
			h.publish(t, "a", i)
		}
		close(room)
		synctest.Wait()
		if got := long.data(); got != upTo(events) {
			t.Errorf("%d bytes of events, want %d", len(got), len(upTo(events)))
		}
		h.log.Close()
		h.ended.Wait()
	})
}

// A queue that is never empty takes memory only for its current elements.
func TestQueueMemoryIsBounded(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	synctest.Test(t, func(t *testing.T) {
		h := newHouse()
		const streams = 20
		for range streams {
			h.open(t, &testConn{write: func([]byte) error { time.Sleep(time.Millisecond); return nil }})
		}
		time.Sleep(time.Second)
		for i := range 5000 {
			h.publish(t, "a", i)
			time.Sleep((streams - 5) * time.Millisecond)
		}
		h.carriers.mu.Lock()
		if n := cap(h.carriers.queue); n > 10*streams {
			t.Errorf("the queue has room for %d drivers, but only %d exist", n, streams)
		}
		h.carriers.mu.Unlock()
		h.log.Close()
		h.ended.Wait()
	})
}

// A stream whose write panics releases its output, whether that refers to the log or is a copy.
func TestPanicReleasesOutput(t *testing.T) {
	limits := eventlog.Limits{Events: 2, Bytes: -1, Age: -1, EventBytes: -1, Pinned: 1 << 10, Segment: 256}
	for name, stored := range map[string]bool{"of the log": false, "of the store": true} {
		for _, carried := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, carried %t", name, carried), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					h := newHouse()
					h.log = eventlog.New(limits, stored, nil)
					if stored {
						h.log.Update(eventlog.Update{Epoch: "epoch000", Last: 10})
					}
					d := h.driver(t, &testConn{write: func(p []byte) error {
						if strings.Contains(string(p), "data") {
							panic("broken")
						}
						return nil
					}})
					if !carried {
						d.env.Carry = nil
					}
					if stored {
						d.Cursor.Next = 5
						block := []byte("data: " + strings.Repeat("x", 4000) + "\n\n")
						d.env.Fetch = func(context.Context, uint64) stream.Fetched {
							return stream.Fetched{Epoch: "epoch000", First: 1, Records: []eventlog.Record{{Topic: "a", Sequence: 5, Block: block}}}
						}
					}
					ended := make(chan any)
					go func() {
						defer func() { ended <- recover() }()
						d.Run(context.Background())
					}()
					synctest.Wait()
					if !stored {
						for i := range 100 {
							h.publish(t, "a", i)
						}
					}
					if got := <-ended; got != "broken" {
						t.Errorf("ended by %v", got)
					}
					if !stored {
						for i := range 100 {
							h.publish(t, "a", i)
						}
					}
					if h.log.Pinned() != 0 || h.log.Full() || d.Ended() != ErrPanicked {
						t.Errorf("%d bytes are pinned, full %t, ended by %v", h.log.Pinned(), h.log.Full(), d.Ended())
					}
				})
			})
		}
	}
}

// An eviction does nothing if the stream has let go meanwhile.
func TestLateEviction(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse()
		conn := &testConn{}
		d := h.driver(t, conn)
		h.ended.Go(func() { d.Run(context.Background()) })
		synctest.Wait()
		d.evict()
		d.evicted.Store(true) // as if it had let go at that moment
		h.publish(t, "a", 0)
		synctest.Wait()
		d.Do(func(s *stream.Stream) { s.DepartAt(h.log.Now(), 0) })
		h.ended.Wait()
		if got := conn.data(); got != upTo(1) || d.Ended() != stream.ErrDraining {
			t.Errorf("the stream has %q, and ended by %v", got, d.Ended())
		}
	})
}

func explode([]byte) error { panic("broken") }

// A panic on a carrier is reported with its stack, because the goroutine that raises it again has another stack.
func TestPanicOnCarrierIsReported(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse()
		conn := &testConn{}
		d := h.driver(t, conn)
		reported := ""
		d.env.Panicked = func(problem any, stack []byte) { reported = fmt.Sprint(problem, string(stack)) }
		h.ended.Go(func() {
			defer func() { recover() }()
			d.Run(context.Background())
		})
		synctest.Wait()
		conn.write = explode
		h.publish(t, "a", 0)
		h.ended.Wait()
		if !strings.HasPrefix(reported, "broken") || !strings.Contains(reported, "explode") {
			t.Errorf("reported %q", reported)
		}
	})
}
