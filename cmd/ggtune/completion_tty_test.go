//go:build unix

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// The shells themselves, where they are installed: commands, options, names and files are completed as a person types.
func TestShellsComplete(t *testing.T) {
	dir := t.TempDir()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "bin"), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(exe, filepath.Join(dir, "bin", "ggtune")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "model one.gguf"), nil, 0o666); err != nil {
		t.Fatal(err)
	}
	const prepareZsh = "PS1='$ '; unsetopt zle_bracketed_paste; autoload -U compinit; compinit -u; " +
		"source <(ggtune completion zsh); echo ready\r"
	for _, shell := range []struct {
		name    string
		args    []string
		prepare string
	}{
		{"bash", []string{"--norc", "--noprofile", "-i"}, "PS1='$ '; source <(ggtune completion bash); echo ready\r"},
		{"zsh", []string{"-f", "-i"}, prepareZsh},
		{"fish", []string{"--no-config", "-i"}, "ggtune completion fish | source; echo ready\r"},
	} {
		t.Run(shell.name, func(t *testing.T) {
			path, err := exec.LookPath(shell.name)
			if err != nil {
				t.Skipf("not installed: %v", err)
			}
			env := []string{"PATH=" + filepath.Join(dir, "bin") + ":" + os.Getenv("PATH"), "HOME=" + dir,
				"XDG_DATA_HOME=" + dir}
			o := startProgram(t,
				&exec.Cmd{Path: path, Args: append([]string{shell.name}, shell.args...), Dir: dir, Env: env})
			o.types(shell.prepare)
			o.waits("echo ready") // as it is typed
			o.waits("ready\r\n")
			o.types("ggtune qua\t")
			o.waits("ntize")
			o.types("--ty\t")
			o.waits("pe")
			o.types("q8\t")
			o.waits("_0")
			o.types("mod\t")
			o.waits(`el\ one.gguf`)
			o.types("\x15") // away with the line
			o.types("ggtune train --packing=seq\t")
			o.waits("uential")
			o.types("--output b\t")
			o.waits("in") // and a slash, which zsh writes in another colour
			o.types("\x15exit\r")
			_ = o.cmd.Wait() // whatever the last command's code was
		})
	}
}
