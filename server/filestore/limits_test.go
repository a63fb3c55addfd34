package filestore_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/eventsource-wasm/eventsource-wasm/server"
	"github.com/eventsource-wasm/eventsource-wasm/server/filestore"
	"github.com/eventsource-wasm/eventsource-wasm/sse"
)

func record(topic, data string) server.Record {
	return server.Record{Topic: topic, Block: []byte("data: " + data + "\n\n")}
}

func mustAppend(t testing.TB, s *filestore.Store, records ...server.Record) (first uint64) {
	t.Helper()
	first, err := s.Append(t.Context(), server.IdempotencyKey{}, records...)
	if err != nil {
		t.Fatal(err)
	}
	return first
}

func mustState(t testing.TB, s *filestore.Store) server.StoreState {
	t.Helper()
	state, err := s.State(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return state
}

// sequences returns the sequences of all events that can be read.
func sequences(t testing.TB, s *filestore.Store) (all []uint64) {
	t.Helper()
	for from := uint64(1); ; from = all[len(all)-1] + 1 {
		records, err := s.Read(t.Context(), from)
		if err != nil {
			t.Fatal(err)
		}
		if len(records) == 0 {
			return all
		}
		for _, r := range records {
			all = append(all, r.Sequence)
		}
	}
}

func eventFiles(t testing.TB, dir string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.events"))
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(files)
	return files
}

// A key is remembered for KeyAge, even if its event is no longer kept, and after a crash.
func TestKeysOutliveEvents(t *testing.T) {
	o := filestore.Options{Dir: t.TempDir(), MaxEvents: 5, MaxBytes: 1 << 10}
	s := openStore(t, o)
	key, batch := testKey("one", "x"), testKey("several", "y")
	first, err := s.Append(t.Context(), key, record("t", "x"))
	if err != nil {
		t.Fatal(err)
	}
	firstOfBatch, err := s.Append(t.Context(), batch, record("t", "y"), record("t", "y"))
	if err != nil {
		t.Fatal(err)
	}
	for range 50 {
		mustAppend(t, s, record("t", strings.Repeat("x", 10_000)))
	}
	s.Maintain()
	if first := mustState(t, s).First; first != 53 {
		t.Errorf("the oldest event is %d, want 53", first)
	}
	if n := len(eventFiles(t, o.Dir)); n > 2 {
		t.Errorf("%d files of events are left", n)
	}
	for _, when := range []string{"at once", "after a crash", "after another crash"} {
		if again, err := s.Append(t.Context(), key, record("t", "x")); err != nil || again != first {
			t.Errorf("%s: stored again as %d, %v, want %d", when, again, err, first)
		}
		if again, err := s.Append(t.Context(), batch, record("t", "y"), record("t", "y")); err != nil || again != firstOfBatch {
			t.Errorf("%s: the batch is stored again as %d, %v, want %d", when, again, err, firstOfBatch)
		}
		if _, err := s.Append(t.Context(), testKey("one", "other"), record("t", "x")); !errors.Is(err, server.ErrKeyReused) {
			t.Errorf("%s: another request under the key: %v", when, err)
		}
		s.Abandon()
		s = openStore(t, o)
	}
	s.Close()
}

// Concurrent publications with the same key are stored once.
func TestConcurrentKey(t *testing.T) {
	s := openStore(t, filestore.Options{Dir: t.TempDir()})
	defer s.Close()
	var publishing sync.WaitGroup
	var firsts [40]uint64
	for i := range firsts {
		publishing.Go(func() {
			var err error
			if firsts[i], err = s.Append(context.Background(), testKey(fmt.Sprint(i%4), "x"), record("t", "x")); err != nil {
				t.Error(err)
			}
		})
	}
	publishing.Wait()
	for i, first := range firsts {
		if first != firsts[i%4] {
			t.Errorf("%d and %d under one key", first, firsts[i%4])
		}
	}
	if last := mustState(t, s).Last; last != 4 {
		t.Errorf("%d events, want 4", last)
	}
}

func TestKeyLimits(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		s := openStore(t, filestore.Options{Dir: dir, MaxKeys: 3, KeyAge: time.Hour, Sync: 10 * time.Minute})
		defer s.Close()
		use := func(i int) (uint64, error) {
			return s.Append(t.Context(), testKey(fmt.Sprint(i), "x"), record("t", "x"))
		}
		for i := range 3 {
			if _, err := use(i); err != nil {
				t.Fatal(err)
			}
		}
		refused, ok := errors.AsType[*server.HTTPError](func() error { _, err := use(3); return err }())
		if !ok || refused.Status != 503 || refused.RetryAfter == 0 || !strings.Contains(refused.Message, "keys") {
			t.Errorf("a fourth key: %+v", refused)
		}
		if again, err := use(1); err != nil || again != 2 {
			t.Errorf("a key that is known: %d, %v", again, err)
		}
		mustAppend(t, s, record("t", "without a key"))
		time.Sleep(61 * time.Minute)
		if again, err := use(1); err != nil || again != 5 {
			t.Errorf("after its time, the key gives %d, %v", again, err)
		}
	})
}

func TestRetention(t *testing.T) {
	big := strings.Repeat("x", 1000)
	t.Run("events", func(t *testing.T) {
		s := openStore(t, filestore.Options{Dir: t.TempDir(), MaxEvents: 7})
		defer s.Close()
		for range 20 {
			mustAppend(t, s, record("t", "x"))
		}
		if got := sequences(t, s); len(got) != 7 || got[0] != 14 || mustState(t, s).First != 14 {
			t.Errorf("%v are kept", got)
		}
	})
	t.Run("bytes", func(t *testing.T) {
		o := filestore.Options{Dir: t.TempDir(), MaxBytes: 1 << 20}
		s := openStore(t, o)
		for range 5000 {
			mustAppend(t, s, record("t", big))
		}
		s.Maintain()
		got := sequences(t, s)
		if n := len(got); n < 900 || n > 1100 || got[n-1] != 5000 {
			t.Errorf("%d events are kept of 1,040 bytes", n)
		}
		var size int64
		for _, file := range eventFiles(t, o.Dir) {
			info, err := os.Stat(file)
			if err != nil {
				t.Fatal(err)
			}
			size += info.Size()
		}
		if size > 1<<20+200<<10 {
			t.Errorf("the folder takes %d bytes", size)
		}
		before := mustState(t, s)
		s.Abandon()
		s = openStore(t, o)
		defer s.Close()
		if after := mustState(t, s); after.Epoch != before.Epoch || after.First != before.First || after.Last != before.Last {
			t.Errorf("%+v follows %+v", after, before)
		}
	})
	t.Run("age", func(t *testing.T) {
		dir := t.TempDir()
		synctest.Test(t, func(t *testing.T) {
			s := openStore(t, filestore.Options{Dir: dir, MaxAge: time.Hour, Sync: 10 * time.Minute})
			defer s.Close()
			for range 100 {
				mustAppend(t, s, record("t", big))
			}
			time.Sleep(50 * time.Minute)
			mustAppend(t, s, record("t", "newer"))
			if first := mustState(t, s).First; first != 1 {
				t.Errorf("too early, the first event is %d", first)
			}
			time.Sleep(20 * time.Minute)
			if first := mustState(t, s).First; first < 97 || first > 101 {
				t.Errorf("%d is the first, want 101 or a few before", first)
			}
			time.Sleep(time.Hour)
			if state := mustState(t, s); state.First != 102 || state.Last != 101 || len(sequences(t, s)) > 0 {
				t.Errorf("State = %+v, want no events, and 102 as the first", state)
			}
			if next := mustAppend(t, s, record("t", "next")); next != 102 || mustState(t, s).First != 102 {
				t.Errorf("continues with %d, %+v", next, mustState(t, s))
			}
		})
	})
}

// With MaxEventsPerTopic, the newest events of each topic are kept, and the disk holds only a few times as many.
func TestEventsPerTopic(t *testing.T) {
	o := filestore.Options{Dir: t.TempDir(), MaxBytes: 4 << 20, MaxEventsPerTopic: 2}
	s := openStore(t, o)
	mustAppend(t, s, record("kept", "1"), record("busy", "2"), record("kept", "3"))
	for i := range 20_000 {
		mustAppend(t, s, record([]string{"busy", "too"}[i%2], strings.Repeat("x", 500)))
		if i%1000 == 0 {
			s.Maintain()
		}
	}
	for range 30 {
		s.Maintain()
	}
	want := []uint64{1, 3, 20_000, 20_001, 20_002, 20_003}
	if got := sequences(t, s); !slices.Equal(got, want) {
		t.Errorf("%v are kept, want %v", got, want)
	}
	if n := len(eventFiles(t, o.Dir)); n > 3 {
		t.Errorf("%d files of 512 KiB are left", n)
	}
	epoch := mustState(t, s).Epoch
	s.Abandon()
	s = openStore(t, o)
	defer s.Close()
	if got := sequences(t, s); !slices.Equal(got, want) || mustState(t, s).Epoch != epoch {
		t.Errorf("after a crash, %v are kept, %+v", got, mustState(t, s))
	}
}

// The store notices a file that was cut exactly between two events, whether it is the newest file or not.
func TestCutBetweenEvents(t *testing.T) {
	for _, newest := range []bool{false, true} {
		for _, part := range []float64{0, 0.3, 0.9} {
			t.Run(fmt.Sprint(newest, part), func(t *testing.T) {
				o := filestore.Options{Dir: t.TempDir(), MaxBytes: 1 << 20}
				s := openStore(t, o)
				for range 200 {
					mustAppend(t, s, record("t", strings.Repeat("x", 1500)))
				}
				epoch := mustState(t, s).Epoch
				s.Abandon()
				files := eventFiles(t, o.Dir)
				file := files[0]
				if newest {
					file = files[len(files)-1]
				}
				ends, err := filestore.FrameEnds(o.Dir, filepath.Base(file))
				if err != nil {
					t.Fatal(err)
				}
				offsets := slices.Sorted(maps.Keys(ends))
				cut, end := offsets[int(part*float64(len(offsets)-1))], offsets[len(offsets)-1]
				if err := os.Truncate(file, cut); err != nil {
					t.Fatal(err)
				}
				s = openStore(t, o)
				defer s.Close()
				state, kept := mustState(t, s), len(sequences(t, s))
				if want := 200 - int(ends[end]-ends[cut]); state.Epoch == epoch || kept != want || state.Last != 200 {
					t.Errorf("%d events are kept, want %d: %+v, before %s", kept, want, state, epoch)
				}
			})
		}
	}
}

// If events are damaged while the store is open, only the clients that would have received them get a gap event.
func TestDamageWhileOpen(t *testing.T) {
	o := filestore.Options{Dir: t.TempDir(), MaxBytes: 1 << 20}
	n := startNode(t, o, &server.Broker{MaxEvents: 5})
	var ids []string
	for range 300 {
		ids = append(ids, publish(t, n.broker, "t", sse.Event{Data: strings.Repeat("x", 1500)}))
	}
	file := eventFiles(t, o.Dir)[0]
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	data[len(data)/2] ^= 4
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
	_, body := n.stream(t, "", ids[0])
	text := read(t, body, ids[299])
	before, after, hasGap := strings.Cut(text, "event: gap\n")
	intact := strings.Count(before, "data: x")
	if !hasGap || intact == 0 || intact+strings.Count(after, "data: x") != 298 || !strings.Contains(after, `"reason":"expired"`) {
		t.Errorf("%d events, a gap: %v, %d events", intact, hasGap, strings.Count(after, "data: x"))
	}
	for i, gap := range map[int]string{0: "expired", 290: "", intact + 1: ""} {
		response, body := n.stream(t, "", ids[i])
		if got := response.Header.Get("Event-Gap"); got != gap {
			t.Errorf("%s gets the gap %q, want %q", ids[i], got, gap)
		}
		read(t, body, ids[299])
	}
}

// A slow follower gets all events, once and in order.
func TestSlowFollower(t *testing.T) {
	s := openStore(t, filestore.Options{Dir: t.TempDir()})
	defer s.Close()
	ctx, cancel := context.WithCancel(t.Context())
	hold, last := make(chan struct{}), make(chan uint64)
	follows := make(chan struct{})
	begun := sync.OnceFunc(func() { close(follows) })
	var next uint64 = 1
	var following sync.WaitGroup
	following.Go(func() {
		s.Follow(ctx, func(u server.StoreUpdate) {
			begun()
			<-hold
			for _, r := range u.Records {
				if r.Sequence != next || !strings.HasPrefix(string(r.Block), fmt.Sprintf("data: %d ", next)) {
					t.Errorf("%d follows %d: %.20q", r.Sequence, next-1, r.Block)
				}
				next = r.Sequence + 1
			}
			select {
			case last <- u.Last:
			case <-ctx.Done():
			}
		})
	})
	<-follows // Follow starts at the first event
	const size = 100_000
	const count = 3 * filestore.MaxQueued / size
	for i := range count {
		mustAppend(t, s, record("t", fmt.Sprintf("%d %s", i+1, strings.Repeat("x", size))))
	}
	close(hold)
	for <-last < count {
	}
	mustAppend(t, s, record("t", fmt.Sprintf("%d ", count+1)))
	for <-last < count+1 {
	}
	cancel()
	following.Wait()
	if next != count+2 {
		t.Errorf("the last reported event is %d, want %d", next-1, count+1)
	}
}
