package adapter

import (
	"context"
	"fmt"
	"math"

	"github.com/ggtune/ggtune/engine/graph"
	"github.com/ggtune/ggtune/engine/lowrank"
)

// A Lost is what was left out of the adapters' change to the weights.
type Lost struct {
	Energy float64 // share of the sum of its squares, 0 to 1
	Worst  float64 // the same of the tensor that lost most
	Tensor string  // its name; "" where nothing was lost
}

// tally sums what tensors lost.
type tally struct {
	lost          Lost
	energy, total float64
}

func (t *tally) add(tensor string, f lowrank.Factors) {
	t.energy += f.Lost
	t.total += f.Energy
	if f.Energy > 0 && f.Lost/f.Energy > t.lost.Worst {
		t.lost.Worst, t.lost.Tensor = f.Lost/f.Energy, tensor
	}
}

func (t *tally) sum() Lost {
	if t.total > 0 {
		t.lost.Energy = t.energy / t.total
	}
	return t.lost
}

// A Progress hears of each tensor that is done.
type Progress func(done, total int)

// parts are what several adapters add to one tensor, or to one expert's matrix of it.
type parts struct {
	whole   graph.Shape // of the tensor, of which an expert has one matrix
	expert  int
	pairs   []*Pair
	own     []float64 // of each the adapter's scale
	weights []float64 // and what it is applied with beside that
}

// name tells the matrix from others.
func (t *parts) name() string {
	if t.expert == 0 {
		return t.pairs[0].Tensor
	}
	return fmt.Sprintf("%s %d", t.pairs[0].Tensor, t.expert)
}

// scale is what pair i is multiplied by.
func (t *parts) scale(i int) float64 { return t.own[i] * t.weights[i] }

// together sorts what adapters add by tensor, in the order in which they have them. Those scaled by 0 add nothing.
func together(list []Scaled) ([]parts, error) {
	var out []parts
	at := map[string]int{}
	for _, a := range list {
		if _, err := NewSum(Scaled{Adapter: a.Adapter, Scale: a.Scale}); err != nil { // a number is not finite
			return nil, err
		}
		if a.Arch != list[0].Arch {
			return nil, fmt.Errorf("one adapter is for architecture %q, another for %q; they cannot be combined",
				list[0].Arch, a.Arch)
		}
		for i := range a.Pairs {
			p := &a.Pairs[i]
			first, ok := at[p.Tensor]
			if !ok {
				first = len(out)
				at[p.Tensor] = first
			}
			if ok && out[first].whole != p.weight() {
				return nil, fmt.Errorf("tensor %q is %v for one adapter and %v for another; they are of different "+
					"models", p.Tensor, out[first].whole, p.weight())
			}
			for e, q := range p.matrices() {
				if !ok {
					out = append(out, parts{whole: p.weight(), expert: e})
				}
				t := &out[first+e]
				t.pairs = append(t.pairs, &q)
				t.own = append(t.own, a.Adapter.Scale(p))
				t.weights = append(t.weights, a.Scale)
			}
		}
	}
	return out, nil
}

// factors are the pair as matrices in the order of rows: B [rows, Rank] and A [Rank, columns], of the tensor's rows.
func (p *Pair) factors() (up, down []float32) {
	if p.Flipped {
		return p.A, transposed(p.B, p.BShape)
	}
	return p.B, p.A
}

// extent is the number of rows and columns of the tensor.
func (p *Pair) extent() (rows, columns int) {
	if p.Flipped {
		return int(p.AShape[1]), int(p.BShape[1])
	}
	return int(p.BShape[1]), int(p.AShape[0])
}

// withFactors is a pair for the same tensor with other halves, which are kept.
func (p *Pair) withFactors(up, down []float32, rank int) Pair {
	out, r := *p, int64(rank)
	rows, columns := p.extent()
	out.Rank = r
	if p.Flipped {
		out.A, out.B = up, transposed(down, [2]int64{int64(columns), r})
		out.AShape, out.BShape = [2]int64{r, int64(rows)}, [2]int64{r, int64(columns)}
	} else {
		out.A, out.B = down, up
		out.AShape, out.BShape = [2]int64{int64(columns), r}, [2]int64{r, int64(rows)}
	}
	return out
}

// like is an adapter for the same base and purpose, without pairs.
func like(list []Scaled) (*Adapter, error) {
	out := &Adapter{Arch: list[0].Arch, Info: map[string]string{}}
	purposes := make([]Purpose, len(list))
	for i, a := range list {
		purposes[i] = a.Purpose
	}
	var err error
	out.Purpose, out.Notes, err = Common(purposes...)
	return out, err
}

// settle gives the adapter the one alpha of its file: that which most pairs ask for, or the first of them. The B of the
// others is multiplied so that B·A keeps its scale; it says how many these were.
func (a *Adapter) settle(alphas []float64) (changed int) {
	most := 0
	for _, alpha := range alphas {
		if n := occurrences(alphas, alpha); n > most {
			most, a.Alpha = n, alpha
		}
	}
	for i, alpha := range alphas {
		factor := alpha / a.Alpha
		if factor == 1 {
			continue
		}
		changed++
		for j, x := range a.Pairs[i].B {
			a.Pairs[i].B[j] = float32(float64(x) * factor)
		}
	}
	a.gather()
	return changed
}

// Add gives the adapter that changes weights by the sum of what those listed change: their halves stand beside each
// other, and its ranks are the sums of theirs. Numbers are rounded only where scales differ. That is PEFT's
// add_weighted_adapter with combination_type "cat", which multiplies A where this multiplies B.
func Add(list ...Scaled) (*Adapter, error) {
	all, err := together(list)
	if err != nil {
		return nil, err
	}
	out, err := like(list)
	if err != nil {
		return nil, err
	}
	var alphas []float64
	for _, t := range all {
		rank, scale := int64(0), 0.0
		for i, p := range t.pairs {
			if t.scale(i) == 0 {
				continue
			}
			rank += p.Rank
			if scale == 0 {
				scale = math.Abs(t.scale(i))
			}
		}
		if rank == 0 {
			continue
		}
		out.Pairs = append(out.Pairs, beside(&t, rank, scale))
		alphas = append(alphas, float64(float32(scale*float64(rank)))) // as the file has it
	}
	if len(out.Pairs) == 0 {
		return nil, fmt.Errorf("nothing is left of adapters that are scaled by 0")
	}
	out.settle(alphas)
	return out, nil
}

// beside is the pair of that rank and scale which changes a tensor as t's together do.
func beside(t *parts, rank int64, scale float64) Pair {
	rows, columns := t.pairs[0].extent()
	up, down := make([]float32, int64(rows)*rank), make([]float32, 0, rank*int64(columns))
	at := int64(0)
	for i, p := range t.pairs {
		if t.scale(i) == 0 {
			continue
		}
		pUp, pDown := p.factors()
		factor := t.scale(i) / scale
		for o := range int64(rows) {
			for k, x := range pUp[o*p.Rank : (o+1)*p.Rank] {
				up[o*rank+at+int64(k)] = float32(float64(x) * factor)
			}
		}
		down = append(down, pDown...)
		at += p.Rank
	}
	return t.pairs[0].withFactors(up, down, int(rank))
}

// Truncate gives the adapter of at most that rank whose change to each tensor is nearest to a's, in the sum of squares:
// PEFT's combination_type "svd". Pairs of no higher rank stay as they are.
func (a *Adapter) Truncate(ctx context.Context, rank int, done Progress) (*Adapter, Lost, error) {
	if _, err := together([]Scaled{{a, 1}}); err != nil {
		return nil, Lost{}, err
	}
	out, err := like([]Scaled{{a, 1}})
	if err != nil {
		return nil, Lost{}, err
	}
	var alphas []float64
	var lost tally
	all := a.matrices()
	for i := range all {
		if ctx.Err() != nil {
			return nil, Lost{}, context.Cause(ctx)
		}
		p := &all[i]
		up, down := p.factors()
		rows, columns := p.extent()
		f, err := lowrank.OfProduct(up, down, rows, int(p.Rank), columns, rank)
		if err != nil {
			return nil, Lost{}, fmt.Errorf("tensor %q: %w", p.Tensor, err)
		}
		scale := a.Scale(p)
		f.Energy, f.Lost = f.Energy*scale*scale, f.Lost*scale*scale
		if int64(rank) >= p.Rank {
			f.Lost = 0
			out.Pairs, alphas = append(out.Pairs, p.copied()), append(alphas, a.Alpha)
		} else {
			out.Pairs = append(out.Pairs, p.withFactors(f.Up, f.Down, f.Rank))
			alphas = append(alphas, float64(float32(scale*float64(f.Rank))))
		}
		lost.add(p.Tensor, f)
		done(i+1, len(all))
	}
	out.settle(alphas)
	return out, lost.sum(), nil
}

// copied is a pair with numbers of its own.
func (p *Pair) copied() Pair {
	up, down := p.factors()
	return p.withFactors(append([]float32(nil), up...), append([]float32(nil), down...), int(p.Rank))
}
