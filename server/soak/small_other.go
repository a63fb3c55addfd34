//go:build !unix

package main

import "syscall"

// small does nothing where it is not known how.
func small(int) func(network, address string, c syscall.RawConn) error { return nil }
