//go:build !linux

package epoll

import (
	"errors"
	"net"
	"syscall"
	"time"
)

// Supported reports whether streams can run without goroutines.
const Supported = false

// A poller does not exist without epoll.
type poller struct{ events chan []event }

func newPoller() (*poller, error) { return nil, errors.ErrUnsupported }

func (*poller) stop()                          { panic("epoll: no poller") }
func (*poller) watch(int, int32) error         { panic("epoll: no poller") }
func (*poller) linger(int, int32) error        { panic("epoll: no poller") }
func (*poller) write(int, []byte) (int, error) { panic("epoll: no poller") }
func (*poller) discard(int) bool               { panic("epoll: no poller") }
func (*poller) close(int)                      { panic("epoll: no poller") }

func detachSocket(syscall.Conn, time.Duration) (int, error) { return none, errors.ErrUnsupported }

// SetPeerTimeout does nothing: only Linux supports it.
func SetPeerTimeout(net.Conn, time.Duration) {}
