package arch

import (
	"errors"

	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/engine/graph"
)

// Bert is BERT as embedders have it: MiniLM, bge, e5, gte, arctic-embed (llama.cpp's src/models/bert.cpp). Tokens see
// each other both ways; LayerNorm behind each half of a layer, learned positions, GELU, biases; no output head. Every
// token is of the first type ("sentence A"). XLM-RoBERTa (bge-m3, multilingual-e5) is the same but for its vocabulary,
// and for where transformers has its positions.
var Bert = register(Arch{
	Name:     "bert",
	Headless: true,
	Example: Example{Tokenizer: "bert", AllHeads: true, Rounded: true,
		Keys: map[string]any{"attention.causal": false, "pooling_type": int(PoolMean)}},
	Read: readBert,
	Hub: Hub{ModelType: "bert", Class: "BertModel", Also: []string{"BertForMaskedLM", "XLMRobertaModel"},
		Layers: "encoder.layer", Roots: []string{"bert", "roberta"}, Padded: []string{"XLMRobertaModel"},
		Left: []string{"embeddings.position_ids", "pooler.", "cls.predictions.", "cls.seq_relationship."},
		Modules: map[Role]string{
			TokenEmbd: "embeddings.word_embeddings", PositionEmbd: "embeddings.position_embeddings",
			TokenTypes: "embeddings.token_type_embeddings", TokenEmbdNorm: "embeddings.LayerNorm",
			AttnQ: "attention.self.query", AttnK: "attention.self.key", AttnV: "attention.self.value",
			AttnOutput: "attention.output.dense", AttnOutputNorm: "attention.output.LayerNorm",
			FFNUp: "intermediate.dense", FFNDown: "output.dense", LayerOutNorm: "output.LayerNorm",
		},
		Settings: []HubSetting{
			{Key: "block_count", Names: []string{"num_hidden_layers"}},
			{Key: HubContext, Names: []string{"max_position_embeddings"}},
			{Key: "embedding_length", Names: []string{"hidden_size"}},
			{Key: "feed_forward_length", Names: []string{"intermediate_size"}},
			{Key: "attention.head_count", Names: []string{"num_attention_heads"}},
			{Key: "attention.layer_norm_epsilon", Names: []string{"layer_norm_eps"}, Float: true, Missing: 1e-12},
			{Key: HubFileType}, {Key: HubEncoder},
		},
		Must: map[string][]any{"hidden_act": {"gelu"}, "position_embedding_type": {"absolute"}, "is_decoder": {false},
			"add_cross_attention": {false}},
	},
})

// Roles of encoders alone.
const (
	TokenEmbdNorm  Role = "token_embd_norm"
	TokenTypes     Role = "token_types"
	AttnOutputNorm Role = "attn_output_norm"
	LayerOutNorm   Role = "layer_output_norm"
)

func readBert(f Metadata) (*Net, error) {
	k := keysOf(f)
	hp, ff := k.hparams(), k.size("feed_forward_length", 0)
	hp.Positions, hp.TiedOutput, hp.TokenTypes = hp.NCtxTrain, false, k.tokenTypes()
	a, n := k.bidirectional(hp.NEmbd), k.encoderNorm()
	layer := encoder{
		Norm:   n,
		Attn:   attention{Embd: hp.NEmbd, AttentionAttr: a, NoRope: true, SameOrder: true},
		FFN:    ungated{Embd: hp.NEmbd, FF: ff},
		Biases: biases{QKV: true, Output: true, FFN: true, Must: true},
	}
	k.square(layer.Attn)
	return &Net{
		HParams: hp, Sizes: sizes(ff, a),
		Embed: encoderEmbedding{embedding: embedding{Embd: hp.NEmbd, Vocab: hp.NVocab}, Positions: hp.Positions,
			Types: hp.TokenTypes, Norm: n},
		Layer: func(int) Layer { return layer },
		Final: headless{},
	}, k.err()
}

// bidirectional reads the attention of tokens that see each other both ways.
func (k *keys) bidirectional(embd int) graph.AttentionAttr {
	a := k.attention(embd, false)
	a.Bidirectional = true
	if k.flag("attention.causal", true) {
		k.fail("metadata key %q is missing or true, expected false: its tokens see each other both ways",
			k.arch+".attention.causal")
	}
	return a
}

func (k *keys) encoderNorm() norm {
	return norm{Eps: k.float("attention.layer_norm_epsilon", 0), Layer: true, Bias: true}
}

// tokenTypes reads how many types of token there are vectors of; 0: there are none.
func (k *keys) tokenTypes() int {
	const key = "tokenizer.ggml.token_type_count"
	name := string(TokenTypes) + ".weight"
	if !k.f.HasTensor(name) {
		return 0
	}
	n, err := k.f.Int(key)
	switch {
	case errors.Is(err, gguf.ErrNoKey), err == nil && (n < 1 || n > maxSize):
		k.fail("metadata key %q is missing or no size, and tensor %q has a row for each type", key, name)
	case err != nil:
		k.faults = append(k.faults, err)
	}
	return int(max(1, min(n, maxSize)))
}

// An encoder is a layer of BERT's family: attention, then a feed-forward network, each added to what it was made of and
// then normalised.
type encoder struct {
	Norm   norm
	Attn   attention
	FFN    half
	Biases biases
}

func (l encoder) Parts() []Part {
	parts := append(l.Attn.parts(), l.Norm.parts(AttnOutputNorm, l.Attn.Embd)...)
	parts = append(append(parts, l.FFN.parts()...), l.Norm.parts(LayerOutNorm, l.Attn.Embd)...)
	return append(parts, l.Biases.parts(parts)...)
}

func (l encoder) Build(b *Builder, x graph.ID) graph.ID {
	x = l.Norm.build(b, AttnOutputNorm, addDropped(b, l.Attn, x, x))
	return l.Norm.build(b, LayerOutNorm, addDropped(b, l.FFN, x, x))
}

// An encoderEmbedding adds a vector of its own to each position, where these are learned, and that of the first type of
// token, and normalises the sum.
type encoderEmbedding struct {
	embedding
	Positions int // 0: they are not learned
	Types     int // 0: none has a vector
	Norm      norm
}

func (e encoderEmbedding) Parts() []Part {
	parts := e.embedding.Parts()
	if n := int64(e.Positions); n > 0 {
		parts = append(parts, Part{Role: PositionEmbd, Suffix: ".weight", Shape: []int64{int64(e.Embd), n}})
	}
	if e.Types > 0 {
		parts = append(parts, Part{Role: TokenTypes, Suffix: ".weight", Shape: []int64{int64(e.Embd), int64(e.Types)}})
	}
	return append(parts, e.Norm.parts(TokenEmbdNorm, e.Embd)...)
}

func (e encoderEmbedding) Build(b *Builder, _ graph.ID) graph.ID {
	x := e.embedding.Build(b, graph.None)
	if e.Types > 0 {
		x = b.G.Add(x, b.G.Rows(b.Weight(TokenTypes, ".weight"), b.Indices(InputTypes, b.T)))
	}
	if e.Positions > 0 {
		x = b.G.Add(x, b.G.Rows(b.Weight(PositionEmbd, ".weight"), b.Indices(InputPos, b.T)))
	}
	return b.Dropped(e.Norm.build(b, TokenEmbdNorm, x))
}

// headless is what follows the last layer where nothing does.
type headless struct{}

func (headless) Parts() []Part { return nil }

func (headless) Build(_ *Builder, x graph.ID) graph.ID { return x }
