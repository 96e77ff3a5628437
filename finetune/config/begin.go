package config

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"slices"

	"github.com/ggtune/ggtune/engine"
	"github.com/ggtune/ggtune/engine/adapter"
	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/quant"
)

// startSet names the set, frozen, that takes away what an adapter starts with.
const startSet = "start"

// derives says whether what an adapter starts with follows from weights.
func (c *Config) derives() bool { return !c.Whole() && slices.Contains(adapter.Derived(), c.Init) }

// Explains says whether A starts from what the base computes on the training rows.
func (c *Config) Explains() bool { return !c.Whole() && c.InitAdapter == "" && c.Init == adapter.EVA }

// StartBytes is the memory that working out how an adapter starts takes, before anything is trained: of Begin, or of
// components beside a pass over the base.
func (c *Config) StartBytes(sc engine.SessionConfig) int64 {
	switch {
	case c.Explains():
		return sc.Sets[0].Adapter.(*adapter.Adapter).ExplainBytes(c.Batch * c.SeqLen)
	case c.derives():
		return sc.Sets[0].Adapter.(*adapter.Adapter).DeriveBytes(c.Init)
	}
	return 0
}

// Begun is Begin for a run that goes on from a checkpoint, without its work: what is trained is there, and what is
// taken away is in the adapter that lies beside it, in file. ok is false where Begin is needed: nothing is filled
// then.
func (c *Config) Begun(m *engine.Model, sc engine.SessionConfig, file string) (ok bool, err error) {
	if !c.derives() || !adapter.Subtracts(c.Init) {
		return true, nil
	}
	left, err := adapter.Load(file, m.Net())
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil // of a version that wrote none
	}
	if err != nil {
		return false, err
	}
	sc.Sets[1].Adapter, err = sc.Sets[0].Adapter.(*adapter.Adapter).Begun(left)
	if err != nil {
		return false, fmt.Errorf("%s is not of the checkpoint that it lies beside: %w; remove it, to have what the "+
			"run began with computed again", file, err)
	}
	return true, nil
}

// Begin fills what an adapter starts with that is derived from weights (Init, DoRA's magnitudes), in the memory of what
// Session gave. The notes say what that bought and how the adapter leaves. It reads each adapted tensor whole.
func (c *Config) Begin(ctx context.Context, m *engine.Model, sc engine.SessionConfig,
	done adapter.Progress) (notes []string, err error) {
	if c.Whole() {
		return nil, nil
	}
	a := sc.Sets[0].Adapter.(*adapter.Adapter)
	if a.Kind == adapter.DoRA {
		w := newWeights(m)
		norms := func(tensor string) ([]float32, error) { return w.norms(ctx, tensor) }
		if err := a.Magnitudes(norms, c.InitAdapter == "", done); err != nil {
			return nil, err
		}
	}
	notes = c.leaves(a)
	if !c.derives() {
		return notes, nil
	}
	more, err := c.begin(ctx, m, sc, a, done)
	return append(notes, more...), err
}

// leaves says how an adapter leaves that is no LoRA in training; nil for one that is.
func (c *Config) leaves(a *adapter.Adapter) []string {
	switch a.Kind {
	case adapter.LoRAFA:
		return []string{"--tune lora-fa: A stays as it begins, and the adapter leaves as a LoRA"}
	case adapter.VeRA:
		notes := []string{fmt.Sprintf("--tune vera: the adapter leaves as a LoRA of rank %d, which takes %.3g MB; "+
			"what is trained of it is in the checkpoints", c.Rank, 4*float64(a.Size())/1e6)}
		if c.Rank < usualVera {
			notes = append(notes, fmt.Sprintf("--rank %d is low for vera, whose matrices are random: %d and more "+
				"are usual", c.Rank, usualVera))
		}
		return notes
	case adapter.DoRA:
		return []string{"--tune dora: llama.cpp has no place for magnitudes: the result is a model with the adapter " +
			"merged into it, whose quantized types are rounded anew, and an adapter that only ggtune reads"}
	case adapter.IA3:
		return []string{"--tune ia3: llama.cpp has no place for the vectors: the result is a model with them merged " +
			"into it, in quantized types that keep an F16 scale as part of the scales, which loses nothing but their " +
			"rounding, and an adapter that only ggtune reads"}
	}
	return nil
}

// usualVera is VeRA's rank in its paper (Kopiczko et al. 2024, tables 7 and 8: 256 to 1024).
const usualVera = 256

// begin is Begin for the starts of Init.
func (c *Config) begin(ctx context.Context, m *engine.Model, sc engine.SessionConfig, a *adapter.Adapter,
	done adapter.Progress) (notes []string, err error) {
	w := newWeights(m)
	if c.Init == adapter.LoftQ {
		from, err := gguf.Open(c.From)
		if err != nil {
			return nil, err
		}
		defer from.Close()
		if w.index, err = quant.Original(w.base, from); err != nil {
			return nil, err
		}
		w.original = quant.FileRows(from)
	}
	lost, err := a.Derive(ctx, c.Init, w.read, done)
	if err != nil {
		return nil, fmt.Errorf("--init %s: %w", c.Init, err)
	}
	if c.Init == adapter.LoftQ {
		if w.off == 0 {
			return nil, &Error{fmt.Errorf("--init %s: %s has the same weights as the base in every tensor that is "+
				"adapted: there is nothing to make up for; leave --init and --from out", c.Init, c.From)}
		}
		return []string{fmt.Sprintf("--init loftq: rounding changed the adapted weights by %.3g %% of their size; "+
			"what the adapter begins as takes back %.3g %% of that error's energy, and leaves %.3g %% of their size. "+
			"It leaves as a LoRA of its rank", 100*math.Sqrt(w.off/w.size), 100*(1-lost.Energy),
			100*math.Sqrt(lost.Energy*w.off/w.size))}, nil
	}
	sc.Sets[1].Adapter = a.Opposite()
	notes = []string{fmt.Sprintf("--init %s: the adapter leaves with rank %d: with what it began as taken away, so "+
		"that it fits the base as it is", c.Init, 2*c.Rank)}
	if w.quantized && c.Init == adapter.PiSSA {
		notes = append(notes, "the base stays the quantized file that it is, so that PiSSA's smaller rounding is not "+
			"to be had; --init loftq --from an f16 file begins with what rounding took away")
	}
	return notes, nil
}

// weights are those of the base, or what the original has beside them.
type weights struct {
	base      *gguf.File
	rows      quant.Rows
	original  quant.Rows // nil: the base's own
	index     []int      // of the base's tensors in the original
	at        map[string]int
	quantized bool // a tensor that was read is
	out       []float64
	off, size float64 // sums of squares: of the differences, and of the original
}

func newWeights(m *engine.Model) *weights {
	w := &weights{base: m.File(), rows: quant.FileRows(m.File()), at: map[string]int{}}
	for i := range w.base.Tensors {
		w.at[w.base.Tensors[i].Name] = i
	}
	return w
}

// norms gives those of the base's rows.
func (w *weights) norms(ctx context.Context, tensor string) ([]float32, error) {
	i, ok := w.at[tensor]
	if !ok {
		return nil, fmt.Errorf("the model has no tensor %q", tensor)
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	t := &w.base.Tensors[i]
	out, x := make([]float32, t.Elements()/t.Shape[0]), make([]float32, t.Shape[0])
	for o := range out {
		if err := w.rows.Read(i, int64(o)*t.Shape[0], x); err != nil {
			return nil, err
		}
		squares := 0.0
		for _, v := range x {
			squares += float64(v) * float64(v)
		}
		if out[o] = float32(math.Sqrt(squares)); math.IsNaN(squares) || math.IsInf(squares, 0) {
			return nil, fmt.Errorf("tensor %q holds numbers that are not finite; the file is damaged", tensor)
		}
	}
	return out, nil
}

func (w *weights) read(tensor string) ([]float64, error) {
	i, ok := w.at[tensor]
	if !ok {
		return nil, fmt.Errorf("the model has no tensor %q", tensor)
	}
	t := &w.base.Tensors[i]
	w.quantized = w.quantized || t.Type.IsQuantized()
	out := slices.Grow(w.out[:0], int(t.Elements()))[:t.Elements()]
	w.out = out
	x, y := make([]float32, t.Shape[0]), make([]float32, t.Shape[0])
	for at := int64(0); at < t.Elements(); at += t.Shape[0] {
		if err := w.rows.Read(i, at, x); err != nil {
			return nil, err
		}
		to := out[at : at+t.Shape[0]]
		if w.original == nil {
			for k, v := range x {
				to[k] = float64(v)
			}
			continue
		}
		if err := w.original.Read(w.index[i], at, y); err != nil {
			return nil, err
		}
		for k, v := range y {
			to[k] = float64(v) - float64(x[k])
			w.off, w.size = w.off+to[k]*to[k], w.size+float64(v)*float64(v)
		}
	}
	return out, nil
}

// Leaving gives the adapter that a run leaves with: that which was trained, less what Begin gave it where the base has
// that too, in the form of an adapter's file.
func Leaving(a *adapter.Adapter, sc engine.SessionConfig) (*adapter.Adapter, error) {
	a = a.Leaving()
	for _, s := range sc.Sets {
		if s.Name == startSet {
			return adapter.Add(adapter.Scaled{Adapter: a, Scale: 1},
				adapter.Scaled{Adapter: s.Adapter.(*adapter.Adapter), Scale: 1})
		}
	}
	return a, nil
}

// AdapterBytes is how much of a file they take there.
func AdapterBytes(sc engine.SessionConfig) int64 {
	bytes := int64(4)
	if t := sc.Sets[0].Type; t != nil && *t == gguf.F16 {
		bytes = 2
	}
	return bytes * Size(sc)
}

// Size is how many numbers the adapter that a run leaves with has; 0 where none is trained.
func Size(sc engine.SessionConfig) (n int64) {
	for _, s := range sc.Sets {
		if a, ok := s.Adapter.(*adapter.Adapter); ok && !s.Apart {
			n += a.Size()
		}
	}
	return n
}
