// NEON, which every 64-bit ARM has.
#if defined(__aarch64__)
#define GT_ISA 6
#define GT_TABLE gt_table_neon
#include "kern.inc.h"
#endif
