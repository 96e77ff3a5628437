// Activations made ready for the fast mode's products.
//
// GT_OP_PACK        a0 out packed [K,T]; a1 in x [K,T]. Size of a0: gt_packed_bytes(K, T).
#ifndef GT_PACK_INC_H
#define GT_PACK_INC_H

#include "kernels.h"

#ifdef GT_KERNELS

// Floats that one token takes in packed form; INT16's scales follow behind the last token's.
GT_INLINE int64_t gt_packed_floats(int64_t k) { return GT_HAS_PAIRS ? (k + 1) / 2 : k; }

static size_t gt_k_packed_bytes(int64_t k, int64_t t) {
    return (size_t) ((gt_packed_floats(k) + (GT_HAS_I16 ? gt_int16_segments(k) : 0)) * t) * sizeof(float);
}

// gt_pack_block packs mr tokens whose rows begin at src, ld floats apart; their scales are tokens apart from segment to
// segment.
static void gt_pack_block(const float * src, int64_t ld, int mr, int64_t k, float * dst, float * scales,
                          int64_t tokens) {
#if GT_HAS_PAIRS
    if (mr > GT_MR) __builtin_unreachable(); // compilers warn of the rows beyond otherwise
    float rows[GT_MR * 136]; // 256 numbers a row, and 16 more bytes, lest rows share cache sets
    for (int64_t i = 0; i < k; i += 256) {
        int64_t n = k - i < 256 ? k - i : 256;
        for (int r = 0; r < mr; r++) {
            if (i + 256 < k) gt_prefetch((const uint8_t *) (src + r * ld + i + 256), 1024);
            gt_to_pairs(src + r * ld + i, n, GT_RANGE_ACTS, rows + r * 136, scales + i / GT_KC_INT16 * tokens + r);
        }
        gt_turn(rows, 136, mr, (n + 1) / 2, dst + i / 2 * mr, mr);
    }
#else
    (void) scales, (void) tokens;
    for (int r = 0; r < mr; r += GT_VL) gt_turn(src + r * ld, ld, mr - r < GT_VL ? mr - r : GT_VL, k, dst + r, mr);
#endif
}

// gt_pack packs the tokens of blocks [b0, b1) of x [k,t].
static void gt_pack(const float * x, int64_t ld, int64_t k, int64_t t, int64_t b0, int64_t b1, float * dst) {
    for (int64_t b = b0; b < b1; b++) {
        int64_t s = gt_block_start(t, b), e = gt_block_start(t, b + 1);
        gt_pack_block(x + s * ld, ld, (int) (e - s), k, dst + s * gt_packed_floats(k),
                      dst + t * gt_packed_floats(k) + s, t);
    }
}

static void gt_k_pack(const gt_call * c, int ith, int nth) {
    const gt_arg * x = &c->a[1];
    int64_t        b0, b1;
    if (x->ne1 == 0) return;
    gt_share(gt_blocks(x->ne1), 1, ith, nth, &b0, &b1);
    gt_pack(x->data, x->nb1 / 4, x->ne0, x->ne1, b0, b1, c->a[0].data);
}

#endif

#ifdef GT_CHECKS

const char * gt_check_pack(const gt_call * c) {
    if (c->a[0].type != GT_PACKED) return "the output of a packing must be of the packed type";
    GT_TRY(gt_acts_fault(&c->a[0], c->a[1].ne0, c->a[1].ne1));
    return gt_f32_fault(&c->a[1], c->a[1].ne0, c->a[1].ne1);
}

#endif

#endif
