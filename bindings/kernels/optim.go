package kernels

// #include "optim.inc.h"
import "C"

import "unsafe"

// AdamWConstants are the numbers that OpAdamW reads from memory.
type AdamWConstants struct {
	Scale, Beta1, Beta2, Keep, Rate, Correct2, Eps float64
}

var _ = mirror[AdamWConstants, C.gt_adamw_constants]("adamw constants")

// Arg is the argument that holds them.
func (k *AdamWConstants) Arg() Arg {
	n := int64(unsafe.Sizeof(*k))
	return Matrix(unsafe.Pointer(k), F64, n/8, 1, n)
}

// The optimizer's share of a step.
var (
	OpAdamW   = plain(C.GT_OP_ADAMW)
	OpSquares = plain(C.GT_OP_SQUARES)
)
