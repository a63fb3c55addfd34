package server

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/eventsource-wasm/eventsource-wasm/sse"
)

// The system closes connections whose client has vanished, after a timeout that the server sets. A stream on the
// goroutine of its request has a deadline for every write instead: see TestWriteTimeout.
func TestPeerTimeout(t *testing.T) {
	tests := map[string]struct{ timeout, want time.Duration }{
		"default": {0, 30 * time.Second},
		"option":  {7 * time.Second, 7 * time.Second},
		"none":    {-1, 0}, // the system's default
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			broker := &Broker{}
			s := httptest.NewServer(&Handler{Broker: broker, PeerTimeout: test.timeout})
			t.Cleanup(s.Close)
			t.Cleanup(broker.Close)
			response, err := http.Get(s.URL)
			if err != nil {
				t.Fatal(err)
			}
			defer response.Body.Close()
			if _, err := broker.Publish(t.Context(), "t", sse.Event{Data: "event"}); err != nil {
				t.Fatal(err)
			}
			scanTo(t, bufio.NewScanner(response.Body), "data: event") // a broadcaster has the stream by then
			timeouts := make(chan int, 1)
			broker.epoll.EachSocket(func(fd int) { timeouts <- userTimeout(t, fd) })
			if got := time.Duration(<-timeouts) * time.Millisecond; got != test.want {
				t.Errorf("TCP_USER_TIMEOUT is %v, want %v", got, test.want)
			}
		})
	}
}

// A client that has vanished acknowledges nothing. This test makes its socket drop everything.
func TestPeerVanishes(t *testing.T) {
	broker := &Broker{}
	s := httptest.NewServer(&Handler{Broker: broker, PeerTimeout: 200 * time.Millisecond, Heartbeat: -1})
	t.Cleanup(s.Close)
	t.Cleanup(broker.Close)
	conn, err := net.Dial("tcp", s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: %s\r\n\r\n", s.Listener.Addr())
	if _, err := broker.Publish(t.Context(), "t", sse.Event{Data: "event"}); err != nil {
		t.Fatal(err)
	}
	waitUntil(t, func() bool { return broker.Stats().Detached == 1 })
	dropAll(t, conn)
	if _, err := broker.Publish(t.Context(), "t", sse.Event{Data: "lost"}); err != nil {
		t.Fatal(err)
	}
	waitUntil(t, func() bool { return broker.Stats().Connections == 0 })
}

// dropAll makes the system drop everything that arrives for the connection.
func dropAll(t *testing.T, conn net.Conn) {
	raw, err := conn.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	err = raw.Control(func(fd uintptr) {
		nothing := unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K} // accepts 0 bytes of a packet
		program := unix.SockFprog{Len: 1, Filter: &nothing}
		if err := unix.SetsockoptSockFprog(int(fd), unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &program); err != nil {
			t.Error(err)
		}
	})
	if err != nil {
		t.Error(err)
	}
}

func waitUntil(t *testing.T, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Minute); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("timed out after five minutes")
		}
	}
}

// userTimeout returns the socket's TCP_USER_TIMEOUT, in milliseconds.
func userTimeout(t *testing.T, fd int) int {
	const option = 18 // from linux/tcp.h, not the constant under test
	ms, err := syscall.GetsockoptInt(fd, syscall.IPPROTO_TCP, option)
	if err != nil {
		t.Error(err)
	}
	return ms
}

func scanTo(t *testing.T, lines *bufio.Scanner, want string) {
	t.Helper()
	for lines.Scan() {
		if lines.Text() == want {
			return
		}
	}
	t.Fatalf("the stream ended before %q: %v", want, lines.Err())
}

// Data that a client sends after its request is not read until its stream ends. The system must keep little of it.
func TestUnexpectedDataTakesNoMemory(t *testing.T) {
	broker := &Broker{}
	s := httptest.NewServer(&Handler{Broker: broker})
	t.Cleanup(s.Close)
	t.Cleanup(broker.Close)
	response, err := http.Get(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	waitUntil(t, func() bool { return broker.Stats().Detached == 1 })
	sizes := make(chan int, 1)
	broker.epoll.EachSocket(func(fd int) {
		size, err := syscall.GetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_RCVBUF)
		if err != nil {
			t.Error(err)
		}
		sizes <- size
	})
	if size := <-sizes; size > 8<<10 {
		t.Errorf("the receive buffer is %d bytes", size)
	}
}

// A remembering listener remembers the connections that it accepted, because TLS hides them.
type remembering struct {
	net.Listener
	accepted chan net.Conn
}

func (l remembering) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err == nil {
		l.accepted <- conn
	}
	return conn, err
}

func TestPeerTimeoutOverTLS(t *testing.T) {
	broker := &Broker{}
	s := httptest.NewUnstartedServer(&Handler{Broker: broker, PeerTimeout: 7 * time.Second})
	accepted := make(chan net.Conn, 1)
	s.Listener = remembering{s.Listener, accepted}
	s.StartTLS()
	t.Cleanup(s.Close)
	t.Cleanup(broker.Close)
	response, err := s.Client().Get(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if _, err := broker.Publish(t.Context(), "t", sse.Event{Data: "event"}); err != nil {
		t.Fatal(err)
	}
	scanTo(t, bufio.NewScanner(response.Body), "data: event") // the connection is hijacked by then
	raw, err := (<-accepted).(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	raw.Control(func(fd uintptr) {
		if got := userTimeout(t, int(fd)); got != 7000 {
			t.Errorf("TCP_USER_TIMEOUT is %d ms", got)
		}
	})
}
