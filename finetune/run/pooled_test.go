package run

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ggtune/ggtune/engine"
	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/finetune"
	"github.com/ggtune/ggtune/finetune/config"
	"github.com/ggtune/ggtune/finetune/encode"
	"github.com/ggtune/ggtune/finetune/method"
	"github.com/ggtune/ggtune/finetune/origin"
	"github.com/ggtune/ggtune/finetune/report"
	"github.com/ggtune/ggtune/internal/setting"
)

// vectorConfig is a run on texts that belong together, of which the words of a row are alike, and with scores where the
// method learns from those.
func vectorConfig(t *testing.T, how string) config.Config {
	t.Helper()
	m, err := method.Get(how)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for i := range 24 {
		word := func(shift int) string { return strings.Repeat(string(rune('a'+(i+shift)%24))+" ", 2+i%3) }
		switch m.Need {
		case method.Groups:
			taught := ""
			if m.Other == method.Taught {
				taught = `, "label": 0.5`
			}
			fmt.Fprintf(&b, `{"anchor": "%sone", "positive": "%stwo", "negative": "%sthree"%s}`+"\n", word(0), word(0),
				word(5), taught)
		case method.Views:
			fmt.Fprintf(&b, `{"text": "%sone"}`+"\n", word(0))
		default:
			fmt.Fprintf(&b, `{"sentence1": "%sone", "sentence2": "%stwo", "score": %d}`+"\n", word(0),
				word(i%2*5), (i+1)%2)
		}
	}
	path := filepath.Join(t.TempDir(), "texts.jsonl")
	if err := os.WriteFile(path, []byte(b.String()), 0o666); err != nil {
		t.Fatal(err)
	}
	c := tinyConfig(t, gguf.F32)
	c.Method, c.Data, c.Pooling, c.StepExamples, c.Dropout = how, []string{path}, "mean", 6, 0
	c.Accum = config.Auto[int]{Auto: true}
	return c
}

// TestVectorsLearned trains a generated model with every method of vectors: the held-out loss falls, llama.cpp makes
// the same vectors of the result, and `eval` finds the report's loss in it, with the adapter's own settings.
func TestVectorsLearned(t *testing.T) {
	for _, name := range method.Names() {
		how, err := method.Get(name)
		if err != nil {
			t.Fatal(err)
		}
		if !how.Need.Pools() {
			continue
		}
		t.Run(name, func(t *testing.T) {
			c := vectorConfig(t, name)
			c.Steps, c.EvalEvery, c.LR, c.EvalSplit = 16, config.Fixed(0), config.Fixed(1e-2), config.Fixed(0.25)
			if name == "mnrl" {
				c.Matryoshka, c.QueryPrefix = []float64{float64(tinyWidth(t, c)), 8}, "q: "
			}
			rec := &recorder{}
			s, err := Train(t.Context(), c, rec)
			if err != nil {
				t.Fatal(err)
			}
			if !(*s.EvalLossAfter < *s.EvalLossBefore) {
				t.Errorf("held-out loss %g before, %g after", *s.EvalLossBefore, *s.EvalLossAfter)
			}
			if s.VectorRMSDiff == nil || !(*s.VectorRMSDiff < 1e-2) || s.LlamaMaxDiff != nil || s.General != nil {
				t.Errorf("report: %+v", s)
			}
			if want := "llama-server --embedding --pooling mean"; !strings.Contains(rec.notes(), want) {
				t.Errorf("notes %q, want one with %q", rec.notes(), want)
			}
			e := config.Default()
			e.Model, e.Data, e.Threads = c.Model, c.Data, 1
			got, err := Evaluate(t.Context(), e, s.Result, nil, report.Silent{})
			if err != nil || got.Method != name || !math.IsNaN(got.Perplexity) {
				t.Errorf("eval: %+v, %v", got, err)
			}
		})
	}
}

// tinyWidth is how many numbers the vectors of a configuration's model have.
func tinyWidth(t *testing.T, c config.Config) int {
	t.Helper()
	f, err := gguf.Open(c.Model)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	n, err := f.Int("llama.embedding_length")
	if err != nil {
		t.Fatal(err)
	}
	return int(n)
}

// TestVectorsResume: a run that was stopped within a step, and after one, ends in the same bits.
func TestVectorsResume(t *testing.T) {
	for _, how := range []string{"gist", "simcse"} {
		t.Run(how, func(t *testing.T) {
			c := vectorConfig(t, how)
			c.Steps, c.Dropout, c.SeqLen, c.SaveEvery = 6, 0.1, 64, 2
			straight := c
			straight.Output = filepath.Join(t.TempDir(), "straight")
			mustTrain(t, straight)
			stopAndResume(t, c, func(e report.Event) bool {
				s, ok := e.(report.Step)
				return ok && s.Step == 3
			}, nil)
			sameResult(t, c.Output, straight.Output)
		})
	}
}

// gradients is an optimizer that keeps the gradients of the first step.
type gradients struct {
	*numbers
	kept []float32
}

func (g *gradients) Update(float64, float64) error {
	for _, p := range g.sess.Params() {
		v, err := p.Grad.All()
		if err != nil {
			return err
		}
		g.kept = append(g.kept, v...)
	}
	return nil
}

// recaller is an engine that compares what forward passes over one micro-batch give.
type recaller struct {
	finetune.Engine
	first       map[uint64][]float32
	same, other int // further passes
}

func (p *recaller) Forward(ctx context.Context, b *engine.Batch, o engine.Options) (engine.Outputs, error) {
	out, err := p.Engine.Forward(ctx, b, o)
	was, again := p.first[b.DropoutStep]
	switch v := out[engine.Pooled]; {
	case !again:
		p.first[b.DropoutStep] = v
	case slices.Equal(was, v):
		p.same++
	default:
		p.other++
	}
	return out, err
}

// oneStep makes the gradients of a run's first step, with rows of that many examples' texts in a micro-batch.
func oneStep(t *testing.T, c config.Config, batch int) (p recaller, loss float64, grads []float32, micros int) {
	t.Helper()
	c.Steps, c.Batch, c.SeqLen, c.Exact, c.EvalSplit, c.EvalEvery = 1, batch, 32, true, config.Fixed(0.0),
		config.Fixed(0)
	s := &setup{cfg: c}
	if err := s.open(t.Context(), report.Silent{}); err != nil {
		t.Fatal(err)
	}
	defer s.close()
	n, err := newNumbers(s)
	if err != nil {
		t.Fatal(err)
	}
	defer n.close()
	keep := &gradients{numbers: &n}
	p = recaller{Engine: n.sess, first: map[uint64][]float32{}}
	err = finetune.Loop(t.Context(), finetune.Parts{Engine: &p, Source: encode.NewStream(s.rows.TrainRows),
		Method: s.how, Optimizer: keep, LR: func(int) float64 { return 0 }, Accum: c.Micros(s.how), Steps: 1,
		Pooling: s.pooling, Progress: func(*finetune.State) { micros++ },
		AfterStep: func(_ context.Context, _ *finetune.State, x finetune.StepStats) (bool, error) {
			loss = x.Loss
			return true, nil
		}}, &finetune.State{})
	if err != nil {
		t.Fatal(err)
	}
	return p, loss, keep.kept, micros
}

// TestViewsAgain: a micro-batch that goes through twice, because a step has others, is dropped from alike both times,
// of an adapter's inputs and within the model; and the two views of a text differ.
func TestViewsAgain(t *testing.T) {
	c := vectorConfig(t, "simcse")
	c.Dropout = 0.1
	p, loss, grads, micros := oneStep(t, c, 1)
	if p.same != micros || p.other != 0 || micros < 2 {
		t.Errorf("of %d micro-batches %d gave the same vectors again, and %d others", micros, p.same, p.other)
	}
	if size := slices.MaxFunc(grads, func(a, b float32) int {
		return cmp.Compare(math.Abs(float64(a)),
			math.Abs(float64(b)))
	}); size == 0 || !(loss > 0) {
		t.Errorf("loss %g, largest gradient %g", loss, size)
	}
	for _, v := range p.first {
		width := tinyWidth(t, c)
		if len(v) < 2*width || slices.Equal(v[:width], v[width:2*width]) {
			t.Errorf("%d numbers of two views of width %d, or the views are equal", len(v), width)
		}
	}
}

// cachedGradients is the tolerance of a step in micro-batches against the same step in one, relative to the largest
// gradient: only sums are in another order. Measured 3e-7.
const cachedGradients = 1e-6

// TestCachedAsWhole: a step whose vectors are made twice, a row at a time, has the loss and the gradients of one whose
// rows go through together.
func TestCachedAsWhole(t *testing.T) {
	step := func(batch int) (loss float64, g []float32, micros int) {
		_, loss, g, micros = oneStep(t, vectorConfig(t, "mnrl"), batch)
		return loss, g, micros
	}
	loss, grads, one := step(100)
	cached, again, many := step(1)
	if one != 1 || many < 2 {
		t.Fatalf("%d and %d micro-batches", one, many)
	}
	size, apart := 0.0, 0.0
	for i, g := range grads {
		size, apart = max(size, math.Abs(float64(g))), max(apart, math.Abs(float64(g-again[i])))
	}
	t.Logf("loss %.9g and %.9g, gradients %.2g apart of %.2g, %d micro-batches", loss, cached, apart, size, many)
	if !(size > 0) || !(apart <= cachedGradients*size) || !(math.Abs(loss-cached) <= cachedGradients*loss) {
		t.Errorf("loss %.9g whole and %.9g cached, gradients %.2g apart of %.2g", loss, cached, apart, size)
	}
}

// TestLearnedScale: a scale that is learned moves, is the same after a stop, and what came of it is in the adapter and
// what `eval` measures with.
func TestLearnedScale(t *testing.T) {
	c := vectorConfig(t, "mnrl")
	c.Settings = setting.Values{"learn-scale": 1, "scale": 30}
	c.Steps, c.Dropout, c.SeqLen, c.SaveEvery, c.LR = 6, 0.1, 64, 2, config.Fixed(1e-2)
	straight := c
	straight.Output = filepath.Join(t.TempDir(), "straight")
	s := mustTrain(t, straight)
	stopAndResume(t, c, func(e report.Event) bool {
		s, ok := e.(report.Step)
		return ok && s.Step == 3
	}, nil)
	sameResult(t, c.Output, straight.Output)
	scale := 30.0
	for i, l := range metrics(t, c.Output) {
		if now := l.Figures["scale"]; i == 0 != (math.Abs(now-scale) < 1e-5) {
			t.Errorf("step %d: scale %g, was %g", l.Step, now, scale)
		} else {
			scale = now
		}
	}
	made, err := origin.Read(s.Result)
	if err != nil {
		t.Fatal(err)
	}
	var own map[string]float64
	if err := json.Unmarshal([]byte(made.Info["learned_settings"]), &own); err != nil {
		t.Fatalf("%q: %v", made.Info["learned_settings"], err)
	}
	if math.Abs(own["scale"]-scale) > 0.02*scale || own["scale"] == 30 {
		t.Errorf("the adapter says scale %v, and it was %g in the last step", own, scale)
	}
	e := config.Default()
	e.Model, e.Data, e.Threads = c.Model, c.Data, 1
	got, err := Evaluate(t.Context(), e, s.Result, nil, report.Silent{})
	if err != nil || math.Abs(got.Figures["scale"]-own["scale"]) > 1e-9*scale {
		t.Errorf("eval with scale %g, want %g (%v)", got.Figures["scale"], own["scale"], err)
	}
}

// TestScaleBound: a learned scale is cut to 100 after an update.
func TestScaleBound(t *testing.T) {
	c := vectorConfig(t, "mnrl")
	c.Settings = setting.Values{"learn-scale": 1}
	s := &setup{cfg: c}
	if err := s.open(t.Context(), report.Silent{}); err != nil {
		t.Fatal(err)
	}
	defer s.close()
	n, err := newNumbers(s)
	if err != nil {
		t.Fatal(err)
	}
	defer n.close()
	if err := n.own.params[0].Value.Upload([]float32{9}, 0); err != nil {
		t.Fatal(err)
	}
	if err := n.Update(0, 1); err != nil {
		t.Fatal(err)
	}
	if said, err := n.own.said(); err != nil || said["scale"] != 100 {
		t.Errorf("got %v, %v, want scale 100", said, err)
	}
}
