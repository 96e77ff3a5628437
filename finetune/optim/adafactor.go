package optim

import (
	"errors"
	"math"

	"github.com/ggtune/ggtune/engine"
	"github.com/ggtune/ggtune/engine/backend"
	"github.com/ggtune/ggtune/engine/graph"
	"github.com/ggtune/ggtune/finetune/checkpoint"
	"github.com/ggtune/ggtune/internal/setting"
)

// The decay of Adafactor's means after t updates is 1 − t^−adafactorDecay, and its updates are at most adafactorClip
// in the root mean square: the paper's numbers (Shazeer and Stern 2018, sections 6 and 7.2), which nobody changes.
const (
	adafactorDecay = 0.8
	adafactorClip  = 1
)

// Adafactor keeps of a matrix's second moments the means of rows and of columns (Shazeer and Stern 2018, algorithm 4),
// as transformers' Adafactor computes it with a given learning rate (scale_parameter and relative_step off):
//
//	R ← β·R + (1−β)·mean_i(g² + ε)        C ← β·C + (1−β)·mean_r(g² + ε)        β = 1 − t^−0.8
//	u = g / √(R/mean(R)·C)                 θ ← θ − η·λ·θ − η·u / max(1, RMS(u))
//
// A vector keeps every second moment. λ applies to parameters with Decay.
var Adafactor = registerOptimizer(&Optimizer{
	Name:  "adafactor",
	Doc:   "second moments by row and column (Shazeer and Stern 2018); next to no memory",
	Reads: []setting.Use{weightDecay.Use(), eps.At(1e-30)},
	StateBytes: func(params []*engine.Param) (sum int64) {
		for _, p := range params {
			s := matrixOf(p)
			sum += 4 * (s[0] + s[1])
		}
		return sum
	},
	Rate:  1,
	start: startAdafactor,
})

type adafactor struct {
	updater[graph.AdafactorConstants]
	rows, columns []backend.Floats
}

// matrixOf is a parameter's shape, of a vector that of one row.
func matrixOf(p *engine.Param) graph.Shape {
	if len(p.Shape) < 2 {
		return graph.Matrix(p.Len(), 1)
	}
	return graph.Matrix(p.Shape[0], p.Len()/p.Shape[0])
}

func startAdafactor(params []*engine.Param, s setting.Values, o Options) (rule, error) {
	a := &adafactor{}
	return a, a.start(params, s, o, a.add)
}

func (a *adafactor) add(_ int, p *engine.Param, k graph.ID) error {
	shape := matrixOf(p)
	rows, errR := a.floats(shape[1])
	columns, errC := a.floats(shape[0])
	if err := errors.Join(errR, errC); err != nil {
		return err
	}
	a.rows, a.columns = append(a.rows, rows), append(a.columns, columns)
	a.give(p, a.graph.Adafactor(a.master(p, 0, shape),
		a.part(graph.State, rows, 0, graph.Matrix(1, shape[1])),
		a.part(graph.State, columns, 0, graph.Matrix(shape[0], 1)),
		a.part(graph.Input, p.Grad, 0, shape), k))
	return nil
}

func (a *adafactor) Update(lr, scale float64) error {
	return a.update(lr, func(_ *engine.Param, rate, keep float64) graph.AdafactorConstants {
		return graph.AdafactorConstants{Scale: scale, Decay: 1 - math.Pow(float64(a.t), -adafactorDecay),
			Eps: a.set.Of(eps), Keep: keep, Rate: rate, Clip: adafactorClip}
	})
}

func (a *adafactor) State() (out []checkpoint.Tensor) {
	for i, p := range a.params {
		out = append(out, checkpoint.DeviceFloats(p.Name+".adafactor_rows", a.rows[i]),
			checkpoint.DeviceFloats(p.Name+".adafactor_columns", a.columns[i]))
	}
	return out
}
