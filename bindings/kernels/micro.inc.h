// The inner products: one tile of GT_MR tokens by GT_NR outputs held in registers, once per number format, and the
// packing of both operands into the order in which the tile reads them.
//
// A panel holds GT_NR outputs in lanes: F32 [k][GT_NR], 16-bit formats [k/2][GT_NR][2] (pairs of the reduction index,
// as the dot product instructions take them). A block holds up to GT_MR tokens: F32 [k][mr], 16-bit formats
// [k/2][mr][2].

#include "int16.inc.h"

#if GT_HAS_AVX512 || GT_ISA == GT_ISA_NEON
enum { GT_MR = 12 }; // 24 of 32 registers accumulate
#else
enum { GT_MR = 6 }; // 12 of 16
#endif
enum { GT_NR = 2 * GT_VL };

// Where a tile's result goes: c[i·ldc + j] = (add ? c : 0) + bias[j] + f·sum for the first cols columns. Sums of
// integers are multiplied by their token's and output's scales.
typedef struct gt_tile {
    float *       c;
    int64_t       ldc;
    int           cols;
    int           add;
    float         f;
    const float * bias; // NULL: none
    const float * token_scale, * output_scale; // INT16 only: [mr], [GT_NR]
} gt_tile;

// gt_tile_edge writes a tile that is not full, or has a bias: rare enough to go through memory.
static __attribute__((noinline)) void gt_tile_edge(const gt_tile * o, int mr, const float * sums) {
    for (int i = 0; i < mr; i++) {
        float * c = o->c + i * o->ldc;
        for (int j = 0; j < o->cols; j += GT_VL) {
            int   n = o->cols - j < GT_VL ? o->cols - j : GT_VL;
            gt_vf y = {0};
            if (o->bias) y += gt_load_n(o->bias + j, n);
            if (o->add) y += gt_load_n(c + j, n);
            gt_store_n(c + j, gt_fma(gt_load(sums + i * GT_NR + j), gt_splat(o->f), y), n);
        }
    }
}

// gt_mac adds to acc the product of each lane of w with the same of x, or both products of a pair.
GT_INLINE gt_vf gt_mac(const int format, gt_vf acc, gt_vf w, gt_vf x) {
#if GT_HAS_BF16
    if (format == GT_FORMAT_BF16) return (gt_vf) _mm512_dpbf16_ps((__m512) acc, (__m512bh) w, (__m512bh) x);
#endif
    (void) format;
    return gt_fma(w, x, acc);
}

// gt_micro computes one tile with mr tokens and nv vectors of outputs, both constants where it is inlined, over steps
// reduction steps (one k in F32, else a pair). Token i's number of step s is a[s·as + i·at].
GT_INLINE void gt_micro(const int format, const int mr, const int nv, int64_t steps, const float * restrict a,
                        int64_t as, int64_t at, const float * restrict b, const gt_tile * o) {
    gt_vf acc[GT_MR][2];
    gt_vi sum[GT_MR][2]; // INT16's: compilers copy registers to and fro where one variable is of both kinds
#pragma GCC unroll 16
    for (int i = 0; i < mr; i++) {
#pragma GCC unroll 2
        for (int v = 0; v < nv; v++) acc[i][v] = (gt_vf){0}, sum[i][v] = (gt_vi){0};
    }
    if (o->add) {
        for (int i = 0; i < mr; i++) __builtin_prefetch(o->c + i * o->ldc, 1);
    }
    for (int64_t s = 0; s < steps; s++, a += as, b += GT_NR) {
        gt_vf w[2];
#pragma GCC unroll 2
        for (int v = 0; v < nv; v++) w[v] = gt_load(b + v * GT_VL);
#pragma GCC unroll 16
        for (int i = 0; i < mr; i++) {
            gt_vf x = gt_splat(a[i * at]);
#pragma GCC unroll 2
            for (int v = 0; v < nv; v++) {
                if (format == GT_FORMAT_INT16) sum[i][v] = gt_mac_int16(sum[i][v], (gt_vi) w[v], (gt_vi) x);
                else acc[i][v] = gt_mac(format, acc[i][v], w[v], x);
            }
        }
    }
    if (format == GT_FORMAT_INT16) {
#pragma GCC unroll 16
        for (int i = 0; i < mr; i++) {
#pragma GCC unroll 2
            for (int v = 0; v < nv; v++) {
                const gt_vf scale = gt_splat(o->token_scale[i]) * gt_load(o->output_scale + v * GT_VL);
                acc[i][v]         = __builtin_convertvector(sum[i][v], gt_vf) * scale;
            }
        }
    }
    if (o->cols != nv * GT_VL || o->bias) {
        float sums[GT_MR * GT_NR] __attribute__((aligned(64)));
#pragma GCC unroll 16
        for (int i = 0; i < mr; i++) {
#pragma GCC unroll 2
            for (int v = 0; v < nv; v++) gt_store(sums + i * GT_NR + v * GT_VL, acc[i][v]);
        }
        gt_tile_edge(o, mr, sums);
        return;
    }
    float *     c = o->c;
    const gt_vf f = gt_splat(o->f);
    const int   add = o->add;
#pragma GCC unroll 16
    for (int i = 0; i < mr; i++, c += o->ldc) {
#pragma GCC unroll 2
        for (int v = 0; v < nv; v++) {
            gt_store(c + v * GT_VL, add ? gt_fma(acc[i][v], f, gt_load(c + v * GT_VL)) : acc[i][v] * f);
        }
    }
}

#define GT_MICRO_CASE(mr) \
    case mr:              \
        if (o->cols > GT_VL) gt_micro(format, mr, 2, steps, a, mr, 1, b, o); \
        else gt_micro(format, mr, 1, steps, a, mr, 1, b, o);                 \
        break;

// gt_micro_any picks the tile for a block of mr tokens, 1..GT_MR.
GT_INLINE void gt_micro_any(const int format, int mr, int64_t steps, const float * a, const float * b,
                            const gt_tile * o) {
    switch (mr) {
        GT_MICRO_CASE(1)
        GT_MICRO_CASE(2)
        GT_MICRO_CASE(3)
        GT_MICRO_CASE(4)
        GT_MICRO_CASE(5)
        GT_MICRO_CASE(6)
#if GT_HAS_AVX512 || GT_ISA == GT_ISA_NEON
        GT_MICRO_CASE(7)
        GT_MICRO_CASE(8)
        GT_MICRO_CASE(9)
        GT_MICRO_CASE(10)
        GT_MICRO_CASE(11)
        GT_MICRO_CASE(12)
#endif
    }
}

static __attribute__((noinline)) void gt_micro_f32(int mr, int64_t steps, const float * a, const float * b,
                                                   const gt_tile * o) {
    gt_micro_any(GT_FORMAT_F32, mr, steps, a, b, o);
}

#define GT_MICRO_ROWS_CASE(mr) \
    case mr:                   \
        if (o->cols > GT_VL) gt_micro(GT_FORMAT_F32, mr, 2, steps, a, 1, ld, b, o); \
        else gt_micro(GT_FORMAT_F32, mr, 1, steps, a, 1, ld, b, o);                 \
        break;

// gt_micro_rows is gt_micro_f32 for up to GT_ROWS_MR tokens whose rows lie ld floats apart: no packing, which for one
// panel of outputs would cost half as much as the product. Few rows, because rows a power of two apart share cache
// sets.
enum { GT_ROWS_MR = 6 };
static __attribute__((noinline)) void gt_micro_rows(int mr, int64_t steps, const float * a, int64_t ld, const float * b,
                                                    const gt_tile * o) {
    switch (mr) {
        GT_MICRO_ROWS_CASE(1)
        GT_MICRO_ROWS_CASE(2)
        GT_MICRO_ROWS_CASE(3)
        GT_MICRO_ROWS_CASE(4)
        GT_MICRO_ROWS_CASE(5)
        GT_MICRO_ROWS_CASE(6)
    }
}

#if GT_HAS_PAIRS
static __attribute__((noinline)) void gt_micro_pairs(int mr, int64_t steps, const float * a, const float * b,
                                                     const gt_tile * o) {
    gt_micro_any(GT_PACKED_FORMAT, mr, steps, a, b, o);
}
#endif

// gt_turn writes dst[c·ldd + r] = src[r·ld + c] for nr <= GT_VL rows and nc columns of 4-byte elements (floats or pairs
// of 16 bits; they are only moved).
#if GT_HAS_AVX512
GT_INLINE void gt_turn(const float * src, int64_t ld, int nr, int64_t nc, float * dst, int64_t ldd) {
    for (int64_t c = 0; c < nc; c += 16) {
        int    n = nc - c < 16 ? (int) (nc - c) : 16;
        __m512 r[16], t[16];
        for (int i = 0; i < 16; i++) r[i] = i < nr ? (__m512) gt_load_n(src + i * ld + c, n) : _mm512_setzero_ps();
#pragma GCC unroll 8
        // pairs of rows: t[i] has columns 0 1, t[i+1] columns 2 3 of each lane of four
        for (int i = 0; i < 16; i += 2) {
            t[i]     = _mm512_unpacklo_ps(r[i], r[i + 1]);
            t[i + 1] = _mm512_unpackhi_ps(r[i], r[i + 1]);
        }
#pragma GCC unroll 4
        for (int i = 0; i < 16; i += 4) { // fours of rows: r[i+j] has column j of each lane
            r[i]     = (__m512) _mm512_unpacklo_pd((__m512d) t[i], (__m512d) t[i + 2]);
            r[i + 1] = (__m512) _mm512_unpackhi_pd((__m512d) t[i], (__m512d) t[i + 2]);
            r[i + 2] = (__m512) _mm512_unpacklo_pd((__m512d) t[i + 1], (__m512d) t[i + 3]);
            r[i + 3] = (__m512) _mm512_unpackhi_pd((__m512d) t[i + 1], (__m512d) t[i + 3]);
        }
        __mmask16 rows = (__mmask16) ((1u << nr) - 1);
#pragma GCC unroll 4
        for (int j = 0; j < 4; j++) { // gather column j of the four lanes: columns j, 4+j, 8+j, 12+j
            __m512 a = _mm512_shuffle_f32x4(r[j], r[4 + j], 0x44), b = _mm512_shuffle_f32x4(r[j], r[4 + j], 0xee);
            __m512 e = _mm512_shuffle_f32x4(r[8 + j], r[12 + j], 0x44),
                f = _mm512_shuffle_f32x4(r[8 + j], r[12 + j], 0xee);
            float * d = dst + (c + j) * ldd;
            if (j < n) _mm512_mask_storeu_ps(d, rows, _mm512_shuffle_f32x4(a, e, 0x88));
            if (4 + j < n) _mm512_mask_storeu_ps(d + 4 * ldd, rows, _mm512_shuffle_f32x4(a, e, 0xdd));
            if (8 + j < n) _mm512_mask_storeu_ps(d + 8 * ldd, rows, _mm512_shuffle_f32x4(b, f, 0x88));
            if (12 + j < n) _mm512_mask_storeu_ps(d + 12 * ldd, rows, _mm512_shuffle_f32x4(b, f, 0xdd));
        }
    }
}
#else
GT_INLINE void gt_turn(const float * src, int64_t ld, int nr, int64_t nc, float * dst, int64_t ldd) {
    int64_t c = 0;
#if GT_HAS_AVX2
    // Of fewer than 8 rows each column's zeros lie where the next ones go, or in lanes that are cleared; the last
    // columns are left.
    for (; c + 8 <= nc && (nr == 8 || (nc - c - 7) * ldd >= 8); c += 8) {
        __m256 r[8], t[8];
#pragma GCC unroll 8
        for (int i = 0; i < 8; i++) r[i] = i < nr ? _mm256_loadu_ps(src + i * ld + c) : _mm256_setzero_ps();
#pragma GCC unroll 4
        for (int i = 0; i < 8; i += 2) {
            t[i]     = _mm256_unpacklo_ps(r[i], r[i + 1]);
            t[i + 1] = _mm256_unpackhi_ps(r[i], r[i + 1]);
        }
#pragma GCC unroll 2
        for (int i = 0; i < 8; i += 4) {
            r[i]     = _mm256_shuffle_ps(t[i], t[i + 2], 0x44);
            r[i + 1] = _mm256_shuffle_ps(t[i], t[i + 2], 0xee);
            r[i + 2] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0x44);
            r[i + 3] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0xee);
        }
#pragma GCC unroll 4
        for (int j = 0; j < 4; j++) _mm256_storeu_ps(dst + (c + j) * ldd, _mm256_permute2f128_ps(r[j], r[4 + j], 0x20));
#pragma GCC unroll 4
        for (int j = 0; j < 4; j++)
            _mm256_storeu_ps(dst + (c + 4 + j) * ldd, _mm256_permute2f128_ps(r[j], r[4 + j], 0x31));
    }
#endif
    for (; c < nc; c++) {
        for (int r = 0; r < nr; r++) memcpy(&dst[c * ldd + r], &src[r * ld + c], 4);
    }
}
#endif

// gt_clear_lanes zeroes lanes [m, GT_VL) of one vector per step: no number of the unused lanes may be a NaN's bits,
// which would be slow, and their results are dropped.
GT_INLINE void gt_clear_lanes(float * panel, int m, int64_t steps) {
    for (int64_t s = 0; s < steps; s++) memset(panel + s * GT_NR + m, 0, (size_t) (GT_VL - m) * sizeof(float));
}

// gt_pairs makes the pairs (lo, hi) of bf16, rounded to nearest even, lane by lane: one step of GT_VL columns from two
// rows. Only levels with BF16 products call it.
GT_INLINE gt_vf gt_pairs(gt_vf lo, gt_vf hi) {
#if GT_HAS_BF16
    const __m512i order = _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7, 22, 6,
                                           21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
    return (gt_vf) _mm512_permutexvar_epi16(order, (__m512i) _mm512_cvtne2ps_pbh((__m512) hi, (__m512) lo));
#else
    (void) hi;
    return lo;
#endif
}

#if GT_HAS_BF16
// gt_to_bf16 rounds n floats to bf16 (nearest, ties to even), in pairs; an odd end is filled with zero. dst may be src.
GT_INLINE void gt_to_bf16(const float * src, int64_t n, float * dst) {
    for (int64_t i = 0; i < n; i += 32) {
        int    m  = n - i < 32 ? (int) (n - i) : 32;
        __m512 lo = (__m512) gt_load_n(src + i, m < 16 ? m : 16),
            hi = (__m512) gt_load_n(src + i + 16, m < 16 ? 0 : m - 16);
        _mm512_mask_storeu_epi32(dst + i / 2, (__mmask16) ((1u << ((m + 1) / 2)) - 1),
                                 (__m512i) _mm512_cvtne2ps_pbh(hi, lo));
    }
}
#endif

#if GT_HAS_PAIRS
// gt_to_pairs rounds a row of n floats to the packed format, an odd end filled with zero; INT16 uses the range and
// gives a scale.
GT_INLINE void gt_to_pairs(const float * src, int64_t n, float range, float * dst, float * scale) {
#if GT_HAS_BF16
    (void) range, (void) scale;
    gt_to_bf16(src, n, dst);
#else
    *scale = gt_to_int16(src, n, range, dst);
#endif
}
#endif
