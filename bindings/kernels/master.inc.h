// The numbers that an optimizer trains: F32, or BF16 that is rounded by chance, up or down so that the mean is what was
// to be written. Rounded to the nearest, updates of less than half a unit in the last place would all be lost.
//
// An operation takes them with a key, i64 [2,1]: what the draws depend on, and the number of the first element; absent
// where they are F32. Draws are those of dropout.inc.h, a number for each element.
#ifndef GT_MASTER_INC_H
#define GT_MASTER_INC_H

#include "kernels.h"

#ifdef GT_KERNELS

enum { GT_MASTER_PIECE = 256 }; // numbers widened at a time: whole blocks of draws

// gt_master_step is how many numbers of a row an operation takes at a time.
GT_INLINE int64_t gt_master_step(const gt_arg * x) {
    return x->type == GT_F32 ? (x->ne0 > 0 ? x->ne0 : 1) : GT_MASTER_PIECE;
}

// gt_master gives n numbers of row r, from at on, as floats: where they lie, or in wide.
GT_INLINE float * gt_master(const gt_arg * x, int64_t r, int64_t at, int64_t n, float * wide) {
    if (x->type == GT_F32) return gt_arg_row(x, r) + at;
    const uint16_t * from = (const uint16_t *) ((const char *) x->data + r * x->nb1) + at;
    for (int64_t i = 0; i < n; i++) {
        const uint32_t bits = (uint32_t) from[i] << 16;
        memcpy(wide + i, &bits, sizeof bits);
    }
    return wide;
}

// gt_master_store rounds what gt_master gave into its place, and returns 0, or no number if one is not finite then.
static float gt_master_store(const gt_arg * x, const gt_arg * key, int64_t r, int64_t at, int64_t n,
                             const float * wide) {
    if (x->type == GT_F32) return 0;
    uint16_t *      to = (uint16_t *) ((char *) x->data + r * x->nb1) + at;
    const int64_t * k  = (const int64_t *) key->data;
    uint32_t        draw[GT_DROPOUT_BLOCK];
    uint64_t        have = UINT64_MAX;
    float           bad  = 0;
    for (int64_t i = 0; i < n; i++) {
        const uint64_t e = (uint64_t) (k[1] + r * x->ne0 + at + i), block = e / GT_DROPOUT_BLOCK;
        if (block != have) gt_philox((uint64_t) k[0], 0, block, draw);
        have = block;
        uint32_t bits;
        memcpy(&bits, wide + i, sizeof bits);
        // The magnitude is what is above the last bits kept, plus a chance of as much as is below.
        if ((bits & 0x7f800000u) != 0x7f800000u) bits += draw[e % GT_DROPOUT_BLOCK] >> 16;
        to[i] = (uint16_t) (bits >> 16);
        if ((bits & 0x7f800000u) == 0x7f800000u) bad = NAN;
    }
    return bad;
}

#endif

#ifdef GT_CHECKS

// gt_master_fault looks at the numbers, and at argument key beside them.
static const char * gt_master_fault(const gt_arg * x, const gt_arg * key) {
    if (x->type != GT_BF16) {
        if (!gt_is_f32(x, x->ne0, x->ne1)) return "the parameters are neither f32 nor bf16";
        return key->data ? "a key is given beside f32 parameters" : NULL;
    }
    if (!gt_is_matrix(x, GT_BF16, x->ne0, x->ne1)) return "the parameters are absent";
    return gt_is_matrix(key, GT_I64, 2, 1) ? NULL : "the key beside bf16 parameters is not i64 [2,1]";
}

#endif

#endif
