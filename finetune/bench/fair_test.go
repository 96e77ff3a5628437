package bench

import (
	"strings"
	"testing"

	"github.com/ggtune/ggtune/bindings/kernels"
)

// TestUnfair: R is printed with a warning wherever llama.cpp is not at its best for the CPU that our kernels compute
// for.
func TestUnfair(t *testing.T) {
	set := func(names string) map[string]bool {
		has := map[string]bool{}
		for _, n := range strings.Fields(names) {
			has[n] = true
		}
		return has
	}
	const zen4 = "AVX2 FMA F16C AVX512 AVX512_VNNI AVX512_BF16 REPACK"
	for _, tc := range []struct {
		name  string
		level kernels.Level
		has   string
		says  string // between "without" and ", which"; "" for no warning
	}{
		{"native", kernels.AVX512BF16, zen4, ""},
		{"as go install compiles it", kernels.AVX512BF16, "SSE3 LLAMAFILE",
			"AVX2, FMA, F16C, AVX512, AVX512_VNNI, AVX512_BF16, REPACK"},
		{"without repacking", kernels.AVX512BF16, strings.TrimSuffix(zen4, " REPACK"), "REPACK"},
		{"for another CPU", kernels.AVX512VNNI, "AVX2 FMA F16C REPACK", "AVX512, AVX512_VNNI"},
		{"at the level it was compiled for", kernels.AVX2, "AVX2 FMA F16C REPACK", ""},
		{"one of two", kernels.AVX2VNNI, zen4, ""},
		{"neither of two", kernels.AVX2VNNI, "AVX2 FMA F16C REPACK", "AVX_VNNI or AVX512_VNNI"},
		{"portable", kernels.Portable, "", ""},
		{"ARM", kernels.NEON, "NEON REPACK", ""},
		{"ARM, plain", kernels.NEON, "NEON", "REPACK"},
	} {
		got := unfair(tc.level, set(tc.has))
		if tc.says == "" && got != "" || tc.says != "" && !strings.Contains(got, "without "+tc.says+", which") {
			t.Errorf("%s: got %q, want it to name %q", tc.name, got, tc.says)
		}
	}
	for l := kernels.Portable; l <= kernels.NEON; l++ {
		if _, ok := uses[l]; !ok {
			t.Errorf("nobody says what llama.cpp must be compiled for beside kernels for %s", l)
		}
	}
}
