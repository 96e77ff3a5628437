package optim

import (
	"testing"
)

// TestMuonTakesHidden: Muon itself updates matrices between hidden layers, LoRA's too, and AdamW the rest.
func TestMuonTakesHidden(t *testing.T) {
	b := newBackend(t, 1)
	for _, tc := range []struct {
		group  string
		shape  []int64
		tied   int64
		hidden bool
	}{
		{"full", []int64{8, 4}, 0, true}, {"lora_a", []int64{8, 2}, 0, true}, {"lora_b", []int64{2, 8}, 0, true},
		{"embed", []int64{8, 4}, 0, false}, {"full", []int64{8}, 0, false}, {"full", []int64{8, 1}, 0, false},
		{"lora_a", []int64{1, 8}, 0, false}, {"lora_a", []int64{64, 2}, 32, false},
	} {
		n := int64(1)
		for _, d := range tc.shape {
			n *= d
		}
		p := newParam(t, b, "p", tc.group, int(n))
		p.Shape, p.Tied = tc.shape, tc.tied
		a := mustStartOf(t, Muon, params{p}, nil, Options{})
		if got := a.State()[0].Name == "p.muon_m"; got != tc.hidden {
			t.Errorf("%s of shape %v, tied %d: by Muon %v, want %v", tc.group, tc.shape, tc.tied, got, tc.hidden)
		}
	}
}

// TestMuonWork: an update takes no more memory than is planned for, and not much less.
func TestMuonWork(t *testing.T) {
	b := newBackend(t, 1)
	for _, shape := range [][]int64{{300, 500}, {500, 300}, {257, 257}} {
		p := newParam(t, b, "p", "full", int(shape[0]*shape[1]))
		p.Shape = shape
		before := b.Bytes()
		mustStartOf(t, Muon, params{p}, nil, Options{})
		got, want := b.Bytes()-before, Muon.StateBytes(params{p}.list())+Muon.WorkBytes(params{p}.list())
		const beside = 1 << 16 // constants, verdicts, norms
		if got > want+beside || got < want-want/4 {
			t.Errorf("%v: takes %d bytes, planned are %d", shape, got, want)
		}
	}
}

// TestMuonOrthogonal: the first step of a matrix has singular values near the learning rate, times the shape's factor.
func TestMuonOrthogonal(t *testing.T) {
	b := newBackend(t, 2)
	p := newParam(t, b, "p", "full", 6*40)
	p.Shape = []int64{40, 6}
	for i := range p.grad {
		p.grad[i] = value("g", i, 0)
	}
	a := mustStartOf(t, Muon, params{p}, nil, Options{MuonScale: MuonOriginal})
	mustUpdate(t, a, 1, 1)
	// Rows are orthogonal, and of one length, as far as five rounds bring them: Jordan et al. aim at 0.7 to 1.2.
	for i := range 6 {
		for k := range 6 {
			dot := 0.0
			for c := range 40 {
				dot += float64(p.value[i*40+c]) * float64(p.value[k*40+c])
			}
			if i == k && (dot < 0.4 || dot > 1.5) || i != k && (dot < -0.4 || dot > 0.4) {
				t.Errorf("rows %d and %d have the product %.3f", i, k, dot)
			}
		}
	}
}
