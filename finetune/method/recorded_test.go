package method

import (
	"encoding/json"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/ggtune/ggtune/internal/refmodel"
	"github.com/ggtune/ggtune/internal/setting"
)

// Tolerances against TRL (scripts/record_trl.py): of a loss relative to itself, of a gradient relative to its largest
// number.
const (
	recordedTable        = 2e-9 // TRL in float64, ten digits kept: measured 4.8e-10
	recordedTableFloat32 = 1e-6 // orpo, whose odds TRL computes in float32: measured 1.4e-7
	// transformers rounds to float32 inside RMSNorm and in the rotary angles: measured 1.2e-6
	recordedModel = 6e-6
)

// A trlCase is one trainer's loss and its gradient.
type trlCase struct {
	Name     string         `json:"name"`
	Method   string         `json:"method"`
	Settings setting.Values `json:"settings"`
	Weights  []float64      `json:"weights"`
	Bare     bool           `json:"bare"` // prompts are their last token alone
	Rows     []int          `json:"rows"` // which verdicts; none: all
	Loss     float64        `json:"loss"`
	Rewards  [2]*float64    `json:"rewards"` // means of the chosen and rejected, or desirable and undesirable, answers
	Grad     []float64      `json:"grad"`
}

func (c *trlCase) method(t *testing.T) *Method {
	t.Helper()
	m, err := New(c.Method, c.Weights, c.Settings)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// pick gives the verdicts of the case.
func pick[T any](c *trlCase, all []T) []T {
	if c.Rows == nil {
		return all
	}
	var out []T
	for _, i := range c.Rows {
		out = append(out, all[i])
	}
	return out
}

func readRecording(t *testing.T, name string, v any) {
	t.Helper()
	f, err := os.Open(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	dec := json.NewDecoder(f)
	dec.DisallowUnknownFields()
	if err := dec.Decode(v); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
}

// replay holds a case's loss and gradient over its examples, both of the mean over units, against the recorded ones.
// inputs gives what the method sees of an example; back takes the gradient by the log-probabilities to what the
// recorded one is by.
func replay[T any](t *testing.T, c *trlCase, pairs, verdicts []T, inputs func(T) *Inputs,
	back func(grad []float64) []float64, tol float64) (*Method, Result) {
	t.Helper()
	m, examples := c.method(t), pairs
	if m.Need == Verdicts {
		examples = pick(c, verdicts)
	}
	in := &Inputs{}
	for i, e := range examples {
		one := inputs(e)
		for k := range one.Sequences {
			one.Sequences[k].Example = i
		}
		in.Append(one)
	}
	r, err := m.Evaluate(in)
	if err != nil {
		t.Fatal(err)
	}
	mean := make([]float64, len(r.Grad))
	for i, g := range r.Grad {
		mean[i] = g / r.Units
	}
	loss, grad := r.Sum/r.Units, back(mean)
	if len(grad) != len(c.Grad) {
		t.Fatalf("%d gradients, want %d", len(grad), len(c.Grad))
	}
	off := math.Abs(loss-c.Loss) / math.Abs(c.Loss)
	size, apart := 0.0, 0.0
	for i, want := range c.Grad {
		size, apart = max(size, math.Abs(want)), max(apart, math.Abs(grad[i]-want))
	}
	t.Logf("loss differs by %.2g, gradient by %.2g", off, apart/size)
	if !(off <= tol) {
		t.Errorf("loss: got %.10g, want %.10g", loss, c.Loss)
	}
	if !(apart <= tol*size) {
		t.Errorf("gradient: got %.6g, want %.6g", grad, c.Grad)
	}
	return m, r
}

// labelled puts the verdict of its example to both answers.
func labelled(in *Inputs, label float64) *Inputs {
	for k := range in.Sequences {
		in.Sequences[k].Label = label
	}
	return in
}

var rewardNames = map[Need][2]string{Pairs: {"chosen_reward", "rejected_reward"},
	Verdicts: {"desirable_reward", "undesirable_reward"}}

// TestTRLTable holds every method against TRL on given log-probabilities.
func TestTRLTable(t *testing.T) {
	type two struct {
		Label         float64   `json:"label"`
		Chosen        []float64 `json:"chosen"`
		Rejected      []float64 `json:"rejected"`
		RefChosen     []float64 `json:"ref_chosen"`
		RefRejected   []float64 `json:"ref_rejected"`
		Answer        []float64 `json:"answer"`
		Mismatched    []float64 `json:"mismatched"`
		RefAnswer     []float64 `json:"ref_answer"`
		RefMismatched []float64 `json:"ref_mismatched"`
	}
	var rec struct {
		MadeWith string    `json:"made_with"`
		Pairs    []two     `json:"pairs"`
		Verdicts []two     `json:"verdicts"`
		Cases    []trlCase `json:"cases"`
	}
	readRecording(t, "trl_tokens.json", &rec)
	covered := map[string]bool{}
	for _, c := range rec.Cases {
		covered[c.Method] = true
		t.Run(c.Name, func(t *testing.T) {
			tol := recordedTable
			if c.Method == "orpo" {
				tol = recordedTableFloat32
			}
			m, r := replay(t, &c, rec.Pairs, rec.Verdicts, func(e two) *Inputs {
				return labelled(pairOf(append(e.Chosen, e.Answer...), append(e.Rejected, e.Mismatched...),
					append(e.RefChosen, e.RefAnswer...), append(e.RefRejected, e.RefMismatched...)), e.Label)
			}, func(grad []float64) []float64 { return grad }, tol)
			if c.Method == "ipo" {
				return // see IPO: its reward is not TRL's
			}
			for k, want := range c.Rewards {
				f := r.Metrics[slices.IndexFunc(r.Metrics,
					func(f Metric) bool { return f.Name == rewardNames[m.Need][k] })]
				if (f.Weight > 0) != (want != nil) || want != nil &&
					math.Abs(f.Sum/f.Weight-*want) > recordedTableFloat32*math.Abs(*want) {
					t.Errorf("%s: got %g of %g, want %v", f.Name, f.Sum, f.Weight, want)
				}
			}
		})
	}
	for _, c := range readAnswers(t).Cases {
		covered[c.Method] = true
	}
	for _, m := range methods.All() {
		// SFT and CPT are the models' own recordings, Distill has one of its own (TestDistillRecorded), and so have
		// those of Rollouts (TestRolloutsRecorded), of scores (TestRewardRecorded) and of vectors
		// (TestVectorsRecorded).
		own := m.Need == Rollouts || m.Need.Pools() || m.Value == AtEnds || m == SFT || m == CPT || m == Distill
		if !own && !covered[m.Name] {
			t.Errorf("method %s has no recording", m.Name)
		}
	}
}

// A trlAnswers is what TRL makes of plain answers.
type trlAnswers struct {
	MadeWith string      `json:"made_with"`
	Answers  [][]float64 `json:"answers"`
	Cases    []trlCase   `json:"cases"`
}

func readAnswers(t *testing.T) (rec trlAnswers) {
	t.Helper()
	readRecording(t, "trl_answers.json", &rec)
	return rec
}

// TestTRLAnswers holds methods of plain answers against TRL on given log-probabilities.
func TestTRLAnswers(t *testing.T) {
	rec := readAnswers(t)
	for _, c := range rec.Cases {
		t.Run(c.Name, func(t *testing.T) {
			replay(t, &c, rec.Answers, nil, func(logp []float64) *Inputs {
				return &Inputs{LogP: slices.Clone(logp), Sequences: []Sequence{{Len: len(logp)}}}
			}, func(grad []float64) []float64 { return grad }, recordedTable)
		})
	}
}

// TestTRLModel holds every method against TRL on a whole model: log-probabilities of a tree of a prompt and two
// answers, the method, and back to a LoRA matrix.
func TestTRLModel(t *testing.T) {
	type two struct {
		Label      float64 `json:"label"`
		Prompt     []int32 `json:"prompt"`
		Chosen     []int32 `json:"chosen"`
		Rejected   []int32 `json:"rejected"`
		Answer     []int32 `json:"answer"`
		Mismatched []int32 `json:"mismatched"`
	}
	var rec struct {
		MadeWith string    `json:"made_with"`
		Model    string    `json:"model"`
		Matrix   string    `json:"matrix"`
		Pairs    []two     `json:"pairs"`
		Verdicts []two     `json:"verdicts"`
		Cases    []trlCase `json:"cases"`
	}
	readRecording(t, "trl_model.json", &rec)
	models, err := refmodel.Recordings()
	if err != nil {
		t.Fatal(err)
	}
	k := slices.IndexFunc(models, func(m *refmodel.Recorded) bool { return m.Name == rec.Model })
	if k < 0 {
		t.Fatalf("no recorded model %q", rec.Model)
	}
	reference, policy := models[k].Model, models[k].Adapted()
	for _, c := range rec.Cases {
		t.Run(c.Name, func(t *testing.T) {
			var passes []*refmodel.Pass
			replay(t, &c, rec.Pairs, rec.Verdicts, func(e two) *Inputs {
				prompt := e.Prompt
				if c.Bare {
					prompt = prompt[len(prompt)-1:]
				}
				first, second := append(e.Chosen, e.Answer...), append(e.Rejected, e.Mismatched...)
				row, n := forked(prompt, first, second), len(first)
				pass, err := policy.Forward(row)
				if err != nil {
					t.Fatal(err)
				}
				ref, err := reference.Forward(row)
				if err != nil {
					t.Fatal(err)
				}
				passes = append(passes, pass)
				return labelled(pairOf(pass.LogP[:n], pass.LogP[n:], ref.LogP[:n], ref.LogP[n:]), e.Label)
			}, func(grad []float64) []float64 {
				sum := refmodel.Gradients{}
				for _, pass := range passes {
					g, err := pass.Backward(grad[:len(pass.LogP)])
					if err != nil {
						t.Fatal(err)
					}
					grad = grad[len(pass.LogP):]
					if len(sum) == 0 {
						maps.Copy(sum, g)
						continue
					}
					sum.Add(g)
				}
				return sum[rec.Matrix].Data
			}, recordedModel)
		})
	}
}

// forked is the row of a prompt with two answers, whose tokens count.
func forked(prompt, first, second []int32) refmodel.Row {
	p, a, b := len(prompt), len(first), len(second)
	row := refmodel.Row{Tokens: slices.Concat(prompt, first, second), Segments: []refmodel.Segment{
		{Start: 0, Len: p, Parent: -1}, {Start: p, Len: a, Parent: 0}, {Start: p + a, Len: b, Parent: 0},
	}}
	for i := p; i < p+a+b; i++ {
		row.Counted = append(row.Counted, int32(i))
	}
	return row
}
