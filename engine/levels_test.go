package engine_test

import (
	"slices"
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
	for _, name := range arch.Names() {
		t.Run(name, func(t *testing.T) {
			path := synth.Temp(t, synth.Tiny(name, gguf.Q4_K))
			m := loadReference(t, path, 4)
			rows := []refmodel.Row{short(m.NVocab)}
			predicts, want := slices.Contains(arch.Predicting(), name), expectation{}
			if predicts {
				want = referenceOf(t, m, rows)
			}
			tried := 0
			atLevels(t, func(l kernels.Level) {
				tried++
				for mode, c := range map[string]closeness{"exact": exact, "fast": fast} {
					t.Run(l.String()+"/"+mode, func(t *testing.T) {
						r := openTrial(t, path, m, engine.SessionConfig{Threads: 1, Exact: mode == "exact",
							KeepBytes: 1 << 30})
						if predicts {
							r.compare(t, rows, want, c)
						} else {
							r.check(t, rows, c)
						}
					})
				}
			})
			if tried == 0 {
				t.Error("no level could be set")
			}
		})
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
