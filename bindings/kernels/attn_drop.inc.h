// Dropout of attention's probabilities; included by attention.inc.h. With a mask M of zeros and ones:
//   O = (P∘M)·V/(1−rate);  dV = (P∘M)ᵀ·dO/(1−rate);  dS = P∘(dP∘M/(1−rate) − δ)
// P itself and its log-sum-exp know nothing of it, and δ = Σ_d dO∘O stays what it is: Σ_j P·dP∘M/(1−rate).
//
// The mask is made anew wherever it is asked for, of Philox as in dropout.inc.h: a counter is (query, key/4, stream,
// head), tokens by their places in the batch, and word key%4 belongs to that key. With queries as lanes a draw is four
// rows of a block as they lie.
#ifndef GT_ATTN_DROP_INC_H
#define GT_ATTN_DROP_INC_H

// gt_attn_draw says, for the queries first, first+1, … (lanes) and each of the keys 4·four to 4·four + 3, which pairs
// are kept: all bits or none.
GT_INLINE void gt_attn_draw(const gt_attn * at, int64_t head, int64_t first, int64_t four, gt_vi kept[4]) {
    const gt_vu zero = {0};
    gt_vu       query;
    for (int i = 0; i < GT_VL; i++) query[i] = (uint32_t) first + (uint32_t) i;
    gt_vu c[4] = {query, zero + (uint32_t) four, zero + (uint32_t) at->stream, zero + (uint32_t) head};
    gt_philox_rounds(c, at->key);
    for (int w = 0; w < 4; w++) kept[w] = (gt_vi) (c[w] >> 8) >= at->threshold;
}

// gt_attn_kept says which pairs of n keys from b0 on (rows) with the queries from first on (lanes) are kept.
static __attribute__((noinline)) void gt_attn_kept(const gt_attn * at, int64_t head, int64_t b0, int64_t n,
                                                   int64_t first, gt_vi * kept) {
    for (int64_t four = b0 / 4; 4 * four < b0 + n; four++) {
        gt_vi some[4];
        gt_attn_draw(at, head, first, four, some);
        for (int w = 0; w < 4; w++) {
            const int64_t row = 4 * four + w - b0;
            if (row >= 0 && row < n) kept[row] = some[w];
        }
    }
}

// gt_attn_kept_rows is gt_attn_kept with queries as rows and keys as lanes.
static __attribute__((noinline)) void gt_attn_kept_rows(const gt_attn * at, int64_t head, int64_t b0, int64_t n,
                                                        int64_t first, gt_vi * kept) {
    for (int64_t q = 0; q < n; q += GT_VL) {
        gt_vf square[GT_VL]; // a row a key
        for (int64_t four = first / 4; 4 * four < first + GT_VL; four++) {
            gt_vi some[4];
            gt_attn_draw(at, head, b0 + q, four, some);
            for (int w = 0; w < 4; w++) {
                const int64_t row = 4 * four + w - first;
                if (row >= 0 && row < GT_VL) square[row] = (gt_vf) some[w];
            }
        }
        gt_transpose(square);
        for (int64_t k = 0; k < GT_VL && q + k < n; k++) kept[q + k] = (gt_vi) square[k];
    }
}

// gt_attn_drop zeroes what is not kept of n rows of one vector of probabilities, as gt_attn_put left them. The factor
// 1/(1−rate) is that of the whole sum that is made of them.
static void gt_attn_drop(int fast, float * p, int64_t lw, int64_t n, const gt_vi * kept) {
    const int pairs = GT_HAS_BF16 && fast;
    for (int64_t k = 0; k < n; k++) {
        float *       row   = p + (pairs ? k / 2 : k) * lw;
        const int32_t other = pairs ? k % 2 ? 0x0000ffff : ~0x0000ffff : 0; // the pair's
        gt_store(row, (gt_vf) ((gt_vi) gt_load(row) & (kept[k] | other)));
    }
}

// gt_attn_drop_grad takes n rows of one vector of dP through the mask.
static void gt_attn_drop_grad(const gt_attn * at, float * dp, int64_t lw, int64_t n, const gt_vi * kept) {
    for (int64_t k = 0; k < n; k++) {
        const gt_vf scaled = gt_load(dp + k * lw) * gt_splat(at->raise);
        gt_store(dp + k * lw, (gt_vf) ((gt_vi) scaled & kept[k]));
    }
}

#endif
