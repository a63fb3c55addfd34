package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

// TestMain fails if a goroutine of this package outlives the tests.
func TestMain(m *testing.M) {
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

// site makes a folder with a page and a dist, and returns their paths.
func site(t *testing.T) (page, dist string) {
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

// launch runs the program on a free port until the test ends, and returns the URL it prints. stop ends it earlier.
func launch(t *testing.T, args ...string) (url string, stop func() error) {
	t.Helper()
	page, dist := site(t)
	ctx, cancel := context.WithCancel(context.Background())
	stdout, printed := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		all := append([]string{"-page", page, "-dist", dist}, args...)
		err := run(ctx, all, environment("PORT", "0"), printed, io.Discard)
		printed.CloseWithError(err)
		ended <- err
	}()
	stop = func() error {
		cancel()
		err := <-ended
		ended <- err
		return err
	}
	t.Cleanup(func() { stop() })
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(line), stop
}

func TestRun(t *testing.T) {
	url, stop := launch(t)
	if !strings.HasPrefix(url, "http://localhost:") || strings.HasSuffix(url, ":0") {
		t.Fatalf("printed %q", url)
	}
	response, err := http.Get(url + "/healthz")
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if response.StatusCode != http.StatusOK {
		t.Errorf("status %d", response.StatusCode)
	}
	stream, err := http.Get(url + "/events")
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Body.Close()
	if err := stop(); err != nil {
		t.Errorf("run: %v", err)
	}
	if _, err := io.ReadAll(stream.Body); err != nil {
		t.Errorf("the stream was cut at shutdown: %v", err)
	}
}

// A request that does not end must not hold the program for longer than its grace.
func TestShutdownHasADeadline(t *testing.T) {
	url, stop := launch(t, "-grace", "1ns")
	conn, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprint(conn, "POST /events HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 9\r\n"+
		"Expect: 100-continue\r\n\r\n")
	// Told to continue, the request is being served.
	if line, err := bufio.NewReader(conn).ReadString('\n'); err != nil || !strings.Contains(line, "100") {
		t.Fatalf("read %q, %v", line, err)
	}
	if err := stop(); err != nil {
		t.Errorf("run: %v", err)
	}
	if _, err := io.ReadAll(conn); err != nil && !errors.Is(err, net.ErrClosed) && !strings.Contains(err.Error(), "reset") {
		t.Errorf("read: %v", err)
	}
}

func TestRunFails(t *testing.T) {
	page, dist := site(t)
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
		"port in use":     {[]string{"-page", page, "-dist", dist}, []string{"PORT", port}, []string{port, "in use", "PORT="}},
		"missing dist":    {[]string{"-page", page, "-dist", dist + "x"}, nil, []string{"distx", "make build"}},
		"dist is a file":  {[]string{"-page", page, "-dist", page}, nil, []string{"make build"}},
		"missing page":    {[]string{"-page", page + "x", "-dist", dist}, nil, []string{"index.htmlx", "-page"}},
		"argument":        {[]string{"serve"}, nil, []string{"serve"}},
		"flag":            {[]string{"-port", "1"}, nil, []string{errUsage.Error()}},
		"origin's slash":  {[]string{"-cors", "https://a.example/"}, nil, []string{"-cors", "https://a.example/"}},
		"unusable host":   {[]string{"-page", page, "-dist", dist, "-addr", "localhost:http:1"}, nil, []string{"localhost:http:1"}},
		"impossible port": {[]string{"-page", page, "-dist", dist}, []string{"PORT", "70000"}, []string{"70000"}},
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

func TestHelpKeepsSecrets(t *testing.T) {
	var stderr bytes.Buffer
	err := run(t.Context(), []string{"-help"}, environment("EVENTSOURCE_TOKEN", "hunter2"), io.Discard, &stderr)
	if !errors.Is(err, flag.ErrHelp) || !strings.Contains(stderr.String(), "-addr") || strings.Contains(stderr.String(), "hunter2") {
		t.Errorf("run: %v, %s", err, stderr.String())
	}
}

func TestConfigure(t *testing.T) {
	defaults := config{addr: "localhost:8080", page: "index.html", dist: "dist", token: "demo-token", grace: 5 * time.Second}
	tests := map[string]struct {
		args, env []string
		want      func(*config)
	}{
		"defaults":   {nil, nil, func(*config) {}},
		"PORT":       {nil, []string{"PORT", "9"}, func(c *config) { c.addr = "localhost:9" }},
		"addr, PORT": {nil, []string{"PORT", "9", "EVENTSOURCE_ADDR", "h:1"}, func(c *config) { c.addr = "h:1" }},
		"flags win": {[]string{"-addr", ":1", "-token", "t", "-page", "p", "-dist", "d", "-grace", "1s"},
			[]string{"EVENTSOURCE_ADDR", "h:1", "EVENTSOURCE_TOKEN", "x", "EVENTSOURCE_PAGE", "x", "EVENTSOURCE_DIST", "x"},
			func(c *config) { c.addr, c.token, c.page, c.dist, c.grace = ":1", "t", "p", "d", time.Second }},
		"environment": {nil, []string{"EVENTSOURCE_TOKEN", "t", "EVENTSOURCE_PAGE", "p", "EVENTSOURCE_DIST", "d"},
			func(c *config) { c.token, c.page, c.dist = "t", "p", "d" }},
		"origins": {[]string{"-cors", "https://a.example, http://localhost:1 ,*"}, nil,
			func(c *config) { c.origins = []string{"https://a.example", "http://localhost:1", "*"} }},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := configure(test.args, environment(test.env...), io.Discard)
			want := defaults
			test.want(&want)
			if err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("got %v, %v, want %v", got, err, want)
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
		if got := publicURL(addr, listening); got != want {
			t.Errorf("%s: %s, want %s", addr, got, want)
		}
	}
}

func TestListensOnLoopbackByDefault(t *testing.T) {
	listener, err := listen(localAddr("0"))
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	if !listener.Addr().(*net.TCPAddr).IP.IsLoopback() {
		t.Errorf("listens on %v", listener.Addr())
	}
}
