package server_test

import (
	"errors"
	"syscall"
)

// Before the handshake: later, the buffer would be as small, and its window one that takes seconds to read through.
func init() {
	tight.Control = func(_, _ string, c syscall.RawConn) (err error) {
		controlled := c.Control(func(fd uintptr) {
			err = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 4096)
		})
		return errors.Join(controlled, err)
	}
}
