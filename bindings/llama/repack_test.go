package llama_test

import (
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/ggtune/ggtune/bindings"
	"github.com/ggtune/ggtune/bindings/llama"
	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/engine/synth"
	"github.com/ggtune/ggtune/internal/testdata"
)

// opNMSE is what llama.cpp's own tests allow a backend's matrix product to differ from another's: the mean squared
// difference over the mean square (tests/test-backend-ops.cpp, test_mul_mat::max_nmse_err). Logits come after products
// of products; measured here: up to 9e-6 (and 1e-3 at the end of Gemma 3 270M's 18 layers of q4_k_m).
const opNMSE = 5e-4

func nmse(t *testing.T, got, want []float32) float64 {
	t.Helper()
	if len(got) != len(want) || len(got) == 0 {
		t.Fatalf("%d and %d numbers", len(got), len(want))
	}
	var diff, size float64
	for i := range got {
		d := float64(got[i]) - float64(want[i])
		diff += d * d
		size += float64(want[i]) * float64(want[i])
	}
	return diff / size
}

// repacks says whether this build has kernels for repacked weights: make sets a flag that a plain go test does not.
func repacks(t *testing.T) bool {
	t.Helper()
	has, err := llama.Features()
	if err != nil {
		t.Fatal(err)
	}
	return has[llama.Repack]
}

// logitsOf reads tokens in batches of n.
func logitsOf(t *testing.T, path string, mo llama.ModelOptions, co llama.ContextOptions, tokens []int32) []float32 {
	t.Helper()
	m, err := llama.OpenModel(path, mo)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	c, err := m.NewContext(co)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	logits, err := c.Logits(t.Context(), tokens, nil)
	if err != nil {
		t.Fatal(err)
	}
	return logits
}

// TestRepackedLogits: llama.cpp's kernels for repacked weights give what its plain ones give, within what its own tests
// allow, whether many tokens are read at once, a few or one.
func TestRepackedLogits(t *testing.T) {
	if !repacks(t) {
		t.Skip("this build leaves ggml's kernels for repacked weights out: make test sets the flag for them")
	}
	// the types that some CPU has kernels for: others are left as they are, to the bit
	repackable := []gguf.Type{gguf.Q4_0, gguf.Q4_K, gguf.Q2_K, gguf.IQ4_NL}
	if _, system, err := llama.System(); err != nil {
		t.Fatal(err)
	} else if system { // ggml 0.25 has some for AVX2
		repackable = append(repackable, gguf.MXFP4)
	}
	compare := func(t *testing.T, path string, tokens []int32, exact bool) {
		worst := 0.0
		for _, batch := range []int{len(tokens), 5, 1} {
			o := llama.VerifyContextOptions(64, 1)
			o.NBatch = batch
			plain := logitsOf(t, path, llama.VerifyModelOptions(), o, tokens)
			e := nmse(t, logitsOf(t, path, llama.UserModelOptions(), o, tokens), plain)
			worst = max(worst, e)
			if !(e <= opNMSE) || exact && e != 0 {
				t.Errorf("batches of %d: repacked weights' logits differ by %.2g of their square", batch, e)
			}
		}
		t.Logf("difference: %.2g of the square", worst)
	}
	tokens := make([]int32, 37) // no multiple of the kernels' 4 and 16 columns
	for i := range tokens {
		tokens[i] = int32((i*i + 7) % 320)
	}
	for _, typ := range gguf.Types() {
		if !synth.HoldsWeights(typ) {
			continue
		}
		t.Run(typ.String(), func(t *testing.T) {
			s := synth.Tiny("llama", typ)
			s.Embd, s.FF = 256, 512
			compare(t, synth.Temp(t, s), tokens, !slices.Contains(repackable, typ))
		})
	}
	for _, name := range []string{"stories3M-q4_0.gguf", "stories3M-pad256-q4_k_m.gguf"} { // trained weights
		t.Run(name, func(t *testing.T) {
			compare(t, testdata.Path(t, "models", "stories3M", name), tokens, false)
		})
	}
}

// TestPlanMemory: what is planned is what llama.cpp then logs that it took.
func TestPlanMemory(t *testing.T) {
	s := synth.Tiny("llama", gguf.Q4_0)
	s.Embd, s.FF, s.Ctx = 512, 2048, 4096
	path := synth.Temp(t, s)
	o := llama.UserContextOptions(4096, 1)
	plan, err := llama.PlanMemory(path, llama.UserModelOptions(), o)
	if err != nil {
		t.Fatal(err)
	}
	since := bindings.LogNext()
	m, err := llama.OpenModel(path, llama.UserModelOptions())
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	newContext(t, m, o)
	logged := func(name string) (bytes int64) {
		for _, l := range bindings.Log(since) {
			if _, after, ok := strings.Cut(l.Text, name+" buffer size ="); ok {
				whole, _, _ := strings.Cut(strings.TrimSpace(after), ".")
				for _, d := range whole {
					bytes = 10*bytes + int64(d-'0')<<20
				}
			}
		}
		return bytes
	}
	if want := logged("KV"); wholeMiB(plan.KV) != want || want == 0 {
		t.Errorf("keys and values: planned %d bytes, took %d", plan.KV, want)
	}
	if want := logged("compute"); wholeMiB(plan.Work) != want || want == 0 {
		t.Errorf("work area: planned %d bytes, took %d", plan.Work, want)
	}
	// some of what is repacked for AMX goes by that name
	want := logged("CPU_REPACK model") + logged("AMX model")
	if wholeMiB(plan.Repacked) != want || repacks(t) != (want > 0) {
		t.Errorf("repacked copy: planned %d bytes, took %d; kernels for it: %v", plan.Repacked, want, repacks(t))
	}
	mapped, err := llama.PlanMemory(path, llama.VerifyModelOptions(), o)
	if err != nil || mapped.Repacked != 0 || mapped.KV != plan.KV {
		t.Errorf("without repacking: %+v, %v; with: %+v", mapped, err, plan)
	}
	if _, err := llama.PlanMemory(path+"x", llama.UserModelOptions(), o); err == nil {
		t.Error("a file that is not there: no error")
	}
}

// wholeMiB rounds down, as llama.cpp's log is read; not every build plans in whole MiB.
func wholeMiB(bytes int64) int64 { return bytes &^ (1<<20 - 1) }

// TestFlashAttention: a user's context has it, as llama.cpp's own default (auto) decides, and it changes no greedy
// text.
func TestFlashAttention(t *testing.T) {
	const allowed = 1e-5 // of the logits' square; measured: 2e-8, with keys and values of f16 both times
	m := openTestModel(t, llama.UserModelOptions(), "models", "stories260K", "stories260K-f32.gguf")
	ids := encode(t, m, "Once upon a time, there was a")
	var texts [2][]int32
	var logits [2][]float32
	for i, flash := range []llama.FlashAttn{llama.FlashAttnAuto, llama.FlashAttnOff} {
		o := llama.UserContextOptions(512, 1)
		if o.FlashAttn != llama.FlashAttnAuto {
			t.Errorf("flash attention is %d for users, want llama.cpp's default", o.FlashAttn)
		}
		o.FlashAttn = flash
		since := bindings.LogNext()
		c := newContext(t, m, o)
		enabled := slices.ContainsFunc(bindings.Log(since), func(l bindings.LogLine) bool {
			return strings.Contains(l.Text, "Flash Attention was auto, set to enabled") || // of the Go module
				strings.Contains(l.Text, "resolve_fused_ops: Flash Attention enabled") // of llama.cpp 0.5
		})
		if enabled != (flash == llama.FlashAttnAuto) {
			t.Errorf("flash attention %d: llama.cpp says it is on: %v", flash, enabled)
		}
		var err error
		if texts[i], err = c.Generate(t.Context(), ids, 200, llama.Greedy(), nil); err != nil {
			t.Fatal(err)
		}
		if err := c.Truncate(0); err != nil {
			t.Fatal(err)
		}
		if logits[i], err = c.Logits(t.Context(), texts[i][:100], nil); err != nil {
			t.Fatal(err)
		}
	}
	if !slices.Equal(texts[0], texts[1]) {
		t.Errorf("two greedy texts:\n%v\n%v", texts[0], texts[1])
	}
	e := nmse(t, logits[0], logits[1])
	t.Logf("difference: %.2g of the square", e)
	if !(e <= allowed) || math.IsNaN(e) || e == 0 {
		t.Errorf("logits differ by %.2g of their square, expected something up to %g", e, allowed)
	}
}
