package engine_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/ggtune/ggtune/engine"
	"github.com/ggtune/ggtune/engine/adapter"
	"github.com/ggtune/ggtune/engine/backend/distant"
	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/engine/graph"
	"github.com/ggtune/ggtune/engine/synth"
	"github.com/ggtune/ggtune/internal/atomicfile"
)

// A training is what a few steps of gradient descent give.
type training struct {
	losses []float64
	values [][]float32
	file   []byte // the result
}

// train takes steps of gradient descent over batches of several shapes, through nothing but what every backend has,
// and writes the result.
func (r *rig) train() training {
	r.t.Helper()
	const rate = 0.05
	row, _ := tree(r.model.HParams().NVocab)
	var out training
	for step := range 6 {
		b := batch(chain(tokens(uint64(step%2), 9+4*(step%2), r.model.HParams().NVocab)))
		if step%3 == 0 {
			b.Rows = append(b.Rows, row)
		}
		b.DropoutStep = uint64(step)
		r.zeroGrad()
		logp := r.forward(b, engine.Options{Backward: true, Dropout: true})[engine.LogP]
		coef := make([]float32, len(logp))
		loss := 0.0
		for i, x := range logp {
			coef[i], loss = -1/float32(len(logp)), loss-float64(x)/float64(len(logp))
		}
		out.losses = append(out.losses, loss)
		if err := r.Backward(context.Background(), engine.Outputs{engine.LogP: coef}, nil); err != nil {
			r.t.Fatal(err)
		}
		for _, p := range r.Params() {
			v := numbers(r.t, p.Value)
			for i, g := range numbers(r.t, p.Grad) {
				v[i] -= rate * g
			}
			upload(r.t, p.Value, v)
		}
		if err := r.Updated(); err != nil {
			r.t.Fatal(err)
		}
	}
	for _, p := range r.Params() {
		out.values = append(out.values, numbers(r.t, p.Value))
	}
	out.file = r.result()
	return out
}

// result is the file of what was trained.
func (r *rig) result() []byte {
	r.t.Helper()
	path := filepath.Join(r.t.TempDir(), "result.gguf")
	var err error
	if r.Config().Whole() {
		_, err = r.RoundParams("")
		err = errors.Join(err, r.SaveModel(context.Background(), atomicfile.OS, path, "", 0))
	} else {
		err = r.adapter().Save(context.Background(), atomicfile.OS, path)
	}
	if err != nil {
		r.t.Fatal(err)
	}
	file, err := os.ReadFile(path)
	if err != nil {
		r.t.Fatal(err)
	}
	return file
}

// TestDistantDevice: a device whose memory the process cannot see trains as the processor does, bit for bit, through
// the same session.
func TestDistantDevice(t *testing.T) {
	for name, c := range map[string]struct {
		typ    gguf.Type
		change func(*setup, *adapter.Config)
	}{
		"lora": {gguf.Q8_0, func(c *setup, _ *adapter.Config) { c.Exact = false }},
		"kept, dropout, noise": {gguf.F32, func(c *setup, _ *adapter.Config) {
			c.KeepBytes, c.Dropout, c.ModelDropout, c.EmbedNoise = 1<<40, 0.2, 0.1, 5
		}},
		"output": {gguf.F32, func(_ *setup, a *adapter.Config) {
			a.Targets = []string{"output", "token_embd", "ffn_up"}
		}},
		"full": {gguf.F16, func(c *setup, _ *adapter.Config) { c.Full = true }},
		"rounded": {gguf.F32, func(c *setup, a *adapter.Config) {
			q8 := gguf.Q8_0
			a.Rank = 0
			c.Sets = []engine.Set{{Whole: engine.Everything, Type: &q8, Rounded: true}}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			spec := synth.Tiny("llama", c.typ)
			want := newRig(t, spec, c.change).train()
			device, err := distant.New(1)
			if err != nil {
				t.Fatal(err)
			}
			r := newRig(t, spec, func(sc *setup, ac *adapter.Config) {
				c.change(sc, ac)
				sc.Backend = device
			})
			got := r.train()
			if !slices.Equal(got.losses, want.losses) || want.losses[0] <= want.losses[4] {
				t.Errorf("losses %v, the processor's %v", got.losses, want.losses)
			}
			if !slices.EqualFunc(got.values, want.values, slices.Equal) {
				t.Error("the trained numbers differ from the processor's")
			}
			if !bytes.Equal(got.file, want.file) {
				t.Error("the result differs from the processor's")
			}
			if _, err := r.Params()[0].Value.Host(); err == nil || device.Runs == 0 {
				t.Errorf("%d programs ran on the device, whose memory the process sees", device.Runs)
			}
			if err := errors.Join(r.Close(), leaks(device)); err != nil {
				t.Error(err)
			}
			if err := device.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

// leaks says that a closed session has left memory on a backend.
func leaks(b *distant.Backend) error {
	if n := b.Bytes(); n != 0 || b.Held() != 0 {
		return fmt.Errorf("the session leaves %d bytes and %d weights on the backend", n, b.Held())
	}
	return nil
}

// A poor device lacks an operation.
type poor struct {
	*distant.Backend
	without *graph.Op
}

func (p *poor) Check(g *graph.Graph) error {
	for i := range g.Nodes {
		if g.Nodes[i].Op == p.without {
			return fmt.Errorf("operation %v is not known", p.without)
		}
	}
	return nil
}

// TestPoorDevice: what a device cannot run is told, with its name, and nothing runs.
func TestPoorDevice(t *testing.T) {
	device, err := distant.New(1)
	if err != nil {
		t.Fatal(err)
	}
	defer device.Close()
	for _, c := range []struct {
		op       *graph.Op
		backward bool
	}{{graph.SwiGLU, false}, {graph.LinearT, true}} {
		r := newRig(t, synth.Tiny("llama", gguf.F32),
			func(s *setup, _ *adapter.Config) { s.Backend = &poor{device, c.op} })
		b := batch(chain(tokens(1, 5, 320)))
		_, err := r.Forward(context.Background(), b, engine.Options{Backward: true})
		says(t, err, "device distant", c.op.Name)
		if _, err := r.Forward(context.Background(), b, engine.Options{}); (err == nil) != c.backward {
			t.Errorf("without %v a forward pass alone says %v", c.op, err)
		}
		r.Close()
	}
}
