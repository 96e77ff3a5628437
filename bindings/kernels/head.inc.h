// The output head and the softmax over the vocabulary, without stored logits, in the manner of flash attention: a block
// of the vocabulary at a time, logits l, then p = exp(l - m) under a running shift m, then Σ p and Σ p·W. At the end
// lse = m + log Σ p. m follows the maximum lazily: it moves only when a logit exceeds it by GT_HEAD_SLACK, so sums are
// rarely rescaled and p stays far from overflow.
//
// GT_OP_HEAD For each of C counted tokens, over the vocabulary v in [0,V): l_v = W_v·h + W2_v·h2; lse = log Σ exp l_v;
//                   of each of its n targets logp = l_target − lse; with rest also, behind them, the log of the sum of
//                   the softmax over all that is no target; e = Σ softmax(l)_v W_v (and e2 with W2): the softmax's
//                   mean row, from which GT_OP_HEAD_BACK makes the gradient for any coefficients without a second pass
//                   over the vocabulary. m is n, with rest n + 1. A token's targets differ from each other.
//                   a0 out logp [m·C,1]; a1 out lse [C,1]; a2 out e [K,C] or absent (no backward wanted); a3 in h
//                   [K,C] f32;
//                   a4 in W [K,V]; a5 in targets i32 [n·C,1]; a6 in h2 [r,C] or absent; a7 in W2 f32 [r,V]; a8 out e2
//                   [r,C];
//                   a9 scratch, gt_head_scratch_bytes(...). exact: f32 products.
//                   The vocabulary is cut into shards whose number depends on shapes alone; GT_OP_HEAD writes each
//                   shard's maximum, sum and mean row into the scratch, GT_OP_HEAD_MERGE (same arguments) joins them
//                   in order. At most gt_head_chunk() tokens a call; more are done by further pairs of calls on
//                   sub-ranges.
// GT_OP_HEAD_BACK dh[:,c] = Σ_i f_i(c)·(W_target_i(c) − e[:,c]); dh2 likewise. f is coef; with rest, whose probability
//                   is what the targets' leave, f_i = coef_i − coef_rest·exp(logp_i − logp_rest).
//                   a0 out dh [K,C]; a1 in e; a2 in coef [m·C,1]; a3 in W; a4 in targets; a5 out dh2 [r,C] or absent;
//                   a6 in e2; a7 in W2; a8 in logp [m·C,1] with rest, or absent.
// GT_OP_HEAD_GRAD_W dW[v] += Σ_c Σ_i f_i(c)·(1[v=target_i(c)] − softmax_v(c))·h[:,c], and dW2 with h2; logits
//                   recomputed shard by shard.   a0 inout dW f32 [K,V] or absent; a1 inout dW2 f32 [r,V] or absent;
//                   a2 h; a3 W; a4 targets; a5 lse; a6 coef; a7 h2; a8 W2; a9 logp with rest, or absent.
// GT_OP_HEAD_TOP The n largest logits of each token, as GT_OP_HEAD computes them: a0 out [2n·C,1], for each token first
//                   their rows of W, as floats, the largest logit first and of equal ones the smaller row, then their
//                   log-probabilities. a1 h; a2 W; a3 h2 or absent; a4 W2; a5 scratch,
//                   gt_head_top_scratch_bytes(...). GT_OP_HEAD_TOP_MERGE joins the shards, with the same arguments.
#ifndef GT_HEAD_INC_H
#define GT_HEAD_INC_H

#include "kernels.h"
#include "head_shape.h"

typedef struct gt_head_constants {
    bool exact, rest;
} gt_head_constants;

typedef struct gt_head_top_constants {
    bool exact;
} gt_head_top_constants;

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

// The sums of a shard for one token: Σ exp(l - m) under the shift m, and that of what is no target.
typedef struct gt_head_sums {
    float *m, *sum, *rest;
} gt_head_sums;

// gt_head_raise moves the shift for the logits l[0..n) that follow, and returns what sums under it are to be scaled by.
GT_INLINE float gt_head_raise(const float * l, int64_t n, float * m, int first) {
    float was = *m, shift = gt_head_shift(l, n, was);
    if (shift == was) return 1;
    *m = shift;
    return first ? 0 : gt_exp1(was - shift); // first: from -infinity, when the sums are still empty
}

// gt_head_exps puts exp(l - m) in the place of logits and returns its sum.
GT_INLINE float gt_head_exps(float * l, int64_t n, float m) {
    gt_vf part = {0};
    for (int64_t i = 0; i < n; i += GT_VL) {
        gt_vf p = gt_exp(gt_load(l + i) - m);
        gt_store(l + i, p);
        part += p;
    }
    return gt_hsum(part);
}

// gt_head_named keeps the logits of the targets among rows [v, v+n). With hide it takes them out of l, so that what is
// left adds up without them: a difference of sums near 1 would leave nothing of a small rest.
GT_INLINE void gt_head_named(float * l, const int32_t * targets, int64_t named, int64_t v, int64_t n, float * logits,
                             int hide) {
    for (int64_t j = 0; j < named; j++) {
        if (targets[j] < v || targets[j] >= v + n) continue;
        logits[j] = l[targets[j] - v];
        if (hide) l[targets[j] - v] = -INFINITY;
    }
}

// gt_head_back_in puts exp(l - m) of hidden targets back and returns their sum.
GT_INLINE float gt_head_back_in(float * l, const int32_t * targets, int64_t named, int64_t v, int64_t n,
                                const float * logits, float m) {
    float sum = 0;
    for (int64_t j = 0; j < named; j++) {
        if (targets[j] >= v && targets[j] < v + n) sum += l[targets[j] - v] = gt_exp1(logits[j] - m);
    }
    return sum;
}

// gt_head_shard computes one shard, vocabulary rows [v0, v1), into out, for named targets a token.
static void gt_head_shard(const gt_head * d, const int32_t * targets, int64_t named, int rest, int back, int64_t v0,
                          int64_t v1, float * out, gt_head_area * s) {
    int64_t c = d->c, k = d->w.ne0, r = d->h2.data ? d->w2.ne0 : 0, per = named + rest;
    float * m = out, *sum = m + c, *outs = sum + c, *e = outs + c * per, *e2 = e + c * k;
    for (int64_t t = 0; t < c; t++) {
        m[t] = -INFINITY, sum[t] = 0;
        if (rest) outs[t * per + named] = 0;
    }
    for (int64_t v = v0; v < v1; v += GT_HEAD_BLOCK) {
        int64_t n = v1 - v < GT_HEAD_BLOCK ? v1 - v : GT_HEAD_BLOCK, wide = (n + GT_VL - 1) / GT_VL * GT_VL;
        gt_head_logits(d, v, n, s);
        for (int64_t t = 0; t < c; t++) {
            float *         l = s->tile + t * GT_HEAD_BLOCK, *own = outs + t * per;
            const int32_t * ids = targets + t * named;
            for (int64_t i = n; i < wide; i++) l[i] = -INFINITY;
            float f = gt_head_raise(l, wide, m + t, v == v0);
            if (f != 1) {
                sum[t] *= f;
                if (rest) own[named] *= f;
                if (back && v > v0) gt_scale_row(e + t * k, k, f), gt_scale_row(e2 + t * r, r, f);
            }
            gt_head_named(l, ids, named, v, n, own, rest);
            float part = gt_head_exps(l, wide, m[t]);
            if (rest) {
                own[named] += part;
                part += gt_head_back_in(l, ids, named, v, n, own, m[t]);
            }
            sum[t] += part;
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
    int     shards = gt_head_shards(d.w.ne1), back = c->a[2].data != NULL, rest = GT_CONSTANTS(head, c).rest;
    int64_t named = c->a[5].ne0 / d.c, lo, hi;
    int64_t size = gt_head_shard_floats(d.w.ne0, d.h2.data ? d.w2.ne0 : 0, d.c, named + rest, back);
    gt_share(shards, 1, ith, nth, &lo, &hi);
    if (lo == hi) return;
    gt_head_area * s = gt_head_begin(&d);
    for (int64_t i = lo; i < hi; i++) {
        int64_t v0, v1;
        gt_share(d.w.ne1, GT_UNIT, (int) i, shards, &v0, &v1);
        gt_head_shard(&d, c->a[5].data, named, rest, back, v0, v1, (float *) c->a[9].data + i * size, s);
    }
}

// gt_head_total gives a token's log-sum-exp over all shards, and each one's share of the sum. m are the shards' shifts,
// size floats apart, and sums lie c floats behind them.
static double gt_head_total(const float * m, int64_t size, int64_t c, int shards, float * share) {
    double top = -INFINITY, sum = 0;
    for (int s = 0; s < shards; s++) top = m[s * size] > top ? m[s * size] : top;
    for (int s = 0; s < shards; s++) sum += m[s * size + c] * exp(m[s * size] - top);
    for (int s = 0; s < shards; s++) share[s] = (float) (exp(m[s * size] - top) / sum);
    return top + log(sum);
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

// gt_head_shard_of is the shard that has a row of the vocabulary, or -1.
static int gt_head_shard_of(int32_t row, int64_t vocab, int shards) {
    for (int s = 0; s < shards; s++) {
        int64_t v0, v1;
        gt_share(vocab, GT_UNIT, s, shards, &v0, &v1);
        if (row >= v0 && row < v1) return s;
    }
    return -1;
}

static void gt_k_head_merge(const gt_call * c, int ith, int nth) {
    gt_head d = gt_head_of(c);
    if (d.c == 0) return;
    int64_t k = d.w.ne0, r = d.h2.data ? d.w2.ne0 : 0, n = d.c, named = c->a[5].ne0 / n, lo, hi;
    int     back = c->a[2].data != NULL, rest = GT_CONSTANTS(head, c).rest, shards = gt_head_shards(d.w.ne1);
    int64_t per = named + rest, size = gt_head_shard_floats(k, r, n, per, back);
    float * lse = c->a[1].data;
    gt_share(n, 1, ith, nth, &lo, &hi);
    for (int64_t t = lo; t < hi; t++) {
        const float * m = (const float *) c->a[9].data + t, *own = (const float *) c->a[9].data + 2 * n + t * per;
        float *       logp = (float *) c->a[0].data + t * per, share[GT_HEAD_SHARDS];
        double        total = gt_head_total(m, size, n, shards, share), left = 0;
        lse[t] = (float) total;
        for (int64_t j = 0; j < named; j++) { // a target outside the vocabulary has no probability
            int s   = gt_head_shard_of(((const int32_t *) c->a[5].data)[t * named + j], d.w.ne1, shards);
            logp[j] = s < 0 ? NAN : (float) (own[s * size + j] - total);
        }
        for (int s = 0; rest && s < shards; s++) left += own[s * size + named] * exp(m[s * size] - total);
        if (rest) logp[named] = (float) log(left);
        if (!back) continue;
        const float * e = (const float *) c->a[9].data + (2 + per) * n;
        gt_head_join((float *) ((char *) c->a[2].data + t * c->a[2].nb1), e + t * k, k, size, shards, share);
        if (r) gt_head_join((float *) ((char *) c->a[8].data + t * c->a[8].nb1), e + n * k + t * r, r, size, shards,
                            share);
    }
}

// The targets of each token with the loss's derivatives by their log-probabilities, and by that of the rest.
typedef struct gt_head_slopes {
    const int32_t * targets;
    const float *   coef, *logp; // logp is NULL without rest
    int64_t         named;
} gt_head_slopes;

static gt_head_slopes gt_head_slopes_of(const gt_arg * targets, const gt_arg * coef, const gt_arg * logp, int64_t n) {
    return (gt_head_slopes){.targets = targets->data, .coef = coef->data, .logp = logp->data,
                            .named = n ? targets->ne0 / n : 0};
}

// gt_head_slope is the derivative by target j of token t. The rest's probability is 1 less the targets', so that its
// derivative is theirs too: d log(1 - Σ p) / d log p_j = -p_j / rest.
GT_INLINE float gt_head_slope(const gt_head_slopes * d, int64_t t, int64_t j) {
    if (!d->logp) return d->coef[t * d->named + j];
    const float *coef = d->coef + t * (d->named + 1), *logp = d->logp + t * (d->named + 1);
    return coef[d->named] == 0 ? coef[j] : coef[j] - coef[d->named] * gt_exp1(logp[j] - logp[d->named]);
}

// gt_head_back_row writes dh = Σ_j slope_j·(W_target_j - e), or NaN for a target outside the vocabulary, as its logp
// is. row is a work area.
static void gt_head_back_row(const gt_arg * dh, const gt_arg * e, const gt_arg * w, int64_t t,
                             const gt_head_slopes * d, float * row) {
    gt_store_type type = gt_type_of(w->type);
    float *       to   = (float *) ((char *) dh->data + t * dh->nb1);
    const float * mean = (const float *) ((const char *) e->data + t * e->nb1);
    for (int64_t j = 0; j < d->named; j++) {
        int32_t target = d->targets[t * d->named + j];
        float   slope  = gt_head_slope(d, t, j);
        if (target < 0 || target >= w->ne1) slope = NAN;
        else gt_unpack_range(&type, (const uint8_t *) w->data + target * w->nb1, 0, w->ne0, row);
        for (int64_t i = 0; i < w->ne0; i++) to[i] = (j ? to[i] : 0) + slope * (row[i] - mean[i]);
    }
}

static void gt_k_head_back(const gt_call * c, int ith, int nth) {
    gt_head_slopes d = gt_head_slopes_of(&c->a[4], &c->a[2], &c->a[8], c->a[0].ne1);
    int64_t        k = c->a[3].ne0, k2 = c->a[5].data ? c->a[7].ne0 : 0, lo, hi;
    gt_share(c->a[0].ne1, 1, ith, nth, &lo, &hi);
    if (lo == hi) return;
    float * row = gt_scratch((size_t) (k > k2 ? k : k2) * sizeof(float));
    for (int64_t t = lo; t < hi; t++) {
        gt_head_back_row(&c->a[0], &c->a[1], &c->a[3], t, &d, row);
        if (c->a[5].data) gt_head_back_row(&c->a[5], &c->a[6], &c->a[7], t, &d, row);
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

// gt_head_slopes_tile puts the derivatives by the logits of rows [v, v+n) in the place of the logits, of token t and
// tile row l.
static void gt_head_slopes_tile(const gt_head_slopes * d, int64_t t, float lse, int64_t v, int64_t n, float * l) {
    float all = gt_head_slope(d, t, 0);
    for (int64_t j = 1; j < d->named; j++) all += gt_head_slope(d, t, j);
    for (int64_t i = 0; i < n; i += GT_VL) { // the tile is whole vectors wide
        gt_store(l + i, gt_exp(gt_load(l + i) - lse) * -all);
    }
    for (int64_t j = 0; j < d->named; j++) {
        int32_t target = d->targets[t * d->named + j];
        if (target >= v && target < v + n) l[target - v] += gt_head_slope(d, t, j);
    }
}

// Threads share the vocabulary; tokens go by in chunks, in order.
static void gt_k_head_grad_w(const gt_call * c, int ith, int nth) {
    gt_head        d      = {.h = c->a[2], .w = c->a[3], .h2 = c->a[7], .w2 = c->a[8],
                             .exact = GT_CONSTANTS(head, c).exact};
    gt_head_slopes slopes = gt_head_slopes_of(&c->a[4], &c->a[6], &c->a[9], d.h.ne1);
    const float *  lse    = c->a[5].data;
    int64_t        lo, hi, tokens = d.h.ne1;
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
                gt_head_slopes_tile(&slopes, t0 + t, lse[t0 + t], v, n, s->tile + t * GT_HEAD_BLOCK);
            }
            if (c->a[0].data) gt_head_grad(&c->a[0], &d.h, d.exact, v, n, s);
            if (c->a[1].data) gt_head_grad(&c->a[1], &d.h2, d.exact, v, n, s);
        }
    }
}

// --- the largest logits --------------------------------------------------------------------------------------------

static gt_head gt_head_top_of(const gt_call * c) {
    return (gt_head){.h = c->a[1], .w = c->a[2], .h2 = c->a[3], .w2 = c->a[4], .c = c->a[1].ne1,
                     .exact = GT_CONSTANTS(head_top, c).exact};
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

int64_t gt_head_chunk(void) { return GT_HEAD_CHUNK; }

size_t gt_head_scratch_bytes(int64_t k, int64_t r, int64_t v, int64_t c, int64_t per, int back) {
    return (size_t) (gt_head_shards(v) * gt_head_shard_floats(k, r, c, per, back)) * sizeof(float);
}

size_t gt_head_top_scratch_bytes(int64_t v, int64_t c, int64_t many) {
    return (size_t) (gt_head_shards(v) * gt_head_top_floats(c, many)) * sizeof(float);
}

// head_targets_fault looks at the targets of n tokens, as many for each.
static const char * head_targets_fault(const gt_arg * targets, int64_t n) {
    GT_TRY(gt_ids_fault(targets, targets->ne0));
    if (n ? targets->ne0 < n || targets->ne0 % n : targets->ne0 != 0) return "not as many targets for each token";
    return NULL;
}

// head_slopes_fault looks at the derivatives by the targets' log-probabilities, and, with rest, at those.
static const char * head_slopes_fault(const gt_arg * targets, const gt_arg * coef, const gt_arg * logp, int64_t n) {
    int64_t m = targets->ne0 + (logp->data ? n : 0);
    GT_TRY(head_targets_fault(targets, n));
    GT_TRY(gt_vector_fault(coef, m));
    return logp->data ? gt_vector_fault(logp, m) : NULL;
}

static const char * head_scratch_fault(const gt_arg * s, int64_t n, size_t bytes) {
    if (!s->data && n) return "the output head's scratch is absent";
    if (s->type != GT_F32) return "an argument that must be f32 is not";
    if (s->ne1 != 1) return "the output head's scratch is not one row";
    return (size_t) s->ne0 * sizeof(float) < bytes ? "the output head's scratch is too small" : NULL;
}

// head_inputs_fault looks at the head's matrix and tokens, and at the second pair where there is one.
static const char * head_inputs_fault(const gt_arg * h, const gt_arg * w, const gt_arg * h2, const gt_arg * w2) {
    GT_TRY(gt_weights_fault(w));
    if (w->ne1 < 1 || w->ne0 < 1) return "the output head is empty";
    if (w->ne1 > INT32_MAX) return "the output head has more rows than a token number can name";
    GT_TRY(gt_f32_fault(h, w->ne0, h->ne1));
    if (!h2->data && !w2->data) return NULL;
    GT_TRY(gt_f32_fault(w2, w2->ne0, w->ne1));
    if (w2->ne0 < 1) return "the second pair is empty";
    return gt_f32_fault(h2, w2->ne0, h->ne1);
}

const char * gt_check_head(const gt_call * c) {
    const gt_arg * w = &c->a[4];
    int64_t        n = c->a[3].ne1, r = c->a[6].data ? c->a[7].ne0 : 0, rest = GT_CONSTANTS(head, c).rest;
    GT_TRY(head_inputs_fault(&c->a[3], w, &c->a[6], &c->a[7]));
    GT_TRY(head_targets_fault(&c->a[5], n));
    if (n > GT_HEAD_CHUNK) return "the output head takes at most gt_head_chunk tokens a call";
    int64_t per = rest + (n ? c->a[5].ne0 / n : 0);
    GT_TRY(gt_vector_fault(&c->a[0], n * per));
    GT_TRY(gt_vector_fault(&c->a[1], n));
    if (c->a[2].data) {
        GT_TRY(gt_f32_fault(&c->a[2], w->ne0, n));
        if (r) GT_TRY(gt_f32_fault(&c->a[8], r, n));
    }
    GT_TRY(head_scratch_fault(&c->a[9], n, gt_head_scratch_bytes(w->ne0, r, w->ne1, n, per, c->a[2].data != NULL)));
    return gt_outputs_fault(c, 1 << 0 | 1 << 1 | 1 << 2 | 1 << 8 | 1 << 9);
}

const char * gt_check_head_merge(const gt_call * c) { return gt_check_head(c); }

const char * gt_check_head_back(const gt_call * c) {
    const gt_arg * w = &c->a[3];
    int64_t        n = c->a[0].ne1;
    GT_TRY(gt_weights_fault(w));
    GT_TRY(gt_f32_fault(&c->a[0], w->ne0, n));
    GT_TRY(gt_f32_fault(&c->a[1], w->ne0, n));
    GT_TRY(head_slopes_fault(&c->a[4], &c->a[2], &c->a[8], n));
    GT_TRY(gt_outputs_fault(c, 1 << 0 | 1 << 5));
    if (!c->a[5].data) return NULL;
    GT_TRY(gt_f32_fault(&c->a[7], c->a[7].ne0, w->ne1));
    GT_TRY(gt_f32_fault(&c->a[5], c->a[7].ne0, n));
    return gt_f32_fault(&c->a[6], c->a[7].ne0, n);
}

const char * gt_check_head_grad_w(const gt_call * c) {
    const gt_arg *h = &c->a[2], *w = &c->a[3];
    GT_TRY(head_inputs_fault(h, w, &c->a[7], &c->a[8]));
    GT_TRY(gt_vector_fault(&c->a[5], h->ne1));
    GT_TRY(head_slopes_fault(&c->a[4], &c->a[6], &c->a[9], h->ne1));
    GT_TRY(gt_outputs_fault(c, 1 << 0 | 1 << 1));
    if (c->a[0].data) GT_TRY(gt_f32_fault(&c->a[0], w->ne0, w->ne1));
    if (c->a[1].data && !c->a[7].data) return "a gradient of the second pair is asked for, but there is none";
    return c->a[1].data ? gt_f32_fault(&c->a[1], c->a[8].ne0, w->ne1) : NULL;
}

const char * gt_check_head_top(const gt_call * c) {
    const gt_arg *h = &c->a[1], *w = &c->a[2];
    int64_t       n = h->ne1, many = n ? c->a[0].ne0 / n / 2 : 0;
    GT_TRY(head_inputs_fault(h, w, &c->a[3], &c->a[4]));
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
