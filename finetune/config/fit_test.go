package config

import (
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/ggtune/ggtune/finetune/encode"
)

// fitted lets the rule choose for a run of a method on examples that make so many rows when packed.
func fitted(t *testing.T, c Config, params int64, examples, rows int) (Config, []string, int) {
	t.Helper()
	how, err := c.Loss()
	if err != nil {
		t.Fatal(err)
	}
	f := Fit{Params: params, Examples: examples, Micros: (rows + c.Batch - 1) / c.Batch}
	if f.Packing, err = c.Pack(how, f.Micros); err != nil {
		t.Fatal(err)
	}
	if f.Packing == encode.Unpacked {
		f.Micros = (examples + c.Batch - 1) / c.Batch
	}
	said, err := c.Resolve(how, f)
	if err != nil {
		t.Fatal(err)
	}
	return c, said, c.Epochs.N * updates(f.Micros, c.Accum.N)
}

// TestFitDocs: docs/defaults.md shows what the rule chooses.
func TestFitDocs(t *testing.T) {
	text, err := os.ReadFile("../../docs/defaults.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, ok := strings.Cut(string(text), "<!-- rule -->\n")
	if !ok {
		t.Fatal("docs/defaults.md marks no table of the rule")
	}
	table, _, _ = strings.Cut(table, "\n\n")
	lines := strings.Split(table, "\n")[2:]
	if len(lines) < 3*2*4 {
		t.Errorf("the table has %d lines, want 3 methods × 2 sizes × 4 numbers of rows", len(lines))
	}
	for _, line := range lines {
		cells := strings.Split(strings.Trim(line, "| "), "|")
		for i := range cells {
			cells[i] = strings.Trim(cells[i], " `")
		}
		c := validConfig()
		c.Method = cells[0]
		params, errP := strconv.ParseFloat(cells[1], 64)
		examples, errE := strconv.Atoi(cells[2])
		rows, errR := strconv.Atoi(cells[3])
		if errP != nil || errE != nil || errR != nil {
			t.Errorf("not understood: %s", line)
			continue
		}
		c, _, steps := fitted(t, c, int64(params), examples, rows)
		beta := "–"
		if x, reads := c.Settings["beta"]; reads {
			beta = strconv.FormatFloat(x, 'g', -1, 64)
		}
		got := []string{c.LR.String(), c.Packing, c.Accum.String(), c.Epochs.String(), beta, strconv.Itoa(steps)}
		if strings.Join(got, " ") != strings.Join(cells[4:], " ") {
			t.Errorf("%s\ngot %v", line, got)
		}
	}
}

// TestFitGiven: what was asked for stays, and nothing is said of it; what else is chosen follows from it.
func TestFitGiven(t *testing.T) {
	c := validConfig()
	c.Method, c.LR, c.Packing, c.Accum, c.Epochs = "dpo", Fixed(3e-5), "best-fit", Fixed(2), Fixed(1)
	c.Settings.Set("beta", 0.3)
	got, said, steps := fitted(t, c, 1e8, 40, 6)
	if len(said) > 0 || got.LR != c.LR || got.Packing != c.Packing || got.Accum != c.Accum || got.Epochs != c.Epochs ||
		got.Settings["beta"] != 0.3 || steps != 3 {
		t.Errorf("said %q, got %+v", said, got)
	}
	c = validConfig()
	c.Steps = 5
	if got, said, _ := fitted(t, c, 1e8, 40, 6); got.Packing != "best-fit" || got.Accum.N != 4 || got.Epochs.N != 3 {
		t.Errorf("the number of updates was asked for: said %q, got %+v", said, got)
	}
}

// TestFitSaid: each choice that differs from the usual one is said with its reason.
func TestFitSaid(t *testing.T) {
	c := validConfig()
	c.Method = "dpo"
	_, said, _ := fitted(t, c, 134.5e6, 12, 3)
	want := []string{
		"--lr 5e-05: preferences, an adapter, 134 million parameters",
		"--packing none: packed, an epoch would make fewer than 30 updates",
		"--accum 1: with 4 an epoch would make 3 updates",
		"--epochs 5: preferences need some 60 updates, and an epoch makes 12",
		"--beta 0.5: 12 examples, fewer than 1000",
	}
	if strings.Join(said, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(said, "\n"), strings.Join(want, "\n"))
	}
	for _, s := range said {
		if len(s) > 69 { // behind 10 columns of the table, on a terminal of 80
			t.Errorf("%q has %d columns", s, len(s))
		}
	}
}

// TestFewUpdates: a run that teaches little says so, and what would make more updates.
func TestFewUpdates(t *testing.T) {
	for _, tc := range []struct {
		packing string
		accum   int
		steps   int
		want    string
	}{{"best-fit", 4, 59, "--accum 1"}, {"best-fit", 1, 6, "--packing none"}, {"none", 1, 6, "--epochs"},
		{"best-fit", 4, 60, ""}} {
		c := validConfig()
		c.Packing, c.Accum = tc.packing, Fixed(tc.accum)
		got := c.FewUpdates(tc.steps)
		if tc.want == "" && got != "" || !strings.Contains(got, tc.want) {
			t.Errorf("%+v: got %q", tc, got)
		}
		c.Steps = tc.steps
		if got := c.FewUpdates(tc.steps); got != "" {
			t.Errorf("as many as were asked for: got %q", got)
		}
	}
}
