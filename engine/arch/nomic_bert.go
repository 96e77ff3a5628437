package arch

// NomicBert is the encoder of nomic-embed-text (llama.cpp's src/models/bert.cpp): BERT with rotary positions, one
// matrix of q, k and v, a gate of SiLU, and no biases but those of norms. Modules are named as the published models'
// own code has them; transformers' nomic_bert has q, k and v apart.
var NomicBert = register(Arch{
	Name:     "nomic-bert",
	Headless: true,
	Example: Example{Tokenizer: "bert", AllHeads: true,
		Keys: map[string]any{"attention.causal": false, "pooling_type": int(PoolMean)}},
	Read: readNomicBert,
	Hub: Hub{ModelType: "nomic_bert", Class: "NomicBertModel", Layers: "encoder.layers",
		Modules: map[Role]string{
			TokenEmbd: "embeddings.word_embeddings", TokenTypes: "embeddings.token_type_embeddings",
			TokenEmbdNorm: "emb_ln", AttnQKV: "attn.Wqkv", AttnOutput: "attn.out_proj", AttnOutputNorm: "norm1",
			FFNUp: "mlp.fc11", FFNGate: "mlp.fc12", FFNDown: "mlp.fc2", LayerOutNorm: "norm2",
		},
		Settings: []HubSetting{
			{Key: "block_count", Names: []string{"n_layer"}},
			// What it has learned. Its own code stretches positions up to n_positions, which llama.cpp does not.
			{Key: HubContext, Names: []string{"max_trained_positions"}, Missing: 2048},
			{Key: "embedding_length", Names: []string{"n_embd"}},
			{Key: "feed_forward_length", Names: []string{"n_inner"}},
			{Key: "attention.head_count", Names: []string{"n_head"}},
			{Key: "rope.freq_base", Names: []string{"rotary_emb_base"}, Float: true},
			{Key: "attention.layer_norm_epsilon", Names: []string{"layer_norm_epsilon"}, Float: true},
			{Key: HubFileType}, {Key: HubEncoder},
		},
		Must: map[string][]any{"activation_function": {"swiglu"}, "n_positions": {8192.0},
			"max_trained_positions": {2048.0}, "causal": {false}, "prenorm": {false}, "parallel_block": {false},
			"use_rms_norm": {false}, "qkv_proj_bias": {false}, "mlp_fc1_bias": {false}, "mlp_fc2_bias": {false},
			"rotary_emb_fraction": {1.0}, "rotary_emb_interleaved": {false}, "rotary_emb_scale_base": {},
			"moe_every_n_layers": {0.0}},
	},
})

func readNomicBert(f Metadata) (*Net, error) {
	k := keysOf(f)
	hp, ff := k.hparams(), k.size("feed_forward_length", 0)
	k.dense()
	k.mustPool()
	if n := k.count("moe_every_n_layers"); n > 0 {
		k.fail("metadata key %q is %d: some layers have experts, which cannot be trained in a %s", k.arch+
			".moe_every_n_layers", n, k.arch)
	}
	hp.TiedOutput, hp.TokenTypes = false, k.tokenTypes()
	n := k.encoderNorm()
	a := attention{Embd: hp.NEmbd, AttentionAttr: k.bidirectional(hp.NEmbd), Fused: true}
	a.Rope = k.rope(hp, a.HeadDim, true)
	k.whole(a.Rope, a.HeadDim)
	k.square(a)
	layer := encoder{Norm: n, Attn: a, FFN: gated{Embd: hp.NEmbd, FF: ff}}
	return &Net{
		HParams: hp, Sizes: sizes(ff, a.AttentionAttr),
		Embed: encoderEmbedding{embedding: embedding{Embd: hp.NEmbd, Vocab: hp.NVocab}, Types: hp.TokenTypes, Norm: n},
		Layer: func(int) Layer { return layer },
		Final: headless{},
	}, k.err()
}
