// The output head and the softmax over the vocabulary, without stored logits, in the manner of flash attention: a block
// of the vocabulary at a time, logits l, then p = exp(l - m) under a running shift m, then Σ p and Σ p·W. At the end
// lse = m + log Σ p. m follows the maximum lazily: it moves only when a logit exceeds it by GT_HEAD_SLACK, so sums are
// rarely rescaled and p stays far from overflow.
//
// GT_OP_HEAD For each of C counted tokens, over the vocabulary v in [0,V): l_v = scale·(W_v·h + W2_v·h2); lse = log Σ
//                   exp l_v; with a cap scale·cap·tanh((W_v·h + W2_v·h2)/cap);
//                   of each of its n targets logp = l_target − lse; with rest also, behind them, the log of the sum of
//                   the softmax over all that is no target; e = Σ softmax(l)_v W_v (and e2 with W2): the softmax's
//                   mean row, from which GT_OP_HEAD_BACK makes the gradient for any coefficients without a second pass
//                   over the vocabulary; with a cap each W_v has the factor 1 − tanh². m is n, with rest n + 1. A
//                   token's targets differ from each other.
//                   a0 out logp [m·C,1]; a1 out lse [C,1]; a2 out e [K,C] or absent (no backward wanted); a3 in h
//                   [K,C] f32;
//                   a4 in W [K,V]; a5 in targets i32 [n·C,1]; a6 in h2 [r,C] or absent; a7 in W2 f32 [r,V]; a8 out e2
//                   [r,C];
//                   a9 scratch, gt_head_scratch_bytes(...). exact: f32 products.
//                   With entropy, p = softmax(l): a10 out H = -Σ p_v log p_v [C,1]; where the mean rows are wanted, a11
//                   out d = -Σ p_v (log p_v + H) W_v [K,C], which is dH/dh over scale, and a12 out d2 [r,C] with W2.
//                   Not together with rest.
//                   The vocabulary is cut into shards whose number depends on shapes alone; GT_OP_HEAD writes each
//                   shard's maximum, sum and mean row into the scratch, GT_OP_HEAD_MERGE (same arguments) joins them
//                   in order. At most gt_head_chunk() tokens a call; more are done by further pairs of calls on
//                   sub-ranges.
#ifndef GT_HEAD_INC_H
#define GT_HEAD_INC_H

#include "kernels.h"
#include "head_shape.h"
#include "softcap.inc.h"

typedef struct gt_head_constants {
    bool   exact, rest, entropy;
    double scale;
    double cap; // which logits stay within before they are scaled; 0: they may be any
} gt_head_constants;

#ifdef GT_KERNELS

#define GT_HEAD_SLACK 8.0f
// exp of less is 0 in f32: a logit so far below the shift, or at -infinity, adds nothing to p·(l - m).
#define GT_HEAD_FAR (-110.0f)

// The work area of one thread; the packed tokens follow it.
typedef struct gt_head_area {
    gt_area area;
    float   tile[GT_HEAD_CHUNK * GT_HEAD_BLOCK] __attribute__((aligned(64))); // logits, then probabilities, [c][v]
    float   probs[GT_HEAD_CHUNK * GT_HEAD_BLOCK] __attribute__((aligned(64))); // probabilities, packed
    float * lean; // with entropy p·(l - m) beside the tile's probabilities, [c][v]; else NULL
    float   packed[] __attribute__((aligned(64)));
} gt_head_area;

// The head as its kernels see it: tokens [0, c) of h.
typedef struct gt_head {
    gt_arg  h, w, h2, w2;
    int64_t c;
    int     exact, entropy;
    float   scale;
    float   cap; // of scaled logits; 0: none
    float * logits; // where they are wanted: [wide, c], with -infinity behind each token's last
    int64_t wide;
} gt_head;

static gt_head_area * gt_head_begin(const gt_head * d) {
    size_t         packed = d->exact ? 0 : (gt_k_packed_bytes(d->h.ne0, d->c) + 63) / 64 * 64;
    gt_head_area * s      = gt_scratch(sizeof(gt_head_area) + packed + (d->entropy ? sizeof s->tile : 0));
    s->lean               = d->entropy ? s->packed + packed / sizeof(float) : NULL;
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
    p.term[0] = gt_term_of(&h, &w, 1, d->scale);
    if (d->h2.data) p.term[1] = gt_term_of(&d->h2, &w2, 1, d->scale);
    gt_multiply(&p, 0, gt_blocks(d->c), 0, n, &s->area);
    if (!(d->cap > 0)) return;
    const float by = 1 / d->cap;
    for (int64_t t = 0; t < d->c; t++) {
        float * l = s->tile + t * GT_HEAD_BLOCK;
        for (int64_t i = 0; i < n; i += GT_VL) gt_store(l + i, gt_softcap(gt_load(l + i), d->cap, by));
    }
}

// gt_head_cap_slopes gives the derivatives of bounded logits by those that were not, for n of them from l on.
static void gt_head_cap_slopes(const gt_head * d, const float * l, int64_t n, float * slopes) {
    const float by = 1 / d->cap;
    for (int64_t i = 0; i < n; i += GT_VL) // what is behind the last row may be any number, or -infinity
        gt_store(slopes + i, gt_softcap_slope(gt_max(gt_load(l + i), gt_splat(-d->cap)), by));
}

GT_INLINE void gt_head_by(float * x, const float * slopes, int64_t n) {
    for (int64_t i = 0; i < n; i += GT_VL) gt_store(x + i, gt_load(x + i) * gt_load(slopes + i));
}

// gt_head_mean adds Σ_v p_v·W_v to the rows e, from the p in a tile; the first block writes them.
static void gt_head_mean(const gt_head * d, const gt_arg * matrix, int packed, float * tile, int64_t v, int64_t n,
                         float * e, int first, gt_head_area * s) {
    gt_product p     = {.c = e, .ldc = matrix->ne0, .tokens = d->c, .cols = matrix->ne0, .acc = !first, .n_terms = 1};
    gt_arg     probs = {.data = tile, .ne0 = n, .ne1 = d->c, .nb1 = GT_HEAD_BLOCK * sizeof(float)};
    gt_arg     w     = gt_head_rows(matrix, v);
    if (packed) {
        gt_pack(tile, GT_HEAD_BLOCK, n, d->c, 0, gt_blocks(d->c), s->probs);
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

// gt_head_lean is gt_head_exps that also puts exp(l - m)·(l - m) into lean, and its sum into *all.
GT_INLINE float gt_head_lean(float * l, float * lean, int64_t n, float m, float * all) {
    gt_vf part = {0}, part_lean = {0};
    for (int64_t i = 0; i < n; i += GT_VL) {
        gt_vf x = gt_load(l + i) - m, p = gt_exp(x), px = p * gt_max(x, gt_splat(GT_HEAD_FAR));
        gt_store(l + i, p);
        gt_store(lean + i, px);
        part += p, part_lean += px;
    }
    *all = gt_hsum(part_lean);
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

// gt_head_lower moves n numbers Σ p·(l - m)·W, beside Σ p·W, to a shift that is higher by rise and scales them by f.
GT_INLINE void gt_head_lower(float * lean, const float * e, int64_t n, float f, float rise) {
    for (int64_t i = 0; i < n; i++) lean[i] = f * (lean[i] - rise * e[i]);
}

// gt_head_rescale moves token t's sums and rows from under the shift was to under the one that it has now.
static void gt_head_rescale(const gt_head * d, const gt_head_shard * o, int64_t t, int rest, int back, float was,
                            float f) {
    int64_t k = d->w.ne0, r = d->h2.data ? d->w2.ne0 : 0;
    float   rise = o->m[t] - was;
    if (d->entropy) {
        gt_head_lower(o->lean + t, o->sum + t, 1, f, rise);
        if (back) gt_head_lower(o->f + t * k, o->e + t * k, k, f, rise);
        if (back) gt_head_lower(o->f2 + t * r, o->e2 + t * r, r, f, rise);
    }
    o->sum[t] *= f;
    if (rest) o->outs[(t + 1) * o->per - 1] *= f;
    if (back) gt_scale_row(o->e + t * k, k, f), gt_scale_row(o->e2 + t * r, r, f);
}

// gt_head_shard_run computes one shard, vocabulary rows [v0, v1), for named targets a token.
// One copy of it serves all kernels, so that sums are the same to the bit.
static __attribute__((noinline)) void gt_head_shard_run(const gt_head * d, const int32_t * targets, int64_t named,
                                                        int rest, int back, int64_t v0, int64_t v1,
                                                        const gt_head_shard * o, gt_head_area * s) {
    int64_t c = d->c, per = o->per;
    float   slopes[GT_HEAD_BLOCK];
    for (int64_t t = 0; t < c; t++) {
        o->m[t] = -INFINITY, o->sum[t] = 0;
        if (rest) o->outs[t * per + named] = 0;
        if (d->entropy) o->lean[t] = 0;
    }
    for (int64_t v = v0; v < v1; v += GT_HEAD_BLOCK) {
        int64_t n = v1 - v < GT_HEAD_BLOCK ? v1 - v : GT_HEAD_BLOCK, wide = (n + GT_VL - 1) / GT_VL * GT_VL;
        gt_head_logits(d, v, n, s);
        for (int64_t t = 0; t < c; t++) {
            float *         l = s->tile + t * GT_HEAD_BLOCK, *own = o->outs + t * per;
            const int32_t * ids = targets + t * named;
            for (int64_t i = n; i < wide; i++) l[i] = -INFINITY;
            if (back && d->cap > 0) gt_head_cap_slopes(d, l, wide, slopes);
            if (d->logits) memcpy(d->logits + t * d->wide + v, l, (size_t) wide * sizeof(float));
            float was = o->m[t], f = gt_head_raise(l, wide, o->m + t, v == v0);
            if (f != 1 && v > v0) gt_head_rescale(d, o, t, rest, back, was, f);
            gt_head_named(l, ids, named, v, n, own, rest);
            float part, lean = 0;
            if (d->entropy) part = gt_head_lean(l, s->lean + t * GT_HEAD_BLOCK, wide, o->m[t], &lean);
            else part = gt_head_exps(l, wide, o->m[t]);
            if (rest) {
                own[named] += part;
                part += gt_head_back_in(l, ids, named, v, n, own, o->m[t]);
            }
            o->sum[t] += part;
            if (d->entropy) o->lean[t] += lean;
            if (!back || !(d->cap > 0)) continue;
            gt_head_by(l, slopes, wide);
            if (d->entropy) gt_head_by(s->lean + t * GT_HEAD_BLOCK, slopes, wide);
        }
        if (!back) continue;
        for (int i = 0; i <= d->entropy; i++) {
            float * tile = i ? s->lean : s->tile;
            gt_head_mean(d, &d->w, !d->exact, tile, v, n, i ? o->f : o->e, v == v0, s);
            if (d->h2.data) gt_head_mean(d, &d->w2, 0, tile, v, n, i ? o->f2 : o->e2, v == v0, s);
        }
    }
}

static gt_head gt_head_of(const gt_call * c) {
    const gt_head_constants k = GT_CONSTANTS(head, c);
    return (gt_head){.h = c->a[3], .w = c->a[4], .h2 = c->a[6], .w2 = c->a[7], .c = c->a[3].ne1, .exact = k.exact,
                     .entropy = k.entropy, .scale = (float) k.scale, .cap = (float) (k.cap * k.scale)};
}

static void gt_k_head(const gt_call * c, int ith, int nth) {
    gt_head d = gt_head_of(c);
    if (d.c == 0 || d.w.ne1 == 0) return;
    int     shards = gt_head_shards(d.w.ne1), back = c->a[2].data != NULL, rest = GT_CONSTANTS(head, c).rest;
    int64_t named = c->a[5].ne0 / d.c, lo, hi;
    int64_t k = d.w.ne0, r = d.h2.data ? d.w2.ne0 : 0, per = named + rest;
    int64_t size = gt_head_shard_floats(k, r, d.c, per, back, d.entropy);
    gt_share(shards, 1, ith, nth, &lo, &hi);
    if (lo == hi) return;
    gt_head_area * s = gt_head_begin(&d);
    for (int64_t i = lo; i < hi; i++) {
        int64_t v0, v1;
        gt_share(d.w.ne1, GT_UNIT, (int) i, shards, &v0, &v1);
        gt_head_shard o = gt_head_shard_at((float *) c->a[9].data + i * size, k, r, d.c, per, d.entropy);
        gt_head_shard_run(&d, c->a[5].data, named, rest, back, v0, v1, &o, s);
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

// gt_head_join_lean writes to[i] = -Σ_shards share[s]·(f_s[i] + by[s]·e_s[i]).
GT_INLINE void gt_head_join_lean(float * to, const float * f, const float * e, int64_t n, int64_t shard_floats,
                                 int shards, const float * share, const float * by) {
    for (int64_t i = 0; i < n; i++) to[i] = 0;
    for (int s = 0; s < shards; s++, f += shard_floats, e += shard_floats) {
        for (int64_t i = 0; i < n; i++) to[i] -= share[s] * (f[i] + by[s] * e[i]);
    }
}

// gt_head_row is row t of an argument.
static inline float * gt_head_row(const gt_arg * a, int64_t t) {
    return (float *) ((char *) a->data + t * a->nb1);
}

// gt_head_entropy gives token t's entropy: from each shard's sums under its own shift m, log p = l - m + (m - lse).
static double gt_head_entropy(const gt_head_shard * o, int64_t t, int64_t size, int shards, double lse) {
    double h = 0;
    for (int s = 0; s < shards; s++) {
        double m = o->m[s * size + t];
        h -= exp(m - lse) * (o->lean[s * size + t] + (m - lse) * o->sum[s * size + t]);
    }
    return h;
}

// gt_head_merge_entropy gives token t's entropy and, with back, its rows d.
static void gt_head_merge_entropy(const gt_call * c, const gt_head_shard * o, int64_t k, int64_t r, int64_t t,
                                  int64_t size, int shards, double lse, const float * share) {
    double h = gt_head_entropy(o, t, size, shards, lse);
    ((float *) c->a[10].data)[t] = (float) h;
    if (!c->a[11].data) return;
    float by[GT_HEAD_SHARDS];
    for (int s = 0; s < shards; s++) by[s] = (float) (o->m[s * size + t] - lse + h);
    gt_head_join_lean(gt_head_row(&c->a[11], t), o->f + t * k, o->e + t * k, k, size, shards, share, by);
    if (r) gt_head_join_lean(gt_head_row(&c->a[12], t), o->f2 + t * r, o->e2 + t * r, r, size, shards, share, by);
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
    int64_t per = named + rest, size = gt_head_shard_floats(k, r, n, per, back, d.entropy);
    gt_head_shard o   = gt_head_shard_at(c->a[9].data, k, r, n, per, d.entropy);
    float *       lse = c->a[1].data;
    gt_share(n, 1, ith, nth, &lo, &hi);
    for (int64_t t = lo; t < hi; t++) {
        const float * own  = o.outs + t * per;
        float *       logp = (float *) c->a[0].data + t * per, share[GT_HEAD_SHARDS];
        double        total = gt_head_total(o.m + t, size, n, shards, share), left = 0;
        lse[t] = (float) total;
        for (int64_t j = 0; j < named; j++) { // a target outside the vocabulary has no probability
            int s   = gt_head_shard_of(((const int32_t *) c->a[5].data)[t * named + j], d.w.ne1, shards);
            logp[j] = s < 0 ? NAN : (float) (own[s * size + j] - total);
        }
        for (int s = 0; rest && s < shards; s++) left += own[s * size + named] * exp(o.m[s * size + t] - total);
        if (rest) logp[named] = (float) log(left);
        if (d.entropy) gt_head_merge_entropy(c, &o, k, r, t, size, shards, total, share);
        if (!back) continue;
        gt_head_join(gt_head_row(&c->a[2], t), o.e + t * k, k, size, shards, share);
        if (r) gt_head_join(gt_head_row(&c->a[8], t), o.e2 + t * r, r, size, shards, share);
    }
}

#endif

#ifdef GT_CHECKS

int64_t gt_head_chunk(void) { return GT_HEAD_CHUNK; }

size_t gt_head_scratch_bytes(int64_t k, int64_t r, int64_t v, int64_t c, int64_t per, int back, int entropy) {
    return (size_t) (gt_head_shards(v) * gt_head_shard_floats(k, r, c, per, back, entropy)) * sizeof(float);
}

// head_targets_fault looks at the targets of n tokens, as many for each.
static const char * head_targets_fault(const gt_arg * targets, int64_t n) {
    GT_TRY(gt_ids_fault(targets, targets->ne0));
    if (n ? targets->ne0 < n || targets->ne0 % n : targets->ne0 != 0) return "not as many targets for each token";
    return NULL;
}

static const char * head_scale_fault(double scale, double cap) {
    if (cap != 0 && (cap_fault(cap) || !((float) (cap * scale) > 0)))
        return "what logits stay within is no positive number";
    return (float) scale > 0 && isfinite((float) scale) ? NULL : "the scale of logits is no positive number";
}

// head_lean_fault looks at what GT_OP_HEAD writes where the entropy is wanted.
static const char * head_lean_fault(const gt_call * c, int64_t k, int64_t r, int64_t n) {
    if (GT_CONSTANTS(head, c).rest) return "the output head's rest and its entropy are not given together";
    GT_TRY(gt_vector_fault(&c->a[10], n));
    if (!c->a[2].data) return c->a[11].data || c->a[12].data ? "rows of the entropy without mean rows" : NULL;
    GT_TRY(gt_f32_fault(&c->a[11], k, n));
    return r ? gt_f32_fault(&c->a[12], r, n) : NULL;
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
    int            entropy = GT_CONSTANTS(head, c).entropy, back = c->a[2].data != NULL;
    GT_TRY(head_scale_fault(GT_CONSTANTS(head, c).scale, GT_CONSTANTS(head, c).cap));
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
    GT_TRY(head_scratch_fault(&c->a[9], n, gt_head_scratch_bytes(w->ne0, r, w->ne1, n, per, back, entropy)));
    if (entropy) GT_TRY(head_lean_fault(c, w->ne0, r, n));
    return gt_outputs_fault(c, 1 << 0 | 1 << 1 | 1 << 2 | 1 << 8 | 1 << 9 | 1 << 10 | 1 << 11 | 1 << 12);
}

const char * gt_check_head_merge(const gt_call * c) { return gt_check_head(c); }

#endif

#endif
