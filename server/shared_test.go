package server

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/eventsource-wasm/eventsource-wasm/sse"
)

// A script is a coding that shows what it does: "B" begins a body, "P" is plain data, "S" data of a section, with the
// section's number and the place in it, "E" ends a section, and "Z" the body.
type script struct{ sections int }

func (s *script) Name() string        { return "script" }
func (s *script) NewEncoder() Encoder { return &scriptEncoder{script: s} }
func (s *script) NewBody() Body       { return scriptBody{} }

type scriptEncoder struct {
	script          *script
	section, number int
}

func (e *scriptEncoder) Reset() {
	e.script.sections++
	e.section, e.number = e.script.sections, 0
}

func (e *scriptEncoder) Append(dst, data []byte) []byte {
	e.number++
	return fmt.Appendf(dst, "S %d %d %d\n%s", e.section, e.number, len(data), data)
}

type scriptBody struct{}

func (scriptBody) Begin(dst []byte) []byte { return append(dst, "B\n"...) }
func (scriptBody) Plain(dst, data []byte) []byte {
	return fmt.Appendf(dst, "P %d\n%s", len(data), data)
}
func (scriptBody) Sectioned([]byte)             {}
func (scriptBody) EndSection(dst []byte) []byte { return append(dst, "E\n"...) }
func (scriptBody) End(dst []byte) []byte        { return append(dst, "Z\n"...) }

// play decodes a body, and fails for what no decoder could follow.
func play(body []byte) (data string, err error) {
	var out strings.Builder
	section, number := 0, 0 // that the decoder is in, and how far
	for i := 0; len(body) > 0; i++ {
		line, rest, _ := bytes.Cut(body, []byte("\n"))
		var s, n, size int
		switch fields := string(line); {
		case fields == "B" && i == 0:
		case fields == "E" && section != 0:
			section, number = 0, 0
		case fields == "Z" && section == 0 && len(rest) == 0:
		case scan(fields, "P %d", &size) && section == 0:
		case scan(fields, "S %d %d %d", &s, &n, &size) && n == number+1 && (n == 1 || s == section):
			section, number = s, n
		default:
			return out.String(), fmt.Errorf("step %d, in section %d after %d: %q", i, section, number, fields)
		}
		out.Write(rest[:size])
		body = rest[size:]
	}
	return out.String(), nil
}

func scan(text, format string, values ...any) bool {
	n, err := fmt.Sscanf(text, format, values...)
	return err == nil && n == len(values)
}

// A scripted stream is one without a connection.
type scripted struct {
	*stream
	recorder *httptest.ResponseRecorder
	topics   []string
	from     int    // in what is published
	greeting string // but for heartbeats
}

func (r *scripted) behind() bool { return r.cursor.next < r.log.next }

// In every order in which clients of all kinds come, read, are silent for long and go, each gets a body that can be
// decoded, and in it all events of its topics and only those.
func TestSharedSections(t *testing.T) {
	shared := 0
	for seed := range uint64(50) {
		random := rand.New(rand.NewPCG(seed, 0))
		broker := &Broker{}
		handler := &Handler{Broker: broker, Codings: []Coding{&script{}}, MaxLag: -1, NoHijack: true}
		var published [][2]string // topic and block
		var readers []*scripted
		for range 300 {
			switch n := random.IntN(20); {
			case n == 0 || len(readers) == 0:
				readers = append(readers, newScripted(t, handler, random, published))
			case n == 1 && len(readers) > 1:
				i := random.IntN(len(readers))
				shared += finish(t, readers[i], published)
				readers = slices.Delete(readers, i, i+1)
			case n < 9:
				for range 1 + random.IntN(6) {
					published = append(published, publishScripted(t, broker, random))
				}
			case n == 9:
				if err := readers[random.IntN(len(readers))].send(heartbeat); err != nil {
					t.Fatal(err)
				}
			default:
				if r := readers[random.IntN(len(readers))]; r.behind() {
					step(t, r)
				}
			}
		}
		for _, r := range readers {
			shared += finish(t, r, published)
		}
		if len(broker.shelf.kept) > 0 {
			t.Fatal("what the clients shared outlives them")
		}
		if t.Failed() {
			t.Fatalf("with seed %d", seed)
		}
	}
	if shared < 500 {
		t.Errorf("only %d parts were in step with others: the test shows little", shared)
	}
}

func newScripted(t *testing.T, h *Handler, random *rand.Rand, published [][2]string) *scripted {
	t.Helper()
	topics := [][]string{nil, {"a"}, {"a", "b"}, {"*"}}[random.IntN(4)]
	recorder := httptest.NewRecorder()
	request := httptest.NewRequest(http.MethodGet, "/", nil)
	request.Header.Set("Accept-Encoding", "script")
	stream, err := h.newStream(recorder, request, "", h.Broker.filters.get(topics, nil))
	if err != nil {
		t.Fatal(err)
	}
	r := &scripted{
		stream:   stream,
		recorder: recorder,
		topics:   topics,
		from:     len(published),
	}
	if topics == nil {
		r.stream.topics = nil
	}
	r.silence = time.NewTimer(time.Hour)
	r.greeting = string(r.log.idBlock(r.told))
	if err := r.greet(); err != nil {
		t.Fatal(err)
	}
	return r
}

func publishScripted(t *testing.T, b *Broker, random *rand.Rand) [2]string {
	t.Helper()
	topic := []string{"a", "b", "c"}[random.IntN(3)]
	event := sse.Event{Data: strings.Repeat("x", 1+random.IntN(3000))}
	id, err := b.Publish(topic, event)
	if err != nil {
		t.Fatal(err)
	}
	event.ID = id
	block, err := sse.Append(nil, event)
	if err != nil {
		t.Fatal(err)
	}
	return [2]string{topic, string(block)}
}

func step(t *testing.T, r *scripted) {
	t.Helper()
	if err := r.step(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// finish reads to the end, checks the body, and returns how many parts of it are in sections that others began.
func finish(t *testing.T, r *scripted, published [][2]string) (shared int) {
	t.Helper()
	for r.behind() {
		step(t, r)
	}
	r.write(r.coded.end())
	r.broker.shelf.leave(r.coded)
	r.silence.Stop()
	body := r.recorder.Body.Bytes()
	got, err := play(body)
	if err != nil {
		t.Error(err)
	}
	var want strings.Builder
	want.WriteString(r.greeting)
	for _, p := range published[r.from:] {
		if r.topics == nil || r.topics[0] == "*" || slices.Contains(r.topics, p[0]) {
			want.WriteString(p[1])
		}
	}
	if got = strings.ReplaceAll(got, string(heartbeat), ""); got != want.String() {
		t.Errorf("the client of %v that came at %d has %d bytes of %d", r.topics, r.from, len(got), want.Len())
	}
	return bytes.Count(body, []byte("\nS "))
}
