// Muon's update of a matrix (Jordan et al. 2024) around its Newton-Schulz iteration, which is made of products.
//
// GT_OP_MUON_MOMENT  In F64, with g = scale·a1: m = momentum·m + (1−momentum)·g, and a3, the direction after Nesterov,
//                    = momentum·m + (1−momentum)·g.  a0 inout m [n,R]; a1 gradient; a2 f64 [4,1], a gt_muon_constants;
//                    a3 out [n,R].
// GT_OP_MUON_UNIT    a0 out [n,R]: a1, which may be the same numbers, over its norm, or over 1e-7 if that is more.
//                    a2 f64 [1,R]: Σx² of each row.
// GT_OP_MUON         x = keep·x − rate·a1.  a0 inout x [n,R] (master.inc.h); a1 direction; a2 the constants; a3 x's key
//                    or absent; a4 out [1,R]: 0, or no number if one of the row's is not finite after.
#ifndef GT_MUON_INC_H
#define GT_MUON_INC_H

#include "kernels.h"

// What changes from step to step, in memory.
typedef struct gt_muon_constants {
    double scale, momentum, keep, rate;
} gt_muon_constants;

#ifdef GT_KERNELS

static void gt_k_muon_moment(const gt_call * c, int ith, int nth) {
    const gt_muon_constants k = *(const gt_muon_constants *) c->a[2].data;
    const int64_t n = c->a[0].ne0;
    GT_EACH_ROW(&c->a[0], {
        float *       m = gt_arg_row(&c->a[0], r), * u = gt_arg_row(&c->a[3], r);
        const float * grad = gt_arg_row(&c->a[1], r);
        for (int64_t i = 0; i < n; i++) {
            const double g = grad[i] * k.scale, now = m[i] * k.momentum + g * (1 - k.momentum);
            m[i] = (float) now;
            u[i] = (float) (now * k.momentum + g * (1 - k.momentum));
        }
    });
}

static void gt_k_muon_unit(const gt_call * c, int ith, int nth) {
    const double least = 1e-7; // torch.optim.Muon's
    double       total = 0;
    for (int64_t r = 0; r < c->a[2].ne1; r++) {
        double sum;
        memcpy(&sum, gt_arg_row(&c->a[2], r), sizeof sum);
        total += sum;
    }
    // A norm that is no number stays one, so that the update's verdict is told.
    const double norm = sqrt(total), over = norm < least ? least : norm;
    GT_EACH_ROW(&c->a[0], {
        float *       y = gt_arg_row(&c->a[0], r);
        const float * x = gt_arg_row(&c->a[1], r);
        for (int64_t i = 0; i < c->a[0].ne0; i++) y[i] = (float) (x[i] / over);
    });
}

static void gt_k_muon(const gt_call * c, int ith, int nth) {
    const gt_muon_constants k = *(const gt_muon_constants *) c->a[2].data;
    const int64_t n = c->a[0].ne0, step = gt_master_step(&c->a[0]);
    GT_EACH_ROW(&c->a[0], {
        float wide[GT_MASTER_PIECE], bad = 0;
        for (int64_t at = 0; at < n; at += step) {
            const int64_t some = n - at < step ? n - at : step;
            float *       x    = gt_master(&c->a[0], r, at, some, wide);
            const float * u    = gt_arg_row(&c->a[1], r) + at;
            for (int64_t i = 0; i < some; i++) {
                x[i] = (float) (x[i] * k.keep - u[i] * k.rate);
                bad += x[i] - x[i];
            }
            bad += gt_master_store(&c->a[0], &c->a[3], r, at, some, x);
        }
        gt_arg_row(&c->a[4], r)[0] = bad;
    });
}

#endif

#ifdef GT_CHECKS

static int gt_is_muon_constants(const gt_arg * a) {
    return gt_is_matrix(a, GT_F64, sizeof(gt_muon_constants) / sizeof(double), 1);
}

const char * gt_check_muon_moment(const gt_call * c) {
    if (!gt_is_f32(&c->a[0], c->a[0].ne0, c->a[0].ne1)) return "muon_moment: the moment is not f32";
    if (!gt_is_like(&c->a[1], &c->a[0]) || !gt_is_like(&c->a[3], &c->a[0]))
        return "muon_moment: gradient or direction is not f32 of the moment's shape";
    if (!gt_is_muon_constants(&c->a[2])) return "muon_moment: the constants are not f64 [4,1]";
    for (int i = 0; i < 4; i++) {
        if (!gt_all_apart(c, i)) return "muon_moment: arguments overlap";
    }
    return NULL;
}

const char * gt_check_muon_unit(const gt_call * c) {
    GT_TRY(gt_inputs_like(c, 1, 1));
    if (!gt_is_matrix(&c->a[2], GT_F64, 1, c->a[0].ne1)) return "muon_unit: the sums are not f64, one a row";
    return gt_apart(&c->a[0], &c->a[2]) ? NULL : "muon_unit: arguments overlap";
}

const char * gt_check_muon(const gt_call * c) {
    GT_TRY(gt_master_fault(&c->a[0], &c->a[3]));
    if (!gt_is_like(&c->a[1], &c->a[0])) return "muon: the direction is not f32 of the parameters' shape";
    if (!gt_is_muon_constants(&c->a[2])) return "muon: the constants are not f64 [4,1]";
    if (!gt_is_f32(&c->a[4], 1, c->a[0].ne1)) return "muon: the verdicts are not f32, one a row";
    for (int i = 0; i < 5; i++) {
        if (!gt_all_apart(c, i)) return "muon: arguments overlap";
    }
    return NULL;
}

#endif

#endif
