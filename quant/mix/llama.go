package mix

import "github.com/ggtune/ggtune/engine/gguf"

// llama.cpp's own mixes (llama_tensor_get_type in llama-quant.cpp). Tests hold them against its quantizer, file type by
// file type and architecture by architecture.
var (
	Q80 = register(llama("q8_0", 7, gguf.Q8_0, "8.5 bits a weight, close to f16"))

	_ = register(llama("q4_0", 2, gguf.Q4_0, "4.6 bits a weight, the oldest; q4_k_m is better at the same size",
		rule{down, guarded, gguf.Q4_1}))
	_ = register(llama("q4_1", 3, gguf.Q4_1, "5.1 bits a weight, with a minimum for each block"))
	_ = register(llama("q5_0", 8, gguf.Q5_0, "5.6 bits a weight; q5_k_m is better at the same size",
		rule{down, guarded, gguf.Q5_1}))
	_ = register(llama("q5_1", 9, gguf.Q5_1, "6 bits a weight, with a minimum for each block"))
	_ = register(llama("q2_k", 10, gguf.Q2_K, "3.2 bits a weight, with a loss that shows",
		rule{value, grouped, gguf.Q4_K}, rule{value, always, gguf.Q3_K}, rule{down, always, gguf.Q3_K},
		rule{attnOut, falcon, gguf.Q2_K}, rule{attnOut, eight, gguf.Q5_K}, rule{attnOut, always, gguf.Q3_K}))
	_ = register(llama("q2_k_s", 21, gguf.Q2_K, "3.0 bits a weight; wants an importance matrix",
		rule{value, grouped, gguf.Q4_K}, rule{down, early(8), gguf.Q4_K}))
	_ = register(llama("q3_k_s", 11, gguf.Q3_K, "3.6 bits a weight",
		rule{attnOut, both(eight, not(falcon)), gguf.Q5_K}))
	_ = register(llama("q3_k_m", 12, gguf.Q3_K, "4.0 bits a weight",
		rule{value, first(2), gguf.Q5_K}, rule{value, always, gguf.Q4_K},
		rule{down, early(16), gguf.Q5_K}, rule{down, either(not(falcon), more), gguf.Q4_K},
		rule{attnOut, falcon, gguf.Q3_K}, rule{attnOut, eight, gguf.Q5_K}, rule{attnOut, always, gguf.Q4_K},
		rule{fused, always, gguf.Q4_K}))
	_ = register(llama("q3_k_l", 13, gguf.Q3_K, "4.3 bits a weight",
		rule{value, always, gguf.Q5_K}, rule{down, falcon, gguf.Q4_K}, rule{down, always, gguf.Q5_K},
		rule{attnOut, falcon, gguf.Q4_K}, rule{attnOut, not(eight), gguf.Q5_K}, rule{fused, always, gguf.Q4_K}))
	_ = register(llama("q4_k_s", 14, gguf.Q4_K, "4.7 bits a weight",
		rule{value, first(4), gguf.Q5_K}, rule{down, both(early(8), not(falcon)), gguf.Q5_K},
		rule{attnOut, both(eight, not(falcon)), gguf.Q5_K}))
	_ = register(llama("q4_k_m", 15, gguf.Q4_K, "4.9 bits a weight; what most people use",
		rule{value, more, gguf.Q6_K},
		rule{down, both(falcon, early(16)), gguf.Q6_K}, rule{down, both(falcon, more), gguf.Q5_K},
		rule{down, both(not(falcon), more), gguf.Q6_K},
		rule{attnOut, both(eight, not(falcon)), gguf.Q5_K}, rule{fused, always, gguf.Q5_K}))
	_ = register(llama("q5_k_s", 16, gguf.Q5_K, "5.6 bits a weight"))
	_ = register(llama("q5_k_m", 17, gguf.Q5_K, "5.7 bits a weight, hardly a loss",
		rule{value, more, gguf.Q6_K}, rule{down, more, gguf.Q6_K}, rule{fused, always, gguf.Q6_K}))
	_ = register(llama("q6_k", 18, gguf.Q6_K, "6.6 bits a weight, next to no loss"))
	_ = register(llama("iq3_xxs", 23, gguf.IQ3_XXS, "3.4 bits a weight; wants an importance matrix",
		rule{value, grouped, gguf.Q4_K}, rule{value, plain, gguf.IQ3_S},
		rule{key, always, gguf.IQ2_S}, rule{query, always, gguf.IQ2_S},
		rule{down, both(plain, early(8)), gguf.Q4_K}, rule{down, plain, gguf.Q3_K},
		rule{attnOut, falcon, gguf.IQ3_XXS}, rule{attnOut, eight, gguf.Q5_K}, rule{attnOut, always, gguf.IQ3_S}))
	_ = register(llama("iq3_xs", 22, gguf.IQ3_S, "3.5 bits a weight",
		rule{value, grouped, gguf.Q4_K}, rule{key, always, gguf.IQ3_XXS}, rule{query, always, gguf.IQ3_XXS},
		rule{attnOut, both(eight, not(falcon)), gguf.Q5_K},
		rule{gate, middle, gguf.IQ3_XXS}, rule{up, middle, gguf.IQ3_XXS}))
	_ = register(llama("iq3_s", 26, gguf.IQ3_S, "3.7 bits a weight",
		rule{value, grouped, gguf.Q4_K}, rule{attnOut, both(eight, not(falcon)), gguf.Q5_K}))
	_ = register(llama("iq3_m", 27, gguf.IQ3_S, "3.8 bits a weight",
		rule{value, always, gguf.Q4_K}, rule{down, either(early(8), both(eight, more)), gguf.Q4_K},
		rule{attnOut, falcon, gguf.IQ3_S}, rule{attnOut, eight, gguf.Q5_K}, rule{attnOut, always, gguf.Q4_K},
		rule{fused, always, gguf.Q4_K}))
	_ = register(llama("iq4_nl", 25, gguf.IQ4_NL, "4.7 bits a weight", iq4...))
	_ = register(llama("iq4_xs", 30, gguf.IQ4_XS, "4.5 bits a weight", iq4...))
	_ = register(coarse("iq1_s", 24, gguf.IQ1_S, gguf.Q2_K, "2.0 bits a weight; wants an importance matrix",
		rule{attnOut, always, gguf.IQ2_XXS}))
	_ = register(coarse("iq1_m", 31, gguf.IQ1_M, gguf.Q2_K, "2.1 bits a weight; wants an importance matrix",
		rule{attnOut, always, gguf.IQ2_XXS}))
	_ = register(coarse("iq2_xxs", 19, gguf.IQ2_XXS, gguf.Q2_K, "2.4 bits a weight; wants an importance matrix"))
	_ = register(coarse("iq2_xs", 20, gguf.IQ2_XS, gguf.Q2_K, "2.6 bits a weight; wants an importance matrix"))
	_ = register(coarse("iq2_s", 28, gguf.IQ2_XS, gguf.IQ3_S, "2.7 bits a weight; wants an importance matrix",
		rule{attnOut, always, gguf.IQ3_S}))
	_ = register(coarse("iq2_m", 29, gguf.IQ2_S, gguf.IQ3_S, "2.9 bits a weight; wants an importance matrix",
		rule{attnOut, always, gguf.IQ3_S}))
	_ = register(llama("tq1_0", 36, gguf.TQ1_0, "2.2 bits a weight, for models trained with three values (BitNet)"))
	_ = register(llama("tq2_0", 37, gguf.TQ2_0, "2.5 bits a weight, for models trained with three values (BitNet)"))
	_ = register(Mix{Name: "mxfp4_moe", FileType: 38, Of: mxfp4, About: "experts in 4.25 bits a weight (mxfp4), all " +
		"else in q8_0"})
)

var iq4 = []rule{{value, grouped, gguf.Q5_K}, {down, both(plain, early(8)), gguf.Q5_K},
	{attnOut, both(eight, not(falcon)), gguf.Q5_K}}

// A rule says that matrices of a kind have a type of their own under a condition. Of a mix's rules the first counts.
type rule struct {
	kind kind
	when condition
	to   gguf.Type
}

type condition func(Place) bool

func always(Place) bool    { return true }
func grouped(p Place) bool { return p.grouped() }
func plain(p Place) bool   { return !p.Importance }
func eight(p Place) bool   { return p.Experts == 8 } // Mixtral 8x7B and its like
func falcon(p Place) bool  { return p.Arch == "falcon" }

func not(c condition) condition { return func(p Place) bool { return !c(p) } }

func both(a, b condition) condition { return func(p Place) bool { return a(p) && b(p) } }

func either(a, b condition) condition { return func(p Place) bool { return a(p) || b(p) } }

// early is the first nth of the layers.
func early(n int) condition {
	return func(p Place) bool {
		layer, layers := p.depth()
		return layer < layers/n
	}
}

// first is so many layers.
func first(n int) condition {
	return func(p Place) bool {
		layer, _ := p.depth()
		return layer < n
	}
}

// middle is all layers but the first and last eighth.
func middle(p Place) bool {
	layer, layers := p.depth()
	return layer >= layers/8 && layer < 7*layers/8
}

// more is the choice of layers that keep a better type: the first and last eighth and every third between.
func more(p Place) bool {
	layer, layers := p.depth()
	return layer < layers/8 || layer >= 7*layers/8 || (layer-layers/8)%3 == 2
}

// guarded is where an importance matrix may lead the oldest types astray.
func guarded(p Place) bool { return p.Importance && early(8)(p) }

// eightExperts are small matrices of models that are large otherwise.
var eightExperts = []rule{{value, eight, gguf.Q8_0}, {key, eight, gguf.Q8_0}}

// llama makes the Mix of a base type and its exceptions.
func llama(name string, ft uint32, base gguf.Type, about string, rules ...rule) Mix {
	rules = append(eightExperts[:len(eightExperts):len(eightExperts)], rules...)
	output, embedding := gguf.Q6_K, base
	switch base {
	case gguf.Q8_0:
		output = base
	case gguf.IQ3_XXS:
		output, embedding = gguf.Q5_K, gguf.IQ3_S
	case gguf.TQ1_0, gguf.TQ2_0:
		embedding = gguf.Q4_K
	}
	return Mix{Name: name, FileType: ft, About: about, Of: func(p Place) gguf.Type {
		t := choose(p, base, output, embedding, rules)
		if p.kind == value && p.huge() && (t == gguf.Q3_K || t == gguf.Q4_K) {
			return gguf.Q5_K
		}
		return t
	}}
}

// coarse makes the Mix of a base type of one or two bits; small is the type of tables and small matrices.
func coarse(name string, ft uint32, base, small gguf.Type, about string, rules ...rule) Mix {
	rules = append([]rule{
		{value, either(grouped, func(p Place) bool { return p.Experts >= 4 }), gguf.Q4_K}, {value, always, small},
		{key, eight, gguf.Q4_K},
		{down, func(p Place) bool { return p.nth < p.Layers/8 }, small}, // matrices are counted, whatever the experts
		{attnOut, eight, gguf.Q5_K},
	}, rules...)
	return Mix{Name: name, FileType: ft, About: about, Of: func(p Place) gguf.Type {
		return choose(p, base, gguf.Q5_K, small, rules)
	}}
}

// choose finds the type of a matrix.
func choose(p Place, base, output, embedding gguf.Type, rules []rule) gguf.Type {
	switch {
	case p.isOutput() && (p.Arch == "falcon" || p.Row()%int64(base.BlockSize()) != 0):
		return gguf.Q8_0
	case p.isOutput():
		return output
	case p.Role == "token_embd" || p.Role == "per_layer_token_embd":
		return embedding
	}
	for _, r := range rules {
		if r.kind == p.kind && r.when(p) {
			return r.to
		}
	}
	return base
}

func mxfp4(p Place) gguf.Type {
	if len(p.Shape) > 2 && p.Shape[2] > 1 && !p.isOutput() {
		return gguf.MXFP4
	}
	return gguf.Q8_0
}
