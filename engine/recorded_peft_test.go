package engine_test

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/ggtune/ggtune/engine"
	"github.com/ggtune/ggtune/engine/adapter"
	"github.com/ggtune/ggtune/engine/arch"
	"github.com/ggtune/ggtune/engine/verify"
	"github.com/ggtune/ggtune/internal/refmodel"
)

var update = flag.Bool("update", false, "write the adapters that scripts/record_peft.py reads")

// A peftRecording is what transformers computed with an adapter that PEFT had loaded (scripts/record_peft.py).
type peftRecording struct {
	LogP     []float64 `json:"logp"`
	LogitsAt int       `json:"logits_at"`
	Logits   []float64 `json:"logits"`
	Pooled   []float64 `json:"pooled"`
}

// TestPEFT: an adapter that PEFT made computes here, and in llama.cpp, what it computes in transformers; it trains on;
// and what goes back computes there what it computes here.
func TestPEFT(t *testing.T) {
	cases, err := refmodel.Recordings()
	if err != nil {
		t.Fatal(err)
	}
	trained := map[string]bool{}
	for _, c := range cases {
		dir := filepath.Join("testdata", "peft", c.Name)
		if _, err := os.Stat(dir); err != nil {
			continue
		}
		trained[c.Model.Arch] = true
		t.Run(c.Name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "model.gguf")
			if err := c.Model.WriteGGUF(path); err != nil {
				t.Fatal(err)
			}
			m, err := engine.Open(path)
			if err != nil {
				t.Fatal(err)
			}
			defer m.Close()
			ours := filepath.Join(dir, "ours")
			theirs, err := adapter.Load(filepath.Join(dir, "theirs"), m.Net())
			if err != nil {
				t.Fatal(err)
			}
			agrees(t, m, theirs, c.Row, dir+"/theirs.json")
			before, after := trainOn(t, m, theirs, c.Row)
			if !(after < before) {
				t.Errorf("trained on, the loss goes from %.6g to %.6g", before, after)
			}
			if *update {
				os.RemoveAll(ours)
				if err := theirs.SavePEFT(context.Background(), nil, ours, m.Net()); err != nil {
					t.Fatal(err)
				}
				return
			}
			back, err := adapter.Load(ours, m.Net())
			if err != nil {
				t.Fatal(err)
			}
			agrees(t, m, back, c.Row, dir+"/ours.json")
			again := filepath.Join(t.TempDir(), "again")
			if err := back.SavePEFT(context.Background(), nil, again, m.Net()); err != nil {
				t.Fatal(err)
			}
			for _, name := range []string{"adapter_config.json", "adapter_model.safetensors"} {
				was, now := readFile(t, filepath.Join(ours, name)), readFile(t, filepath.Join(again, name))
				if !bytes.Equal(was, now) {
					t.Errorf("%s: what PEFT read here and what is written now differ: %d and %d bytes", name, len(was),
						len(now))
				}
			}
		})
	}
	for _, name := range arch.Names() {
		if !trained[name] {
			t.Errorf("architecture %s has no recording in testdata/peft", name)
		}
	}
}

func readFile(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// agrees compares the engine, and llama.cpp, with what was recorded of an adapter.
func agrees(t *testing.T, m *engine.Model, a *adapter.Adapter, row refmodel.Row, recording string) {
	t.Helper()
	var want peftRecording
	if err := json.Unmarshal(readFile(t, recording), &want); err != nil {
		t.Fatal(err)
	}
	run := refmodel.Run{LogP: want.LogP, LogitsAt: want.LogitsAt, Logits: want.Logits, Pooled: want.Pooled}
	says, _ := passPEFT(t, m, a, row, false)
	if e := farthest(says, run.Says()); !(e <= exactLogP) {
		t.Errorf("%s: what it says differs by %.3g of the largest, want at most %.3g", recording, e, exactLogP)
	}
	lora := filepath.Join(t.TempDir(), "adapter.gguf")
	base, theirs := inLlama(t, m.Path(), a)
	verify.NeedLlama(t, base)
	if err := theirs.Save(context.Background(), nil, lora); err != nil {
		t.Fatal(err)
	}
	e, bound := llamaFrom(t, base, lora, row.Tokens, run), exactBound(t, a.Arch)
	if !(e <= bound) {
		t.Errorf("%s: llama.cpp differs by %.3g of the largest number, want at most %.3g", recording, e, bound)
	}
}

// passPEFT gives what the model says of the row, and the gradients of its mean if asked for.
func passPEFT(t *testing.T, m *engine.Model, a *adapter.Adapter, row refmodel.Row, backward bool) ([]float64,
	map[string][]float64) {
	t.Helper()
	s, err := engine.NewSession(m, engine.SessionConfig{Threads: 1, Exact: true, Sets: []engine.Set{{Adapter: a}}})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	r := &trial{session: s}
	out, err := s.Forward(context.Background(), &engine.Batch{Rows: []engine.Row{engineRow(row)}},
		engine.Options{Backward: backward})
	if err != nil {
		t.Fatal(err)
	}
	says := out[m.Says()]
	if !backward {
		return float64s(says), nil
	}
	grad := slices.Repeat([]float32{-1 / float32(len(says))}, len(says))
	if err := s.Backward(context.Background(), engine.Outputs{m.Says(): grad}, nil); err != nil {
		t.Fatal(err)
	}
	return float64s(says), r.gradients(t)
}

// trainOn takes a few steps down the gradient and gives the loss before and after.
func trainOn(t *testing.T, m *engine.Model, a *adapter.Adapter, row refmodel.Row) (before, after float64) {
	t.Helper()
	const steps, rate = 3, 0.1
	loss := func(logp []float64) (sum float64) {
		for _, x := range logp {
			sum -= x / float64(len(logp))
		}
		return sum
	}
	for step := range steps {
		logp, grads := passPEFT(t, m, a, row, true)
		if step == 0 {
			before = loss(logp)
		}
		a.Halves(func(name string, values []float32) {
			g := grads[name]
			if len(g) != len(values) {
				t.Fatalf("%s has %d gradients for %d numbers", name, len(g), len(values))
			}
			for i := range values {
				values[i] -= rate * float32(g[i])
			}
		})
	}
	logp, _ := passPEFT(t, m, a, row, false)
	return before, loss(logp)
}
