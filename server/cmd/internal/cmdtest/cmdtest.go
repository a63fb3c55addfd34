// Package cmdtest has helpers for the tests of the commands in server/cmd.
package cmdtest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/eventsource-wasm/eventsource-wasm/server/cmd/internal/cli"
	"github.com/eventsource-wasm/eventsource-wasm/sse"
)

// AsProgram is the environment variable that makes the test binary run the program.
const AsProgram = "TEST_AS_PROGRAM"

// ProgramEnviron returns an environment in which the test binary runs the program.
func ProgramEnviron() []string { return append(os.Environ(), AsProgram+"=1") }

// Main is a TestMain. It fails if a goroutine of the server outlives the tests.
func Main(m *testing.M, program func()) {
	if os.Getenv(AsProgram) != "" {
		program()
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

// Environment returns an environment with the given pairs of name and value.
func Environment(pairs ...string) (env cli.Environment) {
	for i := 0; i < len(pairs); i += 2 {
		env = append(env, pairs[i]+"="+pairs[i+1])
	}
	return env
}

// WriteFile writes a file.
func WriteFile(t *testing.T, file, content string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

// Form is the content type of the bodies that Do sends, unless a header says otherwise.
const Form = "application/x-www-form-urlencoded"

// Do sends one request and returns the response and its body, which it does not read for a stream.
func Do(t *testing.T, method, url, body string, header ...string) (*http.Response, string) {
	t.Helper()
	request, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", Form)
	for i := 0; i < len(header); i += 2 {
		request.Header.Set(header[i], header[i+1])
	}
	request.Host = request.Header.Get("Host")
	response, err := http.DefaultTransport.RoundTrip(request)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { response.Body.Close() })
	if response.Header.Get("Content-Type") == sse.ContentType {
		return response, ""
	}
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response, string(text)
}

// A Journal is a log in JSON that tests read while it is written.
type Journal struct {
	mu    sync.Mutex
	text  strings.Builder
	grown chan struct{}
}

func (j *Journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.grown != nil {
		close(j.grown)
		j.grown = nil
	}
	return j.text.Write(p)
}

func (j *Journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.String()
}

// Grown returns a channel that is closed when the log grows.
func (j *Journal) Grown() <-chan struct{} {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.grown == nil {
		j.grown = make(chan struct{})
	}
	return j.grown
}

// Wait waits for a line with the message and the attribute, and returns the attribute's value.
func (j *Journal) Wait(t testing.TB, message, attribute string) (value string) {
	t.Helper()
	j.until(t, fmt.Sprintf("%q with %q", message, attribute), func(log string) bool {
		for line := range strings.Lines(log) {
			var record map[string]any
			if json.Unmarshal([]byte(line), &record) == nil && record["msg"] == message && record[attribute] != nil {
				value = fmt.Sprint(record[attribute])
				return true
			}
		}
		return false
	})
	return value
}

func (j *Journal) until(t testing.TB, what string, has func(log string) bool) {
	t.Helper()
	limit := time.After(time.Minute)
	for {
		grown := j.Grown()
		if has(j.String()) {
			return
		}
		select {
		case <-grown:
		case <-limit:
			t.Fatalf("no log line %s:\n%s", what, j)
		}
	}
}

// Launch runs a program until the test ends or stop is called. The program logs to its argument. Launch returns the logged
// URL, and stop returns the program's error.
func Launch(t testing.TB, log *Journal, run func(context.Context, io.Writer) error) (url string, stop func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		err := run(ctx, log)
		fmt.Fprintf(log, "{\"msg\":\"listening\",\"url\":%q}\n", fmt.Sprintf("the program returned %v", err))
		ended <- err
	}()
	stop = func() error {
		cancel()
		err := <-ended
		ended <- err
		return err
	}
	t.Cleanup(func() { stop() })
	if url = log.Wait(t, "listening", "url"); !strings.HasPrefix(url, "http") && !strings.HasPrefix(url, "unix:") {
		t.Fatal(url)
	}
	return url, stop
}
