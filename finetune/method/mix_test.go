package method

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/ggtune/ggtune/internal/setting"
)

// TestMixture holds a mixture against the sum of its parts, each with its own defaults but for what is given.
func TestMixture(t *testing.T) {
	got, err := New("dpo, simpo,sft", []float64{2, 0.5, 0.25}, setting.Values{"gamma": 0.3, "rpo-alpha": 0.5})
	if err != nil {
		t.Fatal(err)
	}
	if got.Name != "dpo,simpo,sft" || got.Unit != "pair" || got.Need != Pairs || !got.Reference || got.Coupled {
		t.Errorf("got %+v", got)
	}
	only := func(m *Method, given setting.Values) *Method {
		c, err := m.Configure(given)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	parts := []*Method{
		only(DPO, setting.Values{"rpo-alpha": 0.5}),
		only(SimPO, setting.Values{"gamma": 0.3}),
		SFT.OverPairs,
	}
	in := randomInputs(rand.New(rand.NewPCG(5, 6)), 3).suited(got)
	r, err := got.Evaluate(in)
	if err != nil {
		t.Fatal(err)
	}
	var sum float64
	grad := make([]float64, len(in.LogP))
	var metrics []Metric
	for i, m := range parts {
		p, err := m.Evaluate(in)
		if err != nil {
			t.Fatal(err)
		}
		w := []float64{2, 0.5, 0.25}[i]
		sum += w * p.Sum
		for t, g := range p.Grad {
			grad[t] += w * g
		}
		if i == 0 {
			metrics = append(metrics, p.Metrics...)
		}
	}
	for i, name := range []string{"loss_dpo", "loss_simpo", "loss_sft"} {
		p, _ := parts[i].Evaluate(in)
		metrics = append(metrics, Metric{name, p.Sum, 3})
	}
	if math.Abs(r.Sum-sum) > 1e-12 || r.Units != 3 {
		t.Errorf("loss: got %g of %g, want %g of 3", r.Sum, r.Units, sum)
	}
	approx := cmpopts.EquateApprox(1e-12, 1e-12)
	if d := cmp.Diff(r.Grad, grad, approx); d != "" {
		t.Errorf("gradients, got − want +:\n%s", d)
	}
	if d := cmp.Diff(r.Metrics, metrics, approx); d != "" {
		t.Errorf("figures, got − want +:\n%s", d)
	}
}

func TestSettingsRefused(t *testing.T) {
	nan, inf := math.NaN(), math.Inf(1)
	for _, tc := range []struct {
		name    string
		methods string
		weights []float64
		given   setting.Values
		want    []string // each in the error; none: no error
	}{
		{"plain", "dpo", nil, nil, nil},
		{"one weight for one method", "sft", []float64{2}, nil, nil},
		{"unknown", "dpx", nil, nil, []string{`"dpx"`, "dpo"}},
		{"unknown part", "dpo,sfd", nil, nil, []string{`"sfd"`, "sft"}},
		{"nothing after the comma", "dpo,", nil, nil, []string{`""`}},
		{"twice", "dpo,sft,dpo", nil, nil, []string{"dpo is named twice"}},
		{"weights missing", "dpo,sft", []float64{1}, nil, []string{"1 weights for 2 methods"}},
		{"weight negative", "dpo,sft", []float64{1, -1}, nil, []string{"weight of sft is -1"}},
		{"weight no number", "dpo,sft", []float64{nan, 1}, nil, []string{"weight of dpo is NaN"}},
		{"weight without end", "dpo,sft", []float64{inf, 1}, nil, []string{"weight of dpo is +Inf"}},
		{"weights all 0", "dpo,sft", []float64{0, 0}, nil, []string{"every weight is 0"}},
		{"pairs and verdicts", "dpo,kto", nil, nil, []string{"pairs of answers", "answers with a label"}},
		{"verdicts and answers", "kto,sft", nil, nil, []string{"sft"}},
		{"answers and texts", "sft,cpt", nil, nil, []string{"whole texts"}},
		{"texts and pairs", "cpt,dpo", nil, nil, []string{"whole texts"}},
		{"beta 0", "dpo", nil, setting.Values{"beta": 0}, []string{"--beta is 0"}},
		{"beta negative", "kto", nil, setting.Values{"beta": -1}, []string{"--beta is -1"}},
		{"beta without end", "ipo", nil, setting.Values{"beta": inf}, []string{"--beta is +Inf"}},
		{"half of the labels wrong", "robust", nil, setting.Values{"label-smoothing": 0.5},
			[]string{"--label-smoothing is 0.5"}},
		{"not read", "sft", nil, setting.Values{"beta": 0.1}, []string{"--beta is given", "it reads no such option"}},
		{"not read, beside a wrong one", "orpo", nil, setting.Values{"gamma": 1, "beta": 0},
			[]string{"--gamma is given", "it reads --beta", "--beta is 0"}},
		{"read by one part", "dpo,simpo", nil, setting.Values{"gamma": 1}, nil},
		{"read by no part", "dpo,sft", nil, setting.Values{"desirable-weight": 1},
			[]string{"--desirable-weight is given, and method dpo,sft does not read it", "--ld-alpha"}},
		{"wrong for one part", "simpo,sft", nil, setting.Values{"gamma": -1}, []string{"--gamma is -1"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			m, err := New(tc.methods, tc.weights, tc.given)
			if (err != nil) != (len(tc.want) > 0) || (err == nil) == (m == nil) {
				t.Fatalf("got %v, %v", m, err)
			}
			for _, want := range tc.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("got %q, want %q in it", err, want)
				}
			}
		})
	}
}
