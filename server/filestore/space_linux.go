package filestore

import "syscall"

// freeSpace returns how many bytes this program can still write to the disk of the folder.
func freeSpace(dir string) (free uint64, known bool) {
	var stat syscall.Statfs_t
	err := syscall.Statfs(dir, &stat)
	return stat.Bavail * uint64(stat.Bsize), err == nil
}
