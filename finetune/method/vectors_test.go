package method

import (
	"math"
	"slices"
	"testing"

	"github.com/ggtune/ggtune/internal/setting"
)

// recordedVectors is the tolerance against sentence-transformers in float64 (scripts/record_embed.py), relative to the
// loss and to the largest derivative; ten digits are kept: measured 2e-10.
const recordedVectors = 1e-8

// TestVectorsRecorded holds every method of vectors against sentence-transformers.
func TestVectorsRecorded(t *testing.T) {
	var rec struct {
		MadeWith string        `json:"made_with"`
		Vectors  [][][]float64 `json:"vectors"` // examples, of each some texts
		Guide    [][][]float64 `json:"guide"`
		Cases    []struct {
			Method   string         `json:"method"`
			Settings setting.Values `json:"settings"`
			Texts    int            `json:"texts"`
			Width    int            `json:"width"`
			Widths   []int          `json:"widths"`
			Labels   []float64      `json:"labels"`
			Margins  [][]float64    `json:"margins"` // of a teacher, of each example one for each negative
			Teacher  bool           `json:"teacher"` // it is the guide
			Loss     float64        `json:"loss"`
			Grad     []float64      `json:"grad"`
			GradOwn  []float64      `json:"grad_own"` // by what the method learns of its own
		} `json:"cases"`
	}
	readRecording(t, "embed.json", &rec)
	covered := map[string]bool{}
	for _, c := range rec.Cases {
		covered[c.Method] = true
		m, err := New(c.Method, nil, c.Settings)
		if err != nil {
			t.Fatal(err)
		}
		if len(c.Widths) > 0 {
			if m, err = m.Nested(c.Widths); err != nil {
				t.Fatal(err)
			}
		}
		if c.Teacher {
			m = m.FromTeacher()
		}
		in := &Inputs{Width: c.Width}
		for e := range rec.Vectors {
			for k := range c.Texts {
				q := Sequence{Start: len(in.Sequences), Len: 1, Example: e, Child: k + 1,
					Text: uint64(len(in.Sequences))}
				if len(c.Labels) > 0 {
					q.Label = c.Labels[e]
				}
				if k >= 2 && len(c.Margins) > 0 {
					q.Margin = c.Margins[e][k-2]
				}
				in.Sequences = append(in.Sequences, q)
				in.Pooled = append(in.Pooled, rec.Vectors[e][k][:c.Width]...)
				if m.Reference {
					in.Ref = append(in.Ref, rec.Guide[e][k]...)
				}
			}
		}
		r, err := m.Evaluate(in)
		if err != nil {
			t.Fatal(err)
		}
		size, apart := 0.0, 0.0
		for i, want := range c.Grad {
			size, apart = max(size, math.Abs(want)), max(apart, math.Abs(r.GradPooled[i]/r.Units-want))
		}
		if len(r.GradOwn) != len(c.GradOwn) {
			t.Fatalf("%s %v: %d derivatives by numbers of its own, want %d", c.Method, c.Settings, len(r.GradOwn),
				len(c.GradOwn))
		}
		for i, want := range c.GradOwn {
			if got := r.GradOwn[i] / r.Units; !(math.Abs(got-want) <= recordedVectors*math.Abs(want)) {
				t.Errorf("%s %v: derivative by a number of its own %.10g, want %.10g", c.Method, c.Settings, got, want)
			}
		}
		off := math.Abs(r.Sum/r.Units-c.Loss) / c.Loss
		t.Logf("%s %v %v: loss differs by %.2g, gradient by %.2g", c.Method, c.Settings, c.Widths, off, apart/size)
		if !(off <= recordedVectors) || !(apart <= recordedVectors*size) {
			t.Errorf("%s %v %v: loss %.10g, want %.10g, gradients %.2g apart", c.Method, c.Settings, c.Widths,
				r.Sum/r.Units, c.Loss, apart/size)
		}
	}
	for _, m := range methods.All() {
		if m.Need.Pools() && !covered[m.Name] {
			t.Errorf("method %s has no recording", m.Name)
		}
	}
}

// groupsOf are groups of texts, of which each is named by a letter, with a vector for each letter; a capital is the
// anchor that begins a group.
func groupsOf(texts string) *Inputs {
	in := &Inputs{Width: 3}
	example, child := -1, 0
	for i, r := range texts {
		if r >= 'A' && r <= 'Z' {
			example, child = example+1, 0
		}
		child++
		in.Sequences = append(in.Sequences, Sequence{Start: i, Len: 1, Example: example, Child: child, Text: uint64(r)})
		x := float64(r)
		in.Pooled = append(in.Pooled, math.Sin(x), math.Cos(2*x), math.Sin(3*x+1))
	}
	in.Ref = slices.Clone(in.Pooled)
	return in
}

// TestNoNegatives: what belongs to an anchor elsewhere in the step is not pushed away from it.
func TestNoNegatives(t *testing.T) {
	masked := func(m *Method, texts string) float64 {
		t.Helper()
		r, err := m.Evaluate(groupsOf(texts))
		if err != nil {
			t.Fatal(err)
		}
		i := slices.IndexFunc(r.Metrics, func(f Metric) bool { return f.Name == "masked" })
		return r.Metrics[i].Sum
	}
	wide, err := GIST.Configure(setting.Values{"cosine-margin": 0})
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name, texts string
		want        float64
	}{
		{"all differ", "AxByCz", 0},
		{"two answers that are equal", "AxBxCz", 2},
		{"two questions that are equal", "AxAyCz", 2},
		{"a negative that is the positive", "AxxBy", 1},
		{"a negative of one that is the positive of another", "AxyBy", 1},
	} {
		if got := masked(MNRL, tc.texts); got != tc.want {
			t.Errorf("mnrl, %s: %g masked, want %g", tc.name, got, tc.want)
		}
		if got := masked(wide, tc.texts); got < tc.want {
			t.Errorf("gist, %s: %g masked, want at least %g", tc.name, got, tc.want)
		}
	}
}

// TestIdle: an anchor that has nothing to choose among is counted, and is no hit.
func TestIdle(t *testing.T) {
	for _, tc := range []struct {
		texts         string
		idle, choices float64
	}{{"AxByCz", 0, 3}, {"AxBxCx", 3, 0}, {"AxAyAz", 3, 0}, {"AxBxCy", 0, 3}, {"AxBxyCx", 0, 3}} {
		for _, m := range []*Method{MNRL, GIST} {
			if m == GIST && tc.idle == 0 {
				continue // which leaves out others too
			}
			r, err := m.Evaluate(groupsOf(tc.texts))
			if err != nil {
				t.Fatal(err)
			}
			got := map[string]Metric{}
			for _, f := range r.Metrics {
				got[f.Name] = f
			}
			if got[Idle].Sum != tc.idle || got["accuracy"].Weight != tc.choices || got["accuracy"].Sum > tc.choices {
				t.Errorf("%s, %s: got %+v, want %g idle and %g choices", m.Name, tc.texts, r.Metrics, tc.idle,
					tc.choices)
			}
		}
	}
}

// TestNestedRefuses: widths are such that each is part of the one before.
func TestNestedRefuses(t *testing.T) {
	for _, widths := range [][]int{nil, {0}, {4, 4}, {2, 4}} {
		if _, err := MNRL.Nested(widths); err == nil {
			t.Errorf("%v is accepted", widths)
		}
	}
	if _, err := SFT.Nested([]int{4}); err == nil {
		t.Error("sft is accepted")
	}
	m, err := MNRL.Nested([]int{8})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.Evaluate(groupsOf("AxBy")); err == nil {
		t.Error("vectors of 3 numbers are cut to 8")
	}
}

// TestGroupsRefused: what is no group is said, and not learned from.
func TestGroupsRefused(t *testing.T) {
	for _, texts := range []string{"x", "ABx", "Ax"[1:]} {
		if _, err := MNRL.Evaluate(groupsOf(texts)); err == nil {
			t.Errorf("%q is accepted", texts)
		}
	}
}
