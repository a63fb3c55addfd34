package filestore

import "syscall"

// freeSpace returns the number of bytes that this program can still write to the folder's disk.
func freeSpace(dir string) (free uint64, known bool) {
	var stat syscall.Statfs_t
	err := syscall.Statfs(dir, &stat)
	return stat.Bavail * uint64(stat.Bsize), err == nil
}
