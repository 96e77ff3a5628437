package reward

import (
	"os"
	"strings"
	"testing"
)

// TestDocs: docs/rewards.md has a line for each kind, and names the columns of right answers.
func TestDocs(t *testing.T) {
	b, err := os.ReadFile("../../docs/rewards.md")
	if err != nil {
		t.Fatal(err)
	}
	text := string(b)
	for _, k := range Kinds() {
		spec, _, _ := strings.Cut(k.Spec(), "|")
		if !strings.Contains(text, "\n| `"+spec+"`") {
			t.Errorf("no line for %s", spec)
		}
	}
	for _, name := range Columns() {
		if !strings.Contains(text, "`"+name+"`") {
			t.Errorf("the column %s is not named", name)
		}
	}
}
