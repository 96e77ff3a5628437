package kernels

// #include "optim.inc.h"
// #include "lion.inc.h"
// #include "adamw8.inc.h"
// #include "adafactor.inc.h"
// #include "muon.inc.h"
// #include "average.inc.h"
import "C"

import "unsafe"

// AdamWConstants are the numbers that OpAdamW reads from memory.
type AdamWConstants struct {
	Scale, Beta1, Beta2, Keep, Rate, Correct2, Eps float64
}

var _ = mirror[AdamWConstants, C.gt_adamw_constants]("adamw constants")

// LionConstants are the numbers that OpLion reads from memory.
type LionConstants struct {
	Scale, Beta1, Beta2, Keep, Rate float64
}

var _ = mirror[LionConstants, C.gt_lion_constants]("lion constants")

// AdafactorConstants are the numbers that Adafactor's operations read from memory.
type AdafactorConstants struct {
	Scale, Decay, Eps, Keep, Rate, Clip float64
}

var _ = mirror[AdafactorConstants, C.gt_adafactor_constants]("adafactor constants")

// MuonConstants are the numbers that Muon's operations read from memory.
type MuonConstants struct {
	Scale, Momentum, Keep, Rate float64
}

var _ = mirror[MuonConstants, C.gt_muon_constants]("muon constants")

// AverageConstants are the numbers that OpAverage reads from memory.
type AverageConstants struct{ Share float64 }

var _ = mirror[AverageConstants, C.gt_average_constants]("average constants")

// Constants is the argument that holds what an operation reads from memory: a structure of float64.
func Constants[K any](k *K) Arg {
	n := int64(unsafe.Sizeof(*k))
	return Matrix(unsafe.Pointer(k), F64, n/8, 1, n)
}

// The optimizer's share of a step.
var (
	OpAdamW   = plain(C.GT_OP_ADAMW)
	OpSquares = plain(C.GT_OP_SQUARES)

	OpLion             = plain(C.GT_OP_LION)
	OpAdamW8           = plain(C.GT_OP_ADAMW8)
	OpAdafactorRows    = plain(C.GT_OP_ADAFACTOR_ROWS)
	OpAdafactorColumns = plain(C.GT_OP_ADAFACTOR_COLUMNS)
	OpAdafactorSquares = plain(C.GT_OP_ADAFACTOR_SQUARES)
	OpAdafactor        = plain(C.GT_OP_ADAFACTOR)
	OpMuonMoment       = plain(C.GT_OP_MUON_MOMENT)
	OpMuonUnit         = plain(C.GT_OP_MUON_UNIT)
	OpMuon             = plain(C.GT_OP_MUON)
	OpAverage          = plain(C.GT_OP_AVERAGE)
)
