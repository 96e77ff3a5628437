package refmodel

import "math"

// Rope says how heads are rotated by their positions (Su et al. 2021; ggml's rope_yarn in ggml-cpu/ops.cpp).
type Rope struct {
	Dim   int     // elements of a head that are rotated, from the first on
	Neox  bool    // pairs are (i, i+Dim/2); otherwise (2i, 2i+1)
	Base  float64 // of the frequencies: pair i turns by Base^(−2i/Dim) a position
	Scale float64 // all frequencies are multiplied by it: 1/factor
	Yarn  bool    // fast pairs are not scaled and the rest is ramped (Peng et al. 2023), with the fields below
	// CtxOrig is the length in tokens that the model was trained on before it was stretched.
	CtxOrig    int
	AttnFactor float64 // cosine and sine are multiplied by it on top of YaRN's own 1 + ln(factor)/10
	BetaFast   float64 // YaRN's; 0: yarnBetaFast
	LogMul     float64 // YaRN's: cosine and sine are divided by 1 + LogMul·ln(factor)/10
	// Temp multiplies queries, of which all of a head is rotated, by 1 + Temp·ln(1 + ⌊position/CtxOrig⌋).
	Temp float64
}

// YaRN's bounds, in turns within CtxOrig positions: pairs that turn oftener than the first keep their frequency, those
// that turn less often than the second are scaled whole. llama.cpp's defaults.
const (
	yarnBetaFast = 32
	yarnBetaSlow = 1
)

// angles gives cosine and sine of every pair at a position; factors divide the frequencies, or are nil.
func (r Rope) angles(pos int, factors []float64) (cos, sin []float64) {
	size := r.AttnFactor
	if r.Yarn {
		size *= (1 + 0.1*math.Log(1/r.Scale)) / (1 + 0.1*r.LogMul*math.Log(1/r.Scale))
	}
	for i := range r.Dim / 2 {
		angle := float64(pos) * math.Pow(r.Base, -2*float64(i)/float64(r.Dim))
		if factors != nil {
			angle /= factors[i]
		}
		scaled := angle * r.Scale
		if r.Yarn {
			keep := r.yarnKeep(i)
			scaled = keep*angle + (1-keep)*scaled
		}
		cos, sin = append(cos, size*math.Cos(scaled)), append(sin, size*math.Sin(scaled))
	}
	return cos, sin
}

// yarnKeep says how much of pair i's own frequency remains, 1 to 0.
func (r Rope) yarnKeep(i int) float64 {
	pairAt := func(turns float64) float64 { // the pair that turns so often within CtxOrig
		return float64(r.Dim) * math.Log(float64(r.CtxOrig)/(turns*2*math.Pi)) / (2 * math.Log(r.Base))
	}
	fast := r.BetaFast
	if fast == 0 {
		fast = yarnBetaFast
	}
	low := max(0, math.Floor(pairAt(fast)))
	high := min(float64(r.Dim-1), math.Ceil(pairAt(yarnBetaSlow)))
	return 1 - min(1, max(0, (float64(i)-low)/max(0.001, high-low)))
}

// pair gives the elements of a head that pair i rotates.
func (r Rope) pair(i int) (int, int) {
	if r.Neox {
		return i, i + r.Dim/2
	}
	return 2 * i, 2*i + 1
}

// rope rotates every head of x by its token's position.
func (t *tape) rope(x *node, tr *tree, hp HParams, factors []float64) *node {
	y := t.node(x.val.Rows, x.val.Cols)
	copy(y.val.Data, x.val.Data)
	type turn struct {
		tok, a, b int
		cos, sin  float64
	}
	var turns []turn
	for tok := range x.val.Rows {
		cos, sin := hp.Rope.angles(tr.pos[tok], factors)
		temp := 1.0
		if r := hp.Rope; r.Temp != 0 {
			temp += r.Temp * math.Log(1+float64(tr.pos[tok]/r.CtxOrig))
		}
		for i := range cos {
			cos[i], sin[i] = temp*cos[i], temp*sin[i]
		}
		for head := 0; head < x.val.Cols; head += hp.HeadDim {
			for i := range cos {
				a, b := hp.Rope.pair(i)
				turns = append(turns, turn{tok, head + a, head + b, cos[i], sin[i]})
			}
		}
	}
	for _, u := range turns {
		in, out := x.val.Row(u.tok), y.val.Row(u.tok)
		out[u.a] = in[u.a]*u.cos - in[u.b]*u.sin
		out[u.b] = in[u.a]*u.sin + in[u.b]*u.cos
	}
	t.onBackward(func() {
		for tok := range x.val.Rows {
			for head := 0; head < x.val.Cols; head += hp.HeadDim {
				axpy(x.grad.Row(tok)[head+hp.Rope.Dim:head+hp.HeadDim], 1,
					y.grad.Row(tok)[head+hp.Rope.Dim:head+hp.HeadDim])
			}
		}
		for _, u := range turns {
			in, out := x.grad.Row(u.tok), y.grad.Row(u.tok)
			in[u.a] += out[u.a]*u.cos + out[u.b]*u.sin
			in[u.b] += out[u.b]*u.cos - out[u.a]*u.sin
		}
	})
	return y
}
