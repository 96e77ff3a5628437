package mix

import "github.com/ggtune/ggtune/engine/gguf"

// llama.cpp's own mixes, as its quantizer makes them without an importance matrix. Generated models have them; models
// are not quantized to them yet.
var (
	_ = register(llamaMix("q4_0", 2, gguf.Q4_0, nil))
	_ = register(llamaMix("q4_1", 3, gguf.Q4_1, nil))
	_ = register(llamaMix("q5_0", 8, gguf.Q5_0, nil))
	_ = register(llamaMix("q5_1", 9, gguf.Q5_1, nil))
	_ = register(llamaMix("q2_k", 10, gguf.Q2_K, q2K))
	_ = register(llamaMix("q3_k_m", 12, gguf.Q3_K, q3KM))
	_ = register(llamaMix("q4_k_s", 14, gguf.Q4_K, q4KS))
	_ = register(llamaMix("q4_k_m", 15, gguf.Q4_K, moreBits(gguf.Q5_K)))
	_ = register(llamaMix("q5_k_s", 16, gguf.Q5_K, nil))
	_ = register(llamaMix("q5_k_m", 17, gguf.Q5_K, moreBits(gguf.Q6_K)))
	_ = register(llamaMix("q6_k", 18, gguf.Q6_K, nil))
	_ = register(llamaMix("iq4_nl", 25, gguf.IQ4_NL, iq4))
	_ = register(llamaMix("iq4_xs", 30, gguf.IQ4_XS, iq4))
)

// useMoreBits is llama-quant.cpp's choice of layers that keep a better type: the first and last eighth and every third
// between.
func useMoreBits(layer, layers int) bool {
	return layer < layers/8 || layer >= 7*layers/8 || (layer-layers/8)%3 == 2
}

// llamaMix makes the Mix of a quantized base type: output (or the tied embedding) in Q6_K, or Q8_0 where rows do not
// fit; more says which other matrices take a better type. Source: llama_tensor_get_type in llama-quant.cpp.
func llamaMix(name string, ft uint32, base gguf.Type, more func(Place) (gguf.Type, bool)) Mix {
	return Mix{Name: name, FileType: ft, Of: func(p Place) gguf.Type {
		if p.isOutput() {
			switch {
			case p.Row()%int64(base.BlockSize()) != 0:
				return gguf.Q8_0
			case base != gguf.Q8_0:
				return gguf.Q6_K
			}
			return base
		}
		if more != nil {
			if t, ok := more(p); ok {
				return t
			}
		}
		return base
	}}
}

// moreBits is the rule of Q4_K_M and Q5_K_M; qkv is their type of fused attn_qkv.
func moreBits(qkv gguf.Type) func(Place) (gguf.Type, bool) {
	return func(p Place) (gguf.Type, bool) {
		switch p.Role {
		case "attn_v", "ffn_down":
			return gguf.Q6_K, useMoreBits(p.Layer, p.NLayer)
		case "attn_qkv":
			return qkv, true
		}
		return 0, false
	}
}

func q3KM(p Place) (gguf.Type, bool) {
	switch p.Role {
	case "attn_v":
		if p.Layer < 2 {
			return gguf.Q5_K, true
		}
		return gguf.Q4_K, true
	case "ffn_down":
		if p.Layer < p.NLayer/16 {
			return gguf.Q5_K, true
		}
		return gguf.Q4_K, true
	case "attn_output", "attn_qkv":
		return gguf.Q4_K, true
	}
	return 0, false
}

func q2K(p Place) (gguf.Type, bool) {
	switch p.Role {
	case "attn_v":
		if p.GQA >= 4 {
			return gguf.Q4_K, true
		}
		return gguf.Q3_K, true
	case "ffn_down", "attn_output":
		return gguf.Q3_K, true
	}
	return 0, false
}

func q4KS(p Place) (gguf.Type, bool) {
	return gguf.Q5_K, p.Role == "attn_v" && p.Layer < 4 || p.Role == "ffn_down" && p.Layer < p.NLayer/8
}

func iq4(p Place) (gguf.Type, bool) {
	return gguf.Q5_K, p.Role == "attn_v" && p.GQA >= 4 || p.Role == "ffn_down" && p.Layer < p.NLayer/8
}
