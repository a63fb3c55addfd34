package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/eventsource-wasm/eventsource-wasm/server/cmd/internal/cli"
	"github.com/eventsource-wasm/eventsource-wasm/server/cmd/internal/cmdtest"
	"github.com/eventsource-wasm/eventsource-wasm/server/cmd/internal/serve"
)

func TestServesOnlyStreams(t *testing.T) {
	p := launch(t, "-public", ">", "-admin", "127.0.0.1:0", "-pprof")
	admin := p.admin(t)
	tests := []struct {
		method, url, body string
		status            int
	}{
		{"GET", p.url + "/events", "", 200},
		{"GET", p.url + "/healthz", "ok\n", 200},
		{"GET", p.url + "/readyz", "ready\n", 200},
		{"POST", p.url + "/readyz", "", 405},
		{"GET", p.url + "/", "", 404},
		{"GET", p.url + "/eventsource.js", "", 404},
		{"GET", p.url + "/eventsource.wasm", "", 404},
		{"GET", p.url + "/dist/eventsource.js", "", 404},
		{"GET", p.url + "/conformance/", "", 404},
		{"GET", p.url + "/protected", "", 404},
		{"GET", p.url + "/demo/config", "", 404},
		{"POST", p.url + "/demo/break", "", 404},
		{"GET", p.url + "/metrics", "", 404},
		{"GET", p.url + "/debug/pprof/", "", 404},
		{"GET", admin + "/healthz", "ok\n", 200},
		{"GET", admin + "/readyz", "ready\n", 200},
		{"GET", admin + "/events", "", 404},
		{"GET", admin + "/debug/pprof/", "", 200},
		{"GET", admin + "/debug/pprof/goroutine?debug=1", "", 200},
		{"GET", admin + "/debug/pprof/cmdline", "", 404},
	}
	for _, test := range tests {
		response, body := do(t, test.method, test.url, "")
		if response.StatusCode != test.status || test.body != "" && body != test.body {
			t.Errorf("%s %s: status %d, want %d: %s", test.method, test.url, response.StatusCode, test.status, body)
		}
	}
}

func TestMetrics(t *testing.T) {
	p := launch(t, "-public", ">", "-admin", "127.0.0.1:0", "-max-connections", "7")
	do(t, "GET", p.url+"/events", "")
	_, text := do(t, "GET", p.admin(t)+"/metrics", "")
	for _, line := range []string{"eventsource_connections 1", "eventsource_connections_limit 7", "eventsource_build_info{version=", "go_goroutines ", "process_open_fds "} {
		if !strings.Contains(text, "\n"+line) {
			t.Errorf("no %q in:\n%s", line, text)
		}
	}
	if response, _ := do(t, "GET", p.admin(t)+"/debug/pprof/", ""); response.StatusCode != 404 {
		t.Errorf("profiles without -pprof: status %d, want 404", response.StatusCode)
	}
}

// At the limit of connections, new clients are refused and open streams continue.
func TestOverloadRefusesOnlyNewClients(t *testing.T) {
	p := launch(t, "-public", ">", "-token", "secret", "-max-connections", "1")
	first, _ := do(t, "GET", p.url+"/events", "")
	second, _ := do(t, "GET", p.url+"/events", "")
	if second.StatusCode != 503 || second.Header.Get("Retry-After") == "" {
		t.Errorf("status %d, headers %v", second.StatusCode, second.Header)
	}
	do(t, "POST", p.url+"/events", "topic=a&data=still+here", "Authorization", "Bearer secret")
	if !found(first.Body, "data: still here") {
		t.Error("the open stream got no event")
	}
}

// found reads to the line.
func found(stream io.Reader, line string) bool {
	lines := bufio.NewScanner(stream)
	for lines.Scan() {
		if lines.Text() == line {
			return true
		}
	}
	return false
}

// hold begins a request that does not end before the returned connection is closed.
func hold(t *testing.T, url string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	fmt.Fprint(conn, "POST /events HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 9\r\n"+
		"Authorization: Bearer secret\r\nExpect: 100-continue\r\n\r\n")
	// After 100 Continue, the request is being served.
	if line, err := bufio.NewReader(conn).ReadString('\n'); err != nil || !strings.Contains(line, "100") {
		t.Fatalf("read %q, %v", line, err)
	}
	return conn
}

func TestShutdown(t *testing.T) {
	p := launch(t, "-token", "secret", "-admin", "127.0.0.1:0", "-drain", "1ms", "-grace", "1m")
	admin := p.admin(t)
	stream, _ := do(t, "GET", p.url+"/events", "", "Authorization", "Bearer secret")
	held := hold(t, p.url)
	ended := make(chan error, 1)
	go func() { ended <- p.stop() }()
	if text, err := io.ReadAll(stream.Body); err != nil || !strings.Contains(string(text), "\nretry: ") {
		t.Errorf("the stream ends with %q, %v", text, err)
	}
	if response, body := do(t, "GET", admin+"/readyz", ""); response.StatusCode != 503 || body != "draining\n" {
		t.Errorf("status %d, %q", response.StatusCode, body)
	}
	if response, _ := do(t, "GET", admin+"/healthz", ""); response.StatusCode != 200 {
		t.Errorf("status %d", response.StatusCode)
	}
	held.Close()
	if err := <-ended; err != nil {
		t.Errorf("run: %v", err)
	}
	if _, err := http.Get(admin + "/healthz"); err == nil {
		t.Error("-admin is still served after shutdown")
	}
}

// While streams are being drained, new streams are refused and publishing continues.
func TestDraining(t *testing.T) {
	p := launch(t, "-token", "secret", "-public", ">", "-drain", "1h", "-grace", "1ns")
	stream, _ := do(t, "GET", p.url+"/events", "")
	go p.stop()
	p.log.wait(t, "draining", "over")
	for response, _ := do(t, "GET", p.url+"/readyz", ""); response.StatusCode != 503; response, _ = do(t, "GET", p.url+"/readyz", "") {
	}
	refused, _ := do(t, "GET", p.url+"/events", "")
	for refused.StatusCode == 200 { // /readyz fails first
		refused, _ = do(t, "GET", p.url+"/events", "")
	}
	if refused.StatusCode != 503 || refused.Header.Get("Retry-After") == "" {
		t.Errorf("status %d, headers %v", refused.StatusCode, refused.Header)
	}
	if response, _ := do(t, "POST", p.url+"/events", "topic=a&data=x", "Authorization", "Bearer secret"); response.StatusCode != 201 {
		t.Errorf("publishing: status %d", response.StatusCode)
	}
	if !found(stream.Body, "data: x") {
		t.Error("the open stream got no event")
	}
}

func TestHealthcheck(t *testing.T) {
	p := launch(t, "-public", ">", "-admin", "127.0.0.1:0")
	stopped, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	stopped.Close()
	other := http.Server{Handler: http.NotFoundHandler()}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go other.Serve(listener)
	t.Cleanup(func() { other.Close() })
	tests := map[string]struct {
		env  []string
		want string // of the error; empty: none
	}{
		"at -addr":         {[]string{"EVENTSOURCE_ADDR", strings.TrimPrefix(p.url, "http://")}, ""},
		"at -admin":        {[]string{"EVENTSOURCE_ADMIN", strings.TrimPrefix(p.admin(t), "http://")}, ""},
		"nothing there":    {[]string{"EVENTSOURCE_ADDR", stopped.Addr().String()}, "refused"},
		"something else":   {[]string{"EVENTSOURCE_ADDR", listener.Addr().String()}, "404"},
		"no such variable": {[]string{"EVENTSOURCE_MAX_LAG", "x"}, "EVENTSOURCE_MAX_LAG"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			err := run(t.Context(), []string{"-healthcheck"}, environment(test.env...), io.Discard, io.Discard)
			if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
}

// child starts this program as a process.
func child(t *testing.T, args ...string) (launched, *exec.Cmd) {
	t.Helper()
	executable, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p := launched{log: &journal{}}
	cmd := exec.CommandContext(context.Background(), executable, append([]string{"-log-format", "json"}, args...)...)
	cmd.Env = append(cmdtest.ProgramEnviron(), "PORT=0")
	cmd.Stderr = p.log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill() })
	p.stop = cmd.Wait
	p.url = p.log.wait(t, "listening", "url")
	return p, cmd
}

func TestSignals(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	write(t, file, "secret")
	p, cmd := child(t, "-token-file", file, "-drain", "1ms")
	stream, _ := do(t, "GET", p.url+"/events", "", "Authorization", "Bearer secret")

	write(t, file, "next")
	cmd.Process.Signal(syscall.SIGHUP)
	p.log.wait(t, "reloaded", "flag")
	for token, want := range map[string]int{"next": 201, "secret": 401} {
		if response, _ := do(t, "POST", p.url+"/events", "topic=a&data="+token, "Authorization", "Bearer "+token); response.StatusCode != want {
			t.Errorf("%s: status %d, want %d", token, response.StatusCode, want)
		}
	}
	write(t, file, "")
	cmd.Process.Signal(syscall.SIGHUP)
	p.log.wait(t, "reload failed: keeping the old value", "error")
	if response, _ := do(t, "POST", p.url+"/events", "topic=a", "Authorization", "Bearer next"); response.StatusCode != 201 {
		t.Errorf("the old token is not kept: status %d", response.StatusCode)
	}

	cmd.Process.Signal(syscall.SIGTERM)
	if text, err := io.ReadAll(stream.Body); err != nil || !strings.Contains(string(text), "data: next") {
		t.Errorf("read %q, %v", text, err)
	}
	if err := p.stop(); err != nil {
		t.Errorf("ended with %v:\n%s", err, p.log)
	}
}

func TestSecondSignalEndsAtOnce(t *testing.T) {
	p, cmd := child(t, "-token", "secret", "-drain", "1ms", "-grace", "1h")
	hold(t, p.url)
	cmd.Process.Signal(syscall.SIGTERM)
	p.log.wait(t, "shutting down", "time")
	cmd.Process.Signal(syscall.SIGTERM)
	p.stop()
	if code := cmd.ProcessState.ExitCode(); code != serve.ExitAtOnce {
		t.Errorf("ended with %v", cmd.ProcessState)
	}
}

func TestExitCodes(t *testing.T) {
	executable, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for arg, want := range map[string]int{"-help": 0, "-version": 0, "-nonsense": 2, "-pprof": 2, "-tls-cert=x -tls-key=y -public=a": 1} {
		cmd := exec.Command(executable, strings.Fields(arg)...)
		cmd.Env = cmdtest.ProgramEnviron()
		output, _ := cmd.CombinedOutput()
		if code := cmd.ProcessState.ExitCode(); code != want || len(output) == 0 {
			t.Errorf("%s: exit code %d, want %d: %s", arg, code, want, output)
		}
		if lines := strings.Count(string(output), "\n"); want == 2 && (lines != 2 || !strings.Contains(string(output), "-h for help")) {
			t.Errorf("%s printed %s", arg, output)
		}
	}
}

// No log contains a secret that a client sends, wherever it is in the request.
func TestLogsContainNoSecrets(t *testing.T) {
	p := launch(t, "-token", "hunter-token", "-public", "open", "-tickets")
	for _, request := range [][]string{
		{"GET", "/events?topic=hunter-topic&ticket=hunter-ticket&lastEventId=hunter-id", ""},
		{"GET", "/events?topic=hunter-topic&lastEventId=hunter-id", ""},
		{"GET", "/events?topic=%zzhunter-query", ""},
		{"GET", "/hunter-path?access_token=hunter-query", ""},
		{"POST", "/events", "topic=a&data=hunter-data&type=hunter%0Atype"},
		{"POST", "/events?token=hunter-query", "topic=a&data=hunter-data"},
		{"POST", "/ticket?topic=hunter-topic", ""},
	} {
		for _, authorization := range []string{"", "Bearer hunter-token", "Bearer hunter-wrong", "Basic hunter-basic"} {
			response, _ := do(t, request[0], p.url+request[1], request[2], "Authorization", authorization,
				"Cookie", "session=hunter-cookie", "Last-Event-ID", "hunter-id", "Referer", "https://a.example/?hunter-referer")
			response.Body.Close()
		}
	}
	conn, err := net.Dial("tcp", strings.TrimPrefix(p.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(conn, "GET /events?hunter-query HTTP/1.1\r\nHost: x\r\nhunter-header\r\n\r\n")
	io.ReadAll(conn)
	conn.Close()
	if err := p.stop(); err != nil {
		t.Error(err)
	}
	if log := p.log.String(); strings.Contains(log, "hunter") || !strings.Contains(log, "stream ended") {
		t.Errorf("the log:\n%s", log)
	}
}

func TestLogFormats(t *testing.T) {
	for format, want := range map[string]string{"text": "level=WARN msg=hello\n", "json": `"level":"WARN","msg":"hello"}` + "\n"} {
		var log strings.Builder
		logger := (&cli.Logging{Format: format, Level: slog.LevelWarn}).Logger(&log)
		logger.Info("quiet")
		logger.Warn("hello")
		if lines := log.String(); !strings.HasSuffix(lines, want) || strings.Contains(lines, "quiet") {
			t.Errorf("%s: logged %q, want only %q", format, lines, want)
		}
	}
}
