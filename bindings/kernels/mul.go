package kernels

// #include "mul.inc.h"
import "C"

// OpMul multiplies number by number.
var OpMul = plain(C.GT_OP_MUL)
