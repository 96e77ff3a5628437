// Causal convolutions of each channel for itself, along the branches of a tree: of the K taps the last meets a token,
// the one before it the token that precedes it in its branch, and so on, into its ancestors. Before the first token of
// a text there is nothing.
//
// A number is one chain of products, from the oldest input on, whoever computes it: a text that grows token by token
// has the bits of the whole (zeros that stand for no token change no bit of it).
//
// GT_OP_CONV        a0 out y [n,T]; a1 x [n,T]; a2 w [K,n]; a3 tree i32 as of GT_OP_ATTN.
// GT_OP_CONV_BACK   a0 out dx [n,T]; a1 w [K,n]; a2 dy [n,T]; a3 tree.
// GT_OP_CONV_GRAD   a0 inout dw [K,n], added to; a1 x [n,T]; a2 dy [n,T]; a3 tree.
// GT_OP_CONV_NEXT   a0 out y [n,T]; a1 x [n,T]; a2 w [K,n]; a3 inout kept [(K−1)·n,slots]; a4 table i32. A slot has
//                   the last K−1 inputs of a text, the oldest first; zeros stand for none.
//                   Table: {n_runs, then n_runs × (tokens, from, to)}: so many of the next rows go on behind slot from
//                   (-1: they begin a text), and what the next ones go on behind is put in slot to. What is read is
//                   not written in the same call, so that a call that is repeated gives the same. What lies behind the
//                   runs is not read.
#ifndef GT_CONV_INC_H
#define GT_CONV_INC_H

#include "attention.inc.h"

enum {
    GT_CONV_MAX = 16, // taps: those of a block of channels lie on the stack
};

#ifdef GT_KERNELS

enum { GT_CONV_BLOCK = 256 }; // channels at once: those of a few rows stay in the first-level cache

typedef struct gt_conv {
    int64_t         taps, n;
    const gt_arg *  w;
    const int32_t * tree;
} gt_conv;

GT_INLINE const int32_t * gt_conv_seg(const gt_conv * v, int64_t s) { return v->tree + 1 + 3 * s; }

// gt_conv_before is the token that precedes t in its branch, or -1; *s is the segment of t, then of that token.
static int64_t gt_conv_before(const gt_conv * v, int64_t t, int64_t * s) {
    if (t > gt_conv_seg(v, *s)[0]) return t - 1;
    for (*s = gt_conv_seg(v, *s)[2]; *s >= 0; *s = gt_conv_seg(v, *s)[2]) {
        if (gt_conv_seg(v, *s)[1] > gt_conv_seg(v, *s)[0]) return gt_conv_seg(v, *s)[1] - 1;
    }
    return -1;
}

// gt_conv_tokens fills at with t, what precedes it, and so on, as many as there are taps for, and returns how many they
// are. *s is a segment that does not lie behind t's, then t's.
static int gt_conv_tokens(const gt_conv * v, int64_t t, int64_t * s, int64_t * at) {
    while (t >= gt_conv_seg(v, *s)[1]) (*s)++;
    int64_t up = *s;
    int     m  = 0;
    for (; m < v->taps && t >= 0; t = gt_conv_before(v, t, &up)) at[m++] = t;
    return m;
}

// The taps of a block of channels, tap by tap.
typedef struct gt_conv_taps {
    float w[GT_CONV_MAX][GT_CONV_BLOCK];
} gt_conv_taps;

static void gt_conv_load(const gt_conv * v, int64_t c0, int64_t count, gt_conv_taps * to) {
    for (int64_t c = 0; c < count; c++) {
        const float * w = gt_arg_row(v->w, c0 + c);
        for (int64_t j = 0; j < v->taps; j++) to->w[j][c] = w[j];
    }
}

// gt_conv_row: y = Σ w[taps−1−j]∘x[j] over m inputs, from the last of x on, the oldest.
static void gt_conv_row(const gt_conv_taps * taps, int64_t last, const float * const * x, int m, int64_t count,
                        float * y) {
    GT_EACH(count, {
        gt_vf sum = gt_splat(0);
        for (int j = m - 1; j >= 0; j--) sum = gt_fma(GT_LD(taps->w[last - j]), GT_LD(x[j]), sum);
        GT_ST(y, sum);
    });
}

static gt_conv gt_conv_of(const gt_arg * w, const gt_arg * tree) {
    return (gt_conv){.taps = w->ne0, .n = w->ne1, .w = w, .tree = tree->data};
}

static void gt_k_conv(const gt_call * c, int ith, int nth) {
    const gt_conv v = gt_conv_of(&c->a[2], &c->a[3]);
    gt_conv_taps  taps;
    for (int64_t c0 = 0; c0 < v.n; c0 += GT_CONV_BLOCK) {
        const int64_t count = gt_min_i(v.n - c0, GT_CONV_BLOCK);
        int64_t       s     = 0;
        gt_conv_load(&v, c0, count, &taps);
        GT_EACH_ROW(&c->a[0], {
            int64_t       at[GT_CONV_MAX];
            const float * x[GT_CONV_MAX];
            const int     m = gt_conv_tokens(&v, r, &s, at);
            for (int j = 0; j < m; j++) x[j] = gt_arg_row(&c->a[1], at[j]) + c0;
            gt_conv_row(&taps, v.taps - 1, x, m, count, gt_arg_row(&c->a[0], r) + c0);
        });
    }
}

// Threads share the channels: a token's gradient is a sum over tokens that may lie anywhere behind it. Those come after
// it, so that its own begins the sum.
static void gt_k_conv_back(const gt_call * c, int ith, int nth) {
    const gt_conv v = gt_conv_of(&c->a[1], &c->a[3]);
    gt_conv_taps  taps;
    int64_t       lo, hi;
    gt_share(v.n, 16, ith, nth, &lo, &hi);
    for (int64_t c0 = lo; c0 < hi; c0 += GT_CONV_BLOCK) {
        const int64_t count = gt_min_i(hi - c0, GT_CONV_BLOCK);
        int64_t       s     = 0;
        gt_conv_load(&v, c0, count, &taps);
        for (int64_t t = 0; t < c->a[0].ne1; t++) {
            int64_t       at[GT_CONV_MAX];
            const int     m  = gt_conv_tokens(&v, t, &s, at);
            const float * dy = gt_arg_row(&c->a[2], t) + c0;
            for (int j = 0; j < m; j++) {
                const float * w  = taps.w[v.taps - 1 - j];
                float *       dx = gt_arg_row(&c->a[0], at[j]) + c0;
                if (j == 0) {
                    GT_EACH(count, GT_ST(dx, GT_LD(w) * GT_LD(dy)););
                } else {
                    GT_EACH(count, GT_ST(dx, gt_fma(GT_LD(w), GT_LD(dy), GT_LD(dx))););
                }
            }
        }
    }
}

// Rows whose products are summed before they are added to the gradients of taps, as those of GT_GRAD_ROWS are.
enum { GT_CONV_ROWS = 32 };

// gt_conv_grad adds the products of some tokens with what their taps met; threads share the channels [lo, hi).
static void gt_conv_grad(const gt_call * c, const gt_conv * v, int64_t t0, int rows, int64_t * s, int64_t lo,
                         int64_t hi) {
    const float * dy[GT_CONV_ROWS], *x[GT_CONV_ROWS][GT_CONV_MAX];
    int           m[GT_CONV_ROWS];
    for (int k = 0; k < rows; k++) {
        int64_t at[GT_CONV_MAX];
        m[k]  = gt_conv_tokens(v, t0 + k, s, at);
        dy[k] = gt_arg_row(&c->a[2], t0 + k) + lo;
        for (int j = 0; j < m[k]; j++) x[k][j] = gt_arg_row(&c->a[1], at[j]) + lo;
    }
    for (int64_t tap = 0; tap < v->taps; tap++) {
        const int64_t j = v->taps - 1 - tap;
        GT_EACH(hi - lo, {
            gt_vf sum = gt_splat(0);
            for (int k = 0; k < rows; k++) {
                if (j < m[k]) sum = gt_fma(GT_LD(dy[k]), GT_LD(x[k][j]), sum);
            }
            for (int l = 0; l < n; l++) gt_arg_row(&c->a[0], lo + i + l)[tap] += sum[l];
        });
    }
}

static void gt_k_conv_grad(const gt_call * c, int ith, int nth) {
    const gt_conv v = gt_conv_of(&c->a[0], &c->a[3]);
    const int64_t tokens = c->a[1].ne1;
    int64_t       lo, hi, s = 0;
    gt_share(v.n, 16, ith, nth, &lo, &hi);
    for (int64_t t = 0; t < tokens && lo < hi; t += GT_CONV_ROWS)
        gt_conv_grad(c, &v, t, (int) gt_min_i(tokens - t, GT_CONV_ROWS), &s, lo, hi);
}

// A slot's inputs lie one behind the other: input i, from the oldest on, of all channels.
static void gt_k_conv_next(const gt_call * c, int ith, int nth) {
    const gt_conv   v     = gt_conv_of(&c->a[2], &c->a[4]);
    const int32_t * table = c->a[4].data;
    const int64_t   keep  = v.taps - 1;
    gt_conv_taps    taps;
    int64_t         lo, hi;
    gt_share(v.n, 16, ith, nth, &lo, &hi);
    for (int64_t c0 = lo; c0 < hi; c0 += GT_CONV_BLOCK) {
        const int64_t count = gt_min_i(hi - c0, GT_CONV_BLOCK);
        int64_t       row   = 0;
        gt_conv_load(&v, c0, count, &taps);
        for (const int32_t * run = table + 1; run < table + 1 + 3 * (int64_t) table[0]; run += 3) {
            const float * x[GT_CONV_MAX]; // the newest first
            int           m = 0;
            if (run[1] >= 0) {
                const float * had = gt_arg_row(&c->a[3], run[1]) + c0;
                for (; m < keep; m++) x[m] = had + (keep - 1 - m) * v.n;
            }
            for (int32_t k = 0; k < run[0]; k++, row++) {
                m = (int) gt_min_i(m + 1, v.taps);
                for (int j = m - 1; j > 0; j--) x[j] = x[j - 1];
                x[0] = gt_arg_row(&c->a[1], row) + c0;
                gt_conv_row(&taps, keep, x, m, count, gt_arg_row(&c->a[0], row) + c0);
            }
            float * to = gt_arg_row(&c->a[3], run[2]) + c0;
            for (int64_t j = 0; j < keep; j++) {
                float * at = to + (keep - 1 - j) * v.n;
                if (j < m) memcpy(at, x[j], (size_t) count * sizeof(float));
                else memset(at, 0, (size_t) count * sizeof(float));
            }
        }
    }
}

#endif

#ifdef GT_CHECKS

static const char * taps_fault(const gt_arg * w, int64_t n) {
    if (w->ne0 < 1 || w->ne0 > GT_CONV_MAX) return "conv: the taps are not within 1 and 16";
    return gt_is_f32(w, w->ne0, n) ? NULL : "conv: the taps are not f32 [taps, channels]";
}

// conv_fault looks at the inputs x or gradients dy, the taps or their gradient, and the tree.
static const char * conv_fault(const gt_arg * x, const gt_arg * w, const gt_arg * tree) {
    if (!gt_is_f32(x, x->ne0, x->ne1)) return "conv: the rows are not f32";
    GT_TRY(taps_fault(w, x->ne0));
    return tree_fault(tree, x->ne1);
}

const char * gt_check_conv(const gt_call * c) {
    if (!gt_is_like(&c->a[0], &c->a[1])) return "conv: the output is not shaped like the input";
    if (!gt_all_apart(c, 0)) return "conv: the output overlaps an input";
    return conv_fault(&c->a[1], &c->a[2], &c->a[3]);
}

const char * gt_check_conv_back(const gt_call * c) {
    if (!gt_is_like(&c->a[0], &c->a[2])) return "conv: the gradients are not of one shape";
    if (!gt_all_apart(c, 0)) return "conv: the output overlaps an input";
    return conv_fault(&c->a[2], &c->a[1], &c->a[3]);
}

const char * gt_check_conv_grad(const gt_call * c) {
    if (!gt_is_like(&c->a[1], &c->a[2])) return "conv: input and gradient are not of one shape";
    if (!gt_all_apart(c, 0)) return "conv: the taps' gradient overlaps another argument";
    return conv_fault(&c->a[1], &c->a[0], &c->a[3]);
}

// runs_fault checks that the runs have all rows and that slots are there, and that none is read and written, or written
// twice. It reads the table: a kernel follows it through memory without looking.
static const char * runs_fault(const gt_arg * a, int64_t rows, int64_t slots) {
    if (a->type != GT_I32 || !a->data || a->ne1 != 1 || a->ne0 < 1) return "conv: the table is not one row of i32";
    const int32_t * data = a->data;
    if (data[0] < 0 || a->ne0 < 1 + 3 * (int64_t) data[0]) return "conv: the table is cut short";
    const int32_t * end = data + 1 + 3 * (int64_t) data[0];
    for (const int32_t * run = data + 1; run < end; run += 3) {
        if (run[0] < 1 || run[0] > rows) return "conv: the runs do not have all rows";
        rows -= run[0];
        if (run[1] < -1 || run[1] >= slots || run[2] < 0 || run[2] >= slots) return "conv: a slot is not there";
        for (const int32_t * other = data + 1; other < end; other += 3) {
            if (other[1] == run[2]) return "conv: a slot is read and written";
            if (other != run && other[2] == run[2]) return "conv: a slot is written twice";
        }
    }
    return rows == 0 ? NULL : "conv: the runs do not have all rows";
}

const char * gt_check_conv_next(const gt_call * c) {
    const gt_arg * x = &c->a[1], *w = &c->a[2], *kept = &c->a[3];
    if (!gt_is_f32(x, x->ne0, x->ne1) || !gt_is_like(&c->a[0], x)) return "conv: the rows are not f32 of one shape";
    GT_TRY(taps_fault(w, x->ne0));
    if (w->ne0 < 2 || !kept->data || !gt_is_f32(kept, (w->ne0 - 1) * x->ne0, kept->ne1))
        return "conv: what is kept is not f32 [(taps - 1)·channels, slots]";
    if (!gt_all_apart(c, 0) || !gt_all_apart(c, 3)) return "conv: an output overlaps another argument";
    return runs_fault(&c->a[4], x->ne1, kept->ne1);
}

#endif

#endif
