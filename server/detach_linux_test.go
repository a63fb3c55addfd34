package server_test

import (
	"errors"
	"syscall"
)

// Set before the handshake, the buffer also limits the TCP window. Otherwise the window would take seconds to read.
func init() {
	tight.Control = func(_, _ string, c syscall.RawConn) (err error) {
		controlled := c.Control(func(fd uintptr) {
			err = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 4096)
		})
		return errors.Join(controlled, err)
	}
}
