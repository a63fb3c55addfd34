package filestore

import "golang.org/x/sys/unix"

// birth returns when the file was made, or where the file system does not know, when it was last changed. No copy of the
// file has that. Zero means that it is not known.
func birth(path string) int64 {
	var stat unix.Statx_t
	if err := unix.Statx(unix.AT_FDCWD, path, 0, unix.STATX_BTIME|unix.STATX_CTIME, &stat); err != nil {
		return 0
	}
	at := stat.Ctime
	if stat.Mask&unix.STATX_BTIME != 0 {
		at = stat.Btime
	}
	return at.Sec*1e9 + int64(at.Nsec)
}
