package kernels

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// benchTypes are the storage types whose speed matters most.
var benchTypes = []Type{8, 2, 12, 14, 6, F16, BF16, F32} // q8_0 q4_0 q4_k q6_k q5_0

// BenchmarkLinear measures y = W x and dx = Wᵀ dy on one thread, activations packed.
func BenchmarkLinear(b *testing.B) {
	const k, n, t = 2048, 1024, 512
	r := rand.New(rand.NewPCG(1, 2))
	for _, typ := range benchTypes {
		w := randomWeights(r, typ, k, n)
		for _, op := range []Op{OpLinear, OpLinearT} {
			in, out := k, n
			if op == OpLinearT {
				in, out = n, k
			}
			x := randomMatrix(r, in, t)
			y := newMatrix(out, t)
			b.Run(fmt.Sprintf("%s/%s", w.name(), map[Op]string{OpLinear: "forward", OpLinearT: "backward"}[op]), func(b *testing.B) {
				call := &Call{Op: op, NArgs: 4, F: [8]float64{1}}
				call.A[0], call.A[1], call.A[2] = y.arg(), packed(b, x).arg(), w.arg()
				for b.Loop() {
					if err := Run(call, 1); err != nil {
						b.Fatal(err)
					}
				}
				reportRate(b, 2*k*n*t)
			})
		}
	}
}

// BenchmarkAdapter measures the products of a LoRA pair of rank 16 on a 2048 x 2048 layer, F32, on one thread.
func BenchmarkAdapter(b *testing.B) {
	const k, rank, t = 2048, 16, 512
	r := rand.New(rand.NewPCG(1, 2))
	x, g := randomMatrix(r, k, t), randomMatrix(r, rank, t)
	down, up := randomWeights(r, F32, k, rank), randomWeights(r, F32, rank, k)
	y, z, dw, dwT := newMatrix(k, t), newMatrix(rank, t), newMatrix(k, rank), newMatrix(rank, k)
	for _, c := range []struct {
		name string
		op   Op
		args []Arg
		acc  int64
	}{
		{"A x", OpLinear, []Arg{z.arg(), x.arg(), down.arg()}, 0},
		{"B g", OpLinear, []Arg{y.arg(), g.arg(), up.arg()}, 1},
		{"Bt dy", OpLinearT, []Arg{z.arg(), x.arg(), up.arg()}, 0},
		{"At dg", OpLinearT, []Arg{y.arg(), g.arg(), down.arg()}, 1},
		{"dA", OpOuter, []Arg{dw.arg(), x.arg(), g.arg()}, 1},
		{"dB", OpOuter, []Arg{dwT.arg(), g.arg(), x.arg()}, 1},
	} {
		b.Run(c.name, func(b *testing.B) {
			call := &Call{Op: c.op, NArgs: int32(len(c.args)), F: [8]float64{1}, I: [8]int64{c.acc}}
			copy(call.A[:], c.args)
			for b.Loop() {
				if err := Run(call, 1); err != nil {
					b.Fatal(err)
				}
			}
			reportRate(b, 2*k*rank*t)
		})
	}
}

func BenchmarkPack(b *testing.B) {
	x := randomMatrix(rand.New(rand.NewPCG(1, 2)), 2048, 512)
	for b.Loop() {
		packed(b, x)
	}
	b.ReportMetric(float64(b.N)*2048*512/b.Elapsed().Seconds()/1e9, "Gnumber/s")
}

func reportRate(b *testing.B, flop float64) {
	b.ReportMetric(flop*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOP/s")
}
