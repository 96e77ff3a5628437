package main

import (
	"os"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	testscript.Main(m, scriptPrograms)
}

// scriptPrograms are what the scripts may run.
var scriptPrograms = map[string]func(){"ggtune": main}

// TestScript runs testdata/script/*.txtar against the command itself: a process with its own arguments, output, signals
// and exit code.
func TestScript(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		UpdateScripts:       os.Getenv("UPDATE_SCRIPTS") != "",
		Cmds:                scriptCommands,
	})
}
