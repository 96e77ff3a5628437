// Package allot decides which storage type each tensor of a model gets under a size: it measures how much errors of
// each matrix change the model's predictions, and how large the errors of each type are. It writes nothing.
//
//	Measure:  sensitivities   one backward pass over a text, with probes beside the matrices of the layers; they
//	                          are an importance matrix too
//	          rounding        the weighted squared error of each matrix in each type (quant.Rounding)
//	          scale           the divergence of predictions measured with some matrices in a smaller type
//	Choose:   quant.Fit       the cheapest types that fit, for as many sizes as are wanted
package allot

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/ggtune/ggtune/bindings/ggml"
	"github.com/ggtune/ggtune/engine"
	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/finetune/encode"
	"github.com/ggtune/ggtune/finetune/eval"
	"github.com/ggtune/ggtune/finetune/report"
	"github.com/ggtune/ggtune/quant"
	"github.com/ggtune/ggtune/quant/mix"
)

// A Config says what is measured.
type Config struct {
	Model *engine.Model
	Sets  []engine.Set // applied to it: the adapters that are merged
	// Rows are the weights that will be written, in the order of the model's file; nil: its own.
	Rows quant.Rows
	// Choice says which types are given, by role, and how tensors are rounded; its mix is not asked. Without an
	// importance matrix, tensors are rounded by the one that is found with the sensitivities.
	Choice  quant.Choice
	Items   []encode.Item // a text: some thousand counted tokens
	Budgets []Budget      // that will be asked for: what nothing fits in is refused before anything is measured
	Threads int
}

// A Measured model is one whose tensors' types can be chosen.
type Measured struct {
	file    *gguf.File
	choice  quant.Choice
	matters []matrix
	rest    int64 // bytes of tensors that nothing is chosen for
	weights int64 // in all tensors
}

// A matrix is a tensor that a type is chosen for.
type matrix struct {
	index        int // in the file
	place        mix.Place
	alternatives []quant.Alternative
}

// measuring is Measure at work.
type measuring struct {
	Config
	rep report.Reporter
	// reference computes what the untouched model predicts.
	reference *engine.Session
	file      *gguf.File
	matrices  []matrix
	weigh     map[string]quant.Weighting // of matrices of the layers
}

// Measure measures what each type would do to each tensor. On cancel it returns context.Cause(ctx).
func Measure(ctx context.Context, cfg Config, rep report.Reporter) (_ *Measured, err error) {
	m := &measuring{Config: cfg, rep: rep, file: cfg.Model.File()}
	if m.Rows == nil {
		m.Rows = quant.FileRows(m.file)
	}
	m.Items = eval.Spread(m.Items, enough)
	if tokens(m.Items) == 0 {
		return nil, errors.New("no token of the text counts: there is nothing to measure on; give a longer text")
	}
	out := &Measured{file: m.file}
	if err := m.list(out); err != nil {
		return nil, err
	}
	out.matters = m.matrices
	for _, b := range cfg.Budgets {
		if _, _, err := out.Choose(b); err != nil {
			return nil, err
		}
	}
	if m.reference, err = m.session(m.Model); err != nil {
		return nil, err
	}
	defer func() { err = closing(err, m.reference) }()
	if err := m.forecast(ctx); err != nil {
		return nil, err
	}
	if m.weigh, err = m.sensitivities(ctx); err != nil {
		return nil, err
	}
	if m.Choice.Importance == nil {
		m.Choice.Importance = importance(m.weigh)
	}
	if err := m.round(ctx); err != nil {
		return nil, err
	}
	if err := m.scale(ctx); err != nil {
		return nil, err
	}
	out.matters, out.choice = m.matrices, m.Choice
	return out, nil
}

// enough is how many counted tokens of a text sensitivities are measured on.
const enough = 4096

// list finds the matrices to choose types for, with the types they may have.
func (m *measuring) list(out *Measured) error {
	model, err := mix.ModelOf(m.file)
	if err != nil {
		return err
	}
	places := mix.Places(m.file.Tensors, model)
	for i := range m.file.Tensors {
		t := &m.file.Tensors[i]
		out.weights += t.Elements()
		if places[i].Kept || t.Type == gguf.F64 || t.Type.IsInt() {
			out.rest += t.Size
			continue
		}
		x := matrix{index: i, place: places[i]}
		if x.alternatives, err = m.alternatives(&x); err != nil {
			return err
		}
		if len(x.alternatives) > 1 {
			if err := m.Choice.AllowsFrom(m.file, t); err != nil {
				return err
			}
		}
		m.matrices = append(m.matrices, x)
	}
	return nil
}

// candidates are the types that are chosen among, those that llama.cpp computes quickly on a CPU. Of codebook types
// only the two of 4 bits are.
var candidates = []gguf.Type{gguf.Q2_K, gguf.Q3_K, gguf.IQ4_XS, gguf.IQ4_NL, gguf.Q4_K, gguf.Q4_1, gguf.Q5_K, gguf.Q5_0,
	gguf.Q5_1, gguf.Q6_K, gguf.Q8_0}

// alternatives lists the types that a matrix may have: its own, those whose blocks fill its rows and that are smaller,
// or any such if its numbers are changed; or the one that is given by its role.
func (m *measuring) alternatives(x *matrix) ([]quant.Alternative, error) {
	t := &m.file.Tensors[x.index]
	own := quant.Alternative{Type: t.Type, Bytes: t.Size}
	types := candidates
	if given, ok := m.Choice.Types[x.place.Role]; ok {
		types, own = []gguf.Type{mix.Fit(given, t.Shape[0])}, quant.Alternative{}
	} else if t.Type == gguf.F32 {
		types = slices.Concat(types, []gguf.Type{gguf.F16})
	}
	var out []quant.Alternative
	for _, to := range types {
		if t.Shape[0]%int64(to.BlockSize()) != 0 {
			continue
		}
		size, err := to.Size(t.Shape)
		if err != nil {
			return nil, fmt.Errorf("%s: tensor %q as %s %w", m.file.Path(), t.Name, to, err)
		}
		// What is changed may lose less in a larger type.
		if own.Bytes == 0 || size < own.Bytes || to != own.Type && !m.Rows.Unchanged(x.index) {
			out = append(out, quant.Alternative{Type: to, Bytes: size})
		}
	}
	if own.Bytes > 0 && ggml.Type(own.Type).Quantizes() {
		out = append(out, own)
	}
	return out, nil
}

// round finds the errors of each type.
func (m *measuring) round(ctx context.Context) error {
	for k := range m.matrices {
		if err := m.roundOne(ctx, &m.matrices[k]); err != nil {
			return err
		}
		m.rep.Report(report.Progress{What: "rounding errors", Done: k + 1, Total: len(m.matrices)})
	}
	return nil
}

func (m *measuring) roundOne(ctx context.Context, x *matrix) error {
	t := &m.file.Tensors[x.index]
	var types []gguf.Type
	for _, a := range x.alternatives {
		types = append(types, a.Type)
	}
	costs, err := quant.Rounding(ctx, m.file, m.Rows, x.index, types, m.Choice.Importance, m.weigh[t.Name], m.Threads)
	if err != nil {
		return err
	}
	for j := range costs {
		a := &x.alternatives[j]
		if a.Cost = costs[j]; a.Type == t.Type && m.Rows.Unchanged(x.index) {
			a.Cost = 0
		}
	}
	return nil
}

// A Budget is what a model's tensors may take.
type Budget struct {
	Name  string  // as it was given: "4.5bpw", "3GB"
	BPW   float64 // bits a weight, norms and biases and all; 0: Bytes say
	Bytes int64   // of the file
}

// bytes is what is left for tensors.
func (m *Measured) bytes(b Budget) (int64, error) {
	if b.BPW > 0 {
		return int64(b.BPW * float64(m.weights) / 8), nil
	}
	p, err := quant.Keep(m.file)
	if err != nil {
		return 0, err
	}
	file, err := p.FileBytes()
	if err != nil {
		return 0, err
	}
	tensors, _ := p.Bytes()
	const padding = 32 // behind each tensor, at most, whatever its type
	return b.Bytes - (file - tensors) - padding*int64(len(p.Changes)), nil
}

// Choose gives a choice by which the model's tensors fit a budget, and the KL divergence from the model's predictions
// that is expected of it, in nats. The model must still be open.
func (m *Measured) Choose(b Budget) (quant.Choice, float64, error) {
	budget, err := m.bytes(b)
	if err != nil {
		return quant.Choice{}, 0, err
	}
	alternatives := make([][]quant.Alternative, len(m.matters))
	for k := range m.matters {
		alternatives[k] = m.matters[k].alternatives
	}
	chosen, err := quant.Fit(alternatives, budget-m.rest)
	if err != nil {
		smallest := m.rest
		for _, all := range alternatives {
			smallest += slices.MinFunc(all, func(a, b quant.Alternative) int { return int(a.Bytes - b.Bytes) }).Bytes
		}
		return quant.Choice{}, 0, fmt.Errorf("%s: %s is %w: with the smallest types its tensors take %d bytes, "+
			"%.2f bits a weight", m.file.Path(), b.Name, quant.ErrBudget, smallest,
			8*float64(smallest)/float64(m.weights))
	}
	out, cost := m.choice, 0.0
	out.Tensors = map[string]gguf.Type{}
	weights := map[gguf.Type]int64{}
	most := gguf.F16
	for k, j := range chosen {
		a, t := alternatives[k][j], &m.file.Tensors[m.matters[k].index]
		out.Tensors[t.Name] = a.Type
		cost += a.Cost
		if weights[a.Type] += t.Elements(); weights[a.Type] > weights[most] {
			most = a.Type
		}
	}
	out.Mix = mix.Single(most)
	out.Mix.Name = b.Name
	return out, cost, nil
}

// frozen are sets that nothing is trained in.
func frozen(sets []engine.Set) []engine.Set {
	out := slices.Clone(sets)
	for i := range out {
		out[i].Frozen = true
	}
	return out
}

func closing(err error, c io.Closer) error { return errors.Join(err, c.Close()) }
