package config

import (
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/ggtune/ggtune/engine/adapter"
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

// docTable reads the table of docs/defaults.md that stands below a mark: its lines' cells.
func docTable(t *testing.T, mark string) (out [][]string) {
	t.Helper()
	text, err := os.ReadFile("../../docs/defaults.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, ok := strings.Cut(string(text), "<!-- "+mark+" -->\n")
	if !ok {
		t.Fatalf("docs/defaults.md marks no table %q", mark)
	}
	table, _, _ = strings.Cut(table, "\n\n")
	for _, line := range strings.Split(table, "\n")[2:] {
		cells := strings.Split(strings.TrimSuffix(strings.TrimPrefix(line, "|"), "|"), "|")
		for i := range cells {
			cells[i] = strings.Trim(cells[i], " `*")
		}
		out = append(out, cells)
	}
	return out
}

// betaOf is a run's β as tables show it.
func betaOf(c *Config) string {
	if x, reads := c.Settings["beta"]; reads {
		return strconv.FormatFloat(x, 'g', -1, 64)
	}
	return "–"
}

// TestFitDocs: docs/defaults.md shows what the rule chooses.
func TestFitDocs(t *testing.T) {
	lines := docTable(t, "rule")
	if len(lines) < 3*2*4 {
		t.Errorf("the table has %d lines, want 3 methods × 2 sizes × 4 numbers of rows", len(lines))
	}
	for _, cells := range lines {
		c := validConfig()
		c.Method = cells[0]
		params, errP := strconv.ParseFloat(cells[1], 64)
		examples, errE := strconv.Atoi(cells[2])
		rows, errR := strconv.Atoi(cells[3])
		if errP != nil || errE != nil || errR != nil {
			t.Errorf("not understood: %q", cells)
			continue
		}
		c, _, steps := fitted(t, c, int64(params), examples, rows)
		got := []string{c.LR.String(), c.Packing, c.Accum.String(), c.Epochs.String(), betaOf(&c), strconv.Itoa(steps)}
		if strings.Join(got, " ") != strings.Join(cells[4:], " ") {
			t.Errorf("%q\ngot %v", cells, got)
		}
	}
}

// The columns of the table of measurements.
const (
	colMethod = iota // and data
	colRows
	colModel
	colLR
	colPacking
	colAccum
	colEpochs
	colBeta
	colUpdates
	colLoss
	colAccuracy
	colMargin
	colKL
)

// measuredParams are the sizes of the models that were measured.
var measuredParams = map[string]int64{"SmolLM2-135M-Instruct": 134_515_008, "cardputer-chat-3M": 3_410_560}

// TestFitMeasured: where docs/defaults.md has measured what the rule chooses, it is better than what was the default
// before: the loss of answers is lower, pairs are told apart by more, and no fewer of them, and the model has not left
// the reference as far as higher rates take it.
// TestFitWhole: the learning rates of tensors of the model are those of the manual.
func TestFitWhole(t *testing.T) {
	for _, row := range docTable(t, "whole") {
		for _, tune := range []string{tuneFull, tunePart} {
			c := validConfig()
			c.Method, c.Tune = row[0], tune
			params, err := strconv.ParseFloat(row[1], 64)
			if err != nil {
				t.Fatal(err)
			}
			c, said, _ := fitted(t, c, int64(params), 1000, 200)
			if got := c.LR.String(); got != row[2] || !strings.Contains(said[0], "tensors of the model") {
				t.Errorf("%v, %s: got %s, said %q", row, tune, got, said[0])
			}
		}
	}
}

// TestFitKind: vectors learn faster than pairs.
func TestFitKind(t *testing.T) {
	for _, kind := range adapter.Kinds() {
		want := answersLR
		if kind == adapter.VeRA || kind == adapter.IA3 {
			want *= vectorsRate
		}
		c := validConfig()
		c.Tune = kind.String()
		if c, said, _ := fitted(t, c, 135e6, 1000, 200); math.Abs(c.LR.N-want) > 1e-9 {
			t.Errorf("%s: got %v, want %g; said %q", kind, c.LR, want, said)
		}
	}
}

// TestFitScores: a method that gives scores learns faster than one of preferences, and goes through its pairs once.
func TestFitScores(t *testing.T) {
	for _, method := range []string{"reward", "rerank"} {
		for params, want := range map[int64]string{135e6: "0.0005", 1.1e9: "0.0001"} {
			c := validConfig()
			c.Method = method
			if c, said, _ := fitted(t, c, params, 40, 8); c.LR.String() != want || c.Epochs.N != 1 {
				t.Errorf("%s, %d parameters: got %v and %v epochs, want %s and 1; said %q", method, params, c.LR,
					c.Epochs, want, said)
			}
		}
	}
}

// TestFitOptimizer: an optimizer that wants another learning rate than AdamW gets it, as a number to read.
func TestFitOptimizer(t *testing.T) {
	for name, want := range map[string]string{"adamw": "0.0003", "adamw8bit": "0.0003", "adafactor": "0.0003",
		"lion": "6e-05"} {
		c := validConfig()
		c.Tune, c.Optim = "full", name
		c, said, _ := fitted(t, c, 135e6, 1000, 200)
		if got := c.LR.String(); got != want || strings.Contains(said[0], "the rate of adamw") != (name == "lion") {
			t.Errorf("%s: got %s, want %s; said %q", name, got, want, said[0])
		}
	}
}

func TestFitMeasured(t *testing.T) {
	cells, before := map[string][][]string{}, map[string][]string{}
	for _, line := range docTable(t, "measured") {
		if line[colLR] == "not measured" {
			continue
		}
		cell := strings.Join(line[:colLR], ", ")
		cells[cell] = append(cells[cell], line)
		old := map[bool]string{true: "0.0002", false: "2e-05"}[strings.HasPrefix(cell, "sft")]
		if line[colLR] == old && line[colPacking] == "best-fit" && line[colAccum] == "4" && line[colEpochs] == "3" {
			before[cell] = line
		}
	}
	compared := 0
	for cell, lines := range cells {
		was, now := before[cell], chosenOf(t, lines)
		if was == nil || now == nil {
			continue
		}
		compared++
		method, _, _ := strings.Cut(cell, ",")
		switch x, y := numberIn(t, now, colLoss), numberIn(t, was, colLoss); {
		case method == "sft" && x > y:
			t.Errorf("%s: held-out loss %g, and %g with the defaults before", cell, x, y)
		case method == "dpo" && (numberIn(t, now, colAccuracy) < numberIn(t, was, colAccuracy) ||
			numberIn(t, now, colMargin) <= numberIn(t, was, colMargin)):
			t.Errorf("%s: accuracy %s and margin %s, and %s and %s with the defaults before", cell, now[colAccuracy],
				now[colMargin], was[colAccuracy], was[colMargin])
		case method == "kto" && numberIn(t, now, colKL) > 2: // √(2·2): e² in a token's probability
			t.Errorf("%s: kl %s from the reference", cell, now[colKL])
		}
		for _, l := range lines { // four times the rate would take pairs much further from the reference
			if method == "dpo" && l[colLR] == "0.0002" &&
				slices.Equal(l[colPacking:colUpdates], now[colPacking:colUpdates]) &&
				numberIn(t, now, colKL) > numberIn(t, l, colKL)/2 {
				t.Errorf("%s: kl %s, and %s at %s", cell, now[colKL], l[colKL], l[colLR])
			}
		}
	}
	if compared < 5 {
		t.Errorf("%d cells compared", compared)
	}
}

// chosenOf finds the line of what the rule chooses for a cell of the measurements; nil: it was not measured.
func chosenOf(t *testing.T, lines [][]string) []string {
	t.Helper()
	c := validConfig()
	c.Method, _, _ = strings.Cut(lines[0][colMethod], ",")
	rows := 0 // when packed
	for _, l := range lines {
		if l[colPacking] == "best-fit" {
			rows = int(numberIn(t, l, colUpdates) / numberIn(t, l, colEpochs) * numberIn(t, l, colAccum))
		}
	}
	if rows == 0 {
		return nil
	}
	c, _, _ = fitted(t, c, measuredParams[lines[0][colModel]], int(numberIn(t, lines[0], colRows)), rows)
	for _, l := range lines {
		beta := l[colBeta]
		if beta == "" {
			beta = "–"
		}
		if l[colLR] == c.LR.String() && l[colPacking] == c.Packing && l[colAccum] == c.Accum.String() &&
			l[colEpochs] == c.Epochs.String() && beta == betaOf(&c) {
			return l
		}
	}
	return nil
}

// numberIn is the last number of a cell: of "before → after" the second.
func numberIn(t *testing.T, line []string, col int) float64 {
	t.Helper()
	words := strings.Fields(line[col])
	x, err := strconv.ParseFloat(strings.Trim(words[len(words)-1], "*"), 64)
	if err != nil {
		t.Fatalf("%q: %v", line, err)
	}
	return x
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
		"--lr 5e-05: pairs, an adapter, 134 million parameters",
		"--packing none: packed, an epoch would make fewer than 30 updates",
		"--accum 1: with 4 an epoch would make 3 updates",
		"--epochs 5: pairs need some 60 updates, and an epoch makes 12",
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
		method  string
		packing string
		accum   int
		steps   int
		want    string
	}{{"sft", "best-fit", 4, 59, "--accum 1"}, {"dpo", "best-fit", 1, 6, "--packing none"},
		{"dpo", "none", 1, 6, "--epochs"}, {"kto", "best-fit", 4, 6, "--epochs"}, {"sft", "best-fit", 4, 60, ""},
		{"grpo", "none", 8, 6, "--num-mini-batches"}, {"gkd", "none", 4, 6, "--num-mini-batches"}} {
		c := validConfig()
		c.Method, c.Packing, c.Accum = tc.method, tc.packing, Fixed(tc.accum)
		how, err := c.Loss()
		if err != nil {
			t.Fatal(err)
		}
		got := c.FewUpdates(how, tc.steps)
		if tc.want == "" && got != "" || !strings.Contains(got, tc.want) {
			t.Errorf("%+v: got %q", tc, got)
		}
		c.Steps = tc.steps
		if got := c.FewUpdates(how, tc.steps); got != "" {
			t.Errorf("as many as were asked for: got %q", got)
		}
	}
}
