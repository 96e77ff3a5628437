package synth

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ggtune/ggtune/engine/arch"
	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/engine/graph"
	"github.com/ggtune/ggtune/quant/mix"
)

func bytesOf(t *testing.T, s Spec) []byte {
	t.Helper()
	w, err := s.Writer()
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if _, err := w.Write(context.Background(), &b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// The same Spec gives the same bytes, here and on any machine: recorded results elsewhere rest on these files.
func TestDeterministic(t *testing.T) {
	for _, tt := range []struct {
		spec Spec
		want string // first bytes of the SHA-256
	}{
		{Tiny("llama", gguf.F32), "69843b323129adf5"},
		{Tiny("gpt2", gguf.F16), "97ac02c4540c3ebe"},
		{Tiny("qwen2", gguf.Q8_0), "47c908b6e34aba2b"},
		{Tiny("qwen3", gguf.Q4_K), "a22dbc5546feec20"},
	} {
		b := bytesOf(t, tt.spec)
		if !bytes.Equal(b, bytesOf(t, tt.spec)) {
			t.Errorf("%s: two writes differ", tt.spec.Arch)
		}
		sum := sha256.Sum256(b)
		if got := hex.EncodeToString(sum[:8]); got != tt.want {
			t.Errorf("%s %v: got %s, want %s", tt.spec.Arch, tt.spec.Type, got, tt.want)
		}
		other := tt.spec
		other.Seed++
		if bytes.Equal(b, bytesOf(t, other)) {
			t.Errorf("%s: another seed gives the same weights", tt.spec.Arch)
		}
	}
}

// Names and shapes are llama.cpp's (create_tensor calls of llama-model.cpp).
func TestTensorsOfArchs(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*Spec)
		arch   string
		want   string // tensors of layer 0, and those outside the layers
	}{
		{"llama", nil, "llama", `token_embd.weight [64 320]
output_norm.weight [64]
output.weight [64 320]
blk.0.attn_norm.weight [64]
blk.0.attn_q.weight [64 64]
blk.0.attn_k.weight [64 32]
blk.0.attn_v.weight [64 32]
blk.0.attn_output.weight [64 64]
blk.0.ffn_norm.weight [64]
blk.0.ffn_gate.weight [64 128]
blk.0.ffn_up.weight [64 128]
blk.0.ffn_down.weight [128 64]`},
		{"llama with everything", func(s *Spec) { s.Bias, s.RopeFactors, s.Tied = true, true, true }, "llama",
			`token_embd.weight [64 320]
output_norm.weight [64]
rope_freqs.weight [8]
blk.0.attn_norm.weight [64]
blk.0.attn_q.weight [64 64]
blk.0.attn_q.bias [64]
blk.0.attn_k.weight [64 32]
blk.0.attn_k.bias [32]
blk.0.attn_v.weight [64 32]
blk.0.attn_v.bias [32]
blk.0.attn_output.weight [64 64]
blk.0.attn_output.bias [64]
blk.0.ffn_norm.weight [64]
blk.0.ffn_gate.weight [64 128]
blk.0.ffn_gate.bias [128]
blk.0.ffn_up.weight [64 128]
blk.0.ffn_up.bias [128]
blk.0.ffn_down.weight [128 64]
blk.0.ffn_down.bias [64]`},
		{"qwen2", nil, "qwen2", `token_embd.weight [64 320]
output_norm.weight [64]
blk.0.attn_norm.weight [64]
blk.0.attn_q.weight [64 64]
blk.0.attn_q.bias [64]
blk.0.attn_k.weight [64 32]
blk.0.attn_k.bias [32]
blk.0.attn_v.weight [64 32]
blk.0.attn_v.bias [32]
blk.0.attn_output.weight [64 64]
blk.0.ffn_norm.weight [64]
blk.0.ffn_gate.weight [64 128]
blk.0.ffn_up.weight [64 128]
blk.0.ffn_down.weight [128 64]`},
		{"qwen3", nil, "qwen3", `token_embd.weight [64 320]
output_norm.weight [64]
output.weight [64 320]
blk.0.attn_norm.weight [64]
blk.0.attn_q.weight [64 128]
blk.0.attn_k.weight [64 64]
blk.0.attn_v.weight [64 64]
blk.0.attn_q_norm.weight [32]
blk.0.attn_k_norm.weight [32]
blk.0.attn_output.weight [128 64]
blk.0.ffn_norm.weight [64]
blk.0.ffn_gate.weight [64 128]
blk.0.ffn_up.weight [64 128]
blk.0.ffn_down.weight [128 64]`},
		{"gpt2", nil, "gpt2", `token_embd.weight [64 320]
position_embd.weight [64 128]
output_norm.weight [64]
output_norm.bias [64]
blk.0.attn_norm.weight [64]
blk.0.attn_norm.bias [64]
blk.0.attn_qkv.weight [64 192]
blk.0.attn_qkv.bias [192]
blk.0.attn_output.weight [64 64]
blk.0.attn_output.bias [64]
blk.0.ffn_norm.weight [64]
blk.0.ffn_norm.bias [64]
blk.0.ffn_up.weight [64 128]
blk.0.ffn_up.bias [128]
blk.0.ffn_down.weight [128 64]
blk.0.ffn_down.bias [64]`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := Tiny(tt.arch, gguf.Q8_0)
			if tt.change != nil {
				tt.change(&s)
			}
			ts, err := s.Tensors()
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, x := range ts {
				if x.Layer <= 0 {
					got = append(got, fmt.Sprint(x.Name, " ", x.Shape))
				}
				if matrix := len(x.Shape) == 2 && x.Part.Role != arch.PositionEmbd; (x.Type == gguf.Q8_0) != matrix {
					t.Errorf("%s is %s", x.Name, x.Type)
				}
				if want, _ := x.Type.Size(x.Shape); x.Size != want {
					t.Errorf("%s: size %d, want %d", x.Name, x.Size, want)
				}
			}
			if d := cmp.Diff(strings.Split(tt.want, "\n"), got); d != "" {
				t.Errorf("tensors (-want +got):\n%s", d)
			}
		})
	}
}

// Roles and fall-backs of mixes. The whole table of mixes, architectures, depths and widths was compared with what
// llama_model_quantize makes of the same models (43,180 tensors, none different); these cases hold the points where
// the rules turn.
func TestMixes(t *testing.T) {
	deep := Spec{Arch: "llama", Layers: 22, Embd: 2048, FF: 5632, Heads: 32, KVHeads: 4, Vocab: 32000, Ctx: 512}
	narrow := Spec{Arch: "qwen2", Layers: 24, Embd: 896, FF: 4864, Heads: 14, KVHeads: 2, Vocab: 151936, Ctx: 512,
		Tied: true}
	odd := Spec{Arch: "llama", Layers: 2, Embd: 48, FF: 96, Heads: 4, Vocab: 300, Ctx: 64}
	gpt := Spec{Arch: "gpt2", Layers: 8, Embd: 256, FF: 512, Heads: 4, Vocab: 300, Ctx: 64, Tied: true}
	for _, tt := range []struct {
		spec         Spec
		mix, tensors string // tensors: "name:type" …
	}{
		// Of 22 layers the first 2 and the last 3 (⌊7·22/8⌋ = 19) have more bits, and every third from the second on.
		{deep, "Q4_K_M", "output:q6_K token_embd:q4_K blk.0.attn_v:q6_K blk.1.ffn_down:q6_K blk.2.ffn_down:q4_K " +
			"blk.4.attn_v:q6_K blk.5.attn_v:q4_K blk.18.ffn_down:q4_K blk.19.ffn_down:q6_K blk.0.attn_k:q4_K " +
			"blk.0.ffn_gate:q4_K"},
		{deep, "Q5_K_M", "output:q6_K blk.0.attn_v:q6_K blk.2.attn_v:q5_K"},
		{deep, "q8_0", "output:q8_0 token_embd:q8_0 blk.0.attn_v:q8_0"},
		{deep, "Q4_0", "output:q6_K token_embd:q4_0 blk.0.ffn_down:q4_0"},
		{deep, "Q6_K", "output:q6_K token_embd:q6_K blk.3.ffn_up:q6_K"},
		{deep, "Q2_K",
			"token_embd:q2_K blk.0.attn_v:q4_K blk.0.attn_output:q3_K blk.0.ffn_down:q3_K blk.0.ffn_up:q2_K"},
		{deep, "Q3_K_M", "blk.0.attn_v:q5_K blk.2.attn_v:q4_K blk.0.ffn_down:q5_K blk.1.ffn_down:q4_K " +
			"blk.9.attn_output:q4_K blk.9.attn_q:q3_K"},
		{deep, "Q4_K_S", "blk.3.attn_v:q5_K blk.4.attn_v:q4_K blk.1.ffn_down:q5_K blk.2.ffn_down:q4_K"},
		{deep, "F16", "output:f16 blk.0.ffn_down:f16"},
		// Rows of 896 hold no blocks of 256, rows of 4864 do.
		{narrow, "Q4_K_M", "token_embd:q8_0 blk.0.attn_q:q5_0 blk.0.attn_v:q8_0 blk.3.attn_v:q5_0 blk.0.ffn_up:q5_0 " +
			"blk.0.ffn_down:q6_K blk.3.ffn_down:q4_K"},
		{narrow, "Q5_K_M", "blk.3.attn_q:q5_1"},
		{narrow, "Q2_K", "blk.3.ffn_up:iq4_nl blk.3.ffn_down:q3_K"},
		{odd, "Q4_K_M", "output:f16 blk.0.attn_q:f16 blk.0.ffn_down:q5_0 blk.1.ffn_down:q8_0"},
		{gpt, "Q4_K_M", "token_embd:q6_K position_embd:f32 blk.0.attn_qkv:q5_K blk.0.ffn_up:q4_K"},
	} {
		m, err := mix.Get(tt.mix)
		if err != nil {
			t.Fatal(err)
		}
		tt.spec.Mix = m
		ts, err := tt.spec.Tensors()
		if err != nil {
			t.Fatal(err)
		}
		types := map[string]string{}
		for _, x := range ts {
			types[strings.TrimSuffix(x.Name, ".weight")] = x.Type.String()
		}
		for _, want := range strings.Fields(tt.tensors) {
			name, typ, _ := strings.Cut(want, ":")
			if types[name] != typ {
				t.Errorf("%s %s: %s is %s, want %s", tt.spec.Arch, tt.mix, name, types[name], typ)
			}
		}
	}
}

// The published shapes have the published numbers of parameters.
func TestShapes(t *testing.T) {
	want := map[string]int64{ // from the model cards' tensor tables, norms and biases included
		"smollm2-135m":   134_515_008,
		"qwen2.5-0.5b":   494_032_768,
		"tinyllama-1.1b": 1_100_048_384,
		"llama3-8b":      8_030_261_248 + 64, // and rope_freqs, which llama.cpp's converter adds
		"qwen3-0.6b":     596_049_920,
		"smollm3-3b":     3_075_098_624,
		"olmo2-1b":       1_484_916_736,
		"qwen3-30b-a3b":  30532122624, "olmoe-1b-7b": 6919161856, "granite3-3b-a800m": 3298793472,
		"nomic-embed-v1.5":    136_731_648,
		"embeddinggemma-300m": 307_581_696,
		"all-minilm-l6":       22_565_376, // without the pooler, which makes no vectors
		// without that, and of two types of tokens with one
		"multilingual-e5-small": 117_653_760 - 384*385 - 384,
		"granite3-2b":           2_533_539_840,
		"ernie4.5-0.3b":         360_748_032,
		"hunyuan-0.5b":          539_010_048,
		"exaone4-1.2b":          1_279_391_488,
		"command-r7b":           8_028_033_024,
		"starcoder2-3b":         3_030_371_328,
		"stablelm2-1.6b":        1_644_515_328,
		"gemma3-1b":             999_885_952,
		"gemma2-2b":             2_614_341_888,
		"glm4-9b":               9_400_279_040,
		"gpt-oss-20b":           20_914_757_184,
		"phi4-mini":             3_836_021_760 + 96, // and the factors of frequencies
		"ministral3-3b":         3_429_006_336,
		"gemma4-12b":            11_907_350_320 + 256, // and the factors of frequencies
		"lfm2-350m":             354_483_968,
		"lfm2-1.2b":             1_170_340_608,
	}
	for _, name := range ShapeNames() {
		s, err := ShapeByName(strings.ToUpper(name))
		if err != nil {
			t.Fatal(err)
		}
		ts, err := s.Tensors()
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		var n int64
		for _, x := range ts {
			n += x.Elements()
		}
		if n != want[name] {
			t.Errorf("%s: got %d parameters, want %d", name, n, want[name])
		}
	}
	if _, err := ShapeByName("llama-8b"); err == nil || !strings.Contains(err.Error(), "llama3-8b") {
		t.Errorf("unknown shape: got %v", err)
	}
}

// TestGemma4Tensors: of the published Gemma 4's llama.cpp lists 667 tensors, 338 of them F32 in a Q4_K_M, and of the
// one with 60 layers 833 (the logs in ikawrakow/ik_llama.cpp#1921 and ggml-org/llama.cpp#21760).
func TestGemma4Tensors(t *testing.T) {
	s, err := ShapeByName("gemma4-12b")
	if err != nil {
		t.Fatal(err)
	}
	if s.Mix, err = mix.Get("q4_K_M"); err != nil {
		t.Fatal(err)
	}
	s.Tokenizer = NoTokenizer
	for _, want := range []struct{ layers, tensors, floats int }{{48, 667, 338}, {60, 833, 60*7 + 2}} {
		s.Layers = want.layers
		ts, err := s.Tensors()
		if err != nil {
			t.Fatal(err)
		}
		floats := 0
		for _, x := range ts {
			if x.Type == gguf.F32 {
				floats++
			}
		}
		if len(ts) != want.tensors || floats != want.floats {
			t.Errorf("%d layers: %d tensors, %d of them F32; want %d, %d", want.layers, len(ts), floats, want.tensors,
				want.floats)
		}
	}
}

func TestValidate(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*Spec)
		want   []string
	}{
		{"zero", func(s *Spec) { *s = Spec{} }, []string{`unknown architecture ""`, "gpt2, ", "layers is 0",
			"context is 0"}},
		{"KV heads", func(s *Spec) { s.KVHeads = 3 }, []string{"3 KV heads do not divide 4 heads"}},
		{"negative KV heads", func(s *Spec) { s.KVHeads = -1 }, []string{"-1 KV heads"}},
		{"odd head", func(s *Spec) { s.HeadDim = 15 },
			[]string{`"llama.rope.dimension_count" is 15, expected an even number`}},
		{"head of its own", func(s *Spec) { s.Arch, s.HeadDim = "qwen2", 32 },
			[]string{"4 heads of 32 do not make an embedding of 64, which a bias of q needs"}},
		{"rope factors", func(s *Spec) { s.Arch, s.RopeFactors = "gpt2", true },
			[]string{"rope factors do not exist for gpt2"}},
		{"biases", func(s *Spec) { s.Arch, s.Bias = "qwen3", true },
			[]string{"optional biases do not exist for qwen3"}},
		{"type without weights", func(s *Spec) { s.Type = gguf.Q8_K; s.Embd = 256; s.FF = 256 },
			[]string{"q8_K holds no weights"}},
		{"double precision", func(s *Spec) { s.Type = gguf.F64 }, []string{"f64 holds no weights"}},
		{"a key of others", func(s *Spec) { s.Keys = map[string]any{"attention.sliding_window": 4} },
			[]string{`"attention.sliding_window" is none that llama has`}},
		{"unknown type", func(s *Spec) { s.Type = 77 }, []string{"storage type 77, unknown"}},
		{"small vocabulary", func(s *Spec) { s.Vocab = 200 }, []string{`tokenizer "spm" has 259 tokens`, `"none"`}},
		{"unknown tokenizer", func(s *Spec) { s.Tokenizer = "spn" },
			[]string{`unknown tokenizer "spn"; nearest: "spm"`}},
	} {
		s := Tiny("llama", gguf.F32)
		tt.change(&s)
		err := s.Validate()
		for _, want := range tt.want {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: got %v, want %q", tt.name, err, want)
			}
		}
	}
}

func TestRopeFactors(t *testing.T) {
	s, err := ShapeByName("llama3-8b")
	if err != nil {
		t.Fatal(err)
	}
	v := s.ropeFactors()
	// The converter's values for Llama 3.1: 1 up to index 28, 8 from 35 on (of 64), rising between.
	for i, x := range v {
		switch {
		case i <= 28 && x != 1, i >= 35 && x != 8, i > 28 && i < 35 && (x <= 1 || x >= 8 || x <= v[i-1]):
			t.Errorf("factor %d is %g", i, x)
		}
	}
}

// Vocabularies are whole: no token twice, special ids in place, padded to size.
func TestTokenizers(t *testing.T) {
	for _, kind := range []Tokenizer{SPM, GPT2, Qwen2, SmolLM, Llama3, LFM2, GPT4o, Unigram} {
		for _, size := range []int{265, 270, 320, 2000} {
			s := Tiny("llama", gguf.F32)
			s.Tokenizer, s.Vocab = kind, size
			v, err := s.tokenizer()
			if err != nil {
				t.Fatal(err)
			}
			seen := map[string]bool{}
			for _, tok := range v.tokens {
				if seen[tok] || tok == "" {
					t.Errorf("%s of %d: token %q twice or empty", kind, size, tok)
				}
				seen[tok] = true
			}
			if len(v.tokens) != size || len(v.types) != size || len(v.scores) != size {
				t.Errorf("%s of %d: %d tokens, %d types, %d scores", kind, size, len(v.tokens), len(v.types),
					len(v.scores))
			}
			for key, id := range v.ids {
				if typ := v.types[id]; typ != tokenControl && typ != tokenUnknown {
					t.Errorf("%s of %d: %s is %q of type %d", kind, size, key, v.tokens[id], typ)
				}
			}
			for _, m := range v.merges {
				a, b, _ := strings.Cut(m, " ")
				if !seen[a] || !seen[b] || !seen[a+b] {
					t.Errorf("%s of %d: merge %q of tokens that are not there", kind, size, m)
				}
			}
		}
	}
}

// An architecture that is new here needs nothing but its own file: its tensors, and the metadata that it reads.
func TestArchitectureOfItsOwn(t *testing.T) {
	odd := arch.Arch{Name: "odd",
		Example: arch.Example{Keys: map[string]any{"window": 16, "cap": float32(30), "kind": "round"}}}
	odd.Read = func(f arch.Metadata) (*arch.Net, error) {
		window, err := f.Int("odd.window")
		layers, err2 := f.Int("odd.block_count")
		softcap, err3 := f.Float32("odd.cap")
		kind, err4 := f.StringOr("odd.kind", "")
		if softcap != 30 || kind != "round" {
			t.Errorf("read %g and %q, want 30 and round", softcap, kind)
		}
		return &arch.Net{
			HParams: arch.HParams{NLayer: int(layers)}, Embed: oddLayer{"token_embd", 64, 320},
			Final: oddLayer{"output", 64, 320},
			Layer: func(int) arch.Layer { return oddLayer{"mixer", int64(window), 64} },
		}, errors.Join(err, err2, err3, err4)
	}
	s := Tiny("odd", gguf.F32)
	net, keys, err := s.read(odd)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, x := range s.list(odd, net) {
		got = append(got, fmt.Sprint(x.Name, " ", x.Shape))
	}
	for _, k := range keys[len(keys)-4:] {
		got = append(got, fmt.Sprint(k.name, " ", k.value))
	}
	want := []string{"token_embd.weight [64 320]", "output.weight [64 320]", "blk.0.mixer.weight [16 64]",
		"blk.0.mixer.bias [64]",
		"blk.1.mixer.weight [16 64]", "blk.1.mixer.bias [64]", "vocab_size 320", "cap 30", "kind round", "window 16"}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("tensors and the last metadata (-want +got):\n%s", d)
	}
	for _, wrong := range []map[string]any{{}, {"window": "wide"}} {
		odd.Example.Keys = wrong
		odd.Read = func(f arch.Metadata) (*arch.Net, error) {
			_, err := f.Int("odd.window")
			return nil, err
		}
		if _, _, err := s.read(odd); err == nil || !strings.Contains(err.Error(), "odd.window") {
			t.Errorf("metadata %v: got error %v, want one that names the key", wrong, err)
		}
	}
}

// An oddLayer is one matrix and its bias.
type oddLayer struct {
	role    arch.Role
	in, out int64
}

func (l oddLayer) Parts() []arch.Part {
	parts := []arch.Part{{Role: l.role, Suffix: ".weight", Shape: []int64{l.in, l.out}, Linear: true}}
	if l.role == "mixer" {
		parts = append(parts, arch.Part{Role: l.role, Suffix: ".bias", Shape: []int64{l.out}})
	}
	return parts
}

func (l oddLayer) Build(*arch.Builder, graph.ID) graph.ID { return graph.None }
