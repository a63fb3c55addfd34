package filestore

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// A folder is a locked folder. While it is in use, it has a file with the boot id of the machine.
type folder struct {
	dir  string
	lock *os.File
}

const openName = "open"

func lock(dir string) (*folder, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	file, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := lockFile(file); err != nil {
		file.Close()
		return nil, err
	}
	return &folder{dir, file}, nil
}

func (f *folder) unlock() error { return f.lock.Close() }

// sameRun reports whether the machine is known not to have restarted since the folder was opened.
func (f *folder) sameRun() bool {
	opened, err := os.ReadFile(filepath.Join(f.dir, openName))
	run := machineRun()
	return err == nil && run != "" && string(opened) == run
}

// open creates the file, and returns when it is synced.
func (f *folder) open() error {
	path := filepath.Join(f.dir, openName)
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return errors.Join(writeSynced(path, []byte(machineRun())), syncPath(f.dir))
}

// close removes the file.
func (f *folder) close() error {
	err := os.Remove(filepath.Join(f.dir, openName))
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return errors.Join(err, syncPath(f.dir))
}

// machineRun returns the boot id of the machine, or "" if it is unknown.
func machineRun() string {
	id, _ := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return strings.TrimSpace(string(id))
}
