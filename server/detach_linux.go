package server

import (
	"errors"
	"fmt"
	"math"
	"net"
	"syscall"
	"time"
)

// canDetach says that streams can go on without goroutines.
const canDetach = true

// detach gives the stream to a broadcaster, or returns why it cannot and leaves conn as it was.
func (s *stream) detach(conn net.Conn) error {
	// Types that embed these may change what their methods do.
	switch conn.(type) {
	case *net.TCPConn, *net.UnixConn:
	default:
		return fmt.Errorf("%T: %w", conn, errors.ErrUnsupported)
	}
	b, err := s.broker.broadcasters.reserve(s.broker)
	if err != nil {
		return err
	}
	fd, err := detachSocket(conn.(syscall.Conn), s.handler.peerTimeout())
	if err != nil {
		b.release()
		return err
	}
	conn.Close()
	s.broker.detached.Add(1)
	b.attach(s.conn(fd))
	return nil
}

// conn returns what a broadcaster needs of the stream, which is far less than the whole.
func (s *stream) conn(fd int) *conn {
	c := &conn{
		fd:      fd,
		handler: s.handler,
		remote:  s.request.RemoteAddr,
		seat:    s.seat,
		key:     groupKey{s.topics, s.cursor.fromHead, s.cursor.generation},
		cursor:  new(s.cursor),
		told:    s.told,
		until:   math.MaxInt64,
		departs: math.MaxInt64,
		cause:   s.cause,
	}
	if !s.until.IsZero() {
		c.until = max(time.Until(s.until)+time.Since(s.log.start), 0)
	}
	return c
}

// drain gives every connection its moment.
func (b *broadcaster) drain(window time.Duration) {
	for _, c := range b.conns {
		b.depart(c, window)
	}
}

func (b *broadcaster) depart(c *conn, window time.Duration) {
	if c.state == streaming {
		c.departs = min(c.departs, b.now+within(window))
		b.schedule(c)
	}
}

// goodbye ends a stream at the moment it was given, unless the log is closed, which ends it when it has everything.
func (b *broadcaster) goodbye(c *conn) {
	if b.log.isClosed() {
		c.departs = math.MaxInt64
		return
	}
	b.end(c, c.handler.farewell(), errDraining)
}
