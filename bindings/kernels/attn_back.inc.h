// Attention's backward passes; included by attention.inc.h. With P = exp(S − lse) and dP = dO·Vᵀ:
//   dS = P∘(dP − δ), δ = Σ_d dO∘O;  dQ = scale·dS·K;  dK = scale·dSᵀ·Q;  dV = Pᵀ·dO
// (FlashAttention, Dao et al. 2022, algorithm 4). Queries and keys are two passes, so that every gradient has one owner
// and needs no second copy; the price is that S and dP are computed in both. A sink is a column of S whose value is
// zero, so that its dP is 0: d sink = −Σ_t exp(sink − lse)·δ; the others know of it by lse.
#ifndef GT_ATTN_BACK_INC_H
#define GT_ATTN_BACK_INC_H

static void gt_k_attn_delta(const gt_call * c, int ith, int nth) {
    const gt_attn_constants k = GT_CONSTANTS(attn, c);
    const int64_t n_head = k.n_head, d = k.d;
    int64_t       lo, hi;
    gt_share(c->a[1].ne1, 1, ith, nth, &lo, &hi);
    for (int64_t t = lo; t < hi; t++) {
        float * delta = gt_row(gt_rows_of(&c->a[0], 0), t);
        for (int64_t h = 0; h < n_head; h++) {
            const float * o   = gt_row(gt_rows_of(&c->a[1], h * d), t);
            const float * go  = gt_row(gt_rows_of(&c->a[2], h * d), t);
            gt_vf         sum = gt_splat(0);
            int64_t       i   = 0;
            for (; i + GT_VL <= d; i += GT_VL) sum += gt_load(o + i) * gt_load(go + i);
            if (i < d) sum += gt_load_n(o + i, (int) (d - i)) * gt_load_n(go + i, (int) (d - i));
            delta[h] = gt_hsum(sum);
        }
    }
}

// Lanes are heads.
static void gt_k_attn_sink_grad(const gt_call * c, int ith, int nth) {
    const gt_arg * a = c->a;
    int64_t        lo, hi;
    gt_share(a[0].ne0, GT_VL, ith, nth, &lo, &hi);
    for (int64_t h = lo; h < hi; h += GT_VL) {
        const int   n    = hi - h < GT_VL ? (int) (hi - h) : GT_VL;
        float *     d    = (float *) a[0].data + h;
        const gt_vf sink = gt_load_n((const float *) a[1].data + h, n);
        gt_vf       sum  = gt_splat(0);
        for (int64_t t = 0; t < a[2].ne1; t++) {
            const gt_vf lse = gt_load_n(gt_row(gt_rows_of(&a[2], h), t), n);
            sum += gt_exp(sink - lse) * gt_load_n(gt_row(gt_rows_of(&a[3], h), t), n);
        }
        gt_store_n(d, gt_load_n(d, n) - sum, n);
    }
}

// --- dQ --------------------------------------------------------------------------------------------------------------

// gt_attn_grad turns n rows of one vector of scores s and of dP into dS (in dp). lse (in units of log 2) and delta are
// one number a lane: queries are lanes.
static void gt_attn_grad(int fast, const float * s, float * dp, int64_t lw, int64_t n, gt_vf lse, gt_vf delta) {
    int64_t k = 0;
    for (; k + 2 <= n; k += 2) {
        const gt_vf p0 = gt_attn_exp2(gt_load(s + k * lw) - lse), p1 = gt_attn_exp2(gt_load(s + (k + 1) * lw) - lse);
        const gt_vf d0 = p0 * (gt_load(dp + k * lw) - delta), d1 = p1 * (gt_load(dp + (k + 1) * lw) - delta);
        gt_attn_put(fast, dp, lw, k, d0, d1, 1);
    }
    if (k < n) {
        const gt_vf d0 = gt_attn_exp2(gt_load(s + k * lw) - lse) * (gt_load(dp + k * lw) - delta);
        gt_attn_put(fast, dp, lw, k, d0, d0, 0);
    }
}

// gt_attn_capped bounds scores where they are bounded, and takes dP - delta through the bound: delta is then done with.
static gt_vf gt_attn_capped(const gt_attn * at, float * s, float * dp, int64_t lw, int64_t n, gt_vf delta) {
    if (!(at->cap > 0)) return delta;
    gt_attn_cap(at, s, lw, n);
    for (int64_t k = 0; k < n; k++) {
        const gt_vf slope = gt_softcap_slope(gt_load(s + k * lw), 1 / at->cap);
        gt_store(dp + k * lw, (gt_load(dp + k * lw) - delta) * slope);
    }
    return gt_splat(0);
}

static void gt_attn_back_q_tile(const gt_call * c, const gt_attn * at, const gt_attn_vecs * t, const uint64_t * desc) {
    _Alignas(64) float q[GT_ATTN_TILE], go[GT_ATTN_TILE], dq[GT_ATTN_TILE];
    _Alignas(64) float s[GT_ATTN_SCORES], dp[GT_ATTN_SCORES], room[GT_ATTN_ROOM];
    (void) desc;
    const gt_arg * a  = c->a;
    const int64_t  lw = at->lw, d = at->d;
    const gt_rows  key = gt_rows_of(&a[2], t->kv * d), val = gt_rows_of(&a[3], t->kv * d);
    gt_vf          lse[GT_ATTN_NV], delta[GT_ATTN_NV];
    for (int v = 0; v < t->n; v++) {
        gt_rows in = gt_rows_of(&a[1], t->head[v] * d), grad = gt_rows_of(&a[6], t->head[v] * d);
        gt_attn_pack(at->fast, q + v * GT_VL, lw, gt_row(in, t->first[v]), in.stride, t->count[v], d,
                     at->scale * GT_LOG2E);
        gt_attn_pack(at->fast, go + v * GT_VL, lw, gt_row(grad, t->first[v]), grad.stride, t->count[v], d, 1);
        lse[v]   = gt_attn_lanes(&a[4], t->head[v], t->first[v], t->count[v]) * gt_splat(GT_LOG2E);
        delta[v] = gt_attn_lanes(&a[5], t->head[v], t->first[v], t->count[v]);
    }
    memset(dq, 0, (size_t) (lw * d) * sizeof(float));
    for (gt_attn_run r = GT_ATTN_RUN; gt_attn_keys_run(at, t, &r);) {
        for (int64_t b0 = r.lo, b1; b0 < r.hi; b0 = b1) {
            int j;
            b1              = gt_attn_keys_block(at, t, b0, r.hi, &j);
            const int64_t n = b1 - b0, x = j * GT_VL;
            // The room holds the keys for the sum and, in the fast mode, where they take half of it, one dot's rows at
            // a time.
            const gt_rows k  = gt_attn_for_sum(at, key, b0, n, room);
            const gt_rows kd = at->fast ? gt_attn_for_dot(at, key, b0, n, room + GT_ATTN_ROOM / 2) : k;
            gt_attn_dot(at->fast, t->n - j, kd.p, kd.stride, n, at->dots, q + x, s + x, lw);
            const gt_rows vd = gt_attn_for_dot(at, val, b0, n, room + GT_ATTN_ROOM / 2);
            gt_attn_dot(at->fast, t->n - j, vd.p, vd.stride, n, at->dots, go + x, dp + x, lw);
            for (int v = j; v < t->n; v++) {
                float * sv = s + v * GT_VL, *dv = dp + v * GT_VL;
                if (at->drop) {
                    gt_vi kept[GT_ATTN_BLOCK];
                    gt_attn_kept(at, t->head[v], b0, n, t->first[v], kept);
                    gt_attn_drop_grad(at, dv, lw, n, kept);
                }
                const gt_vf less = gt_attn_capped(at, sv, dv, lw, n, delta[v]);
                gt_attn_mask(at, sv, lw, b0, b1, t->first[v], r.shift, 0);
                gt_attn_grad(at->fast, sv, dv, lw, n, lse[v], less);
            }
            gt_attn_sum(at->fast, t->n - j, k.p, k.stride, gt_attn_sums(at, n), d, dp + x, dq + x, lw, NULL);
        }
    }
    for (int v = 0; v < t->n; v++) {
        gt_rows out = gt_rows_of(&a[0], t->head[v] * d);
        gt_attn_unpack(gt_row(out, t->first[v]), out.stride, dq + v * GT_VL, lw, t->count[v], d, gt_splat(at->scale));
    }
}

static void gt_k_attn_back_q(const gt_call * c, int ith, int nth) {
    gt_attn at = gt_attn_of(c, &c->a[7], &c->a[8]);
    gt_attn_each(c, &at, 0, ith, nth, gt_attn_back_q_tile);
}

// --- dK and dV -------------------------------------------------------------------------------------------------------

// gt_attn_grad_rows turns n rows of one vector of scores s and of dP into P (in s) and dS (in dp), with queries as
// rows: lse and delta are one number a row, from row t0 on.
static void gt_attn_grad_rows(int fast, float * s, float * dp, int64_t lw, int64_t n, gt_rows lse, gt_rows delta,
                              int64_t t0) {
    for (int64_t k = 0; k < n; k += 2) {
        const int     two = k + 1 < n;
        const int64_t k1  = k + two;
        const gt_vf   p0  = gt_attn_exp2(gt_load(s + k * lw) - gt_splat(gt_row(lse, t0 + k)[0] * GT_LOG2E));
        const gt_vf   p1  = gt_attn_exp2(gt_load(s + k1 * lw) - gt_splat(gt_row(lse, t0 + k1)[0] * GT_LOG2E));
        const gt_vf   d0  = p0 * (gt_load(dp + k * lw) - gt_splat(gt_row(delta, t0 + k)[0]));
        const gt_vf   d1  = p1 * (gt_load(dp + k1 * lw) - gt_splat(gt_row(delta, t0 + k1)[0]));
        gt_attn_put(fast, s, lw, k, p0, p1, two);
        gt_attn_put(fast, dp, lw, k, d0, d1, two);
    }
}

// gt_attn_capped_rows is gt_attn_capped with queries as rows.
static gt_rows gt_attn_capped_rows(const gt_attn * at, float * s, float * dp, int64_t lw, int64_t n, gt_rows delta,
                                   int64_t t0) {
    static float nothing[1];
    if (!(at->cap > 0)) return delta;
    gt_attn_cap(at, s, lw, n);
    for (int64_t k = 0; k < n; k++) {
        const gt_vf slope = gt_softcap_slope(gt_load(s + k * lw), 1 / at->cap);
        gt_store(dp + k * lw, (gt_load(dp + k * lw) - gt_splat(gt_row(delta, t0 + k)[0])) * slope);
    }
    return (gt_rows){nothing, 0};
}

// A key tile on its way: packed keys (scaled) and values, their gradients' sums, and room for half a block of queries
// and of output gradients.
typedef struct gt_attn_back {
    const gt_call *      c;
    const gt_attn *      at;
    const gt_attn_vecs * t;
    float *              k, * v, * dk, * dv; // [lw, dots] and [lw, d]
    float *              s, * dp;            // [lw, block/2]
    float *              q, * go;            // GT_ATTN_ROOM/2 each
} gt_attn_back;

// gt_attn_back_block lets the first nv vectors of the tile be met by the queries of head h, tokens [b0, b1) of a run.
static void gt_attn_back_block(const gt_attn_back * st, int nv, int64_t h, int64_t b0, int64_t b1, int64_t shift) {
    const gt_attn * at = st->at;
    const gt_arg *  a  = st->c->a;
    const int64_t   lw = at->lw, d = at->d, n = b1 - b0;
    const gt_rows   query = gt_rows_of(&a[2], h * d), grad = gt_rows_of(&a[7], h * d);
    const gt_rows   q = gt_attn_for_sum(at, query, b0, n, st->q), go = gt_attn_for_sum(at, grad, b0, n, st->go);
    const gt_rows   qd = at->fast ? gt_attn_for_dot(at, query, b0, n, st->q + GT_ATTN_ROOM / 4) : q;
    const gt_rows   gd = at->fast ? gt_attn_for_dot(at, grad, b0, n, st->go + GT_ATTN_ROOM / 4) : go;
    gt_attn_dot(at->fast, nv, qd.p, qd.stride, n, at->dots, st->k, st->s, lw);
    gt_attn_dot(at->fast, nv, gd.p, gd.stride, n, at->dots, st->v, st->dp, lw);
    for (int v = 0; v < nv; v++) {
        float * s = st->s + v * GT_VL, *dp = st->dp + v * GT_VL;
        gt_vi   kept[GT_ATTN_BLOCK / 2];
        if (at->drop) {
            gt_attn_kept_rows(at, h, b0, n, st->t->first[v], kept);
            gt_attn_drop_grad(at, dp, lw, n, kept);
        }
        const gt_rows less = gt_attn_capped_rows(at, s, dp, lw, n, gt_rows_of(&a[6], h), b0);
        gt_attn_mask(at, s, lw, b0, b1, st->t->first[v], shift, 1);
        gt_attn_grad_rows(at->fast, s, dp, lw, n, gt_rows_of(&a[5], h), less, b0);
        if (at->drop) gt_attn_drop(at->fast, s, lw, n, kept);
    }
    gt_attn_sum(at->fast, nv, go.p, go.stride, gt_attn_sums(at, n), d, st->s, st->dv, lw, NULL);
    gt_attn_sum(at->fast, nv, q.p, q.stride, gt_attn_sums(at, n), d, st->dp, st->dk, lw, NULL);
}

// gt_attn_back_rows lets the tile be met by the queries of tokens [lo, hi), head after head of the group. Tokens before
// a vector's first do not see it, unless tokens see both ways; blocks end where a vector comes into sight. Tokens a
// window behind its last one do not see it either.
static void gt_attn_back_rows(const gt_attn_back * st, int64_t lo, int64_t hi, int64_t shift) {
    const gt_attn_vecs * t = st->t;
    if (st->at->window) hi = gt_min_i(hi, gt_attn_behind(t) - 1 + st->at->window - shift);
    for (int64_t h = t->kv * st->at->group; h < (t->kv + 1) * st->at->group; h++) {
        for (int64_t b0 = lo, b1; b0 < hi; b0 = b1) {
            int nv = 1;
            while (nv < t->n && (st->at->both || t->first[nv] <= b0)) nv++;
            b1 = gt_min_i(b0 + st->at->block / 2, hi);
            if (nv < t->n) b1 = gt_min_i(b1, t->first[nv]);
            gt_attn_back_block(st, nv, h, b0, b1, shift);
        }
    }
}

static void gt_attn_back_kv_tile(const gt_call * c, const gt_attn * at, const gt_attn_vecs * t, const uint64_t * desc) {
    _Alignas(64) float k[GT_ATTN_TILE], v[GT_ATTN_TILE], dk[GT_ATTN_TILE], dv[GT_ATTN_TILE];
    _Alignas(64) float s[GT_ATTN_SCORES / 2], dp[GT_ATTN_SCORES / 2], q[GT_ATTN_ROOM / 2], go[GT_ATTN_ROOM / 2];
    const int64_t      lw = at->lw, d = at->d, offset = t->kv * d;
    const gt_rows      key = gt_rows_of(&c->a[3], offset), val = gt_rows_of(&c->a[4], offset);
    const gt_attn_back st  = {.c = c, .at = at, .t = t, .k = k, .v = v, .dk = dk, .dv = dv, .s = s, .dp = dp, .q = q,
                              .go = go};
    for (int i = 0; i < t->n; i++) {
        gt_attn_pack(at->fast, k + i * GT_VL, lw, gt_row(key, t->first[i]), key.stride, t->count[i], d,
                     at->scale * GT_LOG2E);
        gt_attn_pack(at->fast, v + i * GT_VL, lw, gt_row(val, t->first[i]), val.stride, t->count[i], d, 1);
    }
    memset(dk, 0, (size_t) (lw * d) * sizeof(float));
    memset(dv, 0, (size_t) (lw * d) * sizeof(float));
    // The tile's own segment from its first token on (where tokens see both ways, from the first block of it that sees
    // the tile), then the descendants, neighbours joined (with a window, where their positions go on too).
    int64_t shift = 0, lo = at->both ? gt_seg_start(at, t->seg) : t->first[0], hi = gt_seg_end(at, t->seg);
    if (at->both && at->window) {
        const int64_t blind = gt_max_i(0, t->first[0] - at->window + 1 - lo), block = at->block / 2;
        lo += blind / block * block;
    }
    for (int64_t r = t->seg + 1; r < at->n_seg; r++) {
        if (!gt_attn_is_under(desc, r)) continue;
        const int64_t by = at->window ? gt_attn_shift(at, t->seg, r) : 0;
        if (gt_seg_start(at, r) != hi || by != shift) {
            gt_attn_back_rows(&st, lo, hi, shift);
            lo    = gt_seg_start(at, r);
            shift = by;
        }
        hi = gt_seg_end(at, r);
    }
    gt_attn_back_rows(&st, lo, hi, shift);
    const gt_rows gk = gt_rows_of(&c->a[0], offset), gv = gt_rows_of(&c->a[1], offset);
    for (int i = 0; i < t->n; i++) {
        gt_attn_unpack(gt_row(gk, t->first[i]), gk.stride, dk + i * GT_VL, lw, t->count[i], d, gt_splat(at->scale));
        gt_attn_unpack(gt_row(gv, t->first[i]), gv.stride, dv + i * GT_VL, lw, t->count[i], d, gt_splat(at->raise));
    }
}

static void gt_k_attn_back_kv(const gt_call * c, int ith, int nth) {
    gt_attn at = gt_attn_of(c, &c->a[8], &c->a[9]);
    gt_attn_each(c, &at, 1, ith, nth, gt_attn_back_kv_tile);
}

#endif
