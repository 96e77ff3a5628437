// Plain C with 16-byte vectors, for any CPU: the reference the other levels are tested against.
#define GT_ISA 0
#define GT_TABLE gt_table_portable
#include "kern.inc.h"
