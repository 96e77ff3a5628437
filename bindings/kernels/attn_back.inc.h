// Attention's backward passes; included by attention.inc.h. With P = exp(S − lse) and dP = dO·Vᵀ:
//   dS = P∘(dP − δ), δ = Σ_d dO∘O;  dQ = scale·dS·K;  dK = scale·dSᵀ·Q;  dV = Pᵀ·dO
// (FlashAttention, Dao et al. 2022, algorithm 4). Queries and keys are two passes, so that every gradient has one owner and
// needs no second copy; the price is that S and dP are computed in both.
#ifndef GT_ATTN_BACK_INC_H
#define GT_ATTN_BACK_INC_H

static void gt_k_attn_delta(const gt_call * c, int ith, int nth) {
    const int64_t n_head = c->i[0], d = c->i[2];
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

// gt_attn_grad turns n rows of one vector of scores s and of dP into P (in s) and dS (in dp). lse and delta are one number a
// lane (queries are lanes).
static void gt_attn_grad(float * s, float * dp, int64_t lw, int64_t n, gt_vf lse, gt_vf delta) {
    for (int64_t k = 0; k < n; k++) {
        gt_vf p = gt_exp(gt_load(s + k * lw) - lse);
        gt_store(s + k * lw, p);
        gt_store(dp + k * lw, p * (gt_load(dp + k * lw) - delta));
    }
}

// gt_attn_grad_rows is gt_attn_grad with queries as rows: lse and delta are one number a row.
static void gt_attn_grad_rows(float * s, float * dp, int64_t lw, int64_t n, gt_rows lse, gt_rows delta, int64_t t0) {
    for (int64_t k = 0; k < n; k++) {
        gt_vf p = gt_exp(gt_load(s + k * lw) - gt_row(lse, t0 + k)[0]);
        gt_store(s + k * lw, p);
        gt_store(dp + k * lw, p * (gt_load(dp + k * lw) - gt_row(delta, t0 + k)[0]));
    }
}

// --- dQ --------------------------------------------------------------------------------------------------------------

static void gt_attn_back_q_tile(const gt_call * c, const gt_attn * at, const gt_attn_vecs * t, const uint64_t * desc) {
    _Alignas(64) float q[GT_ATTN_TILE], go[GT_ATTN_TILE], dq[GT_ATTN_TILE];
    _Alignas(64) float s[GT_ATTN_NV * GT_VL * GT_ATTN_BLOCK], dp[GT_ATTN_NV * GT_VL * GT_ATTN_BLOCK];
    (void) desc;
    const gt_arg * a  = c->a;
    const int64_t  lw = at->lw, d = at->d;
    const gt_rows  key = gt_rows_of(&a[2], t->kv * d), val = gt_rows_of(&a[3], t->kv * d);
    gt_vf          lse[GT_ATTN_NV], delta[GT_ATTN_NV];
    for (int v = 0; v < t->n; v++) {
        gt_rows in = gt_rows_of(&a[1], t->head[v] * d), grad = gt_rows_of(&a[6], t->head[v] * d);
        gt_attn_pack(q + v * GT_VL, lw, gt_row(in, t->first[v]), in.stride, t->count[v], d, at->scale);
        gt_attn_pack(go + v * GT_VL, lw, gt_row(grad, t->first[v]), grad.stride, t->count[v], d, 1);
        lse[v]   = gt_attn_lanes(&a[4], t->head[v], t->first[v], t->count[v]);
        delta[v] = gt_attn_lanes(&a[5], t->head[v], t->first[v], t->count[v]);
    }
    memset(dq, 0, (size_t) (lw * d) * sizeof(float));
    int64_t next = -1, lo, hi;
    while (gt_attn_keys_range(at, t, &next, &lo, &hi)) {
        for (int64_t b0 = lo, b1; b0 < hi; b0 = b1) {
            int j;
            b1        = gt_attn_keys_block(t, b0, hi, &j);
            int64_t n = b1 - b0, x = j * GT_VL;
            gt_attn_dot(t->n - j, gt_row(key, b0), key.stride, n, d, q + x, s + x, lw);
            gt_attn_dot(t->n - j, gt_row(val, b0), val.stride, n, d, go + x, dp + x, lw);
            for (int v = j; v < t->n; v++) {
                gt_attn_mask(s + v * GT_VL, lw, b0, b1, t->first[v], 0);
                gt_attn_grad(s + v * GT_VL, dp + v * GT_VL, lw, n, lse[v], delta[v]);
            }
            gt_attn_sum(t->n - j, gt_row(key, b0), key.stride, n, d, dp + x, dq + x, lw, NULL);
        }
    }
    for (int v = 0; v < t->n; v++) {
        gt_rows out = gt_rows_of(&a[0], t->head[v] * d);
        gt_attn_unpack(gt_row(out, t->first[v]), out.stride, dq + v * GT_VL, lw, t->count[v], d, gt_splat(at->scale));
    }
}

static void gt_k_attn_back_q(const gt_call * c, int ith, int nth) {
    gt_attn at = gt_attn_of(c, &c->a[7]);
    gt_attn_each(c, &at, 0, ith, nth, gt_attn_back_q_tile);
}

// --- dK and dV -------------------------------------------------------------------------------------------------------

// A key tile on its way: packed keys (scaled) and values, and their gradients' sums.
typedef struct gt_attn_back {
    const gt_call *      c;
    const gt_attn *      at;
    const gt_attn_vecs * t;
    float *              k, * v, * dk, * dv; // [lw, d]
    float *              s, * dp;            // [lw, GT_ATTN_BLOCK]
} gt_attn_back;

// gt_attn_back_rows lets the tile be met by the queries of tokens [lo, hi), head after head of the group. Tokens before a
// vector's first do not see it; blocks end where a vector comes into sight.
static void gt_attn_back_rows(const gt_attn_back * st, int64_t lo, int64_t hi) {
    const gt_attn *      at = st->at;
    const gt_attn_vecs * t  = st->t;
    const gt_arg *       a  = st->c->a;
    const int64_t        lw = at->lw, d = at->d;
    for (int64_t h = t->kv * at->group; h < (t->kv + 1) * at->group; h++) {
        gt_rows q = gt_rows_of(&a[2], h * d), go = gt_rows_of(&a[7], h * d);
        gt_rows lse = gt_rows_of(&a[5], h), delta = gt_rows_of(&a[6], h);
        for (int64_t b0 = lo, b1; b0 < hi; b0 = b1) {
            int nv = 1;
            while (nv < t->n && t->first[nv] <= b0) nv++;
            b1 = gt_min_i(b0 + GT_ATTN_BLOCK, hi);
            if (nv < t->n) b1 = gt_min_i(b1, t->first[nv]);
            int64_t n = b1 - b0;
            gt_attn_dot(nv, gt_row(q, b0), q.stride, n, d, st->k, st->s, lw);
            gt_attn_dot(nv, gt_row(go, b0), go.stride, n, d, st->v, st->dp, lw);
            for (int v = 0; v < nv; v++) {
                gt_attn_mask(st->s + v * GT_VL, lw, b0, b1, t->first[v], 1);
                gt_attn_grad_rows(st->s + v * GT_VL, st->dp + v * GT_VL, lw, n, lse, delta, b0);
            }
            gt_attn_sum(nv, gt_row(go, b0), go.stride, n, d, st->s, st->dv, lw, NULL);
            gt_attn_sum(nv, gt_row(q, b0), q.stride, n, d, st->dp, st->dk, lw, NULL);
        }
    }
}

static void gt_attn_back_kv_tile(const gt_call * c, const gt_attn * at, const gt_attn_vecs * t, const uint64_t * desc) {
    _Alignas(64) float k[GT_ATTN_TILE], v[GT_ATTN_TILE], dk[GT_ATTN_TILE], dv[GT_ATTN_TILE];
    _Alignas(64) float s[GT_ATTN_NV * GT_VL * GT_ATTN_BLOCK], dp[GT_ATTN_NV * GT_VL * GT_ATTN_BLOCK];
    const int64_t      lw = at->lw, d = at->d, offset = t->kv * d;
    const gt_rows      key = gt_rows_of(&c->a[3], offset), val = gt_rows_of(&c->a[4], offset);
    const gt_attn_back st  = {.c = c, .at = at, .t = t, .k = k, .v = v, .dk = dk, .dv = dv, .s = s, .dp = dp};
    for (int i = 0; i < t->n; i++) {
        gt_attn_pack(k + i * GT_VL, lw, gt_row(key, t->first[i]), key.stride, t->count[i], d, at->scale);
        gt_attn_pack(v + i * GT_VL, lw, gt_row(val, t->first[i]), val.stride, t->count[i], d, 1);
    }
    memset(dk, 0, (size_t) (lw * d) * sizeof(float));
    memset(dv, 0, (size_t) (lw * d) * sizeof(float));
    // The tile's own segment from its first token on, then the descendants, neighbours joined.
    int64_t lo = t->first[0], hi = gt_seg_end(at, t->seg);
    for (int64_t r = t->seg + 1; r < at->n_seg; r++) {
        if (!(desc[r / 64] >> (r % 64) & 1)) continue;
        if (gt_seg_start(at, r) != hi) {
            gt_attn_back_rows(&st, lo, hi);
            lo = gt_seg_start(at, r);
        }
        hi = gt_seg_end(at, r);
    }
    gt_attn_back_rows(&st, lo, hi);
    const gt_rows gk = gt_rows_of(&c->a[0], offset), gv = gt_rows_of(&c->a[1], offset);
    for (int i = 0; i < t->n; i++) {
        gt_attn_unpack(gt_row(gk, t->first[i]), gk.stride, dk + i * GT_VL, lw, t->count[i], d, gt_splat(at->scale));
        gt_attn_unpack(gt_row(gv, t->first[i]), gv.stride, dv + i * GT_VL, lw, t->count[i], d, gt_splat(1));
    }
}

static void gt_k_attn_back_kv(const gt_call * c, int ith, int nth) {
    gt_attn at = gt_attn_of(c, &c->a[8]);
    gt_attn_each(c, &at, 1, ith, nth, gt_attn_back_kv_tile);
}

#endif
