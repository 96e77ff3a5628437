package method

// CPT is continued pre-training: the cross-entropy of every token, prompts included. Its formula is SFT's.
var CPT = register(&Method{
	Name:      "cpt",
	Doc:       "continued pre-training: cross-entropy of every token",
	Unit:      "token",
	AllTokens: true,
	Loss:      crossEntropy,
})
