package filestore_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"flag"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/eventsource-wasm/eventsource-wasm/server"
	"github.com/eventsource-wasm/eventsource-wasm/server/filestore"
)

var (
	corruptions = flag.Int("corruptions", 80, "the `number` of folders that TestCorruption damages")
	corruptSeed = flag.Uint64("corruption-seed", 1, "the `seed` of the first folder")
)

// Whatever happens to a folder's files between two runs of a process, the store starts, no client misses an event without a
// gap event, and no id is used twice. If nothing happened, the epoch continues.
func TestCorruption(t *testing.T) {
	outcomes := map[string]int{}
	for i := range *corruptions {
		seed := *corruptSeed + uint64(i)
		w := newWorld(t, seed)
		w.run()
		for outcome, n := range w.outcomes {
			outcomes[outcome] += n
		}
		if t.Failed() {
			t.Fatalf("seed %d: -corruption-seed %d -corruptions 1\n%s", seed, seed, strings.Join(w.journal, "\n"))
		}
	}
	for _, outcome := range slices.Sorted(maps.Keys(outcomes)) {
		t.Logf("%6d starts: %s", outcomes[outcome], outcome)
	}
}

// A world is a folder and the events that its clients have seen.
type world struct {
	*testing.T
	rng       *rand.Rand
	dir       string
	options   filestore.Options
	store     *filestore.Store
	snapshots []map[string][]byte

	epoch    string
	history  map[string][]stored   // by epoch: the events that clients have received or can receive
	given    map[string]string     // data by id
	keys     map[string]keyedEvent // of the present epoch
	faults   int                   // since the last start
	outcomes map[string]int
	journal  []string
	count    int
}

type stored struct {
	sequence uint64
	data     string
}

type keyedEvent struct {
	key    server.IdempotencyKey
	record server.Record
	first  uint64
}

func newWorld(t *testing.T, seed uint64) *world {
	w := &world{
		T: t, rng: rand.New(rand.NewPCG(seed, 0)), dir: t.TempDir(),
		history: map[string][]stored{}, given: map[string]string{}, keys: map[string]keyedEvent{}, outcomes: map[string]int{},
	}
	w.options = filestore.Options{Dir: w.dir, Reserve: -1, Logger: quiet, MaxBytes: []int64{-1, 400 << 10, 8 << 20}[w.rng.IntN(3)]}
	if w.rng.IntN(2) == 0 {
		w.options.Sync = -1
	}
	if w.rng.IntN(4) == 0 {
		w.options.MaxEvents = 50
	}
	return w
}

func (w *world) note(format string, args ...any) {
	w.journal = append(w.journal, fmt.Sprintf(format, args...))
}

func (w *world) run() {
	for range 2 + w.rng.IntN(4) {
		w.start()
		if w.Failed() {
			return
		}
		w.append()
		w.end()
		if w.rng.IntN(2) == 0 {
			w.snapshots = append(w.snapshots, w.snapshot())
			w.note("snapshot %d", len(w.snapshots)-1)
		}
		w.faults = 0
		if w.rng.IntN(5) > 0 {
			for range 1 + w.rng.IntN(3) {
				w.fault()
			}
		}
	}
	w.start()
	if w.store != nil {
		w.store.Close()
	}
}

// start opens the store, and compares its state and events with what clients know.
func (w *world) start() {
	ctx, cancel := context.WithTimeout(w.Context(), time.Minute)
	defer cancel()
	before := w.epoch
	var err error
	if w.store, err = filestore.Open(ctx, w.options); err != nil {
		w.Errorf("the store does not start: %v", err)
		return
	}
	state, err := w.store.State(ctx)
	if err != nil {
		w.Error(err)
		return
	}
	if w.faults > 0 {
		w.keys = map[string]keyedEvent{} // a key file may be damaged, which is logged
	}
	got := w.readAll(state)
	w.note("start: %+v, %d events", state, len(got))
	for _, e := range got {
		w.give(state.Epoch, e)
	}
	w.checkEarlier(state, got)
	if expected, known := w.history[state.Epoch]; known {
		w.compare("the epoch continues", expected, got, state.First)
		if n := len(expected); n > 0 && state.Last < expected[n-1].sequence {
			w.Errorf("the epoch continues at %d, after %d", state.Last, expected[n-1].sequence)
		}
	} else {
		w.history[state.Epoch] = got
		w.keys = map[string]keyedEvent{}
	}
	switch {
	case before == "":
	case before == state.Epoch && w.faults == 0:
		w.outcomes["no fault, the epoch continues"]++
		w.checkKeys()
	case before == state.Epoch:
		w.outcomes["faults, no event is missing: the epoch continues"]++
	case w.faults == 0:
		w.Error("a new epoch without a fault")
	case len(got) == 0:
		w.outcomes["faults: a new epoch, all events are lost"]++
	case len(got) < len(since(w.history[before], got[0].sequence)):
		w.outcomes["faults: a new epoch, some events are lost"]++
	default:
		w.outcomes["faults: a new epoch, no event is lost after the oldest"]++
	}
	w.epoch = state.Epoch
}

func since(events []stored, first uint64) []stored {
	i := slices.IndexFunc(events, func(e stored) bool { return e.sequence >= first })
	if i < 0 {
		return nil
	}
	return events[i:]
}

// compare compares the events that continuing clients get.
func (w *world) compare(when string, expected, got []stored, first uint64) {
	expected, got = since(expected, first), since(got, first)
	if !slices.Equal(expected, got) {
		w.Errorf("%s: %d events from %d on, want %d", when, len(got), first, len(expected))
	}
}

// checkEarlier checks clients of earlier epochs that continue without a gap.
func (w *world) checkEarlier(state server.StoreState, got []stored) {
	for epoch, upTo := range state.Earlier {
		expected := since(w.history[epoch], state.First)
		if n := len(expected); n > 0 && expected[n-1].sequence > upTo {
			w.Errorf("clients of %s miss events after %d", epoch, upTo)
		}
		w.compare("an earlier epoch", expected, slices.DeleteFunc(slices.Clone(got), func(e stored) bool { return e.sequence > upTo }), state.First)
	}
}

// give records the event of an id.
func (w *world) give(epoch string, e stored) {
	id := fmt.Sprintf("%s-%d", epoch, e.sequence)
	if data, known := w.given[id]; known && data != e.data {
		w.Errorf("%s was %.40q, now is %.40q", id, data, e.data)
	}
	w.given[id] = e.data
}

func (w *world) readAll(state server.StoreState) (all []stored) {
	for from := uint64(1); ; {
		records, err := w.store.Read(w.Context(), from)
		if err != nil {
			w.Error(err)
			return all
		}
		if len(records) == 0 {
			break
		}
		for _, r := range records {
			if r.Sequence < from {
				w.Errorf("%d follows %d", r.Sequence, from-1)
			}
			all = append(all, stored{r.Sequence, r.Topic + string(r.Block)})
			from = r.Sequence + 1
		}
	}
	if n := len(all); n > 0 && (all[0].sequence < state.First || all[n-1].sequence > state.Last) {
		w.Errorf("events from %d to %d, in %+v", all[0].sequence, all[n-1].sequence, state)
	}
	return all
}

func testKey(key, content string) server.IdempotencyKey {
	id := sha256.Sum256([]byte(key))
	return server.IdempotencyKey{ID: hex.EncodeToString(id[:]), Sum: sha256.Sum256([]byte(content))}
}

func (w *world) append() {
	for range w.rng.IntN(40) {
		if w.rng.IntN(60) == 0 { // a copy of a running store
			w.snapshots = append(w.snapshots, w.snapshot())
			w.note("snapshot %d at %d", len(w.snapshots)-1, w.count)
			defer w.store.Maintain()
		}
		var records []server.Record
		for range 1 + w.rng.IntN(1+w.rng.IntN(8)) {
			w.count++
			block := fmt.Sprintf("data: %d %s\n\n", w.count, strings.Repeat("x", w.rng.IntN(4000)))
			records = append(records, server.Record{Topic: fmt.Sprintf("t%d", w.rng.IntN(3)), Block: []byte(block)})
		}
		var key server.IdempotencyKey
		if w.rng.IntN(4) == 0 {
			key = testKey(fmt.Sprint(w.count), string(records[0].Block))
		}
		first, err := w.store.Append(w.Context(), key, records...)
		if err != nil {
			w.Error(err)
			return
		}
		if key.ID != "" {
			w.keys[key.ID] = keyedEvent{key, records[0], first}
		}
		for i, r := range records {
			e := stored{first + uint64(i), r.Topic + string(r.Block)}
			if _, known := w.given[fmt.Sprintf("%s-%d", w.epoch, e.sequence)]; known {
				w.Errorf("%s-%d is given again", w.epoch, e.sequence)
			}
			w.give(w.epoch, e)
			w.history[w.epoch] = append(w.history[w.epoch], e)
		}
	}
	w.note("appended up to %d", w.count)
}

// checkKeys repeats publications with their keys.
func (w *world) checkKeys() {
	for _, k := range w.keys {
		first, err := w.store.Append(w.Context(), k.key, k.record)
		if err != nil || first != k.first {
			w.Errorf("events stored at %d were stored again at %d, %v", k.first, first, err)
		}
		other := k.key
		other.Sum[0]++
		if _, err := w.store.Append(w.Context(), other, k.record); err != server.ErrKeyReused {
			w.Errorf("a key with another sum: %v", err)
		}
	}
}

func (w *world) end() {
	if w.rng.IntN(3) == 0 {
		w.note("close")
		if err := w.store.Close(); err != nil {
			w.Error(err)
		}
		return
	}
	w.note("kill")
	w.store.Abandon()
}

func (w *world) files() (names []string) {
	entries, err := os.ReadDir(w.dir)
	if err != nil {
		w.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func (w *world) snapshot() map[string][]byte {
	files := map[string][]byte{}
	for _, name := range w.files() {
		data, err := os.ReadFile(filepath.Join(w.dir, name))
		if os.IsNotExist(err) {
			continue // the running store has removed it
		}
		if err != nil {
			w.Fatal(err)
		}
		files[name] = data
	}
	return files
}

func (w *world) load(name string) []byte {
	data, err := os.ReadFile(filepath.Join(w.dir, name))
	if err != nil {
		w.Fatal(err)
	}
	return data
}

func (w *world) save(name string, data []byte) {
	path := filepath.Join(w.dir, name)
	if w.rng.IntN(2) == 0 { // or in place
		if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
			w.Fatal(err)
		}
	}
	if err := os.WriteFile(path, data, fs.FileMode(0o600)); err != nil {
		w.Fatal(err)
	}
}

// fault damages the folder.
func (w *world) fault() {
	names := w.files()
	if len(names) == 0 {
		return
	}
	name := names[w.rng.IntN(len(names))]
	data := w.load(name)
	w.faults++
	switch kind := w.rng.IntN(13); {
	case kind <= 2 && len(data) > 0:
		bit := w.rng.IntN(8 * len(data))
		data[bit/8] ^= 1 << (bit % 8)
		w.note("flip bit %d of %s", bit, name)
		w.save(name, data)
	case kind == 3 && len(data) > 0:
		size := w.rng.IntN(len(data))
		w.note("truncate %s to %d of %d", name, size, len(data))
		w.save(name, data[:size])
	case kind == 4:
		w.note("delete %s", name)
		os.Remove(filepath.Join(w.dir, name))
	case kind == 5:
		garbage := make([]byte, w.rng.IntN(5000))
		for i := range garbage {
			garbage[i] = byte(w.rng.Uint32())
		}
		w.note("append %d bytes to %s", len(garbage), name)
		w.save(name, append(data, garbage...))
	case kind == 6 && len(data) > 0:
		from := w.rng.IntN(len(data))
		to := min(len(data), from+1+w.rng.IntN(4096))
		w.note("zero bytes %d to %d of %s", from, to, name)
		clear(data[from:to])
		w.save(name, data)
	case kind == 7:
		other := names[w.rng.IntN(len(names))]
		w.note("swap %s and %s", name, other)
		otherData := w.load(other)
		w.save(other, data)
		w.save(name, otherData)
	case kind == 8:
		suffix := []string{".events", ".keys", ".old", ""}[w.rng.IntN(4)]
		w.note("copy %s to %s", name, "copy-"+name+suffix)
		w.save("copy-"+name+suffix, data)
	case kind == 9 && len(w.snapshots) > 0:
		i := w.rng.IntN(len(w.snapshots))
		w.note("restore all of snapshot %d", i)
		if w.rng.IntN(2) == 0 {
			for _, name := range names {
				os.Remove(filepath.Join(w.dir, name))
			}
		}
		for name, data := range w.snapshots[i] {
			w.save(name, data)
		}
	case kind == 10 && len(w.snapshots) > 0:
		i := w.rng.IntN(len(w.snapshots))
		for name, data := range w.snapshots[i] {
			if w.rng.IntN(2) == 0 {
				w.note("restore %s of snapshot %d", name, i)
				w.save(name, data)
			}
		}
	case kind == 12:
		files := eventFiles(w, w.dir)
		if len(files) == 0 {
			return
		}
		path := files[w.rng.IntN(len(files))]
		ends, err := filestore.FrameEnds(w.dir, filepath.Base(path))
		if err != nil {
			return // another file of that name
		}
		offsets := slices.Sorted(maps.Keys(ends))
		offset := offsets[w.rng.IntN(len(offsets))]
		w.note("cut %s between events, at %d of %d", filepath.Base(path), offset, offsets[len(offsets)-1])
		if err := os.Truncate(path, offset); err != nil {
			w.Fatal(err)
		}
	case kind == 11:
		pattern := []string{"*.events", "*.keys", "manifest-*", "mark", "open", "lock"}[w.rng.IntN(6)]
		w.note("delete %s", pattern)
		matches, _ := filepath.Glob(filepath.Join(w.dir, pattern))
		for _, path := range matches {
			os.Remove(path)
		}
	}
}
