package method

import "github.com/ggtune/ggtune/internal/setting"

// SimCSE learns vectors from texts alone (Gao, Yao and Chen 2021, "SimCSE: Simple Contrastive Learning of Sentence
// Embeddings", equation 4): a text goes through the model twice, and what dropout leaves of it are two vectors, hᵢ and
// hᵢ′. hᵢ is to choose hᵢ′ among the second vectors of the whole step, by cosines times scale s, one over the
// temperature, which the paper has at 0.05:
//
//	L = −s·cos(hᵢ, hᵢ′) + log Σⱼ exp(s·cos(hᵢ, hⱼ′))
//
// It is mnrl over pairs of a text and itself, as sentence-transformers does it, and has mnrl's figures. Equal texts are
// no negatives of each other. The paper's layer over the vectors, which it has in training alone, is left out, as
// sentence-transformers leaves it out.
//
// Without dropout a text's two vectors are one. Held-out texts are measured so: their loss says how far apart texts
// lie, and nothing of how near a text is to what means the same.
var SimCSE = register(&Method{
	Name:    "simcse",
	Doc:     "tell a text by what dropout leaves of it, among the others of the step (Gao et al. 2021)",
	Unit:    "example",
	Need:    Views,
	Coupled: true,
	Drops:   0.1, // the paper's, which is BERT's own; its table 3 has others
	Reads:   []setting.Use{scale.At(20)},
	Loss: func(in *Inputs, s setting.Values) (Result, error) {
		res, _, err := ranked(in, s.Of(scale), false)
		return res, err
	},
})
