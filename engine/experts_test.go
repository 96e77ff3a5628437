package engine

import (
	"context"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/engine/synth"
)

// TestExpertTensorsRefused: tensors of experts that the metadata speaks against are refused by name.
func TestExpertTensorsRefused(t *testing.T) {
	f, err := gguf.Open(synth.Temp(t, synth.Tiny("qwen3moe", gguf.F32)))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	const up = "blk.1.ffn_up_exps.weight"
	for name, tt := range map[string]struct {
		shape []int64 // of up; nil: it is left out
		more  string
		want  string
	}{
		"fewer experts":  {[]int64{64, 128, 3}, "", "has shape [64 128 3], expected [64 128 4]"},
		"more experts":   {[]int64{64, 128, 5}, "", "has shape [64 128 5], expected [64 128 4]"},
		"a matrix":       {[]int64{64, 128}, "", "has shape [64 128], expected [64 128 4]"},
		"narrow experts": {[]int64{64, 127, 4}, "", "has shape [64 127 4], expected [64 128 4]"},
		"none":           {nil, "", `"` + up + `" is missing`},
		"a dense network beside them": {[]int64{64, 128, 4}, "blk.0.ffn_up.weight",
			`"blk.0.ffn_up.weight" is none that architecture "qwen3moe" has`},
	} {
		t.Run(name, func(t *testing.T) {
			var w gguf.Writer
			w.CopyMetadata(f)
			for i := range f.Tensors {
				x := &f.Tensors[i]
				switch {
				case x.Name != up:
					err = w.AddFrom(f, x)
				case tt.shape != nil:
					n := int64(1)
					for _, d := range tt.shape {
						n *= d
					}
					err = w.AddFloats(up, tt.shape, make([]float32, n))
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			if tt.more != "" {
				if err := w.AddFloats(tt.more, []int64{64, 128}, make([]float32, 64*128)); err != nil {
					t.Fatal(err)
				}
			}
			path := filepath.Join(t.TempDir(), "bad.gguf")
			if err := w.WriteFile(context.Background(), nil, path); err != nil {
				t.Fatal(err)
			}
			if _, err := Open(path); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}
