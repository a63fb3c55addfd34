//go:build unix

package serve

import (
	"os"
	"syscall"
	"time"
)

// closeToAll has Linux create the socket with no permissions, so that nobody connects before its mode is set. Elsewhere
// it does nothing.
func closeToAll(socket uintptr) { syscall.Fchmod(int(socket), 0) }

// lockPatience is long enough for others to start, and short enough if somebody holds the folder for another reason.
const lockPatience = 10 * time.Second

// lockFolder keeps other programs that call it waiting. It leaves nothing behind. Where the folder cannot be locked, it goes
// on without.
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
