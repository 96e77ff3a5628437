package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/ggtune/ggtune/internal/fuzzing"
)

func TestMain(m *testing.M) {
	if scriptPrograms[filepath.Base(os.Args[0])] == nil { // or the arguments are that program's
		fuzzing.Short()
	}
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
