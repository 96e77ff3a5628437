package run

import (
	"slices"

	"github.com/ggtune/ggtune/engine"
	"github.com/ggtune/ggtune/engine/arch"
	"github.com/ggtune/ggtune/finetune"
	"github.com/ggtune/ggtune/finetune/method"
)

// An owned is what a method learns of its own: numbers each of which is a head of the session that no pass reads.
type owned struct {
	params []*engine.Param
	how    []method.Learned
}

// ownedOf finds a method's own numbers among a session's parameters.
func ownedOf(how *method.Method, sess *engine.Session) (o owned) {
	o.how = how.Learned
	for _, l := range o.how {
		name := arch.TensorName(arch.Role(l.Name), ".weight", -1)
		i := slices.IndexFunc(sess.Params(), func(p *engine.Param) bool { return p.Name == name })
		o.params = append(o.params, sess.Params()[i]) // config.Session has put it there
	}
	return o
}

// part is what the loop knows of them; nil of none.
func (o *owned) part() finetune.Own {
	if len(o.params) == 0 {
		return nil
	}
	return o
}

// Values implements finetune.Own; nil of none.
func (o *owned) Values() ([]float64, error) {
	var out []float64
	for _, p := range o.params {
		v, err := p.Value.All()
		if err != nil {
			return nil, err
		}
		out = append(out, float64(v[0]))
	}
	return out, nil
}

// AddGrad implements finetune.Own.
func (o *owned) AddGrad(g []float64) error {
	for i, p := range o.params {
		v, err := p.Grad.All()
		if err != nil {
			return err
		}
		v[0] += float32(g[i])
		if err := p.Grad.Upload(v, 0); err != nil {
			return err
		}
	}
	return nil
}

// bound cuts them to what they may be.
func (o *owned) bound() error {
	now, err := o.Values()
	if err != nil {
		return err
	}
	for i, x := range now {
		if most := o.how[i].Most; x > most {
			if err := o.params[i].Value.Upload([]float32{float32(most)}, 0); err != nil {
				return err
			}
		}
	}
	return nil
}

// said gives the values of the settings in whose place they stand, by name; nil of none.
func (o *owned) said() (map[string]float64, error) {
	now, err := o.Values()
	var out map[string]float64
	for i, x := range now {
		if out == nil {
			out = map[string]float64{}
		}
		out[o.how[i].Setting.Name] = o.how[i].Means(x)
	}
	return out, err
}
