// Means of runs of rows.
//
// GT_OP_MEAN        a0 out [K,N]: row i is the mean of rows [ends[i−1], ends[i]) of a1 [K,T], summed in f64 in their
//                   order; 0 where there are none.  a2 ends i32 [N,1]: not falling, from 0 to T.
// GT_OP_MEAN_BACK   a0 out [K,T]: rows of run i are a1_i divided by how many they are, those behind the last run 0.
//                   a1 [K,N]; a2 ends.
#ifndef GT_MEAN_INC_H
#define GT_MEAN_INC_H

#include "kernels.h"

#ifdef GT_KERNELS

// Threads share the columns: a run may be the only one.
static void gt_k_mean(const gt_call * c, int ith, int nth) {
    enum { width = 64 }; // columns at once: a few cache lines of each row
    const int32_t * ends = c->a[2].data;
    int64_t         lo, hi;
    gt_share(c->a[0].ne0, width, ith, nth, &lo, &hi);
    for (int64_t at = lo; at < hi; at += width) {
        const int n = (int) (hi - at < width ? hi - at : width);
        int64_t   r = 0;
        for (int64_t i = 0; i < c->a[0].ne1; i++) {
            double        sum[width] = {0};
            const int64_t rows       = ends[i] - r;
            for (; r < ends[i]; r++) {
                const float * x = gt_arg_row(&c->a[1], r) + at;
                for (int k = 0; k < n; k++) sum[k] += x[k];
            }
            float * y = gt_arg_row(&c->a[0], i) + at;
            for (int k = 0; k < n; k++) y[k] = rows > 0 ? (float) (sum[k] / (double) rows) : 0;
        }
    }
}

static void gt_k_mean_back(const gt_call * c, int ith, int nth) {
    const int32_t * ends = c->a[2].data;
    const int64_t   n = c->a[0].ne0, runs = c->a[1].ne1;
    int64_t         i = 0;
    GT_EACH_ROW(&c->a[0], {
        while (i < runs && r >= ends[i]) i++;
        float * dx = gt_arg_row(&c->a[0], r);
        if (i == runs) {
            memset(dx, 0, (size_t) n * sizeof(float));
            continue;
        }
        const float * dy    = gt_arg_row(&c->a[1], i);
        const float   share = 1 / (float) (ends[i] - (i > 0 ? ends[i - 1] : 0));
        for (int64_t k = 0; k < n; k++) dx[k] = share * dy[k];
    });
}

#endif

#ifdef GT_CHECKS

// gt_runs_fault looks whether ends are those of runs of so many rows.
static const char * gt_runs_fault(const gt_arg * ends, int64_t runs, int64_t rows) {
    GT_TRY(gt_ids_fault(ends, runs));
    for (int64_t i = 0, before = 0; i < runs; i++) {
        const int64_t end = ((const int32_t *) ends->data)[i];
        if (end < before || end > rows) return "mean: the runs' ends are not ascending numbers of rows";
        before = end;
    }
    return NULL;
}

const char * gt_check_mean(const gt_call * c) {
    GT_TRY(gt_f32_fault(&c->a[1], c->a[0].ne0, c->a[1].ne1));
    GT_TRY(gt_f32_fault(&c->a[0], c->a[0].ne0, c->a[0].ne1));
    GT_TRY(gt_runs_fault(&c->a[2], c->a[0].ne1, c->a[1].ne1));
    return gt_outputs_fault(c, 1);
}

const char * gt_check_mean_back(const gt_call * c) {
    GT_TRY(gt_f32_fault(&c->a[1], c->a[0].ne0, c->a[1].ne1));
    GT_TRY(gt_f32_fault(&c->a[0], c->a[0].ne0, c->a[0].ne1));
    GT_TRY(gt_runs_fault(&c->a[2], c->a[1].ne1, c->a[0].ne1));
    return gt_outputs_fault(c, 1);
}

#endif

#endif
