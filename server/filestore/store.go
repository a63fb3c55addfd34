// Package filestore keeps the events of a [server.Broker] in a folder.
//
//	store, err := filestore.Open(ctx, filestore.Options{Dir: "/var/lib/events"})
//	broker := &server.Broker{Store: store}
//
// server/STORES.md describes the guarantees.
package filestore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/eventsource-wasm/eventsource-wasm/server"
)

// Defaults of [Options], for fields that are zero.
const (
	DefaultSync     = 250 * time.Millisecond
	DefaultReserve  = 64 << 20
	DefaultMaxAge   = 24 * time.Hour
	DefaultMaxBytes = 1 << 30
	DefaultKeyAge   = time.Hour
	DefaultMaxKeys  = 1_000_000
	DefaultMaxReads = 64
)

// Options configures a [Store]. Only Dir is required.
type Options struct {
	// Dir is the folder. Only one process can use it at a time. It is created if it does not exist.
	Dir string

	// Sync is the interval at which events are synced to disk. If the program ends or is killed, nothing is lost. If
	// the machine loses power, events of up to this interval are lost. Zero means 250 ms. Negative means that Append
	// returns after the events are synced.
	Sync time.Duration

	// Reserve is the disk space, in bytes, to keep free. With less, Append fails with [server.ErrStoreFull], and
	// reading continues. It works on Linux only. Zero means 64 MiB. Negative means none.
	Reserve int64

	// MaxAge, MaxBytes and MaxEvents limit the events that are kept. The oldest are dropped first. MaxEventsPerTopic
	// limits the events kept per topic. MaxBytes counts bytes on disk. MaxAge and MaxBytes are accurate to about 4 KiB
	// of events. Zero means 24 hours, 1 GiB, and no limit for the others. Negative means no limit.
	MaxAge            time.Duration
	MaxBytes          int64
	MaxEvents         int64
	MaxEventsPerTopic int64

	// KeyAge is how long a [server.IdempotencyKey] is remembered, even if its events are dropped. Zero means 1 hour.
	KeyAge time.Duration

	// MaxKeys limits the keys that are remembered, at about 150 bytes of memory each. Beyond it, Append fails for new
	// keys. Zero means 1,000,000. Negative means no limit.
	MaxKeys int

	// MaxReads limits concurrent reads. Further ones wait. A read returns up to 64 KiB, or one larger event. Zero means
	// 64.
	MaxReads int

	// Logger gets the log of the store. Nil means [slog.Default].
	Logger *slog.Logger
}

// Errors of [Open].
var (
	ErrInUse     = errors.New("filestore: folder is in use by another process")
	ErrOldFormat = errors.New("filestore: folder contains events in an old format, in the subfolder \"jetstream\": move it away to start without them")
)

// A Store is a [server.Store] in a folder. Close it after the brokers that use it.
type Store struct {
	options Options
	full    int64 // bytes of a segment after which another begins
	folder  *folder
	space   space
	reads   chan struct{}

	// Only the holder of io may change the following fields.
	io        sync.Mutex
	file      *os.File // the newest segment's
	marker    *marker
	keys      keys
	keyFiles  []keyFile
	synced    bool // every write is synced
	suspect   bool // a sync of file has failed
	manifests int  // number of manifests written
	failing   bool // the last write failed
	buffer    []byte

	mu        sync.Mutex // for the following fields; held briefly
	epoch     string
	earlier   map[string]uint64
	first     uint64 // sequence of the oldest event kept, or last+1
	last      uint64
	group     uint64
	segments  []*segment // oldest first
	topics    *topics    // nil without a limit
	followers map[*follower]bool
	waiting   []*request
	closed    bool
	dirty     bool

	syncing sync.Mutex    // held by sync: two at a time could each remove the other's manifest
	wake    chan struct{} // wakes commitAll
	stop    chan struct{}
	working sync.WaitGroup
}

var _ server.Store = (*Store)(nil)

// Open opens the store in the folder, or creates it. It reads and verifies all events, at about 1 GB per second. The
// error wraps [ErrInUse] or [ErrOldFormat], or is one of the file system.
func Open(ctx context.Context, o Options) (*Store, error) {
	o.Sync = cmp.Or(o.Sync, DefaultSync)
	o.MaxAge = cmp.Or(o.MaxAge, DefaultMaxAge)
	o.MaxBytes = cmp.Or(o.MaxBytes, DefaultMaxBytes)
	o.MaxKeys = cmp.Or(o.MaxKeys, DefaultMaxKeys)
	o.Logger = cmp.Or(o.Logger, slog.Default())
	s := &Store{
		options:   o,
		full:      segmentBytes(o.MaxBytes),
		space:     space{dir: o.Dir, reserve: cmp.Or(o.Reserve, DefaultReserve), logger: o.Logger},
		reads:     make(chan struct{}, cmp.Or(o.MaxReads, DefaultMaxReads)),
		keys:      keys{age: cmp.Or(o.KeyAge, DefaultKeyAge), known: map[keyID]keyed{}},
		topics:    newTopics(o.MaxEventsPerTopic),
		followers: map[*follower]bool{},
		wake:      make(chan struct{}, 1),
		stop:      make(chan struct{}),
	}
	if err := s.open(ctx); err != nil {
		return nil, fmt.Errorf("%s: %w", o.Dir, err)
	}
	s.working.Go(s.commitAll)
	s.working.Go(s.maintain)
	return s, nil
}

// Bounds of the size of a segment, which is an eighth of what is kept.
const (
	minSegment = 64 << 10
	maxSegment = 8 << 20
)

func segmentBytes(limit int64) int64 {
	if limit < 0 {
		return maxSegment
	}
	return min(max(limit/8, minSegment), maxSegment)
}

func (s *Store) open(ctx context.Context) (err error) {
	if err := ctx.Err(); err != nil {
		return err
	}
	if s.folder, err = lock(s.options.Dir); err != nil {
		return err
	}
	r := &recovery{store: s, dir: s.options.Dir, logger: s.options.Logger}
	if err := r.run(ctx); err != nil {
		s.release()
		return err
	}
	s.trim(time.Now())
	s.options.Logger.Info("store opened", "dir", s.options.Dir, "epoch", s.epoch, "first", s.first, "last", s.last)
	return nil
}

// openNewest opens the newest segment, or creates one.
func (s *Store) openNewest() (*os.File, error) {
	if n := len(s.segments); n > 0 && s.segments[n-1].size < s.full {
		return os.OpenFile(s.path(s.segments[n-1]), os.O_RDWR, 0)
	}
	next := &segment{id: randomID(), first: s.last + 1, last: s.last}
	file, err := createSegment(s.options.Dir, next)
	if err == nil {
		s.segments = append(s.segments, next)
	}
	return file, err
}

func (s *Store) path(segment *segment) string { return filepath.Join(s.options.Dir, segment.name()) }

// writeManifest writes a manifest of the current files.
func (s *Store) writeManifest() error { return s.putManifest(s.segments, s.keyFiles) }

// putManifest writes a manifest of these files and makes it the current one. The last segment is the one that grows.
func (s *Store) putManifest(segments []*segment, keyFiles []keyFile) error {
	s.manifests++
	id, check, at, err := writeManifest(s.options.Dir, s.manifestOf(segments, keyFiles))
	if err != nil {
		return err
	}
	newest := segments[len(segments)-1]
	mark := mark{manifest: id, check: check, changed: at, group: s.group, high: s.last, offset: newest.size}
	if err := s.marker.writeBoth(mark); err != nil {
		return err
	}
	removeManifests(s.options.Dir, id)
	return nil
}

func (s *Store) manifestOf(segments []*segment, keyFiles []keyFile) *manifest {
	m := &manifest{Epoch: s.epoch, Earlier: s.earlier, Synced: s.synced, Keys: keyFiles}
	newest := segments[len(segments)-1]
	for _, segment := range segments {
		e := entry{ID: segment.id, First: segment.first}
		if segment != newest {
			e.Last, e.Events, e.Size = segment.last, segment.events, segment.size
		}
		m.Segments = append(m.Segments, e)
	}
	return m
}

// renewManifest replaces the manifest file, so that older marks are no longer valid. Writing continues while it is
// synced. If another manifest is written meanwhile, that one has the same effect and has removed this file.
func (s *Store) renewManifest() error {
	s.io.Lock()
	m, manifests := s.manifestOf(s.segments, s.keyFiles), s.manifests
	s.io.Unlock()
	id, check, at, err := writeManifest(s.options.Dir, m)
	if err != nil {
		if s.hasPut(manifests) {
			return nil
		}
		return err
	}
	switch adopted, err := s.adopt(id, check, at, manifests); {
	case err != nil:
		return err // a mark may name the file
	case !adopted:
		if err := os.Remove(filepath.Join(s.options.Dir, manifestName(id))); !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	}
	if err := s.marker.file.Sync(); err != nil {
		return err
	}
	s.io.Lock()
	defer s.io.Unlock()
	removeManifests(s.options.Dir, s.marker.manifest)
	return nil
}

// hasPut reports whether a manifest was written since that count.
func (s *Store) hasPut(manifests int) bool {
	s.io.Lock()
	defer s.io.Unlock()
	return manifests != s.manifests
}

// adopt makes the manifest the current one, unless another was written since that count.
func (s *Store) adopt(id uint64, check uint32, at int64, manifests int) (adopted bool, err error) {
	s.io.Lock()
	defer s.io.Unlock()
	if manifests != s.manifests {
		return false, nil
	}
	mark := s.marker.mark
	mark.manifest, mark.check, mark.changed = id, check, at
	for range 2 { // both slots
		if err := s.marker.write(mark); err != nil {
			return false, err
		}
	}
	return true, nil
}

// Close syncs the events and releases the folder. Close the brokers that use the store first.
func (s *Store) Close() error {
	if !s.shut() {
		return nil
	}
	s.io.Lock()
	defer s.io.Unlock()
	mark := s.marker.mark
	mark.closed = true
	err := s.file.Sync()
	if err == nil {
		err = s.marker.writeBoth(mark)
	}
	if err == nil {
		err = s.folder.close()
	}
	return errors.Join(err, s.release())
}

// shut stops the goroutines of the store. It reports false if the store is already closed.
func (s *Store) shut() bool {
	s.mu.Lock()
	closed := s.closed
	s.closed = true
	s.mu.Unlock()
	if closed {
		return false
	}
	close(s.stop)
	s.working.Wait()
	return true
}

func (s *Store) release() (err error) {
	if s.file != nil {
		err = s.file.Close()
	}
	if s.marker != nil {
		err = errors.Join(err, s.marker.file.Close())
	}
	return errors.Join(err, s.folder.unlock())
}

// State implements [server.Store].
func (s *Store) State(ctx context.Context) (server.StoreState, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return server.StoreState{}, errClosed
	}
	s.expire(time.Now())
	return s.state(), nil
}

func (s *Store) state() server.StoreState {
	return server.StoreState{Epoch: s.epoch, First: s.first, Last: s.last, Earlier: s.earlier}
}

var errClosed = fmt.Errorf("%w: store is closed", server.ErrStoreUnavailable)

// maintain syncs and drops expired events until the store is closed.
func (s *Store) maintain() {
	every := DefaultSync
	if s.options.Sync > 0 {
		every = s.options.Sync
	}
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		select {
		case <-s.stop:
			return
		case <-ticker.C:
			s.sync()
			s.drop()
		}
	}
}

// sync syncs what was written since the last time. Writing continues meanwhile.
func (s *Store) sync() {
	s.syncing.Lock()
	defer s.syncing.Unlock()
	s.mu.Lock()
	file, dirty := s.file, s.dirty
	s.dirty = false
	s.mu.Unlock()
	if !dirty {
		return
	}
	var err error
	if !s.synced {
		err = file.Sync()
	}
	if errors.Is(err, os.ErrClosed) {
		err = nil // it was synced before
	}
	if err := s.renewManifest(); err != nil {
		s.options.Logger.Error("cannot write the manifest", "dir", s.options.Dir, "error", err)
	}
	if err != nil {
		s.options.Logger.Error("cannot sync events to disk: they may be lost if the machine stops", "dir", s.options.Dir, "error", err)
		s.io.Lock()
		s.suspect = true
		s.io.Unlock()
	}
}
