package kernels

// #include "route.inc.h"
import "C"

// Kinds of gating.
const (
	GateSoftmax       int64 = C.GT_GATE_SOFTMAX
	GateSoftmaxChosen int64 = C.GT_GATE_SOFTMAX_CHOSEN
	GateSigmoid       int64 = C.GT_GATE_SIGMOID
)

// MostExperts is the most experts that a layer can have: llama.cpp's bound.
const MostExperts = C.GT_EXPERTS_MAX

// GatingConstants are those of OpGating and OpGatingBack.
type GatingConstants struct {
	Scale float64 // factor of the weights
	Kind  int64   // GateSoftmax and others
	Norm  bool    // the weights of a token's experts are divided by their sum
}

// Which experts a token goes to, and with what weight.
var (
	OpTopK       = plain(C.GT_OP_TOP_K)
	OpGroup      = plain(C.GT_OP_GROUP)
	OpGating     = kernel[GatingConstants, C.gt_gating_constants](C.GT_OP_GATING)
	OpGatingBack = kernel[GatingConstants, C.gt_gating_constants](C.GT_OP_GATING_BACK)
)
