package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	nats "github.com/nats-io/nats-server/v2/server"

	"github.com/eventsource-wasm/eventsource-wasm/server"
	"github.com/eventsource-wasm/eventsource-wasm/server/filestore"
	"github.com/eventsource-wasm/eventsource-wasm/server/jetstream"
	"github.com/eventsource-wasm/eventsource-wasm/sse"
)

// The sizes of the measurements of every store.
const (
	storeLatencies  = 2000
	storePublishers = 64
	storeBatch      = 100
	storeReplay     = 100_000
	storeMillion    = 1_000_000
	storeTopics     = 10_000
	storeResumes    = 200
	storeTime       = 3 * time.Second
)

// A keeper is a store to measure.
type keeper struct {
	name string
	open func(dir string) (store server.Store, close func(), err error)
}

var keepers = []keeper{
	{"memory", func(string) (server.Store, func(), error) { return nil, func() {}, nil }},
	{"file, synced each 250 ms", func(dir string) (server.Store, func(), error) { return openFolder(dir, 0) }},
	{"file, synced always", func(dir string) (server.Store, func(), error) { return openFolder(dir, -1) }},
	{"cluster of three, on this machine", openCluster},
}

func openFolder(dir string, sync time.Duration) (server.Store, func(), error) {
	s, err := filestore.Open(context.Background(), filestore.Options{Dir: dir, Sync: sync, MaxBytes: -1, Logger: storeOptions.Logger})
	if err != nil {
		return nil, nil, err
	}
	return s, func() { s.Close() }, nil
}

var storeOptions = jetstream.Options{MaxBytes: -1, Logger: slog.New(slog.DiscardHandler)}

// openCluster starts NATS servers in this process, so they share its processors with the rest.
func openCluster(dir string) (server.Store, func(), error) {
	var servers []*nats.Server
	closeAll := func() {
		for _, s := range servers {
			s.Shutdown()
			s.WaitForShutdown()
		}
	}
	var routes, urls string
	for i := range 3 {
		o := &nats.Options{
			ServerName: fmt.Sprintf("n%d", i), Host: "127.0.0.1", Port: -1, NoSigs: true, NoLog: true,
			JetStream: true, StoreDir: filepath.Join(dir, strconv.Itoa(i)),
			Cluster: nats.ClusterOpts{Name: "bench", Host: "127.0.0.1", Port: -1},
			Routes:  nats.RoutesFromStr(routes),
		}
		s, err := nats.NewServer(o)
		if err != nil {
			closeAll()
			return nil, nil, err
		}
		s.Start()
		servers = append(servers, s)
		if !s.ReadyForConnections(10 * time.Second) {
			closeAll()
			return nil, nil, fmt.Errorf("a NATS server is not ready")
		}
		routes = "nats://" + servers[0].ClusterAddr().String()
		urls += "," + s.ClientURL()
	}
	conn, err := jetstream.Connect(urls[1:])
	if err != nil {
		closeAll()
		return nil, nil, err
	}
	o := storeOptions
	o.Replicas = 3
	for deadline := time.Now().Add(time.Minute); ; <-time.After(100 * time.Millisecond) {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		s, err := jetstream.Open(ctx, conn, o)
		cancel()
		if err == nil {
			return s, func() { conn.Close(); closeAll() }, nil
		}
		if time.Now().After(deadline) {
			conn.Close()
			closeAll()
			return nil, nil, err
		}
	}
}

// A storeResult has times in microseconds.
type storeResult struct {
	Store         string
	Median, P99   float64 // from Publish to the client, one at a time
	Single, Batch float64 // events per second, with 1 and with 100 events per publication
	Replay        float64 // of 100,000 events
	Resume        float64 // median, ten events before the newest of a million in 10,000 topics; zero if not measured
	MB            float64 // resident memory of the process afterwards
}

func runStores(out string) error {
	var results []storeResult
	fmt.Printf("%-36s %9s %9s %10s %10s %10s %10s %6s\n", "", "median µs", "99 % µs", "single/s", "batch/s", "replay ms", "resume µs", "MB")
	for _, k := range keepers {
		r, err := measureStore(k)
		if err != nil {
			return fmt.Errorf("%s: %w", k.name, err)
		}
		fmt.Printf("%-36s %9.0f %9.0f %10.0f %10.0f %10.1f %10.0f %6.0f\n", r.Store, r.Median, r.P99, r.Single, r.Batch, r.Replay/1e3, r.Resume, r.MB)
		results = append(results, r)
	}
	if out == "" {
		return nil
	}
	text, err := json.MarshalIndent(results, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(out, append(text, '\n'), 0o644)
}

// A storeBench is a broker on a store, and its server.
type storeBench struct {
	broker *server.Broker
	http   *httptest.Server
}

func measureStore(k keeper) (r storeResult, err error) {
	dir, err := os.MkdirTemp("", "bench-stores")
	if err != nil {
		return r, err
	}
	defer os.RemoveAll(dir)
	store, closeStore, err := k.open(dir)
	if err != nil {
		return r, err
	}
	defer closeStore()
	b := &storeBench{broker: &server.Broker{Store: store}}
	if store == nil {
		b.broker.MaxEvents, b.broker.MaxBytes = -1, -1 // without a store, memory keeps everything
	}
	defer b.broker.Close()
	b.http = httptest.NewServer(&server.Handler{Broker: b.broker, MaxLag: -1})
	defer b.http.Close()
	r.Store = k.name
	steps := []func(*storeResult) error{b.latency, b.throughput, b.replay}
	if store != nil {
		steps = append(steps, b.resume)
	}
	for _, step := range steps {
		if err := step(&r); err != nil {
			return r, err
		}
	}
	r.MB = resident()
	return r, nil
}

var storeData = strings.Repeat("x", dataBytes)

// follow opens a stream, and returns a function that reads up to a line.
func (b *storeBench) follow(query, lastEventID string) (to func(line string) error, end func(), err error) {
	ctx, cancel := context.WithCancel(context.Background())
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, b.http.URL+query, nil)
	if err != nil {
		cancel()
		return nil, nil, err
	}
	request.Header.Set("Last-Event-ID", lastEventID)
	response, err := http.DefaultTransport.RoundTrip(request)
	if err != nil {
		cancel()
		return nil, nil, err
	}
	if gap := response.Header.Get("Event-Gap"); gap != "" || response.StatusCode != http.StatusOK {
		cancel()
		return nil, nil, fmt.Errorf("status %d, gap %q", response.StatusCode, gap)
	}
	lines := bufio.NewScanner(response.Body)
	to = func(line string) error {
		for lines.Scan() {
			if lines.Text() == line {
				return nil
			}
		}
		return io.ErrUnexpectedEOF
	}
	return to, func() { cancel(); response.Body.Close() }, nil
}

func (b *storeBench) latency(r *storeResult) error {
	last, err := b.broker.Publish(context.Background(), "latency", sse.Event{Data: storeData})
	if err != nil {
		return err
	}
	to, end, err := b.follow("?topic=latency", last)
	if err != nil {
		return err
	}
	defer end()
	var times []time.Duration
	for range storeLatencies {
		start := time.Now()
		received := make(chan time.Duration, 1)
		go func() {
			to("data: " + storeData)
			received <- time.Since(start)
		}()
		if _, err := b.broker.Publish(context.Background(), "latency", sse.Event{Data: storeData}); err != nil {
			return err
		}
		times = append(times, <-received)
	}
	slices.Sort(times)
	r.Median, r.P99 = microseconds(times[len(times)/2]), microseconds(times[len(times)*99/100])
	return nil
}

func microseconds(d time.Duration) float64 { return float64(d) / 1e3 }

func (b *storeBench) throughput(r *storeResult) error {
	for events, rate := range map[int]*float64{1: &r.Single, storeBatch: &r.Batch} {
		batch := make([]server.Publication, events)
		for i := range batch {
			batch[i] = server.Publication{Topic: "load", Event: sse.Event{Data: storeData}}
		}
		var published atomic.Int64
		var failed atomic.Value
		var publishers sync.WaitGroup
		start := time.Now()
		for range min(storePublishers, 32*storeBatch/events) {
			publishers.Go(func() {
				for time.Since(start) < storeTime {
					if _, err := b.broker.PublishAll(context.Background(), batch...); err != nil {
						failed.Store(err)
						return
					}
					published.Add(int64(events))
				}
			})
		}
		publishers.Wait()
		if err, ok := failed.Load().(error); ok {
			return err
		}
		*rate = float64(published.Load()) / time.Since(start).Seconds()
	}
	return nil
}

// fill publishes events in batches to the topics in turn, and returns the last id.
func (b *storeBench) fill(events, topics int) (last string, err error) {
	batch := make([]server.Publication, 1000)
	for n := 0; n < events; n += len(batch) {
		for i := range batch {
			batch[i] = server.Publication{Topic: "fill." + strconv.Itoa((n+i)%topics), Event: sse.Event{Data: storeData}}
		}
		ids, err := b.broker.PublishAll(context.Background(), batch...)
		if err != nil {
			return "", err
		}
		last = ids[len(ids)-1]
	}
	return last, nil
}

// before returns the id n events earlier.
func before(id string, n int) string {
	epoch, digits, _ := strings.Cut(id, "-")
	sequence, _ := strconv.Atoi(digits)
	return fmt.Sprintf("%s-%d", epoch, sequence-n)
}

func (b *storeBench) replay(r *storeResult) error {
	last, err := b.fill(storeReplay, 1)
	if err != nil {
		return err
	}
	start := time.Now()
	to, end, err := b.follow("", before(last, storeReplay))
	if err != nil {
		return err
	}
	defer end()
	err = to("id: " + last)
	r.Replay = microseconds(time.Since(start))
	return err
}

// resume resumes a stream from events that are only in the store.
func (b *storeBench) resume(r *storeResult) error {
	log.Printf("%s: a million events", r.Store)
	last, err := b.fill(storeMillion, storeTopics)
	if err != nil {
		return err
	}
	from := before(last, server.DefaultMaxEvents+100)
	var times []time.Duration
	for range storeResumes {
		start := time.Now()
		to, end, err := b.follow("", from)
		if err != nil {
			return err
		}
		err = to("data: " + storeData)
		times = append(times, time.Since(start))
		end()
		if err != nil {
			return err
		}
	}
	slices.Sort(times)
	r.Resume = microseconds(times[len(times)/2])
	return nil
}

// resident returns the resident memory of the process, in MB.
func resident() float64 {
	text, _ := os.ReadFile("/proc/self/statm")
	fields := strings.Fields(string(text))
	if len(fields) < 2 {
		return 0
	}
	pages, _ := strconv.Atoi(fields[1])
	return float64(pages*os.Getpagesize()) / 1e6
}
