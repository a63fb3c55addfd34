//go:build unix && !aix

package filestore

import "golang.org/x/sys/unix"

// changed returns when the file was last changed according to the file system, in nanoseconds. Programs cannot set this
// time, so a copy has another one. Zero means unknown.
func changed(path string) int64 {
	var stat unix.Stat_t
	if err := unix.Stat(path, &stat); err != nil {
		return 0
	}
	seconds, nanoseconds := stat.Ctim.Unix()
	return seconds*1e9 + nanoseconds
}
