// The register-blocked inner loops of attention, shared by its forward and both backward passes.
//
// A tile is a matrix [lanes, n] whose fast axis is a few vectors of lanes: queries in ATTN and ATTN_BACK_Q, keys in
// ATTN_BACK_KV. With tokens as lanes a softmax needs no sum across a vector, and the other operand (keys, values,
// output gradients) is read one broadcast at a time, row by row as it lies in memory. Two products are all there is:
//   dot:  S[lane, row] = Σ_i A[i, row]·B[lane, i]          (scores: rows are the tokens on the other side, i runs over
//   a head)
//   sum:  O[lane, i]   = O[lane, i]·α[lane] + Σ_row A[i, row]·P[lane, row]
//
// In the fast mode, where the level has BF16 products, both operands are BF16 in pairs that follow each other along the
// sum: a pair takes the place of a float, everything else stays. Sums are F32 in either mode.
#ifndef GT_ATTN_TILE_INC_H
#define GT_ATTN_TILE_INC_H

// Vectors of lanes in a tile (the code below writes two out: an array of them would not stay in registers), and rows of
// a register block. R·NV sums, NV lane vectors and one broadcast must fit the registers (32 with AVX-512 and NEON, 16
// else), and R·NV must cover the latency of a multiply-add times its rate (8).
#if GT_HAS_AVX512 || GT_ISA == GT_ISA_NEON
enum { GT_ATTN_NV = 2, GT_ATTN_R = 8 };
#elif GT_HAS_AVX2
enum { GT_ATTN_NV = 2, GT_ATTN_R = 6 };
#else
enum { GT_ATTN_NV = 2, GT_ATTN_R = 4 };
#endif

// gt_attn_mac adds to acc the product of the number (fast: the sum of both products of the pair) at a with each lane of
// x.
GT_INLINE gt_vf gt_attn_mac(const int fast, gt_vf acc, const float * a, gt_vf x) {
    return gt_mac(GT_HAS_BF16 && fast ? GT_FORMAT_BF16 : GT_FORMAT_F32, acc, gt_splat(*a), x);
}

// One register block: out[r] = start[r] + Σ_k a[r·step + k·next]·x[k], for R rows of NV vectors; rows of out and x are
// lw floats apart. start is zero, or out times alpha, or (alpha NULL) out.
GT_INLINE void gt_attn_block_of(const int fast, const int R, const int NV, const int zero, const float * a,
                                int64_t step, int64_t next, int64_t n, const float * x, float * out, int64_t lw,
                                const gt_vf * alpha) {
    gt_vf acc[GT_ATTN_R][GT_ATTN_NV];
#pragma GCC unroll 8
    for (int r = 0; r < R; r++) {
#pragma GCC unroll 2
        for (int v = 0; v < NV; v++) {
            acc[r][v] = zero ? gt_splat(0) : gt_load(out + r * lw + v * GT_VL);
            if (alpha) acc[r][v] *= alpha[v];
        }
    }
    for (int64_t k = 0; k < n; k++) {
        const gt_vf x0 = gt_load(x + k * lw), x1 = NV > 1 ? gt_load(x + k * lw + GT_VL) : x0;
#pragma GCC unroll 8
        for (int r = 0; r < R; r++) {
            const float * p = a + r * step + k * next;
            acc[r][0]       = gt_attn_mac(fast, acc[r][0], p, x0);
            if (NV > 1) acc[r][1] = gt_attn_mac(fast, acc[r][1], p, x1);
        }
    }
#pragma GCC unroll 8
    for (int r = 0; r < R; r++) {
#pragma GCC unroll 2
        for (int v = 0; v < NV; v++) gt_store(out + r * lw + v * GT_VL, acc[r][v]);
    }
}

// GT_ATTN_ROWS covers `rows` rows with register blocks; ARGS is what follows NV, given row r.
#define GT_ATTN_ROWS(FAST, NV, ZERO, rows, ...)                                                            \
    do {                                                                                                   \
        int64_t r = 0;                                                                                     \
        for (; r + GT_ATTN_R <= (rows); r += GT_ATTN_R) gt_attn_block_of(FAST, GT_ATTN_R, NV, ZERO, __VA_ARGS__); \
        if (GT_ATTN_R > 4 && r + 4 <= (rows)) {                                                            \
            gt_attn_block_of(FAST, 4, NV, ZERO, __VA_ARGS__);                                              \
            r += 4;                                                                                        \
        }                                                                                                  \
        if (r + 2 <= (rows)) {                                                                             \
            gt_attn_block_of(FAST, 2, NV, ZERO, __VA_ARGS__);                                              \
            r += 2;                                                                                        \
        }                                                                                                  \
        if (r < (rows)) gt_attn_block_of(FAST, 1, NV, ZERO, __VA_ARGS__);                                  \
    } while (0)

// gt_attn_dot: S [nv vectors, rows] = A [n, rows] · B [nv vectors, n]; A's rows are lda apart. Fast: n counts pairs.
static __attribute__((noinline)) void gt_attn_dot(int fast, int nv, const float * a, int64_t lda, int64_t rows,
                                                  int64_t n, const float * b, float * s, int64_t lw) {
#define GT_DOT(FAST, NV) GT_ATTN_ROWS(FAST, NV, 1, rows, a + r * lda, lda, 1, n, b, s + r * lw, lw, NULL)
    if (GT_HAS_BF16 && fast) {
        if (nv > 1) {
            GT_DOT(1, 2);
        } else {
            GT_DOT(1, 1);
        }
    } else if (nv > 1) {
        GT_DOT(0, 2);
    } else {
        GT_DOT(0, 1);
    }
#undef GT_DOT
}

// gt_attn_sum: O [nv vectors, n] = O·alpha + Aᵀ [rows, n] · P [nv vectors, rows]; alpha NULL: 1. Fast: rows counts
// pairs.
static __attribute__((noinline)) void gt_attn_sum(int fast, int nv, const float * a, int64_t lda, int64_t rows,
                                                  int64_t n, const float * p, float * o, int64_t lw,
                                                  const gt_vf * alpha) {
    const gt_vf   one[GT_ATTN_NV] = {gt_splat(1), gt_splat(1)};
    const gt_vf * by              = alpha ? alpha : one;
#define GT_SUM_ROWS(FAST, NV) GT_ATTN_ROWS(FAST, NV, 0, n, a + r, 1, lda, rows, p, o + r * lw, lw, by)
    if (GT_HAS_BF16 && fast) {
        if (nv > 1) {
            GT_SUM_ROWS(1, 2);
        } else {
            GT_SUM_ROWS(1, 1);
        }
    } else if (nv > 1) {
        GT_SUM_ROWS(0, 2);
    } else {
        GT_SUM_ROWS(0, 1);
    }
#undef GT_SUM_ROWS
}

// gt_attn_exp2 is 2^x for x up to 128, to within 2 ulp (the polynomial of Cephes' exp2f); below -150 it is 0.
GT_INLINE gt_vf gt_attn_exp2(gt_vf x) {
    x = gt_select(x < -160.0f, gt_splat(-160), x); // NaN passes through
#if GT_HAS_AVX512
    const gt_vf n = (gt_vf) _mm512_roundscale_ps((__m512) x, 0);
#else
    const gt_vf magic = gt_splat(12582912.0f); // 1.5·2^23: adding it rounds to an integer, which the low bits then hold
    const gt_vf t     = x + magic, n = t - magic;
    const gt_vi k     = (gt_vi) t - (gt_vi) magic;
#endif
    const gt_vf r = x - n;
    gt_vf       p = gt_splat(1.535336188319500e-4f);
    p             = gt_fma(p, r, gt_splat(1.339887440266574e-3f));
    p             = gt_fma(p, r, gt_splat(9.618437357674640e-3f));
    p             = gt_fma(p, r, gt_splat(5.550332471162809e-2f));
    p             = gt_fma(p, r, gt_splat(2.402264791363012e-1f));
    p             = gt_fma(p, r, gt_splat(6.931472028550421e-1f));
    p             = gt_fma(p, r, gt_splat(1));
#if GT_HAS_AVX512
    return (gt_vf) _mm512_scalef_ps((__m512) p, (__m512) n);
#else
    const gt_vi h = k >> 1; // in two steps: 2^k may be no normal number
    return p * (gt_vf) ((h + 127) << 23) * (gt_vf) ((k - h + 127) << 23);
#endif
}

// --- transposition ---------------------------------------------------------------------------------------------------

#ifdef __clang__
#define GT_SHUFFLE2(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define GT_SHUFFLE2(a, b, ...) __builtin_shuffle(a, b, (gt_vi){__VA_ARGS__})
#endif

// gt_transpose_step exchanges, between rows i and i+s (for every i without bit s), the lanes that have bit s in row i
// with those that lack it in row i+s. LO and HI are the lane numbers of the two new rows; the second operand's begin at
// GT_VL.
#define GT_TRANSPOSE_STEP(S, LO, HI)                            \
    GT_INLINE void gt_transpose_##S(gt_vf x[GT_VL]) {           \
        for (int g = 0; g < GT_VL; g += 2 * (S)) {              \
            for (int i = g; i < g + (S); i++) {                 \
                gt_vf a = x[i], b = x[i + (S)];                 \
                x[i]       = GT_SHUFFLE2(a, b, LO);             \
                x[i + (S)] = GT_SHUFFLE2(a, b, HI);             \
            }                                                   \
        }                                                       \
    }

#if GT_VL == 4
#define GT_LO1 0, 4, 2, 6
#define GT_HI1 1, 5, 3, 7
#define GT_LO2 0, 1, 4, 5
#define GT_HI2 2, 3, 6, 7
#elif GT_VL == 8
#define GT_LO1 0, 8, 2, 10, 4, 12, 6, 14
#define GT_HI1 1, 9, 3, 11, 5, 13, 7, 15
#define GT_LO2 0, 1, 8, 9, 4, 5, 12, 13
#define GT_HI2 2, 3, 10, 11, 6, 7, 14, 15
#define GT_LO4 0, 1, 2, 3, 8, 9, 10, 11
#define GT_HI4 4, 5, 6, 7, 12, 13, 14, 15
#else
#define GT_LO1 0, 16, 2, 18, 4, 20, 6, 22, 8, 24, 10, 26, 12, 28, 14, 30
#define GT_HI1 1, 17, 3, 19, 5, 21, 7, 23, 9, 25, 11, 27, 13, 29, 15, 31
#define GT_LO2 0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29
#define GT_HI2 2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31
#define GT_LO4 0, 1, 2, 3, 16, 17, 18, 19, 8, 9, 10, 11, 24, 25, 26, 27
#define GT_HI4 4, 5, 6, 7, 20, 21, 22, 23, 12, 13, 14, 15, 28, 29, 30, 31
#define GT_LO8 0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23
#define GT_HI8 8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31
#endif

GT_TRANSPOSE_STEP(1, GT_LO1, GT_HI1)
GT_TRANSPOSE_STEP(2, GT_LO2, GT_HI2)
#if GT_VL > 4
GT_TRANSPOSE_STEP(4, GT_LO4, GT_HI4)
#endif
#if GT_VL > 8
GT_TRANSPOSE_STEP(8, GT_LO8, GT_HI8)
#endif

// gt_transpose transposes a square of GT_VL vectors in place.
GT_INLINE void gt_transpose(gt_vf x[GT_VL]) {
    gt_transpose_1(x);
    gt_transpose_2(x);
#if GT_VL > 4
    gt_transpose_4(x);
#endif
#if GT_VL > 8
    gt_transpose_8(x);
#endif
}

// gt_attn_pack writes B[lane, i] = mult·src[i, lane] for one vector of lanes: lane l is row l of src (stride floats
// apart, d long), and lanes beyond count repeat the last row, so that they hold harmless numbers. count >= 1. Fast:
// pairs along i.
static void gt_attn_pack(int fast, float * b, int64_t lw, const float * src, int64_t stride, int count, int64_t d,
                         float mult) {
    for (int64_t i = 0; i < d; i += GT_VL) {
        gt_vf x[GT_VL];
        int   n = d - i < GT_VL ? (int) (d - i) : GT_VL;
        for (int l = 0; l < GT_VL; l++) {
            const float * p = src + (l < count ? l : count - 1) * stride + i;
            x[l]            = (n == GT_VL ? gt_load(p) : gt_load_n(p, n)) * gt_splat(mult);
        }
        gt_transpose(x);
        if (GT_HAS_BF16 && fast) {
            for (int r = 0; r < n; r += 2) gt_store(b + (i + r) / 2 * lw, gt_pairs(x[r], x[r + 1]));
        } else {
            for (int r = 0; r < n; r++) gt_store(b + (i + r) * lw, x[r]);
        }
    }
}

// gt_attn_unpack is the way back: dst[i, lane] = mult[lane]·O[lane, i] for the first count lanes. O is F32 in either
// mode.
static void gt_attn_unpack(float * dst, int64_t stride, const float * o, int64_t lw, int count, int64_t d, gt_vf mult) {
    for (int64_t i = 0; i < d; i += GT_VL) {
        gt_vf x[GT_VL];
        int   n = d - i < GT_VL ? (int) (d - i) : GT_VL;
        for (int r = 0; r < GT_VL; r++) x[r] = r < n ? gt_load(o + (i + r) * lw) * mult : gt_splat(0);
        gt_transpose(x);
        for (int l = 0; l < count; l++) {
            if (n == GT_VL) {
                gt_store(dst + l * stride + i, x[l]);
            } else {
                gt_store_n(dst + l * stride + i, x[l], n);
            }
        }
    }
}

// gt_attn_near copies n rows of d floats (stride apart) to buf without gaps. Rows a power of two apart, as the heads of
// a wide matrix are, all fall into the same few sets of the first-level cache, and sum comes back to each many times.
// The rows behind them, which are wanted next, are called up from memory meanwhile: no hardware prefetcher follows such
// strides. Fast: the pairs (row 2k, row 2k + 1), the last of an odd number with zero.
static void gt_attn_near(int fast, float * buf, const float * src, int64_t stride, int64_t n, int64_t d) {
    for (int64_t k = n; k < 2 * n; k++) {
        for (int64_t i = 0; i < d; i += 16) __builtin_prefetch((const char *) src + 4 * (k * stride + i), 0, 2);
    }
    if (!(GT_HAS_BF16 && fast)) {
        for (int64_t k = 0; k < n; k++) memcpy(buf + k * d, src + k * stride, (size_t) d * sizeof(float));
        return;
    }
    for (int64_t k = 0; k < n; k += 2) {
        const float * a = src + k * stride;
        const float * b = k + 1 < n ? a + stride : NULL;
        float *       y = buf + k / 2 * d;
        int64_t       i = 0;
        for (; i + GT_VL <= d; i += GT_VL) gt_store(y + i, gt_pairs(gt_load(a + i), b ? gt_load(b + i) : gt_splat(0)));
        if (i < d) {
            const int m = (int) (d - i);
            gt_store_n(y + i, gt_pairs(gt_load_n(a + i, m), b ? gt_load_n(b + i, m) : gt_splat(0)), m);
        }
    }
}

// gt_attn_halve writes n rows of d floats as rows of (d + 1)/2 pairs along the row, without gaps; of an odd d the last
// pair's second is zero. Only in the fast mode.
static void gt_attn_halve(float * buf, const float * src, int64_t stride, int64_t n, int64_t d) {
#if GT_HAS_BF16
    const int64_t pairs = (d + 1) / 2;
    for (int64_t k = 0; k < n; k++) {
        const float * a = src + k * stride;
        float *       y = buf + k * pairs;
        for (int64_t i = 0; i < d; i += 2 * GT_VL) {
            const int64_t left = d - i, rest = left - GT_VL;
            const gt_vf   lo   = gt_load_n(a + i, rest >= 0 ? GT_VL : (int) left);
            const gt_vf   hi   = rest > 0 ? gt_load_n(a + i + GT_VL, rest >= GT_VL ? GT_VL : (int) rest) : gt_splat(0);
            const gt_vf   v    = (gt_vf) _mm512_cvtne2ps_pbh((__m512) hi, (__m512) lo);
            if (rest >= GT_VL) {
                gt_store(y + i / 2, v);
            } else {
                gt_store_n(y + i / 2, v, (int) (left + 1) / 2);
            }
        }
    }
#else
    (void) buf, (void) src, (void) stride, (void) n, (void) d;
#endif
}

#endif
