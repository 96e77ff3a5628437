// The moving average of parameters.
//
// GT_OP_AVERAGE  a = a + share·(x − a), in F64.  a0 inout a [n,R]; a1 x; a2 f64 [1,1], a gt_average_constants; a3 out
//                [1,R]: 0, or no number if one of the row's is not finite after.
#ifndef GT_AVERAGE_INC_H
#define GT_AVERAGE_INC_H

#include "kernels.h"

// What changes from step to step, in memory.
typedef struct gt_average_constants {
    double share;
} gt_average_constants;

#ifdef GT_KERNELS

static void gt_k_average(const gt_call * c, int ith, int nth) {
    const gt_average_constants k = *(const gt_average_constants *) c->a[2].data;
    GT_EACH_ROW(&c->a[0], {
        float *       a   = gt_arg_row(&c->a[0], r);
        const float * x   = gt_arg_row(&c->a[1], r);
        float         bad = 0;
        for (int64_t i = 0; i < c->a[0].ne0; i++) {
            a[i] = (float) (a[i] + k.share * ((double) x[i] - a[i]));
            bad += a[i] - a[i];
        }
        gt_arg_row(&c->a[3], r)[0] = bad;
    });
}

#endif

#ifdef GT_CHECKS

const char * gt_check_average(const gt_call * c) {
    if (!gt_is_f32(&c->a[0], c->a[0].ne0, c->a[0].ne1)) return "average: the averages are not f32";
    if (!gt_is_like(&c->a[1], &c->a[0])) return "average: the parameters are not f32 of the averages' shape";
    if (!gt_is_matrix(&c->a[2], GT_F64, sizeof(gt_average_constants) / sizeof(double), 1))
        return "average: the constants are not f64 [1,1]";
    if (!gt_is_f32(&c->a[3], 1, c->a[0].ne1)) return "average: the verdicts are not f32, one a row";
    for (int i = 0; i < 4; i++) {
        if (!gt_all_apart(c, i)) return "average: arguments overlap";
    }
    return NULL;
}

#endif

#endif
