package epoll

import (
	"cmp"
	"net"
	"os"
	"syscall"
	"time"
)

// A poller reports events of sockets. It is one epoll instance, watched by Go's own poller, so waiting for it does not
// occupy a thread.
type poller struct {
	fd     int
	file   *os.File // closes fd
	raw    syscall.RawConn
	events chan []event // valid until the next is received
	closed chan struct{}
}

func newPoller() (*poller, error) {
	fd, err := syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	if err := syscall.SetNonblock(fd, true); err != nil { // otherwise os.NewFile does not register it with Go's poller
		syscall.Close(fd)
		return nil, os.NewSyscallError("fcntl", err)
	}
	p := &poller{
		fd:     fd,
		file:   os.NewFile(uintptr(fd), "epoll"),
		events: make(chan []event),
		closed: make(chan struct{}),
	}
	if p.raw, err = p.file.SyscallConn(); err != nil {
		p.file.Close()
		return nil, err
	}
	go p.run()
	return p, nil
}

func (p *poller) stop() {
	close(p.closed)
	p.file.Close()
}

func (p *poller) run() {
	var buffers [2][64]event // one is read while the other is filled
	var ready [64]syscall.EpollEvent
	for i := 0; ; i = 1 - i {
		n := p.wait(ready[:])
		if n == 0 {
			return
		}
		events := buffers[i][:n]
		for i, e := range ready[:n] {
			events[i] = event{
				serial:     e.Fd,
				room:       e.Events&syscall.EPOLLOUT != 0,
				readable:   e.Events&syscall.EPOLLIN != 0,
				halfClosed: e.Events&syscall.EPOLLRDHUP != 0,
				gone:       e.Events&(syscall.EPOLLERR|syscall.EPOLLHUP) != 0,
			}
		}
		select {
		case p.events <- events:
		case <-p.closed:
			return
		}
	}
}

// wait returns how many events there are, at least one, or none once the poller is closed.
func (p *poller) wait(events []syscall.EpollEvent) (n int) {
	p.raw.Read(func(uintptr) bool {
		n = 0
		for {
			var err error
			if n, err = syscall.EpollWait(p.fd, events, 0); err != syscall.EINTR {
				n = max(n, 0)
				return n > 0
			}
		}
	})
	return n
}

// Readiness is reported only when it changes (EPOLLET). So no call is needed to turn reports on and off, and a half-closed
// connection is not reported forever. Supported reports whether streams can run without goroutines.
const Supported = true

const edge = 1 << 31

func (p *poller) watch(fd int, serial int32) error {
	return p.control(syscall.EPOLL_CTL_ADD, fd, serial, syscall.EPOLLOUT|syscall.EPOLLRDHUP|edge)
}

func (p *poller) linger(fd int, serial int32) error {
	syscall.Shutdown(fd, syscall.SHUT_WR)
	return p.control(syscall.EPOLL_CTL_MOD, fd, serial, syscall.EPOLLIN|syscall.EPOLLRDHUP|edge)
}

func (p *poller) control(operation, fd int, serial int32, interest uint32) error {
	e := syscall.EpollEvent{Events: interest, Fd: serial}
	return os.NewSyscallError("epoll_ctl", syscall.EpollCtl(p.fd, operation, fd, &e))
}

// tcpUserTimeout is TCP_USER_TIMEOUT of linux/tcp.h, which package syscall lacks.
const tcpUserTimeout = 18

// detachSocket returns a file descriptor of the connection's socket that is independent of Go's poller. The caller then
// closes the connection.
func detachSocket(conn syscall.Conn, peerTimeout time.Duration) (fd int, err error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return none, err
	}
	var failed error
	err = raw.Control(func(original uintptr) {
		duplicate, _, errno := syscall.Syscall(syscall.SYS_FCNTL, original, syscall.F_DUPFD_CLOEXEC, 0)
		if errno != 0 {
			failed = os.NewSyscallError("fcntl", errno)
		}
		fd = int(duplicate)
	})
	if err := cmp.Or(err, failed); err != nil {
		return none, err
	}
	// The request is over, so data that the client still sends is ignored. A small buffer keeps it from filling memory. It
	// is read only after the stream has ended.
	syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_RCVBUF, 1)
	setPeerTimeout(fd, peerTimeout)
	return fd, nil
}

// SetPeerTimeout limits how long sent data may stay unacknowledged, for TCP connections. A negative timeout means the
// default of the system.
func SetPeerTimeout(conn net.Conn, timeout time.Duration) {
	own, ok := conn.(*net.TCPConn)
	if !ok {
		return
	}
	if raw, err := own.SyscallConn(); err == nil {
		raw.Control(func(fd uintptr) { setPeerTimeout(int(fd), timeout) })
	}
}

// setPeerTimeout fails for sockets other than TCP, whose peers cannot vanish.
func setPeerTimeout(fd int, timeout time.Duration) {
	if timeout >= 0 {
		syscall.SetsockoptInt(fd, syscall.IPPROTO_TCP, tcpUserTimeout, int(timeout.Milliseconds()))
	}
}

// write writes as much as the socket accepts at once.
func (p *poller) write(fd int, data []byte) (n int, err error) {
	for {
		n, err = syscall.Write(fd, data)
		if err != syscall.EINTR {
			break
		}
	}
	if err == syscall.EAGAIN {
		err = nil
	}
	return max(n, 0), err
}

// discard reads what has arrived, up to a bound, and reports whether the client has left its side open.
func (p *poller) discard(fd int) (open bool) {
	var buffer [4096]byte
	for range 16 { // bounded, because others wait; the rest is dropped after LingerTime
		n, err := syscall.Read(fd, buffer[:])
		switch {
		case err == syscall.EAGAIN:
			return true
		case err == syscall.EINTR:
		case err != nil || n == 0:
			return false
		}
	}
	return true
}

func (p *poller) close(fd int) { syscall.Close(fd) }
