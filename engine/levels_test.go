package engine_test

import (
	"errors"
	"testing"

	"github.com/ggtune/ggtune/bindings/kernels"
	"github.com/ggtune/ggtune/engine"
	"github.com/ggtune/ggtune/engine/arch"
	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/engine/synth"
	"github.com/ggtune/ggtune/internal/refmodel"
)

// TestReferenceLevels: a whole model's pass at every instruction-set level of this CPU is the reference's, exact and
// fast. A binary runs at the level it finds, so that a user's is not the one of the machine that tested it.
func TestReferenceLevels(t *testing.T) {
	defer func(was kernels.Level) {
		if err := kernels.SetLevel(was); err != nil {
			t.Error(err)
		}
	}(kernels.CurrentLevel())
	tried := 0
	for l := kernels.Portable; l <= kernels.NEON; l++ {
		if err := kernels.SetLevel(l); errors.Is(err, kernels.ErrLevel) {
			continue
		} else if err != nil {
			t.Fatal(err)
		}
		tried++
		for _, name := range arch.Names() {
			for mode, c := range map[string]closeness{"exact": exact, "fast": fast} {
				t.Run(l.String()+"/"+name+"/"+mode, func(t *testing.T) {
					path := synth.Temp(t, synth.Tiny(name, gguf.Q4_K))
					m := loadReference(t, path, 4)
					r := openTrial(t, path, m, engine.SessionConfig{Threads: 1, Exact: mode == "exact",
						KeepBytes: 1 << 30})
					r.check(t, []refmodel.Row{short(m.NVocab)}, c)
				})
			}
		}
	}
	if tried == 0 {
		t.Error("no level could be set")
	}
}

// atLevels calls f at each level of this CPU, and then sets the one that was.
func atLevels(t *testing.T, f func(l kernels.Level)) {
	t.Helper()
	defer func(was kernels.Level) {
		if err := kernels.SetLevel(was); err != nil {
			t.Error(err)
		}
	}(kernels.CurrentLevel())
	for _, l := range kernels.Levels() {
		if err := kernels.SetLevel(l); err != nil {
			t.Fatal(err)
		}
		f(l)
	}
}
