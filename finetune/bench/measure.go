package bench

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/ggtune/ggtune/bindings/llama"
	"github.com/ggtune/ggtune/engine"
	"github.com/ggtune/ggtune/engine/backend"
)

// A group measures the cases of one session beside llama.cpp's prompt and our forward pass.
type group struct {
	cfg    *Config
	target Target
	model  *engine.Model
	llama  *llama.Context
	ppLen  int
	peak   float64 // GFLOP/s, for Phase.OfPeak
}

// A sample is one round's figures of one case.
type sample struct {
	prompt, forward, step time.Duration
	phases                map[string]time.Duration
	against, reference    time.Duration // of workloads with a row to be held against
}

// phaseOptimizer and phaseRest are the parts of a step that a session's profile does not know or not wholly.
const (
	phaseOptimizer = "optimizer" // with the gradient's norm
	phaseRest      = "rest"      // norms, activations, positions, sums; and what is between kernels
)

func (g *group) measure(ctx context.Context, t Train, workloads []workload) (cases []Case, err error) {
	tr, err := newTrainer(g.model, t, true)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, tr.close()) }()
	rng := newRand()
	full := fullRow(rng, g.cfg.Tokens, tr.vocab)
	rows, others := make([]engine.Row, len(workloads)), make([]engine.Row, len(workloads))
	for i, p := range workloads {
		rows[i] = p.row(newRand(), g.cfg.Tokens, tr.vocab)
		if p.against != nil {
			others[i] = p.against(newRand(), g.cfg.Tokens, tr.vocab)
		}
	}
	samples := make([][]sample, len(workloads))
	for round := range g.cfg.Rounds + 1 {
		g.cfg.say("%s: round %d of %d (%s)", g.target, round, g.cfg.Rounds, names(workloads))
		prompt, err := g.llama.PromptTime(ctx, g.ppLen)
		if err != nil {
			return nil, err
		}
		forward, err := tr.forward(ctx, full, engine.Options{})
		if err != nil {
			return nil, err
		}
		for i := range workloads {
			s, err := tr.sample(ctx, rows[i])
			if err != nil {
				return nil, err
			}
			s.prompt, s.forward = prompt, forward
			if workloads[i].against != nil {
				if s.against, _, err = tr.step(ctx, others[i]); err != nil {
					return nil, err
				}
			}
			if workloads[i].reference {
				if s.reference, err = tr.forward(ctx, rows[i], engine.Options{Apply: engine.Only()}); err != nil {
					return nil, err
				}
			}
			if round > 0 { // the first wakes threads, touches memory and reads pages
				samples[i] = append(samples[i], s)
			}
		}
	}
	for i, p := range workloads {
		c, err := g.summary(tr, t, p, rows[i], samples[i])
		if err != nil {
			return nil, err
		}
		cases = append(cases, c)
	}
	return cases, nil
}

func names(workloads []workload) string {
	out := ""
	for _, p := range workloads {
		out += ", " + p.name
	}
	return out[2:]
}

// sample measures one step with its phases.
func (t *trainer) sample(ctx context.Context, row engine.Row) (sample, error) {
	before := t.session.Profile()
	whole, optimizer, err := t.step(ctx, row)
	if err != nil {
		return sample{}, err
	}
	s := sample{step: whole, phases: map[string]time.Duration{phaseOptimizer: optimizer}}
	rest := whole - optimizer
	for p, d := range t.session.Profile() {
		if p != backend.PhaseRest {
			s.phases[p.String()] = d - before[p]
			rest -= d - before[p]
		}
	}
	s.phases[phaseRest] = rest
	return s, nil
}

// summary turns rounds into a Case.
func (g *group) summary(tr *trainer, t Train, p workload, row engine.Row, samples []sample) (Case, error) {
	n, counted := len(row.Tokens), len(row.Counted)
	c := Case{Case: p.name, Tokens: n, Counted: counted, PPLen: g.ppLen, FileBytes: g.model.File().Bytes()}
	c.Model, c.Type = g.target.label(g.model)
	if t.Rank > 0 {
		c.Rank = &t.Rank
	}
	var pp, forward, train, ratio []float64
	for _, s := range samples {
		pp = append(pp, float64(g.ppLen)/s.prompt.Seconds())
		forward = append(forward, float64(g.cfg.Tokens)/s.forward.Seconds())
		train = append(train, float64(n)/s.step.Seconds())
		ratio = append(ratio, train[len(train)-1]/pp[len(pp)-1])
	}
	c.PP, c.PPRange = median(pp), spread(pp)
	c.Forward, c.ForwardRange = median(forward), spread(forward)
	c.Training, c.TrainingRange = median(train), spread(train)
	c.Ratio, c.RatioRange = median(ratio), spread(ratio)
	c.CountedRate = c.Training * float64(counted) / float64(n)
	if p.against != nil {
		c.Than = p.than
		c.Against = ofRounds(samples, func(s *sample) float64 { return s.step.Seconds() / s.against.Seconds() })
	}
	if p.reference {
		c.Reference = ofRounds(samples, func(s *sample) float64 { return float64(n) / s.reference.Seconds() })
	}
	foot, err := engine.Plan(g.model, tr.cfg, engine.Extent{Tokens: n, Counted: counted, Row: n,
		Pooled: len(row.Segments), Pooling: g.model.Net().Pooling.OrMean()})
	if err != nil {
		return c, err
	}
	c.SessionBytes, c.KeptLayers, c.Layers = foot.Total(), foot.KeptLayers, foot.Layers
	c.Phases = g.phases(samples, flops(g.model, tr.cfg.Whole(), n, counted, foot.KeptLayers))
	return c, nil
}

// ofRounds is the median of the rounds' own figures.
func ofRounds(samples []sample, figure func(s *sample) float64) *float64 {
	var all []float64
	for i := range samples {
		all = append(all, figure(&samples[i]))
	}
	m := median(all)
	return &m
}

// phases gives the medians of every phase met, in the order of engine.Phases with the optimizer before the rest.
func (g *group) phases(samples []sample, work map[string]float64) []Phase {
	var order []string
	for _, p := range backend.Phases() {
		if p != backend.PhaseRest {
			order = append(order, p.String())
		}
	}
	var out []Phase
	total := 0.0
	for _, name := range append(order, phaseOptimizer, phaseRest) {
		var seconds []float64
		for _, s := range samples {
			seconds = append(seconds, s.phases[name].Seconds())
		}
		ph := Phase{Phase: name, Seconds: median(seconds)}
		total += ph.Seconds
		if w := work[name]; w > 0 && ph.Seconds > 0 {
			rate := w / ph.Seconds / 1e9
			ph.GFLOPS = &rate
			if g.peak > 0 {
				of := rate / g.peak
				ph.OfPeak = &of
			}
		}
		out = append(out, ph)
	}
	for i := range out {
		out[i].Share = out[i].Seconds / total
	}
	return out
}

func median(v []float64) float64 {
	s := slices.Sorted(slices.Values(v))
	n := len(s)
	return (s[(n-1)/2] + s[n/2]) / 2
}

func spread(v []float64) [2]float64 { return [2]float64{slices.Min(v), slices.Max(v)} }
