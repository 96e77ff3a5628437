package main

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"

	"github.com/ggtune/ggtune/engine/gguf"
)

// shape is the demo model's: small enough to be trained from nothing in minutes and to be carried in the binary, deep
// enough to find a name again in its context. Rows of 192 and 512 are whole Q8_0 blocks of 32.
var shape = struct{ vocab, embd, heads, layers, ff, ctx int }{vocab: 1024, embd: 192, heads: 6, layers: 4, ff: 512,
	ctx: 512}

// specials end the vocabulary: the first begins a text, the others part turns as ChatML does.
var specials = []string{"<|endoftext|>", "<|im_start|>", "<|im_end|>"}

// chatTemplate is ChatML without a default system message, its line ends written as escapes so that no setting of a
// template engine about white space matters.
const chatTemplate = `{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + ` +
	`'<|im_end|>' + '\n' }}{% endfor %}` +
	`{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}`

// llama.cpp's llama_token_type.
const (
	tokenNormal  = 1
	tokenControl = 3
)

// writeModel writes a fresh F32 model of the llama architecture with tied output and returns its number of parameters.
func writeModel(path string, vocab, merges []string, seed uint64) (params int, err error) {
	var w gguf.Writer
	w.SetString("general.architecture", "llama")
	w.SetString("general.name", "ggtune demo")
	w.SetString("general.description", "A very small chat model, made from nothing by ggtune out of a generated "+
		"corpus; it knows a few hundred simple facts.")
	w.SetString("general.license", "mit")
	headDim := shape.embd / shape.heads
	for _, kv := range []struct {
		key string
		n   int
	}{
		{"context_length", shape.ctx}, {"embedding_length", shape.embd}, {"block_count", shape.layers},
		{"feed_forward_length", shape.ff}, {"attention.head_count", shape.heads},
		{"attention.head_count_kv", shape.heads},
		{"rope.dimension_count", headDim}, {"vocab_size", shape.vocab},
	} {
		w.SetUint32("llama."+kv.key, uint32(kv.n))
	}
	w.SetFloat32("llama.attention.layer_norm_rms_epsilon", 1e-5)
	w.SetFloat32("llama.rope.freq_base", 10000)
	setTokenizer(&w, vocab, merges)

	rng := rand.New(rand.NewPCG(seed, 0x696e6974))
	add := func(name string, std float64, dims ...int64) {
		n := int64(1)
		for _, d := range dims {
			n *= d
		}
		x := make([]float32, n)
		for i := range x {
			x[i] = float32(rng.NormFloat64() * std)
			if std == 0 {
				x[i] = 1 // a norm's weight
			}
		}
		params += len(x)
		if e := w.AddFloats(name, dims, x); e != nil && err == nil {
			err = e
		}
	}
	embd, ff := int64(shape.embd), int64(shape.ff)
	// Widths keep the variance of what flows through; what adds to the residual stream is scaled down by the number of
	// additions (Radford et al. 2019, section 2.3). The embedding is also the output matrix: small, so that the first
	// loss is that of a uniform guess.
	in, inFF := 1/math.Sqrt(float64(embd)), 1/math.Sqrt(float64(ff))
	residual := 1 / math.Sqrt(2*float64(shape.layers))
	add("token_embd.weight", 0.02, embd, int64(shape.vocab))
	add("output_norm.weight", 0, embd)
	for i := range shape.layers {
		blk := fmt.Sprintf("blk.%d.", i)
		add(blk+"attn_norm.weight", 0, embd)
		add(blk+"attn_q.weight", in, embd, embd)
		add(blk+"attn_k.weight", in, embd, embd)
		add(blk+"attn_v.weight", in, embd, embd)
		add(blk+"attn_output.weight", in*residual, embd, embd)
		add(blk+"ffn_norm.weight", 0, embd)
		add(blk+"ffn_gate.weight", in, embd, ff)
		add(blk+"ffn_up.weight", in, embd, ff)
		add(blk+"ffn_down.weight", inFF*residual, ff, embd)
	}
	if err != nil {
		return 0, err
	}
	return params, w.WriteFile(context.Background(), nil, path)
}

// setTokenizer describes the vocabulary as llama.cpp's byte-level BPE.
func setTokenizer(w *gguf.Writer, vocab, merges []string) {
	tokens := append(append([]string(nil), vocab...), specials...)
	types := make([]int32, len(tokens))
	for i := range types {
		types[i] = tokenNormal
		if i >= len(vocab) {
			types[i] = tokenControl
		}
	}
	id := func(s string) uint32 {
		for i, t := range specials {
			if t == s {
				return uint32(len(vocab) + i)
			}
		}
		panic("no special token " + s)
	}
	w.SetString("tokenizer.ggml.model", "gpt2")
	w.SetString("tokenizer.ggml.pre", "gpt-2")
	w.SetStrings("tokenizer.ggml.tokens", tokens)
	w.Set("tokenizer.ggml.token_type", gguf.NumbersValue(types))
	w.SetStrings("tokenizer.ggml.merges", merges)
	w.SetUint32("tokenizer.ggml.bos_token_id", id("<|endoftext|>"))
	w.SetUint32("tokenizer.ggml.eos_token_id", id("<|im_end|>"))
	w.SetUint32("tokenizer.ggml.padding_token_id", id("<|endoftext|>"))
	w.SetBool("tokenizer.ggml.add_bos_token", false)
	w.SetString("tokenizer.chat_template", chatTemplate)
}
