//go:build !linux

package filestore

// birth returns zero: it is not known here when a file was made. Files that are put back from a copy are not noticed if
// they fit together.
func birth(string) int64 { return 0 }
