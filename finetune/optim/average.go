package optim

import (
	"errors"

	"github.com/ggtune/ggtune/engine"
	"github.com/ggtune/ggtune/engine/backend"
	"github.com/ggtune/ggtune/engine/graph"
	"github.com/ggtune/ggtune/finetune/checkpoint"
)

// An average is the exponential moving average of parameters beside an optimizer: after update t
//
//	a ← a + (1−d)·(θ − a)        d = min(decay, (1+t)/(10+t))
//
// The second bound is the usual warm-up (TensorFlow's ExponentialMovingAverage, timm, diffusers): what training began
// with, which a starts as, is soon forgotten however large the decay is.
type average struct {
	*computation
	decay     float64
	params    []*engine.Param
	values    []backend.Floats
	constants constants[graph.AverageConstants]
	t         int // updates done
}

// AverageName is the name under which a checkpoint keeps a parameter's average.
func AverageName(param string) string { return param + ".ema" }

// newAverage begins one of F32 parameters, as they are.
func newAverage(params []*engine.Param, decay float64) (a *average, err error) {
	a = &average{computation: newComputation(params), decay: decay, params: params}
	defer func() {
		if err != nil {
			a.close()
		}
	}()
	one := min(len(params), 1)
	if a.constants, err = newConstants[graph.AverageConstants](a.computation, graph.F64, one); err != nil {
		return a, err
	}
	k := graph.None
	for i, p := range params {
		if i == 0 {
			k = a.constants.bind(0)
		}
		f, err := a.floats(p.Len())
		if err != nil {
			return a, err
		}
		if p.Value.Type != graph.F32 {
			return a, errors.New("averages of BF16 parameters are not kept")
		}
		a.values = append(a.values, f)
		eachPart(p.Len(), updated, func(from int64, shape graph.Shape) {
			a.give(p, a.graph.Average(a.part(graph.State, f, from, shape), a.part(graph.Input, p.Value, from, shape),
				k))
		})
	}
	return a, errors.Join(a.compile(), a.pieces(func(value, average backend.Floats) error {
		all, err := value.All()
		if err != nil {
			return err
		}
		return average.Upload(all, 0)
	}))
}

func (a *average) update(lr float64) error {
	a.t++
	if len(a.params) == 0 {
		return nil
	}
	t := float64(a.t)
	a.constants.set(0, graph.AverageConstants{Share: 1 - min(a.decay, (1+t)/(10+t))})
	if err := a.constants.upload(); err != nil {
		return err
	}
	return a.finite(a.t, lr)
}

// swapped is how many numbers are exchanged at a time.
const swapped = 1 << 18

// pieces calls do for some of a parameter's numbers and their averages at a time.
func (a *average) pieces(do func(value, average backend.Floats) error) error {
	for i, p := range a.params {
		for at := int64(0); at < p.Len(); at += swapped {
			n := min(swapped, p.Len()-at)
			if err := do(p.Value.Part(at, n), a.values[i].Part(at, n)); err != nil {
				return err
			}
		}
	}
	return nil
}

// swap exchanges parameters and averages.
func (a *average) swap() error {
	if err := a.open(); err != nil {
		return err
	}
	return a.pieces(func(value, average backend.Floats) error {
		x, errX := value.All()
		y, errY := average.All()
		if err := errors.Join(errX, errY); err != nil {
			return err
		}
		return errors.Join(value.Upload(y, 0), average.Upload(x, 0))
	})
}

func (a *average) state() (out []checkpoint.Tensor) {
	for i, p := range a.params {
		out = append(out, checkpoint.DeviceFloats(AverageName(p.Name), a.values[i]))
	}
	return out
}
