package filestore_test

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/eventsource-wasm/eventsource-wasm/server"
	"github.com/eventsource-wasm/eventsource-wasm/server/filestore"
	"github.com/eventsource-wasm/eventsource-wasm/sse"
)

// TestMain fails if one of our goroutines outlives the tests.
func TestMain(m *testing.M) {
	code := m.Run()
	var leaked []byte
	for deadline := time.Now().Add(5 * time.Minute); ; <-time.After(time.Millisecond) {
		all := make([]byte, 1<<20)
		all = all[:runtime.Stack(all, true)]
		_, leaked, _ = bytes.Cut(all, []byte("\n\n")) // the first is this one
		if !bytes.Contains(leaked, []byte("eventsource-wasm/server")) {
			break
		}
		if time.Now().After(deadline) {
			fmt.Fprintf(os.Stderr, "goroutines leaked:\n%s\n", leaked)
			code = 1
			break
		}
	}
	os.Exit(code)
}

var quiet = slog.New(slog.DiscardHandler)

func openStore(t testing.TB, o filestore.Options) *filestore.Store {
	t.Helper()
	o.Logger = cmp.Or(o.Logger, quiet)
	store, err := filestore.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return store
}

// A node is a broker with a store and a server.
type node struct {
	store  *filestore.Store
	broker *server.Broker
	http   *httptest.Server
}

// startNode serves the events of a folder until the test ends, or until stop is called.
func startNode(t testing.TB, o filestore.Options, broker *server.Broker) *node {
	t.Helper()
	n := &node{store: openStore(t, o), broker: broker}
	broker.Store = n.store
	n.http = httptest.NewServer(&server.Handler{Broker: broker, OpenPublish: true, Logger: quiet})
	t.Cleanup(func() { n.stop(t) })
	return n
}

func (n *node) stop(t testing.TB) {
	if n.http == nil {
		return
	}
	n.broker.Close()
	n.http.CloseClientConnections()
	n.http.Close()
	n.http = nil
	if err := n.store.Close(); err != nil {
		t.Error(err)
	}
}

func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Minute); !ok(); <-time.After(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("timed out after five minutes: %s", what)
		}
	}
}

// stream opens a stream after the event, and returns its header and body.
func (n *node) stream(t testing.TB, query, lastEventID string) (*http.Response, *bufio.Reader) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, n.http.URL+query, nil)
	if err != nil {
		t.Fatal(err)
	}
	if lastEventID != "" {
		request.Header.Set("Last-Event-ID", lastEventID)
	}
	response, err := http.DefaultTransport.RoundTrip(request)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { response.Body.Close() })
	return response, bufio.NewReader(response.Body)
}

// read returns the bytes of the stream after the greeting, up to the end of the event with the id.
func read(t testing.TB, r *bufio.Reader, id string) string {
	t.Helper()
	var text strings.Builder
	for found := false; ; {
		line, err := r.ReadString('\n')
		if err != nil {
			t.Fatalf("%v after %q", err, text.String())
		}
		if line != ": \n" {
			text.WriteString(line)
		}
		found = found || line == "id: "+id+"\n"
		if found && line == "\n" {
			return text.String()
		}
	}
}

func publish(t testing.TB, b *server.Broker, topic string, event sse.Event) (id string) {
	t.Helper()
	id, err := b.Publish(t.Context(), topic, event)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// encode returns the encoding of the event in a stream.
func encode(t testing.TB, id string, event sse.Event) string {
	t.Helper()
	event.ID = id
	block, err := sse.Append(nil, event)
	if err != nil {
		t.Fatal(err)
	}
	return string(block)
}

var oddEvents = []sse.Event{
	{Data: "plain"},
	{Type: "typed", Data: "two\nlines\r\nand \r three", Retry: 1234},
	{},
	{Data: "\n"},
	{Type: "event: x", Data: "id: 7\n\ndata: no"},
	{Data: strings.Repeat("große ☃ ", 50_000)},
	{Data: "\x00\ufeff\xff"},
}

var oddTopics = []string{
	"a", "a.b.c", "", ".", "..", ".a", "a.", "a..b", "*x", "x>", "a b", "a\tb\r\n", "%41", "%", "größe.☃", "\x00\xff", "$JS.API", strings.Repeat("☃", 85),
}

// Published events are replayed byte for byte with the same ids, by the process and by the next one, for any data and
// topic.
func TestReplayAfterRestart(t *testing.T) {
	for name, sync := range map[string]time.Duration{"periodic sync": 0, "sync always": -1} {
		t.Run(name, func(t *testing.T) {
			o := filestore.Options{Dir: filepath.Join(t.TempDir(), "new", "folder"), Sync: sync}
			n := startNode(t, o, &server.Broker{})
			var want strings.Builder
			var first, last string
			for _, topic := range oddTopics {
				for _, event := range oddEvents {
					if topic == "" {
						topic = "empty"
					}
					last = publish(t, n.broker, topic, event)
					first = cmp.Or(first, last)
					want.WriteString(encode(t, last, event))
				}
			}
			epoch, _, _ := strings.Cut(first, "-")
			if first != epoch+"-1" || last != fmt.Sprintf("%s-%d", epoch, len(oddTopics)*len(oddEvents)) {
				t.Fatalf("ids from %s to %s", first, last)
			}
			check := func(when string) {
				t.Helper()
				response, body := n.stream(t, "", epoch+"-0")
				if gap := response.Header.Get("Event-Gap"); gap != "" || response.StatusCode != 200 {
					t.Fatalf("%s: status %d, gap %q", when, response.StatusCode, gap)
				}
				if got := read(t, body, last); got != want.String() {
					t.Errorf("%s: %d bytes differ from the %d published", when, len(got), want.Len())
				}
				_, body = n.stream(t, "?topic=a.b.*", epoch+"-0")
				if got := read(t, body, fmt.Sprintf("%s-%d", epoch, 2*len(oddEvents))); strings.Count(got, "\nid: ")+1 != len(oddEvents) {
					t.Errorf("%s: the stream of one topic is %q", when, got)
				}
			}
			check("by the process")
			n.stop(t)
			n = startNode(t, o, &server.Broker{})
			check("after a restart")
			event := sse.Event{Data: "continues"}
			last = publish(t, n.broker, "a", event)
			want.WriteString(encode(t, last, event))
			check("what follows")
		})
	}
}

// A client that resumes before the events in memory gets them from the folder, and continues with new events.
func TestResumeBeyondMemory(t *testing.T) {
	n := startNode(t, filestore.Options{Dir: t.TempDir()}, &server.Broker{MaxEvents: 5})
	var ids []string
	var want strings.Builder
	add := func() {
		event := sse.Event{Data: fmt.Sprintf("event %d", len(ids))}
		ids = append(ids, publish(t, n.broker, "t", event))
		want.WriteString(encode(t, ids[len(ids)-1], event))
	}
	for range 2500 {
		add()
	}
	_, body := n.stream(t, "", ids[0])
	for range 10 {
		add()
	}
	text := encode(t, ids[0], sse.Event{Data: "event 0"}) + read(t, body, ids[len(ids)-1])
	if text != want.String() {
		t.Errorf("got %d events and %d bytes, want %d and %d", strings.Count(text, "id: "), len(text), len(ids), want.Len())
	}
}

func TestGaps(t *testing.T) {
	o := filestore.Options{Dir: t.TempDir(), MaxEvents: 10}
	n := startNode(t, o, &server.Broker{MaxEvents: 3})
	var ids []string
	for range 30 {
		ids = append(ids, publish(t, n.broker, "t", sse.Event{}))
	}
	epoch, _, _ := strings.Cut(ids[0], "-")
	last := ids[29]
	eventually(t, "the log has all events", func() bool { return n.broker.Stats().Published == 30 })
	tests := map[string]struct {
		id, gap string
		events  int
	}{
		"in memory":         {epoch + "-27", "", 3},
		"first of memory":   {epoch + "-26", "", 4},
		"first of store":    {epoch + "-20", "", 10},
		"expired":           {epoch + "-19", "expired", 10},
		"of another stream": {"abcdefgh-25", "epoch", 10},
		"malformed":         {"25", "malformed", 10},
		"future":            {epoch + "-31", "future", 10},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			response, body := n.stream(t, "", test.id)
			if gap := response.Header.Get("Event-Gap"); gap != test.gap {
				t.Errorf("gap %q, want %q", gap, test.gap)
			}
			text := read(t, body, last)
			events := strings.Count(text, "data: \n")
			if test.gap != "" {
				text, _, _ = strings.Cut(text, "\n\n")
				if !strings.Contains(text, "event: gap\n") || !strings.Contains(text, `"first":"`+epoch+`-21"`) {
					t.Errorf("the gap event is %q", text)
				}
			}
			if events != test.events {
				t.Errorf("%d events, want %d", events, test.events)
			}
		})
	}
}

// A key is used once, before and after a restart, for one event and for several.
func TestIdempotencyKey(t *testing.T) {
	o := filestore.Options{Dir: t.TempDir()}
	n := startNode(t, o, &server.Broker{})
	post := func(key, contentType, body string) (int, string) {
		t.Helper()
		request, _ := http.NewRequest(http.MethodPost, n.http.URL, strings.NewReader(body))
		request.Header.Set("Content-Type", contentType)
		request.Header.Set("Idempotency-Key", key)
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		text, _ := io.ReadAll(response.Body)
		return response.StatusCode, string(text)
	}
	const one, several = `{"topic":"a","data":"x"}`, `{"topic":"a","data":"x"}` + "\n" + `{"topic":"b","data":"y"}`
	var first [2]string
	for round := range 3 {
		if round == 2 {
			n.stop(t)
			n = startNode(t, o, &server.Broker{})
		}
		for i, body := range []string{one, several} {
			contentType := []string{"application/json", "application/x-ndjson"}[i]
			key := []string{"one", "several"}[i]
			status, answer := post(key, contentType, body)
			first[i] = cmp.Or(first[i], answer)
			if status != http.StatusCreated || answer != first[i] {
				t.Errorf("round %d: status %d, %s, want %s", round, status, answer, first[i])
			}
			if status, answer := post(key, contentType, strings.Replace(body, `"x"`, `"z"`, 1)); status != http.StatusUnprocessableEntity {
				t.Errorf("round %d: another body under %q: status %d, %s", round, key, status, answer)
			}
		}
	}
	state, err := n.store.State(t.Context())
	if err != nil || state.Last != 3 {
		t.Errorf("%d events are stored, want 3: %v", state.Last, err)
	}
}

// If the machine stops while events may not be synced, every client gets a gap event. If all events were synced, the ids
// stay valid.
func TestPowerFailure(t *testing.T) {
	for name, test := range map[string]struct {
		sync time.Duration
		gap  string
	}{"periodic sync": {0, "epoch"}, "sync always": {-1, ""}} {
		t.Run(name, func(t *testing.T) {
			o := filestore.Options{Dir: t.TempDir(), Sync: test.sync, Reserve: -1}
			n := startNode(t, o, &server.Broker{})
			var ids []string
			for range 3 {
				ids = append(ids, publish(t, n.broker, "t", sse.Event{}))
			}
			n.store.Abandon()
			n.stop(t)
			if err := os.WriteFile(filepath.Join(o.Dir, "open"), []byte("the id of another boot"), 0o600); err != nil {
				t.Fatal(err)
			}
			n = startNode(t, o, &server.Broker{})
			next := publish(t, n.broker, "t", sse.Event{Data: "new"})
			old, _, _ := strings.Cut(ids[0], "-")
			epoch, digits, _ := strings.Cut(next, "-")
			if epoch == old || digits != "4" {
				t.Fatalf("continues with %s after %s", next, ids[2])
			}
			for id, gap := range map[string]string{ids[2]: test.gap, ids[0]: test.gap, old + "-4": "epoch"} {
				response, body := n.stream(t, "", id)
				if got := response.Header.Get("Event-Gap"); got != gap {
					t.Errorf("%s gets the gap %q, want %q", id, got, gap)
				}
				read(t, body, next)
			}
			n.stop(t)
			n = startNode(t, o, &server.Broker{})
			if next := publish(t, n.broker, "t", sse.Event{}); next != epoch+"-5" {
				t.Errorf("after a clean stop, continues with %s", next)
			}
		})
	}
}

func TestFolderInUse(t *testing.T) {
	o := filestore.Options{Dir: t.TempDir(), Logger: quiet}
	store := openStore(t, o)
	if _, err := filestore.Open(t.Context(), o); !errors.Is(err, filestore.ErrInUse) || !strings.Contains(err.Error(), o.Dir) {
		t.Errorf("open: %v", err)
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	if err := openStore(t, o).Close(); err != nil {
		t.Error(err)
	}
}

func TestOpenFails(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	taken := t.TempDir() // a folder takes the place of the mark
	if err := os.MkdirAll(filepath.Join(taken, "mark"), 0o700); err != nil {
		t.Fatal(err)
	}
	old := t.TempDir()
	if err := os.MkdirAll(filepath.Join(old, "jetstream"), 0o700); err != nil {
		t.Fatal(err)
	}
	marked := t.TempDir()
	if err := os.MkdirAll(filepath.Join(marked, "open", "a folder"), 0o700); err != nil {
		t.Fatal(err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for name, test := range map[string]struct {
		ctx     context.Context
		options filestore.Options
	}{
		"a file":           {t.Context(), filestore.Options{Dir: file}},
		"below a file":     {t.Context(), filestore.Options{Dir: filepath.Join(file, "folder")}},
		"no place":         {t.Context(), filestore.Options{Dir: taken}},
		"an old format":    {t.Context(), filestore.Options{Dir: old}},
		"mark is a folder": {t.Context(), filestore.Options{Dir: marked}},
		"context":          {ended, filestore.Options{Dir: t.TempDir()}},
	} {
		t.Run(name, func(t *testing.T) {
			test.options.Logger = quiet
			store, err := filestore.Open(test.ctx, test.options)
			if err == nil {
				t.Fatal(store.Close())
			}
			if !strings.Contains(err.Error(), test.options.Dir) {
				t.Errorf("%v does not name the folder", err)
			}
		})
	}
}
