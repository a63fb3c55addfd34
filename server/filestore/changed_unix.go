//go:build unix && !aix

package filestore

import "golang.org/x/sys/unix"

// changed returns when the file was last changed, in nanoseconds, as the file system has it. No program can set that, so
// no copy has it. Zero means that it is not known.
func changed(path string) int64 {
	var stat unix.Stat_t
	if err := unix.Stat(path, &stat); err != nil {
		return 0
	}
	seconds, nanoseconds := stat.Ctim.Unix()
	return seconds*1e9 + nanoseconds
}
