package allot

import (
	"context"
	"fmt"
	"slices"

	"github.com/ggtune/ggtune/bindings/ggml"
	"github.com/ggtune/ggtune/engine"
	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/finetune/encode"
	"github.com/ggtune/ggtune/finetune/eval"
	"github.com/ggtune/ggtune/finetune/report"
	"github.com/ggtune/ggtune/quant"
)

// What a measurement of predictions takes at most.
const (
	// comparedTokens are enough for the ratio of two divergences.
	comparedTokens = 512
	// comparedFloats bounds the reference's logits, which are kept: 256 MB.
	comparedFloats = 1 << 26
	// groupBytes bounds the matrices of a group, quantized in memory.
	groupBytes = 1 << 28
)

// probeBits is the size of the types that are measured, in bits a weight: about what budgets are for.
const probeBits = 5

// A group is some matrices whose costs are brought to scale together, by the divergence of predictions that is measured
// with some of them in a smaller type.
type group struct {
	name     string
	matrices []*matrix
}

// scale brings costs to nats as they are measured: those of the layers by role, others each.
func (m *measuring) scale(ctx context.Context) error {
	before := remembered(eval.Predictor(m.reference, engine.Choice{}))
	items, groups := m.compared(), m.groups()
	for k, g := range groups {
		if err := m.scaleGroup(ctx, &g, before, items); err != nil {
			return err
		}
		m.rep.Report(report.Progress{What: "predictions", Done: k + 1, Total: len(groups)})
	}
	return nil
}

// compared are the items that predictions are compared on.
func (m *measuring) compared() []encode.Item {
	return eval.Spread(m.Items, min(comparedTokens, comparedFloats/m.Model.HParams().NVocab))
}

func (m *measuring) session(model *engine.Model) (*engine.Session, error) {
	return engine.NewSession(model, engine.SessionConfig{Threads: m.Threads, Exact: true, Sets: frozen(m.Sets)})
}

// groups lists those that there is a choice in.
func (m *measuring) groups() (out []group) {
	for k := range m.matrices {
		x := &m.matrices[k]
		if len(x.alternatives) < 2 {
			continue
		}
		name := m.file.Tensors[x.index].Name
		if _, ok := m.weigh[name]; ok {
			name = x.place.Role
		}
		i := slices.IndexFunc(out, func(g group) bool { return g.name == name })
		if i < 0 {
			i = len(out)
			out = append(out, group{name: name})
		}
		out[i].matrices = append(out[i].matrices, x)
	}
	return out
}

// remembered gives what a Predict gave, call by call, whenever the calls begin anew with the same row.
func remembered(p eval.Predict) func() eval.Predict {
	var kept [][]float32
	return func() eval.Predict {
		at := 0
		return func(ctx context.Context, row engine.Row) ([]float32, error) {
			if at == len(kept) {
				x, err := p(ctx, row)
				if err != nil {
					return nil, err
				}
				kept = append(kept, slices.Clone(x))
			}
			at++
			return kept[at-1], nil
		}
	}
}

// scaleGroup measures a group.
func (m *measuring) scaleGroup(ctx context.Context, g *group, reference func() eval.Predict,
	items []encode.Item) (err error) {
	arena := ggml.NewArena()
	defer func() { err = closing(err, arena) }()
	instead, expected, err := m.smaller(ctx, arena, g)
	switch _, weighed := m.weigh[m.file.Tensors[g.matrices[0].index].Name]; {
	case err != nil:
		return err
	case len(instead) == 0 && !weighed:
		return fmt.Errorf("%s: what types cost tensor %s cannot be measured, because it is in the smallest type "+
			"already; give its type with --tensor-type", m.file.Path(), g.name)
	case len(instead) == 0: // its costs are nats, if not as measured
		return nil
	}
	model, err := m.Model.With(instead)
	if err != nil {
		return err
	}
	s, err := m.session(model)
	if err != nil {
		return err
	}
	d, err := eval.Compare(ctx, reference(), []eval.Predict{eval.Predictor(s, engine.Choice{})},
		m.Model.HParams().NVocab, items, func(int) {})
	if err = closing(err, s); err != nil {
		return fmt.Errorf("measure what rounding %s does to predictions: %w", g.name, err)
	}
	factor := d.Models[0].KL / expected
	for _, x := range g.matrices {
		for j := range x.alternatives {
			x.alternatives[j].Cost *= factor
		}
	}
	return nil
}

// smaller rounds matrices of a group, evenly spread, to a smaller type, and gives what their costs add up to.
func (m *measuring) smaller(ctx context.Context, arena *ggml.Arena, g *group) (map[string]engine.Stored, float64,
	error) {
	bytes := int64(0)
	for _, x := range g.matrices {
		if a := m.probeType(x); a != nil {
			bytes += a.Bytes
		}
	}
	every := int(bytes/groupBytes) + 1
	out, expected := map[string]engine.Stored{}, 0.0
	for k := 0; k < len(g.matrices); k += every {
		x := g.matrices[k]
		a := m.probeType(x)
		if a == nil {
			continue
		}
		t := &m.file.Tensors[x.index]
		own := quant.FileRows(m.file)
		data, err := arena.Bytes(a.Bytes)
		if err != nil {
			return nil, 0, err
		}
		if err := quant.Tensor(ctx, m.file, own, x.index, a.Type, m.Choice.Importance, data, m.Threads); err != nil {
			return nil, 0, err
		}
		cost, err := quant.Rounding(ctx, m.file, own, x.index, []gguf.Type{a.Type}, m.Choice.Importance,
			m.weigh[t.Name], m.Threads)
		if err != nil {
			return nil, 0, err
		}
		out[t.Name] = engine.Stored{Type: a.Type, Data: data}
		expected += cost[0]
	}
	return out, expected, nil
}

// probeType is the largest of a matrix's alternatives that is not above probeBits and smaller than what it is; nil if
// there is none.
func (m *measuring) probeType(x *matrix) (out *quant.Alternative) {
	t := &m.file.Tensors[x.index]
	for j := range x.alternatives {
		a := &x.alternatives[j]
		if a.Bytes < t.Size && 8*a.Bytes <= probeBits*t.Elements() && (out == nil || a.Bytes > out.Bytes) {
			out = a
		}
	}
	return out
}
