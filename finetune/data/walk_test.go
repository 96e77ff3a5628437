package data_test

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/ggtune/ggtune/finetune/data"
	"github.com/ggtune/ggtune/internal/fuzzing"
)

// tried are the formats that tests have read data of.
var tried = map[string]bool{}

// TestMain fails a run of all tests in which a format was not read.
func TestMain(m *testing.M) {
	fuzzing.Short()
	code := m.Run()
	given := func(name string) bool { return flag.Lookup("test."+name).Value.String() != "" }
	if !given("run") && !given("skip") && !given("list") && !given("fuzz") {
		for _, name := range data.Formats() {
			if !tried[name] {
				fmt.Printf("no test reads data of format %q: write one\n", name)
				code = 1
			}
		}
	}
	os.Exit(code)
}

// TestDocs: docs/data.md has a line for each format.
func TestDocs(t *testing.T) {
	text, err := os.ReadFile("../../docs/data.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range data.Formats() {
		if !strings.Contains(string(text), "\n| `"+name+"` |") {
			t.Errorf("docs/data.md has no line for format %q", name)
		}
	}
}
