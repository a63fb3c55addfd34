package main

import (
	"bufio"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/eventsource-wasm/eventsource-wasm/server/cmd/internal/cmdtest"
)

var crashes = flag.Int("crashes", 3, "`number` of times that TestCrash kills the server, for each way to sync")

// After a kill, the next process replays every acknowledged event, byte for byte, with its id and without gaps.
func TestCrash(t *testing.T) {
	for _, fsync := range []string{"250ms", "always"} {
		t.Run(fsync, func(t *testing.T) {
			folder, acknowledged := t.TempDir(), &ledger{data: map[string]string{}}
			for round := range *crashes {
				p := startProgram(t, "-store", "file:"+folder, "-store-fsync", fsync)
				if round > 0 {
					acknowledged.check(t, p.url)
				}
				p.crashUnderLoad(t, acknowledged, round)
			}
			p := startProgram(t, "-store", "file:"+folder, "-store-fsync", fsync)
			acknowledged.check(t, p.url)
			p.kill(t)
		})
	}
}

const crashToken = "token-of-the-crash-test"

// A started is a running process of the program.
type started struct {
	command *exec.Cmd
	url     string
	ended   chan error
}

func startProgram(t *testing.T, args ...string) *started {
	t.Helper()
	executable, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p := &started{ended: make(chan error, 1)}
	log := &journal{}
	p.command = exec.Command(executable, append([]string{"-addr", "127.0.0.1:0", "-public", ">", "-log-format", "json"}, args...)...)
	p.command.Env = append(cmdtest.ProgramEnviron(), "EVENTSOURCE_TOKEN="+crashToken)
	p.command.Stderr = log
	if err := p.command.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		err := p.command.Wait()
		fmt.Fprintf(log, "{\"msg\":\"listening\",\"url\":\"ended: %v\"}\n", err)
		p.ended <- err
	}()
	t.Cleanup(func() { p.command.Process.Kill() })
	if p.url = log.wait(t, "listening", "url"); !strings.HasPrefix(p.url, "http") {
		t.Fatalf("%s\n%s", p.url, log)
	}
	return p
}

func (p *started) kill(t *testing.T) {
	t.Helper()
	if err := p.command.Process.Kill(); err != nil {
		t.Error(err)
	}
	<-p.ended
}

// A ledger has the data of the acknowledged events, by id.
type ledger struct {
	mu   sync.Mutex
	data map[string]string
}

func (l *ledger) add(ids []string, data string) (count int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, id := range ids {
		l.data[id] = data + "/" + strconv.Itoa(i)
	}
	return len(l.data)
}

// crashUnderLoad kills the program while publishers publish single events and batches.
func (p *started) crashUnderLoad(t *testing.T, l *ledger, round int) {
	t.Helper()
	enough := make(chan struct{}, 1)
	goal := len(l.data) + 400
	ctx, cancel := context.WithCancel(t.Context())
	var publishers sync.WaitGroup
	for n := range 8 {
		publishers.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				data := fmt.Sprintf("%d/%d/%d", round, n, i)
				ids, err := postEvents(ctx, p.url, data, 1+n%2*i%5)
				if err != nil {
					return
				}
				if l.add(ids, data) >= goal {
					select {
					case enough <- struct{}{}:
					default:
					}
				}
			}
		})
	}
	select {
	case <-enough:
	case <-time.After(time.Minute):
		t.Error("too few events are acknowledged in a minute")
	}
	p.kill(t)
	publishers.Wait()
	cancel()
}

func postEvents(ctx context.Context, url, data string, n int) ([]string, error) {
	var body strings.Builder
	for i := range n {
		fmt.Fprintf(&body, `{"topic":"crash.%d","data":"%s/%d"}`+"\n", i, data, i)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url+"/events", strings.NewReader(body.String()))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Content-Type", "application/x-ndjson")
	request.Header.Set("Authorization", "Bearer "+crashToken)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	var answer struct{ IDs []string }
	text, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusCreated {
		err = fmt.Errorf("%s: %s", response.Status, text)
	}
	if err == nil {
		err = json.Unmarshal(text, &answer)
	}
	return answer.IDs, err
}

// check replays all events of the program, and compares them.
func (l *ledger) check(t *testing.T, url string) {
	t.Helper()
	ids, err := postEvents(t.Context(), url, "last", 1)
	if err != nil {
		t.Fatal(err)
	}
	l.add(ids, "last")
	epoch, last, _ := strings.Cut(ids[0], "-")
	request, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, url+"/events", nil)
	request.Header.Set("Last-Event-ID", epoch+"-0")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if gap := response.Header.Get("Event-Gap"); gap != "" {
		t.Fatalf("the replay begins with the gap %q", gap)
	}
	replayed, id := map[string]string{}, ""
	for lines := bufio.NewScanner(response.Body); id != epoch+"-"+last && lines.Scan(); {
		if value, ok := strings.CutPrefix(lines.Text(), "id: "); ok {
			if want := fmt.Sprintf("%s-%d", epoch, len(replayed)+1); value != want {
				t.Fatalf("%s follows, want %s", value, want)
			}
			lines.Scan()
			replayed[value], id = strings.TrimPrefix(lines.Text(), "data: "), value
		}
	}
	for id, data := range l.data {
		if replayed[id] != data {
			t.Errorf("%s was acknowledged with %q, and is replayed as %q", id, data, replayed[id])
		}
	}
	t.Logf("%d events acknowledged, %d replayed", len(l.data), len(replayed))
}
