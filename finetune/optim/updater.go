package optim

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/ggtune/ggtune/engine"
	"github.com/ggtune/ggtune/engine/backend"
	"github.com/ggtune/ggtune/engine/graph"
	"github.com/ggtune/ggtune/finetune/checkpoint"
	"github.com/ggtune/ggtune/internal/setting"
)

// An updater is what every rule begins with: the graph of an update of its parameters, which reads a K of each.
type updater[K any] struct {
	*computation
	set       setting.Values
	opts      Options
	params    []*engine.Param
	constants constants[K]
	keys      constants[masterKey]
	keyed     []keyed
	t         int // updates done
}

// A masterKey is what BF16 numbers are rounded by, as graph.Master reads it: what the draws depend on (seed, update,
// parameter), and the number of the first element of the parameter's part.
type masterKey struct{ Draws, First int64 }

// A keyed is one part of a BF16 parameter.
type keyed struct {
	param *engine.Param
	first int64
}

// start makes the graph: add adds parameter i to it, whose constants are k. On an error all is freed.
func (u *updater[K]) start(params []*engine.Param, s setting.Values, o Options,
	add func(i int, p *engine.Param, k graph.ID) error) (err error) {
	*u = updater[K]{computation: newComputation(params), set: s, opts: o, params: params}
	defer func() {
		if err != nil {
			u.close()
		}
	}()
	if u.constants, err = newConstants[K](u.computation, graph.F64, len(params)); err != nil {
		return err
	}
	parts := 0
	for _, p := range params {
		if p.Value.Type != graph.F32 {
			parts += 2 // eachPart's
		}
	}
	if u.keys, err = newConstants[masterKey](u.computation, graph.I64, parts); err != nil {
		return err
	}
	for i, p := range params {
		if err := add(i, p, u.constants.bind(i)); err != nil {
			return err
		}
	}
	return u.compile()
}

// master binds a part of a parameter's numbers.
func (u *updater[K]) master(p *engine.Param, from int64, shape graph.Shape) graph.Master {
	m := graph.Master{X: u.part(graph.State, p.Value, from, shape), Key: graph.None}
	if p.Value.Type != graph.F32 {
		m.Key = u.keys.bind(len(u.keyed))
		u.keyed = append(u.keyed, keyed{p, from})
	}
	return m
}

// moments allocates a moment of each of the parameters for every list.
func (u *updater[K]) moments(p *engine.Param, lists ...*[]backend.Floats) error {
	for _, l := range lists {
		f, err := u.floats(p.Len())
		if err != nil {
			return err
		}
		*l = append(*l, f)
	}
	return nil
}

// update runs the graph with each parameter's constants, made of its learning rate and of what weight decay leaves of
// it.
func (u *updater[K]) update(lr float64, of func(p *engine.Param, rate, keep float64) K) error {
	u.t++
	for i, p := range u.params {
		rate, keep := u.opts.rate(lr, p), 1.0
		if p.Decay {
			keep -= rate * u.set.Of(weightDecay)
		}
		u.constants.set(i, of(p, rate, keep))
	}
	for i, k := range u.keyed {
		u.keys.set(i, masterKey{draws(u.opts.Seed, u.t, k.param.Name), k.first})
	}
	if err := errors.Join(u.constants.upload(), u.keys.upload()); err != nil {
		return err
	}
	return u.finite(u.t, lr)
}

// draws is a number that differs by seed, update and parameter.
func draws(seed uint64, t int, name string) int64 {
	h := sha256.Sum256(fmt.Append(nil, seed, " ", t, " ", name))
	return int64(binary.LittleEndian.Uint64(h[:]))
}

// listed gives a list of moments as a checkpoint's tensors.
func (u *updater[K]) listed(name string, f []backend.Floats) (out []checkpoint.Tensor) {
	for i, p := range u.params {
		out = append(out, checkpoint.DeviceFloats(p.Name+"."+name, f[i]))
	}
	return out
}

func (u *updater[K]) SetUpdates(n int) { u.t = n }

// A both is two rules, each with parameters of its own.
type both struct{ one, two rule }

// split starts one rule on the parameters that it is for, and another on the rest.
func split(params []*engine.Param, s setting.Values, o Options, is func(p *engine.Param) bool,
	one, two func([]*engine.Param, setting.Values, Options) (rule, error)) (rule, error) {
	var its, rest []*engine.Param
	for _, p := range params {
		if is(p) {
			its = append(its, p)
		} else {
			rest = append(rest, p)
		}
	}
	r, err := one(its, s, o)
	if err != nil {
		return nil, err
	}
	b := both{one: r}
	if b.two, err = two(rest, s, o); err != nil {
		r.close()
		return nil, err
	}
	return b, nil
}

func (b both) Update(lr, scale float64) error {
	if err := b.one.Update(lr, scale); err != nil {
		return err
	}
	return b.two.Update(lr, scale)
}

func (b both) State() []checkpoint.Tensor { return append(b.one.State(), b.two.State()...) }

func (b both) SetUpdates(n int) {
	b.one.SetUpdates(n)
	b.two.SetUpdates(n)
}

func (b both) close() {
	b.one.close()
	b.two.close()
}
