// Package js_test compares the JavaScript in js/ with the Go packages that implement the same rules.
package js_test

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"github.com/eventsource-wasm/eventsource-wasm/internal/nodetest"
	"github.com/eventsource-wasm/eventsource-wasm/wasm/lifecycle"
)

var (
	length    = flag.Int("length", 4, "test all sequences of inputs up to this `length`")
	sequences = flag.Int("sequences", 20_000, "the `number` of random sequences of length 50")
)

const (
	inputs       = 16
	randomLength = 50
	blockSize    = 4096
)

var policies = []lifecycle.Retry{
	{},
	{Statuses: []int{503, 404}, Initial: 1000, Max: 60_000, Factor: 1.7, Jitter: 0.5, Attempts: 4, ResetAfter: 5000, Seed: 7},
	{Statuses: []int{503, 204}, Initial: 2500, Max: 2500, Factor: 3, Jitter: 1},
	{Statuses: []int{503}, Initial: 10, Max: 20, Factor: 2, Attempts: 3, NeedsID: true},
}

var chunks = []string{"retry: 5000000000\nid: 7\n\n", "id: é\nretry\n\ndata: x", "data: 0123456789abcdef\n"}

// TestLifecyclesAgree gives the same inputs to the lifecycles in Go and JavaScript, and compares hashes of the commands.
func TestLifecyclesAgree(t *testing.T) {
	nodetest.Require(t)
	for policy := range policies {
		t.Run(strconv.Itoa(policy), func(t *testing.T) {
			t.Parallel()
			for n := 1; n <= *length; n++ {
				compare(t, policy, "all", 1<<(4*n), n)
			}
			compare(t, policy, "random", *sequences, randomLength)
		})
	}
}

func compare(t *testing.T, policy int, kind string, count, length int) {
	t.Helper()
	hashes := strings.Fields(node(t, policy, kind, 0, count, blockSize, length))
	if want := (count + blockSize - 1) / blockSize; len(hashes) != want {
		t.Fatalf("%d hashes for %d sequences in blocks of %d", len(hashes), count, blockSize)
	}
	for i, want := range hashes {
		first := i * blockSize
		if got := hashOf(policy, kind, first, min(blockSize, count-first), length); got != want {
			explain(t, policy, kind, first, min(blockSize, count-first), length)
			return
		}
	}
}

// explain finds the first sequence of a block that differs.
func explain(t *testing.T, policy int, kind string, first, count, length int) {
	t.Helper()
	for i, want := range strings.Fields(node(t, policy, kind, first, count, 1, length)) {
		if hashOf(policy, kind, first+i, 1, length) == want {
			continue
		}
		r := recorder{traced: &strings.Builder{}}
		r.run(policy, kind, first+i, length)
		t.Errorf("policy %d, sequence %d of kind %q\nGo:\n%s\nJavaScript:\n%s", policy, first+i, kind, r.traced,
			node(t, policy, kind, "trace", first+i, length))
		return
	}
	t.Error("a block of sequences differs, but none of its sequences does")
}

func node(t *testing.T, args ...any) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "node", append([]string{"differential.mjs"}, strings.Fields(fmt.Sprintln(args...))...)...)
	cmd.Stderr = os.Stderr
	output, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v", cmd, err)
	}
	return string(output)
}

func hashOf(policy int, kind string, first, count, length int) string {
	r := recorder{hash: 2166136261}
	for i := range count {
		r.run(policy, kind, first+i, length)
	}
	return strconv.FormatUint(uint64(r.hash), 10)
}

// A recorder hashes inputs and commands like js/differential.mjs.
type recorder struct {
	hash   uint32
	traced *strings.Builder
	open   bool
}

func (r *recorder) number(n uint64) {
	r.hash = (r.hash ^ uint32(n)) * 16777619
	if r.traced != nil {
		fmt.Fprint(r.traced, n, " ")
	}
}

// text adds the bytes of a text to the hash. The text must be ASCII, or a byte string in JavaScript.
func (r *recorder) text(s string) {
	for i := range len(s) {
		r.hash = (r.hash ^ uint32(s[i])) * 16777619
	}
	if r.traced != nil {
		fmt.Fprintf(r.traced, "%q ", s)
	}
}

func (r *recorder) command(c lifecycle.Command) {
	switch c.Do {
	case lifecycle.Fetch:
		r.number(1)
		r.text(c.URL)
		r.text(c.LastEventID)
	case lifecycle.Announce:
		r.open = true
		r.number(2)
		r.number(uint64(c.Delay))
	case lifecycle.Reestablish:
		r.open = false
		r.number(3)
		r.number(uint64(c.Delay))
		r.text(string(c.Reason))
	case lifecycle.Wait:
		r.number(4)
		r.number(uint64(c.Delay))
	case lifecycle.Fail:
		r.open = false
		r.number(5)
		r.text(string(c.Reason))
	}
	if r.traced != nil {
		fmt.Fprintln(r.traced)
	}
}

func (r *recorder) run(policy int, kind string, number, length int) {
	r.open = false
	s := lifecycle.New("http://a.example/")
	s.Parser.MaxEventSize = 16
	s.Retry = policies[policy]
	r.command(s.Connect())
	seed := (uint32(number)+1)*2654435761 | 1
	for i := range length {
		input := number >> (4 * i) & 15
		if kind == "random" {
			seed ^= seed << 13
			seed ^= seed >> 17
			seed ^= seed << 5
			input = int(seed & 15)
		}
		r.number(uint64(input))
		r.input(s, input)
	}
}

func (r *recorder) input(s *lifecycle.Source, input int) {
	switch input {
	case 0:
		r.command(s.Respond(lifecycle.Response{Status: 200, ContentType: "text/event-stream"}))
	case 1:
		r.command(s.Respond(lifecycle.Response{Status: 200, ContentType: "Text/Event-Stream; charset=utf-8", URL: "http://b.example/"}))
	case 2:
		r.command(s.Respond(lifecycle.Response{Status: 503, RetryAfter: 2500}))
	case 3:
		r.command(s.Respond(lifecycle.Response{Status: 204}))
	case 4:
		r.command(s.Respond(lifecycle.Response{Status: 200, ContentType: "text/event-stream, text/html"}))
	case 5:
		r.command(s.Fail(false))
	case 6:
		r.command(s.Fail(true))
	case 7:
		r.command(s.End())
	case 8:
		r.command(s.Timer())
	case 9:
		r.command(s.Wake())
	case 10:
		r.open = false
		r.command(s.Close())
	case 11, 12, 13:
		r.parse(s, chunks[input-11])
	case 14:
		s.Parser.Reset()
	case 15:
		r.command(s.Respond(lifecycle.Response{Status: 404}))
	}
}

func (r *recorder) parse(s *lifecycle.Source, chunk string) {
	if !r.open {
		return
	}
	s.Parser.Feed([]byte(chunk))
	for s.Parser.Next() {
	}
	failed := uint64(0)
	if s.Parser.Err() != nil {
		failed = 1
	}
	r.number(6)
	r.number(failed)
	r.number(s.Parser.ReconnectionTime())
}
