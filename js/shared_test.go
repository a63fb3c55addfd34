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
)

var (
	seeds     = flag.Int("seeds", 300, "simulate this `many` shared streams")
	firstSeed = flag.Int("seed", 0, "begin with this `seed`")
	mutations = flag.Bool("mutations", false, "break the shared stream in several ways, each of which the simulation must find")
)

// TestSharedStreams simulates pages that share a stream: see sharedsimulation.mjs. A seed that fails is printed with what
// went wrong, and `node js/sharedsimulation.mjs SEED 1 trace` prints all that happened.
func TestSharedStreams(t *testing.T) {
	requireNode(t)
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

// TestHostileMessages posts what no honest page would: see sharedhostile.mjs.
func TestHostileMessages(t *testing.T) {
	requireNode(t)
	if output, err := exec.CommandContext(t.Context(), "node", "sharedhostile.mjs", "0", "3000").CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, output)
	}
}

// TestPagesOfOneWorker does to a shared worker what pages can do to it: see sharedpages.mjs.
func TestPagesOfOneWorker(t *testing.T) {
	requireNode(t)
	if output, err := exec.CommandContext(t.Context(), "node", "sharedpages.mjs").CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, output)
	}
}

// A leader that hears of a later epoch begins one later still, on the connection that it has. The simulation cannot tell:
// without that, another would replace the leader a second later.
func TestLeaderOutbidsALaterEpoch(t *testing.T) {
	requireNode(t)
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

// simulate returns what the simulation of some seeds, by the scripts in the folder, says.
func simulate(t *testing.T, folder string, first, count int) (string, error) {
	cmd := exec.CommandContext(t.Context(), "node", filepath.Join(folder, "sharedsimulation.mjs"), strconv.Itoa(first), strconv.Itoa(count))
	output, err := cmd.CombinedOutput()
	return string(output), err
}

// A mutation replaces a part of one of the scripts.
type mutation struct{ name, file, code, replacement string }

var mutationsOfSharedStreams = []mutation{
	{"clients that are ahead stay there", "sharedstream.js", "for (const client of [...this.clients]) this.#goBack(client, shared);", ""},
	{"entries of a leader that has gone stay", "sharedstream.js", "this.#log.truncate(shared);", ""},
	{"gaps are not seen", "sharedstream.js", "if (first > this.head + 1) {", "if (false) {"},
	{"entries are not numbered", "sharedstream.js", "entries.slice(this.head + 1 - first)", "entries"},
	{"a part of a batch is given twice", "sharedstream.js", "rows > 0 ? restOf(batch, rows) : batch", "batch"},
	{"the log reaches back for ever", "sharedstream.js", "if (client.next < this.#log.first) this.#lose(client);\n    while", "while"},
	{"an open stream opens again", "sharedstream.js", "if (fire === 'open' && client.readyState === OPEN) return;", ""},
	{"the wrong event is waited for", "sharedstream.js", "if (!client.seeks) client.lastEventId =", "client.lastEventId ="},
	{"a leader that says nothing stays", "sharedstream.js", "this.#host.steal();", ";"},
	{"what is lost last is not missed", "sharedstream.js", "    if (head > this.head) this.#want(now);\n  }", "  }"},
	{"histories are not compared", "sharedlog.js", "Math.min(endOf(history, i, head), endOf(otherHistory, j, otherHead))", "Math.min(head, otherHead)"},
	{"a failed stream is held", "sharedstream.js", "else if (this.phase === 'closed') this.#release();", ""},
}

func TestMutationsOfSharedStreams(t *testing.T) {
	if !*mutations {
		t.Skip("only with -mutations, as in CI")
	}
	requireNode(t)
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
			t.Error("the simulation does not find it")
		})
	}
}

// mutated returns a folder with the scripts, one of which is broken.
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
				t.Fatalf("%s has %q %d times", name, m.code, strings.Count(text, m.code))
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
