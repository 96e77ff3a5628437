package kernels

// #include "rows.inc.h"
import "C"

// RowsAddConstants are those of OpRowsAdd.
type RowsAddConstants struct {
	Scale float64 // factor of what is added
}

// Rows of tables, read and added to.
var (
	OpRows    = plain(C.GT_OP_ROWS)
	OpRowsAdd = kernel[RowsAddConstants, C.gt_rows_add_constants](C.GT_OP_ROWS_ADD)
)
