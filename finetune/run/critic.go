package run

import (
	"context"
	"slices"

	"github.com/ggtune/ggtune/engine"
	"github.com/ggtune/ggtune/finetune"
	"github.com/ggtune/ggtune/finetune/config"
)

// A critic is an engine whose values are those of a set apart, which is trained beside the policy: what an answer is
// worth is learned without moving what writes it. A pass that asks for both is two, of the policy and of the critic,
// and the way back of the critic reads its rows anew.
type critic struct {
	*engine.Session
	batch  *engine.Batch // of the pass before, where it goes back and has values
	opt    engine.Options
	values bool
}

// Forward implements finetune.Engine.
func (c *critic) Forward(ctx context.Context, b *engine.Batch, o engine.Options) (engine.Outputs, error) {
	c.values = slices.Contains(o.Want, engine.Value)
	if !c.values {
		return c.Session.Forward(ctx, b, o)
	}
	c.batch = b
	c.opt = o
	c.opt.Want, c.opt.Apply = []*engine.Output{engine.Value}, engine.Only(config.ValueSet)
	seen := c.opt
	seen.Backward = false
	values, err := c.Session.Forward(ctx, b, seen)
	if err != nil {
		return nil, err
	}
	o.Want = slices.DeleteFunc(slices.Clone(o.Want), func(w *engine.Output) bool { return w == engine.Value })
	out, err := c.Session.Forward(ctx, b, o)
	if err == nil {
		out[engine.Value] = values[engine.Value]
	}
	return out, err
}

// Backward implements finetune.Engine.
func (c *critic) Backward(ctx context.Context, g engine.Outputs, ready func(*engine.Param) error) error {
	if !c.values {
		return c.Session.Backward(ctx, g, ready)
	}
	policy := engine.Outputs{}
	for o, x := range g {
		if o != engine.Value {
			policy[o] = x
		}
	}
	if err := c.Session.Backward(ctx, policy, ready); err != nil {
		return err
	}
	if _, err := c.Session.Forward(ctx, c.batch, c.opt); err != nil {
		return err
	}
	return c.Session.Backward(ctx, engine.Outputs{engine.Value: g[engine.Value]}, ready)
}

// engine is what the loop trains.
func (r *run) engine() finetune.Engine {
	if r.cfg.OwnValues() {
		return &critic{Session: r.sess}
	}
	return r.sess
}
