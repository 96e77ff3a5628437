package adapter_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/ggtune/ggtune/engine/adapter"
	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/engine/synth"
)

// FuzzLoad: no file panics; what is accepted as an adapter is written and read again to the same number of pairs.
func FuzzLoad(f *testing.F) {
	spec := synth.Tiny("llama", gguf.F32)
	spec.Layers, spec.Embd, spec.FF = 1, 32, 32 // small, so that a change meets what matters
	net := sizes(f, spec)
	dir := f.TempDir()
	path, again := filepath.Join(dir, "a.gguf"), filepath.Join(dir, "b.gguf")
	for _, targets := range [][]string{{"attn_q"}, {"ffn_down", "output"}} {
		a, err := adapter.New(net, config(func(c *adapter.Config) { c.Rank, c.Targets = 1, targets }))
		if err != nil {
			f.Fatal(err)
		}
		a.Info["method"] = "sft"
		if err := a.Save(context.Background(), nil, path); err != nil {
			f.Fatal(err)
		}
		b, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if err := os.WriteFile(path, b, 0o666); err != nil {
			t.Fatal(err)
		}
		a, err := adapter.Load(path, net)
		if err != nil {
			return
		}
		if err := a.Save(context.Background(), nil, again); err != nil {
			t.Fatal(err)
		}
		c, err := adapter.Load(again, net)
		if err != nil {
			t.Fatalf("what was written is refused: %v", err)
		}
		if len(c.Pairs) != len(a.Pairs) {
			t.Fatalf("%d pairs became %d", len(a.Pairs), len(c.Pairs))
		}
	})
}
