package method

import (
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/ggtune/ggtune/internal/setting"
)

// verdictOf is one judged answer of one token with its mismatched answer, by their log-ratios.
func verdictOf(label, ratio, mismatched float64) *Inputs {
	return &Inputs{LogP: []float64{-5 + ratio, -5 + mismatched}, Ref: []float64{-5, -5},
		Sequences: []Sequence{{Start: 0, Len: 1, Child: 1, Label: label}, {Start: 1, Len: 1, Child: 2, Label: label}}}
}

func TestKTO(t *testing.T) {
	m, err := KTO.Configure(setting.Values{"beta": 0.5, "desirable-weight": 2, "undesirable-weight": 3})
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name    string
		rows    []*Inputs
		want    float64
		metrics map[string][2]float64
	}{
		{"both classes", []*Inputs{verdictOf(1, 2, 1), verdictOf(0, 3, 0)},
			2*sigmoid(-0.5*(2-0.5)) + 3*sigmoid(0.5*(3-0.5)),
			map[string][2]float64{"desirable_reward": {1, 1}, "undesirable_reward": {1.5, 1}, "margin": {-0.5, 1},
				"accuracy": {1, 2},
				"z_ref":    {0.5, 1}, "kl": {0.5 * (4 + 9), 2}, "desirable_logp": {-3, 1}, "undesirable_len": {1, 1}}},
		{"one class, below the reference", []*Inputs{verdictOf(0, -2, -1), verdictOf(0, 0, -3)},
			3*sigmoid(-0.5*2) + 3*0.5,
			map[string][2]float64{"desirable_reward": {0, 0}, "undesirable_reward": {-1, 2}, "margin": {0, 0},
				"accuracy": {1.5, 2},
				"z_ref":    {0, 1}, "desirable_logp": {0, 0}, "undesirable_logp": {-12, 2}, "desirable_len": {0, 0}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			in := &Inputs{}
			for i, row := range tc.rows {
				row.Sequences[0].Example, row.Sequences[1].Example = i, i
				in.Append(row)
			}
			got, err := m.Evaluate(in)
			if err != nil {
				t.Fatal(err)
			}
			if math.Abs(got.Sum-tc.want) > 1e-12 || got.Units != 2 || got.Counted != 2 {
				t.Errorf("loss: got %g of %g, %d tokens; want %g of 2, 2 tokens", got.Sum, got.Units, got.Counted,
					tc.want)
			}
			figures := map[string][2]float64{}
			for _, f := range got.Metrics {
				if _, asked := tc.metrics[f.Name]; asked {
					figures[f.Name] = [2]float64{f.Sum, f.Weight}
				}
			}
			if d := cmp.Diff(figures, tc.metrics, cmpopts.EquateApprox(0, 1e-12)); d != "" {
				t.Errorf("figures, got − want +:\n%s", d)
			}
		})
	}
}
