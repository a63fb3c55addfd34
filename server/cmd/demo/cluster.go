package main

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	nats "github.com/nats-io/nats-server/v2/server"

	"github.com/eventsource-wasm/eventsource-wasm/server"
)

// clusterSize is the number of NATS servers in the cluster demo, and of our nodes. Each gets startTimeout to start.
const (
	clusterSize  = 3
	startTimeout = time.Minute
)

//go:embed cluster.html
var clusterPage []byte

// A clusterDemo is a cluster on one machine: three NATS servers, three processes of this program that share their events, and a
// proxy that distributes requests over them.
type clusterDemo struct {
	config *config
	logger *slog.Logger
	dir    string
	nats   []*nats.Server
	nodes  [clusterSize]*clusterNode

	mu   sync.Mutex
	turn int
}

// A clusterNode is a node. It has no process while it is killed.
type clusterNode struct {
	name, addr string

	mu      sync.Mutex
	process *exec.Cmd
}

// newCluster starts the cluster. The site's close ends it.
func newCluster(ctx context.Context, c *config, logger *slog.Logger) (_ *site, err error) {
	d := &clusterDemo{config: c, logger: logger}
	defer func() {
		if err != nil {
			d.close()
		}
	}()
	if d.dir, err = os.MkdirTemp("", "eventsource-cluster"); err != nil {
		return nil, err
	}
	if err := d.startNATS(); err != nil {
		return nil, err
	}
	for i := range d.nodes {
		addr, err := freeAddress()
		if err != nil {
			return nil, err
		}
		d.nodes[i] = &clusterNode{name: strconv.Itoa(i), addr: addr}
		if err := d.start(d.nodes[i]); err != nil {
			return nil, err
		}
	}
	for _, n := range d.nodes {
		if err := n.await(ctx); err != nil {
			return nil, err
		}
	}
	return &site{mux: d.routes(), broker: &server.Broker{}, close: d.close}, nil
}

func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

func (d *clusterDemo) startNATS() error {
	routes := ""
	for i := range clusterSize {
		n, err := nats.NewServer(&nats.Options{
			ServerName: "nats-" + strconv.Itoa(i),
			Host:       "127.0.0.1",
			Port:       nats.RANDOM_PORT,
			Cluster:    nats.ClusterOpts{Name: "demo", Host: "127.0.0.1", Port: nats.RANDOM_PORT},
			Routes:     nats.RoutesFromStr(routes),
			JetStream:  true,
			StoreDir:   filepath.Join(d.dir, strconv.Itoa(i)),
			NoSigs:     true,
			NoLog:      true,
		})
		if err != nil {
			return err
		}
		n.Start()
		d.nats = append(d.nats, n)
		if !n.ReadyForConnections(startTimeout) {
			return errors.New("NATS server is not ready after a minute")
		}
		routes = "nats://" + d.nats[0].ClusterAddr().String()
	}
	return nil
}

func (d *clusterDemo) start(n *clusterNode) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.process != nil {
		return nil
	}
	executable, err := os.Executable()
	if err != nil {
		return err
	}
	var urls []string
	for _, s := range d.nats {
		urls = append(urls, s.ClientURL())
	}
	process := exec.Command(executable, nodeCommand, n.addr, strings.Join(urls, ","))
	process.Stderr = os.Stderr
	if err := process.Start(); err != nil {
		return err
	}
	n.process = process
	go func() {
		process.Wait()
		n.mu.Lock()
		defer n.mu.Unlock()
		if n.process == process {
			n.process = nil
		}
	}()
	return nil
}

// await waits until the node serves.
func (n *clusterNode) await(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 2*startTimeout)
	defer cancel()
	for {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+n.addr+"/readyz", nil)
		if err != nil {
			return err
		}
		response, err := http.DefaultClient.Do(request)
		if err == nil {
			response.Body.Close()
		}
		if err == nil && response.StatusCode == http.StatusOK {
			return nil
		}
		if !n.runs() {
			return fmt.Errorf("node %s exited", n.name)
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (n *clusterNode) runs() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.process != nil
}

// kill ends the process like a crash.
func (n *clusterNode) kill() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.process != nil {
		n.process.Process.Kill()
		n.process = nil
	}
}

func (d *clusterDemo) close() {
	for _, n := range d.nodes {
		if n != nil {
			n.kill()
		}
	}
	for _, s := range d.nats {
		s.Shutdown()
		s.WaitForShutdown()
	}
	os.RemoveAll(d.dir)
}

func (d *clusterDemo) routes() *http.ServeMux {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Header().Set("Cache-Control", "no-store")
		w.Write(clusterPage)
	})
	mux.Handle("GET /dist/", http.StripPrefix("/dist/", assets(d.config.dist)))
	mux.Handle("GET /events", &httputil.ReverseProxy{Rewrite: d.rewrite, Transport: d, ErrorLog: slog.NewLogLogger(d.logger.Handler(), slog.LevelDebug)})
	mux.HandleFunc("GET /nodes", d.show)
	mux.Handle("POST /nodes/{node}/events", sameOrigin(d.publish))
	mux.Handle("POST /nodes/{node}/kill", sameOrigin(d.kill))
	mux.Handle("POST /nodes/{node}/start", sameOrigin(d.restart))
	mux.HandleFunc("GET /favicon.ico", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	return mux
}

func (d *clusterDemo) rewrite(r *httputil.ProxyRequest) {
	r.Out.URL.Scheme = "http"
	r.Out.URL.Host = "node" // which RoundTrip chooses
}

// RoundTrip sends the request to the next node, or to another one if that fails.
func (d *clusterDemo) RoundTrip(r *http.Request) (response *http.Response, err error) {
	for range d.nodes {
		n := d.next()
		out := r.Clone(r.Context())
		out.URL.Host, out.Host = n.addr, n.addr
		if response, err = http.DefaultTransport.RoundTrip(out); err != nil {
			continue
		}
		if response.StatusCode != http.StatusServiceUnavailable {
			response.Header.Set("Event-Node", n.name)
			return response, nil
		}
		response.Body.Close()
		err = errors.New("no node is available")
	}
	return nil, err
}

func (d *clusterDemo) next() *clusterNode {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.turn = (d.turn + 1) % len(d.nodes)
	return d.nodes[d.turn]
}

func (d *clusterDemo) show(w http.ResponseWriter, _ *http.Request) {
	var nodes []map[string]any
	for _, n := range d.nodes {
		nodes = append(nodes, map[string]any{"name": n.name, "runs": n.runs()})
	}
	writeJSON(w, http.StatusOK, nodes)
}

// node returns the node that the path names. If there is none, it responds and returns nil.
func (d *clusterDemo) node(w http.ResponseWriter, r *http.Request) *clusterNode {
	if i, err := strconv.Atoi(r.PathValue("node")); err == nil && i >= 0 && i < len(d.nodes) {
		return d.nodes[i]
	}
	http.NotFound(w, r)
	return nil
}

func (d *clusterDemo) kill(w http.ResponseWriter, r *http.Request) {
	if n := d.node(w, r); n != nil {
		n.kill()
		w.WriteHeader(http.StatusNoContent)
	}
}

func (d *clusterDemo) restart(w http.ResponseWriter, r *http.Request) {
	n := d.node(w, r)
	if n == nil {
		return
	}
	if err := errors.Join(d.start(n), n.await(r.Context())); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// publish forwards the page's form to the node, with the nodes' token.
func (d *clusterDemo) publish(w http.ResponseWriter, r *http.Request) {
	n := d.node(w, r)
	if n == nil {
		return
	}
	request, err := http.NewRequestWithContext(r.Context(), http.MethodPost, "http://"+n.addr+"/events", http.MaxBytesReader(w, r.Body, 64<<10))
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	request.Header.Set("Content-Type", r.Header.Get("Content-Type"))
	request.Header.Set("Authorization", "Bearer "+demoToken)
	response, err := http.DefaultTransport.RoundTrip(request)
	if err != nil {
		http.Error(w, "node "+n.name+" is not responding", http.StatusBadGateway)
		return
	}
	defer response.Body.Close()
	w.Header().Set("Content-Type", response.Header.Get("Content-Type"))
	w.WriteHeader(response.StatusCode)
	io.Copy(w, response.Body)
}
