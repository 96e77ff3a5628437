package method

import (
	"errors"
	"fmt"

	"github.com/ggtune/ggtune/internal/setting"
)

// Nested is the method over the first numbers of vectors as well, so that they can be cut (Kusupati et al. 2022,
// "Matryoshka Representation Learning", equation 1, with weights of 1): the sum of its losses over the first d numbers
// of each vector, for each d of widths. The figures are those of the first width, and each width's own loss, loss_d.
// The reference's vectors are not cut.
func (m *Method) Nested(widths []int) (*Method, error) {
	if !m.Need.Pools() {
		return nil, fmt.Errorf("--matryoshka is for methods that learn from vectors of texts, and %s does not", m.Name)
	}
	if len(widths) == 0 {
		return nil, errors.New("--matryoshka names no width")
	}
	for i, d := range widths {
		if d < 1 || i > 0 && d >= widths[i-1] {
			return nil, fmt.Errorf("--matryoshka %d: expected widths of at least 1, each below the one before", d)
		}
	}
	c := *m
	c.Loss = func(in *Inputs, s setting.Values) (Result, error) {
		if widths[0] > in.Width {
			return Result{}, fmt.Errorf("--matryoshka %d: the model's vectors have %d numbers", widths[0], in.Width)
		}
		sum := Result{GradPooled: make([]float64, len(in.Pooled)), GradOwn: make([]float64, len(in.Own))}
		var own []Metric
		for i, d := range widths {
			r, err := m.Loss(in.first(d), s)
			if err != nil {
				return Result{}, err
			}
			sum.Sum, sum.Units = sum.Sum+r.Sum, r.Units
			for k := range in.Sequences {
				for j, g := range r.GradPooled[k*d : (k+1)*d] {
					sum.GradPooled[k*in.Width+j] += g
				}
			}
			for k, g := range r.GradOwn {
				sum.GradOwn[k] += g
			}
			if i == 0 {
				sum.Metrics = r.Metrics
			}
			own = append(own, Metric{fmt.Sprintf("loss_%d", d), r.Sum, r.Units})
		}
		sum.Metrics = append(sum.Metrics, own...)
		return sum, nil
	}
	return &c, nil
}

// first is the inputs with the first width numbers of each vector.
func (in *Inputs) first(width int) *Inputs {
	out := *in
	out.Width, out.Pooled = width, make([]float64, 0, width*len(in.Sequences))
	for k := range in.Sequences {
		out.Pooled = append(out.Pooled, in.Pooled[k*in.Width:k*in.Width+width]...)
	}
	return &out
}
