package main

import (
	"strings"
	"testing"

	"github.com/ggtune/ggtune/finetune/bench"
)

// TestWarningOfReport: a ratio that flatters us is not shown without saying so.
func TestWarningOfReport(t *testing.T) {
	for _, warning := range []string{"", "R is too high: so it is"} {
		var b strings.Builder
		if err := printReport(&b, &bench.Report{Warning: warning}); err != nil {
			t.Fatal(err)
		}
		if got := strings.Contains(b.String(), "warning: "+warning+"\n"); got != (warning != "") {
			t.Errorf("warning %q:\n%s", warning, b.String())
		}
	}
}
