//go:build !unix || aix

package filestore

// changed returns zero: it is not known here when a file was last changed. Files that are put back from a copy are not
// noticed if they fit together.
func changed(string) int64 { return 0 }
