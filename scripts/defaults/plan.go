package main

import (
	"cmp"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// A trial is one training run; settings that are 0 or "" are left to ggtune.
type trial struct {
	Model  string  `json:"model"` // the file's name
	Method string  `json:"method"`
	Data   string  `json:"data"`
	Rows   int     `json:"rows"`
	LR     float64 `json:"lr"`
	Accum  int     `json:"accum"`
	Epochs int     `json:"epochs"`
	Pack   string  `json:"packing"`
	Beta   float64 `json:"beta,omitempty"`
	Seed   uint64  `json:"seed"`
	SeqLen int     `json:"seq_len,omitempty"` // 0: the default

	file string // of the model
}

func (t trial) name() string {
	return fmt.Sprintf("%s %s %s %d lr %g accum %d epochs %d packing %s beta %g seed %d", t.Model, t.Method, t.Data,
		t.Rows, t.LR, t.Accum, t.Epochs, t.Pack, t.Beta, t.Seed)
}

// dataOf is what a method is measured on.
func dataOf(method string, rows int) string {
	all := ""
	if rows > 1000 {
		all = "-all"
	}
	switch {
	case method == "sft" && rows > 500:
		return "gsm8k"
	case method == "sft":
		return "short"
	case method == "kto":
		return "verdicts" + all
	}
	return "mctaco" + all
}

// options are the command line's part that tells the trial from others; what is left to ggtune is not there.
func (t trial) options() []string {
	out := []string{"--method", t.Method, "--seed", fmt.Sprint(t.Seed)}
	for _, o := range []struct {
		name  string
		value any
		left  bool
	}{
		{"--lr", t.LR, t.LR == 0}, {"--accum", t.Accum, t.Accum == 0}, {"--epochs", t.Epochs, t.Epochs == 0},
		{"--packing", t.Pack, t.Pack == ""}, {"--beta", t.Beta, t.Beta == 0}, {"--seq-len", t.SeqLen, t.SeqLen == 0},
	} {
		if !o.left {
			out = append(out, o.name, fmt.Sprint(o.value))
		}
	}
	return out
}

// A setup is a point of the grid.
type setup struct {
	lr            float64
	accum, epochs int
	pack          string
	beta          float64 // 0: usualBeta, where the method has one
}

const (
	packed    = "best-fit"
	single    = "none"
	usualBeta = 0.1
)

// grids are the points for each method and number of rows, the most telling first.
var grids = []struct {
	method string
	rows   int
	setups []setup
}{
	{"dpo", 40, []setup{{2e-5, 4, 3, packed, 0}, {5e-5, 1, 3, single, 0.5}, {2e-4, 1, 3, single, 0.5},
		{1e-4, 1, 3, packed, 0}, {5e-5, 1, 3, single, 0}, {1e-4, 1, 3, single, 0.5}, {2e-4, 4, 3, single, 0.5},
		{5e-5, 4, 3, single, 0.5}, {2e-4, 1, 3, single, 0}, {5e-5, 1, 10, packed, 0.5}}},
	{"sft", 40, []setup{{2e-4, 4, 3, packed, 0}, {2e-4, 1, 3, single, 0}, {2e-4, 4, 3, single, 0},
		{4e-4, 4, 3, single, 0}, {4e-4, 1, 3, single, 0}, {5e-5, 1, 3, single, 0}, {8e-4, 4, 3, single, 0},
		{8e-4, 1, 3, single, 0}}},
	{"kto", 40, []setup{{2e-5, 4, 3, packed, 0}, {5e-5, 1, 3, single, 0}, {2e-5, 1, 3, packed, 0},
		{5e-5, 1, 10, packed, 0}, {2e-5, 1, 8, packed, 0}, {2e-4, 1, 3, single, 0}}},
	{"dpo", 200, []setup{{2e-5, 4, 3, packed, 0}, {5e-5, 4, 3, single, 0.5}, {5e-5, 1, 3, packed, 0.5},
		{5e-5, 1, 3, packed, 0}, {2e-4, 4, 3, single, 0.5}, {2e-4, 1, 3, packed, 0.5}}},
	{"sft", 200, []setup{{2e-4, 4, 3, packed, 0}, {2e-4, 4, 3, single, 0}, {8e-4, 4, 3, single, 0},
		{5e-5, 4, 3, single, 0}, {2e-4, 1, 3, packed, 0}, {2e-4, 1, 3, single, 0}}},
	{"kto", 200, []setup{{2e-5, 4, 3, packed, 0}, {2e-5, 1, 3, packed, 0}, {5e-5, 1, 3, packed, 0},
		{2e-4, 1, 3, packed, 0}}},
	{"dpo", 1000, []setup{{5e-5, 4, 3, packed, 0}, {2e-5, 4, 3, packed, 0}, {2e-4, 4, 3, packed, 0},
		{5e-5, 4, 3, packed, 0.5}, {5e-5, 1, 3, packed, 0}}},
	{"sft", 1000, []setup{{2e-4, 4, 3, packed, 0}, {8e-4, 4, 3, packed, 0}, {5e-5, 4, 3, packed, 0},
		{2e-4, 1, 3, packed, 0}}},
	{"kto", 1000, []setup{{5e-5, 4, 3, packed, 0}, {2e-5, 4, 3, packed, 0}, {2e-4, 4, 3, packed, 0}}},
	{"dpo", 5000, []setup{{5e-5, 4, 1, packed, 0}, {2e-4, 4, 1, packed, 0}, {5e-5, 1, 1, packed, 0}}},
	{"sft", 5000, []setup{{2e-4, 4, 1, packed, 0}, {8e-4, 4, 1, packed, 0}, {2e-4, 1, 1, packed, 0}}},
	{"kto", 3500, []setup{{5e-5, 4, 1, packed, 0}, {2e-4, 4, 1, packed, 0}}},
}

// A model is one that is trained.
type model struct {
	name, file string
	seqLen     int // of its rows; 0: the default
}

// parseModels reads a list of files, each with the length of its rows behind an @ where the model reads no more.
func parseModels(list string) (out []model, err error) {
	for _, word := range strings.Split(list, ",") {
		file, length, some := strings.Cut(word, "@")
		m := model{name: strings.TrimSuffix(filepath.Base(file), ".gguf"), file: file}
		if some {
			if m.seqLen, err = strconv.Atoi(length); err != nil {
				return nil, fmt.Errorf("-models: %q: the length of rows is no number", word)
			}
		}
		out = append(out, m)
	}
	return out, nil
}

// plan lists all trials in the order in which they are run: the grids' first points for every model, then their next.
func plan(models []model) (out []trial) {
	type ranked struct {
		trial
		rank int
	}
	var all []ranked
	for i, g := range grids {
		for j, s := range g.setups {
			for k, m := range models {
				t := trial{Model: m.name, Method: g.method, Data: dataOf(g.method, g.rows),
					Rows: g.rows, LR: s.lr, Accum: s.accum, Epochs: s.epochs, Pack: s.pack, Beta: s.beta, Seed: 1,
					SeqLen: m.seqLen, file: m.file}
				if t.Method != "sft" && t.Beta == 0 { // ggtune would choose by the number of pairs
					t.Beta = usualBeta
				}
				// A grid's points tell less the later they come, and so do grids of more rows and of the second model.
				rank := 2*(i/3) + j + 2*k
				if g.method == "kto" && i+k > 2 { // the dearest to measure
					rank += 2
				}
				all = append(all, ranked{t, rank})
			}
		}
	}
	slices.SortStableFunc(all, func(a, b ranked) int { return cmp.Compare(a.rank, b.rank) })
	for _, r := range all {
		out = append(out, r.trial)
	}
	return out
}

// checks lists the trials that compare what ggtune chooses by itself with its neighbours, half and twice the rate and
// steps of one, on three sets of answers drawn with three seeds each.
func checks(models []model) (out []trial) {
	const rows = 100
	setups := []setup{{}, {lr: 1e-4}, {lr: 4e-4}, {lr: 2e-4, accum: 1}}
	for seed := uint64(1); seed <= 3; seed++ {
		for _, data := range []string{"short", "code", "gsm8k"} {
			for _, m := range models {
				for _, s := range setups {
					out = append(out,
						trial{Model: m.name, Method: "sft", Data: data, Rows: rows, LR: s.lr, Accum: s.accum,
							Epochs: s.epochs, Pack: s.pack, Seed: seed, SeqLen: m.seqLen, file: m.file})
				}
			}
		}
	}
	return out
}
