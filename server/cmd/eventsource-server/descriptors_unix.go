//go:build unix

package main

import (
	"math"
	"syscall"
)

// openFilesLimit returns the limit of file descriptors. At startup, Go has raised it as far as the system permits.
func openFilesLimit() uint64 {
	var limit syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit) != nil {
		return math.MaxUint64
	}
	return uint64(limit.Cur)
}
