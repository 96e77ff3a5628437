// Sums, copies and activations: operations that take each number for itself; included by rows.inc.h.
#ifndef GT_ELEMENTWISE_INC_H
#define GT_ELEMENTWISE_INC_H

GT_INLINE float * gt_arg_row(const gt_arg * a, int64_t r) { return (float *) ((char *) a->data + r * a->nb1); }

// GT_EACH runs body with i, and n = GT_VL or, for a row's tail, fewer. GT_LD(p) and GT_ST(p, v) touch n numbers at p + i.
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

static void gt_k_add(const gt_call * c, int ith, int nth) {
    const gt_vf f = gt_splat((float) c->f[0]);
    GT_EACH_ROW(&c->a[0], {
        float *       y = gt_arg_row(&c->a[0], r);
        const float * x = gt_arg_row(&c->a[1], r);
        const float * z = gt_arg_row(&c->a[2], r);
        GT_EACH(c->a[0].ne0, GT_ST(y, GT_LD(x) + f * GT_LD(z)););
    });
}

static void gt_k_copy(const gt_call * c, int ith, int nth) {
    const int64_t ne0 = c->a[0].ne0;
    GT_EACH_ROW(&c->a[0], {
        float *       y = gt_arg_row(&c->a[0], r);
        const float * x = gt_arg_row(&c->a[1], r);
        if (c->i[0]) {
            GT_EACH(ne0, GT_ST(y, GT_LD(y) + GT_LD(x)););
        } else if (y != x) {
            memcpy(y, x, (size_t) ne0 * sizeof(float));
        }
    });
}

static void gt_k_zero(const gt_call * c, int ith, int nth) {
    GT_EACH_ROW(&c->a[0], memset(gt_arg_row(&c->a[0], r), 0, (size_t) c->a[0].ne0 * sizeof(float)););
}

GT_INLINE gt_vf gt_sigmoid(gt_vf x) { return 1.0f / (1.0f + gt_exp(-x)); }

static void gt_k_swiglu(const gt_call * c, int ith, int nth) {
    GT_EACH_ROW(&c->a[0], {
        float *       y = gt_arg_row(&c->a[0], r);
        const float * g = gt_arg_row(&c->a[1], r);
        const float * u = gt_arg_row(&c->a[2], r);
        GT_EACH(c->a[0].ne0, {
            gt_vf x = GT_LD(g);
            GT_ST(y, x * gt_sigmoid(x) * GT_LD(u));
        });
    });
}

// silu' = σ(g)·(1 + g·(1 − σ(g))).
static void gt_k_swiglu_back(const gt_call * c, int ith, int nth) {
    GT_EACH_ROW(&c->a[0], {
        float *       dg   = gt_arg_row(&c->a[0], r);
        float *       du   = gt_arg_row(&c->a[1], r);
        const float * g    = gt_arg_row(&c->a[2], r);
        const float * u    = gt_arg_row(&c->a[3], r);
        const float * dout = gt_arg_row(&c->a[4], r);
        GT_EACH(c->a[0].ne0, {
            gt_vf x = GT_LD(g), s = gt_sigmoid(x), d = GT_LD(dout), w = GT_LD(u);
            GT_ST(dg, d * w * s * (1.0f + x * (1.0f - s)));
            GT_ST(du, d * x * s);
        });
    });
}

// gt_gelu_gate is the factor of x in the tanh form of GELU (Hendrycks and Gimpel 2016): ½(1 + tanh z) = σ(2z) with
// z = √(2/π)·(x + 0.044715·x³). *slope, if asked for, is d(2z)/dx. Beyond ±20 the gate is 0 or 1 to the last bit, so x is cut there
// and cannot overflow.
GT_INLINE gt_vf gt_gelu_gate(gt_vf x, gt_vf * slope) {
    const float c = 2 * 0.79788456080286535588f, a = 0.044715f;
    x        = gt_select(x > 20.0f, gt_splat(20), x);
    x        = gt_select(x < -20.0f, gt_splat(-20), x);
    gt_vf xx = x * x;
    if (slope) *slope = c * (1.0f + 3 * a * xx);
    return gt_sigmoid(c * x * (1.0f + a * xx));
}

static void gt_k_gelu(const gt_call * c, int ith, int nth) {
    GT_EACH_ROW(&c->a[0], {
        float *       y = gt_arg_row(&c->a[0], r);
        const float * x = gt_arg_row(&c->a[1], r);
        GT_EACH(c->a[0].ne0, {
            gt_vf v = GT_LD(x);
            GT_ST(y, v * gt_gelu_gate(v, NULL));
        });
    });
}

static void gt_k_gelu_back(const gt_call * c, int ith, int nth) {
    GT_EACH_ROW(&c->a[0], {
        float *       dx   = gt_arg_row(&c->a[0], r);
        const float * x    = gt_arg_row(&c->a[1], r);
        const float * dout = gt_arg_row(&c->a[2], r);
        GT_EACH(c->a[0].ne0, {
            gt_vf v = GT_LD(x), slope, s = gt_gelu_gate(v, &slope);
            GT_ST(dx, GT_LD(dout) * (s + v * s * (1.0f - s) * slope));
        });
    });
}

#endif
