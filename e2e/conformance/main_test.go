//go:build unix

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/eventsource-wasm/eventsource-wasm/e2e/browsers"
	"github.com/eventsource-wasm/eventsource-wasm/internal/nodetest"
)

// The test binary also acts as the browser, configured by these variables: see actAsBrowser.
const (
	reportVariable = "CONFORMANCE_TEST_REPORT" // the report to send before waiting for an interrupt
	notesVariable  = "CONFORMANCE_TEST_NOTES"  // the file for its arguments and its home
)

func TestMain(m *testing.M) {
	if notes := os.Getenv(notesVariable); notes != "" {
		actAsBrowser(notes)
		return
	}
	os.Exit(m.Run())
}

type notes struct {
	Args     []string
	Home     string
	follower *os.File // ends when the other process has ended
}

// actAsBrowser acts as a browser that starts another process, which ignores interrupts, and sends a given report.
func actAsBrowser(path string) {
	follower := exec.Command("sh", "-c", `exec 3>"$0"; trap "" INT; echo started; while :; do sleep 1; done`, followerOf(path))
	started, err := follower.StdoutPipe()
	check(err)
	check(follower.Start())
	_, err = started.Read(make([]byte, 1))
	check(err)
	data, err := json.Marshal(notes{os.Args[1:], os.Getenv("HOME"), nil})
	check(err)
	check(os.WriteFile(path, data, 0o600))
	report, reports := os.LookupEnv(reportVariable)
	if !reports {
		fmt.Println("no display for this browser")
		os.Exit(3)
	}
	interrupted, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	page, err := url.Parse(os.Args[len(os.Args)-1])
	check(err)
	response, err := http.Post(page.JoinPath("report").String(), "application/json", strings.NewReader(report))
	check(err)
	response.Body.Close()
	<-interrupted.Done()
}

// followerOf returns the FIFO that the other process holds open.
func followerOf(path string) string { return path + ".follower" }

func check(err error) {
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}

// withBrowser runs the suite with the test binary as the browser.
func withBrowser(t *testing.T, r run) (output string, n notes, err error) {
	t.Helper()
	executable, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "notes")
	if err := syscall.Mkfifo(followerOf(path), 0o600); err != nil {
		t.Fatal(err)
	}
	follower, err := os.OpenFile(followerOf(path), os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { follower.Close() })
	t.Setenv("CHROMIUM", executable)
	t.Setenv(notesVariable, path)
	r.browser, r.dist = "chromium", emptyDist(t)
	r.timeout = time.Minute
	var stdout bytes.Buffer
	err = r.start(t.Context(), &stdout)
	data, readErr := os.ReadFile(path)
	if readErr != nil {
		t.Fatalf("the browser was not started: %v", err)
	}
	if err := json.Unmarshal(data, &n); err != nil {
		t.Fatal(err)
	}
	n.follower = follower
	return stdout.String(), n, err
}

// emptyDist returns a dist/ with only the files that the command looks for.
func emptyDist(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "eventsource.mjs"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

// checkNothingIsLeft checks that the browser's profile and processes are gone.
func checkNothingIsLeft(t *testing.T, n notes) {
	t.Helper()
	if _, err := os.Stat(n.Home); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the profile %s is left: %v", n.Home, err)
	}
	n.follower.SetReadDeadline(time.Now().Add(time.Minute)) // a failure must not hang
	if _, err := io.Copy(io.Discard, n.follower); err != nil {
		t.Errorf("waiting for the browser's other process: %v", err)
	}
}

const reportOf = `{"browser": "Testbrowser/1", "totals": {"native": {"asTheStandard": 2, "explained": 1, "unexplained": %d}},
	"files": [{"name": "retry", "scenarios": [{"name": "one", "results": {"native": {"trace": [], "failure": %q}}}]}]}`

func TestReport(t *testing.T) {
	tests := map[string]struct {
		report string
		err    error
		tells  []string
	}{
		"explained":   {fmt.Sprintf(reportOf, 0, ""), nil, []string{"Testbrowser/1", "2 as the standard,   1 differ"}},
		"unexplained": {fmt.Sprintf(reportOf, 1, "got: this"), errUnexplained, []string{"1 unexplained", "retry/one on native\ngot: this"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Setenv(reportVariable, test.report)
			output, n, err := withBrowser(t, run{})
			if !errors.Is(err, test.err) {
				t.Errorf("error %v, not %v", err, test.err)
			}
			for _, part := range test.tells {
				if !strings.Contains(output, part) {
					t.Errorf("%q is not in\n%s", part, output)
				}
			}
			checkNothingIsLeft(t, n)
		})
	}
}

func TestReportIsWritten(t *testing.T) {
	dir := t.TempDir()
	if err := publish([]byte(fmt.Sprintf(reportOf, 0, "")), dir, io.Discard); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"conformance.json", "conformance.html"} {
		if data, err := os.ReadFile(filepath.Join(dir, name)); err != nil || !bytes.Contains(data, []byte("Testbrowser/1")) {
			t.Errorf("%s lacks the report: %v", name, err)
		}
	}
	if err := publish([]byte(`{"totals": 1}`), dir, io.Discard); err == nil || !strings.Contains(err.Error(), "reading the report") {
		t.Errorf("an invalid report: %v", err)
	}
	if err := publish([]byte("{}"), filepath.Join(dir, "none"), io.Discard); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a folder that does not exist: %v", err)
	}
}

// A page of docs/engines. The test binary, as the browser, posts its report to /report.
const reproduction = "# A title\n\n```js\n" + `import { createServer } from 'node:http';
const server = createServer((request, response) => {
  request.on('data', (text) => console.log(String(text))).on('end', () => response.end());
}).listen(process.env.PORT, '127.0.0.1', () => console.log('http://127.0.0.1:' + server.address().port));
` + "```\n\n| Chromium 1 | `FAIL: this` |\n| Firefox 1 | `PASS: a` |\n| WebKitGTK 1 | `PASS: a` |\n| eventsource-wasm | `PASS: a` |\n"

func TestReproduce(t *testing.T) {
	nodetest.Require(t)
	tests := map[string]struct {
		shows string
		err   error
		tells string
	}{
		"what the page says": {"FAIL: this", nil, "bug                      FAIL: this\n"},
		"something else":     {"PASS: that", errShowsElse, "bug                      PASS: that\n  the page says          FAIL: this\n"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			folder := t.TempDir()
			if err := os.WriteFile(filepath.Join(folder, "bug.md"), []byte(reproduction), 0o600); err != nil {
				t.Fatal(err)
			}
			t.Setenv(reportVariable, test.shows)
			output, n, err := withBrowser(t, run{reproductions: folder})
			if !errors.Is(err, test.err) {
				t.Errorf("error %v, not %v", err, test.err)
			}
			if output != test.tells {
				t.Errorf("printed %q, want %q", output, test.tells)
			}
			checkNothingIsLeft(t, n)
		})
	}
}

func TestIncompleteReproductions(t *testing.T) {
	for name, test := range map[string]struct{ page, tells string }{
		"no page":    {"", "no pages"},
		"no program": {"# A title\n", "0 programs"},
		"no result":  {strings.Replace(reproduction, "PASS", "NONE", 1), "what firefox shows"},
	} {
		t.Run(name, func(t *testing.T) {
			folder := t.TempDir()
			if err := os.WriteFile(filepath.Join(folder, "bug.md"), []byte(test.page), 0o600); err != nil {
				t.Fatal(err)
			}
			if test.page == "" {
				os.Remove(filepath.Join(folder, "bug.md"))
			}
			err := run{browser: "chromium", reproductions: folder, timeout: time.Minute}.start(t.Context(), io.Discard)
			if err == nil || !strings.Contains(err.Error(), test.tells) || !strings.Contains(err.Error(), folder) {
				t.Errorf("error %v", err)
			}
		})
	}
}

func TestBrowserEndsByItself(t *testing.T) {
	_, n, err := withBrowser(t, run{})
	if err == nil || !strings.Contains(err.Error(), "ended by itself: exit status 3") || !strings.Contains(err.Error(), "no display for this browser") {
		t.Errorf("error %v", err)
	}
	checkNothingIsLeft(t, n)
}

func TestPageThatIsOpened(t *testing.T) {
	script := filepath.Join(t.TempDir(), "polyfill.js")
	if err := os.WriteFile(script, []byte("// a script"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv(reportVariable, fmt.Sprintf(reportOf, 0, ""))
	tests := map[string]struct {
		run   run
		query url.Values
	}{
		"all":      {run{}, url.Values{}},
		"one":      {run{implementation: "wasm"}, url.Values{"implementation": {"wasm"}}},
		"a URL":    {run{implementation: "https://a.example/x.js"}, url.Values{"implementation": {"https://a.example/x.js"}}},
		"a file":   {run{implementation: script}, url.Values{"implementation": {"/script.js"}}},
		"a folder": {run{implementation: t.TempDir()}, nil},
		"files":    {run{files: "retry,ids"}, url.Values{"file": {"retry", "ids"}}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			_, n, err := withBrowser(t, test.run)
			if err != nil {
				t.Fatal(err)
			}
			page, err := url.Parse(n.Args[len(n.Args)-1])
			if err != nil {
				t.Fatal(err)
			}
			query := page.Query()
			if page.Path != "/conformance/" || !query.Has("run") || !query.Has("report") {
				t.Errorf("page %s", page)
			}
			query.Del("run")
			query.Del("report")
			if test.query != nil && query.Encode() != test.query.Encode() {
				t.Errorf("query %s, not %s", query.Encode(), test.query.Encode())
			}
			if !slices.Contains(n.Args, "--user-data-dir="+n.Home) {
				t.Errorf("the profile is not in %s", n.Args)
			}
		})
	}
}

func TestNoReport(t *testing.T) {
	t.Setenv("CHROMIUM", "/bin/cat")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err := run{browser: "chromium", dist: emptyDist(t), timeout: time.Minute}.run(ctx, io.Discard)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted: %v", err)
	}
}

func TestWhatIsMissing(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "browser")
	t.Setenv("FIREFOX", missing)
	t.Setenv("WEBKIT", os.Args[0])
	t.Setenv("PATH", t.TempDir())
	tests := map[string]struct {
		run   run
		tells []string
	}{
		"an unknown browser": {run{browser: "netscape"}, []string{`"netscape"`, "chromium, firefox, webkit"}},
		"dist":               {run{browser: "chromium", dist: t.TempDir()}, []string{"make build", "-dist"}},
		"the binary":         {run{browser: "chromium", dist: emptyDist(t)}, []string{"no chromium", "google-chrome", "apt-get install chromium", "CHROMIUM"}},
		"the user's binary":  {run{browser: "firefox", dist: emptyDist(t)}, []string{missing, "apt-get install firefox-esr"}},
		"the display":        {run{browser: "webkit", dist: emptyDist(t)}, []string{"Xvfb", "apt-get install xvfb"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			test.run.timeout = time.Minute
			err := test.run.run(t.Context(), io.Discard)
			if err == nil {
				t.Fatal("no error")
			}
			for _, part := range test.tells {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("%q is not in %q", part, err)
				}
			}
		})
	}
}

// TestChromium runs one file of scenarios in Chromium, from the command to the written files.
func TestChromium(t *testing.T) {
	const dist = "../../dist"
	if _, err := os.Stat(filepath.Join(dist, "eventsource.mjs")); err != nil {
		t.Fatalf("%v: run `make build` first", err)
	}
	chromium, err := browsers.Find("chromium")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := chromium.Path(); err != nil {
		t.Fatal(err)
	}
	r := run{browser: "chromium", dist: filepath.Join(t.TempDir(), "dist"), files: "close", timeout: 5 * time.Minute}
	if err := os.CopyFS(r.dist, os.DirFS(dist)); err != nil {
		t.Fatal(err)
	}
	var stdout bytes.Buffer
	if err := r.run(t.Context(), &stdout); err != nil {
		t.Fatalf("%v\n%s", err, stdout.String())
	}
	data, err := os.ReadFile(filepath.Join(r.dist, "conformance.json"))
	if err != nil {
		t.Fatal(err)
	}
	var got report
	if err := json.Unmarshal(data, &got); err != nil {
		t.Fatal(err)
	}
	for _, implementation := range []string{"native", "wasm"} {
		if got.Totals[implementation].AsTheStandard == 0 {
			t.Errorf("no scenario passed on %s:\n%s", implementation, stdout.String())
		}
	}
	page, err := os.ReadFile(filepath.Join(r.dist, "conformance.html"))
	if err != nil || !bytes.Contains(page, []byte(got.Browser)) {
		t.Errorf("conformance.html lacks the report: %v", err)
	}
}
