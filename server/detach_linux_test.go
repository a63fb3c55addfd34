package server_test

import (
	"errors"
	"syscall"
)

// This sets the buffer before the handshake. Set later, it would have the same size, but a window that takes seconds to read.
func init() {
	tight.Control = func(_, _ string, c syscall.RawConn) (err error) {
		controlled := c.Control(func(fd uintptr) {
			err = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 4096)
		})
		return errors.Join(controlled, err)
	}
}
