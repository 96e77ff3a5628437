// The register-blocked inner loops of attention, shared by its forward and both backward passes.
//
// A tile is a matrix [lanes, rows] whose fast axis is a few vectors of lanes: queries in ATTN and ATTN_BACK_Q, keys in
// ATTN_BACK_KV. With tokens as lanes a softmax needs no sum across a vector, and the other operand (keys, values, output
// gradients) is read where it lies, one broadcast number at a time: nothing but the tile's own tokens is ever repacked.
// Two products are all there is:
//   dot:  S[row, lane] = Σ_i A[row, i]·B[i, lane]          (scores: rows are the tokens on the other side, i runs over d)
//   sum:  O[i, lane]   = O[i, lane]·α[lane] + Σ_row A[row, i]·P[row, lane]
#ifndef GT_ATTN_TILE_INC_H
#define GT_ATTN_TILE_INC_H

// Vectors of lanes in a tile, and rows of a register block. R·NV sums, NV lane vectors and one broadcast must fit the
// registers (32 with AVX-512 and NEON, 16 else), and R·NV must cover the latency of a multiply-add times its rate (8).
#if GT_HAS_AVX512 || GT_ISA == GT_ISA_NEON
enum { GT_ATTN_NV = 2, GT_ATTN_R = 8 };
#elif GT_HAS_AVX2
enum { GT_ATTN_NV = 2, GT_ATTN_R = 6 };
#else
enum { GT_ATTN_NV = 2, GT_ATTN_R = 4 };
#endif

// One register block of dot: rows [0, R) of A (lda floats apart) with NV vectors of B and S (rows lw floats apart).
GT_INLINE void gt_attn_dot_block(const int R, const int NV, const float * a, int64_t lda, int64_t n, const float * b, float * s,
                                 int64_t lw) {
    gt_vf acc[GT_ATTN_R][GT_ATTN_NV];
#pragma GCC unroll 8
    for (int r = 0; r < R; r++) {
#pragma GCC unroll 4
        for (int v = 0; v < NV; v++) acc[r][v] = gt_splat(0);
    }
    for (int64_t i = 0; i < n; i++) {
        gt_vf x[GT_ATTN_NV];
#pragma GCC unroll 4
        for (int v = 0; v < NV; v++) x[v] = gt_load(b + i * lw + v * GT_VL);
#pragma GCC unroll 8
        for (int r = 0; r < R; r++) {
            gt_vf y = gt_splat(a[r * lda + i]);
#pragma GCC unroll 4
            for (int v = 0; v < NV; v++) acc[r][v] += y * x[v];
        }
    }
#pragma GCC unroll 8
    for (int r = 0; r < R; r++) {
#pragma GCC unroll 4
        for (int v = 0; v < NV; v++) gt_store(s + r * lw + v * GT_VL, acc[r][v]);
    }
}

// One register block of sum: rows [0, R) of O, from columns [0, R) of A. alpha: NV vectors, or NULL for 1.
GT_INLINE void gt_attn_sum_block(const int R, const int NV, const float * a, int64_t lda, int64_t n, const float * p, float * o,
                                 int64_t lw, const gt_vf * alpha) {
    gt_vf acc[GT_ATTN_R][GT_ATTN_NV];
#pragma GCC unroll 8
    for (int r = 0; r < R; r++) {
#pragma GCC unroll 4
        for (int v = 0; v < NV; v++) {
            acc[r][v] = gt_load(o + r * lw + v * GT_VL);
            if (alpha) acc[r][v] *= alpha[v];
        }
    }
    for (int64_t k = 0; k < n; k++) {
        gt_vf x[GT_ATTN_NV];
#pragma GCC unroll 4
        for (int v = 0; v < NV; v++) x[v] = gt_load(p + k * lw + v * GT_VL);
#pragma GCC unroll 8
        for (int r = 0; r < R; r++) {
            gt_vf y = gt_splat(a[k * lda + r]);
#pragma GCC unroll 4
            for (int v = 0; v < NV; v++) acc[r][v] += y * x[v];
        }
    }
#pragma GCC unroll 8
    for (int r = 0; r < R; r++) {
#pragma GCC unroll 4
        for (int v = 0; v < NV; v++) gt_store(o + r * lw + v * GT_VL, acc[r][v]);
    }
}

GT_INLINE void gt_attn_dot_nv(const int NV, const float * a, int64_t lda, int64_t rows, int64_t n, const float * b, float * s,
                              int64_t lw) {
    int64_t r = 0;
    for (; r + GT_ATTN_R <= rows; r += GT_ATTN_R) gt_attn_dot_block(GT_ATTN_R, NV, a + r * lda, lda, n, b, s + r * lw, lw);
    if (GT_ATTN_R > 4 && r + 4 <= rows) {
        gt_attn_dot_block(4, NV, a + r * lda, lda, n, b, s + r * lw, lw);
        r += 4;
    }
    if (r + 2 <= rows) {
        gt_attn_dot_block(2, NV, a + r * lda, lda, n, b, s + r * lw, lw);
        r += 2;
    }
    if (r < rows) gt_attn_dot_block(1, NV, a + r * lda, lda, n, b, s + r * lw, lw);
}

GT_INLINE void gt_attn_sum_nv(const int NV, const float * a, int64_t lda, int64_t rows, int64_t n, const float * p, float * o,
                              int64_t lw, const gt_vf * alpha) {
    int64_t i = 0;
    for (; i + GT_ATTN_R <= n; i += GT_ATTN_R) gt_attn_sum_block(GT_ATTN_R, NV, a + i, lda, rows, p, o + i * lw, lw, alpha);
    if (GT_ATTN_R > 4 && i + 4 <= n) {
        gt_attn_sum_block(4, NV, a + i, lda, rows, p, o + i * lw, lw, alpha);
        i += 4;
    }
    if (i + 2 <= n) {
        gt_attn_sum_block(2, NV, a + i, lda, rows, p, o + i * lw, lw, alpha);
        i += 2;
    }
    if (i < n) gt_attn_sum_block(1, NV, a + i, lda, rows, p, o + i * lw, lw, alpha);
}

// gt_attn_dot: S [nv vectors, rows] = A [n, rows] · B [nv vectors, n].
static void gt_attn_dot(int nv, const float * a, int64_t lda, int64_t rows, int64_t n, const float * b, float * s, int64_t lw) {
    if (nv == 2) {
        gt_attn_dot_nv(2, a, lda, rows, n, b, s, lw);
    } else {
        gt_attn_dot_nv(1, a, lda, rows, n, b, s, lw);
    }
}

// gt_attn_sum: O [nv vectors, n] = O·alpha + Aᵀ [rows, n] · P [nv vectors, rows]. alpha NULL: 1.
static void gt_attn_sum(int nv, const float * a, int64_t lda, int64_t rows, int64_t n, const float * p, float * o, int64_t lw,
                        const gt_vf * alpha) {
    if (nv == 2) {
        if (alpha) {
            gt_attn_sum_nv(2, a, lda, rows, n, p, o, lw, alpha);
        } else {
            gt_attn_sum_nv(2, a, lda, rows, n, p, o, lw, NULL);
        }
    } else {
        if (alpha) {
            gt_attn_sum_nv(1, a, lda, rows, n, p, o, lw, alpha);
        } else {
            gt_attn_sum_nv(1, a, lda, rows, n, p, o, lw, NULL);
        }
    }
}

// --- transposition ---------------------------------------------------------------------------------------------------

#ifdef __clang__
#define GT_SHUFFLE2(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define GT_SHUFFLE2(a, b, ...) __builtin_shuffle(a, b, (gt_vi){__VA_ARGS__})
#endif

// gt_transpose_step exchanges, between rows i and i+s (for every i without bit s), the lanes that have bit s in row i with
// those that lack it in row i+s. LO and HI are the lane numbers of the two new rows; the second operand's begin at GT_VL.
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

// gt_attn_pack writes B[i, lane] = mult·src[lane, i] for one vector of lanes: lane l is row l of src (stride floats apart, d
// long), and lanes beyond count repeat the last row, so that they hold harmless numbers. count >= 1.
static void gt_attn_pack(float * b, int64_t lw, const float * src, int64_t stride, int count, int64_t d, float mult) {
    for (int64_t i = 0; i < d; i += GT_VL) {
        gt_vf x[GT_VL];
        int   n = d - i < GT_VL ? (int) (d - i) : GT_VL;
        for (int l = 0; l < GT_VL; l++) {
            const float * p = src + (l < count ? l : count - 1) * stride + i;
            x[l]            = (n == GT_VL ? gt_load(p) : gt_load_n(p, n)) * mult;
        }
        gt_transpose(x);
        for (int r = 0; r < n; r++) gt_store(b + (i + r) * lw, x[r]);
    }
}

// gt_attn_unpack is the way back: dst[lane, i] = mult[lane]·O[i, lane] for the first count lanes.
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

#endif
