// RMSNorm (Zhang and Sennrich 2019) and LayerNorm (Ba et al. 2016), forward and backward; and gradients of biases.
//
// A row's sums are taken in F32 lane by lane over runs of GT_NORM_RUN numbers and the runs added in F64: the error
// stays below about 1e-6 relative at any row length, and the order depends on the length alone.
//
// GT_OP_RMS_NORM    a0 out y [n,R]; a1 x [n,R]; a2 w [n] f32 or absent: 1.  y = x/√(mean x²+eps)·w.
// GT_OP_RMS_NORM_BACK    a0 out dx; a1 x; a2 w or absent; a3 dy. With acc.
// GT_OP_RMS_NORM_GRAD    a0 inout dw [n] += Σ_rows dy·x/rms; a1 x; a2 dy.
// GT_OP_LAYER_NORM  a0 out y; a1 x; a2 w; a3 b or absent.
// GT_OP_LAYER_NORM_BACK  a0 out dx; a1 x; a2 w; a3 dy. With acc.
// GT_OP_LAYER_NORM_GRAD  a0 inout dw [n]; a1 inout db [n] or absent; a2 x; a3 dy.
// GT_OP_BIAS_GRAD   a0 inout db [n] += Σ_t a1 [n,T].
#ifndef GT_NORM_INC_H
#define GT_NORM_INC_H

#include "kernels.h"

typedef struct gt_norm_constants {
    double eps;
} gt_norm_constants;

typedef struct gt_norm_back_constants {
    double eps;
    bool   acc;
} gt_norm_back_constants;

#ifdef GT_KERNELS

enum { GT_NORM_RUN = 4096 };

// GT_SUM is the sum over i < count of the vector expression, which reads its operands with GT_LD.
#define GT_SUM(count, ...)                                                                       \
    ({                                                                                           \
        double sum_all = 0;                                                                      \
        for (int64_t sum_at = 0; sum_at < (count); sum_at += GT_NORM_RUN) {                      \
            const int64_t sum_end = (count) - sum_at < GT_NORM_RUN ? (count) : sum_at + GT_NORM_RUN; \
            gt_vf         sum_v[4] = {gt_splat(0), gt_splat(0), gt_splat(0), gt_splat(0)};       \
            int64_t       sum_i    = sum_at;                                                     \
            for (; sum_i + 4 * GT_VL <= sum_end; sum_i += 4 * GT_VL) {                           \
                _Pragma("GCC unroll 4") for (int sum_u = 0; sum_u < 4; sum_u++) {                \
                    enum { full = 1, n = GT_VL };                                                \
                    const int64_t i = sum_i + sum_u * GT_VL;                                     \
                    sum_v[sum_u] += (__VA_ARGS__);                                               \
                }                                                                                \
            }                                                                                    \
            for (; sum_i < sum_end; sum_i += GT_VL) {                                            \
                const int     full = sum_end - sum_i >= GT_VL, n = full ? GT_VL : (int) (sum_end - sum_i); \
                const int64_t i    = sum_i;                                                      \
                sum_v[0] += (__VA_ARGS__);                                                       \
            }                                                                                    \
            sum_all += gt_hsum((sum_v[0] + sum_v[1]) + (sum_v[2] + sum_v[3]));                   \
        }                                                                                        \
        sum_all;                                                                                 \
    })

// gt_rms_of is 1/√(mean x² + eps).
static float gt_rms_of(const float * x, int64_t count, double eps) {
    return (float) (1 / sqrt(GT_SUM(count, GT_LD(x) * GT_LD(x)) / (double) count + eps));
}

static void gt_k_rms_norm(const gt_call * c, int ith, int nth) {
    const gt_norm_constants k = GT_CONSTANTS(norm, c);
    const int64_t ne0 = c->a[0].ne0;
    const float * w   = c->a[2].data;
    GT_EACH_ROW(&c->a[0], {
        float *       y = gt_arg_row(&c->a[0], r);
        const float * x = gt_arg_row(&c->a[1], r);
        const gt_vf   s = gt_splat(gt_rms_of(x, ne0, k.eps));
        if (w) {
            GT_EACH(ne0, GT_ST(y, GT_LD(x) * s * GT_LD(w)););
        } else {
            GT_EACH(ne0, GT_ST(y, GT_LD(x) * s););
        }
    });
}

// With s = 1/√(mean x² + eps): dx = s·w∘dy − x·s³/n·Σ w∘dy∘x.
static void gt_k_rms_norm_back(const gt_call * c, int ith, int nth) {
    const gt_norm_back_constants k = GT_CONSTANTS(norm_back, c);
    const int64_t ne0 = c->a[0].ne0;
    const float * w   = c->a[2].data;
    GT_EACH_ROW(&c->a[0], {
        float *       dx  = gt_arg_row(&c->a[0], r);
        const float * x   = gt_arg_row(&c->a[1], r);
        const float * dy  = gt_arg_row(&c->a[3], r);
        const float   s   = gt_rms_of(x, ne0, k.eps);
        const double  dot = w ? GT_SUM(ne0, GT_LD(w) * GT_LD(dy) * GT_LD(x)) : GT_SUM(ne0, GT_LD(dy) * GT_LD(x));
        const gt_vf   s1  = gt_splat(s), s3 = gt_splat((float) ((double) s * s * s / (double) ne0 * dot));
        if (w) {
            GT_EACH_INTO(k.acc, dx, ne0, s1 * GT_LD(w) * GT_LD(dy) - s3 * GT_LD(x));
        } else {
            GT_EACH_INTO(k.acc, dx, ne0, s1 * GT_LD(dy) - s3 * GT_LD(x));
        }
    });
}

// The mean of a row and 1/√(variance + eps), in two passes as ggml does.
typedef struct gt_moments {
    float mean, scale;
} gt_moments;

static gt_moments gt_moments_of(const float * x, int64_t count, double eps) {
    const float mean = (float) (GT_SUM(count, GT_LD(x)) / (double) count);
    // Lanes beyond the row's end read as 0 and must not count as 0 − mean: the tail is summed apart.
    const int64_t whole = count / GT_VL * GT_VL;
    double        var   = GT_SUM(whole, (GT_LD(x) - mean) * (GT_LD(x) - mean));
    for (int64_t i = whole; i < count; i++) var += (double) (x[i] - mean) * (x[i] - mean);
    return (gt_moments){mean, (float) (1 / sqrt(var / (double) count + eps))};
}

static void gt_k_layer_norm(const gt_call * c, int ith, int nth) {
    const gt_norm_constants k = GT_CONSTANTS(norm, c);
    const int64_t ne0 = c->a[0].ne0;
    const float * w   = c->a[2].data;
    const float * b   = c->a[3].data;
    GT_EACH_ROW(&c->a[0], {
        float *       y = gt_arg_row(&c->a[0], r);
        const float * x = gt_arg_row(&c->a[1], r);
        gt_moments    m = gt_moments_of(x, ne0, k.eps);
        if (b) {
            GT_EACH(ne0, GT_ST(y, (GT_LD(x) - m.mean) * m.scale * GT_LD(w) + GT_LD(b)););
        } else {
            GT_EACH(ne0, GT_ST(y, (GT_LD(x) - m.mean) * m.scale * GT_LD(w)););
        }
    });
}

// With x̂ = (x − mean)·s and g = w∘dy: dx = s·(g − mean(g) − x̂·mean(g∘x̂)).
static void gt_k_layer_norm_back(const gt_call * c, int ith, int nth) {
    const gt_norm_back_constants k = GT_CONSTANTS(norm_back, c);
    const int64_t ne0 = c->a[0].ne0;
    const float * w   = c->a[2].data;
    GT_EACH_ROW(&c->a[0], {
        float *       dx = gt_arg_row(&c->a[0], r);
        const float * x  = gt_arg_row(&c->a[1], r);
        const float * dy = gt_arg_row(&c->a[3], r);
        gt_moments    m  = gt_moments_of(x, ne0, k.eps);
        const float   s  = m.scale;
        const float   g  = (float) (GT_SUM(ne0, GT_LD(w) * GT_LD(dy)) / (double) ne0);
        const float   gx = (float) (GT_SUM(ne0, GT_LD(w) * GT_LD(dy) * ((GT_LD(x) - m.mean) * s)) / (double) ne0);
        GT_EACH_INTO(k.acc, dx, ne0, s * (GT_LD(w) * GT_LD(dy) - g - (GT_LD(x) - m.mean) * s * gx));
    });
}

// --- gradients of weights and biases ---------------------------------------------------------------------------------

// Rows whose columns are summed in F32 before they are added to the gradient: two short sums lose less than one long
// one.
enum { GT_GRAD_ROWS = 32 };

// gt_column_grad adds, for columns [i, i + nv·GT_VL) (or the n first of one vector, if not full) and rows [r0, r1):
// dw += u·Σ dy·(x − mean)·scale and db += Σ dy. Either may be NULL, and u for ones; m holds the rows' moments from r0
// on. Which copy of this loop a column meets depends on the threads, so rounding must not (see gt_fma).
GT_INLINE void gt_column_grad(const int nv, const int full, int n, float * dw, float * db, const float * u,
                              const gt_arg * x, const gt_arg * dy, const gt_moments * m, int64_t r0, int64_t r1,
                              int64_t i) {
    gt_vf sw[4], sb[4];
    for (int v = 0; v < nv; v++) sw[v] = sb[v] = gt_splat(0);
    for (int64_t r = r0; r < r1; r++) {
        const float * g = gt_arg_row(dy, r) + i;
        const float * p = dw ? gt_arg_row(x, r) + i : NULL;
        for (int v = 0; v < nv; v++) {
            gt_vf d = full ? gt_load(g + v * GT_VL) : gt_load_n(g, n);
            sb[v] += d;
            if (dw) sw[v] =
                gt_fma(d, ((full ? gt_load(p + v * GT_VL) : gt_load_n(p, n)) - m[r - r0].mean) * m[r - r0].scale,
                sw[v]);
        }
    }
    for (int v = 0; v < nv; v++) {
        const int64_t at = i + v * GT_VL;
        // rounded before it is added, in every copy alike
        if (u) sw[v] = gt_fma(full ? gt_load(u + at) : gt_load_n(u + at, n), sw[v], gt_splat(0));
        if (dw && full) gt_store(dw + at, gt_load(dw + at) + sw[v]);
        if (db && full) gt_store(db + at, gt_load(db + at) + sb[v]);
        if (dw && !full) gt_store_n(dw + at, gt_load_n(dw + at, n) + sw[v], n);
        if (db && !full) gt_store_n(db + at, gt_load_n(db + at, n) + sb[v], n);
    }
}

// gt_columns_grad is gt_column_grad over columns [lo, hi).
static void gt_columns_grad(float * dw, float * db, const float * u, const gt_arg * x, const gt_arg * dy,
                            const gt_moments * m, int64_t r0, int64_t r1, int64_t lo, int64_t hi) {
    int64_t i = lo;
    for (; i + 4 * GT_VL <= hi; i += 4 * GT_VL) gt_column_grad(4, 1, GT_VL, dw, db, u, x, dy, m, r0, r1, i);
    for (; i + GT_VL <= hi; i += GT_VL) gt_column_grad(1, 1, GT_VL, dw, db, u, x, dy, m, r0, r1, i);
    if (i < hi) gt_column_grad(1, 0, (int) (hi - i), dw, db, u, x, dy, m, r0, r1, i);
}

// Threads share the columns, in whole cache lines; each goes through all rows in order.
static void gt_k_bias_grad(const gt_call * c, int ith, int nth) {
    int64_t lo, hi, rows = c->a[1].ne1;
    gt_share(c->a[0].ne0, 16, ith, nth, &lo, &hi);
    for (int64_t r = 0; r < rows && lo < hi; r += GT_GRAD_ROWS) {
        gt_columns_grad(NULL, c->a[0].data, NULL, NULL, &c->a[1], NULL, r,
                        r + GT_GRAD_ROWS < rows ? r + GT_GRAD_ROWS : rows, lo, hi);
    }
}

// A thread needs every row's moments, so each computes them all: one more reading of x, against a barrier.
static void gt_k_rms_norm_grad(const gt_call * c, int ith, int nth) {
    const gt_norm_constants k = GT_CONSTANTS(norm, c);
    int64_t lo, hi, rows = c->a[1].ne1;
    gt_share(c->a[0].ne0, 16, ith, nth, &lo, &hi);
    for (int64_t r = 0; r < rows && lo < hi; r += GT_GRAD_ROWS) {
        gt_moments    m[GT_GRAD_ROWS];
        const int64_t end = r + GT_GRAD_ROWS < rows ? r + GT_GRAD_ROWS : rows;
        for (int64_t i = r; i < end; i++)
            m[i - r] = (gt_moments){0, gt_rms_of(gt_arg_row(&c->a[1], i), c->a[1].ne0, k.eps)};
        gt_columns_grad(c->a[0].data, NULL, NULL, &c->a[1], &c->a[2], m, r, end, lo, hi);
    }
}

static void gt_k_layer_norm_grad(const gt_call * c, int ith, int nth) {
    const gt_norm_constants k = GT_CONSTANTS(norm, c);
    int64_t lo, hi, rows = c->a[2].ne1;
    gt_share(c->a[0].ne0, 16, ith, nth, &lo, &hi);
    for (int64_t r = 0; r < rows && lo < hi; r += GT_GRAD_ROWS) {
        gt_moments    m[GT_GRAD_ROWS];
        const int64_t end = r + GT_GRAD_ROWS < rows ? r + GT_GRAD_ROWS : rows;
        for (int64_t i = r; i < end; i++) m[i - r] = gt_moments_of(gt_arg_row(&c->a[2], i), c->a[2].ne0, k.eps);
        gt_columns_grad(c->a[0].data, c->a[1].data, NULL, &c->a[2], &c->a[3], m, r, end, lo, hi);
    }
}

#endif

#ifdef GT_CHECKS

static const char * norm_rows_fault(double eps, const gt_arg * x) {
    if (!(eps >= 0 && eps < 1)) return "norm: eps is not within 0 and 1";
    return x->ne0 < 1 ? "norm: rows are empty" : NULL;
}

static const char * norm_fault(double eps, const gt_arg * x, const gt_arg * w) {
    GT_TRY(norm_rows_fault(eps, x));
    return gt_is_vector(w, x->ne0) ? NULL : "norm: the weight is not f32 [n]";
}

// weighted_fault is of norms and their derivatives; with bare the weight may be absent.
static const char * weighted_fault(const gt_call * c, double eps, int bare) {
    const gt_arg * w = &c->a[2];
    GT_TRY(bare && !w->data ? norm_rows_fault(eps, &c->a[1]) : norm_fault(eps, &c->a[1], w));
    if (!gt_apart(&c->a[0], w)) return "norm: the output overlaps the weight";
    return gt_inputs_like(c, 1, 1);
}

const char * gt_check_rms_norm(const gt_call * c) { return weighted_fault(c, GT_CONSTANTS(norm, c).eps, 1); }

const char * gt_check_layer_norm(const gt_call * c) {
    const char * fault = weighted_fault(c, GT_CONSTANTS(norm, c).eps, 0);
    if (fault || !c->a[3].data) return fault;
    if (!gt_is_vector(&c->a[3], c->a[1].ne0)) return "norm: the bias is not f32 [n]";
    return gt_apart(&c->a[0], &c->a[3]) ? NULL : "norm: the output overlaps the bias";
}

static const char * norm_back_fault(const gt_call * c, int bare) {
    const gt_norm_back_constants k = GT_CONSTANTS(norm_back, c);
    GT_TRY(weighted_fault(c, k.eps, bare));
    if (k.acc && !gt_apart(&c->a[0], &c->a[1])) return "norm: a gradient added to cannot be the input";
    return gt_inputs_like(c, 3, 3);
}

const char * gt_check_rms_norm_back(const gt_call * c) { return norm_back_fault(c, 1); }

const char * gt_check_layer_norm_back(const gt_call * c) { return norm_back_fault(c, 0); }

const char * gt_check_rms_norm_grad(const gt_call * c) {
    const char * fault = norm_fault(GT_CONSTANTS(norm, c).eps, &c->a[1], &c->a[0]);
    if (fault) return fault;
    if (!gt_is_like(&c->a[1], &c->a[2]) || c->a[1].type != GT_F32)
        return "norm: input and gradient are not f32 of one shape";
    return gt_all_apart(c, 0) ? NULL : "norm: the weight's gradient overlaps another argument";
}

const char * gt_check_layer_norm_grad(const gt_call * c) {
    const char * fault = norm_fault(GT_CONSTANTS(norm, c).eps, &c->a[2], &c->a[0]);
    if (fault) return fault;
    if (!gt_is_like(&c->a[2], &c->a[3]) || c->a[2].type != GT_F32)
        return "norm: input and gradient are not f32 of one shape";
    if (c->a[1].data && !gt_is_vector(&c->a[1], c->a[2].ne0)) return "norm: the bias's gradient is not f32 [n]";
    return gt_all_apart(c, 0) && gt_all_apart(c, 1) ? NULL : "norm: a parameter's gradient overlaps another argument";
}

const char * gt_check_bias_grad(const gt_call * c) {
    if (!gt_is_f32(&c->a[1], c->a[1].ne0, c->a[1].ne1)) return "bias_grad: the gradient is not f32";
    if (!gt_is_vector(&c->a[0], c->a[1].ne0)) return "bias_grad: the bias's gradient is not f32 [n]";
    return gt_apart(&c->a[0], &c->a[1]) ? NULL : "bias_grad: the arguments overlap";
}

#endif

#endif
