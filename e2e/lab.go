package e2e

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
)

// A lab serves one run of one scenario. Its origins A, B and C answer requests for /stream/… with the exact bytes that the
// scenario chooses. The page chooses them through a fourth origin, control.
//
// Every run has its own lab because a browser opens at most six connections to a host and port, across all tabs. The
// streams and control requests of another scenario must not use them up.
type lab struct {
	number      int64
	host        string // in the URLs of the origins
	files       http.Handler
	listeners   map[string]net.Listener
	reports     chan report
	connections atomic.Int64

	mu        sync.Mutex
	exchanges []*exchange
	streams   map[string]chan *exchange
	conns     map[net.Conn]struct{}
}

// An exchange is one request and its connection, which carries nothing else: when a reused connection is reset, Chromium
// takes it for a stale one and silently retries.
type exchange struct {
	ID         int         `json:"id"`
	Connection int64       `json:"connection"` // counts the connections in the order they were opened
	Origin     string      `json:"origin"`
	Method     string      `json:"method"`
	Target     string      `json:"target"`
	Headers    [][2]string `json:"headers"` // in the order of the wire, each byte of a value as one code point
	Body       string      `json:"body"`    // each byte as one code point

	conn   *net.TCPConn
	closed chan struct{} // closed when the client has closed its side
}

var labs atomic.Int64

// newLab opens the origins on ip, which host resolves to. On every origin, files answers the paths outside /stream/.
func newLab(files http.Handler, host, ip string) (*lab, error) {
	l := &lab{
		number:    labs.Add(1),
		host:      host,
		files:     files,
		listeners: map[string]net.Listener{},
		reports:   make(chan report),
		streams:   map[string]chan *exchange{},
		conns:     map[net.Conn]struct{}{},
	}
	for _, origin := range []string{"A", "B", "C", "control"} {
		listener, err := net.Listen("tcp", net.JoinHostPort(ip, "0"))
		if err != nil {
			l.close()
			return nil, fmt.Errorf("opening origin %s: %w", origin, err)
		}
		l.listeners[origin] = listener
		if origin == "control" {
			go http.Serve(listener, l.control())
		} else {
			go l.accept(origin, listener)
		}
	}
	return l, nil
}

func (l *lab) url(origin string) string {
	port := l.listeners[origin].Addr().(*net.TCPAddr).Port
	return "http://" + net.JoinHostPort(l.host, strconv.Itoa(port))
}

func (l *lab) close() {
	for _, listener := range l.listeners {
		listener.Close()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for conn := range l.conns {
		conn.Close()
	}
}

func (l *lab) accept(origin string, listener net.Listener) {
	for {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		l.mu.Lock()
		l.conns[conn] = struct{}{}
		l.mu.Unlock()
		go l.serve(origin, conn.(*net.TCPConn), l.connections.Add(1))
	}
}

func (l *lab) serve(origin string, conn *net.TCPConn, number int64) {
	defer func() {
		conn.Close()
		l.mu.Lock()
		delete(l.conns, conn)
		l.mu.Unlock()
	}()
	r := bufio.NewReader(conn)
	head, err := readHead(r)
	if err != nil {
		return // a connection opened in advance
	}
	x := parseHead(head)
	stream, isStream := strings.CutPrefix(x.Target, "/stream/")
	if !isStream {
		l.serveFile(head, conn)
		return
	}
	x.Origin, x.Connection, x.conn, x.closed = origin, number, conn, make(chan struct{})
	if x.Body, err = readBody(head, r); err != nil {
		return
	}
	l.deliver(stream[:strings.IndexAny(stream+"/", "/?")], x)
	io.Copy(io.Discard, r)
	close(x.closed)
}

// serveFile answers with an http.Handler but without net/http's server, which hides the bytes of a request.
func (l *lab) serveFile(head []byte, conn net.Conn) {
	request, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(head)))
	if err != nil {
		return
	}
	recorder := httptest.NewRecorder()
	l.files.ServeHTTP(recorder, request)
	response := recorder.Result()
	response.ContentLength = int64(recorder.Body.Len())
	response.Close = true
	response.Header.Set("Access-Control-Allow-Origin", "*") // a sandboxed document has no origin
	response.Write(conn)
}

func readHead(r *bufio.Reader) ([]byte, error) {
	var head []byte
	for !bytes.HasSuffix(head, []byte("\r\n\r\n")) {
		line, err := r.ReadSlice('\n')
		head = append(head, line...)
		if err != nil && err != bufio.ErrBufferFull {
			return nil, err
		}
	}
	return head, nil
}

// maxBodyBytes bounds the body of a request for a stream.
const maxBodyBytes = 1 << 20

// readBody reads what follows the head. Without a Content-Length, that is nothing.
func readBody(head []byte, r io.Reader) (string, error) {
	request, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(head)))
	if err != nil || request.ContentLength <= 0 {
		return "", nil
	}
	body := make([]byte, min(request.ContentLength, maxBodyBytes))
	_, err = io.ReadFull(r, body)
	return latin1(body), err
}

func parseHead(head []byte) *exchange {
	lines := strings.Split(latin1(bytes.TrimSuffix(head, []byte("\r\n\r\n"))), "\r\n")
	x := &exchange{}
	x.Method, x.Target, _ = strings.Cut(strings.TrimSuffix(lines[0], " HTTP/1.1"), " ")
	for _, line := range lines[1:] {
		name, value, _ := strings.Cut(line, ":")
		x.Headers = append(x.Headers, [2]string{name, strings.TrimPrefix(value, " ")})
	}
	return x
}

// latin1 maps each byte to one code point, so that any bytes survive JSON.
func latin1(b []byte) string {
	runes := make([]rune, len(b))
	for i, c := range b {
		runes[i] = rune(c)
	}
	return string(runes)
}

func (l *lab) deliver(stream string, x *exchange) {
	requests := l.requests(stream)
	l.mu.Lock()
	x.ID = len(l.exchanges)
	l.exchanges = append(l.exchanges, x)
	l.mu.Unlock()
	select {
	case requests <- x:
	default: // too many requests: the scenario fails on those it did not await
	}
}

func (l *lab) requests(stream string) chan *exchange {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.streams[stream] == nil {
		l.streams[stream] = make(chan *exchange, 64)
	}
	return l.streams[stream]
}

// control lets the lab's pages choose what the lab answers. It refuses other pages. No request needs a preflight.
func (l *lab) control() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /lab", func(w http.ResponseWriter, _ *http.Request) { reply(w, l.describe()) })
	mux.HandleFunc("GET /request", l.awaitRequest)
	mux.HandleFunc("GET /unclaimed", l.unclaimed)
	mux.HandleFunc("POST /report", l.report)
	mux.HandleFunc("POST /write", l.withExchange((*exchange).write))
	mux.HandleFunc("POST /end", l.withExchange((*exchange).end))
	mux.HandleFunc("POST /reset", l.withExchange((*exchange).reset))
	mux.HandleFunc("GET /closed", l.withExchange((*exchange).awaitClosed))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		origin := r.Header.Get("Origin")
		if origin != l.url("A") {
			http.Error(w, "only for pages of origin A", http.StatusForbidden)
			return
		}
		w.Header().Set("Access-Control-Allow-Origin", origin)
		w.Header().Set("Cache-Control", "no-store")
		mux.ServeHTTP(w, r)
	})
}

// A description tells a page about its lab.
type description struct {
	Number  int64             `json:"number"`
	Origins map[string]string `json:"origins"` // by label
}

func (l *lab) describe() description {
	d := description{l.number, map[string]string{}}
	for label := range l.listeners {
		d.Origins[label] = l.url(label)
	}
	return d
}

// awaitRequest waits for the next request for a stream and answers with it.
func (l *lab) awaitRequest(w http.ResponseWriter, r *http.Request) {
	select {
	case x := <-l.requests(r.FormValue("stream")):
		reply(w, x)
	case <-r.Context().Done():
	}
}

// unclaimed lists the requests that no scenario awaited, for streams numbered above the form value "after".
func (l *lab) unclaimed(w http.ResponseWriter, r *http.Request) {
	l.mu.Lock()
	defer l.mu.Unlock()
	after, _ := strconv.Atoi(r.FormValue("after"))
	unclaimed := []*exchange{}
	for _, stream := range slices.Sorted(maps.Keys(l.streams)) {
		_, number, _ := strings.Cut(stream, "-")
		if n, err := strconv.Atoi(number); err == nil && n <= after {
			continue // of an earlier scenario: its requests may arrive late
		}
		for len(l.streams[stream]) > 0 {
			unclaimed = append(unclaimed, <-l.streams[stream])
		}
	}
	reply(w, unclaimed)
}

// A report is answered once it has been handled. The page waits for the answer.
type report struct {
	Result
	dealtWith context.CancelFunc
}

func (l *lab) report(w http.ResponseWriter, r *http.Request) {
	var result Result
	if err := json.NewDecoder(r.Body).Decode(&result); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	next, cancel := context.WithCancel(r.Context())
	defer cancel()
	select {
	case l.reports <- report{result, cancel}:
		<-next.Done()
	case <-r.Context().Done(): // the page has gone
	}
}

func (l *lab) withExchange(do func(x *exchange, ctx context.Context, body []byte)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		x := l.exchange(r.FormValue("request"))
		if err != nil || x == nil {
			http.Error(w, "no such request", http.StatusBadRequest)
			return
		}
		do(x, r.Context(), body)
	}
}

func (l *lab) exchange(id string) *exchange {
	l.mu.Lock()
	defer l.mu.Unlock()
	i, err := strconv.Atoi(id)
	if err != nil || i < 0 || i >= len(l.exchanges) {
		return nil
	}
	return l.exchanges[i]
}

// write ignores errors, as end does: whether a server notices that its client has left depends on timing.
func (x *exchange) write(_ context.Context, body []byte) { x.conn.Write(body) }

func (x *exchange) end(_ context.Context, body []byte) {
	x.conn.Write(body)
	x.conn.CloseWrite()
}

// reset breaks the connection. The client may lose bytes that it has not read yet.
func (x *exchange) reset(context.Context, []byte) {
	x.conn.SetLinger(0)
	x.conn.Close()
}

func (x *exchange) awaitClosed(ctx context.Context, _ []byte) {
	select {
	case <-x.closed:
	case <-ctx.Done():
	}
}

func reply(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(v)
}
