#include "types.h"

#include "../ggmlapi.h"
#include "../guard.h"

#include <cstring>

int gt_type_describe(int32_t type, gt_type_info * info, gt_status * st) {
    return gt::guard(st, [&]() -> int {
        const struct ggml_type_traits * t = ggml_get_type_traits((enum ggml_type)type);
        info->name          = t->type_name;
        info->block         = t->blck_size;
        info->bytes         = t->type_size;
        info->quantized     = t->is_quantized;
        info->dequantizes   = t->to_float || type == GGML_TYPE_F32;
        info->needs_imatrix = ggml_quantize_requires_imatrix((enum ggml_type)type);
        return GT_OK;
    });
}

int gt_dequantize(int32_t type, const void * src, float * dst, int64_t n, gt_status * st) {
    return gt::guard(st, [&]() -> int {
        if (type == GGML_TYPE_F32) { // ggml has no function for it
            memcpy(dst, src, (size_t)n * sizeof(float));
        } else {
            ggml_get_type_traits((enum ggml_type)type)->to_float(src, dst, n);
        }
        return GT_OK;
    });
}

int gt_quantize(int32_t type, const float * src, void * dst, int64_t rows, int64_t n, const float * importance,
                gt_status * st) {
    return gt::guard(st, [&]() -> int {
        ggml_quantize_chunk((enum ggml_type)type, src, dst, 0, rows, n, importance);
        return GT_OK;
    });
}
