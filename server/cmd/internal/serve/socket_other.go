//go:build !unix

package serve

func closeToAll(uintptr) {}

func lockFolder(string) (unlock func()) { return func() {} }
