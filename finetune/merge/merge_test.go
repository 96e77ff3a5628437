package merge

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ggtune/ggtune/bindings/ggml"
	"github.com/ggtune/ggtune/engine"
	"github.com/ggtune/ggtune/engine/adapter"
	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/engine/synth"
	"github.com/ggtune/ggtune/finetune/report"
	"github.com/ggtune/ggtune/internal/atomicfile/faultfs"
	"github.com/ggtune/ggtune/internal/testdata"
)

// said gathers what is told.
type said []string

func (s *said) Report(e report.Event) {
	if n, ok := e.(report.Notice); ok {
		*s = append(*s, n.Text)
	}
}

// lora writes an adapter for a model, with numbers in both halves of what changes them, and gives its path.
func lora(t *testing.T, model string, seed uint64, targets []string, change func(*adapter.Adapter)) string {
	t.Helper()
	m, err := engine.Open(model)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	a, err := adapter.New(m.Net(), adapter.Config{Rank: 4, Alpha: 8, Init: "kaiming", Seed: seed, Targets: targets})
	if err != nil {
		t.Fatal(err)
	}
	for i := range a.Pairs {
		for j := range a.Pairs[i].B {
			a.Pairs[i].B[j] = float32((i*7+j*5+int(seed))%11-5) / 20
		}
	}
	if change != nil {
		change(a)
	}
	path := filepath.Join(t.TempDir(), "adapter.gguf")
	if err := a.Save(t.Context(), nil, path); err != nil {
		t.Fatal(err)
	}
	return path
}

// numbers gives a tensor's numbers and its bytes.
func numbers(t *testing.T, f *gguf.File, name string) ([]float32, []byte, *gguf.TensorInfo) {
	t.Helper()
	info, err := f.Tensor(name)
	if err != nil {
		t.Fatal(err)
	}
	data, err := f.Data(info)
	if err != nil {
		t.Fatal(err)
	}
	x, err := ggml.Dequantize(ggml.Type(info.Type), data, info.Elements())
	if err != nil {
		t.Fatal(err)
	}
	return x, data, info
}

func open(t *testing.T, path string) *gguf.File {
	t.Helper()
	f, err := gguf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// words are what most tests measure on: less than the general text, which takes seconds.
const words = "Once upon a time there was a little dog who lived in a small green house at the end of the street."

// expected is base + Σ scale·B·A of a tensor, plainly, in f64.
func expected(t *testing.T, base []float32, info *gguf.TensorInfo, model string, list []Adapter) []float32 {
	t.Helper()
	m, err := engine.Open(model)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	sum := make([]float64, len(base))
	for i, v := range base {
		sum[i] = float64(v)
	}
	for _, one := range list {
		a, err := adapter.Load(one.Path, m.Net())
		if err != nil {
			t.Fatal(err)
		}
		for i := range a.Pairs {
			p := &a.Pairs[i]
			if p.Tensor != info.Name {
				continue
			}
			for at := range sum {
				row, col := int64(at)/info.Shape[0], int64(at)%info.Shape[0]
				for k := range p.Rank {
					sum[at] += one.Scale * a.Scale(p) * float64(p.B[row*p.Rank+k]) * float64(p.A[k*info.Shape[0]+col])
				}
			}
		}
	}
	out := make([]float32, len(sum))
	for i, v := range sum {
		out[i] = float32(v)
	}
	return out
}

// TestMerge: in every type the merged tensors are what that type makes of the exact sum, the others are copied byte
// for byte, and the predictions are as near as the type allows.
func TestMerge(t *testing.T) {
	for _, tc := range []struct {
		arch string
		typ  gguf.Type
		kl   float64 // nats, at most: several times what was measured
	}{
		{"llama", gguf.F32, 1e-9}, {"qwen2", gguf.F32, 1e-9}, {"qwen3", gguf.F32, 1e-9}, {"gpt2", gguf.F32, 1e-9},
		{"llama", gguf.F16, 1e-5}, {"llama", gguf.BF16, 1e-4}, {"llama", gguf.Q8_0, 1e-2}, {"llama", gguf.Q4_1, 1},
		{"llama", gguf.Q4_K, 1},
	} {
		t.Run(tc.arch+"/"+tc.typ.String(), func(t *testing.T) {
			model := synth.Temp(t, synth.Tiny(tc.arch, tc.typ))
			cfg := Config{Model: model, Output: filepath.Join(t.TempDir(), "m.gguf"), Threads: 1, Report: words,
				Adapters: []Adapter{{lora(t, model, 1, nil, nil), 1},
					{lora(t, model, 2, []string{"attn_output"}, nil), -0.5}}}
			r, err := Merge(t.Context(), cfg, report.Silent{})
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("KL %.2g, of the base %.2g; rounding %.2g", r.Report.Merged.KL, r.Report.Base.KL, r.Rounding)
			if !(r.Report.Merged.KL <= tc.kl) || !(r.Report.Merged.KL < r.Report.Base.KL) {
				t.Errorf("KL %.3g, expected at most %g, and less than the base's %.3g", r.Report.Merged.KL, tc.kl,
					r.Report.Base.KL)
			}
			was, is, changed := open(t, model), open(t, cfg.Output), 0
			for i := range was.Tensors {
				name := was.Tensors[i].Name
				base, before, info := numbers(t, was, name)
				_, after, now := numbers(t, is, name)
				want := before
				if sum := expected(t, base, info, model, cfg.Adapters); !slices.Equal(sum, base) {
					changed++
					if want, err = ggml.Quantize(ggml.Type(info.Type), sum, info.Shape[0]); err != nil {
						t.Fatal(err)
					}
				}
				if now.Type != info.Type || !near(now.Type, after, want) {
					t.Errorf("%s: other numbers than the sum in %s", name, info.Type)
				}
			}
			if changed != r.Merged || changed == 0 {
				t.Errorf("%d tensors changed, told of %d", changed, r.Merged)
			}
			if got := r.Rounded > 0; got != tc.typ.IsQuantized() {
				t.Errorf("%d tensors are said to be quantized anew", r.Rounded)
			}
		})
	}
}

// near says whether bytes are equal but for the last bit of a few numbers: plain sums are made in another order.
func near(typ gguf.Type, a, b []byte) bool {
	if bytes.Equal(a, b) {
		return true
	}
	other := 0
	for i := range a {
		if a[i] != b[i] {
			other++
		}
	}
	return len(a) == len(b) && other <= len(a)/1000
}

// TestScaleZero: at scale 0 the tensors are the base's, byte for byte, and so is all else but the names.
func TestScaleZero(t *testing.T) {
	spec := synth.Tiny("llama", gguf.Q4_K)
	spec.Name = "Tiny"
	model := synth.Temp(t, spec)
	cfg := Config{Model: model, Output: filepath.Join(t.TempDir(), "m.gguf"), Threads: 1,
		Report: words, Adapters: []Adapter{{lora(t, model, 1, nil, nil), 0}}}
	r, err := Merge(t.Context(), cfg, report.Silent{})
	if err != nil {
		t.Fatal(err)
	}
	if r.Merged != 0 || r.Rounded != 0 || r.Report.Merged.KL != 0 || r.Report.Lost() {
		t.Errorf("got %+v with a report of %+v", r, r.Report)
	}
	was, is := open(t, model), open(t, cfg.Output)
	for i := range was.Tensors {
		_, before, _ := numbers(t, was, was.Tensors[i].Name)
		if _, after, _ := numbers(t, is, was.Tensors[i].Name); !bytes.Equal(before, after) {
			t.Errorf("%s is not the base's", was.Tensors[i].Name)
		}
	}
	name := filepath.Base(filepath.Dir(cfg.Adapters[0].Path))
	for key, want := range map[string]string{"general.name": "Tiny + " + name + " × 0",
		"general.base_model.0.name": "Tiny", "ggtune.merge.adapter.0.name": name,
		"ggtune.merge.adapter.0.sha256": r.Adapters[0].SHA256} {
		if got, err := is.String(key); err != nil || got != want {
			t.Errorf("%s is %q (%v), want %q", key, got, err, want)
		}
	}
	kept := map[string]string{}
	for _, kv := range is.KVs() {
		kept[kv.Key] = fmt.Sprint(kv.Value)
	}
	for _, kv := range was.KVs() {
		if kv.Key != "general.name" && kept[kv.Key] != fmt.Sprint(kv.Value) {
			t.Errorf("metadata %s is %s, was %s", kv.Key, kept[kv.Key], kv.Value)
		}
	}
}

// TestType: another type for all tensors that have one, from a quantized base too.
func TestType(t *testing.T) {
	model := synth.Temp(t, synth.Tiny("llama", gguf.Q4_0))
	cfg := Config{Model: model, Output: filepath.Join(t.TempDir(), "m.gguf"), Threads: 1, Type: "F16",
		Adapters: []Adapter{{lora(t, model, 1, []string{"attn_q"}, nil), 1}}}
	r, err := Merge(t.Context(), cfg, report.Silent{})
	if err != nil {
		t.Fatal(err)
	}
	if *r.Type != "f16" || r.Rounded != 0 || !(r.Report.Merged.KL < 1e-5) {
		t.Errorf("got type %s, %d quantized, KL %g", *r.Type, r.Rounded, r.Report.Merged.KL)
	}
	f := open(t, cfg.Output)
	for i := range f.Tensors {
		want := map[bool]gguf.Type{true: gguf.F16, false: gguf.F32}[len(f.Tensors[i].Shape) > 1]
		if f.Tensors[i].Type != want {
			t.Errorf("%s is %s, want %s", f.Tensors[i].Name, f.Tensors[i].Type, want)
		}
	}
}

// TestRefuses: what does not go together is refused, and nothing is left behind.
func TestRefuses(t *testing.T) {
	model := synth.Temp(t, synth.Tiny("llama", gguf.F32))
	wide := synth.Tiny("llama", gguf.F32)
	wide.Embd = 128
	other := synth.Temp(t, wide)
	good := lora(t, model, 1, nil, nil)
	bad := diverged(t, lora(t, model, 1, nil, nil))
	importance := synth.Temp(t, synth.Tiny("llama", gguf.IQ2_XXS))
	dir := t.TempDir()
	link := filepath.Join(dir, "link.gguf")
	if err := os.Link(good, link); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		change func(*Config)
		want   []string
	}{
		"over the base":   {func(c *Config) { c.Output = model }, []string{"it is a file that is being read", model}},
		"over an adapter": {func(c *Config) { c.Output = link }, []string{"it is a file that is being read", good}},
		"another shape": {func(c *Config) { c.Adapters[0].Path = lora(t, other, 1, nil, nil) },
			[]string{"the adapter belongs to another model"}},
		"a scale that is too large": {func(c *Config) { c.Adapters[0].Scale = 1e300 },
			[]string{`tensor "blk.0.attn_q.weight": element 0 is `, "their scales are too large"}},
		"a scale":  {func(c *Config) { c.Adapters[0].Scale = math.NaN() }, []string{"scale is NaN", good}},
		"diverged": {func(c *Config) { c.Adapters[0].Path = bad }, []string{bad, "holds +Inf", "earlier checkpoint"}},
		"a type":   {func(c *Config) { c.Type = "q9" }, []string{`"q9"`}},
		"no importance": {func(c *Config) {
			c.Model, c.Adapters[0].Path = importance, lora(t, importance, 1, nil, nil)
		}, []string{"iq2_xxs", "importance matrix", "--type q8_0"}},
		"no file": {func(c *Config) { c.Report = "nothing.txt" },
			[]string{"--report nothing.txt", "no file of that name"}},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := Config{Model: model, Output: filepath.Join(dir, "m.gguf"), Threads: 1,
				Adapters: []Adapter{{good, 1}}}
			tc.change(&cfg)
			_, err := Merge(t.Context(), cfg, report.Silent{})
			if err == nil {
				t.Fatal("accepted")
			}
			for _, want := range tc.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %q does not say %q", err, want)
				}
			}
			nothingLeft(t, dir, "link.gguf")
		})
	}
}

// diverged makes the first number of an adapter's file +Inf, which no adapter can be saved with.
func diverged(t *testing.T, path string) string {
	t.Helper()
	f := open(t, path)
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	binary.LittleEndian.PutUint32(b[f.Tensors[0].Offset:], math.Float32bits(float32(math.Inf(1))))
	out := filepath.Join(t.TempDir(), "diverged.gguf")
	if err := os.WriteFile(out, b, 0o666); err != nil {
		t.Fatal(err)
	}
	return out
}

func nothingLeft(t *testing.T, dir string, but ...string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if !slices.Contains(but, e.Name()) {
			t.Errorf("%s is left behind", e.Name())
		}
	}
}

// TestFaults: whatever operation on the file fails, nothing is left and what was there is as it was; a stop too.
func TestFaults(t *testing.T) {
	model := synth.Temp(t, synth.Tiny("llama", gguf.Q8_0))
	dir := t.TempDir()
	out := filepath.Join(dir, "m.gguf")
	cfg := Config{Model: model, Output: out, Threads: 1, Report: words,
		Adapters: []Adapter{{lora(t, model, 1, []string{"attn_v"}, nil), 1}}}
	if err := os.WriteFile(out, []byte("before"), 0o666); err != nil {
		t.Fatal(err)
	}
	count := faultfs.New(nil, 0, faultfs.Fail, nil)
	cfg.FS = count
	if _, err := Merge(t.Context(), cfg, report.Silent{}); err != nil {
		t.Fatal(err)
	}
	for at := 1; at < count.Ops(); at++ { // the last flushes the directory: the file is there then
		if err := os.WriteFile(out, []byte("before"), 0o666); err != nil {
			t.Fatal(err)
		}
		cfg.FS = faultfs.New(nil, at, faultfs.Fail, nil)
		if _, err := Merge(t.Context(), cfg, report.Silent{}); err == nil {
			t.Errorf("operation %d, %s, fails, and nobody says so", at, count.Log()[at-1])
		}
		nothingLeft(t, dir, "m.gguf")
		if b, _ := os.ReadFile(out); string(b) != "before" {
			t.Errorf("operation %d, %s, fails, and the file there before is changed", at, count.Log()[at-1])
		}
	}
	cfg.FS = nil
	for _, during := range []string{"read", "merge", "measure", "verify"} {
		stopped := errors.New("stop")
		ctx, stop := context.WithCancelCause(t.Context())
		if _, err := Merge(ctx, cfg, stopper{during, func() { stop(stopped) }}); !errors.Is(err, stopped) {
			t.Errorf("stopped during %s: got %v, want the cause", during, err)
		}
		nothingLeft(t, dir, "m.gguf")
	}
}

// A stopper stops when a part is under way.
type stopper struct {
	part string
	stop func()
}

func (s stopper) Report(e report.Event) {
	if p, ok := e.(report.Progress); ok && p.What == s.part {
		s.stop()
	}
}

// TestOrigin: an adapter of another base, or of an unfinished run, is told of.
func TestOrigin(t *testing.T) {
	model := synth.Temp(t, synth.Tiny("llama", gguf.F32))
	path := lora(t, model, 1, nil, func(a *adapter.Adapter) {
		a.Info = map[string]string{"base_sha256": "0ff", "unfinished": "step 3 of 10"}
	})
	var told said
	if _, err := Merge(t.Context(), Config{Model: model, Output: filepath.Join(t.TempDir(), "m.gguf"), Threads: 1,
		Report: words, Adapters: []Adapter{{path, 1}, {path, 0.5}}}, &told); err != nil {
		t.Fatal(err)
	}
	text := strings.Join(told, "\n")
	for _, want := range []string{"was trained on another base (sha256 0ff", "unfinished run (step 3 of 10)"} {
		if n := strings.Count(text, want); n != 1 {
			t.Errorf("%q says %d times %q, want once", text, n, want)
		}
	}
}

// TestLost: a merged model that is further from what was meant than the base is told of. An adapter of small
// numbers is lost in q8_0 already.
func TestLost(t *testing.T) {
	spec := synth.Tiny("llama", gguf.F32)
	spec.Embd, spec.FF = 256, 512
	model := synth.Temp(t, spec)
	weak := lora(t, model, 1, nil, func(a *adapter.Adapter) { a.Alpha = 1e-3 })
	var told said
	r, err := Merge(t.Context(), Config{Model: model, Output: filepath.Join(t.TempDir(), "m.gguf"), Threads: 1,
		Type: "q8_0", Adapters: []Adapter{{weak, 1}}}, &told)
	if err != nil {
		t.Fatal(err)
	}
	if !r.Report.Lost() || !strings.Contains(strings.Join(told, "\n"), "lost much of what training brought") {
		t.Errorf("report %+v, told %q", r.Report, told)
	}
	text, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	var back struct {
		Report map[string]any
	}
	if err := json.Unmarshal(text, &back); err != nil || back.Report["text"] != "a general text" {
		t.Errorf("%s: %v", text, err)
	}
}

// TestText: what the user gives is measured on, data as data and words as words.
func TestText(t *testing.T) {
	model := testdata.Path(t, "models", "stories3M", "stories3M-q8_0.gguf")
	data := filepath.Join(t.TempDir(), "d.jsonl")
	if err := os.WriteFile(data, []byte(`{"prompt": "Once upon", "completion": " a time there was a dog."}`+"\n"+
		`{"prompt": "The cat", "completion": " sat on the mat."}`+"\n"), 0o666); err != nil {
		t.Fatal(err)
	}
	path := lora(t, model, 1, []string{"attn_q"}, func(a *adapter.Adapter) { a.Alpha = 0.1 })
	for _, tc := range []struct{ report, what string }{
		{data, data}, {"Once upon a time there was a little dog.", "the text given"}} {
		r, err := Merge(t.Context(), Config{Model: model, Output: filepath.Join(t.TempDir(), "m.gguf"), Threads: 1,
			Report: tc.report, Adapters: []Adapter{{path, 1}}}, report.Silent{})
		if err != nil {
			t.Fatal(err)
		}
		if r.Report.Text != tc.what || r.Report.Tokens < 5 || r.Report.Tokens > 30 {
			t.Errorf("measured %d tokens of %s, want those of %s", r.Report.Tokens, r.Report.Text, tc.what)
		}
	}
}
