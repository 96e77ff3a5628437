// The n largest logits of each token.
//
// GT_OP_HEAD_TOP As GT_OP_HEAD computes them: a0 out [2n·C,1], for each token first their rows of W, as floats, the
//                largest logit first and of equal ones the smaller row, then their log-probabilities. a1 h; a2 W; a3 h2
//                or absent; a4 W2; a5 scratch, gt_head_top_scratch_bytes(...). GT_OP_HEAD_TOP_MERGE joins the shards,
//                with the same arguments.
#ifndef GT_HEAD_TOP_INC_H
#define GT_HEAD_TOP_INC_H

#include "head.inc.h"

typedef struct gt_head_top_constants {
    bool   exact;
    double scale, cap; // gt_head_constants'
} gt_head_top_constants;

#ifdef GT_KERNELS

static gt_head gt_head_top_of(const gt_call * c) {
    const gt_head_top_constants k = GT_CONSTANTS(head_top, c);
    return (gt_head){.h = c->a[1], .w = c->a[2], .h2 = c->a[3], .w2 = c->a[4], .c = c->a[1].ne1, .exact = k.exact,
                     .scale = (float) k.scale, .cap = (float) (k.cap * k.scale)};
}

// gt_head_take lets the logits of rows [v, v+n) into the largest so far, best first.
GT_INLINE void gt_head_take(const float * l, int64_t v, int64_t n, float * best, int32_t * rows, int64_t many) {
    for (int64_t i = 0; i < n; i++) {
        if (!(l[i] > best[many - 1])) continue;
        int64_t at = many - 1;
        for (; at > 0 && best[at - 1] < l[i]; at--) best[at] = best[at - 1], rows[at] = rows[at - 1];
        best[at] = l[i], rows[at] = (int32_t) (v + i);
    }
}

static void gt_k_head_top(const gt_call * c, int ith, int nth) {
    gt_head d = gt_head_top_of(c);
    if (d.c == 0 || d.w.ne1 == 0) return;
    int     shards = gt_head_shards(d.w.ne1);
    int64_t n = d.c, many = c->a[0].ne0 / n / 2, size = gt_head_top_floats(n, many), lo, hi;
    gt_share(shards, 1, ith, nth, &lo, &hi);
    if (lo == hi) return;
    gt_head_area * s = gt_head_begin(&d);
    for (int64_t i = lo; i < hi; i++) {
        float *   m = (float *) c->a[5].data + i * size, *sum = m + n, *best = sum + n;
        int32_t * rows = (int32_t *) (best + n * many);
        int64_t   v0, v1;
        gt_share(d.w.ne1, GT_UNIT, (int) i, shards, &v0, &v1);
        for (int64_t t = 0; t < n; t++) m[t] = -INFINITY, sum[t] = 0;
        for (int64_t t = 0; t < n * many; t++) best[t] = -INFINITY, rows[t] = -1;
        for (int64_t v = v0; v < v1; v += GT_HEAD_BLOCK) {
            int64_t b = v1 - v < GT_HEAD_BLOCK ? v1 - v : GT_HEAD_BLOCK, wide = (b + GT_VL - 1) / GT_VL * GT_VL;
            gt_head_logits(&d, v, b, s);
            for (int64_t t = 0; t < n; t++) {
                float * l = s->tile + t * GT_HEAD_BLOCK;
                gt_head_take(l, v, b, best + t * many, rows + t * many, many);
                for (int64_t j = b; j < wide; j++) l[j] = -INFINITY;
                sum[t] *= gt_head_raise(l, wide, m + t, v == v0);
                sum[t] += gt_head_exps(l, wide, m[t]);
            }
        }
    }
}

static void gt_k_head_top_merge(const gt_call * c, int ith, int nth) {
    gt_head d = gt_head_top_of(c);
    if (d.c == 0) return;
    int     shards = gt_head_shards(d.w.ne1);
    int64_t n = d.c, many = c->a[0].ne0 / n / 2, size = gt_head_top_floats(n, many), lo, hi;
    gt_share(n, 1, ith, nth, &lo, &hi);
    for (int64_t t = lo; t < hi; t++) {
        const float * m = (const float *) c->a[5].data + t;
        const float * best = (const float *) c->a[5].data + 2 * n + t * many;
        float *       out = (float *) c->a[0].data + 2 * t * many, share[GT_HEAD_SHARDS];
        int64_t       next[GT_HEAD_SHARDS] = {0};
        double        total = gt_head_total(m, size, n, shards, share);
        for (int64_t j = 0; j < many; j++) {
            int from = -1; // the first shard with the largest logit has the smaller row
            for (int s = 0; s < shards; s++) {
                if (next[s] == many) continue;
                if (from < 0 || best[s * size + next[s]] > best[from * size + next[from]]) from = s;
            }
            const int32_t * rows = (const int32_t *) (best + from * size + n * many); // of this token
            out[j]               = (float) rows[next[from]];
            out[many + j]        = (float) (best[from * size + next[from]] - total);
            next[from]++;
        }
    }
}

#endif

#ifdef GT_CHECKS

size_t gt_head_top_scratch_bytes(int64_t v, int64_t c, int64_t many) {
    return (size_t) (gt_head_shards(v) * gt_head_top_floats(c, many)) * sizeof(float);
}

const char * gt_check_head_top(const gt_call * c) {
    const gt_arg *h = &c->a[1], *w = &c->a[2];
    int64_t       n = h->ne1, many = n ? c->a[0].ne0 / n / 2 : 0;
    GT_TRY(head_inputs_fault(h, w, &c->a[3], &c->a[4]));
    GT_TRY(head_scale_fault(GT_CONSTANTS(head_top, c).scale, GT_CONSTANTS(head_top, c).cap));
    if (w->ne1 > 1 << 24) return "the output head has more rows than a float can name";
    if (n > GT_HEAD_CHUNK) return "the output head takes at most gt_head_chunk tokens a call";
    GT_TRY(gt_vector_fault(&c->a[0], 2 * n * many));
    if (n && (many < 1 || many > w->ne1)) return "more of the largest logits are asked for than there are";
    GT_TRY(head_scratch_fault(&c->a[5], n, gt_head_top_scratch_bytes(w->ne1, n, many)));
    return gt_outputs_fault(c, 1 << 0 | 1 << 5);
}

const char * gt_check_head_top_merge(const gt_call * c) { return gt_check_head_top(c); }

#endif

#endif
