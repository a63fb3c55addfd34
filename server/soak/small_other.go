//go:build !unix

package main

import "syscall"

// small does nothing on this system.
func small(int) func(network, address string, c syscall.RawConn) error { return nil }
