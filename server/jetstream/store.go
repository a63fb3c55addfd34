// Package jetstream keeps the events of a [server.Broker] in a stream of NATS JetStream. Any number of brokers can
// share it. To keep events in a folder, without NATS, use package filestore.
//
//	conn, err := jetstream.Connect("nats://a:4222,nats://b:4222,nats://c:4222")
//	store, err := jetstream.Open(ctx, conn, jetstream.Options{Replicas: 3})
//	broker := &server.Broker{Store: store}
//
// server/STORES.md describes the guarantees and requirements.
package jetstream

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/eventsource-wasm/eventsource-wasm/server"
)

// Defaults of [Options], for fields that are zero.
const (
	DefaultName     = "events"
	DefaultMaxAge   = 24 * time.Hour
	DefaultMaxBytes = 1 << 30
	DefaultKeyAge   = time.Hour
	DefaultTimeout  = 5 * time.Second
	DefaultMaxReads = 64
)

// Options configures a [Store]. All stores with the same name should have the same Replicas, limits and KeyAge: the one
// opened last decides.
type Options struct {
	// Name is the name of the stream: letters, digits, "-" and "_". Brokers with the same name share their events.
	// Empty means "events".
	Name string

	// Replicas is the number of NATS servers that hold the events: 1, 3 or 5. With 3, one may fail. Zero means 1.
	Replicas int

	// MaxAge, MaxBytes and MaxEvents limit the events that are kept. The oldest are dropped first. MaxEventsPerTopic
	// limits the events kept per topic. MaxBytes counts bytes on disk of one replica: each event takes about 30 bytes
	// and its topic in addition to its size. Zero means 24 hours, 1 GiB, and no limit for the others. Negative means no
	// limit.
	MaxAge            time.Duration
	MaxBytes          int64
	MaxEvents         int64
	MaxEventsPerTopic int64

	// KeyAge is how long a [server.IdempotencyKey] is remembered, in the memory of the NATS servers. Zero means 1 hour,
	// or MaxAge if that is less.
	KeyAge time.Duration

	// Timeout limits how long one request waits for NATS. Zero means 5 s.
	Timeout time.Duration

	// MaxReads limits concurrent reads. Further ones wait. A read for a client returns up to 64 KiB, or one larger
	// event. Zero means 64.
	MaxReads int

	// Lazy makes Open succeed while NATS is unreachable or not ready. Follow, which a [server.Broker] calls, then opens
	// the stream as soon as possible. Until then, the methods of the store fail with [server.ErrStoreUnavailable], and
	// Err returns the reason. The connection needs [nats.RetryOnFailedConnect].
	Lazy bool

	// Logger gets the log of the store. Nil means [slog.Default].
	Logger *slog.Logger
}

// Errors of [Connect] and [Open].
var (
	ErrURL     = errors.New("jetstream: invalid NATS URL: write nats://host:4222")
	ErrName    = errors.New("jetstream: invalid stream name: use letters, digits, - and _")
	ErrVersion = errors.New("jetstream: NATS server is older than 2.12: upgrade it")
)

// A Store is a [server.Store] in a stream of NATS JetStream.
type Store struct {
	conn    *nats.Conn
	stream  jetstream.JetStream
	options Options
	reads   chan struct{}

	established atomic.Bool
	err         atomic.Pointer[error] // why the stream is not followed
	trust       trust
	high        atomic.Uint64 // the highest sequence known
	alarm       chan struct{} // signals that the stream assigned an old sequence
}

var _ server.Store = (*Store)(nil)

// Connect connects to the first of the comma-separated URLs that responds, with the options that a [Store] needs. The
// connection reconnects forever. Publishing fails while it is down, so that NATS does not send old messages later.
// Additional options take precedence. The error is [ErrURL] for a malformed URL. It does not repeat the URL, which may
// contain a password.
func Connect(urls string, options ...nats.Option) (*nats.Conn, error) {
	defaults := []nats.Option{
		nats.Name("eventsource-server"),
		nats.MaxReconnects(-1),
		nats.ReconnectWait(100 * time.Millisecond),
		nats.ReconnectJitter(100*time.Millisecond, 100*time.Millisecond),
		nats.ReconnectBufSize(-1),
		nats.PingInterval(2 * time.Second), // detects a vanished server within three of these
		nats.MaxPingsOutstanding(2),
		nats.IgnoreAuthErrorAbort(),                                       // credentials may be renewed
		nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}), // dropped messages are read again
	}
	conn, err := nats.Connect(urls, append(defaults, options...)...)
	if _, unparsed := errors.AsType[*url.Error](err); unparsed { // which has the URL, perhaps with a password
		return nil, ErrURL
	}
	if err != nil {
		return nil, fmt.Errorf("jetstream: %w", err)
	}
	return conn, nil
}

// Open opens the store, and creates the stream if it does not exist. The caller owns the connection. Close it after the
// brokers that use the store. The error wraps [ErrName], [ErrVersion] or an error of NATS.
func Open(ctx context.Context, conn *nats.Conn, o Options) (*Store, error) {
	if o.Name == "" {
		o.Name = DefaultName
	}
	if !regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`).MatchString(o.Name) {
		return nil, ErrName
	}
	o.Timeout = cmp.Or(o.Timeout, DefaultTimeout)
	o.Logger = cmp.Or(o.Logger, slog.Default())
	stream, err := jetstream.New(conn)
	if err != nil {
		return nil, fmt.Errorf("jetstream: %w", err)
	}
	s := &Store{conn: conn, stream: stream, options: o, reads: make(chan struct{}, cmp.Or(o.MaxReads, DefaultMaxReads)), alarm: make(chan struct{}, 1)}
	s.setErr(errNotFollowed)
	switch err := s.open(ctx); {
	case err == nil:
		s.established.Store(true)
	case o.Lazy && (isUnready(err) || !conn.IsConnected()) && ctx.Err() == nil:
		o.Logger.Warn("NATS is unreachable: waiting for it", "name", o.Name, "error", err)
		s.setErr(unavailable(err))
	default:
		return nil, fmt.Errorf("jetstream: %w", err)
	}
	return s, nil
}

func (s *Store) open(ctx context.Context) error {
	if !s.options.Lazy {
		return s.establish(ctx)
	}
	if !s.conn.IsConnected() {
		return errDisconnected
	}
	attempt, cancel := context.WithTimeout(ctx, openWait)
	defer cancel()
	return s.attempt(attempt)
}

var errNotFollowed = fmt.Errorf("%w: stream is not followed yet", server.ErrStoreUnavailable)

// Err returns why the stream is currently not followed, or nil if it is. Use it for readiness checks.
func (s *Store) Err() error { return *s.err.Load() }

func (s *Store) setErr(err error) { s.err.Store(&err) }

// raise records the highest sequence seen in this epoch.
func (s *Store) raise(sequence uint64) {
	for {
		high := s.high.Load()
		if high >= sequence || s.high.CompareAndSwap(high, sequence) {
			return
		}
	}
}

// reset starts over in another epoch.
func (s *Store) reset(sequence uint64) { s.high.Store(sequence) }

// A trust makes Append wait while the stream might be a different one.
type trust struct {
	mu    sync.Mutex
	given chan struct{} // nil while there is trust
}

func (t *trust) withdraw() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.given == nil {
		t.given = make(chan struct{})
	}
}

func (t *trust) give() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.given != nil {
		close(t.given)
		t.given = nil
	}
}

func (t *trust) await(ctx context.Context) error {
	t.mu.Lock()
	given := t.given
	t.mu.Unlock()
	if given == nil {
		return nil
	}
	select {
	case <-given:
		return nil
	case <-ctx.Done():
		return unavailable(ctx.Err())
	}
}

// openWait limits one attempt to open the stream. A cluster that has just started does not respond until it has a
// leader.
const openWait = 2 * time.Second

// establish creates or updates the stream as soon as NATS is ready.
func (s *Store) establish(ctx context.Context) error {
	for {
		attempt, cancel := context.WithTimeout(ctx, openWait)
		err := s.attempt(attempt)
		cancel()
		if err == nil || !isUnready(err) || pause(ctx, 5*retryWait) != nil {
			return err
		}
	}
}

// isUnready reports whether the error means that the cluster has no leader.
func isUnready(err error) bool {
	refused, ok := errors.AsType[*jetstream.APIError](err)
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, nats.ErrNoResponders) ||
		errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) || ok && refused.ErrorCode == codeNoLeader
}

// codeNoLeader is the API's error code for a cluster without a leader.
const codeNoLeader = 10008

// attempt is establish without waiting. Other stores may do the same at the same time.
func (s *Store) attempt(ctx context.Context) error {
	info, err := s.info(ctx)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		if _, err = s.stream.CreateStream(ctx, s.config(map[string]string{epochKey: newEpoch()})); err != nil {
			return err
		}
		info, err = s.info(ctx)
	}
	switch {
	case err != nil:
		return err
	case info.Config.Metadata[epochKey] == "":
		return fmt.Errorf("stream %q belongs to another program: choose another name", s.options.Name)
	}
	// Do not update a correct configuration: another store may be changing the epoch.
	if want := s.config(info.Config.Metadata); !alike(info.Config, want) {
		updated, err := s.stream.UpdateStream(ctx, want)
		if err != nil {
			return err
		}
		info = updated.CachedInfo()
	}
	if !info.Config.AllowAtomicPublish {
		return ErrVersion
	}
	return nil
}

// alike reports whether the parts that [Options] decide are equal.
func alike(a, b jetstream.StreamConfig) bool {
	return slices.Equal(a.Subjects, b.Subjects) && a.RePublish != nil && *a.RePublish == *b.RePublish && a.Replicas == b.Replicas &&
		a.Storage == b.Storage && a.Retention == b.Retention && a.Discard == b.Discard && a.MaxAge == b.MaxAge &&
		a.MaxBytes == b.MaxBytes && a.MaxMsgs == b.MaxMsgs && a.MaxMsgsPerSubject == b.MaxMsgsPerSubject &&
		a.Duplicates == b.Duplicates && a.AllowDirect == b.AllowDirect && a.AllowAtomicPublish == b.AllowAtomicPublish
}

func (s *Store) config(metadata map[string]string) jetstream.StreamConfig {
	o := s.options
	maxAge := max(cmp.Or(o.MaxAge, DefaultMaxAge), 0) // zero means no limit
	keyAge := cmp.Or(o.KeyAge, DefaultKeyAge)
	if maxAge > 0 {
		keyAge = min(keyAge, maxAge)
	}
	return jetstream.StreamConfig{
		Name:               o.Name,
		Description:        "events of eventsource-server",
		Subjects:           []string{s.subject(stored) + ">"},
		RePublish:          &jetstream.RePublish{Source: s.subject(stored) + ">", Destination: s.subject(republished) + ">"},
		Metadata:           metadata,
		Replicas:           max(o.Replicas, 1),
		Storage:            jetstream.FileStorage,
		Retention:          jetstream.LimitsPolicy,
		Discard:            jetstream.DiscardOld,
		MaxAge:             maxAge,
		MaxBytes:           unlimited(cmp.Or(o.MaxBytes, DefaultMaxBytes)),
		MaxMsgs:            unlimited(cmp.Or(o.MaxEvents, -1)),
		MaxMsgsPerSubject:  unlimited(cmp.Or(o.MaxEventsPerTopic, -1)),
		MaxMsgSize:         -1,
		MaxConsumers:       -1,
		Duplicates:         keyAge,
		AllowDirect:        true,
		AllowAtomicPublish: true,
	}
}

func unlimited(n int64) int64 { return max(n, -1) }

// Kinds of subjects. A message to the first kind is stored, and then republished to the second.
const (
	stored      = "t"
	republished = "r"
)

func (s *Store) subject(kind string) string { return "es." + s.options.Name + "." + kind + "." }

// The stream's metadata has the epoch, so that all nodes find the same one, and the earlier epochs: "epoch:last
// epoch:last".
const (
	epochKey    = "eventsource-epoch"
	earlierKey  = "eventsource-earlier"
	maxEarlier  = 8
	epochLength = 8
)

func newEpoch() string { return strings.ToLower(rand.Text()[:epochLength]) }

func (s *Store) info(ctx context.Context) (*jetstream.StreamInfo, error) {
	ctx, cancel := context.WithTimeout(ctx, s.options.Timeout)
	defer cancel()
	stream, err := s.stream.Stream(ctx, s.options.Name)
	if err != nil {
		return nil, err
	}
	return stream.CachedInfo(), nil
}

// State implements [server.Store].
func (s *Store) State(ctx context.Context) (server.StoreState, error) {
	leave, err := s.enter(ctx)
	if err != nil {
		return server.StoreState{}, err
	}
	defer leave()
	info, err := s.info(ctx)
	if err != nil {
		return server.StoreState{}, unavailable(err)
	}
	return stateOf(info), nil
}

func stateOf(info *jetstream.StreamInfo) server.StoreState {
	state := server.StoreState{
		Epoch:   info.Config.Metadata[epochKey],
		First:   info.State.FirstSeq,
		Last:    info.State.LastSeq,
		Earlier: map[string]uint64{},
	}
	if info.State.Msgs == 0 {
		state.First = state.Last + 1
	}
	for _, entry := range strings.Fields(info.Config.Metadata[earlierKey]) {
		epoch, digits, _ := strings.Cut(entry, ":")
		if last, err := strconv.ParseUint(digits, 10, 64); err == nil {
			state.Earlier[epoch] = last
		}
	}
	return state
}

// renew replaces the epoch, because the newest events may be lost and their sequences assigned again. Ids of earlier
// epochs remain valid up to the sequence last.
func (s *Store) renew(ctx context.Context, epoch string, last uint64) error {
	info, err := s.info(ctx)
	if err != nil {
		return fmt.Errorf("jetstream: %w", err)
	}
	if info.Config.Metadata[epochKey] != epoch {
		return nil // another store has renewed it
	}
	state, metadata := stateOf(info), maps.Clone(info.Config.Metadata)
	earlier := []string{state.Epoch + ":" + strconv.FormatUint(last, 10)}
	for _, entry := range strings.Fields(metadata[earlierKey]) {
		epoch, _, _ := strings.Cut(entry, ":")
		earlier = append(earlier, epoch+":"+strconv.FormatUint(min(state.Earlier[epoch], last), 10))
	}
	metadata[earlierKey] = strings.Join(earlier[:min(len(earlier), maxEarlier)], " ")
	metadata[epochKey] = newEpoch()
	if _, err := s.stream.UpdateStream(ctx, s.config(metadata)); err != nil {
		return fmt.Errorf("jetstream: %w", err)
	}
	return nil
}

// enter waits until another read is allowed.
func (s *Store) enter(ctx context.Context) (leave func(), err error) {
	select {
	case s.reads <- struct{}{}:
		return func() { <-s.reads }, nil
	case <-ctx.Done():
		return nil, unavailable(ctx.Err())
	}
}

// unavailable wraps an error of NATS. Errors of the API have no secrets.
func unavailable(err error) error {
	return fmt.Errorf("%w: %w", server.ErrStoreUnavailable, err)
}

// An apiError is a stream's error response.
type apiError struct {
	Code        int    `json:"code"`
	ErrCode     int    `json:"err_code"`
	Description string `json:"description"`
}

func (e *apiError) Error() string { return fmt.Sprintf("%s (%d)", e.Description, e.ErrCode) }

// A pubAck is a stream's response to a publication.
type pubAck struct {
	Error     *apiError `json:"error"`
	Sequence  uint64    `json:"seq"`
	Duplicate bool      `json:"duplicate"`
}

func parseAck(data []byte) (ack pubAck, err error) {
	if err = json.Unmarshal(data, &ack); err == nil && ack.Error != nil {
		err = ack.Error
	}
	return ack, err
}
