package llama

import (
	"slices"
	"strings"
	"testing"

	"github.com/ggtune/ggtune/bindings"
)

func TestReadMemory(t *testing.T) {
	const at = "llama_memory_breakdown_print: "
	for _, tc := range []struct {
		name string
		rows []string
		want Memory
		says string
	}{
		{"repacked",
			[]string{"| memory breakdown [MiB] | total   free    self   model   context   compute    unaccounted |",
				"|   - Host               |                 461 =   105 +      56 +     299                |",
				"|   - CPU_REPACK         |                 394 =   394 +       0 +       0                |"},
			Memory{Repacked: 394 << 20, KV: 56 << 20, Work: 299 << 20}, ""},
		{"plain", []string{"|   - Host |  461 =   405 +      56 +     0    |"}, Memory{KV: 56 << 20}, ""},
		{"none", []string{"something else"}, Memory{}, "no table"},
		{"another sum", []string{"|   - Host |  461 =   405 +      56   |"}, Memory{}, "expected name"},
		{"no number", []string{"|   - Host |  461 =   405 +      a + 3   |"}, Memory{}, "- Host"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var lines []bindings.LogLine
			for _, r := range tc.rows {
				lines = append(lines, bindings.LogLine{Text: at + r})
			}
			got, err := readMemory("m.gguf", lines)
			if got != tc.want || (err == nil) != (tc.says == "") || err != nil &&
				!strings.Contains(err.Error(), tc.says) {
				t.Errorf("got %+v, %v; want %+v, %q", got, err, tc.want, tc.says)
			}
		})
	}
}

func TestReadFeatures(t *testing.T) {
	got := readFeatures("CPU : SSE3 = 1 | AVX2 = 1 | SVE_CNT = 32 | NEON = 0 | REPACK = 1 | ")
	var names []string
	for n := range got {
		names = append(names, n)
	}
	slices.Sort(names)
	if want := []string{"AVX2", "REPACK", "SSE3", "SVE_CNT"}; !slices.Equal(names, want) {
		t.Errorf("got %v, want %v", names, want)
	}
	if got := readFeatures(""); len(got) != 0 {
		t.Errorf("of nothing: %v", got)
	}
}
