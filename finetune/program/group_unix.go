//go:build unix

package program

import (
	"os/exec"
	"syscall"
)

// ownGroup puts a command, and what it starts, in a process group of its own: it can be killed as one, and a Ctrl-C at
// the terminal does not reach it before ggtune has said what to do.
func ownGroup(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }

// killGroup kills the group. One that has ended is left as it is.
func killGroup(cmd *exec.Cmd) { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
