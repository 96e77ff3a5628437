package bench

import (
	"maps"
	"slices"
	"strings"

	"github.com/ggtune/ggtune/bindings/kernels"
	"github.com/ggtune/ggtune/bindings/llama"
)

// uses are what llama.cpp must be compiled for, in its names, to be the one that people with a level's CPU run: of each
// group one. Kernels for repacked weights are part of it wherever there are vectors to have them for.
var uses = map[kernels.Level][][]string{
	kernels.Portable:   nil, // a reference: no CPU of today is like that
	kernels.AVX2:       {{"AVX2"}, {"FMA"}, {"F16C"}, {llama.Repack}},
	kernels.AVX2VNNI:   {{"AVX2"}, {"FMA"}, {"F16C"}, {"AVX_VNNI", "AVX512_VNNI"}, {llama.Repack}},
	kernels.AVX512:     {{"AVX2"}, {"FMA"}, {"F16C"}, {"AVX512"}, {llama.Repack}},
	kernels.AVX512VNNI: {{"AVX2"}, {"FMA"}, {"F16C"}, {"AVX512"}, {"AVX512_VNNI"}, {llama.Repack}},
	kernels.AVX512BF16: {{"AVX2"}, {"FMA"}, {"F16C"}, {"AVX512"}, {"AVX512_VNNI"}, {"AVX512_BF16"}, {llama.Repack}},
	kernels.NEON:       {{"NEON"}, {llama.Repack}},
}

// unfair says why a llama.cpp with these features is slower than the one people run beside kernels of that level, "" if
// it is not.
func unfair(l kernels.Level, has map[string]bool) string {
	var missing []string
	for _, group := range uses[l] {
		if !slices.ContainsFunc(group, func(f string) bool { return has[f] }) {
			missing = append(missing, strings.Join(group, " or "))
		}
	}
	if missing == nil {
		return ""
	}
	return "R is too high: the llama.cpp inside was compiled without " + strings.Join(missing, ", ") +
		", which people's llama.cpp uses on " +
		"a CPU like that of our kernels (" + l.String() + "); make build sets the flags for this machine"
}

// askLlama notes what llama.cpp was compiled for, and what that makes of R.
func (r *Report) askLlama() error {
	has, err := llama.Features()
	if err != nil {
		return err
	}
	r.LlamaCpp, r.Warning = slices.Sorted(maps.Keys(has)), unfair(kernels.CurrentLevel(), has)
	return nil
}
