package js_test

import (
	"errors"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/eventsource-wasm/eventsource-wasm/internal/nodetest"
)

var (
	seeds     = flag.Int("seeds", 300, "the `number` of shared streams to simulate")
	firstSeed = flag.Int("seed", 0, "the first `seed`")
	mutations = flag.Bool("mutations", false, "run the simulation on mutations of the shared stream's code, which it must detect")
)

// TestSharedStreams simulates pages that share a stream: see sharedsimulation.mjs. It prints a failing seed and the errors.
// `node js/sharedsimulation.mjs SEED 1 trace` prints the whole run.
func TestSharedStreams(t *testing.T) {
	nodetest.Require(t)
	const parts = 2
	for part := range parts {
		t.Run(strconv.Itoa(part), func(t *testing.T) {
			t.Parallel()
			count := *seeds / parts
			if output, err := simulate(t, ".", *firstSeed+part*count, count); err != nil {
				t.Errorf("%v\n%s", err, output)
			}
		})
	}
}

// TestHostileMessages posts malformed messages: see sharedhostile.mjs.
func TestHostileMessages(t *testing.T) {
	nodetest.Require(t)
	if output, err := exec.CommandContext(t.Context(), "node", "sharedhostile.mjs", "0", "3000").CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, output)
	}
}

// TestPagesOfOneWorker tests pages that share a worker: see sharedpages.mjs.
func TestPagesOfOneWorker(t *testing.T) {
	nodetest.Require(t)
	if output, err := exec.CommandContext(t.Context(), "node", "sharedpages.mjs").CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, output)
	}
}

// A leader that sees a newer epoch begins an even newer one, on its current connection. The simulation cannot detect a bug here,
// because another node would replace the leader a second later.
func TestLeaderBeginsNewerEpoch(t *testing.T) {
	nodetest.Require(t)
	const script = `
		import { SharedStream } from './sharedstream.js';
		const sent = [];
		let connections = 0;
		const host = { options: [], send: (message) => sent.push(message), queue() {}, connect() { connections++; } };
		const stream = new SharedStream(host, { node: 'a', now: 0 });
		stream.add({});
		stream.granted();
		stream.receive({ kind: 'have', from: 'b', epoch: [5, 'b'] }, 1);
		stream.tick(150);
		const { kind, history } = sent.at(-1);
		console.log(kind, history.at(-1)[0].join(), connections);`
	cmd := exec.CommandContext(t.Context(), "node", "--input-type=module", "-e", script)
	output, err := cmd.CombinedOutput()
	if got, want := strings.TrimSpace(string(output)), "lead 6,a 1"; err != nil || got != want {
		t.Errorf("%v: got %q, want %q", err, got, want)
	}
}

// simulate runs the simulation with the scripts in the folder and returns its output.
func simulate(t *testing.T, folder string, first, count int) (string, error) {
	cmd := exec.CommandContext(t.Context(), "node", filepath.Join(folder, "sharedsimulation.mjs"), strconv.Itoa(first), strconv.Itoa(count))
	output, err := cmd.CombinedOutput()
	return string(output), err
}

// A mutation replaces a part of one of the scripts.
type mutation struct{ name, file, code, replacement string }

var mutationsOfSharedStreams = []mutation{
	{"clients that are ahead stay there", "sharedstream.js", "for (const client of [...this.clients]) this.#goBack(client, shared);", ""},
	{"entries of a former leader are kept", "sharedstream.js", "this.#log.truncate(shared);", ""},
	{"gaps are not noticed", "sharedstream.js", "if (first > this.head + 1) {", "if (false) {"},
	{"entries are not numbered", "sharedstream.js", "entries.slice(this.head + 1 - first)", "entries"},
	{"a part of a batch is sent twice", "sharedstream.js", "rows > 0 ? restOf(batch, rows) : batch", "batch"},
	{"clients that the log cannot serve are kept", "sharedstream.js", "if (client.next < this.#log.first) this.#lose(client);\n    while", "while"},
	{"an open stream opens again", "sharedstream.js", "if (fire === 'open' && client.readyState === OPEN) return;", ""},
	{"a client waits for the wrong event", "sharedstream.js", "if (!client.seeks) client.lastEventId =", "client.lastEventId ="},
	{"a silent leader is not replaced", "sharedstream.js", "this.#host.steal();", ";"},
	{"a lost last message is not noticed", "sharedstream.js", "    if (head > this.head) this.#want(now);\n  }", "  }"},
	{"histories are not compared", "sharedlog.js", "Math.min(endOf(history, i, head), endOf(otherHistory, j, otherHead))", "Math.min(head, otherHead)"},
	{"a failed stream keeps the lock", "sharedstream.js", "else if (this.phase === 'closed') this.#release();", ""},
}

func TestMutationsOfSharedStreams(t *testing.T) {
	if !*mutations {
		t.Skip("only with -mutations, as in CI")
	}
	nodetest.Require(t)
	for _, m := range mutationsOfSharedStreams {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			folder := mutated(t, m)
			for first := 0; first < 2000; first += 200 {
				output, err := simulate(t, folder, first, 200)
				if exit := (*exec.ExitError)(nil); errors.As(err, &exit) && strings.HasPrefix(output, "seed ") {
					return
				} else if err != nil {
					t.Fatalf("%v\n%s", err, output)
				}
			}
			t.Error("the simulation does not detect the mutation")
		})
	}
}

// mutated returns a folder with the scripts and one mutation.
func mutated(t *testing.T, m mutation) string {
	t.Helper()
	folder := t.TempDir()
	scripts, err := filepath.Glob("*js")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range scripts {
		content, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		text := string(content)
		if name == m.file {
			if strings.Count(text, m.code) != 1 {
				t.Fatalf("%s contains %q %d times, want once", name, m.code, strings.Count(text, m.code))
			}
			text = strings.Replace(text, m.code, m.replacement, 1)
		}
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(folder, "package.json"), []byte(`{"type":"module"}`), 0o644); err != nil {
		t.Fatal(err)
	}
	return folder
}
