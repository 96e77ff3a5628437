package kernels

// #include "norm.inc.h"
import "C"

// NormConstants are those of norms and of the gradients of their weights.
type NormConstants struct {
	Eps float64 // added to the mean square or the variance
}

// NormBackConstants are those of the norms' derivatives.
type NormBackConstants struct {
	Eps float64 // added to the mean square or the variance
	Acc bool    // add to what is there
}

// RMSNorm and LayerNorm, their derivatives, and the gradient of a bias.
var (
	OpRMSNorm       = kernel[NormConstants, C.gt_norm_constants](C.GT_OP_RMS_NORM)
	OpRMSNormBack   = kernel[NormBackConstants, C.gt_norm_back_constants](C.GT_OP_RMS_NORM_BACK)
	OpRMSNormGrad   = kernel[NormConstants, C.gt_norm_constants](C.GT_OP_RMS_NORM_GRAD)
	OpLayerNorm     = kernel[NormConstants, C.gt_norm_constants](C.GT_OP_LAYER_NORM)
	OpLayerNormBack = kernel[NormBackConstants, C.gt_norm_back_constants](C.GT_OP_LAYER_NORM_BACK)
	OpLayerNormGrad = kernel[NormConstants, C.gt_norm_constants](C.GT_OP_LAYER_NORM_GRAD)
	OpBiasGrad      = plain(C.GT_OP_BIAS_GRAD)
)
