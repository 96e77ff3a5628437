package arch

// SmolLM3 is SmolLM 3 (llama.cpp's src/models/smollm3.cpp): as llama, with positions that each fourth layer does not
// look at. Which layers those are no file says.
var SmolLM3 = register(Arch{
	Name:    "smollm3",
	Example: Example{Tokenizer: "llama-bpe", Tied: true, Layers: smolLM3Period},
	Read: func(f Metadata) (*Net, error) {
		return readDecoder(f, traits{}, func(m *family) {
			m.Layer.Attn.RopeFactors = false
			m.Each = func(il int, l *decoder) { l.Attn.NoRope = (il+1)%smolLM3Period == 0 }
		})
	},
	Hub: Hub{ModelType: "smollm3", Class: "SmolLM3ForCausalLM", Layers: "model.layers", Modules: decoderModules()},
})

const smolLM3Period = 4
