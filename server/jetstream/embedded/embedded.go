// Package embedded keeps the events of a [server.Broker] in a folder, by a server of NATS JetStream within the program,
// which opens no port.
//
//	store, err := embedded.Open(ctx, embedded.Options{Dir: "/var/lib/events"})
//	broker := &server.Broker{Store: store}
package embedded

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	nats "github.com/nats-io/nats-server/v2/server"
	client "github.com/nats-io/nats.go"

	"github.com/eventsource-wasm/eventsource-wasm/server"
	"github.com/eventsource-wasm/eventsource-wasm/server/jetstream"
)

// DefaultSync is how often the folder is synced if [Options.Sync] is zero.
const DefaultSync = 250 * time.Millisecond

// DefaultReserve is what is left free of the disk if [Options.Reserve] is zero.
const DefaultReserve = 64 << 20

// maxPayload is the largest message: an event, of which a broker takes 1 MiB by default.
const maxPayload = 8 << 20

// coalesceSynced is how many events, each of which would be synced, take longer to store than a batch of them.
const coalesceSynced = 100

// startTimeout bounds how long the server takes to be ready, after it has read what there is.
const startTimeout = time.Minute

// Options say where the events are, and how safe.
type Options struct {
	// Dir is the folder, for this program alone. It is made if it does not exist.
	Dir string

	// Sync is how often what was published is synced to the disk. A program that ends, or is killed, loses nothing; a
	// machine that loses its power loses what was published since. Zero means 250 ms; negative, that Publish returns
	// when the event is synced.
	Sync time.Duration

	// Reserve is how many bytes of the disk are left free: with less, Append fails with [server.ErrStoreFull], and what
	// is stored can still be read. A disk that is full to the last byte stops the store until it is opened again. It is
	// heeded on Linux. Zero means 64 MiB; negative, none.
	Reserve int64

	// Store are the limits of what is kept. Replicas and Coalesce are for package embedded to decide.
	Store jetstream.Options
}

// ErrInUse is returned for a folder that another program has opened.
var ErrInUse = errors.New("embedded: the folder is another process's")

// A Store is a [server.Store] in a folder.
type Store struct {
	*jetstream.Store
	conn   *client.Conn
	nats   *nats.Server
	folder *folder
	space  space
}

// Append implements [server.Store].
func (s *Store) Append(ctx context.Context, key server.Key, records ...server.Record) (first uint64, err error) {
	if s.space.isShort() {
		return 0, server.ErrStoreFull
	}
	return s.Store.Append(ctx, key, records...)
}

// Open returns the store in the folder. It has to be closed.
func Open(ctx context.Context, o Options) (*Store, error) {
	o.Store.Replicas, o.Store.Coalesce = 1, math.MaxInt
	if o.Sync < 0 {
		o.Store.Coalesce = coalesceSynced
	}
	o.Store.Logger = cmp.Or(o.Store.Logger, slog.Default())
	s := &Store{space: space{dir: o.Dir, reserve: cmp.Or(o.Reserve, DefaultReserve), logger: o.Store.Logger}}
	if err := s.open(ctx, o); err != nil {
		s.Close()
		return nil, fmt.Errorf("%s: %w", o.Dir, err)
	}
	return s, nil
}

func (s *Store) open(ctx context.Context, o Options) (err error) {
	if s.folder, err = lock(o.Dir); err != nil {
		return err
	}
	if s.nats, err = start(o); err != nil {
		return err
	}
	if s.conn, err = jetstream.Connect("", client.InProcessServer(s.nats)); err != nil {
		return err
	}
	if s.Store, err = jetstream.Open(ctx, s.conn, o.Store); err != nil {
		return err
	}
	return s.account(ctx)
}

// account begins a new epoch if the machine stopped while the folder was open: what it had not synced is gone, although
// clients may have it.
func (s *Store) account(ctx context.Context) error {
	if s.folder.lostPower() {
		state, err := s.State(ctx)
		if err != nil {
			return err
		}
		if err := s.Renew(ctx, state.Last); err != nil {
			return err
		}
	}
	return s.folder.open()
}

func start(o Options) (*nats.Server, error) {
	options := &nats.Options{
		ServerName: "eventsource",
		DontListen: true,
		NoSigs:     true,
		JetStream:  true,
		StoreDir:   o.Dir,
		MaxPayload: maxPayload,
		// Else it is three quarters of what is free at each start, of which what is stored then takes its part again.
		JetStreamMaxStore: math.MaxInt64 / 2,
		SyncInterval:      cmp.Or(max(o.Sync, 0), DefaultSync),
		SyncAlways:        o.Sync < 0,
	}
	n, err := nats.NewServer(options)
	if err != nil {
		return nil, err
	}
	log := &logger{Logger: o.Store.Logger}
	n.SetLoggerV2(log, false, false, false)
	n.Start()
	if log.fatal.Load() != nil || !n.ReadyForConnections(startTimeout) || !n.JetStreamEnabled() {
		n.Shutdown()
		return nil, fmt.Errorf("the server of NATS does not start: %v", log.fatal.Load())
	}
	return n, nil
}

// Close syncs what was published, and gives the folder back. The brokers that use the store must be closed before.
func (s *Store) Close() error {
	if s.conn != nil {
		s.conn.Close()
	}
	if s.nats != nil {
		s.nats.Shutdown()
		s.nats.WaitForShutdown()
	}
	if s.folder == nil {
		return nil
	}
	return s.folder.close(s.Store != nil)
}

// A folder is one that is locked. While it is open there is a file in it that names the run of the machine.
type folder struct {
	lock *os.File
	mark string
}

func lock(dir string) (*folder, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	file, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := lockFile(file); err != nil {
		file.Close()
		return nil, err
	}
	return &folder{file, filepath.Join(dir, "open")}, nil
}

// lostPower reports whether the machine has been started since the folder was opened and not closed. If that cannot be
// known, it may have been.
func (f *folder) lostPower() bool {
	opened, err := os.ReadFile(f.mark)
	if errors.Is(err, os.ErrNotExist) {
		return false
	}
	run := machineRun()
	return err != nil || run == "" || string(opened) != run
}

// open leaves the mark, and returns when it is safe.
func (f *folder) open() error {
	file, err := os.OpenFile(f.mark, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = file.WriteString(machineRun())
	return errors.Join(err, file.Sync(), file.Close(), syncPath(filepath.Dir(f.mark)))
}

// close takes the mark away if all is synced.
func (f *folder) close(synced bool) (err error) {
	if synced {
		err = f.settle()
	}
	return errors.Join(err, f.lock.Close())
}

// settle syncs all files, which the server of NATS leaves to the system when it ends, and then takes the mark away.
func (f *folder) settle() error {
	dir := filepath.Dir(f.mark)
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return syncPath(path)
	})
	if err != nil {
		return err
	}
	return errors.Join(os.Remove(f.mark), syncPath(dir))
}

// machineRun names what begins when the machine starts, or is empty.
func machineRun() string {
	id, _ := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return strings.TrimSpace(string(id))
}

// syncPath syncs a file or a folder.
func syncPath(path string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	return file.Sync()
}

// A logger takes what the server of NATS has to say. What it notices is of no use where nobody can connect to it.
type logger struct {
	*slog.Logger
	fatal atomic.Value // text of why it does not start
}

func (l *logger) Noticef(format string, v ...any) { l.Debug("nats: " + fmt.Sprintf(format, v...)) }
func (l *logger) Debugf(format string, v ...any)  { l.Debug("nats: " + fmt.Sprintf(format, v...)) }
func (l *logger) Tracef(format string, v ...any)  { l.Debug("nats: " + fmt.Sprintf(format, v...)) }
func (l *logger) Warnf(format string, v ...any)   { l.Warn("nats: " + fmt.Sprintf(format, v...)) }
func (l *logger) Errorf(format string, v ...any)  { l.Error("nats: " + fmt.Sprintf(format, v...)) }
func (l *logger) Fatalf(format string, v ...any)  { l.fatal.Store(fmt.Sprintf(format, v...)) }
