package kernels

// #include "gate.inc.h"
import "C"

// OpGate lets rows through or not.
var OpGate = plain(C.GT_OP_GATE)
