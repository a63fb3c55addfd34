//go:build unix

package main

import (
	"math"
	"syscall"
)

// openFilesLimit returns how many file descriptors the program may have, to which Go raises what it begins with.
func openFilesLimit() uint64 {
	var limit syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit) != nil {
		return math.MaxUint64
	}
	return uint64(limit.Cur)
}
