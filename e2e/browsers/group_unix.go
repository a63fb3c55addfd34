//go:build unix

package browsers

import (
	"os/exec"
	"syscall"
)

// lead makes the command the leader of a process group, in which all that it starts will be.
func lead(command *exec.Cmd) {
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
}

// killFollowers ends what is left of the group of a command that has ended.
func killFollowers(command *exec.Cmd) {
	if command.Process != nil {
		syscall.Kill(-command.Process.Pid, syscall.SIGKILL)
	}
}
