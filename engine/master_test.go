package engine_test

import (
	"math"
	"testing"

	"github.com/ggtune/ggtune/engine"
	"github.com/ggtune/ggtune/engine/arch"
	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/engine/graph"
	"github.com/ggtune/ggtune/engine/synth"
)

// TestMasterComputes: matrices kept in BF16 give the log-probabilities and gradients of the same numbers in F32, of
// every architecture; they take half of the memory, which is planned for, and are written as they are.
func TestMasterComputes(t *testing.T) {
	for _, name := range arch.Names() {
		t.Run(name, func(t *testing.T) {
			m, err := engine.Open(synth.Temp(t, synth.Tiny(name, gguf.BF16)))
			if err != nil {
				t.Fatal(err)
			}
			defer m.Close()
			row := engine.PlainRow([]int32{5, 9, 2, 44, 17, 9, 2, 44, 3, 8, 5, 9})
			pass := func(master gguf.Type) (logp []float32, grads map[string][]float32, bytes int64) {
				cfg := engine.SessionConfig{Threads: 1, Exact: true,
					Sets: []engine.Set{{Whole: engine.Everything, Master: master}}}
				s, err := engine.NewSession(m, cfg)
				if err != nil {
					t.Fatal(err)
				}
				defer s.Close()
				for _, p := range s.Params() { // a file's tables of positions are F32
					all, err := p.Value.All()
					if err != nil {
						t.Fatal(err)
					}
					for i, x := range all {
						if len(p.Shape) > 1 {
							b := math.Float32bits(x)
							all[i] = math.Float32frombits((b + 0x7fff + b>>16&1) &^ 0xffff)
						}
					}
					if err := p.Value.Upload(all, 0); err != nil {
						t.Fatal(err)
					}
				}
				out, err := s.Forward(t.Context(), &engine.Batch{Rows: []engine.Row{row}},
					engine.Options{Backward: true})
				if err != nil {
					t.Fatal(err)
				}
				says := out[m.Says()]
				err = s.Backward(t.Context(), engine.Outputs{m.Says(): coefficients(len(says))}, nil)
				if err != nil {
					t.Fatal(err)
				}
				grads = map[string][]float32{}
				for _, p := range s.Params() {
					if half := p.Value.Type == graph.BF16; half != (master == gguf.BF16 && len(p.Shape) > 1) {
						t.Errorf("%s of shape %v is kept in type %d", p.Name, p.Shape, p.Value.Type)
					}
					bytes += p.Value.Bytes() + p.Grad.Bytes()
					if grads[p.Name], err = p.Grad.All(); err != nil {
						t.Fatal(err)
					}
				}
				plan, err := engine.Plan(m, cfg,
					engine.Extent{Tokens: len(row.Tokens), Counted: len(row.Counted), Row: len(row.Tokens),
						Pooled: 1})
				if err != nil || plan.Params != bytes {
					t.Errorf("%v: planned are %d bytes, it takes %d; %v", master, plan.Params, bytes, err)
				}
				return says, grads, bytes
			}
			want, wantGrads, wide := pass(gguf.F32)
			got, grads, half := pass(gguf.BF16)
			if !(half < wide*4/5) {
				t.Errorf("%d bytes, of F32 %d", half, wide)
			}
			const tol = 1e-6 // products may go in another order
			for i := range want {
				if math.Abs(float64(got[i]-want[i])) > tol {
					t.Errorf("log-probability %d is %v, want %v", i, got[i], want[i])
				}
			}
			for name, w := range wantGrads {
				for i := range w {
					if math.Abs(float64(grads[name][i]-w[i])) > tol*(1+math.Abs(float64(w[i]))) {
						t.Fatalf("gradient %d of %s is %v, want %v", i, name, grads[name][i], w[i])
					}
				}
			}
		})
	}
}
