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

#endif
