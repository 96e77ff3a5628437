package method

import (
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ggtune/ggtune/internal/setting"
)

// TestDocs: the table of methods in docs/preferences.md has every method that reads settings, and they with their
// defaults.
func TestDocs(t *testing.T) {
	text, err := os.ReadFile("../../docs/preferences.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, ok := strings.Cut(string(text), "| `--method` |")
	if !ok {
		t.Fatal("docs/preferences.md has no table of methods")
	}
	table, _, _ = strings.Cut(table, "\n\n")
	name := regexp.MustCompile("`([a-z-]+)`")
	value := regexp.MustCompile("`--([a-z-]+)` ([0-9.]+[0-9]|[0-9]+)")
	told := map[string]setting.Values{}
	for row := range strings.Lines(table) {
		cells := strings.Split(row, "|")
		if len(cells) != 6 {
			continue
		}
		for _, m := range name.FindAllStringSubmatch(cells[1], -1) {
			v := setting.Values{}
			// another method's, but for what follows
			if as, found := strings.CutPrefix(strings.TrimSpace(cells[4]), "as `"); found {
				other, _, _ := strings.Cut(as, "`")
				for k, x := range told[other] {
					v[k] = x
				}
			}
			for _, s := range value.FindAllStringSubmatch(cells[4], -1) {
				if v[s[1]], err = strconv.ParseFloat(s[2], 64); err != nil {
					t.Fatal(err)
				}
			}
			told[m[1]] = v
		}
	}
	want := map[string]setting.Values{}
	for _, m := range offered() {
		if len(m.Reads) > 0 {
			want[m.Name] = m.Settings()
		}
	}
	if d := cmp.Diff(told, want); d != "" {
		t.Errorf("docs/preferences.md, got − want +:\n%s", d)
	}
}
