package verify_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ggtune/ggtune/bindings/ggml"
	"github.com/ggtune/ggtune/bindings/llama/reference"
	"github.com/ggtune/ggtune/engine/arch"
	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/engine/synth"
	"github.com/ggtune/ggtune/engine/verify"
	"github.com/ggtune/ggtune/internal/atomicfile"
	"github.com/ggtune/ggtune/quant"
	"github.com/ggtune/ggtune/quant/mix"
)

// A source is a model to quantize. llama.cpp's quantizer looks at names, row lengths and a few numbers of the metadata:
// so matrices have two rows each, and there are layers enough for every rule of the mixes.
type source struct {
	name     string
	metadata map[string]any // string, int or []int32 below the architecture, "arch" itself
	tensors  []gguf.TensorInfo
	weighed  []bool // whether it is quantized with an importance matrix
}

const rowsEach = 2

// ofArch is a model as an architecture's tensors make it.
func ofArch(t *testing.T, name string, change func(*synth.Spec)) source {
	t.Helper()
	s := synth.Tiny(name, gguf.Q4_K) // rows for blocks of 256
	s.Layers = 9
	s.Type = gguf.F32
	if change != nil {
		change(&s)
	}
	ts, err := s.Tensors()
	if err != nil {
		t.Fatal(err)
	}
	heads := s.KVHeads
	if heads == 0 {
		heads = s.Heads
	}
	out := source{name: fmt.Sprintf("%s of %d layers, %d heads on %d, rows of %d, tied %v", name, s.Layers, s.Heads,
		heads, s.Embd, s.Tied), metadata: map[string]any{"arch": name, "block_count": s.Layers,
		"attention.head_count": s.Heads, "attention.head_count_kv": heads}, weighed: []bool{false, true}}
	for _, x := range ts {
		out.tensors = append(out.tensors, x.TensorInfo)
	}
	if a, err := arch.Get(name); err == nil {
		for k, v := range a.Example.Keys {
			if strings.HasPrefix(k, "expert_") {
				out.metadata[k] = v
			}
		}
	}
	return out
}

// byHand is a model of which only a few tensors matter.
func byHand(name string, layers, heads, kvHeads, experts int, perLayer ...string) source {
	s := source{name: fmt.Sprintf("%s of %d layers, %d heads on %d, %d experts", name, layers, heads, kvHeads, experts),
		metadata: map[string]any{"arch": name, "block_count": layers, "attention.head_count": heads,
			"attention.head_count_kv": kvHeads}, weighed: []bool{false, true}}
	if experts > 0 {
		s.metadata["expert_count"], s.metadata["expert_used_count"] = experts, 2
	}
	add := func(name string, shape ...int64) {
		s.tensors = append(s.tensors, gguf.TensorInfo{Name: name, Shape: shape})
	}
	add("output.weight", 256, rowsEach)
	add("token_embd.weight", 256, rowsEach)
	add("output_norm.weight", 256)
	// Not in their order: files need not be.
	for il := layers - 1; il >= 0; il-- {
		for _, role := range perLayer {
			in := arch.InLayer(il, role)
			switch {
			case strings.HasSuffix(role, "_exps.weight"):
				add(in, 256, rowsEach, int64(experts))
			case strings.HasSuffix(role, "_norm.weight"):
				add(in, 256)
			default:
				add(in, 256, rowsEach)
			}
		}
	}
	return s
}

var sparse = []string{"attn_q.weight", "attn_k.weight", "attn_v.weight", "attn_output.weight", "ffn_gate_inp.weight",
	"ffn_gate_exps.weight", "ffn_up_exps.weight", "ffn_down_exps.weight", "ffn_down_shexp.weight"}

func sources(t *testing.T) []source {
	var all []source
	for _, name := range arch.Names() {
		s := ofArch(t, name, nil)
		if a, err := arch.Get(name); err == nil && !a.Example.AllHeads {
			small := ofArch(t, name, func(s *synth.Spec) { s.KVHeads = 1 }) // keys and values are small
			// No rule looks at an architecture, at how many heads share keys, and at whether there is a matrix.
			if name != "llama" {
				s.weighed, small.weighed = []bool{false}, []bool{true}
			}
			all = append(all, small)
		}
		all = append(all, s)
	}
	tied := func(s *synth.Spec) { s.Tied = true }
	odd := func(s *synth.Spec) { s.Embd, s.FF, s.Layers = 96, 160, 9 } // rows that blocks of 256 do not fill
	half := func(s *synth.Spec) { s.Embd, s.FF, s.Layers = 96, 512, 9 }
	deep := func(s *synth.Spec) { s.Layers = 17 }
	all = append(all, ofArch(t, "llama", deep), ofArch(t, "llama", tied), ofArch(t, "llama", odd),
		ofArch(t, "llama", half),
		ofArch(t, "llama", func(s *synth.Spec) { s.Bias, s.RopeFactors, s.Layers = true, true, 8 }))
	return append(all,
		byHand("llama", 80, 8, 4, 0, "attn_v.weight", "ffn_down.weight"), // Llama 2 70B
		byHand("llama", 80, 8, 8, 0, "attn_v.weight"),                    // of 65B
		byHand("qwen2", 80, 8, 8, 0, "attn_v.weight"),
		byHand("falcon", 17, 8, 8, 0, "attn_qkv.weight", "attn_output.weight", "ffn_down.weight"),
		byHand("llama", 9, 8, 4, 8, sparse...), // Mixtral
		byHand("llama", 9, 8, 4, 4, sparse...),
		byHand("qwen3moe", 9, 8, 1, 16, "attn_v.weight", "attn_output.weight", "ffn_down_exps.weight"),
		byHand("phi3", 9, 8, 4, 0, "attn_norm.weight", "attn_qkv.weight", "attn_output.weight", "ffn_up.weight",
			"ffn_down.weight"))
}

// write makes the model's file; weights are as in models, in few digits.
func (s source) write(t *testing.T, edit func(string, []float32)) string {
	t.Helper()
	var w gguf.Writer
	name := s.metadata["arch"].(string)
	w.SetString("general.architecture", name)
	w.SetString("general.name", "to quantize")
	w.SetUint32("general.file_type", 0)
	for k, v := range s.metadata {
		if k != "arch" {
			w.SetUint32(name+"."+k, uint32(v.(int)))
		}
	}
	for k, n := range map[string]uint32{"context_length": 64, "embedding_length": 256, "feed_forward_length": 256,
		"vocab_size": rowsEach, "expert_feed_forward_length": 256, "attention.sliding_window": 16} {
		w.SetUint32(name+"."+k, n)
	}
	if a, err := arch.Get(name); err == nil { // without some of which llama.cpp reads no such file
		for k, v := range a.Example.Keys {
			switch x := v.(type) {
			case int:
				if _, ok := s.metadata[k]; !ok {
					w.SetUint32(name+"."+k, uint32(x))
				}
			case float32:
				w.SetFloat32(name+"."+k, x)
			case bool:
				w.SetBool(name+"."+k, x)
			case []bool:
				w.Set(name+"."+k, gguf.BoolsValue(slices.Repeat(x, 9)))
			case []int: // key heads, of which layers may have none
				list := make([]int32, s.metadata["block_count"].(int))
				for il := range list {
					list[il] = int32(x[il%len(x)])
				}
				w.Set(name+"."+k, gguf.NumbersValue(list))
			}
		}
	}
	w.SetFloat32(name+".attention.layer_norm_rms_epsilon", 1e-5)
	w.SetFloat32(name+".attention.layer_norm_epsilon", 1e-5)
	rng := rand.New(rand.NewPCG(1, 2))
	for _, x := range s.tensors {
		shape := append([]int64(nil), x.Shape...)
		if len(shape) > 1 {
			shape[1] = rowsEach
		}
		n := int64(1)
		for _, d := range shape {
			n *= d
		}
		values := make([]float32, n)
		for i := range values {
			values[i] = float32(rng.NormFloat64()) / 16
		}
		if edit != nil {
			edit(x.Name, values)
		}
		if err := w.AddFloats(x.Name, shape, values); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(t.TempDir(), "model.gguf")
	if err := w.WriteFile(context.Background(), nil, path); err != nil {
		t.Fatal(err)
	}
	return path
}

// noSync leaves out what thousands of small files need not wait for.
type noSync struct{ atomicfile.FS }

func (f noSync) Create(name string, perm fs.FileMode) (atomicfile.WriteFiler, error) {
	w, err := f.FS.Create(name, perm)
	return unsynced{w}, err
}

func (noSync) SyncDir(string) error { return nil }

var fast = quant.Output{Threads: 2, FS: noSync{atomicfile.OS}}

type unsynced struct{ atomicfile.WriteFiler }

func (unsynced) Sync() error { return nil }

// importance is a matrix for every tensor that may be quantized.
func importance(t *testing.T, f *gguf.File) quant.Importance {
	t.Helper()
	m, err := mix.ModelOf(f)
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(3, 4))
	out := quant.Importance{}
	for i, p := range mix.Places(f.Tensors, m) {
		if p.Kept {
			continue
		}
		n := p.Row()
		if len(p.Shape) > 2 {
			n *= p.Shape[2]
		}
		x := make([]float32, n)
		for j := range x {
			x[j] = float32(math.Exp(2 * rng.NormFloat64()))
		}
		out[f.Tensors[i].Name] = x
	}
	return out
}

func openFile(t *testing.T, path string) *gguf.File {
	t.Helper()
	f, err := gguf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// slow says that ggml takes many seconds to make search tables for a type of the mix. They are tested with -tags slow.
func slow(m mix.Mix) bool {
	switch m.Name {
	case "iq1_s", "iq1_m", "iq2_s", "iq2_m", "iq3_xxs":
		return !slowTests
	}
	return false
}

// Every file type, on every architecture, with and without an importance matrix: the metadata and every tensor's type
// and bytes are those of llama.cpp's quantizer. What it refuses is refused. Where the linked one has other rules than
// quant/mix, the types are chosen by these.
func TestQuantizedAsLlamaCpp(t *testing.T) {
	if len(mix.All()) < 33 {
		t.Fatalf("%d mixes; llama.cpp's tool has 33", len(mix.All()))
	}
	linked := linkedRules(t)
	changed := map[string]bool{} // mixes that anything was written in
	all := slices.DeleteFunc(mix.All(), slow)
	for _, s := range sources(t) {
		t.Run(s.name, func(t *testing.T) {
			path := verify.NeedLlama(t, s.write(t, nil))
			f := openFile(t, path)
			weights := importance(t, f)
			for _, m := range all {
				for _, weighed := range s.weighed {
					choice := quant.Choice{Mix: m}
					if weighed {
						choice.Importance = weights
					}
					if linked.same(t, f, choice) {
						changed[m.Name] = true
					}
				}
			}
		})
	}
	for _, m := range all {
		if !changed[m.Name] {
			t.Errorf("%s was never written", m.Name)
		}
	}
}

// same compares our file with llama.cpp's, and says whether there are any.
func (r rules) same(t *testing.T, f *gguf.File, c quant.Choice) bool {
	t.Helper()
	dir := t.TempDir()
	name := fmt.Sprintf("%s, importance matrix %v", c.Mix.Name, c.Importance != nil)
	theirs, ours := filepath.Join(dir, "theirs.gguf"), filepath.Join(dir, "ours.gguf")
	refused := reference.Quantize(f.Path(), theirs, c.Mix.FileType, c.Requantize, c.Importance)
	plan, err := quant.NewPlan(f, r.choose(t, f, c))
	if err == nil && r.refuses(&plan, c) {
		if refused == nil {
			t.Errorf("%s: llama.cpp wrote iq3_xxs without an importance matrix, which it refuses by its rules", name)
		}
		return false
	}
	if err == nil {
		_, err = quant.Write(context.Background(), plan, quant.FileRows(f), ours, fast)
	}
	defer os.RemoveAll(dir)
	if (refused == nil) != (err == nil) {
		t.Errorf("%s: llama.cpp says %v, and we %v", name, refused, err)
	}
	if refused != nil || err != nil {
		return false
	}
	compare(t, name, openFile(t, theirs), openFile(t, ours))
	return true
}

// compare compares two models: metadata by key, tensors by name, bytes by bytes.
func compare(t *testing.T, name string, want, got *gguf.File) {
	t.Helper()
	if len(got.KVs()) != len(want.KVs()) || len(got.Tensors) != len(want.Tensors) {
		t.Errorf("%s: got %d keys and %d tensors, want %d and %d", name, len(got.KVs()), len(got.Tensors),
			len(want.KVs()), len(want.Tensors))
	}
	for _, kv := range want.KVs() {
		v, err := got.Value(kv.Key)
		if err != nil || v.TypeName() != kv.Value.TypeName() || fmt.Sprint(v) != fmt.Sprint(kv.Value) {
			t.Errorf("%s: %s: got %v, %v, want %v", name, kv.Key, v, err, kv.Value)
		}
	}
	for i := range want.Tensors {
		w := &want.Tensors[i]
		g, err := got.Tensor(w.Name)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		a, err := want.Data(w)
		if err != nil {
			t.Fatal(err)
		}
		b, err := got.Data(g)
		if err != nil {
			t.Fatal(err)
		}
		if g.Type != w.Type || !bytes.Equal(a, b) {
			t.Errorf("%s: %s is %s, want %s; the same bytes: %v", name, w.Name, g.Type, w.Type, bytes.Equal(a, b))
		}
	}
}

// From every type that can be read, once that is allowed; and what has its type already is left alone.
func TestRequantizedAsLlamaCpp(t *testing.T) {
	s := ofArch(t, "llama", func(s *synth.Spec) { s.Layers = 9 })
	f := openFile(t, s.write(t, nil))
	dir := t.TempDir()
	linked := linkedRules(t)
	for _, name := range []string{"f16", "bf16", "q8_0", "q4_0", "q6_k", "q3_k_m", "iq4_xs", "mxfp4_moe"} {
		m, err := mix.Get(name)
		if err != nil {
			t.Fatal(err)
		}
		plan, err := quant.NewPlan(f, quant.Choice{Mix: m})
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, name+".gguf")
		if _, err := quant.Write(context.Background(), plan, quant.FileRows(f), path, fast); err != nil {
			t.Fatal(err)
		}
		from := openFile(t, path)
		for _, to := range []string{"f32", "f16", "q8_0", "q4_k_m", "q6_k"} {
			m, err := mix.Get(to)
			if err != nil {
				t.Fatal(err)
			}
			_, err = quant.NewPlan(from, quant.Choice{Mix: m})
			quantized := strings.ContainsAny(name, "qx")
			// Without experts, mxfp4_moe is q8_0 throughout.
			already := name == to || name == "mxfp4_moe" && to == "q8_0"
			if want := quantized && !already; errors.Is(err, quant.ErrRequantize) != want || !want && err != nil {
				t.Errorf("%s to %s: got %v, want it refused: %v", name, to, err, want)
			}
			if !linked.same(t, from, quant.Choice{Mix: m, Requantize: true}) {
				t.Errorf("%s to %s was refused", name, to)
			}
		}
	}
}

// A whole matrix of thousands of rows, in many pieces on several threads, once for each storage type.
func TestLargeTensorAsLlamaCpp(t *testing.T) {
	const row, rows = 512, 700
	rng := rand.New(rand.NewPCG(5, 6))
	x := make([]float32, row*rows)
	for i := range x {
		x[i] = float32(rng.NormFloat64() * math.Exp(rng.NormFloat64()))
	}
	var w gguf.Writer
	w.SetString("general.architecture", "llama")
	for k, n := range map[string]uint32{"block_count": 1, "context_length": 64, "embedding_length": row,
		"feed_forward_length": row, "attention.head_count": 8, "vocab_size": 8} {
		w.SetUint32("llama."+k, n)
	}
	w.SetFloat32("llama.attention.layer_norm_rms_epsilon", 1e-5)
	if err := w.AddFloats("blk.0.ffn_up.weight", []int64{row, rows}, x); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "model.gguf")
	if err := w.WriteFile(context.Background(), nil, path); err != nil {
		t.Fatal(err)
	}
	f := openFile(t, path)
	weights := importance(t, f)
	linked := linkedRules(t)
	types := map[gguf.Type]bool{}
	for _, m := range slices.DeleteFunc(mix.All(), slow) {
		plan, err := quant.NewPlan(f, quant.Choice{Mix: m, Importance: weights})
		if err != nil {
			t.Fatal(err)
		}
		if to := plan.Changes[0].To; !types[to] {
			types[to] = true
			linked.same(t, f, quant.Choice{Mix: m, Importance: weights})
		}
	}
	for _, typ := range ggml.Types() {
		if slowTests && typ.Quantizes() && !types[gguf.Type(typ)] && gguf.Type(typ) != gguf.MXFP4 { // experts' alone
			t.Errorf("no mix has %s for a feed-forward matrix", typ)
		}
	}
}
