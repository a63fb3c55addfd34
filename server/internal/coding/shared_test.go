package coding

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/eventsource-wasm/eventsource-wasm/server/internal/eventlog"
	"github.com/eventsource-wasm/eventsource-wasm/server/internal/stream"
	"github.com/eventsource-wasm/eventsource-wasm/server/internal/topic"
	"github.com/eventsource-wasm/eventsource-wasm/sse"
)

// A script is a coding with readable output: "B" begins a body, "P" is plain data, "S" is data of a section, with the
// section's number and the position in it, "E" ends a section, and "Z" ends the body.
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

// play decodes a body, and fails if a decoder could not.
func play(body []byte) (data string, err error) {
	var out strings.Builder
	section, number := 0, 0 // the decoder's section, and the position in it
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

// A world has what the clients of a test share.
type world struct {
	log       *eventlog.Log
	filters   topic.Registry
	codings   Registry
	config    stream.Config
	counts    stream.Counts
	published [][2]string // topic and block
}

// A scripted client is a client without a connection.
type scripted struct {
	stream.Stream
	world    *world
	coder    *Client
	body     bytes.Buffer
	topics   []string
	from     int    // index in published
	greeting string // without heartbeats
}

var heartbeat = sse.AppendComment(nil, "")

func newWorld() *world {
	limits := eventlog.Limits{Events: -1, Bytes: -1, Age: -1, EventBytes: -1, Pinned: -1}
	return &world{
		log:    eventlog.New(limits, false, nil),
		config: stream.Config{Heartbeat: stream.Forever, WriteTimeout: -1, Beat: func() []byte { return heartbeat }},
	}
}

// Clients of all kinds join, read, pause and leave in any order. Each body can be decoded, and contains exactly the
// events for its topics.
func TestSharedSections(t *testing.T) {
	shared := 0
	for seed := range uint64(50) {
		random := rand.New(rand.NewPCG(seed, 0))
		w := newWorld()
		var readers []*scripted
		for range 300 {
			switch n := random.IntN(20); {
			case n == 0 || len(readers) == 0:
				readers = append(readers, w.enter(t, random))
			case n == 1 && len(readers) > 1:
				i := random.IntN(len(readers))
				shared += readers[i].finish(t)
				readers = slices.Delete(readers, i, i+1)
			case n < 9:
				for range 1 + random.IntN(6) {
					w.publish(t, random)
				}
			case n == 9:
				r := readers[random.IntN(len(readers))]
				r.body.Write(r.coder.plain(heartbeat))
			default:
				readers[random.IntN(len(readers))].step(t)
			}
		}
		for _, r := range readers {
			shared += r.finish(t)
		}
		if len(w.codings.kept) > 0 || w.codings.Encoders() > 0 {
			t.Fatal("shared sections are left without clients")
		}
		if t.Failed() {
			t.Fatalf("with seed %d", seed)
		}
	}
	if shared < 500 {
		t.Errorf("only %d parts were shared: the test needs more", shared)
	}
}

func (w *world) enter(t *testing.T, random *rand.Rand) *scripted {
	t.Helper()
	topics := [][]string{{">"}, {"a"}, {"a", "b"}, {"*"}}[random.IntN(4)]
	f, err := w.filters.Acquire(topics, nil, -1)
	if err != nil {
		t.Fatal(err)
	}
	cursor, _ := w.log.Seek("", eventlog.Policy{MaxLag: -1})
	greeting := w.log.AppendIDBlock(nil, cursor.Next-1)
	r := &scripted{
		Stream:   stream.New(&w.config, w.log, f, &w.counts, cursor, greeting),
		world:    w,
		coder:    w.codings.Enter(f, &script{}, Limits{Sharing: 1, Encoders: -1}),
		topics:   topics,
		from:     len(w.published),
		greeting: string(greeting),
	}
	r.step(t)
	return r
}

func (w *world) publish(t *testing.T, random *rand.Rand) {
	t.Helper()
	topic := []string{"a", "b", "c"}[random.IntN(3)]
	event := sse.Event{Data: strings.Repeat("x", 1+random.IntN(3000))}
	id, err := w.log.Append(topic, event)
	if err != nil {
		t.Fatal(err)
	}
	event.ID = id
	block, err := sse.Append(nil, event)
	if err != nil {
		t.Fatal(err)
	}
	w.published = append(w.published, [2]string{topic, string(block)})
}

// step takes the next step, and reports whether there was one.
func (r *scripted) step(t *testing.T) bool {
	t.Helper()
	switch command := r.Next(r.world.log.Now()); command {
	case stream.Write:
		n, err := r.coder.Write(&r.Stream, func(p []byte) error { r.body.Write(p); return nil })
		if err != nil {
			t.Fatal(err)
		}
		r.WroteAll(n, r.world.log.Now())
	case stream.Wait:
		return false
	case stream.Again:
	default:
		t.Fatalf("command %d", command)
	}
	return true
}

// finish reads to the end, checks the body, and returns the number of parts in sections that other clients began.
func (r *scripted) finish(t *testing.T) (shared int) {
	t.Helper()
	for r.step(t) {
	}
	r.body.Write(r.coder.End())
	r.coder.Leave()
	got, err := play(r.body.Bytes())
	if err != nil {
		t.Error(err)
	}
	var want strings.Builder
	want.WriteString(r.greeting)
	for _, p := range r.world.published[r.from:] {
		if topic.Covers(r.topics[0], p[0]) || slices.Contains(r.topics, p[0]) {
			want.WriteString(p[1])
		}
	}
	if got = strings.ReplaceAll(got, string(heartbeat), ""); got != want.String() {
		t.Errorf("the client of %v that joined at %d has %d bytes, want %d", r.topics, r.from, len(got), want.Len())
	}
	return bytes.Count(r.body.Bytes(), []byte("\nS "))
}

// There are encoders only for shared filters, and only up to the limit.
func TestEncoderLimit(t *testing.T) {
	w := newWorld()
	limits := Limits{Sharing: 3, Encoders: 2}
	var all []*Client
	enter := func(topic string) bool {
		f, err := w.filters.Acquire([]string{topic}, nil, -1)
		if err != nil {
			t.Fatal(err)
		}
		c := w.codings.Enter(f, &script{}, limits)
		all = append(all, c)
		return c.Coding() != ""
	}
	got := ""
	for _, topic := range strings.Split("aaaa bbb ccc a dd", "") {
		if topic != " " {
			got += map[bool]string{true: topic, false: "-"}[enter(topic)]
		}
	}
	if want := "--aa--b---a--"; got != want {
		t.Errorf("compressed topics = %s, want %s", got, want)
	}
	if n := w.codings.Encoders(); n != 2 {
		t.Errorf("%d encoders", n)
	}
	for _, c := range all {
		c.Leave()
	}
	if n := w.codings.Encoders(); n != 0 || len(w.codings.kept) > 0 {
		t.Errorf("%d unused encoders are kept", n)
	}
}

// A stalled client keeps only its current section, however much is published meanwhile, and continues after it.
func TestStalledClientKeepsOneSection(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 1))
	w := newWorld()
	stalled, reads := w.enter(t, random), w.enter(t, random)
	for stalled.topics[0] != ">" || reads.topics[0] != ">" {
		stalled.finish(t)
		reads.finish(t)
		stalled, reads = w.enter(t, random), w.enter(t, random)
	}
	w.publish(t, random)
	stalled.step(t)
	for range 1000 {
		w.publish(t, random)
		reads.step(t)
	}
	sections := 0
	for s := stalled.coder.section; s != nil; s = s.follow {
		sections++
	}
	if sections > 1 {
		t.Errorf("%d sections are kept", sections)
	}
	stalled.finish(t)
	reads.finish(t)
}
