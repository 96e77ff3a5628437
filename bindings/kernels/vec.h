// One machine word of floats, whatever the level: GCC's vector types, a few operations the compilers do not find by
// themselves, and exp. Included only by the kern_*.c files, after they have chosen an instruction set; all is static.
//
// The level is told by GT_ISA (a GT_LEVEL_* number), never by the compiler's own __AVX512F__ and the like: with
// -march=native those are set in the portable level too, and that level must stay the plain reference.
#ifndef GT_VEC_H
#define GT_VEC_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#include "kernels.h"

#if GT_ISA == GT_ISA_AVX512 || GT_ISA == GT_ISA_AVX512_VNNI || GT_ISA == GT_ISA_AVX512_BF16
#define GT_VBYTES 64
#define GT_HAS_AVX512 1
#define GT_HAS_AVX2 1
#elif GT_ISA == GT_ISA_AVX2 || GT_ISA == GT_ISA_AVX2_VNNI
#define GT_VBYTES 32
#define GT_HAS_AVX512 0
#define GT_HAS_AVX2 1
#else
#define GT_VBYTES 16
#define GT_HAS_AVX512 0
#define GT_HAS_AVX2 0
#endif
#define GT_HAS_BF16 (GT_ISA == GT_ISA_AVX512_BF16)
#define GT_HAS_VNNI (GT_ISA == GT_ISA_AVX2_VNNI || GT_ISA == GT_ISA_AVX512_VNNI)
// Where BF16 products are missing, those of 16-bit integers are used: int16.inc.h.
#define GT_HAS_I16 (GT_HAS_AVX2 && !GT_HAS_BF16)
#define GT_HAS_PAIRS (GT_HAS_BF16 || GT_HAS_I16) // packed activations are pairs of 16 bits
#define GT_VL (GT_VBYTES / 4) // floats in a vector

#if GT_HAS_AVX2
#include <immintrin.h>
#endif
#if GT_ISA == GT_ISA_NEON
#include <arm_neon.h>
#endif

#define GT_INLINE static inline __attribute__((always_inline, unused))

// What packed activations, and the products of the fast mode, are made of.
enum { GT_PACKED_FORMAT = GT_HAS_BF16 ? GT_FORMAT_BF16 : GT_HAS_I16 ? GT_FORMAT_INT16 : GT_FORMAT_F32 };

// Plain vectors, and their unaligned, aliasing twins through which memory is touched.
typedef float    gt_vf __attribute__((vector_size(GT_VBYTES)));
typedef int32_t  gt_vi __attribute__((vector_size(GT_VBYTES)));
typedef uint32_t gt_vu __attribute__((vector_size(GT_VBYTES)));
typedef float    gt_vfm __attribute__((vector_size(GT_VBYTES), aligned(4), may_alias));
typedef int32_t  gt_vim __attribute__((vector_size(GT_VBYTES), aligned(4), may_alias));

GT_INLINE gt_vf gt_load(const float * p) { return *(const gt_vfm *) p; }
GT_INLINE void  gt_store(float * p, gt_vf v) { *(gt_vfm *) p = v; }
// gt_splat puts x into every lane, bit for bit (0 + x would not: it loses the sign of -0).
GT_INLINE gt_vf gt_splat(float x) {
#if GT_HAS_AVX512
    return (gt_vf) _mm512_set1_ps(x);
#elif GT_HAS_AVX2
    return (gt_vf) _mm256_set1_ps(x);
#else
    return (gt_vf){x, x, x, x};
#endif
}

// gt_fma is a·b + c, rounded once wherever the level has the instruction. Written as a·b + c, the compiler would
// choose, and choose differently in two copies of one loop (it avoids long chains of them when tuning for some CPUs):
// then the number of threads would show in the last bit. In the portable level a pragma forbids the choice.
GT_INLINE gt_vf gt_fma(gt_vf a, gt_vf b, gt_vf c) {
#if GT_HAS_AVX512
    return (gt_vf) _mm512_fmadd_ps((__m512) a, (__m512) b, (__m512) c);
#elif GT_HAS_AVX2
    return (gt_vf) _mm256_fmadd_ps((__m256) a, (__m256) b, (__m256) c);
#elif GT_ISA == GT_ISA_NEON
    return (gt_vf) vfmaq_f32((float32x4_t) c, (float32x4_t) a, (float32x4_t) b);
#else
    return a * b + c;
#endif
}

// gt_load_n and gt_store_n touch only the first n floats (0 <= n <= GT_VL); the rest read as zero.
GT_INLINE gt_vf gt_load_n(const float * p, int n) {
#if GT_HAS_AVX512
    return (gt_vf) _mm512_maskz_loadu_ps((__mmask16) ((1u << n) - 1), p);
#else
    gt_vf v = {0};
    memcpy(&v, p, (size_t) n * sizeof(float));
    return v;
#endif
}

GT_INLINE void gt_store_n(float * p, gt_vf v, int n) {
#if GT_HAS_AVX512
    _mm512_mask_storeu_ps(p, (__mmask16) ((1u << n) - 1), (__m512) v);
#else
    memcpy(p, &v, (size_t) n * sizeof(float));
#endif
}

// gt_select picks a where the mask's lane is all ones, b where it is zero. Comparisons of vectors give such masks.
GT_INLINE gt_vf gt_select(gt_vi mask, gt_vf a, gt_vf b) { return (gt_vf) ((mask & (gt_vi) a) | (~mask & (gt_vi) b)); }

GT_INLINE gt_vf gt_max(gt_vf a, gt_vf b) {
#if GT_HAS_AVX512
    return (gt_vf) _mm512_max_ps((__m512) a, (__m512) b);
#elif GT_HAS_AVX2
    return (gt_vf) _mm256_max_ps((__m256) a, (__m256) b);
#else
    return gt_select(a > b, a, b);
#endif
}

GT_INLINE gt_vf gt_min(gt_vf a, gt_vf b) {
#if GT_HAS_AVX512
    return (gt_vf) _mm512_min_ps((__m512) a, (__m512) b);
#elif GT_HAS_AVX2
    return (gt_vf) _mm256_min_ps((__m256) a, (__m256) b);
#else
    return gt_select(a < b, a, b);
#endif
}

// gt_hsum adds the lanes in a fixed tree: halves onto each other until one is left.
GT_INLINE float gt_hsum(gt_vf v) {
    float t[GT_VL];
    memcpy(t, &v, sizeof t);
    for (int w = GT_VL / 2; w > 0; w /= 2) {
        for (int i = 0; i < w; i++) t[i] += t[i + w];
    }
    return t[0];
}

GT_INLINE float gt_hmax(gt_vf v) {
    float t[GT_VL];
    memcpy(t, &v, sizeof t);
    for (int w = GT_VL / 2; w > 0; w /= 2) {
        for (int i = 0; i < w; i++) t[i] = t[i] > t[i + w] ? t[i] : t[i + w];
    }
    return t[0];
}

// gt_exp is e^x to within 2 ulp: x = n·ln2 + r with |r| <= ln2/2 (ln2 in two parts, Cody and Waite), a polynomial of
// degree 6 for e^r (minimax, as Cephes expf), and n put into the exponent in two steps so that results near the ends of
// the range are right. Below -103.97 it gives 0 and above 88.72 infinity; NaN stays NaN.
GT_INLINE gt_vf gt_exp(gt_vf x) {
    const gt_vf lo = gt_splat(-104.0f), hi = gt_splat(89.0f);
    gt_vf       c  = gt_select(x > hi, hi, x);
    c              = gt_select(x < lo, lo, c); // comparisons with NaN are false: it passes through
    // Adding 1.5·2^23 rounds to an integer, which the low bits then hold.
    const gt_vf magic = gt_splat(12582912.0f);
    gt_vf       t     = c * 1.44269504088896341f + magic;
    gt_vf       n     = t - magic;
    gt_vi       k     = (gt_vi) t - (gt_vi) magic;
    gt_vf       r     = (c - n * 0.693359375f) + n * 2.12194440e-4f;
    gt_vf       p     = gt_splat(1.9875691500e-4f);
    p                 = p * r + 1.3981999507e-3f;
    p                 = p * r + 8.3334519073e-3f;
    p                 = p * r + 4.1665795894e-2f;
    p                 = p * r + 1.6666665459e-1f;
    p                 = p * r + 5.0000001201e-1f;
    p                 = p * (r * r) + r + 1.0f;
    gt_vi h           = k >> 1;
    gt_vf s1          = (gt_vf) ((h + 127) << 23);
    gt_vf s2          = (gt_vf) ((k - h + 127) << 23);
    return p * s1 * s2;
}

GT_INLINE float gt_exp1(float x) { return gt_exp(gt_splat(x))[0]; }

#endif
