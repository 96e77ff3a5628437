// Storage types: see types.go for the contract. The Go side checks type numbers and sizes; these functions trust them.
#ifndef GT_TYPES_H
#define GT_TYPES_H

#include "../status.h"

#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct gt_type_info {
    const char * name;
    int64_t      block;         // elements; 0: the number is no type (any more)
    size_t       bytes;         // a block
    bool         quantized;
    bool         dequantizes;   // to float32
    bool         needs_imatrix; // to quantize
} gt_type_info;

int gt_type_describe(int32_t type, gt_type_info * info, gt_status * st);
// gt_dequantize writes n elements, a multiple of the block.
int gt_dequantize(int32_t type, const void * src, float * dst, int64_t n, gt_status * st);
// gt_quantize writes rows rows of n elements each. importance is NULL or weighs the n elements of every row.
int gt_quantize(int32_t type, const float * src, void * dst, int64_t rows, int64_t n, const float * importance,
                gt_status * st);

#ifdef __cplusplus
}
#endif
#endif
