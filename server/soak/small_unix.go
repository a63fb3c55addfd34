//go:build unix

package main

import "syscall"

// small sets the size of a socket's receive buffer before it connects. Afterwards, the window would already be larger.
func small(window int) func(network, address string, c syscall.RawConn) error {
	return func(_, _ string, c syscall.RawConn) (err error) {
		control := c.Control(func(fd uintptr) {
			err = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, window)
		})
		if control != nil {
			return control
		}
		return err
	}
}
