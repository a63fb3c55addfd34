package main

import (
	"bufio"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/eventsource-wasm/eventsource-wasm/server"
	"github.com/eventsource-wasm/eventsource-wasm/sse"
)

// A pipes is a listener in memory, which works in the bubbles of testing/synctest.
type pipes chan net.Conn

func (p pipes) Accept() (net.Conn, error) {
	if conn, ok := <-p; ok {
		return conn, nil
	}
	return nil, net.ErrClosed
}

func (p pipes) Close() error   { close(p); return nil }
func (p pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipe", Net: "unix"} }

func (p pipes) dial() net.Conn {
	mine, theirs := net.Pipe()
	p <- theirs
	return mine
}

// Clients that send one byte per second are disconnected at the documented limits, and do not delay others.
func TestSlowSenders(t *testing.T) {
	const post = "POST / HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 1000\r\n\r\n"
	tests := map[string]struct {
		atOnce, slow string
		cut          time.Duration
	}{
		"head": {"", "GET / HTTP/1.1\r\nX: " + strings.Repeat("x", 1000), 5 * time.Second},
		"body": {post, "topic=t&data=" + strings.Repeat("x", 987), 30 * time.Second},
		"idle": {"HEAD / HTTP/1.1\r\nHost: x\r\n\r\n", "", 2 * time.Minute},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				logger := slog.New(slog.DiscardHandler)
				broker := &server.Broker{}
				h := &server.Handler{Broker: broker, OpenPublish: true, Logger: logger}
				s := (&program{config: &config{}, logger: logger}).server(h)
				listener := make(pipes)
				go s.Serve(listener)
				defer s.Close()
				stream := listener.dial()
				defer stream.Close()
				fmt.Fprint(stream, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
				events := make(chan string, 1)
				go follow(stream, events)
				synctest.Wait() // the stream has begun

				begun := time.Now()
				cut := slowly(listener.dial(), test.atOnce, test.slow)
				wantEvent(t, broker, events, "meanwhile")
				// net/http gives a refused client a moment to read the response.
				if got := (<-cut).Sub(begun); got < test.cut || got > test.cut+time.Second {
					t.Errorf("closed after %v, want %v", got, test.cut)
				}
				wantEvent(t, broker, events, "later")
				if stats := broker.Stats(); stats.Published != 2 || stats.Connections != 1 {
					t.Errorf("stats %+v", stats)
				}
			})
		})
	}
}

// wantEvent publishes an event, which must come at once.
func wantEvent(t *testing.T, broker *server.Broker, events <-chan string, want string) {
	t.Helper()
	begun := time.Now()
	if _, err := broker.Publish(t.Context(), "t", sse.Event{Data: want}); err != nil {
		t.Fatal(err)
	}
	if data := <-events; data != want || time.Since(begun) > 0 {
		t.Errorf("got %q after %v, want %q", data, time.Since(begun), want)
	}
}

// slowly sends a request, and reports when the server has closed the connection.
func slowly(conn net.Conn, atOnce, slow string) <-chan time.Time {
	cut, closed := make(chan time.Time, 1), make(chan bool)
	go func() {
		defer close(closed)
		io.Copy(io.Discard, conn)
		cut <- time.Now()
		conn.Close()
	}()
	go func() {
		io.WriteString(conn, atOnce)
		for i := range slow {
			io.WriteString(conn, slow[i:i+1])
			select {
			case <-time.After(time.Second):
			case <-closed:
				return
			}
		}
	}()
	return cut
}

// follow sends the data of the events of a stream, until it ends.
func follow(conn net.Conn, events chan<- string) {
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return
	}
	for lines := bufio.NewScanner(response.Body); lines.Scan(); {
		if data, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
			events <- data
		}
	}
}
