//go:build !linux

package serve

import "time"

// setPeerTimeout does nothing: only Linux supports it.
func setPeerTimeout(uintptr, time.Duration) error { return nil }
