package epoll

import (
	"os"
	"syscall"
	"time"

	"github.com/eventsource-wasm/eventsource-wasm/server/internal/netstream"
)

// A simSocket is the server's end of a connection. The simulation is the client.
type simSocket struct {
	world    *world
	fd       int
	serial   int32
	capacity int
	inFlight int
	wants    bool // report room when there is some
	partial  bool // sometimes accepts less than there is room for

	watched, lingering, closed bool
	reset, halfClosed          bool // by the client
	junk                       int
	blocked                    bool // a goroutine waits for room
	check                      *checker
	idle                       int // turns without progress
	overdue                    int // turns
}

// write accepts what fits.
func (s *simSocket) write(p []byte) (int, error) {
	switch {
	case s.closed:
		s.check.fail("write after close")
		return 0, syscall.EBADF
	case s.lingering:
		s.check.fail("write after shutdown")
		return 0, syscall.EPIPE
	case s.reset:
		return 0, syscall.ECONNRESET
	}
	n := min(len(p), s.capacity-s.inFlight)
	if s.partial && s.world.random.IntN(3) == 0 {
		n = s.world.random.IntN(n + 1)
	}
	s.inFlight += n
	if n < len(p) {
		s.wants = true
	}
	if n > 0 {
		s.idle = 0
	}
	s.check.write(p[:n])
	return n, nil
}

// drain makes the client read n bytes. The socket reports room if the broadcaster waits for it.
func (s *simSocket) drain(n int) {
	s.inFlight -= min(n, s.inFlight)
	if s.wants && s.inFlight < s.capacity {
		s.wants = false
		s.report(event{room: true})
	}
}

// report queues what epoll would report about a watched socket.
func (s *simSocket) report(e event) {
	if s.serial == 0 || s.closed {
		return
	}
	e.serial = s.serial
	s.world.events = append(s.world.events, e)
}

// simSockets replaces the system's sockets for a broadcaster.
type simSockets struct{ world *world }

func (x simSockets) socket(fd int) *simSocket { return x.world.sockets[fd] }

func (x simSockets) watch(fd int, serial int32) error {
	s := x.socket(fd)
	if x.world.chance(100) {
		return os.NewSyscallError("epoll_ctl", syscall.ENOSPC)
	}
	s.serial, s.watched = serial, true
	s.report(event{room: s.inFlight < s.capacity, halfClosed: s.halfClosed, gone: s.reset})
	return nil
}

func (x simSockets) linger(fd int, serial int32) error {
	s := x.socket(fd)
	if s.closed || s.lingering {
		s.check.fail("shut down twice")
	}
	s.lingering = true
	if x.world.chance(100) {
		return os.NewSyscallError("epoll_ctl", syscall.ENOMEM)
	}
	if !s.check.ended {
		s.check.fail("shut down before the end of the body")
	}
	s.report(event{readable: s.junk > 0 || s.halfClosed, halfClosed: s.halfClosed, gone: s.reset})
	return nil
}

func (x simSockets) write(fd int, p []byte) (int, error) { return x.socket(fd).write(p) }

func (x simSockets) discard(fd int) bool {
	s := x.socket(fd)
	s.junk = 0
	return !s.halfClosed && !s.reset
}

func (x simSockets) close(fd int) {
	s := x.socket(fd)
	if s.closed {
		s.check.fail("closed twice")
	}
	s.closed = true
}

// A simConn is a connection for a driver with a goroutine: writing blocks.
type simConn struct {
	*simSocket
	running  *routine
	carrier  *netstream.Carrier // of the routine, or nil
	deadline time.Time
}

// pause lets others continue.
func (c *simConn) pause() {
	carrier := c.carrier
	if !c.running.yield(struct{}{}) {
		panic(errStopped)
	}
	c.carrier = carrier
}

func (c *simConn) Write(p []byte) (written int, err error) {
	for {
		if !c.deadline.IsZero() && !c.world.clock().Before(c.deadline) {
			return written, os.ErrDeadlineExceeded
		}
		n, err := c.write(p[written:])
		if written += n; err != nil || written == len(p) {
			return written, err
		}
		c.blocked = true
		c.pause()
		c.blocked = false
		if c.carrier != nil && c.world.random.IntN(2) == 0 {
			c.carrier.Blocked.Store(true)
		}
	}
}

func (c *simConn) Flush() error { return nil }

func (c *simConn) SetWriteDeadline(t time.Time) error {
	c.deadline = t
	return nil
}
