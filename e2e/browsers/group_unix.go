//go:build unix

package browsers

import (
	"os/exec"
	"syscall"
)

// lead makes the command the leader of a process group, which its child processes join.
func lead(command *exec.Cmd) {
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
}

// killFollowers kills the remaining processes in the group of a command that has ended.
func killFollowers(command *exec.Cmd) {
	if command.Process != nil {
		syscall.Kill(-command.Process.Pid, syscall.SIGKILL)
	}
}
