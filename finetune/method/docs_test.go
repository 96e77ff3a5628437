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

// told reads the tables of methods in a file of docs: each with the settings that it names.
func told(t *testing.T, path string) map[string]setting.Values {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	tables := strings.Split(string(text), "| `--method` |")[1:]
	if len(tables) == 0 {
		t.Fatalf("%s has no table of methods", path)
	}
	for i := range tables {
		tables[i], _, _ = strings.Cut(tables[i], "\n\n")
	}
	name := regexp.MustCompile("`([a-z+-]+)`")
	value := regexp.MustCompile("`--([a-z-]+)` ([a-z0-9.-]*[a-z0-9])")
	settings := map[string]*setting.Setting{}
	for _, s := range Readers().Settings() {
		settings[s.Name] = s
	}
	out := map[string]setting.Values{}
	for row := range strings.Lines(strings.Join(tables, "\n")) {
		cells := strings.Split(row, "|")
		if len(cells) != 6 {
			continue
		}
		for _, m := range name.FindAllStringSubmatch(cells[1], -1) {
			v := setting.Values{}
			// another method's, but for what follows
			if as, found := strings.CutPrefix(strings.TrimSpace(cells[4]), "as `"); found {
				other, _, _ := strings.Cut(as, "`")
				for k, x := range out[other] {
					v[k] = x
				}
			}
			for _, s := range value.FindAllStringSubmatch(cells[4], -1) {
				known := settings[s[1]]
				if known == nil {
					t.Fatalf("%s: %s has a setting %s that no method reads", path, m[1], s[1])
				}
				if v[s[1]], err = known.Parse(s[2]); err != nil {
					t.Fatalf("%s: %s: %v", path, m[1], err)
				}
			}
			out[m[1]] = v
		}
	}
	return out
}

// TestDocsUsual: the table of how rollouts are usually made has every method that learns from them.
func TestDocsUsual(t *testing.T) {
	text, err := os.ReadFile("../../docs/rlhf.md")
	if err != nil {
		t.Fatal(err)
	}
	row := regexp.MustCompile("(?m)^\\| `([^`]+)` \\| ([0-9]+) \\| ([0-9]+) \\| ([0-9.e-]+), ([0-9.e-]+) \\|$")
	told, want := map[string][4]float64{}, map[string][4]float64{}
	for _, m := range row.FindAllStringSubmatch(string(text), -1) {
		var x [4]float64
		for i := range x {
			if x[i], err = strconv.ParseFloat(m[2+i], 64); err != nil {
				t.Fatal(err)
			}
		}
		told[m[1]] = x
	}
	for _, m := range methods.All() {
		if u := m.Usual; m.Need == Rollouts {
			want[m.Name] = [4]float64{float64(u.Generations), float64(u.Iterations), u.LR, u.LargeLR}
		}
	}
	if d := cmp.Diff(told, want); d != "" {
		t.Errorf("docs/rlhf.md, got − want +:\n%s", d)
	}
}

// TestDocs: the tables of methods have every method that reads settings, and all of vectors, with their defaults.
func TestDocs(t *testing.T) {
	want := map[string]map[string]setting.Values{"../../docs/preferences.md": {}, "../../docs/rlhf.md": {},
		"../../docs/embeddings.md": {}}
	for _, m := range methods.All() {
		path := "../../docs/preferences.md"
		if m.Need == Rollouts || m.Value != NoValues {
			path = "../../docs/rlhf.md"
		} else if m.Need.Pools() {
			path = "../../docs/embeddings.md"
		}
		if len(m.Reads) > 0 || m.Need.Pools() {
			want[path][m.Name] = m.Settings()
		}
	}
	for path, methods := range want {
		if d := cmp.Diff(told(t, path), methods); d != "" {
			t.Errorf("%s, got − want +:\n%s", path, d)
		}
	}
}
