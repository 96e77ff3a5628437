// 16-bit integers in place of BF16, for CPUs that multiply no BF16 numbers but have always multiplied pairs of
// integers: two products and their sum in 32 bits, exact, at up to twice F32's rate. Included by micro.inc.h.
//
// A segment of the reduction has one scale for each token and one for each output (its largest magnitude ÷ the range).
// The ranges are chosen so that no sum over a segment can overflow; a number is then off by at most 1/8190
// (activations) or 1/4094 (weights) of the largest beside it, where BF16 rounds each by up to 1/512 of itself.
#ifndef GT_INT16_INC_H
#define GT_INT16_INC_H

enum { GT_KC_INT16 = 256 }; // the length of a segment
enum { GT_RANGE_ACTS = 4095, GT_RANGE_WEIGHTS = 2047 };
_Static_assert(GT_KC_INT16 == 256, "packing and panels convert 256 numbers at a time, with one scale");
_Static_assert((int64_t) GT_RANGE_ACTS * GT_RANGE_WEIGHTS * GT_KC_INT16 <= INT32_MAX,
               "a sum over a segment could overflow");

GT_INLINE int64_t gt_int16_segments(int64_t k) { return (k + GT_KC_INT16 - 1) / GT_KC_INT16; }

// gt_mac_int16 adds to acc both products of each pair of w with the same of x.
GT_INLINE gt_vi gt_mac_int16(gt_vi acc, gt_vi w, gt_vi x) {
#if GT_HAS_I16 && GT_HAS_AVX512 && GT_HAS_VNNI
    return (gt_vi) _mm512_dpwssd_epi32((__m512i) acc, (__m512i) w, (__m512i) x);
#elif GT_HAS_I16 && GT_HAS_AVX512
    return acc + (gt_vi) _mm512_madd_epi16((__m512i) w, (__m512i) x);
#elif GT_HAS_I16 && GT_HAS_VNNI
    return (gt_vi) _mm256_dpwssd_avx_epi32((__m256i) acc, (__m256i) w, (__m256i) x);
#elif GT_HAS_I16
    return acc + (gt_vi) _mm256_madd_epi16((__m256i) w, (__m256i) x);
#else
    (void) w, (void) x; // no level without integers comes here
    return acc;
#endif
}

#if GT_HAS_I16

GT_INLINE gt_vi gt_max_vi(gt_vi a, gt_vi b) {
#if GT_HAS_AVX512
    return (gt_vi) _mm512_max_epi32((__m512i) a, (__m512i) b);
#else
    return (gt_vi) _mm256_max_epi32((__m256i) a, (__m256i) b);
#endif
}

// gt_round rounds to the nearest integer, ties to even; what is no number becomes INT32_MIN.
GT_INLINE gt_vi gt_round(gt_vf x) {
#if GT_HAS_AVX512
    return (gt_vi) _mm512_cvtps_epi32((__m512) x);
#else
    return (gt_vi) _mm256_cvtps_epi32((__m256) x);
#endif
}

// gt_magnitude is |x| as bits, which compare as integers do; infinity and NaN are above all numbers.
GT_INLINE gt_vi gt_magnitude(gt_vf x) { return (gt_vi) x & 0x7fffffff; }

// gt_int16_scale turns the largest magnitude into the scale, and *inverse into what numbers are multiplied by before
// they are rounded. Where a number is infinite or NaN the scale is too, and so is every sum that it is part of. A
// segment whose largest is below 1e-30 is zero: the inverse would overflow.
GT_INLINE gt_vf gt_int16_scale(gt_vi most, float range, gt_vf * inverse) {
    const gt_vf m    = (gt_vf) most;
    const gt_vi none = m < 1e-30f;
    *inverse         = gt_select(none, gt_splat(0), gt_splat(range) / m);
    return gt_select(none, gt_splat(0), m / gt_splat(range));
}

// gt_narrow_int16 makes one row's numbers, two vectors of them, 16-bit integers in their order.
GT_INLINE gt_vf gt_narrow_int16(gt_vf lo, gt_vf hi, gt_vf inverse) {
    const gt_vi a = gt_round(lo * inverse), b = gt_round(hi * inverse);
#if GT_HAS_AVX512
    return (gt_vf) _mm512_inserti64x4(_mm512_castsi256_si512(_mm512_cvtepi32_epi16((__m512i) a)),
                                      _mm512_cvtepi32_epi16((__m512i) b), 1);
#else
    return (gt_vf) _mm256_permute4x64_epi64(_mm256_packs_epi32((__m256i) a, (__m256i) b), 0xd8);
#endif
}

// gt_to_int16 rounds a row of n floats to integers, in pairs, an odd end filled with zero, and returns its scale. dst
// may be src.
GT_INLINE float gt_to_int16(const float * src, int64_t n, float range, float * dst) {
    gt_vi   a = {0}, b = {0};
    int64_t i = 0;
    for (; i + 2 * GT_VL <= n; i += 2 * GT_VL) {
        a = gt_max_vi(a, gt_magnitude(gt_load(src + i)));
        b = gt_max_vi(b, gt_magnitude(gt_load(src + i + GT_VL)));
    }
    const int rest = (int) (n - i), low = rest < GT_VL ? rest : GT_VL;
    if (rest) {
        a = gt_max_vi(a, gt_magnitude(gt_load_n(src + i, low)));
        b = gt_max_vi(b, gt_magnitude(gt_load_n(src + i + GT_VL, rest - low)));
    }
    a = gt_max_vi(a, b);
    int32_t most[GT_VL];
    memcpy(most, &a, sizeof most);
    for (int w = GT_VL / 2; w > 0; w /= 2) {
        for (int l = 0; l < w; l++) most[l] = most[l] > most[l + w] ? most[l] : most[l + w];
    }
    gt_vf       inverse;
    const float scale = gt_int16_scale((gt_vi) gt_splat(gt_bits((uint32_t) most[0])), range, &inverse)[0];
    for (i = 0; i + 2 * GT_VL <= n; i += 2 * GT_VL)
        gt_store(dst + i / 2, gt_narrow_int16(gt_load(src + i), gt_load(src + i + GT_VL), inverse));
    if (rest) {
        gt_vf q = gt_narrow_int16(gt_load_n(src + i, low), gt_load_n(src + i + GT_VL, rest - low), inverse);
        gt_store_n(dst + i / 2, q, (rest + 1) / 2);
    }
    return scale;
}

// gt_int16_pairs makes the pairs (lo, hi) lane by lane.
GT_INLINE gt_vf gt_int16_pairs(gt_vf lo, gt_vf hi, gt_vf inverse) {
    return (gt_vf) ((gt_round(lo * inverse) & 0xffff) | (gt_round(hi * inverse) << 16));
}

#endif
#endif
