//go:build !unix

package program

import "os/exec"

func ownGroup(*exec.Cmd) {}

// killGroup kills the command. Without process groups what it started may go on.
func killGroup(cmd *exec.Cmd) { _ = cmd.Process.Kill() }
