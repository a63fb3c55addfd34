package epoll

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// A mutation removes a check from the code.
type mutation struct {
	name, file string
	old, new   string
}

var mutations = []mutation{
	{"a stream that fails stays in its group", "epoll/turn.go",
		"	c.Fail(reason)\n	b.part(c)\n", "	c.Fail(reason)\n"},
	{"a stream that stalls stays in its group", "epoll/turn.go",
		"		b.part(c)\n		b.push(c)\n	}\n}\n\n// frame", "		b.push(c)\n	}\n}\n\n// frame"},
	{"a stream that stalls holds nothing", "epoll/turn.go",
		"		b.log.HoldWith(&c.Cursor, &b.cursor)\n", ""},
	{"a stream that ends stays in its group", "epoll/turn.go",
		"	if !c.Live() || command != stream.Wait && command != stream.Write {\n		b.part(c)\n	}\n", ""},
	{"a disconnect is not noticed", "epoll/turn.go",
		"if e.gone || ", "if "},
	{"a half-closed connection is not noticed", "epoll/turn.go",
		"			c.HalfClosed()\n", ""},
	{"free room in a socket is not noticed", "epoll/turn.go",
		"			c.HasRoom()\n", ""},
	{"room means that something is pending", "epoll/turn.go",
		"			c.HasRoom()\n", "			c.HasRoom()\n			b.write(c, b.frame(c))\n			b.part(c)\n			b.join(c)\n"},
	{"groups continue when retention has overtaken them", "epoll/turn.go",
		"	case p.Gap != nil:\n		b.scatter(&before)\n", "	case p.Gap != nil:\n"},
	{"groups continue after the log has started over", "epoll/turn.go",
		"		b.log.Renew(&b.cursor)\n		b.scatter(&before)\n", "		b.log.Renew(&b.cursor)\n"},
	{"streams continue after DisconnectAll", "epoll/turn.go",
		"		b.disconnectAll()\n", ""},
	{"a client reads past its group", "epoll/turn.go",
		"	c.Cursor.Until = b.cursor.Next\n", ""},
	{"streams that pin too much continue", "epoll/turn.go",
		"		if b.log.MustLetGo(&c.Cursor) {\n			b.cut(c, stream.ErrPinned)\n", "		if b.log.MustLetGo(&c.Cursor) {\n"},
	{"timers are not set", "epoll/turn.go",
		"		b.wheel.put(c, due)\n", ""},
	{"only the first client that is behind is served", "epoll/client.go",
		"		q.last.behind, q.last = c, c\n", "		q.last.behind = c\n"},
	{"groups outlive their clients", "epoll/client.go",
		"	if g.users--; g.users > 0 {\n", "	if g.users > 0 {\n"},
	{"an end is reported twice", "epoll/client.go",
		"	c.left = true\n", ""},
	{"a heartbeat is replaced by what the store returns", "stream/stream.go",
		"		s.fetched = &f\n", "		s.fetched = &f\n		s.takeFetched(s.log.Now())\n"},
	{"the store's epoch is not checked", "stream/stream.go",
		"	case f.Epoch != s.log.Extent().Epoch:", "	case f.Epoch == \"none\":"},
	{"the end of the body is written twice", "stream/stream.go",
		"		s.tailed = true\n		if s.sendTail", "		s.tailed = s.halfClosed\n		if s.sendTail"},
	{"a stalled stream outlives its grant", "stream/stream.go",
		"	case s.stalled && now >= s.expires:\n		s.Fail(s.deadline)", "	case false:\n		s.Fail(s.deadline)"},
	{"a time in the far future has passed", "stream/stream.go",
		"d < 0 || d > Forever-t", "d < 0"},
	{"a write has no deadline", "stream/stream.go",
		"	case s.stalled && now >= After(s.since, s.config.WriteTimeout):\n		s.Fail(os.ErrDeadlineExceeded)\n", "	case s.stalled && now >= After(s.since, s.config.WriteTimeout):\n"},
	{"a client does not learn its position", "stream/stream.go",
		"	s.lastSent = s.Cursor.Next - 1\n	s.send(g.Append(nil))", "	s.send(nil)"},
	{"the rest of an output begins with its start", "stream/output.go",
		"s.AppendFrom(dst, s.out.written, room)", "s.AppendFrom(dst, 0, room)"},
	{"a written output stays held", "stream/output.go",
		"	s.out = output{}\n	s.log.LetGo(&s.Cursor)\n", "	s.out = output{}\n"},
	{"events are counted when their write begins", "stream/output.go",
		"	s.lastSent = b.Last()\n", "	s.lastSent = b.Last()\n	s.counts.Delivered.Add(int64(b.Events))\n"},
	{"a cursor survives DisconnectAll", "eventlog/cursor.go",
		"	case c.generation != l.generation:\n		return Part{}, ErrDisconnected\n	case c.Next == l.next && l.closed", "	case c.Next == l.next && l.closed"},
	{"a part begins with its segment", "eventlog/cursor.go",
		"		p.From = p.Entries[from-1].End\n", ""},
	{"retention does not make a gap", "eventlog/cursor.go",
		"return Part{Gap: l.jump(c, l.afterGap(c), ID(l.epoch, c.Next-1), Expired)}, nil", "l.jump(c, l.afterGap(c), \"\", Expired)\n		return Part{Wait: true}, nil"},
	{"a goroutine skips the event that woke it", "eventlog/waiter.go",
		"		next = min(w.first, l.next) // or the event was taken back\n", ""},
	{"a called waiter does not read", "eventlog/waiter.go",
		"w == nil || w.state.Load() != parked", "w == nil || w.state.Load() == awake"},
	{"a reader at the end of a closed log waits", "eventlog/cursor.go",
		"c.Next == l.next && !l.closed", "c.Next == l.next"},
	{"a call while a stream has an owner is lost", "netstream/driver.go",
		"	if d.state.CompareAndSwap(taken, idle) {\n		return true\n	}\n	d.state.Store(taken)\n	return false\n",
		"	d.state.Store(idle)\n	return true\n"},
	{"a carrier drops the command that it leaves to the goroutine", "netstream/carriers.go",
		"d.command, d.alone = command, waits", "d.alone = waits"},
	{"a goroutine is not woken", "eventlog/waiter.go",
		"		waiter.wake()\n", "		_ = waiter\n"},
}

var mutate = flag.Bool("mutations", false, "run the simulation on mutations of the code")

// TestMutations runs the simulation on changed copies of the code. The simulation must detect every change.
func TestMutations(t *testing.T) {
	if raceEnabled || !*mutate {
		t.Skip("each mutation is compiled: run it with -mutations, as make simulate and CI do")
	}
	for _, m := range mutations {
		t.Run(strings.ReplaceAll(m.name, " ", "-"), func(t *testing.T) {
			t.Parallel()
			out := m.run(t)
			if !bytes.Contains(out, []byte("--- FAIL: TestSimulation")) {
				t.Errorf("the simulation does not detect the mutation:\n%s", out)
			}
		})
	}
}

// run runs the simulation with the mutation.
func (m mutation) run(t *testing.T) []byte {
	file, err := filepath.Abs(filepath.Join("..", filepath.FromSlash(m.file)))
	if err != nil {
		t.Fatal(err)
	}
	source, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Count(source, []byte(m.old)) != 1 {
		t.Fatalf("%s contains %d times %q, want once: adapt the mutation", m.file, bytes.Count(source, []byte(m.old)), m.old)
	}
	dir := t.TempDir()
	changed, overlay, binary := filepath.Join(dir, "changed.go"), filepath.Join(dir, "overlay.json"), filepath.Join(dir, "simulation")
	write(t, changed, bytes.Replace(source, []byte(m.old), []byte(m.new), 1))
	replace, err := json.Marshal(map[string]any{"Replace": map[string]string{file: changed}})
	if err != nil {
		t.Fatal(err)
	}
	write(t, overlay, replace)
	if out, err := exec.Command("go", "test", "-c", "-overlay", overlay, "-o", binary, ".").CombinedOutput(); err != nil {
		t.Fatalf("the mutated copy does not compile: %v\n%s", err, out)
	}
	out, _ := exec.Command(binary, "-test.run", "^TestSimulation$", "-test.timeout", "5m", "-seeds", "100000").CombinedOutput()
	return out
}

func write(t *testing.T, file string, data []byte) {
	t.Helper()
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
}
