package main

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/ggtune/ggtune/bindings/llama"
	"github.com/ggtune/ggtune/internal/fuzzing"
)

func TestMain(m *testing.M) {
	if scriptPrograms[filepath.Base(os.Args[0])] == nil { // or the arguments are that program's
		fuzzing.Short()
		if err := os.Setenv(cores, "1"); err != nil {
			panic(err)
		}
	}
	testscript.Main(m, scriptPrograms)
}

// scriptPrograms are what the scripts may run.
var scriptPrograms = map[string]func(){"ggtune": main}

// cores says how many cores a process may use. The commands that tests start have one each, for as many tests as there
// are cores run at once: the threads of one model wait for each other in loops, and where one of them has no core the
// others burn theirs (24 tokens took 1.6 s of two threads on a busy machine, and 0.07 s of one).
const cores = "GOMAXPROCS"

// TestScript runs testdata/script/*.txtar against the command itself: a process with its own arguments, output, signals
// and exit code.
func TestScript(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		UpdateScripts:       os.Getenv("UPDATE_SCRIPTS") != "",
		Cmds:                scriptCommands,
		Condition:           scriptCondition,
		Setup: func(env *testscript.Env) error {
			env.Setenv(cores, os.Getenv(cores))
			return nil
		},
	})
}

// scriptCondition knows [system_llama]: an installed llama.cpp is linked.
func scriptCondition(name string) (bool, error) {
	if name != "system_llama" {
		return false, fmt.Errorf("unknown condition %q", name)
	}
	_, system, err := llama.System()
	return system, err
}
