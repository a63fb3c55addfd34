package main

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// errAbsent means that a contestant is not installed.
var errAbsent = errors.New("is not installed")

// The folder of Debian's libnginx-mod-nchan. BENCH_NGINX and BENCH_NGINX_MODULES override the paths.
const nginxModules = "/usr/lib/nginx/modules"

const nchanConfiguration = `
load_module %[1]s/ngx_nchan_module.so;
daemon off; master_process on; worker_processes %[5]d; worker_rlimit_nofile 20000;
pid %[2]s/pid; error_log %[2]s/error.log crit;
events { worker_connections 16384; }
http {
	access_log off;
	client_body_temp_path %[2]s/body; proxy_temp_path %[2]s/proxy; fastcgi_temp_path %[2]s/fastcgi;
	uwsgi_temp_path %[2]s/uwsgi; scgi_temp_path %[2]s/scgi;
	keepalive_requests 1000000;
	nchan_shared_memory_size 512m;
	server {
		listen %[3]s reuseport backlog=16384;
		location = /events { nchan_subscriber eventsource; nchan_channel_id t; nchan_subscriber_first_message newest; }
		location = /publish { nchan_publisher; nchan_channel_id t; nchan_message_buffer_length %[4]d; nchan_message_timeout 1h; }
	}
}
`

// launchNchan runs Debian's nginx with nchan, and publishes in its usual way: with a POST per event, over one persistent
// connection. It cannot report allocations.
func launchNchan(history, dataBytes int) (*instance, error) {
	modules := cmp.Or(os.Getenv("BENCH_NGINX_MODULES"), nginxModules)
	executable, err := exec.LookPath(cmp.Or(os.Getenv("BENCH_NGINX"), "/usr/sbin/nginx"))
	if err != nil {
		return nil, fmt.Errorf("nginx %w", errAbsent)
	}
	if _, err := os.Stat(filepath.Join(modules, "ngx_nchan_module.so")); errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("nchan %w", errAbsent)
	}
	dir, err := os.MkdirTemp("", "nchan")
	if err != nil {
		return nil, err
	}
	i, err := startNchan(executable, modules, dir, history, dataBytes)
	if err != nil {
		os.RemoveAll(dir)
	}
	return i, err
}

func startNchan(executable, modules, dir string, history, dataBytes int) (*instance, error) {
	addr, err := freeAddr()
	if err != nil {
		return nil, err
	}
	configuration := fmt.Sprintf(nchanConfiguration, modules, dir, addr, max(history, 10_000), runtime.NumCPU())
	file := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(file, []byte(configuration), 0o600); err != nil {
		return nil, err
	}
	os.Chmod(dir, 0o755) // the workers run as another user
	command := exec.Command(executable, "-p", dir, "-c", file)
	command.Stderr = os.Stderr
	command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM} // in case the benchmark ends without stopping nginx
	if err := command.Start(); err != nil {
		return nil, err
	}
	exited := make(chan error, 1)
	go func() { exited <- command.Wait() }()
	n := &nchan{addr: addr, padding: strings.Repeat("x", dataBytes-stampBytes), counts: make(chan int, 1024)}
	i := &instance{
		addr: addr, path: "/events",
		publish: func(count int) error { n.counts <- count; return nil },
		figures: n.figures,
		free:    func() error { return nil },
		stop: func() error {
			close(n.counts)
			command.Process.Signal(os.Interrupt) // nginx and its workers exit at once
			<-exited
			return os.RemoveAll(dir)
		},
	}
	if i.pids, err = n.dial(command.Process.Pid, exited); err != nil {
		return nil, errors.Join(err, i.stop())
	}
	go n.run()
	return i, nil
}

func freeAddr() (string, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return listener.Addr().String(), listener.Close()
}

type nchan struct {
	addr    string
	padding string
	counts  chan int

	conn      net.Conn
	answers   *bufio.Reader
	mu        sync.Mutex
	published int
	failure   error
}

// dial waits until nginx listens, and returns its processes.
func (n *nchan) dial(master int, exited chan error) (pids []int, err error) {
	for len(pids) < 1+runtime.NumCPU() {
		select {
		case err := <-exited:
			exited <- err
			return nil, fmt.Errorf("nginx: %w", err)
		case <-time.After(20 * time.Millisecond):
		}
		children, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", master, master))
		pids = []int{master}
		for child := range strings.FieldsSeq(string(children)) {
			pid, _ := strconv.Atoi(child)
			pids = append(pids, pid)
		}
	}
	if n.conn, err = net.Dial("tcp", n.addr); err != nil {
		return nil, err
	}
	n.answers = bufio.NewReader(n.conn)
	return pids, nil
}

func (n *nchan) run() {
	defer n.conn.Close()
	const pipelined = 1000 // beyond it, nginx would block writing responses that are not read yet
	for count := range n.counts {
		for ; count > 0; count -= pipelined {
			err := n.publish(min(count, pipelined))
			n.mu.Lock()
			n.failure = cmp.Or(n.failure, err)
			n.mu.Unlock()
		}
	}
}

// publish sends all requests before it reads the first response.
func (n *nchan) publish(count int) error {
	w := bufio.NewWriter(n.conn)
	for k := range count {
		data := stamp(n.published+k+1, n.padding)
		fmt.Fprintf(w, "POST /publish HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", len(data), data)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for range count {
		answer, err := http.ReadResponse(n.answers, nil)
		if err != nil {
			return err
		}
		io.Copy(io.Discard, answer.Body)
		if answer.StatusCode >= 300 {
			return fmt.Errorf("nchan responded to an event with %s", answer.Status)
		}
		n.mu.Lock()
		n.published++
		n.mu.Unlock()
	}
	return nil
}

func (n *nchan) figures() (figures, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return figures{Published: n.published}, n.failure
}
