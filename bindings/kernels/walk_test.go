package kernels

import (
	"flag"
	"fmt"
	"os"
	"testing"
)

// A trial is an operation that a test ran at a level.
type trial struct {
	op    Op
	level Level
}

var tried = map[trial]bool{}

// runCall is Run for tests, which remembers what was run.
func runCall(c *Call, n int) error {
	tried[trial{c.Op, CurrentLevel()}] = true
	return Run(c, n)
}

// TestMain fails a run of all tests in which an operation was not run at every level of this CPU.
func TestMain(m *testing.M) {
	code := m.Run()
	given := func(name string) bool { return flag.Lookup("test."+name).Value.String() != "" }
	if !given("run") && !given("skip") && !given("list") {
		for _, op := range Ops() {
			for _, l := range Levels() {
				if !tried[trial{op, l}] {
					fmt.Printf("no test runs %v at level %v: write one, in atEveryLevel\n", op, l)
					code = 1
				}
			}
		}
	}
	os.Exit(code)
}
