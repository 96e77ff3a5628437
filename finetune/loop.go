package finetune

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"

	"github.com/ggtune/ggtune/engine"
	"github.com/ggtune/ggtune/engine/arch"
	"github.com/ggtune/ggtune/finetune/encode"
	"github.com/ggtune/ggtune/finetune/method"
	"github.com/ggtune/ggtune/finetune/optim"
)

// An Engine computes what methods are made of, mostly log-probabilities, and gradients; engine.Session is one.
type Engine interface {
	Forward(ctx context.Context, b *engine.Batch, o engine.Options) (engine.Outputs, error)
	// Backward adds to the parameters' gradients, and tells of each that is done.
	Backward(ctx context.Context, g engine.Outputs, ready func(*engine.Param) error) error
	ZeroGrad() error
}

// A Source gives out micro-batches and knows its place among them; encode.Stream is one. From a place on it gives what
// it gave before, so that a run goes on from a checkpoint, or from the beginning of a step that failed, as if nothing
// had been.
type Source interface {
	// Next gives the micro-batch at its place and goes on behind it. On cancel it may return context.Cause(ctx).
	Next(ctx context.Context) (*encode.Micro, error)
	// Place says where it stands, as JSON: a checkpoint keeps it.
	Place() json.RawMessage
	// Return goes back to what Place gave, now or in an earlier process; nil is the beginning.
	Return(place json.RawMessage) error
}

// An Optimizer works on the engine's parameters.
type Optimizer interface {
	// GradNorm is the Euclidean norm of all gradients. An error with a norm that is no number says that one of them is
	// none, any other that the norm could not be computed.
	GradNorm() (float64, error)
	// Update changes the parameters by their gradients times scale. Its error wraps optim.ErrParams if they are not
	// finite after.
	Update(lr, scale float64) error
}

// Own are the numbers that a method learns of its own, method.Learned: the optimizer's, and no pass's.
type Own interface {
	Values() ([]float64, error)
	// AddGrad adds to their gradients.
	AddGrad(g []float64) error
}

// ErrNotFinite is wrapped by the error of a run that met a loss or gradient that is no number.
var ErrNotFinite = errors.New("not finite")

// afterNotFinite says what to do then.
const (
	afterNotFinite = "the state before this step is kept; " + mendNotFinite
	mendNotFinite  = "begin a run with a lower learning rate (--lr), or look at the model with ggtune check"
)

// Parts is what the loop runs on.
type Parts struct {
	Engine    Engine
	Source    Source
	Method    *method.Method
	Optimizer Optimizer
	LR        func(step int) float64 // learning rate of the update that follows step updates
	Accum     int                    // micro-batches a step; the last step of an epoch may have fewer
	Steps     int                    // updates of the whole run
	Clip      float64                // largest gradient norm; 0: no limit
	Temp      float64                // of the distributions that log-probabilities are of; 0: 1
	Pooling   arch.Pooling           // of vectors of texts; 0: what the model's file says
	// Reference gives the reference model's log-probabilities, or vectors; nil where the method needs none.
	Reference func(ctx context.Context, m *encode.Micro) ([]float64, error)
	// Teacher says what a teacher does of a micro-batch; nil where the method has none.
	Teacher func(m *encode.Micro) (*encode.Teaching, error)
	// Own are the method's own numbers; nil where it learns none.
	Own Own
	// Progress is called after every micro-batch; nil: nobody asks.
	Progress func(st *State)
	// AfterStep evaluates, saves and reports; stop ends the run.
	AfterStep func(ctx context.Context, st *State, s StepStats) (stop bool, err error)
	// Save is called with a state from which the run can go on, when it ends before its time.
	Save func(st *State) error
}

// Loop trains from st until p.Steps updates are done, AfterStep says stop, or ctx is cancelled; then the micro-batch
// under way is finished, the state saved, and context.Cause(ctx) returned. st is kept up to date.
func Loop(ctx context.Context, p Parts, st *State) error {
	if err := p.Source.Return(st.Place); err != nil {
		return err
	}
	st.Place = p.Source.Place()
	for st.Step < p.Steps {
		start := *st
		if err := p.accumulate(ctx, st); err != nil {
			return p.giveUp(ctx, st, start, err)
		}
		s, err := p.update(st)
		if err != nil {
			return p.giveUp(ctx, st, start, err)
		}
		if stop, err := p.AfterStep(ctx, st, s); stop || err != nil {
			return err
		}
	}
	return nil
}

// accumulate adds the gradients of a step's micro-batches, from where the pending ones end.
func (p *Parts) accumulate(ctx context.Context, st *State) error {
	if p.Method.Coupled {
		return p.accumulateCoupled(ctx, st)
	}
	if st.Pending.Micros == 0 {
		if err := p.Engine.ZeroGrad(); err != nil {
			return err
		}
	}
	for last := false; !last; {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		m, err := p.Source.Next(ctx)
		if err != nil {
			return err
		}
		m.Batch.DropoutStep = st.Micros
		whole := context.WithoutCancel(ctx)
		in, err := p.forward(whole, m, engine.Options{Backward: true, Dropout: true})
		if err != nil {
			return err
		}
		r, err := p.judge(in, m)
		if err != nil {
			return err
		}
		if err := p.learnOwn(&r); err != nil {
			return err
		}
		if err := p.Engine.Backward(whole, m.Slopes(p.Method, &r), nil); err != nil {
			return err
		}
		if err := st.Pending.add(r, 1, m.Tokens); err != nil {
			return err
		}
		st.Place, st.Micros = p.Source.Place(), st.Micros+1
		last = m.EndsStep || st.Pending.Micros == p.Accum
		if p.Progress != nil {
			p.Progress(st)
		}
	}
	return nil
}

// update divides the gradients once by what counts, clips them, and changes the parameters.
func (p *Parts) update(st *State) (StepStats, error) {
	pd := st.Pending
	if !(pd.Units > 0) {
		return StepStats{}, fmt.Errorf("step %d: the method counted %g %ss in %d tokens; nothing can be learned "+
			"from this step", st.Step+1, pd.Units, p.Method.Unit, pd.Tokens)
	}
	norm, err := p.gradNorm(st)
	if err != nil {
		return StepStats{}, err
	}
	norm /= pd.Units
	s := StepStats{Step: st.Step + 1, Loss: pd.Sum / pd.Units, LR: p.LR(st.Step), GradNorm: norm,
		Tokens: pd.Tokens, Counted: pd.Counted, Metrics: pd.Metrics}
	err = p.Optimizer.Update(s.LR, optim.ClipScale(norm, p.Clip)/pd.Units)
	switch {
	case errors.Is(err, optim.ErrParams):
		return StepStats{}, fmt.Errorf("step %d: %w: %w; the last checkpoint stands; %s", st.Step+1, ErrNotFinite, err,
			mendNotFinite)
	case err != nil:
		return StepStats{}, fmt.Errorf("step %d: %w; the last checkpoint stands", st.Step+1, err)
	}
	st.Step++
	st.Tokens += int64(pd.Tokens)
	st.Counted += int64(pd.Counted)
	st.Pending = Pending{}
	return s, nil
}

// gradNorm is the norm of the gradient sums of the step under way.
func (p *Parts) gradNorm(st *State) (float64, error) {
	norm, err := p.Optimizer.GradNorm()
	switch {
	case err == nil:
		return norm, nil
	case norm-norm == 0: // no gradient is at fault
		return norm, fmt.Errorf("step %d: gradient norm: %w", st.Step+1, err)
	}
	return norm, fmt.Errorf("step %d: %w: %w; %s", st.Step+1, ErrNotFinite, err, afterNotFinite)
}

// giveUp ends the run before its time with a state on disk that it can go on from: where it stands, if it was told to
// stop, and otherwise the step's beginning, because nothing of a step that failed may be kept.
func (p *Parts) giveUp(ctx context.Context, st *State, start State, err error) error {
	if errors.Is(err, optim.ErrParams) {
		return err // what was before the update is gone; the last checkpoint stands
	}
	told := ctx.Err() != nil && errors.Is(err, context.Cause(ctx))
	if told && st.Pending.Micros > 0 {
		// update would have found these sums out; on disk they would end every resumed run.
		if _, bad := p.gradNorm(st); bad != nil {
			told, err = false, errors.Join(err, bad)
		}
	}
	if !told {
		sound := errors.Is(err, ErrNotFinite) || errors.Is(err, engine.ErrChanged)
		if !sound || start.Pending.Micros > 0 {
			return err // the last checkpoint stands
		}
		*st = start
		if zero := p.Engine.ZeroGrad(); zero != nil {
			return EndedBy(err, zero)
		}
	}
	return EndedBy(err, p.Save(st))
}

// EndedBy is the error of a run that ends because of err after saving its state: err, or, where nothing was saved,
// that and no longer err, by which callers know a run that can go on from where it stood.
func EndedBy(err, notSaved error) error {
	if notSaved == nil {
		return err
	}
	return fmt.Errorf("%w (the run was ending: %v)", notSaved, err)
}

func (p *Parts) forward(ctx context.Context, m *encode.Micro, o engine.Options) (*method.Inputs, error) {
	said, want, err := p.ask(m)
	if err != nil {
		return nil, err
	}
	o.Want, o.Temp, o.Pooling = want, p.Temp, p.Pooling
	out, err := p.Engine.Forward(ctx, &m.Batch, o)
	if err != nil {
		return nil, err
	}
	var ref []float64
	if p.Method.Reference {
		if ref, err = p.Reference(ctx, m); err != nil {
			return nil, err
		}
	}
	return m.Inputs(p.Method, out, ref, said)
}

// ask gives what a pass over m is asked for, and what the teacher says of it, where there is one.
func (p *Parts) ask(m *encode.Micro) (said *encode.Teaching, want []*engine.Output, err error) {
	if p.Method.Teacher {
		if said, err = p.Teacher(m); err != nil {
			return nil, nil, err
		}
	}
	want, err = m.Want(p.Method, said)
	return said, want, err
}

// judge asks the method, and refuses what is no number before anything is added to it.
func (p *Parts) judge(in *method.Inputs, micros ...*encode.Micro) (r method.Result, err error) {
	if p.Own != nil {
		if in.Own, err = p.Own.Values(); err != nil {
			return r, err
		}
	}
	if r, err = p.Method.Evaluate(in); err != nil {
		return r, err
	}
	sum := r.Sum + r.Units
	for _, g := range r.Slopes() {
		sum += g
	}
	if math.IsNaN(sum) || math.IsInf(sum, 0) {
		return r, fmt.Errorf("loss %g over the examples at %s is %w; %s",
			r.Sum, encode.Places(micros...), ErrNotFinite, afterNotFinite)
	}
	return r, nil
}

// learnOwn adds to the gradients of the method's own numbers.
func (p *Parts) learnOwn(r *method.Result) error {
	if p.Own == nil {
		return nil
	}
	return p.Own.AddGrad(r.GradOwn)
}
