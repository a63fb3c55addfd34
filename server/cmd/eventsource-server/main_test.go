package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

// asProgram is the variable that makes the binary of the tests the program.
const asProgram = "TEST_AS_PROGRAM"

// TestMain fails if a goroutine of this package outlives the tests.
func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
		os.Exit(0)
	}
	code := m.Run()
	stacks := make([]byte, 1<<20)
	stacks = stacks[:runtime.Stack(stacks, true)]
	for _, stack := range bytes.Split(stacks, []byte("\n\n"))[1:] {
		if bytes.Contains(stack, []byte("eventsource-wasm/server")) {
			fmt.Fprintf(os.Stderr, "goroutine leaked:\n%s\n", stack)
			code = 1
		}
	}
	os.Exit(code)
}

const testPage = `<!doctype html><script src="/dist/eventsource.js"></script><script>run()</script>`

// pageAndDist makes a folder with a page and a dist, and returns their paths.
func pageAndDist(t *testing.T) (page, dist string) {
	t.Helper()
	folder := t.TempDir()
	page, dist = filepath.Join(folder, "index.html"), filepath.Join(folder, "dist")
	if err := os.Mkdir(dist, 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, page, testPage)
	return page, dist
}

func write(t *testing.T, file, content string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

func environment(pairs ...string) func(string) string {
	values := map[string]string{}
	for i := 0; i < len(pairs); i += 2 {
		values[pairs[i]] = pairs[i+1]
	}
	return func(name string) string { return values[name] }
}

// A journal is a log in JSON that tests read while it is written.
type journal struct {
	mu    sync.Mutex
	text  strings.Builder
	grown chan struct{}
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.grown != nil {
		close(j.grown)
		j.grown = nil
	}
	return j.text.Write(p)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.String()
}

func (j *journal) growth() <-chan struct{} {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.grown == nil {
		j.grown = make(chan struct{})
	}
	return j.grown
}

// wait returns the attribute of the first line that has the message and the attribute, as soon as there is one.
func (j *journal) wait(t *testing.T, message, attribute string) string {
	t.Helper()
	limit := time.After(time.Minute)
	for {
		grown := j.growth()
		for line := range strings.Lines(j.String()) {
			var record map[string]any
			if json.Unmarshal([]byte(line), &record) == nil && record["msg"] == message && record[attribute] != nil {
				return fmt.Sprint(record[attribute])
			}
		}
		select {
		case <-grown:
		case <-limit:
			t.Fatalf("nobody logs %q with %q:\n%s", message, attribute, j)
		}
	}
}

// A launched program runs until the test ends, or until stop is called, which returns what run does.
type launched struct {
	url  string
	log  *journal
	stop func() error
}

// launch runs the program on a free port.
func launch(t *testing.T, args ...string) launched {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	p := launched{log: &journal{}}
	ended := make(chan error, 1)
	go func() {
		all := append([]string{"-log-format", "json", "-log-level", "debug"}, args...)
		err := run(ctx, all, environment("PORT", "0"), io.Discard, p.log)
		fmt.Fprintf(p.log, "{\"msg\":\"listening\",\"url\":\"run returned %v\"}\n", err)
		ended <- err
	}()
	p.stop = func() error {
		cancel()
		err := <-ended
		ended <- err
		return err
	}
	t.Cleanup(func() { p.stop() })
	if p.url = p.log.wait(t, "listening", "url"); !strings.HasPrefix(p.url, "http") {
		t.Fatal(p.url)
	}
	return p
}

// admin returns the URL of -admin.
func (l launched) admin(t *testing.T) string {
	t.Helper()
	return "http://" + l.log.wait(t, "listening", "admin")
}

func launchDemo(t *testing.T, args ...string) launched {
	t.Helper()
	page, dist := pageAndDist(t)
	return launch(t, append([]string{"-demo", "-page", page, "-dist", dist}, args...)...)
}

func TestRun(t *testing.T) {
	p := launchDemo(t)
	if !strings.HasPrefix(p.url, "http://localhost:") || strings.HasSuffix(p.url, ":0") {
		t.Fatalf("tells %q", p.url)
	}
	response, err := http.Get(p.url + "/healthz")
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if response.StatusCode != http.StatusOK {
		t.Errorf("status %d", response.StatusCode)
	}
	stream, err := http.Get(p.url + "/events")
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Body.Close()
	if err := p.stop(); err != nil {
		t.Errorf("run: %v", err)
	}
	if _, err := io.ReadAll(stream.Body); err != nil {
		t.Errorf("the stream was cut at shutdown: %v", err)
	}
}

// A request that does not end must not hold the program for longer than its grace.
func TestShutdownHasADeadline(t *testing.T) {
	p := launchDemo(t, "-grace", "1ns")
	conn := hold(t, p.url)
	if err := p.stop(); err != nil {
		t.Errorf("run: %v", err)
	}
	if _, err := io.ReadAll(conn); err != nil && !errors.Is(err, net.ErrClosed) && !strings.Contains(err.Error(), "reset") {
		t.Errorf("read: %v", err)
	}
}

func TestRunFails(t *testing.T) {
	page, dist := pageAndDist(t)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	_, port, _ := net.SplitHostPort(taken.Addr().String())
	tests := map[string]struct {
		args []string
		env  []string
		want []string // words of the error
	}{
		"port in use":     {[]string{"-demo", "-page", page, "-dist", dist}, []string{"PORT", port}, []string{port, "in use", "PORT="}},
		"missing dist":    {[]string{"-demo", "-page", page, "-dist", dist + "x"}, nil, []string{"distx", "make build"}},
		"dist is a file":  {[]string{"-demo", "-page", page, "-dist", page}, nil, []string{"make build"}},
		"missing page":    {[]string{"-demo", "-page", page + "x", "-dist", dist}, nil, []string{"index.htmlx", "-page"}},
		"argument":        {[]string{"serve"}, nil, []string{"serve"}},
		"flag":            {[]string{"-port", "1"}, nil, []string{errUsage.Error()}},
		"nobody may":      {nil, nil, []string{"-public", "-token-file", "EVENTSOURCE_TOKEN"}},
		"origin's slash":  {[]string{"-cors", "https://a.example/"}, nil, []string{errUsage.Error()}},
		"unusable host":   {[]string{"-demo", "-page", page, "-dist", dist, "-addr", "localhost:http:1"}, nil, []string{"localhost:http:1"}},
		"impossible port": {[]string{"-demo", "-page", page, "-dist", dist}, []string{"PORT", "70000"}, []string{"70000"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			var stdout bytes.Buffer
			err := run(t.Context(), test.args, environment(test.env...), &stdout, io.Discard)
			if err == nil || strings.Contains(err.Error(), "\n") {
				t.Fatalf("run: %v", err)
			}
			for _, word := range test.want {
				if !strings.Contains(err.Error(), word) {
					t.Errorf("the error %q does not mention %q", err, word)
				}
			}
			if stdout.Len() > 0 {
				t.Errorf("printed %q", stdout.String())
			}
		})
	}
}

func TestPublicURL(t *testing.T) {
	listening := &net.TCPAddr{Port: 81}
	for addr, want := range map[string]string{
		"localhost:8080": "http://localhost:81",
		":0":             "http://localhost:81",
		"0.0.0.0:80":     "http://localhost:81",
		"[::]:80":        "http://localhost:81",
		"127.0.0.1:80":   "http://127.0.0.1:81",
		"[::1]:80":       "http://[::1]:81",
		"events.lan:80":  "http://events.lan:81",
	} {
		if got := publicURL(addr, listening, false); got != want {
			t.Errorf("%s: %s, want %s", addr, got, want)
		}
	}
}
