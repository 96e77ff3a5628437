// Operations of rows.inc.h.
#define GT_OPS_ROWS(X)
