package adapter

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ggtune/ggtune/engine/arch"
	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/engine/safetensors"
	"github.com/ggtune/ggtune/engine/synth"
	"github.com/ggtune/ggtune/internal/atomicfile"
	"github.com/ggtune/ggtune/internal/atomicfile/faultfs"
)

func tinyNet(t testing.TB, spec synth.Spec) *arch.Net {
	t.Helper()
	f, err := gguf.Open(synth.Temp(t, spec))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	net, err := arch.Of(f)
	if err != nil {
		t.Fatal(err)
	}
	return net
}

// filled is an adapter without a zero, beside every matrix that may have a pair.
func filled(t testing.TB, net *arch.Net, c Config) *Adapter {
	t.Helper()
	c.Rank, c.Init = 4, "gaussian"
	for _, r := range net.LinearRoles() {
		c.Targets = append(c.Targets, string(r))
	}
	for _, p := range net.Global() {
		if p.Linear && p.Alone == "" && !net.TiedOutput {
			c.Targets = append(c.Targets, string(p.Role))
		}
	}
	a, err := New(net, c)
	if err != nil {
		t.Fatal(err)
	}
	for i := range a.Pairs {
		for j := range a.Pairs[i].B {
			a.Pairs[i].B[j] = float32(math.Sin(float64(i + 3*j + 1)))
		}
	}
	return a
}

// otherRank cuts a pair to a rank.
func otherRank(p *Pair, rank int64) {
	p.Rank, p.AShape[1], p.BShape[0] = rank, rank, rank
	if p.Flipped {
		p.AShape = [2]int64{rank, p.AShape[1]}
	}
	p.A, p.B = p.A[:p.AShape[0]*p.AShape[1]], p.B[:p.BShape[0]*p.BShape[1]]
}

// TestPEFTThereAndBack: a GGUF adapter that became one of PEFT's, and GGUF again, is the same file: of every
// architecture, with several ranks, rsLoRA's alpha, and all that it says of its making.
func TestPEFTThereAndBack(t *testing.T) {
	for _, name := range arch.Names() {
		t.Run(name, func(t *testing.T) {
			net := tinyNet(t, synth.Tiny(name, gguf.F32))
			want := filled(t, net, Config{Alpha: 16, RSLoRA: true})
			all := want.Pairs
			want.Pairs = nil
			for _, p := range all {
				if p.Layer < 0 || slices.Contains(net.UsualRoles(), p.Role) && !net.Hub().Parted(p.Role) {
					want.Pairs = append(want.Pairs, p)
					continue
				}
				routed := *want
				routed.Pairs = []Pair{p}
				err := routed.SavePEFT(context.Background(), nil, filepath.Join(t.TempDir(), "routed"), net)
				if err == nil || !strings.Contains(err.Error(), "PEFT has none of that form") {
					t.Errorf("%s is written: %v", p.Tensor, err)
				}
			}
			otherRank(&want.Pairs[len(want.Pairs)-1], 2)
			want.Alpha = 16 * math.Sqrt(3) // no float32, and its file has one
			want.Info = map[string]string{"method": "sft", "base_sha256": "abc", infoBase: "org/base"}
			dir := filepath.Join(t.TempDir(), "peft")
			if err := want.SavePEFT(context.Background(), nil, dir, net); err != nil {
				t.Fatal(err)
			}
			got, err := Load(dir, net)
			if err != nil {
				t.Fatal(err)
			}
			var before, after bytes.Buffer
			if err := want.Write(context.Background(), &before); err != nil {
				t.Fatal(err)
			}
			if err := got.Write(context.Background(), &after); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(before.Bytes(), after.Bytes()) || len(got.Notes) > 0 {
				t.Errorf("written again it is another file (-before +after), notes %q:\n%s", got.Notes,
					cmp.Diff(want, got))
			}
			if err := want.SavePEFT(context.Background(), nil, dir, net); err == nil {
				t.Error("an existing directory was written over")
			}
		})
	}
}

// TestPEFTEveryFault: whatever operation fails, the directory is whole or not there.
func TestPEFTEveryFault(t *testing.T) {
	net := tinyNet(t, synth.Tiny("gpt2", gguf.F32))
	a := filled(t, net, Config{Alpha: 16})
	for at := 1; ; at++ {
		parent := t.TempDir()
		fsys := faultfs.New(nil, at, faultfs.Fail, nil)
		err := a.SavePEFT(context.Background(), fsys, filepath.Join(parent, "peft"), net)
		if err == nil {
			if at < 5 {
				t.Errorf("only %d operations could fail", at)
			}
			return
		}
		left, readErr := os.ReadDir(parent)
		if readErr != nil {
			t.Fatal(readErr)
		}
		for _, e := range left {
			if _, err := Load(filepath.Join(parent, e.Name()), net); err != nil && !atomicfile.IsTemp(e.Name()) {
				t.Errorf("operation %d: %s is left: %v", at, e.Name(), err)
			}
		}
	}
}

// TestPEFTLayers: an adapter of some layers names the modules of these and no others.
func TestPEFTLayers(t *testing.T) {
	for name, want := range map[string][]string{
		"llama": {"model.layers.1.mlp.down_proj", "model.layers.1.self_attn.q_proj"},
		"gpt2":  {"attn.c_proj", "c_attn", "transformer.h.1.mlp.c_proj"},
	} {
		net := tinyNet(t, synth.Tiny(name, gguf.F32))
		a := filled(t, net, Config{Alpha: 1})
		a.Pairs = slices.DeleteFunc(a.Pairs, func(p Pair) bool {
			partly, whole := p.Role == arch.FFNDown, p.Role == arch.AttnQKV || p.Role == arch.AttnOutput
			if name == "llama" {
				partly, whole = p.Role == arch.FFNDown || p.Role == arch.AttnQ, false
			}
			return !whole && !(partly && p.Layer == 1)
		})
		if got := a.peftTargets(net); !slices.Equal(got, want) {
			t.Errorf("%s: target modules %q, want %q", name, got, want)
		}
	}
}

// TestPEFTRoots: an adapter that was trained on an encoder with a head has its modules below the encoder's name there.
func TestPEFTRoots(t *testing.T) {
	net := tinyNet(t, synth.Tiny("bert", gguf.F32))
	want := filled(t, net, Config{Alpha: 16})
	otherRank(&want.Pairs[len(want.Pairs)-1], 2)
	plain := filepath.Join(t.TempDir(), "plain")
	if err := want.SavePEFT(t.Context(), nil, plain, net); err != nil {
		t.Fatal(err)
	}
	f, err := safetensors.Open(filepath.Join(plain, peftFile))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, root := range []string{"bert", "roberta"} {
		dir, w := t.TempDir(), &safetensors.Writer{}
		for i := range f.Tensors {
			ti := &f.Tensors[i]
			name := peftPrefix + root + "." + strings.TrimPrefix(ti.Name, peftPrefix)
			if err := w.Add(name, ti.DType, ti.Shape, func(dst io.Writer) error {
				_, err := io.Copy(dst, f.Reader(ti))
				return err
			}); err != nil {
				t.Fatal(err)
			}
		}
		var b bytes.Buffer
		config, err := os.ReadFile(filepath.Join(plain, peftConfigFile))
		if err := errors.Join(err, os.WriteFile(filepath.Join(dir, peftConfigFile), config, 0o666),
			w.Write(t.Context(), &b), os.WriteFile(filepath.Join(dir, peftFile), b.Bytes(), 0o666)); err != nil {
			t.Fatal(err)
		}
		if got, err := Load(dir, net); err != nil || !cmp.Equal(got.Pairs, want.Pairs) {
			t.Errorf("%s: %v, another adapter:\n%s", root, err, cmp.Diff(want, got))
		}
	}
}

// TestPEFTOwnOrder: of a file whose rows are in an order of its own no adapter is carried over.
func TestPEFTOwnOrder(t *testing.T) {
	s := synth.Tiny("glm4", gguf.F32)
	s.Keys = map[string]any{"rope.dimension_sections": []int32{1, 1, 2, 0}}
	net, dir := tinyNet(t, s), filepath.Join(t.TempDir(), "peft")
	a := filled(t, net, Config{Alpha: 16})
	err := a.SavePEFT(context.Background(), nil, dir, net)
	if err == nil || !strings.Contains(err.Error(), "dimension_sections") {
		t.Errorf("written: got error %v, want one of sections", err)
	}
	if err := a.SavePEFT(context.Background(), nil, dir, tinyNet(t, synth.Tiny("glm4", gguf.F32))); err != nil {
		t.Fatal(err)
	}
	if _, err = Load(dir, net); err == nil || !strings.Contains(err.Error(), "dimension_sections") {
		t.Errorf("read: got error %v, want one of sections", err)
	}
}

// TestAlone: what llama.cpp runs with nothing beside it is no target, and an adapter that has a pair there is refused.
func TestAlone(t *testing.T) {
	s := synth.Tiny("glm4", gguf.F32)
	s.Tied = true
	net := tinyNet(t, s)
	refused := func(what string, err error) {
		t.Helper()
		for _, part := range []string{"ffn_down", "llama.cpp cannot run", "ggml_mul_mat_set_prec"} {
			if err == nil || !strings.Contains(strings.ReplaceAll(err.Error(), "down_proj", "ffn_down"), part) {
				t.Errorf("%s: got error %v, want one with %q", what, err, part)
			}
		}
	}
	_, err := Targets(net, []string{"attn_q", "ffn_down"})
	refused("target", err)
	for _, kind := range []Kind{LoRA, DoRA} {
		a := filled(t, net, Config{Alpha: 16, Kind: kind})
		if n := len(a.Pairs); n != 2*4 {
			t.Fatalf("%s: %d pairs in two layers, want those of attn_q, attn_k, attn_v and ffn_up", kind, n)
		}
		for i := range a.Pairs {
			a.Pairs[i].Tensor = strings.Replace(a.Pairs[i].Tensor, "ffn_up", "ffn_down", 1)
		}
		path := filepath.Join(t.TempDir(), "adapter.gguf")
		if err := a.Save(context.Background(), nil, path); err != nil {
			t.Fatal(err)
		}
		_, err = Load(path, net)
		refused(kind.String(), err)
		if kind == LoRA {
			dir := filepath.Join(t.TempDir(), "peft")
			if err := a.SavePEFT(context.Background(), nil, dir, net); err != nil {
				t.Fatal(err)
			}
			_, err = Load(dir, net)
			refused("PEFT", err)
		}
	}
}

// A peftCase is an adapter of PEFT's on disk, with one pair of rank 2 beside layer 0's q_proj, and its changes.
type peftCase struct {
	config  map[string]any
	tensors map[string][]int64 // name → shape; filled with 1, 2, 3, …
	dtype   safetensors.DType
}

const qProj = "base_model.model.model.layers.0.self_attn.q_proj"

func plainPEFT() *peftCase {
	return &peftCase{
		config:  map[string]any{"peft_type": "LORA", "r": 2, "lora_alpha": 8, "bias": "none"},
		tensors: map[string][]int64{qProj + ".lora_A.weight": {2, 64}, qProj + ".lora_B.weight": {64, 2}},
		dtype:   safetensors.F32,
	}
}

func (c *peftCase) write(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	text, err := json.Marshal(c.config)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, peftConfigFile), text, 0o666); err != nil {
		t.Fatal(err)
	}
	w := &safetensors.Writer{}
	for _, name := range slices.Sorted(maps.Keys(c.tensors)) {
		size, err := c.dtype.Size(c.tensors[name])
		if err != nil {
			t.Fatal(err)
		}
		fill := []byte{0, 0, 0x80, 0x3f} // 1 in F32, and finite in all
		if err := w.Add(name, c.dtype, c.tensors[name], func(dst io.Writer) error {
			_, err := dst.Write(bytes.Repeat(fill, int(size/4)))
			return err
		}); err != nil {
			t.Fatal(err)
		}
	}
	var b bytes.Buffer
	if err := w.Write(context.Background(), &b); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, peftFile), b.Bytes(), 0o666); err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestPEFTRefuses: what GGUF has no place for, or another model's, is refused, and the way out said.
func TestPEFTRefuses(t *testing.T) {
	net := tinyNet(t, synth.Tiny("llama", gguf.F32)) // n_embd 64, two layers
	set := func(key string, v any) func(c *peftCase) { return func(c *peftCase) { c.config[key] = v } }
	add := func(shape []int64, names ...string) func(c *peftCase) {
		return func(c *peftCase) {
			for _, n := range names {
				c.tensors[n] = shape
			}
		}
	}
	for name, tt := range map[string]struct {
		change func(c *peftCase)
		want   []string
	}{
		"DoRA":           {set("use_dora", true), []string{"use_dora", "merge_and_unload"}},
		"DoRA's tensors": {add([]int64{64}, qProj+".lora_magnitude_vector"), []string{"DoRA", "merge_and_unload"}},
		"whole modules":  {set("modules_to_save", []string{"lm_head"}), []string{"lm_head", "merge_and_unload"}},
		"another method": {set("peft_type", "LOHA"), []string{`"LOHA"`, "only LORA"}},
		"a PiSSA start":  {set("init_lora_weights", "pissa_niter_4"), []string{"pissa", "path_initial_model"}},
		"biases":         {set("bias", "lora_only"), []string{"lora_only", "merge_and_unload"}},
		"aLoRA of another model": {set("alora_invocation_tokens", []int{1 << 20}),
			[]string{"token 1048576", "another model"}},
		"unknown settings":   {set("use_new", true), []string{"it sets use_new", "take out"}},
		"rank 0":             {set("r", 0), []string{"r is 0"}},
		"half a rank":        {set("r", 1.5), []string{"r is 1.5"}},
		"alpha 0":            {set("lora_alpha", 0), []string{"lora_alpha is 0"}},
		"alpha 0 by pattern": {set("alpha_pattern", map[string]any{"q_proj": 0}), []string{"alpha_pattern", "q_proj"}},
		"a pattern of Python": {set("rank_pattern", map[string]any{"(?<!x)q_proj": 2}),
			[]string{"only Python reads"}},
		"a pattern of words":      {set("rank_pattern", map[string]any{"q_proj": "two"}), []string{`"q_proj"`}},
		"another rank":            {set("r", 4), []string{"rank 2", "says 4"}},
		"another rank by pattern": {set("rank_pattern", map[string]any{"q_proj": 3}), []string{"rank 2", "says 3"}},
		"Conv1D":                  {set("fan_in_fan_out", true), []string{"fan_in_fan_out is true", "Llama"}},
		"half a pair": {func(c *peftCase) { delete(c.tensors, qProj+".lora_B.weight") },
			[]string{"lora_B.weight", "missing"}},
		"unknown tensors, all of them": {add([]int64{1}, "base_model.model.lm_head.weight",
			"base_model.model.model.layers.2.self_attn.q_proj.lora_A.weight"),
			[]string{`"base_model.model.lm_head.weight", "base_model.model.model.layers.2`, "merge_and_unload"}},
		"many unknown tensors": {func(c *peftCase) {
			for i := range 25 {
				c.tensors[fmt.Sprintf("x.%d", i)] = []int64{1}
			}
		}, []string{`"x.0"`, "and 5 more"}},
		"another width": {add([]int64{2, 32}, qProj+".lora_A.weight"),
			[]string{"[2 32]", "[64 rank]", "another model"}},
		"another height": {add([]int64{32, 2}, qProj+".lora_B.weight"), []string{"[32 2]", "another model"}},
		"no pairs":       {func(c *peftCase) { clear(c.tensors) }, []string{"no LoRA pair", qProj}},
		"no numbers":     {func(c *peftCase) { c.dtype = "I32" }, []string{"I32", "BF16, F16, F32"}},
	} {
		t.Run(name, func(t *testing.T) {
			c := plainPEFT()
			tt.change(c)
			dir := c.write(t)
			_, err := Load(dir, net)
			if err == nil {
				t.Fatalf("accepted, expected an error with %q", tt.want)
			}
			for _, part := range append(tt.want, dir) {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("error %q does not say %q", err, part)
				}
			}
		})
	}
}

func TestPEFTRefusesFiles(t *testing.T) {
	net := tinyNet(t, synth.Tiny("llama", gguf.F32))
	dir := plainPEFT().write(t)
	if err := os.Rename(filepath.Join(dir, peftFile), filepath.Join(dir, peftPickle)); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(dir, net); err == nil || !strings.Contains(err.Error(), "safe_serialization") {
		t.Errorf("a pickle: %v", err)
	}
	tied := tinyNet(t, synth.Tiny("qwen2", gguf.F32))
	c := plainPEFT()
	head := "base_model.model.lm_head"
	c.tensors = map[string][]int64{head + ".lora_A.weight": {2, int64(tied.NEmbd)},
		head + ".lora_B.weight": {int64(tied.NVocab), 2}}
	if _, err := Load(c.write(t), tied); err == nil || !strings.Contains(err.Error(), "both uses") {
		t.Errorf("a pair on tied embeddings: %v", err)
	}
}

// TestPEFTScales: each pair keeps its scale, α/r or α/√r, whatever the patterns; and both kinds of halves are read.
func TestPEFTScales(t *testing.T) {
	net := tinyNet(t, synth.Tiny("llama", gguf.F32))
	c := plainPEFT()
	for module, rank := range map[string]int64{"1.self_attn.q_proj": 2, "0.self_attn.o_proj": 4} {
		c.tensors["base_model.model.model.layers."+module+".lora_A.weight"] = []int64{rank, 64}
		c.tensors["base_model.model.model.layers."+module+".lora_B.weight"] = []int64{64, rank}
	}
	c.config["rank_pattern"] = map[string]any{"o_proj": 4}
	c.config["alpha_pattern"] = map[string]any{"layers.1.*": 4}
	for _, rs := range []bool{false, true} {
		c.config["use_rslora"] = rs
		a, err := Load(c.write(t), net)
		if err != nil {
			t.Fatal(err)
		}
		// layer 0 q: α 8, r 2; layer 0 o: α 8, r 4; layer 1 q: α 4, r 2. A and B are all 1.
		want := map[string]float64{"blk.0.attn_q.weight": 8.0 / 2, "blk.0.attn_output.weight": 8.0 / 4,
			"blk.1.attn_q.weight": 4.0 / 2}
		if rs {
			want = map[string]float64{"blk.0.attn_q.weight": 8 / math.Sqrt2, "blk.0.attn_output.weight": 8.0 / 2,
				"blk.1.attn_q.weight": 4 / math.Sqrt2}
		}
		for i := range a.Pairs {
			p := &a.Pairs[i]
			if got := a.Scale(p) * float64(p.B[0]); math.Abs(got/want[p.Tensor]-1) > 1e-6 {
				t.Errorf("rsLoRA %v: %s is scaled by %g, want %g", rs, p.Tensor, got, want[p.Tensor])
			}
		}
		if len(a.Pairs) != 3 || len(a.Notes) != 1 || !strings.Contains(a.Notes[0], "alpha") {
			t.Errorf("rsLoRA %v: %d pairs, notes %q; want 3 and one that B was multiplied", rs, len(a.Pairs), a.Notes)
		}
	}
}

// FuzzPEFTConfig: no settings panic.
func FuzzPEFTConfig(f *testing.F) {
	f.Add([]byte(`{"peft_type":"LORA","r":8,"lora_alpha":16,"rank_pattern":{"a.*b":4},"alpha_pattern":{"c":2}}`))
	f.Add([]byte(`{"peft_type":"LORA","r":1e300,"lora_alpha":-1,"rank_pattern":[1]}`))
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, b []byte) {
		if err := os.WriteFile(filepath.Join(dir, peftConfigFile), b, 0o666); err != nil {
			t.Fatal(err)
		}
		c, err := readPEFTConfig(dir)
		if err != nil {
			return
		}
		if a := c.alpha("model.layers.0.self_attn.q_proj", 4); !(a > 0) {
			t.Errorf("alpha %g", a)
		}
	})
}
