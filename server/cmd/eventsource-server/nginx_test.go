package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// documented returns the block of OPERATIONS.md that is in the language.
func documented(t *testing.T, language string) string {
	t.Helper()
	text, err := os.ReadFile("../../OPERATIONS.md")
	if err != nil {
		t.Fatal(err)
	}
	block := regexp.MustCompile("(?s)```" + language + "\n(.*?)```").FindSubmatch(text)
	if block == nil {
		t.Fatalf("OPERATIONS.md has no block in %s", language)
	}
	return string(block[1])
}

// A proxy is an nginx in front of the program.
type proxy struct {
	url, config string
	cmd         *exec.Cmd
}

// startNginx starts one that serves the locations, in which upstream stands for the program's address.
func startNginx(t *testing.T, locations, upstream string) *proxy {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := listener.Addr().String()
	listener.Close()
	folder := t.TempDir()
	p := &proxy{url: "http://" + addr, config: filepath.Join(folder, "nginx.conf")}
	write(t, p.config, fmt.Sprintf(`
		daemon off; worker_processes 1; pid %[1]s/pid; error_log stderr;
		events {}
		http {
			access_log off;
			client_body_temp_path %[1]s/a; proxy_temp_path %[1]s/b; fastcgi_temp_path %[1]s/c; uwsgi_temp_path %[1]s/d; scgi_temp_path %[1]s/e;
			server { listen %[2]s; %[3]s }
		}`, folder, addr, strings.ReplaceAll(locations, "upstream", upstream)))
	p.start(t)
	return p
}

func findNginx(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"nginx", "/usr/sbin/nginx"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	if os.Getenv("CI") != "" {
		t.Fatal("there is no nginx: .ci/nginx should have installed it")
	}
	t.Skip("there is no nginx: on Debian, apt-get install nginx-light")
	return ""
}

func (p *proxy) start(t *testing.T) {
	t.Helper()
	p.cmd = exec.Command(findNginx(t), "-e", "stderr", "-c", p.config)
	var log journal
	p.cmd.Stderr = &log
	p.cmd.WaitDelay = patience // for workers that outlive their master, and hold its stderr
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.stop)
	client := &http.Client{Timeout: patience} // one that begins to listen and is not ready yet may forget a connection
	for limit := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		response, err := client.Get(p.url + "/healthz")
		if err == nil {
			response.Body.Close()
			return
		}
		if time.Now().After(limit) {
			t.Fatalf("nginx does not answer: %v\n%s", err, &log)
		}
	}
}

// patience is what nginx gets to do what it is told.
const patience = 10 * time.Second

// stop cuts every connection.
func (p *proxy) stop() {
	p.cmd.Process.Signal(syscall.SIGTERM)
	defer time.AfterFunc(patience, func() { p.cmd.Process.Kill() }).Stop()
	p.cmd.Wait()
}

// A reader is a client that remembers its last event id, as an EventSource does.
type reader struct {
	t           *testing.T
	url         string
	from        *net.TCPAddr // the address that it connects from, if that matters
	lastEventID string
	response    *http.Response
	lines       *bufio.Scanner
}

func (r *reader) connect(header ...string) int {
	r.t.Helper()
	dialer := &net.Dialer{}
	if r.from != nil {
		dialer.LocalAddr = r.from
	}
	transport := &http.Transport{DialContext: dialer.DialContext}
	ctx, cancel := context.WithTimeout(r.t.Context(), time.Minute) // or a buffer of nginx holds the test
	request, _ := http.NewRequestWithContext(ctx, http.MethodGet, r.url, nil)
	if r.lastEventID != "" {
		request.Header.Set("Last-Event-ID", r.lastEventID)
	}
	for i := 0; i < len(header); i += 2 {
		request.Header.Set(header[i], header[i+1])
	}
	response, err := transport.RoundTrip(request)
	if err != nil {
		cancel()
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { cancel(); response.Body.Close(); transport.CloseIdleConnections() })
	r.response, r.lines = response, bufio.NewScanner(response.Body)
	return response.StatusCode
}

// want reads to the next event, which must have the data.
func (r *reader) want(data string) {
	r.t.Helper()
	for r.lines.Scan() {
		name, value, _ := strings.Cut(r.lines.Text(), ": ")
		if name == "id" {
			r.lastEventID = value
		}
		if name == "data" {
			if value != data {
				r.t.Fatalf("got %q, want %q", value, data)
			}
			r.lines.Scan() // the blank line
			return
		}
	}
	r.t.Fatalf("the stream ends before %q: %v", data, r.lines.Err())
}

// The first location is what everybody writes first: HTTP/1.0 to the program, responses buffered.
func TestBehindNginx(t *testing.T) {
	findNginx(t)
	for name, locations := range map[string]string{
		"the least":     "location / { proxy_pass http://upstream; }",
		"HTTP/1.1":      `location / { proxy_pass http://upstream; proxy_http_version 1.1; proxy_set_header Connection ""; }`,
		"compressing":   "gzip on; gzip_types *; gzip_min_length 0; location / { proxy_pass http://upstream; }",
		"as documented": documented(t, "nginx"),
	} {
		t.Run(name, func(t *testing.T) {
			p := launch(t, "-public", ">", "-token", "secret")
			upstream := strings.TrimPrefix(p.url, "http://")
			nginx := startNginx(t, locations, upstream)
			publish := func(url, data string) {
				t.Helper()
				response, body := do(t, "POST", url+"/events", "topic=a&data="+data, "Authorization", "Bearer secret")
				if response.StatusCode != 201 {
					t.Fatalf("status %d: %s", response.StatusCode, body)
				}
			}
			r := &reader{t: t, url: nginx.url + "/events?topic=a"}
			if status := r.connect(); status != 200 {
				t.Fatalf("status %d", status)
			}
			// Each is published when the one before has arrived, so none of them waits in a buffer.
			for i := range 20 {
				publish(nginx.url, fmt.Sprint(i))
				r.want(fmt.Sprint(i))
			}
			nginx.stop()
			io.Copy(io.Discard, r.response.Body)
			publish(p.url, "missed")
			nginx.start(t)
			r.connect()
			r.want("missed")
			publish(nginx.url, "live")
			r.want("live")
		})
	}
}

// Behind a proxy that is trusted, a client is who the proxy says, whatever the client says itself.
func TestLimitPerIPBehindNginx(t *testing.T) {
	findNginx(t)
	p := launch(t, "-public", ">", "-max-connections-per-ip", "1", "-trusted-proxies", "127.0.0.2")
	nginx := startNginx(t, "proxy_bind 127.0.0.2; "+documented(t, "nginx"), strings.TrimPrefix(p.url, "http://"))
	connect := func(ip string) int {
		r := &reader{t: t, url: nginx.url + "/events", from: &net.TCPAddr{IP: net.ParseIP(ip)}}
		return r.connect("X-Forwarded-For", "203.0.113.9, 127.0.0.2")
	}
	for i, test := range []struct {
		ip   string
		want int
	}{{"127.0.0.1", 200}, {"127.0.0.1", 429}, {"127.0.0.3", 200}, {"127.0.0.3", 429}} {
		if status := connect(test.ip); status != test.want {
			t.Errorf("%d: %s: status %d, want %d", i, test.ip, status, test.want)
		}
	}
}
