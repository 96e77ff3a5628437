// The output head and the softmax over the vocabulary, without stored logits, in the manner of flash attention: a block
// of the vocabulary at a time, logits l, then p = exp(l - m) under a running shift m, then Σ p and Σ p·W. At the end
// lse = m + log Σ p. m follows the maximum lazily: it moves only when a logit exceeds it by GT_HEAD_SLACK, so sums are
// rarely rescaled and p stays far from overflow.
//
// GT_OP_HEAD For each of C counted tokens, over the vocabulary v in [0,V): l_v = W_v·h + W2_v·h2; lse = log Σ exp l_v;
//                   logp = l_target − lse; e = Σ softmax(l)_v W_v (and e2 with W2): the softmax's mean row, from which
//                   GT_OP_HEAD_BACK makes the gradient for any coefficient without a second pass over the vocabulary.
//                   a0 out logp [C,1]; a1 out lse [C,1]; a2 out e [K,C] or absent (no backward wanted); a3 in h [K,C]
//                   f32;
//                   a4 in W [K,V]; a5 in targets i32 [C,1]; a6 in h2 [r,C] or absent; a7 in W2 f32 [r,V]; a8 out e2
//                   [r,C];
//                   a9 scratch, gt_head_scratch_bytes(...). exact: f32 products.
//                   The vocabulary is cut into shards whose number depends on shapes alone; GT_OP_HEAD writes each
//                   shard's maximum, sum and mean row into the scratch, GT_OP_HEAD_MERGE (same arguments) joins them
//                   in order. At most gt_head_chunk() tokens a call; more are done by further pairs of calls on
//                   sub-ranges.
// GT_OP_HEAD_BACK dh[:,c] = coef[c]·(W_target(c) − e[:,c]); dh2 likewise. a0 out dh [K,C]; a1 in e; a2 in coef [C,1];
//                   a3 in W; a4 in targets; a5 out dh2 [r,C] or absent; a6 in e2; a7 in W2.
// GT_OP_HEAD_GRAD_W dW[v] += Σ_c coef[c]·(1[v=target(c)] − softmax_v(c))·h[:,c], and dW2 with h2; logits recomputed
//                   shard by shard.   a0 inout dW f32 [K,V] or absent; a1 inout dW2 f32 [r,V] or absent; a2 h; a3 W;
//                   a4 targets; a5 lse; a6 coef; a7 h2; a8 W2.
#ifndef GT_HEAD_INC_H
#define GT_HEAD_INC_H

#include "kernels.h"
#include "head_shape.h"

typedef struct gt_head_constants {
    bool exact;
} gt_head_constants;

#ifdef GT_KERNELS

#define GT_HEAD_SLACK 8.0f

// The work area of one thread; the packed tokens follow it.
typedef struct gt_head_area {
    gt_area area;
    float   tile[GT_HEAD_CHUNK * GT_HEAD_BLOCK] __attribute__((aligned(64))); // logits, then probabilities, [c][v]
    float   probs[GT_HEAD_CHUNK * GT_HEAD_BLOCK] __attribute__((aligned(64))); // probabilities, packed
    float   packed[] __attribute__((aligned(64)));
} gt_head_area;

// The head as its kernels see it: tokens [0, c) of h.
typedef struct gt_head {
    gt_arg  h, w, h2, w2;
    int64_t c;
    int     exact;
} gt_head;

static gt_head_area * gt_head_begin(const gt_head * d) {
    size_t         packed = d->exact ? 0 : gt_k_packed_bytes(d->h.ne0, d->c);
    gt_head_area * s      = gt_scratch(sizeof(gt_head_area) + packed);
    if (!d->exact) gt_pack(d->h.data, d->h.nb1 / 4, d->h.ne0, d->c, 0, gt_blocks(d->c), s->packed);
    return s;
}

// gt_head_rows is the matrix of the vocabulary's rows from v on.
static gt_arg gt_head_rows(const gt_arg * w, int64_t v) {
    gt_arg rows = *w;
    rows.data   = (char *) w->data + v * w->nb1;
    return rows;
}

// gt_head_logits fills the tile with the logits of vocabulary rows [v, v+n).
static void gt_head_logits(const gt_head * d, int64_t v, int64_t n, gt_head_area * s) {
    gt_product p = {.c = s->tile, .ldc = GT_HEAD_BLOCK, .tokens = d->c, .cols = n, .n_terms = d->h2.data ? 2 : 1};
    gt_arg     h = d->h, w = gt_head_rows(&d->w, v), w2 = gt_head_rows(&d->w2, v);
    if (!d->exact) h.data = s->packed, h.type = GT_PACKED;
    p.term[0] = gt_term_of(&h, &w, 1, 1);
    if (d->h2.data) p.term[1] = gt_term_of(&d->h2, &w2, 1, 1);
    gt_multiply(&p, 0, gt_blocks(d->c), 0, n, &s->area);
}

// gt_head_mean adds Σ_v p_v·W_v to the rows e, from the probabilities in the tile; the first block writes them.
static void gt_head_mean(const gt_head * d, const gt_arg * matrix, int packed, int64_t v, int64_t n, float * e,
                         int first, gt_head_area * s) {
    gt_product p     = {.c = e, .ldc = matrix->ne0, .tokens = d->c, .cols = matrix->ne0, .acc = !first, .n_terms = 1};
    gt_arg     probs = {.data = s->tile, .ne0 = n, .ne1 = d->c, .nb1 = GT_HEAD_BLOCK * sizeof(float)};
    gt_arg     w     = gt_head_rows(matrix, v);
    if (packed) {
        gt_pack(s->tile, GT_HEAD_BLOCK, n, d->c, 0, gt_blocks(d->c), s->probs);
        probs.data = s->probs, probs.type = GT_PACKED;
    }
    p.term[0] = gt_term_of(&probs, &w, 0, 1);
    gt_multiply(&p, 0, gt_blocks(d->c), 0, matrix->ne0, &s->area);
}

GT_INLINE void gt_scale_row(float * x, int64_t n, float f) {
    for (int64_t i = 0; i < n; i++) x[i] *= f;
}

// gt_head_shift returns the shift for logits l[0..n) after those under m: m itself, or their maximum if that is far
// above.
GT_INLINE float gt_head_shift(const float * l, int64_t n, float m) {
    gt_vf most = gt_splat(-INFINITY);
    for (int64_t i = 0; i < n; i += GT_VL) most = gt_max(most, gt_load(l + i));
    float top = gt_hmax(most);
    return top > m + GT_HEAD_SLACK ? top : m;
}

// gt_head_shard computes one shard, vocabulary rows [v0, v1), into out.
static void gt_head_shard(const gt_head * d, const int32_t * targets, int back, int64_t v0, int64_t v1, float * out,
                          gt_head_area * s) {
    int64_t c = d->c, k = d->w.ne0, r = d->h2.data ? d->w2.ne0 : 0;
    float * m = out, *sum = m + c, *target = sum + c, *e = target + c, *e2 = e + c * k;
    for (int64_t t = 0; t < c; t++) m[t] = -INFINITY, sum[t] = 0;
    for (int64_t v = v0; v < v1; v += GT_HEAD_BLOCK) {
        int64_t n = v1 - v < GT_HEAD_BLOCK ? v1 - v : GT_HEAD_BLOCK, wide = (n + GT_VL - 1) / GT_VL * GT_VL;
        gt_head_logits(d, v, n, s);
        for (int64_t t = 0; t < c; t++) {
            float * l = s->tile + t * GT_HEAD_BLOCK;
            if (targets[t] >= v && targets[t] < v + n) target[t] = l[targets[t] - v];
            for (int64_t i = n; i < wide; i++) l[i] = -INFINITY;
            float shift = gt_head_shift(l, wide, m[t]);
            if (shift != m[t]) { // also from -infinity, when the sums are still empty
                float f = v == v0 ? 0 : gt_exp1(m[t] - shift);
                sum[t] *= f;
                if (back && v > v0) gt_scale_row(e + t * k, k, f), gt_scale_row(e2 + t * r, r, f);
                m[t] = shift;
            }
            gt_vf part = {0};
            for (int64_t i = 0; i < wide; i += GT_VL) {
                gt_vf p = gt_exp(gt_load(l + i) - shift);
                gt_store(l + i, p);
                part += p;
            }
            sum[t] += gt_hsum(part);
        }
        if (!back) continue;
        gt_head_mean(d, &d->w, !d->exact, v, n, e, v == v0, s);
        if (r) gt_head_mean(d, &d->w2, 0, v, n, e2, v == v0, s);
    }
}

static gt_head gt_head_of(const gt_call * c) {
    return (gt_head){.h = c->a[3], .w = c->a[4], .h2 = c->a[6], .w2 = c->a[7], .c = c->a[3].ne1,
                     .exact = GT_CONSTANTS(head, c).exact};
}

static void gt_k_head(const gt_call * c, int ith, int nth) {
    gt_head d = gt_head_of(c);
    if (d.c == 0 || d.w.ne1 == 0) return;
    int     shards = gt_head_shards(d.w.ne1), back = c->a[2].data != NULL;
    int64_t size = gt_head_shard_floats(d.w.ne0, d.h2.data ? d.w2.ne0 : 0, d.c, back), lo, hi;
    gt_share(shards, 1, ith, nth, &lo, &hi);
    if (lo == hi) return;
    gt_head_area * s = gt_head_begin(&d);
    for (int64_t i = lo; i < hi; i++) {
        int64_t v0, v1;
        gt_share(d.w.ne1, GT_UNIT, (int) i, shards, &v0, &v1);
        gt_head_shard(&d, c->a[5].data, back, v0, v1, (float *) c->a[9].data + i * size, s);
    }
}

// gt_head_join writes to[i] = Σ_shards share[s]·row_s[i], in the order of the shards.
GT_INLINE void gt_head_join(float * to, const float * from, int64_t n, int64_t shard_floats, int shards,
                            const float * share) {
    for (int64_t i = 0; i < n; i++) to[i] = share[0] * from[i];
    for (int s = 1; s < shards; s++) {
        from += shard_floats;
        for (int64_t i = 0; i < n; i++) to[i] += share[s] * from[i];
    }
}

static void gt_k_head_merge(const gt_call * c, int ith, int nth) {
    gt_head d    = gt_head_of(c);
    int64_t k    = d.w.ne0, r = d.h2.data ? d.w2.ne0 : 0, n = d.c, lo, hi;
    int     back = c->a[2].data != NULL, shards = gt_head_shards(d.w.ne1);
    int64_t size = gt_head_shard_floats(k, r, n, back);
    float * logp = c->a[0].data, *lse = c->a[1].data;
    gt_share(n, 1, ith, nth, &lo, &hi);
    for (int64_t t = lo; t < hi; t++) {
        const float * m = (const float *) c->a[9].data + t;
        int32_t       target = ((const int32_t *) c->a[5].data)[t];
        double        top = -INFINITY, sum = 0, logit = NAN; // a target outside the vocabulary has no probability
        float         share[GT_HEAD_SHARDS];
        for (int s = 0; s < shards; s++) top = m[s * size] > top ? m[s * size] : top;
        for (int s = 0; s < shards; s++) sum += m[s * size + n] * exp(m[s * size] - top);
        for (int s = 0; s < shards; s++) {
            int64_t v0, v1;
            gt_share(d.w.ne1, GT_UNIT, s, shards, &v0, &v1);
            if (target >= v0 && target < v1) logit = m[s * size + 2 * n];
            share[s] = (float) (exp(m[s * size] - top) / sum);
        }
        double total = top + log(sum);
        lse[t]       = (float) total;
        logp[t]      = (float) (logit - total);
        if (!back) continue;
        const float * e = (const float *) c->a[9].data + 3 * n;
        gt_head_join((float *) ((char *) c->a[2].data + t * c->a[2].nb1), e + t * k, k, size, shards, share);
        if (r) gt_head_join((float *) ((char *) c->a[8].data + t * c->a[8].nb1), e + n * k + t * r, r, size, shards,
                            share);
    }
}

// gt_head_back_row writes dh = coef·(W_target - e), or NaN for a target outside the vocabulary, as its logp is.
static void gt_head_back_row(const gt_arg * dh, const gt_arg * e, const gt_arg * w, int64_t t, int32_t target,
                             float coef) {
    gt_store_type type = gt_type_of(w->type);
    float *       to   = (float *) ((char *) dh->data + t * dh->nb1);
    const float * mean = (const float *) ((const char *) e->data + t * e->nb1);
    if (target < 0 || target >= w->ne1) coef = NAN;
    else gt_unpack_range(&type, (const uint8_t *) w->data + target * w->nb1, 0, w->ne0, to);
    for (int64_t i = 0; i < w->ne0; i++) to[i] = coef * (to[i] - mean[i]);
}

static void gt_k_head_back(const gt_call * c, int ith, int nth) {
    const float *   coef    = c->a[2].data;
    const int32_t * targets = c->a[4].data;
    int64_t         lo, hi;
    gt_share(c->a[0].ne1, 1, ith, nth, &lo, &hi);
    for (int64_t t = lo; t < hi; t++) {
        gt_head_back_row(&c->a[0], &c->a[1], &c->a[3], t, targets[t], coef[t]);
        if (c->a[5].data) gt_head_back_row(&c->a[5], &c->a[6], &c->a[7], t, targets[t], coef[t]);
    }
}

// gt_head_grad adds Σ_c g[c,v]·x[:,c] to rows [v, v+n) of dw; g is in the tile.
static void gt_head_grad(const gt_arg * dw, const gt_arg * x, int exact, int64_t v, int64_t n, gt_head_area * s) {
    gt_arg     rows = gt_head_rows(dw, v);
    gt_product p    = {.c = rows.data, .ldc = dw->nb1 / 4, .tokens = n, .cols = dw->ne0, .acc = 1, .n_terms = 1};
    p.term[0]       = (gt_term){{GT_A_COLS, (const uint8_t *) s->tile, GT_HEAD_BLOCK * sizeof(float), NULL},
                          {gt_type_of(GT_F32), x->data, x->nb1, 0}, x->ne1,
                          GT_HAS_BF16 && !exact ? GT_FORMAT_BF16 : GT_FORMAT_F32, 1};
    gt_multiply(&p, 0, gt_blocks(n), 0, dw->ne0, &s->area);
}

// Threads share the vocabulary; tokens go by in chunks, in order.
static void gt_k_head_grad_w(const gt_call * c, int ith, int nth) {
    gt_head         d       = {.h = c->a[2], .w = c->a[3], .h2 = c->a[7], .w2 = c->a[8],
                               .exact = GT_CONSTANTS(head, c).exact};
    const int32_t * targets = c->a[4].data;
    const float *   lse     = c->a[5].data, *coef = c->a[6].data;
    int64_t         lo, hi, tokens = d.h.ne1;
    gt_share(d.w.ne1, GT_UNIT, ith, nth, &lo, &hi);
    for (int64_t t0 = 0; t0 < tokens && lo < hi; t0 += GT_HEAD_CHUNK) {
        d.c = tokens - t0 < GT_HEAD_CHUNK ? tokens - t0 : GT_HEAD_CHUNK;
        d.h = gt_head_rows(&c->a[2], t0), d.h.ne1 = d.c;
        if (d.h2.data) d.h2 = gt_head_rows(&c->a[7], t0), d.h2.ne1 = d.c;
        gt_head_area * s = gt_head_begin(&d);
        for (int64_t v = lo; v < hi; v += GT_HEAD_BLOCK) {
            int64_t n = hi - v < GT_HEAD_BLOCK ? hi - v : GT_HEAD_BLOCK;
            gt_head_logits(&d, v, n, s);
            for (int64_t t = 0; t < d.c; t++) {
                float * l = s->tile + t * GT_HEAD_BLOCK;
                for (int64_t i = 0; i < n; i += GT_VL) { // the tile is whole vectors wide
                    gt_store(l + i, gt_exp(gt_load(l + i) - lse[t0 + t]) * -coef[t0 + t]);
                }
                if (targets[t0 + t] >= v && targets[t0 + t] < v + n) l[targets[t0 + t] - v] += coef[t0 + t];
            }
            if (c->a[0].data) gt_head_grad(&c->a[0], &d.h, d.exact, v, n, s);
            if (c->a[1].data) gt_head_grad(&c->a[1], &d.h2, d.exact, v, n, s);
        }
    }
}

#endif

#ifdef GT_CHECKS

int64_t gt_head_chunk(void) { return GT_HEAD_CHUNK; }

size_t gt_head_scratch_bytes(int64_t k, int64_t r, int64_t v, int64_t c, int back) {
    return (size_t) (gt_head_shards(v) * gt_head_shard_floats(k, r, c, back)) * sizeof(float);
}

// head_inputs_fault looks at the head's matrix and tokens, and at the second pair where there is one.
static const char * head_inputs_fault(const gt_arg * h, const gt_arg * w, const gt_arg * targets, const gt_arg * h2,
                                      const gt_arg * w2) {
    GT_TRY(gt_weights_fault(w));
    if (w->ne1 < 1 || w->ne0 < 1) return "the output head is empty";
    if (w->ne1 > INT32_MAX) return "the output head has more rows than a token number can name";
    GT_TRY(gt_f32_fault(h, w->ne0, h->ne1));
    GT_TRY(gt_ids_fault(targets, h->ne1));
    if (!h2->data && !w2->data) return NULL;
    GT_TRY(gt_f32_fault(w2, w2->ne0, w->ne1));
    if (w2->ne0 < 1) return "the second pair is empty";
    return gt_f32_fault(h2, w2->ne0, h->ne1);
}

const char * gt_check_head(const gt_call * c) {
    const gt_arg * w = &c->a[4];
    int64_t        n = c->a[3].ne1, r = c->a[6].data ? c->a[7].ne0 : 0;
    GT_TRY(head_inputs_fault(&c->a[3], w, &c->a[5], &c->a[6], &c->a[7]));
    if (n > GT_HEAD_CHUNK) return "the output head takes at most gt_head_chunk tokens a call";
    GT_TRY(gt_vector_fault(&c->a[0], n));
    GT_TRY(gt_vector_fault(&c->a[1], n));
    if (c->a[2].data) {
        GT_TRY(gt_f32_fault(&c->a[2], w->ne0, n));
        if (r) GT_TRY(gt_f32_fault(&c->a[8], r, n));
    }
    const gt_arg * s = &c->a[9];
    if (!s->data && n) return "the output head's scratch is absent";
    if (s->type != GT_F32) return "an argument that must be f32 is not";
    if (s->ne1 != 1) return "the output head's scratch is not one row";
    int small = (size_t) s->ne0 * sizeof(float) < gt_head_scratch_bytes(w->ne0, r, w->ne1, n, c->a[2].data != NULL);
    if (small) return "the output head's scratch is too small";
    return gt_outputs_fault(c, 1 << 0 | 1 << 1 | 1 << 2 | 1 << 8 | 1 << 9);
}

const char * gt_check_head_merge(const gt_call * c) { return gt_check_head(c); }

const char * gt_check_head_back(const gt_call * c) {
    const gt_arg * w = &c->a[3];
    int64_t        n = c->a[0].ne1;
    GT_TRY(gt_weights_fault(w));
    GT_TRY(gt_f32_fault(&c->a[0], w->ne0, n));
    GT_TRY(gt_f32_fault(&c->a[1], w->ne0, n));
    GT_TRY(gt_vector_fault(&c->a[2], n));
    GT_TRY(gt_ids_fault(&c->a[4], n));
    GT_TRY(gt_outputs_fault(c, 1 << 0 | 1 << 5));
    if (!c->a[5].data) return NULL;
    GT_TRY(gt_f32_fault(&c->a[7], c->a[7].ne0, w->ne1));
    GT_TRY(gt_f32_fault(&c->a[5], c->a[7].ne0, n));
    return gt_f32_fault(&c->a[6], c->a[7].ne0, n);
}

const char * gt_check_head_grad_w(const gt_call * c) {
    const gt_arg *h = &c->a[2], *w = &c->a[3];
    GT_TRY(head_inputs_fault(h, w, &c->a[4], &c->a[7], &c->a[8]));
    GT_TRY(gt_vector_fault(&c->a[5], h->ne1));
    GT_TRY(gt_vector_fault(&c->a[6], h->ne1));
    GT_TRY(gt_outputs_fault(c, 1 << 0 | 1 << 1));
    if (c->a[0].data) GT_TRY(gt_f32_fault(&c->a[0], w->ne0, w->ne1));
    if (c->a[1].data && !c->a[7].data) return "a gradient of the second pair is asked for, but there is none";
    return c->a[1].data ? gt_f32_fault(&c->a[1], c->a[8].ne0, w->ne1) : NULL;
}

#endif

#endif
