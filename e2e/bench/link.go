package main

import (
	"context"
	"net"
	"time"

	"golang.org/x/time/rate"
)

// A link is the network between the server and a browser, shared by all connections. DevTools could throttle the network
// too, but only for pages and workers that they are attached to, and attaching slows these down.
type link struct {
	name    string
	rate    rate.Limit    // bytes per second from the server, of all connections together; zero means no limit
	latency time.Duration // of a round trip: a connection's first byte takes two, everything else from the server one
}

// links are the networks for the start-up measurements. The second is DevTools' 4G.
var links = []link{{name: "no limit"}, {name: "4G", rate: 9e6 / 8, latency: 170 * time.Millisecond}}

const largestSegment = 1460

func (l link) listen(inner net.Listener) net.Listener {
	if l.rate == 0 {
		return inner
	}
	return &slowListener{inner, l.latency, rate.NewLimiter(l.rate, largestSegment)}
}

type slowListener struct {
	net.Listener
	latency time.Duration
	limiter *rate.Limiter
}

func (l *slowListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	c := &slowConn{Conn: conn, latency: l.latency, limiter: l.limiter, segments: make(chan segment, 1000), usable: time.Now().Add(l.latency)}
	c.open, c.shut = context.WithCancel(context.Background())
	go c.deliver()
	return c, nil
}

// A slowConn writes at the rate of its link and delays what it writes.
type slowConn struct {
	net.Conn
	latency  time.Duration
	limiter  *rate.Limiter
	segments chan segment
	usable   time.Time // when the handshake is over
	open     context.Context
	shut     context.CancelFunc
}

type segment struct {
	bytes []byte
	due   time.Time
}

func (c *slowConn) Write(p []byte) (int, error) {
	for written := 0; written < len(p); {
		n := min(len(p)-written, largestSegment)
		if err := c.limiter.WaitN(c.open, n); err != nil {
			return written, net.ErrClosed
		}
		due := time.Now()
		if due.Before(c.usable) {
			due = c.usable
		}
		select {
		case c.segments <- segment{append([]byte(nil), p[written:written+n]...), due.Add(c.latency)}:
		case <-c.open.Done():
			return written, net.ErrClosed
		}
		written += n
	}
	return len(p), nil
}

func (c *slowConn) deliver() {
	for {
		select {
		case s := <-c.segments:
			time.Sleep(time.Until(s.due))
			if _, err := c.Conn.Write(s.bytes); err != nil {
				return
			}
		case <-c.open.Done():
			return
		}
	}
}

func (c *slowConn) Close() error {
	c.shut()
	return c.Conn.Close()
}
