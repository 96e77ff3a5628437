package method

import (
	"maps"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/ggtune/ggtune/internal/setting"
)

// randomInputs draws examples of two answers with labels, which every method can read in its way.
func randomInputs(g *rand.Rand, pairs int) *Inputs {
	in := &Inputs{Width: 4}
	for p := range pairs {
		for child := 1; child <= 2; child++ {
			n := 1 + g.IntN(5)
			in.Sequences = append(in.Sequences,
				Sequence{Start: len(in.LogP), Len: n, Example: p, Child: child, Label: float64(p % 2),
					Margin: float64(p), Weight: 1 / float64(1+p)})
			for range n {
				in.LogP = append(in.LogP, -4*g.Float64())
				in.Ref = append(in.Ref, -4*g.Float64())
				in.Named = append(in.Named, randomPrediction(g)...)
				in.Teacher = append(in.Teacher, randomPrediction(g)...)
				in.Value, in.Entropy = append(in.Value, g.NormFloat64()), append(in.Entropy, 3*g.Float64())
				in.Rolled.append(randomToken(g, in))
			}
		}
		for range textsOf * in.Width {
			in.Pooled = append(in.Pooled, 10*g.NormFloat64())
		}
	}
	return in
}

// randomToken draws what is known of the last token.
func randomToken(g *rand.Rand, in *Inputs) *Rolled {
	return &Rolled{Old: []float64{in.LogP[len(in.LogP)-1] + 0.4*g.NormFloat64()},
		Advantage: []float64{g.NormFloat64()}, Weight: []float64{2 * g.Float64()}, Longest: 6,
		OldValue: []float64{in.Value[len(in.Value)-1] + 0.3*g.NormFloat64()}, Return: []float64{g.NormFloat64()}}
}

// textsOf is how many texts an example has: of those that are alike or not, the last says nothing.
const textsOf = 3

// pooled are the inputs of a method of vectors: each example is some texts, all different.
func (in *Inputs) pooled(m *Method) *Inputs {
	out := &Inputs{Width: in.Width}
	for _, q := range in.Sequences {
		if q.Child != 1 {
			continue
		}
		for child := 1; child <= textsOf; child++ {
			if child == 3 && m.Need != Groups {
				continue
			}
			at := (q.Example*textsOf + child - 1) * in.Width
			out.Sequences = append(out.Sequences, Sequence{Start: len(out.Sequences), Len: 1, Example: q.Example,
				Child: child, Label: q.Label, Margin: q.Margin - 0.7, Text: uint64(at)})
			v := in.Pooled[at%len(in.Pooled) : at%len(in.Pooled)+in.Width]
			out.Pooled = append(out.Pooled, v...)
			if m.Reference { // of a width of its own
				out.Ref = append(out.Ref, v[1%len(v)], v[3%len(v)]-v[0], v[2%len(v)]*v[0])
			}
		}
	}
	return out
}

// suited is what the method asks for of inputs that have everything.
func (in *Inputs) suited(m *Method) *Inputs {
	if m.Need.Pools() {
		return m.begun(in.pooled(m))
	}
	c := *in
	c.Pooled = nil
	if m.Value == AtEnds {
		c.LogP, c.Value = nil, nil
		for _, q := range in.Sequences {
			c.Value = append(c.Value, in.Value[q.Start+q.Len-1])
		}
	}
	if m.Value == NoValues {
		c.Value = nil
	}
	if !m.Entropy {
		c.Entropy = nil
	}
	if !m.Rewarded() {
		c.Rolled = Rolled{}
	} else if m.Value == NoValues {
		c.OldValue, c.Return = nil, nil
	}
	return &c
}

// randomPrediction draws the log-probabilities of three tokens and of all others.
func randomPrediction(g *rand.Rand) []float64 {
	out, sum := make([]float64, 4), 0.0
	for i := range out {
		out[i] = g.ExpFloat64()
		sum += out[i]
	}
	for i := range out {
		out[i] = math.Log(out[i] / sum)
	}
	return out
}

// by are the numbers that a method's gradients are of.
func (in *Inputs) by(m *Method) [5][]float64 {
	if m.Teacher {
		return [5][]float64{in.Named}
	}
	return [5][]float64{in.LogP, in.Value, in.Entropy, in.Pooled, in.Own}
}

// unusual gives every setting that the method reads a value off its default: the first of these within its range.
func unusual(t *testing.T, m *Method) setting.Values {
	t.Helper()
	v := setting.Values{}
	for i, u := range m.Reads {
		for k := range 8 {
			x := []float64{0.7, 0.4, 0.15, 0.6, 0.3, 1.3, 0.8}[(i+k)%7]
			if k == 7 {
				x = 1 // of words
			}
			if u.Check(x) == nil && x != u.Default {
				v[u.Setting.Name] = x
				break
			}
		}
		if !v.Has(u.Setting) {
			t.Fatalf("no unusual value for --%s", u.Setting.Name)
		}
	}
	return v
}

// allMethods are the registered methods with their defaults and with unusual settings, and some mixtures.
func allMethods(t *testing.T) []*Method {
	t.Helper()
	var out []*Method
	add := func(name string, m *Method, err error) {
		if err != nil {
			t.Fatal(err)
		}
		c := *m
		c.Name = name
		out = append(out, &c)
	}
	for _, m := range methods.All() {
		add(m.Name, m, nil)
		if len(m.Reads) > 0 {
			c, err := m.Configure(unusual(t, m))
			add(m.Name+", unusual settings", c, err)
		}
	}
	for _, v := range variants {
		m, err := methods.Get(v.method)
		if err == nil {
			m, err = m.Configure(worded(t, m, v.settings))
		}
		add(v.method+" "+v.settings, m, err)
	}
	for _, m := range methods.All() {
		if m.Need.Pools() {
			nested, err := m.Nested([]int{2, 1})
			add(m.Name+", nested", nested, err)
		}
		if m.Other == Taught {
			add(m.Name+", by a teacher", m.FromTeacher(), nil)
		}
	}
	for _, names := range []string{"dpo,sft", "sft,simpo", "apo-zero,ipo,sft"} {
		m, err := New(names, []float64{0.5, 2, 0.25}[:1+strings.Count(names, ",")], nil)
		add(names, m, err)
	}
	return out
}

// TestSettings: every setting is complete, its defaults are within its range, and each method that is told to read one
// does: another value gives another loss, gradient or advantage.
func TestSettings(t *testing.T) {
	if err := Readers().Check(); err != nil {
		t.Error(err)
	}
	for _, m := range methods.All() {
		all := unusual(t, m)
		for _, u := range m.Reads {
			alone := setting.Values{u.Setting.Name: all[u.Setting.Name]}
			heard := !reflect.DeepEqual(outcome(t, m, nil), outcome(t, m, alone))
			if m.Need == Rollouts && !heard { // it may need others to be heard
				without := maps.Clone(all)
				without[u.Setting.Name] = u.Default
				heard = !reflect.DeepEqual(outcome(t, m, without), outcome(t, m, all))
			}
			if !heard {
				t.Errorf("%s does not look at --%s", m.Name, u.Setting.Name)
			}
		}
	}
}

// outcome is all that a method says with settings.
func outcome(t *testing.T, m *Method, s setting.Values) (out []any) {
	t.Helper()
	c, err := m.Configure(s)
	if err != nil {
		t.Fatal(err)
	}
	r, err := c.Evaluate(randomInputs(rand.New(rand.NewPCG(7, 8)), 20).suited(c))
	if err != nil {
		t.Fatal(err)
	}
	out = append(out, r.Sum, r.Slopes())
	if c.Rewarded() {
		a, err := c.Credit(randomAnswers(rand.New(rand.NewPCG(9, 10)), 12, 3), nil)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, a.Advantage, a.Return, a.Trained, a.Carry, c.Stop([]Metric{{"approx_kl", 4, 2}}))
	}
	return out
}

// TestGradients compares every method's gradient with central differences of its own loss.
func TestGradients(t *testing.T) {
	const (
		h = 1e-5
		// Central differences of a loss of order 100 in float64: rounding 1e-16·100/1e-5 = 1e-9, truncation h² = 1e-10.
		tol = 1e-7
	)
	for _, m := range allMethods(t) {
		t.Run(m.Name, func(t *testing.T) {
			g := rand.New(rand.NewPCG(1, 2))
			for range 5 {
				in := randomInputs(g, 3).suited(m)
				r, err := m.Evaluate(in)
				if err != nil {
					t.Fatal(err)
				}
				if m.Constant != nil {
					in.Constant = m.Constant(in, m.set)
				}
				for k, by := range in.by(m) {
					for i := range by {
						at := by[i]
						by[i] = at + h
						up, err1 := m.Evaluate(in)
						by[i] = at - h
						down, err2 := m.Evaluate(in)
						by[i] = at
						if err1 != nil || err2 != nil {
							t.Fatal(err1, err2)
						}
						want := (up.Sum - down.Sum) / (2 * h)
						if k == 0 && untrained(m, in, i) {
							want = 0
						}
						if got := r.slope(k, i); math.Abs(got-want) > tol*(1+math.Abs(want)) {
							t.Errorf("%s %d: gradient %g, finite difference %g",
								[]string{"token", "value", "entropy", "number", "own number"}[k], i, got, want)
						}
					}
				}
			}
		})
	}
}

// slope is the derivative by number i of those that by lists.
func (r *Result) slope(k, i int) float64 {
	g := [5][]float64{r.Grad, r.GradValue, r.GradEntropy, r.GradPooled, r.GradOwn}[k]
	if len(g) == 0 {
		return 0 // the method needs no such input
	}
	return g[i]
}

// untrained says that a token is of a mismatched answer, on which the loss depends and which gets no gradient.
func untrained(m *Method, in *Inputs, token int) bool {
	for _, q := range in.Sequences {
		if !m.Teacher && token < q.Start+q.Len {
			return m.Need == Verdicts && q.Child == 2
		}
	}
	return false
}

// TestConformance checks what the loop relies on: units above 0, no change of the inputs, the same metrics at every
// call, uncoupled methods and their metrics additive over micro-batches.
func TestConformance(t *testing.T) {
	for _, m := range allMethods(t) {
		t.Run(m.Name, func(t *testing.T) {
			if m.Doc == "" || m.Unit == "" || m.Loss == nil || m.Measure != nil && m.Measure.Unit != m.Unit {
				t.Fatalf("incomplete: %+v", m)
			}
			in := randomInputs(rand.New(rand.NewPCG(3, 4)), 4).suited(m)
			before := append([]float64(nil), in.LogP...)
			r, err := m.Evaluate(in)
			if err != nil {
				t.Fatal(err)
			}
			if r.Units <= 0 {
				t.Errorf("units: got %g, want more than 0", r.Units)
			}
			for i := range before {
				if in.LogP[i] != before[i] {
					t.Fatalf("the method wrote into its inputs at %d", i)
				}
			}
			seen := map[string]bool{}
			for _, f := range r.Metrics {
				if seen[f.Name] {
					t.Errorf("figure %q is given twice", f.Name)
				}
				seen[f.Name] = true
			}
			var sum, units float64
			var figures []Metric
			for _, part := range splitInputs(randomInputs(rand.New(rand.NewPCG(3, 4)), 4), 2) {
				p, err := m.Evaluate(part.suited(m))
				if err != nil {
					t.Fatal(err)
				}
				sum, units = sum+p.Sum, units+p.Units
				if figures, err = AddMetrics(figures, p.Metrics); err != nil {
					t.Error(err)
				}
			}
			if m.Coupled {
				return
			}
			if math.Abs(sum-r.Sum) > 1e-9 || units != r.Units {
				t.Errorf("two halves: got %g of %g, want %g of %g", sum, units, r.Sum, r.Units)
			}
			if d := cmp.Diff(figures, r.Metrics, cmpopts.EquateApprox(1e-9, 1e-9)); d != "" {
				t.Errorf("figures of two halves, got − want +:\n%s", d)
			}
		})
	}
}

// TestDegenerate gives every method what data and a model at its limits give, and wants finite numbers.
func TestDegenerate(t *testing.T) {
	long := func(n int, x float64) []float64 { return slices.Repeat([]float64{x}, n) }
	for _, tc := range []struct {
		name string
		in   *Inputs
	}{
		{"equal answers", pairOf([]float64{-1, -2}, []float64{-1, -2}, []float64{-2, -1}, []float64{-2, -1})},
		{"one token", pairOf([]float64{-1}, []float64{-3}, []float64{-2}, []float64{-0.5})},
		{"certain", pairOf([]float64{0, 0}, []float64{0}, []float64{0, 0}, []float64{0})},
		{"rounded past certain", pairOf([]float64{1e-7}, []float64{-1e-7}, []float64{0}, []float64{1e-7})},
		{"chosen impossible", pairOf([]float64{-700}, []float64{0}, []float64{-1e-9}, []float64{-700})},
		{"long", pairOf(long(50000, -12), long(50000, -1e-4), long(50000, -1e-4), long(50000, -12))},
	} {
		teach(tc.in)
		roll(tc.in)
		pool(tc.in)
		for _, m := range allMethods(t) {
			t.Run(tc.name+"/"+m.Name, func(t *testing.T) { mustBeFinite(t, m, tc.in) })
		}
		for _, m := range methods.All() {
			if _, reads := setting.Reads(m.Reads, beta); !reads {
				continue
			}
			weak, err := m.Configure(setting.Values{"beta": 1e-9})
			if err != nil {
				t.Fatal(err)
			}
			t.Run(tc.name+"/"+m.Name+", beta near 0", func(t *testing.T) { mustBeFinite(t, weak, tc.in) })
		}
	}
}

// roll takes the reference for the policy that wrote the answers.
func roll(in *Inputs) {
	for _, lp := range in.LogP {
		in.Value, in.Entropy = append(in.Value, lp), append(in.Entropy, 0)
	}
	n := len(in.LogP)
	in.Rolled = Rolled{Old: in.Ref, Advantage: slices.Repeat([]float64{-1, 1, 100}, n)[:n], OldValue: in.Ref,
		Return: in.Ref, Longest: n}
}

// pool makes vectors of log-probabilities, of which some are without a length and some are equal.
func pool(in *Inputs) {
	for i := range textsOf * in.Width {
		in.Pooled = append(in.Pooled, in.LogP[i/in.Width%len(in.LogP)]*float64(i%in.Width))
	}
}

// teach takes the reference for a teacher that names the tokens alone.
func teach(in *Inputs) {
	in.Width = 2
	for i := range in.LogP {
		in.Named = append(in.Named, in.LogP[i], math.Log(-math.Expm1(min(in.LogP[i], 0))))
		in.Teacher = append(in.Teacher, in.Ref[i], math.Log(-math.Expm1(min(in.Ref[i], 0))))
	}
}

func mustBeFinite(t *testing.T, m *Method, in *Inputs) {
	t.Helper()
	finite := func(x float64) bool { return !math.IsNaN(x) && !math.IsInf(x, 0) }
	for label := range 2 {
		for i := range in.Sequences {
			in.Sequences[i].Label = float64(label)
		}
		r, err := m.Evaluate(in.suited(m))
		if err != nil {
			t.Fatal(err)
		}
		if !finite(r.Sum) {
			t.Errorf("loss is %g", r.Sum)
		}
		for i, g := range r.Slopes() {
			// The engine takes gradients in float32.
			if !finite(g) || math.Abs(g) > math.MaxFloat32 {
				t.Fatalf("gradient %d is %g", i, g)
			}
		}
		for _, f := range r.Metrics {
			if !finite(f.Sum) || !(f.Weight >= 0) {
				t.Errorf("figure %s is %g of %g", f.Name, f.Sum, f.Weight)
			}
		}
	}
}

// splitInputs cuts inputs in two after the given number of examples.
func splitInputs(in *Inputs, examples int) []*Inputs {
	a, b := &Inputs{Width: in.Width}, &Inputs{Width: in.Width}
	for _, s := range in.Sequences {
		part := a
		if s.Example >= examples {
			part = b
		}
		c := s
		c.Start = len(part.LogP)
		part.Sequences = append(part.Sequences, c)
		part.LogP = append(part.LogP, in.LogP[s.Start:s.Start+s.Len]...)
		part.Ref = append(part.Ref, in.Ref[s.Start:s.Start+s.Len]...)
		part.Value = append(part.Value, in.Value[s.Start:s.Start+s.Len]...)
		part.Entropy = append(part.Entropy, in.Entropy[s.Start:s.Start+s.Len]...)
		part.Rolled.append(in.Rolled.cut(s))
		part.Pooled = in.Pooled
		part.Named = append(part.Named, in.Named[s.Start*in.Width:(s.Start+s.Len)*in.Width]...)
		part.Teacher = append(part.Teacher, in.Teacher[s.Start*in.Width:(s.Start+s.Len)*in.Width]...)
	}
	return []*Inputs{a, b}
}

// cut is what is known of a sequence's tokens.
func (r *Rolled) cut(q Sequence) *Rolled {
	of := func(v []float64) []float64 { return v[q.Start : q.Start+q.Len] }
	return &Rolled{Old: of(r.Old), Advantage: of(r.Advantage), Weight: of(r.Weight), OldValue: of(r.OldValue),
		Return: of(r.Return), Longest: r.Longest}
}

func TestEvaluateRefuses(t *testing.T) {
	needsRef := &Method{Name: "x", Reference: true, Loss: crossEntropy}
	ok := []Sequence{{Start: 0, Len: 2}}
	for _, tc := range []struct {
		name string
		m    *Method
		in   Inputs
	}{
		{"no reference", needsRef, Inputs{LogP: []float64{-1, -2}, Sequences: ok}},
		{"gap", SFT, Inputs{LogP: []float64{-1, -2}, Sequences: []Sequence{{Start: 1, Len: 1}}}},
		{"short", SFT, Inputs{LogP: []float64{-1, -2, -3}, Sequences: ok}},
		{"empty sequence", SFT,
			Inputs{LogP: []float64{-1, -2}, Sequences: []Sequence{{Start: 0, Len: 0}, {Start: 0, Len: 2}}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if _, err := tc.m.Evaluate(&tc.in); err == nil {
				t.Error("no error")
			}
		})
	}
	if _, err := Get("sfd"); err == nil {
		t.Error("an unknown method is accepted")
	}
}
