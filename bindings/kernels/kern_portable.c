// Plain C with 16-byte vectors, for any CPU: the reference the other levels are tested against. Products are never
// contracted with sums, so that its results are the same whatever the compiler's flags.
#ifdef __clang__
#pragma STDC FP_CONTRACT OFF
#else
#pragma GCC optimize("fp-contract=off")
#endif
#define GT_ISA 0
#define GT_TABLE gt_table_portable
#include "kern.inc.h"
