package arch

import "github.com/ggtune/ggtune/engine/graph"

// GemmaEmbedding is EmbeddingGemma (llama.cpp's src/models/gemma-embedding.cpp): Gemma 3 whose tokens see each other
// both ways, within windows as far ahead as back, and without an output head. A file may hold the two matrices that
// sentence-transformers has behind the pooling (2_Dense, 3_Dense): llama.cpp multiplies vectors by them
// (src/llama-graph.cpp, build_dense_out).
var GemmaEmbedding = register(Arch{
	Name:     "gemma-embedding",
	Headless: true,
	Example: Example{WideHeads: true, Rounded: true, Layers: gemma3Period,
		Keys: map[string]any{"attention.sliding_window": 8, "pooling_type": int(PoolMean), denseOut: 256,
			denseIn: 256}},
	Read: readGemmaEmbedding,
	Hub:  Hub{ModelType: "gemma3_text", Class: "Gemma3TextModel", Layers: "layers", Modules: embeddingGemmaModules()},
})

// Roles behind the pooling.
const (
	Dense2 Role = "dense_2"
	Dense3 Role = "dense_3"
)

// Where files say how many elements vectors have between the two.
const (
	denseOut = "dense_2_feat_out"
	denseIn  = "dense_3_feat_in"
)

// embeddingGemmaModules are those of Gemma 3 without a head, and sentence-transformers' behind it.
func embeddingGemmaModules() map[Role]string {
	m := gemmaModules(map[Role]string{AttnQNorm: "self_attn.q_norm", AttnKNorm: "self_attn.k_norm",
		TokenEmbd: "embed_tokens", OutputNorm: "norm", Dense2: "2_Dense.linear", Dense3: "3_Dense.linear"})
	delete(m, Output)
	return m
}

func readGemmaEmbedding(f Metadata) (*Net, error) {
	between := 0
	net, err := readDecoder(f, traits{Neox: true, PartRope: true}, func(m *family) {
		m.gemma(0)
		m.mustPool()
		m.Final.Head = noHead
		m.Layer.Attn.QKNorm, m.Layer.Attn.Bidirectional = qkPerHead, true
		seen := m.size("attention.sliding_window", 0)
		m.Each = func(il int, l *decoder) {
			if il%gemma3Period < gemma3Period-1 {
				l.Attn.Window = seen/2 + 1 // half of it to each side, and the token
				l.Attn.Rope.FreqBase, l.Attn.Rope.FreqScale = gemma3Local, 1
			}
		}
		if between = m.between(); between > 0 {
			m.More = append(m.More, Size{denseOut, between})
		}
	})
	if err != nil || between == 0 {
		return net, err
	}
	net.Final = projected{net.Final.(final), between}
	return net, nil
}

// between reads how many elements vectors have between the matrices behind the pooling; 0: there are none.
func (k *keys) between() int {
	out, in := k.count(denseOut), k.count(denseIn)
	for _, key := range []string{"dense_2_feat_in", "dense_3_feat_out"} { // of which llama.cpp asserts it
		if n, embd := k.count(key), k.size("embedding_length", 0); n != 0 && n != embd {
			k.fail("metadata key %q is %d, expected n_embd %d", k.arch+"."+key, n, embd)
		}
	}
	two, three := TensorName(Dense2, ".weight", -1), TensorName(Dense3, ".weight", -1)
	switch has := k.f.HasTensor(two); {
	case has != k.f.HasTensor(three):
		k.fail("of tensors %q and %q one is there, expected both or none: llama.cpp multiplies vectors by both or by "+
			"none", two, three)
	case has && (out == 0 || out != in):
		k.fail("metadata keys %q and %q are %d and %d, expected the same size: that of vectors between tensors %q "+
			"and %q", k.arch+"."+denseOut, k.arch+"."+denseIn, out, in, two, three)
	case has:
		return out
	}
	return 0
}

// projected is final, and what pooled vectors go through.
type projected struct {
	final
	Between int // elements
}

func (o projected) Parts() []Part {
	const why = "it multiplies a text's vector by the matrix alone (build_dense_out)"
	embd, n := int64(o.Embd), int64(o.Between)
	return append(o.final.Parts(),
		Part{Role: Dense2, Suffix: ".weight", Shape: []int64{embd, n}, Linear: true, Alone: why},
		Part{Role: Dense3, Suffix: ".weight", Shape: []int64{n, embd}, Linear: true, Alone: why})
}

func (o projected) project(b *Builder, v graph.ID) graph.ID {
	return b.Linear(Dense3, b.Linear(Dense2, v, graph.None), graph.None)
}
