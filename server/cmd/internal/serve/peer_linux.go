package serve

import (
	"syscall"
	"time"
)

// tcpUserTimeout is TCP_USER_TIMEOUT of linux/tcp.h, which package syscall lacks.
const tcpUserTimeout = 18

// setPeerTimeout makes the system close connections of a listening socket whose data stays unacknowledged for that long.
// Package server does so only for connections that it hijacks, so not for HTTP/2.
func setPeerTimeout(socket uintptr, timeout time.Duration) error {
	return syscall.SetsockoptInt(int(socket), syscall.IPPROTO_TCP, tcpUserTimeout, int(timeout.Milliseconds()))
}
