//go:build unix

package main

import "syscall"

// small gives a socket a receive buffer of so many bytes before it connects, or its window would be larger already.
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
