// The derivatives of GT_OP_HEAD, whose names these are.
//
// GT_OP_HEAD_BACK dh[:,c] = scale·(Σ_i f_i(c)·(W_target_i(c) − e[:,c]) + g(c)·d[:,c]); dh2 likewise. f is coef; with
//                   rest, whose probability is what the targets' leave, f_i = coef_i − coef_rest·exp(logp_i −
//                   logp_rest). g is the derivative by the entropy. With a cap W_target has the factor 1 − tanh², from
//                   its logit: logp + lse.
//                   a0 out dh [K,C]; a1 in e; a2 in coef [m·C,1] or absent; a3 in W; a4 in targets; a5 out dh2 [r,C] or
//                   absent; a6 in e2; a7 in W2; a8 in logp [m·C,1] with rest or a cap, or absent; a9 in g [C,1] or
//                   absent; a10 in d; a11 in d2; a12 in lse [C,1] with a cap, or absent.
// GT_OP_HEAD_GRAD_W dW[v] += scale·Σ_c (Σ_i f_i(c)·(1[v=target_i(c)] − p_v(c)) − g(c)·p_v(c)·(log p_v(c) +
//                   H(c)))·h[:,c], and dW2 with h2; logits recomputed shard by shard.
//                   a0 inout dW f32 [K,V] or absent; a1 inout dW2 f32 [r,V] or absent; a2 h; a3 W; a4 targets; a5 lse;
//                   a6 coef or absent; a7 h2; a8 W2; a9 logp with rest, or absent; a10 g or absent; a11 H.
#ifndef GT_HEAD_BACK_INC_H
#define GT_HEAD_BACK_INC_H

#include "head.inc.h"

#ifdef GT_KERNELS

// The targets of each token with the loss's derivatives by their log-probabilities, by that of the rest, and by the
// entropy.
typedef struct gt_head_slopes {
    const int32_t * targets;
    const float *   coef, *logp; // coef is NULL where no derivative by a target arrives, logp without rest
    const float *   entropy, *h; // the derivative by the entropy, or NULL; the entropy
    int64_t         named;
    const float *   capped, *lse; // logp, and what makes bounded logits of it; NULL where they are not bounded
    float           cap;
} gt_head_slopes;

static gt_head_slopes gt_head_slopes_of(const gt_arg * targets, const gt_arg * coef, const gt_arg * logp,
                                        const gt_arg * entropy, const gt_arg * h, int64_t n) {
    return (gt_head_slopes){.targets = targets->data, .coef = coef->data, .logp = logp->data,
                            .entropy = entropy->data, .h = h ? h->data : NULL,
                            .named = n && coef->data ? targets->ne0 / n : 0};
}

// gt_head_slope is the derivative by target j of token t. The rest's probability is 1 less the targets', so that its
// derivative is theirs too: d log(1 - Σ p) / d log p_j = -p_j / rest.
GT_INLINE float gt_head_slope(const gt_head_slopes * d, int64_t t, int64_t j) {
    if (!d->logp) return d->coef[t * d->named + j];
    const float *coef = d->coef + t * (d->named + 1), *logp = d->logp + t * (d->named + 1);
    return coef[d->named] == 0 ? coef[j] : coef[j] - coef[d->named] * gt_exp1(logp[j] - logp[d->named]);
}

// gt_head_target_slope is the derivative of target j's bounded logit by the one that was not.
GT_INLINE float gt_head_target_slope(const gt_head_slopes * d, int64_t t, int64_t j) {
    if (!d->capped) return 1;
    float y = (d->capped[t * (d->named + (d->logp != NULL)) + j] + d->lse[t]) / d->cap;
    return (1 - y) * (1 + y);
}

// gt_head_back_row writes dh = scale·(Σ_j slope_j·(W_target_j - e) + g·d), or NaN for a target outside the vocabulary,
// as its logp is. row is a work area.
static void gt_head_back_row(const gt_arg * dh, const gt_arg * e, const gt_arg * w, const gt_arg * lean, int64_t t,
                             const gt_head_slopes * d, float scale, float * row) {
    gt_store_type type = gt_type_of(w->type);
    float *       to = gt_head_row(dh, t), *mean = gt_head_row(e, t), *by = d->entropy ? gt_head_row(lean, t) : NULL;
    float         g = d->entropy ? scale * d->entropy[t] : 0;
    for (int64_t i = 0; i < w->ne0; i++) to[i] = by ? g * by[i] : 0;
    for (int64_t j = 0; j < d->named; j++) {
        int32_t target = d->targets[t * d->named + j];
        float   slope  = scale * gt_head_slope(d, t, j), near = gt_head_target_slope(d, t, j);
        if (target < 0 || target >= w->ne1) slope = NAN;
        else gt_unpack_range(&type, (const uint8_t *) w->data + target * w->nb1, 0, w->ne0, row);
        for (int64_t i = 0; i < w->ne0; i++) to[i] += slope * (near * row[i] - mean[i]);
    }
}

static void gt_k_head_back(const gt_call * c, int ith, int nth) {
    const gt_head_constants constants = GT_CONSTANTS(head, c);
    const gt_arg            none = {0};
    gt_head_slopes d = gt_head_slopes_of(&c->a[4], &c->a[2], constants.rest ? &c->a[8] : &none, &c->a[9], NULL,
                                         c->a[0].ne1);
    if (constants.cap > 0) {
        d.cap = (float) (constants.cap * constants.scale), d.capped = c->a[8].data, d.lse = c->a[12].data;
    }
    float          scale = (float) constants.scale;
    int64_t        k = c->a[3].ne0, k2 = c->a[5].data ? c->a[7].ne0 : 0, lo, hi;
    gt_share(c->a[0].ne1, 1, ith, nth, &lo, &hi);
    if (lo == hi) return;
    float * row = gt_scratch((size_t) (k > k2 ? k : k2) * sizeof(float));
    for (int64_t t = lo; t < hi; t++) {
        gt_head_back_row(&c->a[0], &c->a[1], &c->a[3], &c->a[10], t, &d, scale, row);
        if (c->a[5].data) gt_head_back_row(&c->a[5], &c->a[6], &c->a[7], &c->a[11], t, &d, scale, row);
    }
}

// gt_head_grad adds scale·Σ_c g[c,v]·x[:,c] to rows [v, v+n) of dw; g is in the tile.
static void gt_head_grad(const gt_head * d, const gt_arg * dw, const gt_arg * x, int64_t v, int64_t n,
                         gt_head_area * s) {
    gt_arg     rows = gt_head_rows(dw, v);
    gt_product p    = {.c = rows.data, .ldc = dw->nb1 / 4, .tokens = n, .cols = dw->ne0, .acc = 1, .n_terms = 1};
    p.term[0]       = (gt_term){{GT_A_COLS, (const uint8_t *) s->tile, GT_HEAD_BLOCK * sizeof(float), NULL},
                          {gt_type_of(GT_F32), x->data, x->nb1, 0}, x->ne1,
                          GT_HAS_BF16 && !d->exact ? GT_FORMAT_BF16 : GT_FORMAT_F32, d->scale};
    gt_multiply(&p, 0, gt_blocks(n), 0, dw->ne0, &s->area);
}

// gt_head_slopes_tile puts the derivatives by the logits of rows [v, v+n) in the place of the logits (bounded ones, if
// they are), of token t and tile row l.
static void gt_head_slopes_tile(const gt_head_slopes * d, int64_t t, float lse, int64_t v, int64_t n, float * l) {
    float all = d->named ? gt_head_slope(d, t, 0) : 0;
    for (int64_t j = 1; j < d->named; j++) all += gt_head_slope(d, t, j);
    for (int64_t i = 0; i < n; i += GT_VL) { // the tile is whole vectors wide
        gt_vf x = gt_load(l + i) - lse, p = gt_exp(x), g = p * -all;
        if (d->entropy) g -= p * (gt_max(x, gt_splat(GT_HEAD_FAR)) + d->h[t]) * d->entropy[t];
        gt_store(l + i, g);
    }
    for (int64_t j = 0; j < d->named; j++) {
        int32_t target = d->targets[t * d->named + j];
        if (target >= v && target < v + n) l[target - v] += gt_head_slope(d, t, j);
    }
}

// Threads share the vocabulary; tokens go by in chunks, in order.
static void gt_k_head_grad_w(const gt_call * c, int ith, int nth) {
    const gt_head_constants constants = GT_CONSTANTS(head, c);
    float          slopes_of_cap[GT_HEAD_BLOCK];
    gt_head        d      = {.h = c->a[2], .w = c->a[3], .h2 = c->a[7], .w2 = c->a[8],
                             .exact = constants.exact, .scale = (float) constants.scale,
                             .cap = (float) (constants.cap * constants.scale)};
    gt_head_slopes slopes = gt_head_slopes_of(&c->a[4], &c->a[6], &c->a[9], &c->a[10], &c->a[11], d.h.ne1);
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
                float * l = s->tile + t * GT_HEAD_BLOCK;
                if (d.cap > 0) gt_head_cap_slopes(&d, l, n, slopes_of_cap);
                gt_head_slopes_tile(&slopes, t0 + t, lse[t0 + t], v, n, l);
                if (d.cap > 0) gt_head_by(l, slopes_of_cap, n);
            }
            if (c->a[0].data) gt_head_grad(&d, &c->a[0], &d.h, v, n, s);
            if (c->a[1].data) gt_head_grad(&d, &c->a[1], &d.h2, v, n, s);
        }
    }
}

#endif

#ifdef GT_CHECKS

// head_slopes_fault looks at the derivatives by the targets' log-probabilities, with rest at those, and at the
// derivatives by the entropy.
static const char * head_slopes_fault(const gt_call * c, const gt_arg * targets, const gt_arg * coef,
                                      const gt_arg * logp, const gt_arg * entropy, int capped, int64_t n) {
    const int rest = GT_CONSTANTS(head, c).rest;
    int64_t   m = targets->ne0 + (rest ? n : 0);
    GT_TRY(head_targets_fault(targets, n));
    if (!coef->data && !entropy->data && n) return "no derivatives arrive at the output head";
    if (coef->data) GT_TRY(gt_vector_fault(coef, m));
    if (entropy->data) GT_TRY(gt_vector_fault(entropy, n));
    if (rest && entropy->data) return "the output head's rest and its entropy are not given together";
    if (rest || capped) return gt_vector_fault(logp, m);
    return logp->data ? "log-probabilities are given, and there is neither a rest nor a bound" : NULL;
}

const char * gt_check_head_back(const gt_call * c) {
    const gt_arg * w = &c->a[3];
    int64_t        n = c->a[0].ne1;
    int            capped = GT_CONSTANTS(head, c).cap > 0;
    GT_TRY(gt_weights_fault(w));
    GT_TRY(head_scale_fault(GT_CONSTANTS(head, c).scale, GT_CONSTANTS(head, c).cap));
    GT_TRY(gt_f32_fault(&c->a[0], w->ne0, n));
    GT_TRY(gt_f32_fault(&c->a[1], w->ne0, n));
    GT_TRY(head_slopes_fault(c, &c->a[4], &c->a[2], &c->a[8], &c->a[9], capped, n));
    if (capped) GT_TRY(gt_vector_fault(&c->a[12], n));
    if (c->a[9].data) GT_TRY(gt_f32_fault(&c->a[10], w->ne0, n));
    GT_TRY(gt_outputs_fault(c, 1 << 0 | 1 << 5));
    if (!c->a[5].data) return NULL;
    GT_TRY(gt_f32_fault(&c->a[7], c->a[7].ne0, w->ne1));
    GT_TRY(gt_f32_fault(&c->a[5], c->a[7].ne0, n));
    if (c->a[9].data) GT_TRY(gt_f32_fault(&c->a[11], c->a[7].ne0, n));
    return gt_f32_fault(&c->a[6], c->a[7].ne0, n);
}

const char * gt_check_head_grad_w(const gt_call * c) {
    const gt_arg *h = &c->a[2], *w = &c->a[3];
    GT_TRY(head_inputs_fault(h, w, &c->a[7], &c->a[8]));
    GT_TRY(gt_vector_fault(&c->a[5], h->ne1));
    GT_TRY(head_scale_fault(GT_CONSTANTS(head, c).scale, GT_CONSTANTS(head, c).cap));
    GT_TRY(head_slopes_fault(c, &c->a[4], &c->a[6], &c->a[9], &c->a[10], 0, h->ne1));
    if (c->a[10].data) GT_TRY(gt_vector_fault(&c->a[11], h->ne1));
    GT_TRY(gt_outputs_fault(c, 1 << 0 | 1 << 1));
    if (c->a[0].data) GT_TRY(gt_f32_fault(&c->a[0], w->ne0, w->ne1));
    if (c->a[1].data && !c->a[7].data) return "a gradient of the second pair is asked for, but there is none";
    return c->a[1].data ? gt_f32_fault(&c->a[1], c->a[8].ne0, w->ne1) : NULL;
}

#endif

#endif
