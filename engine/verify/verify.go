// Package verify holds what llama.cpp computes beside what a session of ours does, for a written adapter or model and
// for a model at hand, and our gradients beside finite differences. It does not know what a run is, nor how a session
// computes.
package verify

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/ggtune/ggtune/bindings/llama"
	"github.com/ggtune/ggtune/engine"
	"github.com/ggtune/ggtune/engine/adapter"
	"github.com/ggtune/ggtune/engine/arch"
	"github.com/ggtune/ggtune/engine/gguf"
)

// A Probe holds the logits that a session computes for a few tokens, or the vectors of a few texts, to be compared
// with llama.cpp's after the session and its model are closed (so that the weights are not in memory twice).
type Probe struct {
	// Texts are what is computed on: one, for logits, and any number, for vectors.
	Texts [][]int32
	// Since is the first token of a text on which what waits for an invocation acts.
	Since int
	// Pooling says how the vectors are made; 0: it holds logits.
	Pooling arch.Pooling
	// Base and Trained are rows of the vocabulary's logits, one for every token but the last, or vectors [n_embd], a
	// text's after the other's, each of the length √n_embd: a root mean square of differences is then the distance of
	// vectors of length 1, their directions, of which alone is used. Base is nil where the base cannot be computed any
	// more (full training).
	Base, Trained []float32
	exact         bool // how the session computed
}

// probeTokens is how many tokens a probe reads: enough that every layer mixes positions, few enough that the logits of
// a vocabulary of 150,000 stay near 20 MB.
const probeTokens = 32

// ProbeBefore is how many tokens before an invocation leave a probe as many to act on.
const ProbeBefore = probeTokens / 2

// NewProbe computes the logits of the first tokens of a sequence of 2 or more, with what a session trains and, where
// that can be switched off, without. What waits for an invocation acts from token since on. Of a model without an
// output head it holds vectors of what the sequence begins with: the mean where the file does not say.
func NewProbe(ctx context.Context, s *engine.Session, tokens []int32, since int) (*Probe, error) {
	tokens = slices.Clone(tokens[:min(len(tokens), probeTokens)])
	if net := s.Model().Net(); net.Headless {
		return NewVectorProbe(ctx, s, beginnings(tokens), net.Pooling.OrMean())
	}
	p := &Probe{Texts: [][]int32{tokens}, Since: since}
	return p.of(ctx, s)
}

// NewVectorProbe computes the vectors of texts, with what a session trains and, where that can be switched off,
// without.
func NewVectorProbe(ctx context.Context, s *engine.Session, texts [][]int32, pooling arch.Pooling) (*Probe, error) {
	p := &Probe{Texts: texts, Pooling: pooling}
	return p.of(ctx, s)
}

// beginnings are texts that tokens begin with, of several lengths: one vector of a text says little.
func beginnings(tokens []int32) (texts [][]int32) {
	for n := len(tokens); n > 0; n -= max(1, len(tokens)/8) {
		texts = append(texts, tokens[:n])
	}
	return texts
}

// of makes a probe like p of what a session computes.
func (p *Probe) of(ctx context.Context, s *engine.Session) (*Probe, error) {
	cfg := s.Config()
	q := &Probe{Texts: p.Texts, Since: p.Since, Pooling: p.Pooling, exact: cfg.Exact}
	var err error
	if q.Trained, err = q.compute(ctx, s, engine.Options{}); err != nil {
		return nil, err
	}
	if !cfg.Whole() {
		q.Base, err = q.compute(ctx, s, engine.Options{Apply: engine.Only()})
	}
	return q, err
}

// compute gives the logits of the whole vocabulary for every token but the last, or the texts' vectors. Each text is a
// pass of its own: a session may have memory for little more.
func (p *Probe) compute(ctx context.Context, s *engine.Session, opt engine.Options) (all []float32, err error) {
	want := engine.Logits
	if p.Pooling != 0 {
		want, opt.Pooling = engine.Pooled, p.Pooling
	}
	opt.Want = []*engine.Output{want}
	for _, text := range p.Texts {
		row := engine.PlainRow(text)
		row.Since = []int{min(p.Since, len(text))}
		out, err := s.Forward(ctx, &engine.Batch{Rows: []engine.Row{row}}, opt)
		if err != nil {
			return nil, err
		}
		all = append(all, p.comparable(out[want])...)
	}
	return all, nil
}

// comparable gives a row of logits as it is, and a vector at the length √n_embd: see Trained. What has no direction is
// no number.
func (p *Probe) comparable(row []float32) []float32 {
	if p.Pooling == 0 {
		return row
	}
	out, length := make([]float32, len(row)), rms(row, nil)
	for i, v := range row {
		out[i] = float32(float64(v) / length)
	}
	return out
}

// what names what it holds.
func (p *Probe) what() string {
	if p.Pooling != 0 {
		return "vectors"
	}
	return "logits"
}

// A Distance says how far llama.cpp's logits are from ours, over all tokens of the vocabulary and all positions of a
// probe, or its vectors, at length 1, over all texts.
type Distance struct {
	Max float64 `json:"max"` // the largest absolute difference of two logits, or distance of two vectors
	RMS float64 `json:"rms"` // root of the mean squared difference, or distance
}

// An Agreement is the distance of two models, of which the first is the yardstick of the second.
type Agreement struct {
	Base    Distance // without what was trained
	Trained Distance
}

// ErrDisagree is what an Agreement beyond its bound matches.
var ErrDisagree = errors.New("llama.cpp computes something else from the file than was trained")

// allowed is the one judgement of two implementations' logits, after training and in Check: the root of their mean
// squared difference may be a share of the logits' own size, or what the same model's difference was known to be. The
// largest of half a million differences says nothing: it is one token's, on which a trained model may be sensitive
// beyond all measure.
func allowed(size, share, known float64) float64 { return math.Max(share*size, known) }

// vectorBound is what vectors may differ by at most, as a share of their length, however far those of the base are: as
// far apart they find other texts. One wrong matrix, or another pooling, makes more on generated models (0.7 and more).
const vectorBound = 0.25

// allowed is that of logits, and of vectors no more than vectorBound.
func (p *Probe) allowed(size, share, known float64) float64 {
	if p.Pooling != 0 {
		return min(allowed(size, share, known), vectorBound*size)
	}
	return allowed(size, share, known)
}

// agreementFactor bounds the trained model's distance by the base's own, measured in the same check: both have the
// same sources (llama.cpp rounds activations to 8 bits where weights are quantized, ours to bf16 or 16-bit integers).
// The RMS is compared: it moved by a factor of 0.7 to 1.3 over training of all kinds, where the largest of half a
// million differences, an extreme value, moved by 0.7 to 2.1 and would refuse sound runs. Logits of another adapter
// are refused all the same (VerifyAdapter).
const agreementFactor = 2

// agreementFloor, relative to the RMS of the logits, is what f32 sums in another order may differ by; it matters where
// the base agrees almost exactly (f32 models: 1e-5 measured).
const agreementFloor = 1e-4

// agreementFloorF16 is the same for an adapter in f16: llama.cpp rounds what its pairs are multiplied with to f16 too,
// which no base's distance shows; 1.5e-4 was measured.
const agreementFloorF16 = 1e-3

// agreementFloorFull is the same for a model trained in full: its logits may be far from the base's in size (a fresh
// model's are near zero), so that the base's own difference says little. The fast mode rounds to bf16 or 16-bit
// integers; 5e-3 was measured on trained f32 models. A wrong tensor makes more than 0.5.
const agreementFloorFull = 2e-2

// VerifyAdapter opens base and adapter with llama.cpp and compares its logits with the probe's. No session or Model
// may have the base mapped meanwhile.
func (p *Probe) VerifyAdapter(ctx context.Context, base, path string, threads int) (Agreement, error) {
	a, err := p.compare(ctx, base, path, threads)
	if errors.Is(err, errNoNearer) && !p.exact {
		// The fast mode's rounding moves the logits of a small adapter as much as llama.cpp is away, in any direction.
		var exact *Probe
		if _, exact, err = p.again(ctx, base, path, threads); err == nil {
			_, err = exact.compare(ctx, base, path, threads)
		}
	}
	if err != nil {
		return a, err
	}
	floor, err := floorOf(path)
	if err != nil {
		return a, err
	}
	if err := p.judge(a, path, basisOf(a, 1), floor); err == nil {
		return a, nil
	}
	// An adapter far from its start can make the model more sensitive to rounding of any kind. By how much is seen in
	// our own arithmetic; llama.cpp's may have as much more of it.
	more, err := p.sensitivity(ctx, base, path, threads)
	if err != nil {
		return a, err
	}
	return a, p.judge(a, path, basisOf(a, more), floor)
}

// errNoNearer is wrapped where llama.cpp is no nearer to the trained model than to the base.
var errNoNearer = fmt.Errorf("%w", ErrDisagree)

// compare measures llama.cpp's distances.
func (p *Probe) compare(ctx context.Context, base, path string, threads int) (a Agreement, err error) {
	err = p.withLlama(base, threads, func(m *llama.Model, c *llama.Context) error {
		var err error
		if a.Base, err = p.distance(ctx, c, p.Base); err != nil {
			return err
		}
		lora, err := LoadAdapter(m, path)
		if err != nil {
			return err
		}
		defer lora.Close()
		if err := c.SetAdapters([]*llama.Adapter{lora}, []float32{1}); err != nil {
			return err
		}
		if a.Trained, err = p.distance(ctx, c, p.Trained); err != nil {
			return err
		}
		fromBase, err := p.distance(ctx, c, p.Base)
		if err != nil {
			return err
		}
		// Where training changed less than the distance is, nothing can be told. Where it changed more, llama.cpp must
		// be nearer to what was trained than to the base: a small adapter that it does not apply would pass the bound.
		if changed := rms(p.Trained, p.Base); changed > a.Base.RMS && !(a.Trained.RMS < fromBase.RMS) {
			return fmt.Errorf(
				"verify %s: %w: training moved the %s by %.3g in the root mean square, but with the adapter "+
					"llama.cpp's are %.3g from them and %.3g from the base's; report this with the output of ggtune "+
					"check on the base",
				path, errNoNearer, p.what(), changed, a.Trained.RMS, fromBase.RMS)
		}
		return c.SetAdapters(nil, nil)
	})
	return a, err
}

// floorOf is the floor for an adapter's file.
func floorOf(path string) (float64, error) {
	f, err := gguf.Open(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	for i := range f.Tensors {
		if f.Tensors[i].Type != gguf.F32 {
			return agreementFloorF16, nil
		}
	}
	return agreementFloor, nil
}

// sensitivity says how many times more rounding changes the logits with an adapter than without: the distance of the
// fast mode from the exact one in both, at least 1.
func (p *Probe) sensitivity(ctx context.Context, base, path string, threads int) (float64, error) {
	same, other, err := p.again(ctx, base, path, threads)
	if err != nil {
		return 0, err
	}
	return math.Max(1, rms(same.Trained, other.Trained)/rms(same.Base, other.Base)), nil
}

// again makes the probe anew from an adapter's file, in its own mode and in the other. The file must hold what was
// trained: in our own arithmetic it gives the same logits.
func (p *Probe) again(ctx context.Context, base, path string, threads int) (same, other *Probe, err error) {
	m, err := engine.Open(base)
	if err != nil {
		return nil, nil, err
	}
	defer m.Close()
	in := func(exact bool) (*Probe, error) {
		a, err := adapter.Load(path, m.Net())
		if err != nil {
			return nil, err
		}
		s, err := engine.NewSession(m,
			engine.SessionConfig{Threads: threads, Exact: exact, Sets: []engine.Set{{Adapter: a}}})
		if err != nil {
			return nil, err
		}
		defer s.Close()
		return p.of(ctx, s)
	}
	if same, err = in(p.exact); err != nil {
		return nil, nil, err
	}
	if d, size := rms(same.Trained, p.Trained), rms(p.Trained, nil); !(d <= agreementFloor*size) {
		return nil, nil, fmt.Errorf(
			"verify %s: %w: read again, the file gives %s (of size %.3g) that differ by %.3g from "+
				"those that were trained", path, ErrDisagree, p.what(), size, d)
	}
	other, err = in(!p.exact)
	return same, other, err
}

// rms is the root mean squared difference of two lists of the same length, or, where b is nil, the size of one.
func rms(a, b []float32) float64 {
	squares := 0.0
	for i, v := range a {
		x := float64(v)
		if b != nil {
			x -= float64(b[i])
		}
		squares += x * x
	}
	return math.Sqrt(squares / float64(max(len(a), 1)))
}

// VerifyModel opens a trained model with llama.cpp and compares its logits with the probe's. distance is that of the
// base it was trained from, before training, from Distance. It says nothing where the base multiplies by quantized
// matrices, for which llama.cpp rounds activations to 8 bits, and what is written does not.
func (p *Probe) VerifyModel(ctx context.Context, path, base string, distance Distance, threads int) (Agreement, error) {
	a := Agreement{Base: distance}
	if err := p.withLlama(path, threads, p.against(ctx, p.Trained, &a.Trained)); err != nil {
		return a, err
	}
	was, err := quantizedFile(base)
	if err != nil {
		return a, err
	}
	is, err := quantizedFile(path)
	if err != nil {
		return a, err
	}
	b := basisOf(a, 1)
	if was && !is {
		b = basis{0, "the file's types round less than the base's, whose distance says nothing"}
	}
	return a, p.judge(a, path, b, agreementFloorFull)
}

// quantizedFile says whether any of a model file's tensors are quantized.
func quantizedFile(path string) (yes bool, err error) {
	err = checked(path, func(f *gguf.File) error {
		yes = quantized(f)
		return nil
	})
	return yes, err
}

// VerifyRounded is VerifyModel for a model that was trained through the rounding of its weights: how far llama.cpp was
// from the base's says nothing of them, and they are judged as those of any model are in Check.
func (p *Probe) VerifyRounded(ctx context.Context, path string, threads int) (Agreement, error) {
	var a Agreement
	if err := p.withLlama(path, threads, p.against(ctx, p.Trained, &a.Trained)); err != nil {
		return a, err
	}
	return a, p.judge(a, path, basis{0, "its weights are rounded as the base's are not"}, textBound)
}

// Distance opens a model with llama.cpp and gives the distance of its logits from the probe's Trained ones.
func (p *Probe) Distance(ctx context.Context, path string, threads int) (Distance, error) {
	var d Distance
	err := p.withLlama(path, threads, p.against(ctx, p.Trained, &d))
	return d, err
}

// against has llama.cpp compute a probe's tokens, and tells d how far it is from rows.
func (p *Probe) against(ctx context.Context, rows []float32, d *Distance) func(*llama.Model, *llama.Context) error {
	return func(_ *llama.Model, c *llama.Context) (err error) {
		*d, err = p.distance(ctx, c, rows)
		return err
	}
}

// A basis is a distance that is known to mean nothing, and why.
type basis struct {
	known float64
	why   string
}

// basisOf is agreementFactor times the base's distance, times sensitivity.
func basisOf(a Agreement, sensitivity float64) basis {
	return basis{agreementFactor * sensitivity * a.Base.RMS, fmt.Sprintf("%d times the base model's own %.3g, times "+
		"%.2g for what training added to the effect of rounding", agreementFactor, a.Base.RMS, sensitivity)}
}

// judge demands a distance of at most what is known of it, or floor times the size of the logits.
func (p *Probe) judge(a Agreement, path string, b basis, floor float64) error {
	size := rms(p.Trained, nil)
	bound := p.allowed(size, floor, b.known)
	if a.Trained.RMS <= bound { // false for NaN
		return nil
	}
	return fmt.Errorf("verify %s: %w: %s (of size %.3g) differ by %.3g in the root mean square, expected at most "+
		"%.3g (%s, or %g of their size); run ggtune check on the base, and report this with its output", path,
		ErrDisagree, p.what(), size, a.Trained.RMS, bound, b.why, floor)
}

// distance compares what llama.cpp says with rows, one at a time. No number in either gives NaN.
func (p *Probe) distance(ctx context.Context, c *llama.Context, rows []float32) (Distance, error) {
	var d Distance
	var squares float64
	at := 0
	err := p.each(ctx, c, func(_ int, row []float32) error {
		row = p.comparable(row)
		own := 0.0
		for i, v := range row {
			x := math.Abs(float64(v) - float64(rows[at+i]))
			if p.Pooling == 0 {
				d.see(x)
			}
			own += x * x
		}
		if p.Pooling != 0 {
			d.see(math.Sqrt(own / float64(len(row))))
		}
		squares, at = squares+own, at+len(row)
		return nil
	})
	d.RMS = math.Sqrt(squares / float64(max(at, 1)))
	return d, err
}

// see takes what one difference is into the largest.
func (d *Distance) see(x float64) {
	if x > d.Max || math.IsNaN(x) {
		d.Max = x
	}
}

// each has llama.cpp read the tokens, those before an invocation with no adapter, and gives the logits of all but the
// last; or it has it read the texts, and gives their vectors.
func (p *Probe) each(ctx context.Context, c *llama.Context, yield func(int, []float32) error) error {
	if p.Pooling != 0 {
		for i, text := range p.Texts {
			v, err := c.Pooled(ctx, text)
			if err == nil {
				err = yield(i, v)
			}
			if err != nil {
				return err
			}
		}
		return nil
	}
	tokens := p.Texts[0]
	positions := make([]int, len(tokens)-1)
	for i := range positions {
		positions[i] = i
	}
	if p.Since <= 0 {
		return c.EachLogits(ctx, tokens, positions, yield)
	}
	n := min(p.Since, len(tokens))
	if err := c.ApplyAdapters(false); err != nil {
		return err
	}
	if err := c.EachLogits(ctx, tokens[:n], positions[:min(n, len(positions))], yield); err != nil {
		return err
	}
	if err := c.ApplyAdapters(true); err != nil || n == len(tokens) {
		return err
	}
	return c.MoreLogits(ctx, tokens[n:], positions[:len(positions)-n], yield)
}

// withLlama opens a model with llama.cpp for what a probe holds.
func (p *Probe) withLlama(path string, threads int, use func(*llama.Model, *llama.Context) error) (err error) {
	o := llama.VerifyContextOptions(max(len(p.Texts[0]), 32), threads)
	if p.Pooling != 0 {
		o = givesOf(llama.GivesPooled, p.Texts, threads)
		o.Pooling = int(p.Pooling)
	}
	m, err := OpenModel(path, llama.VerifyModelOptions())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, m.Close()) }()
	c, err := m.NewContext(o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	return use(m, c)
}
