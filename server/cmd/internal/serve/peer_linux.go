package serve

import (
	"syscall"
	"time"
)

// tcpUserTimeout is TCP_USER_TIMEOUT of linux/tcp.h, which package syscall lacks.
const tcpUserTimeout = 18

// setPeerTimeout has the system end the connections of a listening socket on which what was sent goes unacknowledged for so
// long. The library does so for the connections that it takes over, and cannot for those over TLS and HTTP/2.
func setPeerTimeout(socket uintptr, timeout time.Duration) error {
	return syscall.SetsockoptInt(int(socket), syscall.IPPROTO_TCP, tcpUserTimeout, int(timeout.Milliseconds()))
}
