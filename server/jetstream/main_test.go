//go:build unix

package jetstream_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	nats "github.com/nats-io/nats-server/v2/server"
	client "github.com/nats-io/nats.go"

	"github.com/eventsource-wasm/eventsource-wasm/server"
	"github.com/eventsource-wasm/eventsource-wasm/server/jetstream"
)

// asServer is the environment variable that makes the test binary a NATS server. Its value is the configuration.
const asServer = "TEST_AS_NATS"

// TestMain fails if one of our goroutines or of the NATS client's outlives the tests.
func TestMain(m *testing.M) {
	if options := os.Getenv(asServer); options != "" {
		serveNATS(options)
	}
	code := m.Run()
	var leaked []byte
	for deadline := time.Now().Add(5 * time.Minute); ; <-time.After(time.Millisecond) {
		all := make([]byte, 1<<20)
		all = all[:runtime.Stack(all, true)]
		_, leaked, _ = bytes.Cut(all, []byte("\n\n")) // the first is this one
		if !bytes.Contains(leaked, []byte("eventsource-wasm/server")) && !bytes.Contains(leaked, []byte("nats-io/nats.go")) {
			break
		}
		if time.Now().After(deadline) {
			fmt.Fprintf(os.Stderr, "goroutines leaked:\n%s\n", leaked)
			code = 1
			break
		}
	}
	os.Exit(code)
}

var quiet = slog.New(slog.DiscardHandler)

func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Minute); !ok(); <-time.After(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("timed out after five minutes: %s", what)
		}
	}
}

// A serverConfig is the configuration of a NATS server process.
type serverConfig struct {
	Name, Dir      string
	Port, Clusters int    // Clusters is the port for other servers, or zero
	Routes         string // their URLs
}

// serveNATS runs a NATS server until its parent process has ended.
func serveNATS(config string) {
	var c serverConfig
	if err := json.Unmarshal([]byte(config), &c); err != nil {
		panic(err)
	}
	options := &nats.Options{ServerName: c.Name, Host: "127.0.0.1", Port: c.Port, NoSigs: true, JetStream: true, StoreDir: c.Dir}
	if c.Clusters != 0 {
		options.Cluster = nats.ClusterOpts{Name: "test", Host: "127.0.0.1", Port: c.Clusters}
		options.Routes = nats.RoutesFromStr(c.Routes)
	}
	s, err := nats.NewServer(options)
	if err != nil {
		panic(err)
	}
	s.SetLoggerV2(errorLog{}, false, false, false)
	s.Start()
	bufio.NewReader(os.Stdin).ReadByte() // returns at the end of the input
	os.Exit(0)
}

// An errorLog writes errors to standard error.
type errorLog struct{}

func (errorLog) Noticef(string, ...any) {}
func (errorLog) Debugf(string, ...any)  {}
func (errorLog) Tracef(string, ...any)  {}
func (errorLog) Warnf(string, ...any)   {}
func (errorLog) Errorf(format string, v ...any) {
	fmt.Fprintf(os.Stderr, format+"\n", v...)
}
func (errorLog) Fatalf(format string, v ...any) {
	fmt.Fprintf(os.Stderr, format+"\n", v...)
	os.Exit(1)
}

// A natsServer is a NATS server in its own process, so that it can be killed or stopped at any moment.
type natsServer struct {
	config  serverConfig
	command *exec.Cmd
	log     bytes.Buffer
}

func (s *natsServer) url() string { return fmt.Sprintf("nats://127.0.0.1:%d", s.config.Port) }

func (s *natsServer) start(t testing.TB) {
	t.Helper()
	config, err := json.Marshal(s.config)
	if err != nil {
		t.Fatal(err)
	}
	executable, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	s.command = exec.Command(executable)
	s.command.Env = append(os.Environ(), asServer+"="+string(config))
	s.command.Stderr = &s.log
	if _, err := s.command.StdinPipe(); err != nil { // closes when this process ends
		t.Fatal(err)
	}
	if err := s.command.Start(); err != nil {
		t.Fatal(err)
	}
}

func (s *natsServer) kill() {
	s.command.Process.Kill()
	s.command.Wait()
}

func (s *natsServer) signal(t testing.TB, signal syscall.Signal) {
	t.Helper()
	if err := s.command.Process.Signal(signal); err != nil {
		t.Error(err)
	}
}

// freePort returns a port outside of the range for outgoing connections, so that a server can use it again.
func freePort(t testing.TB) int {
	t.Helper()
	for range 100 {
		port := 20_000 + rand.IntN(12_000)
		if l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port)); err == nil {
			l.Close()
			return port
		}
	}
	t.Fatal("no port is free")
	return 0
}

// startServers starts NATS servers. Several servers form a cluster.
func startServers(t testing.TB, n int) (servers []*natsServer) {
	t.Helper()
	var routes []string
	for i := range n {
		c := serverConfig{Name: fmt.Sprintf("n%d", i), Dir: filepath.Join(t.TempDir(), "nats"), Port: freePort(t)}
		if n > 1 {
			c.Clusters = freePort(t)
			routes = append(routes, fmt.Sprintf("nats://127.0.0.1:%d", c.Clusters))
		}
		servers = append(servers, &natsServer{config: c})
	}
	for _, s := range servers {
		s.config.Routes = strings.Join(routes, ",")
		s.start(t)
	}
	t.Cleanup(func() {
		for _, s := range servers {
			s.kill()
			if t.Failed() {
				t.Logf("%s:\n%s", s.config.Name, s.log.Bytes())
			}
		}
	})
	return servers
}

func urls(servers []*natsServer) string {
	var urls []string
	for _, s := range servers {
		urls = append(urls, s.url())
	}
	return strings.Join(urls, ",")
}

// connect returns a connection to the first server that responds.
func connect(t testing.TB, servers []*natsServer, options ...client.Option) (conn *client.Conn) {
	t.Helper()
	eventually(t, "a NATS server responds", func() (ok bool) {
		var err error
		conn, err = jetstream.Connect(urls(servers), options...)
		return err == nil
	})
	t.Cleanup(conn.Close)
	return conn
}

// openStore opens the store as soon as the cluster is ready.
func openStore(t testing.TB, conn *client.Conn, o jetstream.Options) (store *jetstream.Store) {
	t.Helper()
	o.Logger = quiet
	eventually(t, "the store opens", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		var err error
		store, err = jetstream.Open(ctx, conn, o)
		return err == nil
	})
	return store
}

// A node is a broker with a store and a server.
type node struct {
	conn   *client.Conn
	store  *jetstream.Store
	broker *server.Broker
	http   *httptest.Server
	url    string
}

// startNode serves the events of the servers until the test ends, or until stop is called.
func startNode(t testing.TB, servers []*natsServer, o jetstream.Options, broker *server.Broker, heartbeat time.Duration) *node {
	t.Helper()
	n := &node{conn: connect(t, servers), broker: broker}
	n.store = openStore(t, n.conn, o)
	broker.Store = n.store
	n.http = httptest.NewServer(&server.Handler{Broker: broker, OpenPublish: true, Heartbeat: heartbeat, Logger: quiet})
	n.url = n.http.URL
	t.Cleanup(n.stop)
	return n
}

// stop ends the node like a crash: connections break.
func (n *node) stop() {
	if n.http == nil {
		return
	}
	n.broker.DisconnectAll()
	n.broker.Close()
	n.http.CloseClientConnections()
	n.http.Close()
	n.conn.Close()
	n.http = nil
}

func post(ctx context.Context, url, key, body string) (status int, header http.Header, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	request.Header.Set("Content-Type", "application/x-ndjson")
	if key != "" {
		request.Header.Set("Idempotency-Key", key)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, nil, err
	}
	response.Body.Close()
	return response.StatusCode, response.Header, nil
}
