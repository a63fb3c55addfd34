//go:build unix

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
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A proxyProgram is a common proxy.
type proxyProgram struct {
	name   string // also the language of its block in OPERATIONS.md
	binary string

	// config is the file around the documented part: %[1]s is a folder, %[2]s the address to listen on, %[3]s the part.
	config string

	// listen is the placeholder for the address to listen on in the documented part, if it has one.
	listen string

	// args start the proxy in the foreground. FILE, FOLDER and ADDR are replaced.
	args []string

	// least is the configuration in the first example of the documentation.
	least string

	// compress adds the configuration that compresses as much as possible. Nil if the proxy cannot compress.
	compress func(part string) string
}

var proxyPrograms = []proxyProgram{{
	name:   "nginx",
	binary: "nginx",
	config: `
		daemon off; worker_processes 1; pid %[1]s/pid; error_log stderr;
		events {}
		http {
			access_log off;
			client_body_temp_path %[1]s/a; proxy_temp_path %[1]s/b; fastcgi_temp_path %[1]s/c; uwsgi_temp_path %[1]s/d; scgi_temp_path %[1]s/e;
			server { listen %[2]s; %[3]s }
		}`,
	args:     []string{"-e", "stderr", "-c", "FILE"},
	least:    "location / { proxy_pass http://upstream; }", // HTTP/1.0, and responses are buffered
	compress: func(part string) string { return "gzip on; gzip_types *; gzip_min_length 0;\n" + part },
}, {
	name:   "haproxy",
	binary: "haproxy",
	config: `
%[3]s
frontend test
	bind %[2]s
	default_backend events
`,
	args: []string{"-db", "-f", "FILE"},
	least: `
defaults
	mode http
	timeout connect 5s
	timeout client 1m
	timeout server 1m
backend events
	server one upstream
`,
	compress: func(part string) string {
		return strings.Replace(part, "mode http", "mode http\n	compression algo gzip\n	compression type text/event-stream", 1)
	},
}, {
	name:   "apache",
	binary: "apache2",
	config: `
ServerRoot %[1]s
ServerName localhost
PidFile %[1]s/pid
DefaultRuntimeDir %[1]s
Listen %[2]s
ErrorLog /dev/stderr
LoadModule mpm_event_module /usr/lib/apache2/modules/mod_mpm_event.so
LoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so
LoadModule env_module /usr/lib/apache2/modules/mod_env.so
LoadModule filter_module /usr/lib/apache2/modules/mod_filter.so
LoadModule deflate_module /usr/lib/apache2/modules/mod_deflate.so
LoadModule proxy_module /usr/lib/apache2/modules/mod_proxy.so
LoadModule proxy_http_module /usr/lib/apache2/modules/mod_proxy_http.so
<IfModule unixd_module>
	User www-data
	Group www-data
</IfModule>
%[3]s
`,
	args:     []string{"-f", "FILE", "-DFOREGROUND"},
	least:    `ProxyPass "/" "http://upstream/"`,
	compress: func(part string) string { return "SetOutputFilter DEFLATE\n" + part },
}, {
	name:     "caddyfile",
	binary:   "caddy",
	listen:   "events.example",
	config:   "{\n\tadmin off\n\tauto_https off\n\tgrace_period 100ms\n}\n%[3]s\n",
	args:     []string{"run", "--adapter", "caddyfile", "--config", "FILE"},
	least:    "events.example {\n\treverse_proxy upstream\n}\n",
	compress: func(part string) string { return strings.Replace(part, "{\n", "{\n\tencode gzip\n", 1) },
}, {
	name:   "vcl",
	binary: "varnishd",
	config: "%[3]s",
	args:   []string{"-j", "none", "-F", "-n", "FOLDER", "-a", "ADDR", "-f", "FILE", "-s", "malloc,16m", "-T", "none"},
	least:  "vcl 4.1;\nbackend default { .host = \"upstream\"; }\n",
}}

// documented returns the block of OPERATIONS.md that is in the language.
func documented(t testing.TB, language string) string {
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

// A proxy is a process in front of the program.
type proxy struct {
	program      proxyProgram
	url          string
	path, folder string
	cmd          *exec.Cmd
	ended        chan struct{} // closed when the proxy has ended
}

// startProxy starts a proxy with part, in which upstream stands for the program's address.
func startProxy(t testing.TB, program proxyProgram, part, upstream string) *proxy {
	t.Helper()
	findProxy(t, program)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := listener.Addr().String()
	listener.Close()
	folder := t.TempDir()
	if program.listen != "" {
		part = strings.ReplaceAll(part, program.listen, "http://"+addr)
	}
	if host, port, _ := net.SplitHostPort(upstream); program.name == "vcl" { // VCL separates host and port
		part = strings.ReplaceAll(part, `"upstream";`, `"`+host+`"; .port = "`+port+`";`)
	}
	part = strings.ReplaceAll(part, "upstream", upstream)
	p := &proxy{program: program, url: "http://" + addr, path: filepath.Join(folder, "config"), folder: folder}
	config := strings.NewReplacer("%[1]s", folder, "%[2]s", addr, "%[3]s", part).Replace(program.config)
	if err := os.WriteFile(p.path, []byte(config), 0o644); err != nil {
		t.Fatal(err)
	}
	p.start(t)
	return p
}

func findProxy(t testing.TB, program proxyProgram) string {
	t.Helper()
	for _, name := range []string{program.binary, "/usr/sbin/" + program.binary} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	if os.Getenv("CI") != "" {
		t.Fatalf("no %s: .ci/proxies should have installed it", program.binary)
	}
	t.Skipf("no %s: on Debian, .ci/proxies installs it", program.binary)
	return ""
}

func (p *proxy) start(t testing.TB) {
	t.Helper()
	var args []string
	for _, arg := range p.program.args {
		args = append(args, strings.NewReplacer("FILE", p.path, "FOLDER", p.folder, "ADDR", strings.TrimPrefix(p.url, "http://")).Replace(arg))
	}
	p.cmd = exec.Command(findProxy(t, p.program), args...)
	p.cmd.Dir = p.folder
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // so that stop reaches the workers
	p.cmd.Env = append(os.Environ(), "HOME="+p.folder, "XDG_CONFIG_HOME="+p.folder, "XDG_DATA_HOME="+p.folder)
	var log journal
	p.cmd.Stdout, p.cmd.Stderr = &log, &log
	p.cmd.WaitDelay = patience // workers may outlive their master and hold its stderr
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p.ended = make(chan struct{})
	go func(cmd *exec.Cmd, ended chan struct{}) {
		cmd.Wait()
		close(ended)
	}(p.cmd, p.ended)
	t.Cleanup(p.stop)
	client := &http.Client{Timeout: patience} // a proxy that has just begun to listen may drop a connection
	limit := time.After(5 * time.Minute)
	for {
		response, err := client.Get(p.url + "/healthz")
		if err == nil {
			response.Body.Close()
			return
		}
		select {
		case <-time.After(10 * time.Millisecond): // proxies do not signal that they listen
		case <-p.ended:
			t.Fatalf("%s exited:\n%s", p.program.binary, &log)
		case <-limit:
			t.Fatalf("%s does not respond: %v\n%s", p.program.binary, err, &log)
		}
	}
}

// patience limits the start and the stop of a proxy.
const patience = 10 * time.Second

// stop closes every connection. Some proxies wait for the clients first.
func (p *proxy) stop() {
	p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.ended:
	case <-time.After(patience / 10):
		syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
		<-p.ended
	}
}

// A reader is a client that remembers its last event id, as an EventSource does.
type reader struct {
	t           testing.TB
	url         string
	from        *net.TCPAddr // the local address, if it matters
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
	ctx, cancel := context.WithTimeout(r.t.Context(), time.Minute) // in case the proxy buffers the stream
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
	r.t.Fatalf("the stream ended before %q: %v", data, r.lines.Err())
}

func publishVia(t testing.TB, url, data string) {
	t.Helper()
	request, _ := http.NewRequest(http.MethodPost, url+"/events", strings.NewReader("topic=a&data="+data))
	request.Header.Set("Content-Type", form)
	request.Header.Set("Authorization", "Bearer secret")
	response, err := http.DefaultTransport.RoundTrip(request)
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(response.Body)
	response.Body.Close()
	if response.StatusCode != http.StatusCreated {
		t.Fatalf("status %d: %s", response.StatusCode, body)
	}
}

// Behind every proxy, with its first example and with the documented configuration, events arrive one by one. A client
// that reconnects misses none, and a client that leaves ends its stream.
func TestBehindProxies(t *testing.T) {
	for _, program := range proxyPrograms {
		parts := map[string]string{"as documented": documented(t, program.name), "minimal": program.least}
		if program.compress != nil {
			parts["compressing, as documented"] = program.compress(documented(t, program.name))
		}
		for name, part := range parts {
			t.Run(program.binary+", "+name, func(t *testing.T) {
				findProxy(t, program)
				behindProxy(t, program, part)
			})
		}
	}
}

func behindProxy(t *testing.T, program proxyProgram, part string) {
	p := launch(t, "-public", ">", "-token", "secret", "-heartbeat", "1h") // because a comment would flush events that a proxy holds back
	proxy := startProxy(t, program, part, strings.TrimPrefix(p.url, "http://"))
	r := &reader{t: t, url: proxy.url + "/events?topic=a"}
	if status := r.connect(); status != 200 || r.response.Uncompressed {
		t.Fatalf("status %d, compressed: %t", status, r.response.Uncompressed)
	}
	// Each is published after the previous one has arrived, so none waits in a buffer.
	for i := range 20 {
		publishVia(t, proxy.url, fmt.Sprint(i))
		r.want(fmt.Sprint(i))
	}
	proxy.stop()
	io.Copy(io.Discard, r.response.Body)
	p.log.wait(t, "stream ended", "reason")
	publishVia(t, p.url, "missed")
	proxy.start(t)
	r.connect()
	r.want("missed")
	publishVia(t, proxy.url, "live")
	r.want("live")
	r.response.Body.Close()
	for i := range 600 { // some proxies notice a disconnect only when they write
		if strings.Count(p.log.String(), `"stream ended"`) == 2 {
			return
		}
		publishVia(t, p.url, fmt.Sprint("unread ", i))
		select {
		case <-p.log.Grown():
		case <-time.After(patience / 100):
		}
	}
	t.Error("the stream of a client that has left is still open")
}

// Behind a trusted proxy, the address of a client is the one that the proxy reports, whatever the client claims.
func TestLimitPerIPBehindProxies(t *testing.T) {
	for _, program := range proxyPrograms {
		t.Run(program.binary, func(t *testing.T) {
			findProxy(t, program)
			p := launch(t, "-public", ">", "-max-connections-per-ip", "1", "-trusted-proxies", "127.0.0.1")
			proxy := startProxy(t, program, documented(t, program.name), strings.TrimPrefix(p.url, "http://"))
			for i, test := range []struct {
				ip   string
				want int
			}{{"127.0.0.2", 200}, {"127.0.0.2", 429}, {"127.0.0.3", 200}, {"127.0.0.3", 429}} {
				r := &reader{t: t, url: proxy.url + "/events", from: &net.TCPAddr{IP: net.ParseIP(test.ip)}}
				if status := r.connect("X-Forwarded-For", "203.0.113.9, 127.0.0.1"); status != test.want {
					t.Errorf("%d: %s: status %d, want %d", i, test.ip, status, test.want)
				}
			}
		})
	}
}

// nginx connects to the program over a Unix socket, and limits per client address work.
func TestNginxOverUnixSocket(t *testing.T) {
	nginx := proxyPrograms[0]
	findProxy(t, nginx)
	folder, err := os.MkdirTemp("", "s") // the path of a socket must be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(folder) })
	if err := os.Chmod(folder, 0o755); err != nil { // for nginx's workers
		t.Fatal(err)
	}
	socket := "unix:" + filepath.Join(folder, "http.sock")
	launch(t, "-addr", socket, "-unix-mode", "0666", "-public", ">", "-token", "secret", "-max-connections-per-ip", "1", "-trusted-proxies", "127.0.0.1")
	proxy := startProxy(t, nginx, documented(t, nginx.name), socket)
	for i, ip := range []string{"127.0.0.2", "127.0.0.3"} {
		r := &reader{t: t, url: proxy.url + "/events?topic=a", from: &net.TCPAddr{IP: net.ParseIP(ip)}}
		if status := r.connect(); status != 200 {
			t.Fatalf("%s: status %d", ip, status)
		}
		if status := (&reader{t: t, url: r.url, from: r.from}).connect(); status != 429 {
			t.Errorf("%s, again: status %d", ip, status)
		}
		publishVia(t, proxy.url, fmt.Sprint(i))
		r.want(fmt.Sprint(i))
	}
}

// BenchmarkProxies measures the table in OPERATIONS.md: the time from the request to the first event, and from the
// publication of each further event to its arrival, in milliseconds.
func BenchmarkProxies(b *testing.B) {
	b.Run("none", func(b *testing.B) { measureBehind(b, func(upstream string) string { return "http://" + upstream }) })
	for _, program := range proxyPrograms {
		for name, part := range map[string]string{"minimal": program.least, "as documented": documented(b, program.name)} {
			b.Run(program.binary+", "+name, func(b *testing.B) {
				measureBehind(b, func(upstream string) string { return startProxy(b, program, part, upstream).url })
			})
		}
	}
}

func measureBehind(b *testing.B, start func(upstream string) (url string)) {
	p := launch(b, "-public", ">", "-token", "secret", "-heartbeat", "1h")
	url := start(strings.TrimPrefix(p.url, "http://"))
	before := &reader{t: b, url: p.url + "/events?topic=a"}
	before.connect()
	publishVia(b, p.url, "before")
	before.want("before")
	publishVia(b, p.url, "kept")
	var firsts, delays []time.Duration
	for range 21 {
		r := &reader{t: b, url: url + "/events?topic=a", lastEventID: before.lastEventID}
		begun := time.Now()
		r.connect()
		r.want("kept")
		firsts = append(firsts, time.Since(begun))
		r.response.Body.Close()
	}
	r := &reader{t: b, url: url + "/events?topic=a"}
	r.connect()
	for i := 0; b.Loop(); i++ {
		begun := time.Now()
		publishVia(b, p.url, fmt.Sprint(i))
		r.want(fmt.Sprint(i))
		delays = append(delays, time.Since(begun))
	}
	slices.Sort(firsts)
	slices.Sort(delays)
	b.ReportMetric(firsts[len(firsts)/2].Seconds()*1000, "ms/first")
	b.ReportMetric(delays[len(delays)/2].Seconds()*1000, "ms/median")
	b.ReportMetric(delays[len(delays)*99/100].Seconds()*1000, "ms/99%")
}
