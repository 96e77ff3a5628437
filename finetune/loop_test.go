package finetune

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	"github.com/ggtune/ggtune/engine"
	"github.com/ggtune/ggtune/finetune/checkpoint"
	"github.com/ggtune/ggtune/finetune/data"
	"github.com/ggtune/ggtune/finetune/encode"
	"github.com/ggtune/ggtune/finetune/method"
	"github.com/ggtune/ggtune/finetune/optim"
	"github.com/ggtune/ggtune/internal/setting"
)

const fakeVocab = 11

// fakeData is n examples in which each token is followed by its double plus one, modulo the vocabulary.
func fakeData(t *testing.T, n int, seed uint64) *encode.Dataset {
	t.Helper()
	d, err := encode.NewDataset(method.Answers, encode.Limits{SeqLen: 24})
	if err != nil {
		t.Fatal(err)
	}
	g := rand.New(rand.NewPCG(seed, 2))
	for i := range n {
		tokens := make([]int32, 4+g.IntN(10))
		counted := make([]bool, len(tokens))
		tokens[0] = int32(g.IntN(fakeVocab))
		for k := 1; k < len(tokens); k++ {
			tokens[k] = (2*tokens[k-1] + 1) % fakeVocab
			counted[k] = k > 1
		}
		d.Add(encode.Item{Source: data.Source{File: "fake", Line: i + 1}, Tokens: tokens, Counted: counted,
			Segments: []engine.Segment{{Len: len(tokens), Parent: -1}}})
	}
	return d
}

// A rig is a run on the fake engine.
type rig struct {
	engine *fakeEngine
	opt    *optim.Running
	parts  Parts
	state  State
	steps  []StepStats
	saved  []State
}

func newRig(t *testing.T, d *encode.Dataset, batch, accum, steps int) *rig {
	t.Helper()
	r := &rig{engine: newFakeEngine(t, fakeVocab, 3)}
	l, err := encode.NewLoader(d, encode.LoadOptions{Window: 24, Batch: batch, Seed: 8, Shuffle: true})
	if err != nil {
		t.Fatal(err)
	}
	r.opt, err = optim.AdamW.Start(r.engine.Params(), setting.Values{"weight-decay": 0.01},
		optim.Options{LoRAPlus: 4})
	if err != nil {
		t.Fatal(err)
	}
	course, err := optim.Cosine.Course(setting.Values{"warmup": min(3, float64(steps-1))}, steps)
	if err != nil {
		t.Fatal(err)
	}
	r.parts = Parts{Engine: r.engine, Source: encode.NewStream(l), Method: method.SFT, Optimizer: r.opt, Accum: accum,
		Steps: steps, Clip: 1,
		LR: func(step int) float64 { return 0.02 * optim.Cosine.Factor(course, step) },
		AfterStep: func(_ context.Context, _ *State, s StepStats) (bool, error) {
			r.steps = append(r.steps, s)
			return false, nil
		},
		Save: func(st *State) error {
			r.saved = append(r.saved, *st)
			return nil
		}}
	return r
}

func (r *rig) run(t *testing.T, ctx context.Context) {
	t.Helper()
	if err := Loop(ctx, r.parts, &r.state); err != nil {
		t.Fatal(err)
	}
}

// tensors are all that a run's next step depends on beside its state.
func (r *rig) tensors() []checkpoint.Tensor {
	var out []checkpoint.Tensor
	for _, p := range r.engine.Params() {
		out = append(out, checkpoint.DeviceFloats(p.Name, p.Value), checkpoint.DeviceFloats(p.Name+".grad", p.Grad))
	}
	return append(out, r.opt.State()...)
}

// memory is a copy of the tensors' bytes.
func (r *rig) memory(t *testing.T) [][]byte {
	t.Helper()
	var out [][]byte
	for _, x := range r.tensors() {
		b := make([]byte, x.N*int64(x.Type.BlockBytes()))
		if err := x.Memory.Read(b, 0); err != nil {
			t.Fatal(err)
		}
		out = append(out, b)
	}
	return out
}

// restore puts another run's numbers in place.
func (r *rig) restore(t *testing.T, from [][]byte, updates int) {
	t.Helper()
	for k, x := range r.tensors() {
		if err := x.Memory.Write(from[k], 0); err != nil {
			t.Fatal(err)
		}
	}
	r.opt.SetUpdates(updates)
}

// TestLearns: the loss falls far below that of the untouched model, and below what guessing gives.
func TestLearns(t *testing.T) {
	r := newRig(t, fakeData(t, 60, 1), 2, 2, 150)
	r.run(t, t.Context())
	first, last := r.steps[0].Loss, r.steps[len(r.steps)-1].Loss
	if first < 1.5 || last > 0.5 {
		t.Errorf("loss: first %g, last %g; want above 1.5 and below 0.5", first, last)
	}
	if r.state.Step != 150 || r.state.Pending.Micros != 0 || len(r.saved) != 0 {
		t.Errorf("state %+v, %d saves", r.state, len(r.saved))
	}
}

// TestMicroBatches: k micro-batches are one batch k times as large, whatever the number of counted tokens in each.
func TestMicroBatches(t *testing.T) {
	d := fakeData(t, 48, 2)
	one, four := newRig(t, d, 4, 1, 12), newRig(t, d, 1, 4, 12)
	one.run(t, t.Context())
	four.run(t, t.Context())
	// Gradients are summed in float32 in another order; Adam divides them by their own size, so that parameters differ
	// by a rounding error times the learning rate: measured 4e-7.
	const tol = 1e-5
	for i := range one.steps {
		a, b := one.steps[i], four.steps[i]
		if a.Counted != b.Counted || math.Abs(a.Loss-b.Loss) > tol || math.Abs(a.GradNorm-b.GradNorm) > tol {
			t.Fatalf("step %d: one batch %+v, four micro-batches %+v", i+1, a, b)
		}
	}
	for name, v := range map[string][2][]float32{"a": {one.engine.av, four.engine.av},
		"b": {one.engine.bv, four.engine.bv}} {
		for i, x := range v[0] {
			if y := v[1][i]; math.Abs(float64(x-y)) > tol {
				t.Fatalf("%s[%d]: %v and %v", name, i, x, y)
			}
		}
	}
}

// TestResume stops a run after each of its micro-batches in turn, puts its state into a new process's place, and wants
// the rest of the run and its end equal to those of a straight run, bit for bit.
func TestResume(t *testing.T) {
	d := fakeData(t, 17, 3) // 7 rows: epochs end within a step
	const steps, accum = 7, 3
	build := func() *rig {
		r := newRig(t, d, 1, accum, steps)
		r.engine.dropout = 0.2
		return r
	}
	straight := build()
	straight.run(t, t.Context())
	want := straight.memory(t)
	stop := errors.New("stop")
	stopped := 0
	for at := uint64(1); ; at++ {
		first := build()
		ctx, cancel := context.WithCancelCause(t.Context())
		first.engine.onForward = func(n int, _ engine.Outputs) {
			if n == int(at) {
				cancel(stop)
			}
		}
		err := Loop(ctx, first.parts, &first.state)
		cancel(nil)
		if err == nil {
			break
		}
		stopped++
		if !errors.Is(err, stop) || len(first.saved) != 1 || first.saved[0].Micros != at {
			t.Fatalf("micro-batch %d: error %v, saved %+v", at, err, first.saved)
		}
		second := build()
		second.restore(t, first.memory(t), first.state.Step)
		second.state = first.saved[0]
		second.run(t, t.Context())
		if got := second.memory(t); !reflect.DeepEqual(got, want) {
			t.Fatalf("stopped after micro-batch %d (step %d): the end differs from that of a straight run", at,
				first.state.Step)
		}
		if got := append(first.steps, second.steps...); !reflect.DeepEqual(got, straight.steps) {
			t.Fatalf("stopped after micro-batch %d: steps\n%+v, want\n%+v", at, got, straight.steps)
		}
	}
	if total := int(straight.state.Micros); stopped != total-1 {
		t.Errorf("stopped %d times in a run of %d micro-batches", stopped, total)
	}
}

// TestLastStepOfEpoch: a step does not reach over the end of an epoch.
func TestLastStepOfEpoch(t *testing.T) {
	d := fakeData(t, 17, 3)
	r := newRig(t, d, 1, 3, 100)
	rows := d.Counts.Rows
	perEpoch := (rows + 2) / 3
	if rows%3 == 0 {
		t.Fatalf("%d rows end with a whole step; the test needs others", rows)
	}
	r.parts.Steps = 2 * perEpoch
	r.run(t, t.Context())
	if want := `{"epoch":2,"row":0}`; string(r.state.Place) != want || int(r.state.Tokens) != 2*d.Counts.Tokens {
		t.Errorf("after %d steps: %+v, want place %s and %d tokens", r.parts.Steps, r.state, want, 2*d.Counts.Tokens)
	}
}

// TestNotFinite: what is no number stops the run before it reaches a parameter, and the state saved is that before the
// step.
func TestNotFinite(t *testing.T) {
	for name, tc := range map[string]struct {
		spoil func(r *rig)
		want  string
	}{
		"loss": {func(r *rig) {
			r.engine.onForward = func(n int, out engine.Outputs) {
				if n == 8 {
					out[engine.LogP][0] = float32(math.NaN())
				}
			}
		}, "fake:"},
		"gradient": {func(r *rig) {
			r.engine.afterBackward = func() {
				if r.engine.forwards == 9 {
					r.engine.bg[1] = float32(math.Inf(1))
				}
			}
		}, `"blk.0.fake.lora_b"`},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, fakeData(t, 40, 4), 1, 3, 50)
			var before [][]byte
			r.parts.AfterStep = func(_ context.Context, st *State, _ StepStats) (bool, error) {
				if st.Step == 2 {
					before = r.memory(t)
				}
				return false, nil
			}
			tc.spoil(r)
			err := Loop(t.Context(), r.parts, &r.state)
			if !errors.Is(err, ErrNotFinite) || !strings.Contains(err.Error(), tc.want) ||
				!strings.Contains(err.Error(), "--lr") {
				t.Fatalf("got %v, want an error about %s that says what to do", err, tc.want)
			}
			r.engine.afterBackward = nil
			after := r.memory(t)
			before[1], before[3], after[1], after[3] = nil, nil, nil, nil // gradients of the failed step
			if !reflect.DeepEqual(after, before) {
				t.Error("the failed step changed a parameter or a moment")
			}
			if len(r.saved) != 1 || r.saved[0].Step != 2 || r.saved[0].Pending.Micros != 0 || r.saved[0].Micros != 6 {
				t.Errorf("saved %+v, want the state after step 2", r.saved)
			}
		})
	}
}

// TestParametersNotFinite: an update that spoils parameters ends the run, and nothing of them is saved, even if it was
// being told to stop.
func TestParametersNotFinite(t *testing.T) {
	r := newRig(t, fakeData(t, 40, 4), 1, 3, 50)
	ctx, cancel := context.WithCancelCause(t.Context())
	r.parts.LR = func(step int) float64 {
		if step < 2 {
			return 0.01
		}
		cancel(errors.New("stop"))
		return 1e39
	}
	err := Loop(ctx, r.parts, &r.state)
	if !errors.Is(err, ErrNotFinite) || !errors.Is(err, optim.ErrParams) || !strings.Contains(err.Error(), "--lr") ||
		!strings.Contains(err.Error(), "step 3") {
		t.Errorf("got %v, want an error about step 3 that says what to do", err)
	}
	if len(r.saved) != 0 || r.state.Step != 2 {
		t.Errorf("saved %+v after step %d, want nothing after 2", r.saved, r.state.Step)
	}
}

// A faulty optimizer's device fails.
type faulty struct {
	*optim.Running
	norm, update error
}

func (f faulty) GradNorm() (float64, error) {
	if f.norm != nil {
		return 0, f.norm
	}
	return f.Running.GradNorm()
}

func (f faulty) Update(lr, scale float64) error {
	if f.update != nil {
		return f.update
	}
	return f.Running.Update(lr, scale)
}

// TestOptimizerFails: what the optimizer cannot compute is no number that is not finite, and after an update that may
// be half done nothing is saved.
func TestOptimizerFails(t *testing.T) {
	lost := errors.New("device lost")
	for name, f := range map[string]faulty{"norm": {norm: lost}, "update": {update: lost}} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, fakeData(t, 40, 4), 1, 3, 50)
			f.Running = r.opt
			r.parts.Optimizer = f
			err := Loop(t.Context(), r.parts, &r.state)
			if !errors.Is(err, lost) || errors.Is(err, ErrNotFinite) || !strings.Contains(err.Error(), "step 1") {
				t.Errorf("got %v, want an error about step 1 that says what failed", err)
			}
			if len(r.saved) != 0 {
				t.Errorf("saved %+v, want nothing", r.saved)
			}
		})
	}
}

// TestStoppedNotFinite: a run told to stop within a step whose sums are no number keeps the state before that step.
func TestStoppedNotFinite(t *testing.T) {
	r := newRig(t, fakeData(t, 40, 4), 1, 3, 50)
	stop := errors.New("stop")
	ctx, cancel := context.WithCancelCause(t.Context())
	r.engine.onForward = func(n int, _ engine.Outputs) {
		if n == 8 {
			cancel(stop)
		}
	}
	r.engine.afterBackward = func() {
		if r.engine.forwards == 8 {
			r.engine.bg[1] = float32(math.NaN())
		}
	}
	if err := Loop(ctx, r.parts, &r.state); !errors.Is(err, stop) || !errors.Is(err, ErrNotFinite) {
		t.Errorf("got %v, want both reasons", err)
	}
	if len(r.saved) != 1 || r.saved[0].Step != 2 || r.saved[0].Pending.Micros != 0 || r.saved[0].Micros != 6 {
		t.Errorf("saved %+v, want the state after step 2", r.saved)
	}
}

// A changedEngine finds in its second micro-batch of step 3 that the model's file was changed.
type changedEngine struct {
	*fakeEngine
	backwards int
}

func (e *changedEngine) Backward(ctx context.Context, g engine.Outputs, ready func(*engine.Param) error) error {
	if e.backwards++; e.backwards == 8 {
		return fmt.Errorf("m.gguf: %w", engine.ErrChanged)
	}
	return e.fakeEngine.Backward(ctx, g, ready)
}

// TestChangedModel: a model that was changed under a run ends it with the state before the step in which that was
// noticed.
func TestChangedModel(t *testing.T) {
	r := newRig(t, fakeData(t, 40, 4), 1, 3, 50)
	r.parts.Engine = &changedEngine{fakeEngine: r.engine}
	if err := Loop(t.Context(), r.parts, &r.state); !errors.Is(err, engine.ErrChanged) {
		t.Errorf("got %v, want ErrChanged", err)
	}
	if len(r.saved) != 1 || r.saved[0].Step != 2 || r.saved[0].Pending.Micros != 0 || r.saved[0].Micros != 6 {
		t.Errorf("saved %+v, want the state after step 2", r.saved)
	}
}

// TestStoppedNotSaved: a run told to stop that cannot save does not say that it was only stopped.
func TestStoppedNotSaved(t *testing.T) {
	r := newRig(t, fakeData(t, 40, 4), 1, 3, 50)
	stop, full := errors.New("stop"), errors.New("disk full")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(stop)
	r.parts.Save = func(*State) error { return full }
	if err := Loop(ctx, r.parts, &r.state); !errors.Is(err, full) || errors.Is(err, stop) ||
		!strings.Contains(err.Error(), "stop") {
		t.Errorf("got %v, want that nothing was saved, and why the run was ending", err)
	}
}

// coupledSFT is SFT that claims to be coupled, with a figure.
var coupledSFT = &method.Method{Name: "coupled", Unit: "token", Coupled: true, Reference: true,
	Loss: func(in *method.Inputs, s setting.Values) (method.Result, error) {
		r, err := method.SFT.Loss(in, s)
		kl := 0.0
		for i := range in.LogP {
			kl += in.LogP[i] - in.Ref[i]
		}
		r.Metrics = []method.Metric{{Name: "kl", Sum: kl, Weight: r.Units}}
		return r, err
	}}

// TestCoupled: an additive loss gives the same run through the coupled way, and its stop goes back to the step's
// start.
func TestCoupled(t *testing.T) {
	d := fakeData(t, 17, 5)
	plain, coupled := newRig(t, d, 1, 3, 6), newRig(t, d, 1, 3, 6)
	plain.engine.dropout, coupled.engine.dropout = 0.2, 0.2
	coupled.parts.Method = coupledSFT
	coupled.parts.Reference = func(_ context.Context, m *encode.Micro) ([]float64, error) {
		return make([]float64, m.Counted), nil
	}
	plain.run(t, t.Context())
	coupled.run(t, t.Context())
	if !reflect.DeepEqual(plain.memory(t), coupled.memory(t)) {
		t.Error("the coupled way ends elsewhere")
	}
	if m := coupled.steps[0].Metrics; len(m) != 1 || math.Abs(m[0].Sum/m[0].Weight+coupled.steps[0].Loss) > 1e-9 {
		t.Errorf("figures %+v at loss %g", m, coupled.steps[0].Loss)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	again := newRig(t, d, 1, 3, 6)
	again.parts.Method, again.parts.Reference = coupled.parts.Method, coupled.parts.Reference
	stop := errors.New("stop")
	again.engine.onForward = func(n int, _ engine.Outputs) {
		if n == 6+4 { // the second step's backward half
			cancel(stop)
		}
	}
	if err := Loop(ctx, again.parts, &again.state); !errors.Is(err, stop) || len(again.saved) != 1 ||
		again.saved[0].Step != 1 || again.saved[0].Pending.Micros != 0 {
		t.Errorf("got %v, saved %+v; want the state after step 1", err, again.saved)
	}
}

// TestNothingCounted: a step whose method counts nothing is an error, not a division by zero.
func TestNothingCounted(t *testing.T) {
	r := newRig(t, fakeData(t, 5, 6), 1, 1, 5)
	r.parts.Method = &method.Method{Name: "none", Unit: "pair",
		Loss: func(in *method.Inputs, _ setting.Values) (method.Result, error) {
			return method.Result{Grad: make([]float64, len(in.LogP))}, nil
		}}
	if err := Loop(t.Context(), r.parts, &r.state); err == nil || !strings.Contains(err.Error(), "0 pairs") {
		t.Errorf("got %v", err)
	}
}

// TestAfterStepEnds: stop ends the run quietly, an error ends it as itself.
func TestAfterStepEnds(t *testing.T) {
	r := newRig(t, fakeData(t, 9, 6), 1, 1, 50)
	bad := errors.New("full disk")
	for _, want := range []error{nil, bad} {
		r.parts.AfterStep = func(_ context.Context, st *State, _ StepStats) (bool, error) { return true, want }
		step := r.state.Step
		if err := Loop(t.Context(), r.parts, &r.state); err != want || r.state.Step != step+1 {
			t.Errorf("got %v at step %d, want %v at %d", err, r.state.Step, want, step+1)
		}
	}
}

// A dealer is a source that makes its rows: what it gives next depends on all that it gave before.
type dealer struct{ State, Dealt int }

func (s *dealer) Next(context.Context) (*encode.Micro, error) {
	m := &encode.Micro{}
	row := engine.Row{Tokens: []int32{int32(s.State % fakeVocab)}}
	for i := range 5 {
		row.Tokens = append(row.Tokens, (2*row.Tokens[i]+1)%fakeVocab)
		row.Counted = append(row.Counted, int32(i+1))
	}
	row.Segments = []engine.Segment{{Len: len(row.Tokens), Parent: -1}}
	m.Batch.Rows, m.Tokens, m.Counted = []engine.Row{row}, len(row.Tokens), len(row.Counted)
	m.Sequences = []method.Sequence{{Len: m.Counted}}
	m.Sources = []data.Source{{File: "dealt", Line: s.Dealt}}
	s.State, s.Dealt = (7*s.State+s.Dealt+3)%1009, s.Dealt+1
	return m, nil
}

func (s *dealer) Place() json.RawMessage {
	b, _ := json.Marshal(s)
	return b
}

func (s *dealer) Return(place json.RawMessage) error {
	*s = dealer{State: 5}
	if place == nil {
		return nil
	}
	return json.Unmarshal(place, s)
}

// TestOtherSource: a source with a state of its own is put back to a step's beginning by a step that failed, and to
// where it was by a stop within a step; what follows is as if neither had been.
func TestOtherSource(t *testing.T) {
	build := func() *rig {
		r := newRig(t, fakeData(t, 9, 6), 1, 3, 8)
		r.parts.Source = &dealer{}
		return r
	}
	straight := build()
	straight.run(t, t.Context())
	// Fails in step 2, then goes on in the same process.
	failed := build()
	failed.engine.onForward = func(n int, out engine.Outputs) {
		if n == 5 {
			out[engine.LogP][0] = float32(math.NaN())
		}
	}
	if err := Loop(t.Context(), failed.parts, &failed.state); !errors.Is(err, ErrNotFinite) ||
		!strings.Contains(err.Error(), "dealt:4") {
		t.Fatalf("got %v, want that example 4 has no finite loss", err)
	}
	failed.run(t, t.Context())
	if !reflect.DeepEqual(failed.memory(t), straight.memory(t)) || !reflect.DeepEqual(failed.steps, straight.steps) {
		t.Error("after a failed step the run ends elsewhere")
	}
	// Stops within step 2, and goes on in another process.
	stop := errors.New("stop")
	ctx, cancel := context.WithCancelCause(t.Context())
	first := build()
	first.engine.onForward = func(n int, _ engine.Outputs) {
		if n == 5 {
			cancel(stop)
		}
	}
	if err := Loop(ctx, first.parts, &first.state); !errors.Is(err, stop) {
		t.Fatal(err)
	}
	second := build()
	second.restore(t, first.memory(t), first.state.Step)
	second.state = first.saved[0]
	second.run(t, t.Context())
	if !reflect.DeepEqual(second.memory(t), straight.memory(t)) ||
		!reflect.DeepEqual(append(first.steps, second.steps...), straight.steps) {
		t.Error("after a stop the run ends elsewhere")
	}
	r := build()
	r.state.Place = json.RawMessage("{")
	if err := Loop(t.Context(), r.parts, &r.state); err == nil || r.engine.forwards > 0 {
		t.Errorf("a place that the source does not know: got %v after %d passes", err, r.engine.forwards)
	}
}
