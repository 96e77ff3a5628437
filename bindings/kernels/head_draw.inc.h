// Tokens drawn from the softmax over the vocabulary, nothing of which is cut off.
//
// GT_OP_HEAD_DRAW Logits, their log-sum-exp and the entropy are GT_OP_HEAD's, to the bit. a0 out [3·C,1], for each
//                 token the row of W that is drawn, as a float, its log-probability, and the entropy; a1 h; a2 W; a3 h2
//                 or absent; a4 W2; a5 scratch, gt_head_draw_scratch_bytes(...); a6 u f64 [C,1], 0 to below 1: the row
//                 at which the cumulated probability passes it is drawn. greedy: the row of the largest logit, of equal
//                 ones the first, with certainty. Where logits are no numbers, nor are the three.
//                 GT_OP_HEAD_DRAW_MERGE joins the shards and draws, with the same arguments.
#ifndef GT_HEAD_DRAW_INC_H
#define GT_HEAD_DRAW_INC_H

#include "head.inc.h"

typedef struct gt_head_draw_constants {
    bool   exact, greedy;
    double scale, cap; // gt_head_constants'
} gt_head_draw_constants;

// Floats of a token's logits: whole vectors, and cache lines.
static inline int64_t gt_head_draw_wide(int64_t v) { return (v + 15) / 16 * 16; }

#ifdef GT_KERNELS

// A gt_draw is the head with where its logits and its shards' sums lie.
typedef struct gt_draw {
    gt_head       d;
    gt_head_shard o; // the first shard's; the others' size floats apart
    int           shards;
    int64_t       size;
} gt_draw;

static gt_draw gt_draw_of(const gt_call * c) {
    const gt_head_draw_constants k = GT_CONSTANTS(head_draw, c);
    gt_draw x = {.d = {.h = c->a[1], .w = c->a[2], .h2 = c->a[3], .w2 = c->a[4], .c = c->a[1].ne1, .exact = k.exact,
                       .entropy = 1, .scale = (float) k.scale, .cap = (float) (k.cap * k.scale), .logits = c->a[5].data,
                       .wide = gt_head_draw_wide(c->a[2].ne1)}};
    const int64_t n = x.d.c, r = x.d.h2.data ? x.d.w2.ne0 : 0;
    x.shards = gt_head_shards(x.d.w.ne1);
    x.size   = gt_head_shard_floats(x.d.w.ne0, r, n, 0, 0, 1);
    x.o      = gt_head_shard_at(x.d.logits + n * x.d.wide, x.d.w.ne0, r, n, 0, 1);
    return x;
}

static void gt_k_head_draw(const gt_call * c, int ith, int nth) {
    gt_draw x = gt_draw_of(c);
    int64_t lo, hi;
    if (x.d.c == 0 || x.d.w.ne1 == 0) return;
    gt_share(x.shards, 1, ith, nth, &lo, &hi);
    if (lo == hi) return;
    gt_head_area * s = gt_head_begin(&x.d);
    for (int64_t i = lo; i < hi; i++) {
        int64_t v0, v1;
        gt_share(x.d.w.ne1, GT_UNIT, (int) i, x.shards, &v0, &v1);
        gt_head_shard o = x.o;
        o.m += i * x.size, o.sum += i * x.size, o.lean += i * x.size;
        gt_head_shard_run(&x.d, NULL, 0, 0, 0, v0, v1, &o, s);
    }
}

// gt_draw_in finds the row of logits l[0..n) at which the sum of exp(l - m) passes want; where rounding leaves none,
// the likeliest.
static int64_t gt_draw_in(const float * l, int64_t n, float m, double want) {
    int64_t best = 0;
    for (int64_t i = 0; i < n; i += GT_VL) {
        const gt_vf  p   = gt_exp(gt_load(l + i) - m);
        const double sum = gt_hsum(p);
        const int    some = (int) (n - i < GT_VL ? n - i : GT_VL);
        for (int j = 0; want < sum && j < some; j++) {
            if ((want -= p[j]) < 0) return i + j;
        }
        if (want >= sum) want -= sum;
        else want = 0; // rounding: the vector's sum is the sum of these
        for (int j = 0; j < some; j++) best = l[i + j] > l[best] ? i + j : best;
    }
    return best;
}

// gt_draw_row draws token t's row.
static int64_t gt_draw_row(const gt_draw * x, int64_t t, double u) {
    const float * l   = x->d.logits + t * x->d.wide;
    double        top = -INFINITY, all = 0, by[GT_HEAD_SHARDS] = {0};
    int64_t       v0, v1;
    for (int s = 0; s < x->shards; s++) top = x->o.m[s * x->size + t] > top ? x->o.m[s * x->size + t] : top;
    for (int s = 0; s < x->shards; s++) {
        by[s] = exp(x->o.m[s * x->size + t] - top);
        all += by[s] * x->o.sum[s * x->size + t];
    }
    double want = u * all;
    int    s    = 0;
    for (; s + 1 < x->shards; s++) {
        const double sum = by[s] * x->o.sum[s * x->size + t];
        if (want < sum) break;
        want -= sum;
    }
    while (s > 0 && by[s] == 0) s--; // rounding: nothing of the last ones is left to draw
    gt_share(x->d.w.ne1, GT_UNIT, s, x->shards, &v0, &v1);
    return v0 + gt_draw_in(l + v0, v1 - v0, x->o.m[s * x->size + t], want / by[s]);
}

// gt_draw_largest is the row of token t's largest logit.
static int64_t gt_draw_largest(const gt_draw * x, int64_t t) {
    const float * l    = x->d.logits + t * x->d.wide;
    int64_t       best = 0;
    for (int64_t v = 1; v < x->d.w.ne1; v++) best = l[v] > l[best] ? v : best;
    return best;
}

static void gt_k_head_draw_merge(const gt_call * c, int ith, int nth) {
    const gt_draw x = gt_draw_of(c);
    int64_t       lo, hi;
    if (x.d.c == 0 || x.d.w.ne1 == 0) return;
    gt_share(x.d.c, 1, ith, nth, &lo, &hi);
    for (int64_t t = lo; t < hi; t++) {
        float *       out = (float *) c->a[0].data + 3 * t, share[GT_HEAD_SHARDS];
        const double  lse = gt_head_total(x.o.m + t, x.size, x.d.c, x.shards, share);
        const float * l   = x.d.logits + t * x.d.wide;
        if (!isfinite(lse)) {
            out[0] = out[1] = out[2] = NAN;
        } else if (GT_CONSTANTS(head_draw, c).greedy) {
            out[0] = (float) gt_draw_largest(&x, t), out[1] = out[2] = 0;
        } else {
            const int64_t row = gt_draw_row(&x, t, ((const double *) c->a[6].data)[t]);
            out[0] = (float) row, out[1] = (float) (l[row] - lse);
            out[2] = (float) gt_head_entropy(&x.o, t, x.size, x.shards, lse);
        }
    }
}

#endif

#ifdef GT_CHECKS

size_t gt_head_draw_scratch_bytes(int64_t k, int64_t r, int64_t v, int64_t c) {
    return (size_t) (c * gt_head_draw_wide(v)) * sizeof(float) + gt_head_scratch_bytes(k, r, v, c, 0, 0, 1);
}

const char * gt_check_head_draw(const gt_call * c) {
    const gt_arg *h = &c->a[1], *w = &c->a[2], *u = &c->a[6];
    int64_t       n = h->ne1;
    GT_TRY(head_inputs_fault(h, w, &c->a[3], &c->a[4]));
    GT_TRY(head_scale_fault(GT_CONSTANTS(head_draw, c).scale, GT_CONSTANTS(head_draw, c).cap));
    if (w->ne1 > 1 << 24) return "the output head has more rows than a float can name";
    if (n > GT_HEAD_CHUNK) return "the output head takes at most gt_head_chunk tokens a call";
    GT_TRY(gt_vector_fault(&c->a[0], 3 * n));
    const int64_t r = c->a[3].data ? c->a[4].ne0 : 0;
    GT_TRY(head_scratch_fault(&c->a[5], n, gt_head_draw_scratch_bytes(w->ne0, r, w->ne1, n)));
    if (!gt_is_matrix(u, GT_F64, n, 1)) return "not one number to draw by for each token";
    return gt_outputs_fault(c, 1 << 0 | 1 << 5);
}

const char * gt_check_head_draw_merge(const gt_call * c) { return gt_check_head_draw(c); }

#endif

#endif
