//go:build !unix

package browsers

import "os/exec"

// Other systems trust the browser to end its processes.

func lead(*exec.Cmd) {}

func killFollowers(*exec.Cmd) {}
