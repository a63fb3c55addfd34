package main

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"runtime"
	"sync"

	"golang.org/x/sys/unix"
)

// raw is a lower bound for servers of this kind: connections are file descriptors in a slice, and each event is one write(2) to
// each, from as many goroutines as there are processors. It has no history, ids, topics or heartbeats, and never removes a
// client.
type raw struct {
	mu    sync.Mutex
	conns []net.Conn
	fds   []int
}

func (r *raw) accept(listener net.Listener) error {
	for {
		conn, err := listener.Accept()
		if err != nil {
			return err
		}
		go r.greet(conn)
	}
}

func (r *raw) greet(conn net.Conn) {
	if err := greetHTTP1(conn); err != nil {
		conn.Close()
		return
	}
	socket, err := conn.(*net.TCPConn).SyscallConn()
	if err != nil {
		conn.Close()
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	socket.Control(func(fd uintptr) {
		r.conns = append(r.conns, conn) // keeps fd open
		r.fds = append(r.fds, int(fd))
	})
}

const rawHead = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"

func greetHTTP1(conn net.Conn) error {
	if _, err := http.ReadRequest(bufio.NewReaderSize(conn, 512)); err != nil {
		return err
	}
	_, err := conn.Write([]byte(rawHead))
	return err
}

func (r *raw) publish(data string) error {
	block := fmt.Sprintf("data: %s\n\n", data)
	chunk := fmt.Appendf(nil, "%x\r\n%s\r\n", len(block), block)
	r.mu.Lock()
	defer r.mu.Unlock()
	writers := runtime.GOMAXPROCS(0)
	results := make(chan error, writers)
	for i := range writers {
		go func() { results <- writeAll(r.fds[i*len(r.fds)/writers:(i+1)*len(r.fds)/writers], chunk) }()
	}
	var failed error
	for range writers {
		if err := <-results; err != nil {
			failed = err
		}
	}
	return failed
}

// writeAll fails when a socket's buffer is full. The benchmark's windows never fill it.
func writeAll(fds []int, chunk []byte) error {
	for _, fd := range fds {
		if n, err := unix.Write(fd, chunk); err != nil || n < len(chunk) {
			return fmt.Errorf("raw wrote %d of %d bytes: %w", n, len(chunk), err)
		}
	}
	return nil
}
