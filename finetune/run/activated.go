package run

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/ggtune/ggtune/engine"
	"github.com/ggtune/ggtune/engine/adapter"
	"github.com/ggtune/ggtune/engine/arch"
	"github.com/ggtune/ggtune/engine/lowrank"
	"github.com/ggtune/ggtune/finetune/encode"
	"github.com/ggtune/ggtune/finetune/report"
	"github.com/ggtune/ggtune/internal/count"
)

// settledCosine is the cosine to what it was from which a component has settled: PEFT's EvaConfig.tau.
const settledCosine = 0.99

// A site is a matrix of a layer.
type site struct {
	layer int
	role  arch.Role
}

// An explained is EVA at work (Paischer et al. 2024, arXiv 2410.07170): A starts as the directions in which what the
// matrix is multiplied with varies most, at the tokens that count, on the run's first micro-batches. Ranks stay as they
// are (rho 1). Matrices with one input share its components.
type explained struct {
	pairs  map[site]*adapter.Pair
	of     map[site]site // whose components those of a site are
	found  map[site]*lowrank.Components
	open   map[site]bool // not settled
	picked []int         // tokens of the micro-batch that count
	last   site          // of the layer at hand: the one before, and what it was multiplied with
	input  []float32
}

// explain starts A from the inputs of the base on the training rows, of which it reads as many as it takes for all
// components to settle, at most all once.
func (s *setup) explain(ctx context.Context, rep report.Reporter) (err error) {
	e := &explained{pairs: map[site]*adapter.Pair{}, of: map[site]site{}, found: map[site]*lowrank.Components{},
		open: map[site]bool{}}
	a := s.start.Sets[0].Adapter.(*adapter.Adapter)
	for i := range a.Pairs {
		if p := &a.Pairs[i]; p.Layer >= 0 {
			e.pairs[site{p.Layer, p.Role}] = p
		}
	}
	sess, err := engine.NewSession(s.model, engine.SessionConfig{Threads: s.cfg.Threads, Exact: s.cfg.Exact})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, sess.Close()) }()
	source, micros := encode.NewStream(s.rows.TrainRows), s.rows.TrainRows.Micros()
	read := 0
	for ; read < micros && (read == 0 || len(e.open) > 0); read++ {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		m, err := source.Next(ctx)
		if err != nil {
			return err
		}
		e.pick(m)
		if _, err := sess.Forward(context.WithoutCancel(ctx), &m.Batch, engine.Options{Inputs: e.see}); err != nil {
			return err
		}
		rep.Report(report.Progress{What: "init", Done: read + 1, Total: micros})
	}
	rep.Report(report.Progress{What: "init", Done: micros, Total: micros})
	if err := e.fill(); err != nil {
		return err
	}
	s.note("--init eva: A starts as the directions in which inputs vary most, found in %s (%d of %s settled)",
		count.Of(read, "micro-batch"), len(e.found)-len(e.open), count.Of(len(e.found), "input"))
	if n := len(a.Pairs) - len(e.pairs); n > 0 {
		s.note("--init eva: %s outside the layers starts by chance", count.Of(n, "pair"))
	}
	return nil
}

// pick takes the tokens of a micro-batch that count.
func (e *explained) pick(m *encode.Micro) {
	e.picked = e.picked[:0]
	at := 0
	for _, row := range m.Batch.Rows {
		for _, t := range row.Counted {
			e.picked = append(e.picked, at+int(t))
		}
		at += len(row.Tokens)
	}
	e.last = site{layer: -1}
}

// see takes what a matrix was multiplied with into account.
func (e *explained) see(in engine.Input) error {
	il, role, x := in.Layer, in.Role, in.X
	at := site{il, role}
	p := e.pairs[at]
	if p == nil {
		return nil
	}
	if in.Starts != nil {
		return fmt.Errorf("--init eva: tensor %q: few tokens meet each of the experts, and the directions of all of "+
			"them are none's; start otherwise, or leave %s out of --targets", p.Tensor, role)
	}
	n := int(p.AShape[0])
	input := make([]float32, 0, len(e.picked)*n)
	for _, t := range e.picked {
		input = append(input, x[t*n:(t+1)*n]...)
	}
	if _, known := e.of[at]; !known {
		e.of[at] = at
		if e.last.layer == il && slices.Equal(input, e.input) {
			e.of[at] = e.of[e.last]
		}
	}
	e.last, e.input = at, input
	if e.of[at] != at {
		return nil
	}
	c := e.found[at]
	if c == nil {
		var err error
		if c, err = lowrank.NewComponents(int(p.Rank), n); err != nil {
			return fmt.Errorf("--init eva: tensor %q: %w; give a lower --rank", p.Tensor, err)
		}
		e.found[at], e.open[at] = c, true
	}
	if !e.open[at] {
		return nil
	}
	changed, _, err := c.Add(input)
	if err != nil {
		return fmt.Errorf("--init eva: the inputs of tensor %q: %w", p.Tensor, err)
	}
	if 1-changed >= settledCosine {
		delete(e.open, at)
	}
	return nil
}

// fill puts the components into the pairs.
func (e *explained) fill() error {
	for at, p := range e.pairs {
		c := e.found[e.of[at]]
		if c == nil || c.Vectors == nil {
			return fmt.Errorf("--init eva: no micro-batch has %s that count, as many as the rank, to find what tensor "+
				"%q is multiplied with; give a lower --rank, a larger --batch or longer rows (--seq-len, --packing)",
				count.Of(int(p.Rank), "token"), p.Tensor)
		}
		for i, v := range c.Vectors {
			p.A[i] = float32(v)
		}
	}
	return nil
}
