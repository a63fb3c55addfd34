//go:build unix

package serve

import (
	"os"
	"syscall"
	"time"
)

// closeToAll makes Linux create the socket without permissions, so that no client connects before its mode is set. Elsewhere it
// does nothing.
func closeToAll(socket uintptr) { syscall.Fchmod(int(socket), 0) }

// lockPatience is enough for another program to start, and bearable if the folder is locked for another reason.
const lockPatience = 10 * time.Second

// lockFolder locks the folder against other programs that call it. It leaves no files. If the folder cannot be locked, it
// continues without a lock.
func lockFolder(folder string) (unlock func()) {
	dir, err := os.Open(folder)
	if err != nil {
		return func() {}
	}
	for limit := time.Now().Add(lockPatience); ; time.Sleep(lockPatience / 1000) {
		err := syscall.Flock(int(dir.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err != syscall.EWOULDBLOCK && err != syscall.EINTR || time.Now().After(limit) {
			return func() { dir.Close() }
		}
	}
}
