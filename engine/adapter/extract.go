package adapter

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/ggtune/ggtune/bindings/ggml"
	"github.com/ggtune/ggtune/engine/arch"
	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/engine/lowrank"
	"github.com/ggtune/ggtune/internal/count"
)

// Extract gives the adapter of at most that rank that changes base as nearly as possible into tuned, a model trained
// from it: of each matrix the difference, brought to the rank. Notes of the adapter name what else differs, which no
// adapter holds.
func Extract(ctx context.Context, base, tuned *gguf.File, rank int, done Progress) (*Adapter, Lost, error) {
	e := extraction{base: base, tuned: tuned, rank: rank}
	net, err := e.open()
	if err != nil {
		return nil, Lost{}, err
	}
	e.out = &Adapter{Arch: net.Arch, Info: map[string]string{}}
	places := map[string]place{}
	net.Linear(func(p arch.Part, il int) {
		if p.Alone == "" && (!net.TiedOutput || p.Role != arch.Output && p.Role != arch.TokenEmbd) {
			places[p.Name(il)] = place{p, il}
		}
	})
	for i := range base.Tensors {
		if ctx.Err() != nil {
			return nil, Lost{}, context.Cause(ctx)
		}
		t := &base.Tensors[i]
		at, ok := places[t.Name]
		if err := e.tensor(t, at, ok); err != nil {
			return nil, Lost{}, err
		}
		done(i+1, len(base.Tensors))
	}
	if len(e.out.Pairs) == 0 {
		return nil, Lost{}, fmt.Errorf("extract: no matrix of %s that an adapter could change is another than in %s",
			tuned.Path(), base.Path())
	}
	alphas := make([]float64, len(e.out.Pairs))
	for i := range alphas {
		alphas[i] = float64(e.out.Pairs[i].Rank)
	}
	e.out.settle(alphas)
	e.note()
	return e.out, e.lost.sum(), nil
}

type extraction struct {
	base, tuned *gguf.File
	rank        int
	out         *Adapter
	lost        tally
	others      []string // tensors that differ and have no place in an adapter
	quantized   int      // of the pairs' tensors: those that are so in one of the files
}

// open checks that the files are models of one form.
func (e *extraction) open() (*arch.Net, error) {
	var nets [2]*arch.Net
	for i, f := range []*gguf.File{e.base, e.tuned} {
		if err := f.CheckModel(); err != nil {
			return nil, err
		}
		var err error
		if nets[i], err = arch.Of(f); err != nil {
			return nil, err
		}
	}
	if nets[0].Arch != nets[1].Arch {
		return nil, fmt.Errorf("extract: %s is of architecture %q, %s of %q; expected a model and one trained from it",
			e.base.Path(), nets[0].Arch, e.tuned.Path(), nets[1].Arch)
	}
	for i := range e.base.Tensors {
		b := &e.base.Tensors[i]
		t, err := e.tuned.Tensor(b.Name)
		if err != nil {
			return nil, err
		}
		if !slices.Equal(b.Shape, t.Shape) {
			return nil, fmt.Errorf("extract: tensor %q is %v in %s and %v in %s; expected a model and one trained "+
				"from it", b.Name, b.Shape, e.base.Path(), t.Shape, e.tuned.Path())
		}
	}
	for i := range e.tuned.Tensors {
		if name := e.tuned.Tensors[i].Name; !e.base.HasTensor(name) {
			return nil, fmt.Errorf("extract: %s has tensor %q and %s has not; expected a model and one trained from it",
				e.tuned.Path(), name, e.base.Path())
		}
	}
	return nets[0], nil
}

// tensor adds the pair of a tensor that differs.
func (e *extraction) tensor(b *gguf.TensorInfo, at place, linear bool) error {
	t, err := e.tuned.Tensor(b.Name)
	if err != nil {
		return err
	}
	before, err := e.base.Data(b)
	if err != nil {
		return err
	}
	after, err := e.tuned.Data(t)
	if err != nil || b.Type == t.Type && bytes.Equal(before, after) {
		return err
	}
	difference, err := e.difference(b, t, before, after)
	switch {
	case err != nil:
		return err
	case !slices.ContainsFunc(difference, func(x float64) bool { return x != 0 }):
		return nil
	case !linear:
		e.others = append(e.others, b.Name)
		return nil
	}
	if b.Type.IsQuantized() || t.Type.IsQuantized() {
		e.quantized++
	}
	p := newPair(at.part, at.layer, 0)
	rows, columns := p.extent()
	for i, q := range p.matrices() {
		f, err := lowrank.OfMatrix(difference[i*rows*columns:(i+1)*rows*columns], rows, columns, e.rank)
		if err != nil {
			return fmt.Errorf("tensor %q: %w", b.Name, err)
		}
		e.out.Pairs = append(e.out.Pairs, q.withFactors(f.Up, f.Down, f.Rank))
		e.lost.add(b.Name, f)
	}
	return nil
}

// difference is tuned less base, row by row: only the difference itself lies in memory as a whole.
func (e *extraction) difference(b, t *gguf.TensorInfo, before, after []byte) ([]float64, error) {
	width := int(b.Shape[0])
	rows := int(b.Elements()) / width
	out := make([]float64, rows*width)
	one, other := make([]float32, width), make([]float32, width)
	for o := range rows {
		for _, row := range []struct {
			f    *gguf.File
			info *gguf.TensorInfo
			data []byte
			into []float32
		}{{e.base, b, before, one}, {e.tuned, t, after, other}} {
			n := len(row.data) / rows
			if err := ggml.DequantizeTo(ggml.Type(row.info.Type), row.into, row.data[o*n:(o+1)*n]); err != nil {
				return nil, fmt.Errorf("%s: tensor %q: %w", row.f.Path(), b.Name, err)
			}
		}
		for i := range width {
			d := float64(other[i]) - float64(one[i])
			if math.IsNaN(d) || math.IsInf(d, 0) {
				return nil, fmt.Errorf("extract: tensor %q holds numbers that are not finite, in %s or %s; one of the "+
					"files is damaged", b.Name, e.base.Path(), e.tuned.Path())
			}
			out[o*width+i] = d
		}
	}
	return out, nil
}

// note names what the adapter lacks, and has beside what training did.
func (e *extraction) note() {
	if n := len(e.others); n > 0 {
		const shown = 4
		names, more := e.others, ""
		if n > shown {
			names, more = names[:shown], fmt.Sprintf(" and %d more", n-shown)
		}
		e.out.Notes = append(e.out.Notes, fmt.Sprintf("left out, for no adapter holds it: what differs in %s (%s%s)",
			count.Of(n, "other tensor"), strings.Join(names, ", "), more))
	}
	if n := e.quantized; n > 0 {
		e.out.Notes = append(e.out.Notes, fmt.Sprintf("quantized in one of the files: %d of %d matrices; the "+
			"adapter holds what rounding did there as well as what training did", n, len(e.out.Pairs)))
	}
}
