// See reference.go for the contract.
#ifndef GT_REFERENCE_H
#define GT_REFERENCE_H

#include "../../status.h"

#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct gt_weights {
    const char *  name;
    const float * values;
    int64_t       n;
} gt_weights;

// gt_ref_quantize: weights is NULL or an importance matrix.
int gt_ref_quantize(const char * in, const char * out, int32_t file_type, bool requantize, const gt_weights * weights,
                    int64_t n, gt_status * st);

typedef struct gt_sums gt_sums;

// gt_ref_activations runs n tokens from an empty context on. *out is the caller's.
int    gt_ref_activations(const char * model, const int32_t * tokens, int32_t n, gt_sums ** out, gt_status * st);
// gt_ref_sum gives what was summed up for the i-th tensor, one of its n matrices after the other, and how many vectors
// there were of each; its name is NULL behind the last.
gt_weights gt_ref_sum(const gt_sums * s, int64_t i, const int64_t ** counts, int64_t * n);
void       gt_ref_free(gt_sums * s);

#ifdef __cplusplus
}
#endif
#endif
