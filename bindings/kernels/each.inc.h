// What operations that go row by row are written with.
#ifndef GT_EACH_INC_H
#define GT_EACH_INC_H

GT_INLINE float * gt_arg_row(const gt_arg * a, int64_t r) { return (float *) ((char *) a->data + r * a->nb1); }

// GT_EACH runs body with i, and n = GT_VL or, for a row's tail, fewer. GT_LD(p) and GT_ST(p, v) touch n numbers at p +
// i.
#define GT_EACH(count, ...)                                     \
    do {                                                        \
        int64_t i = 0;                                          \
        for (; i + GT_VL <= (count); i += GT_VL) {              \
            enum { full = 1, n = GT_VL };                       \
            __VA_ARGS__                                         \
        }                                                       \
        if (i < (count)) {                                      \
            enum { full = 0 };                                  \
            const int n = (int) ((count) - i);                  \
            __VA_ARGS__                                         \
        }                                                       \
    } while (0)
#define GT_LD(p) (full ? gt_load((p) + i) : gt_load_n((p) + i, n))
#define GT_ST(p, v)                         \
    do {                                 \
        if (full) {                      \
            gt_store((p) + i, (v));      \
        } else {                         \
            gt_store_n((p) + i, (v), n); \
        }                                \
    } while (0)

// GT_EACH_ROW runs body for this thread's rows r of argument a.
#define GT_EACH_ROW(a, ...)                                    \
    do {                                                       \
        int64_t row_lo, row_hi;                                \
        gt_share((a)->ne1, 1, ith, nth, &row_lo, &row_hi);     \
        for (int64_t r = row_lo; r < row_hi; r++) { __VA_ARGS__ } \
    } while (0)

// GT_EACH_INTO stores v in the elements of y, or adds it to them.
#define GT_EACH_INTO(acc, y, count, v)                      \
    do {                                                    \
        if (acc) {                                          \
            GT_EACH(count, GT_ST(y, GT_LD(y) + (v)););      \
        } else {                                            \
            GT_EACH(count, GT_ST(y, v););                   \
        }                                                   \
    } while (0)

GT_INLINE gt_vf gt_sigmoid(gt_vf x) { return 1.0f / (1.0f + gt_exp(-x)); }

// gt_tanh is right to a few ulp near 0 too, where 1 - 2/(e^2x + 1) would lose all of x (the polynomial of Cephes'
// tanhf, up to 0.625). NaN stays NaN.
GT_INLINE gt_vf gt_tanh(gt_vf x) {
    const gt_vf size = gt_select(x < 0.0f, -x, x), z = x * x;
    gt_vf       p    = gt_splat(-5.70498872745e-3f);
    p                = p * z + 2.06390887954e-2f;
    p                = p * z - 5.37397155531e-2f;
    p                = p * z + 1.33314422036e-1f;
    p                = p * z - 3.33332819422e-1f;
    const gt_vf far  = 1.0f - 2.0f / (gt_exp(2.0f * size) + 1.0f);
    return gt_select(size < 0.625f, p * z * x + x, gt_select(x < 0.0f, -far, far));
}

#endif
