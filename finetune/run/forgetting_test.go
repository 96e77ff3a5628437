package run

import (
	"encoding/json"
	"path/filepath"
	"slices"
	"testing"

	"github.com/ggtune/ggtune/engine"
	"github.com/ggtune/ggtune/engine/adapter"
	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/finetune/config"
	"github.com/ggtune/ggtune/finetune/report"
)

// TestForgetting: every run says at its end what it did to general text; the measurement leaves the tensors alone.
func TestForgetting(t *testing.T) {
	for name, change := range map[string]func(c *config.Config){
		"adapter": func(c *config.Config) {},
		"full":    func(c *config.Config) { c.Full, c.Rank, c.Dropout = true, config.Default().Rank, 0 },
	} {
		t.Run(name, func(t *testing.T) {
			c := tinyConfig(t, gguf.F32)
			c.LR = config.Fixed(0.01)
			change(&c)
			s := mustTrain(t, c)
			g := s.General
			if g == nil || !(g.KL > 1e-4) || g.Before == g.After || g.Tokens < 500 || g.KLTokens < 64 {
				t.Fatalf("got %+v", g)
			}
			if c.Full {
				return
			}
			saved := filepath.Join(c.Output, dirCheckpoints, "step-00000006", fileAdapter) // before it was measured
			if got, want := loras(t, c.Model, filepath.Join(c.Output, fileAdapter)),
				loras(t, c.Model, saved); !slices.Equal(got, want) {
				t.Error("the adapter is not that of the last checkpoint")
			}
		})
	}
}

// loras gives all numbers of an adapter.
func loras(t *testing.T, model, path string) (out []float32) {
	t.Helper()
	m, err := engine.Open(model)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	a, err := adapter.Load(path, m.Net())
	if err != nil {
		t.Fatal(err)
	}
	for i := range a.Pairs {
		out = append(append(out, a.Pairs[i].A...), a.Pairs[i].B...)
	}
	return out
}

// TestForgettingStops: a run that is stopped while general text is measured goes on with it, to the same figures.
func TestForgettingStops(t *testing.T) {
	c := tinyConfig(t, gguf.F32)
	want := mustTrain(t, c)
	c.Output = filepath.Join(t.TempDir(), "run")
	stopAndResume(t, c, func(e report.Event) bool {
		p, ok := e.(report.Progress)
		return ok && p.What == "general text" && p.Done == 1
	}, nil)
	var got report.Summary
	if err := json.Unmarshal([]byte(readFile(t, c.Output, fileReport)), &got); err != nil {
		t.Fatal(err)
	}
	if *got.General != *want.General {
		t.Errorf("got %+v, want %+v", got.General, want.General)
	}
}
