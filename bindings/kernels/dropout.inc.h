// Dropout (Srivastava et al. 2014) with a counter-based generator: Philox4x32-10 of Salmon, Moraes, Dror and Shaw,
// "Parallel random numbers: as easy as 1, 2, 3", SC 2011. Any mask can be made again from (seed, stream, element), in
// any order and by any thread.
//
// Elements are numbered along the rows, ne0·row + col. A block of 64 elements takes sixteen counters: number w of
// counter l belongs to element 16·w + l, so that lanes need no shuffling and every level draws the same numbers. The
// counter is (block·16 + l as two words, stream as two words), the key is the seed.
//
// GT_OP_DROPOUT a0 out = a1·mask/(1−rate); a2 key i64 [1,1]. The mask is a counter-based function of (key, stream,
// element's
//                   index ne0·row+col). A backward pass is the same call on the gradient. a0 may be a1.
#ifndef GT_DROPOUT_INC_H
#define GT_DROPOUT_INC_H

#include "kernels.h"

typedef struct gt_dropout_constants {
    double  rate;
    int64_t stream;
} gt_dropout_constants;

#ifdef GT_KERNELS

enum { GT_DROPOUT_BLOCK = 64, GT_DROPOUT_LANES = 16 };

// gt_mul_wide is the 64-bit product of each lane with m: its high and low words.
GT_INLINE void gt_mul_wide(gt_vu a, uint32_t m, gt_vu * hi, gt_vu * lo) {
#if GT_HAS_AVX512
    const __m512i f = _mm512_set1_epi64(m), x = (__m512i) a;
    const __m512i even = _mm512_mul_epu32(x, f), odd = _mm512_mul_epu32(_mm512_srli_epi64(x, 32), f);
    *hi = (gt_vu) _mm512_mask_blend_epi32(0xAAAA, _mm512_srli_epi64(even, 32), odd);
    *lo = (gt_vu) _mm512_mask_blend_epi32(0xAAAA, even, _mm512_slli_epi64(odd, 32));
#elif GT_HAS_AVX2
    const __m256i f = _mm256_set1_epi64x(m), x = (__m256i) a;
    const __m256i even = _mm256_mul_epu32(x, f), odd = _mm256_mul_epu32(_mm256_srli_epi64(x, 32), f);
    *hi = (gt_vu) _mm256_blend_epi32(_mm256_srli_epi64(even, 32), odd, 0xAA);
    *lo = (gt_vu) _mm256_blend_epi32(even, _mm256_slli_epi64(odd, 32), 0xAA);
#else
    for (int i = 0; i < GT_VL; i++) {
        const uint64_t p = (uint64_t) a[i] * m;
        (*hi)[i]         = (uint32_t) (p >> 32);
        (*lo)[i]         = (uint32_t) p;
    }
#endif
}

// gt_philox_rounds turns counters, of which each lane is one, into their four numbers.
GT_INLINE void gt_philox_rounds(gt_vu c[4], uint64_t seed) {
    uint32_t k0 = (uint32_t) seed, k1 = (uint32_t) (seed >> 32);
    for (int round = 0; round < 10; round++) {
        gt_vu h0, l0, h1, l1;
        gt_mul_wide(c[0], 0xD2511F53u, &h0, &l0);
        gt_mul_wide(c[2], 0xCD9E8D57u, &h1, &l1);
        c[0] = h1 ^ c[1] ^ k0;
        c[1] = l1;
        c[2] = h0 ^ c[3] ^ k1;
        c[3] = l0;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
}

// gt_philox fills out with the 64 numbers of one block.
static void gt_philox(uint64_t seed, uint64_t stream, uint64_t block, uint32_t out[GT_DROPOUT_BLOCK]) {
    const gt_vu zero = {0};
    const uint64_t first = block * GT_DROPOUT_LANES; // its low word does not wrap within a block
    for (int l = 0; l < GT_DROPOUT_LANES; l += GT_VL) {
        gt_vu low;
        for (int i = 0; i < GT_VL; i++) low[i] = (uint32_t) first + (uint32_t) (l + i);
        gt_vu c[4] = {low, zero + (uint32_t) (first >> 32), zero + (uint32_t) stream,
                      zero + (uint32_t) (stream >> 32)};
        gt_philox_rounds(c, seed);
        for (int w = 0; w < 4; w++) memcpy(out + w * GT_DROPOUT_LANES + l, &c[w], sizeof c[w]);
    }
}

// gt_dropout_row writes count numbers, the first of which has the given element number. A number is kept if the upper
// 24 bits of its draw are at least `threshold`.
static void gt_dropout_row(float * y, const float * x, int64_t count, uint64_t element, uint64_t seed, uint64_t stream,
                           int32_t threshold, float scale) {
    uint32_t draw[GT_DROPOUT_BLOCK + GT_VL] = {0}; // a row's tail reads a whole vector
    for (int64_t at = 0; at < count;) {
        const uint64_t  e    = element + (uint64_t) at;
        const int64_t   skip = (int64_t) (e % GT_DROPOUT_BLOCK);
        const int64_t   some = count - at < GT_DROPOUT_BLOCK - skip ? count - at : GT_DROPOUT_BLOCK - skip;
        const float *   from = x + at;
        float *         to   = y + at;
        const uint32_t * bits = draw + skip;
        gt_philox(seed, stream, e / GT_DROPOUT_BLOCK, draw);
        GT_EACH(some, {
            gt_vu word;
            memcpy(&word, bits + i, sizeof word);
            GT_ST(to, gt_select((gt_vi) (word >> 8) >= threshold, GT_LD(from) * scale, gt_splat(0)));
        });
        at += some;
    }
}

static void gt_k_dropout(const gt_call * c, int ith, int nth) {
    const gt_dropout_constants k = GT_CONSTANTS(dropout, c);
    const int64_t ne0       = c->a[0].ne0;
    const int32_t threshold = (int32_t) lround(k.rate * (1 << 24));
    const float   scale     = (float) (1 / (1 - k.rate));
    GT_EACH_ROW(&c->a[0], {
        gt_dropout_row(gt_arg_row(&c->a[0], r), gt_arg_row(&c->a[1], r), ne0, (uint64_t) (ne0 * r),
                       (uint64_t) *(const int64_t *) c->a[2].data, (uint64_t) k.stream, threshold, scale);
    });
}

#endif

#ifdef GT_CHECKS

const char * gt_check_dropout(const gt_call * c) {
    const double rate = GT_CONSTANTS(dropout, c).rate;
    if (!(rate >= 0 && rate < 1)) return "dropout: the rate is not within 0 and 1";
    if (!gt_is_matrix(&c->a[2], GT_I64, 1, 1)) return "dropout: the key is not one i64";
    if (!gt_apart(&c->a[0], &c->a[2])) return "dropout: the output overlaps the key";
    return gt_inputs_like(c, 1, 1);
}

#endif

#endif
