package kernels

import (
	"fmt"
	"math/rand/v2"
	"syscall"
	"testing"
)

// benchTypes are the storage types whose speed matters most.
var benchTypes = []Type{q8, q4, q4k, q6k, q5, F16, BF16, F32}

// BenchmarkLinear measures y = W x and dx = Wᵀ dy on one thread, activations packed.
func BenchmarkLinear(b *testing.B) {
	const k, n, t = 2048, 1024, 512
	r := rand.New(rand.NewPCG(1, 2))
	for _, typ := range benchTypes {
		w := randomWeights(r, typ, k, n)
		for _, op := range []Kernel[LinearConstants]{OpLinear, OpLinearT} {
			in, out := k, n
			if op == OpLinearT {
				in, out = n, k
			}
			x := randomMatrix(r, in, t)
			y := newMatrix(out, t)
			b.Run(fmt.Sprintf("%s/%s", w.name(),
				map[Kernel[LinearConstants]]string{OpLinear: "forward", OpLinearT: "backward"}[op]),
				func(b *testing.B) {
					call := op.Call(LinearConstants{Scale: 1}, y.arg(), packed(b, x).arg(), w.arg())
					measure(b, 2*k*n*t, &call)
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
	plain, acc := LinearConstants{Scale: 1}, LinearConstants{Scale: 1, Acc: true}
	outer, fast := OuterConstants{Scale: 1, Acc: true}, OuterConstants{Scale: 1, Acc: true, Fast: true}
	for _, c := range []struct {
		name string
		call Call
	}{
		{"A x", OpLinear.Call(plain, z.arg(), x.arg(), down.arg())},
		{"B g", OpLinear.Call(acc, y.arg(), g.arg(), up.arg())},
		{"Bt dy", OpLinearT.Call(plain, z.arg(), x.arg(), up.arg())},
		{"At dg", OpLinearT.Call(acc, y.arg(), g.arg(), down.arg())},
		{"dA", OpOuter.Call(outer, dw.arg(), x.arg(), g.arg())},
		{"dB", OpOuter.Call(outer, dwT.arg(), g.arg(), x.arg())},
		{"dA/fast", OpOuter.Call(fast, dw.arg(), x.arg(), g.arg())},
		{"dB/fast", OpOuter.Call(fast, dwT.arg(), g.arg(), x.arg())},
		{"A x/packed", OpLinear.Call(plain, z.arg(), packed(b, x).arg(), down.arg())},
		{"Bt dy/packed", OpLinearT.Call(plain, z.arg(), packed(b, x).arg(), up.arg())},
	} {
		b.Run(c.name, func(b *testing.B) { measure(b, 2*k*rank*t, &c.call) })
	}
}

// BenchmarkPair measures a layer with its adapter's second product in the same pass; compare BenchmarkLinear and "B g".
func BenchmarkPair(b *testing.B) {
	const k, n, t, rank = 2048, 2048, 512, 16
	r := rand.New(rand.NewPCG(1, 2))
	w, up, x, g, y := randomWeights(r, q8, k, n), randomWeights(r, F32, rank, n), randomMatrix(r, k, t),
		randomMatrix(r, rank, t), newMatrix(n, t)
	call := OpLinear.Call(LinearConstants{Scale: 1, Scale2: 2}, y.arg(), packed(b, x).arg(), w.arg(), Arg{}, Arg{},
		Arg{})
	b.Run("without", func(b *testing.B) { measure(b, 2*k*n*t, &call) })
	call.A[4], call.A[5] = g.arg(), up.arg()
	b.Run("with", func(b *testing.B) { measure(b, 2*k*n*t, &call) })
}

// BenchmarkOuter measures the gradient of a whole matrix, as full-parameter training needs it.
func BenchmarkOuter(b *testing.B) {
	const k, n, t = 1024, 1024, 512
	r := rand.New(rand.NewPCG(1, 2))
	for _, name := range []string{"exact", "fast"} {
		b.Run(name, func(b *testing.B) {
			call := callOf(OpOuter, OuterConstants{Scale: 1, Acc: true, Fast: name == "fast"}, newMatrix(k, n),
				randomMatrix(r, k, t),
				randomMatrix(r, n, t))
			measure(b, 2*k*n*t, call)
		})
	}
}

// BenchmarkHead measures the output head over 8192 rows of a vocabulary, on one thread: logits alone, and with mean
// rows.
func BenchmarkHead(b *testing.B) {
	const k, v, c = 2048, 8192, 256
	r := rand.New(rand.NewPCG(1, 2))
	for _, typ := range []Type{q8, q6k} {
		d := newHead(r, typ, k, v, c, 0, 2)
		logp, lse, e := newMatrix(c, 1), newMatrix(c, 1), newMatrix(k, c)
		scratch := newMatrix(int(HeadScratchBytes(k, 0, v, c, 1, true, false))/4, 1)
		for _, passes := range []int{1, 2} {
			b.Run(fmt.Sprintf("%s/passes=%d", d.w.name(), passes), func(b *testing.B) {
				call := OpHead.Call(HeadConstants{Scale: 1}, logp.arg(), lse.arg(), Arg{}, d.h.arg(), d.w.arg(),
					ints(d.targets, c), Arg{}, Arg{}, Arg{},
					scratch.arg())
				if passes == 2 {
					call.A[2] = e.arg()
				}
				merge := call
				merge.Op = OpHeadMerge.Op
				measure(b, float64(passes)*2*k*v*c, &call, &merge)
			})
		}
	}
}

func BenchmarkPack(b *testing.B) {
	x := randomMatrix(rand.New(rand.NewPCG(1, 2)), 2048, 512)
	call := OpPack.Call(None{}, packed(b, x).arg(), x.arg())
	measure(b, 2048*512, &call) // one "operation" a number
}

// cpuSeconds returns the processor time this process has used: benchmarks here are of one thread, and on a busy machine
// its time says more than the clock's.
func cpuSeconds() float64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9
}

// measure runs the calls b.N times on one thread and reports the rate of flop operations each time.
func measure(b *testing.B, flop float64, calls ...*Call) {
	run := func() {
		for _, c := range calls {
			if err := runCall(c, 1); err != nil {
				b.Fatal(err)
			}
		}
	}
	run()
	from, n := cpuSeconds(), 0
	for b.Loop() {
		run()
		n++
	}
	b.ReportMetric(flop*float64(n)/(cpuSeconds()-from)/1e9, "GFLOP/cpu-s")
}
