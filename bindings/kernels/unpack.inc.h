// Unpackers: stored weights to floats, with exactly the values of ggml's to_float (types with a minimum may differ by
// the one rounding that a fused multiply-add saves). The layouts of the blocks are ggml's (ggml-common.h): the comment
// at each function repeats them. Everything is written with vectors of 16 bytes; only gt_put16, which widens 16 of them
// to floats, knows the level.
#include "../ggmlapi.h"

typedef uint8_t gt_b16 __attribute__((vector_size(16)));
typedef uint8_t gt_b16m __attribute__((vector_size(16), aligned(1), may_alias));

GT_INLINE gt_b16 gt_load16(const uint8_t * p) { return *(const gt_b16m *) p; }

GT_INLINE uint16_t gt_u16(const uint8_t * p) {
    uint16_t v;
    memcpy(&v, p, 2);
    return v;
}

GT_INLINE float gt_bits(uint32_t u) {
    float f;
    memcpy(&f, &u, 4);
    return f;
}

// gt_half converts one IEEE half-precision number.
GT_INLINE float gt_half(uint16_t h) {
#if GT_HAS_AVX2
    return _cvtsh_ss(h);
#else
    uint32_t sign = (uint32_t) (h & 0x8000) << 16, e = (h >> 10) & 31, m = h & 0x3ff;
    if (e == 31) return gt_bits(sign | 0x7f800000 | m << 13);
    if (e == 0) {
        float tiny = (float) m * 0x1p-24f; // exact: a subnormal half is a multiple of 2^-24
        return sign ? -tiny : tiny;
    }
    return gt_bits(sign | (e + 112) << 23 | m << 13);
#endif
}

GT_INLINE float gt_half_at(const uint8_t * p) { return gt_half(gt_u16(p)); }

// gt_put16 writes dst[i] = q[i]·s + m for 16 signed bytes; gt_put16s without m, where adding 0 would turn -0 into 0.
GT_INLINE void gt_put16(float * dst, gt_b16 q, float s, float m) {
#if GT_HAS_AVX512
    gt_store(dst, (gt_vf) _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32((__m128i) q)) * s + m);
#elif GT_HAS_AVX2
    __m128i v = (__m128i) q;
    gt_store(dst, (gt_vf) _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(v)) * s + m);
    gt_store(dst + 8, (gt_vf) _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_unpackhi_epi64(v, v))) * s + m);
#else
    for (int i = 0; i < 16; i++) dst[i] = (float) (int8_t) q[i] * s + m;
#endif
}

GT_INLINE void gt_put16s(float * dst, gt_b16 q, float s) {
#if GT_HAS_AVX512
    gt_store(dst, (gt_vf) _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32((__m128i) q)) * s);
#elif GT_HAS_AVX2
    __m128i v = (__m128i) q;
    gt_store(dst, (gt_vf) _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(v)) * s);
    gt_store(dst + 8, (gt_vf) _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_unpackhi_epi64(v, v))) * s);
#else
    for (int i = 0; i < 16; i++) dst[i] = (float) (int8_t) q[i] * s;
#endif
}

// gt_bits16 turns bit i of b into byte i: v where it is set, else 0.
GT_INLINE gt_b16 gt_bits16(uint16_t b, uint8_t v) {
#if GT_HAS_AVX512
    return (gt_b16) _mm_maskz_set1_epi8(b, (char) v);
#else
    const gt_b16 bit = {1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128};
    gt_b16       w;
    memset(&w, b & 255, 8);
    memset((uint8_t *) &w + 8, b >> 8, 8);
    return (gt_b16) ((w & bit) == bit) & v;
#endif
}

static void gt_unpack_f32(const void * src, float * dst, int64_t n) { memcpy(dst, src, (size_t) n * 4); }

static void gt_unpack_f16(const void * src, float * dst, int64_t n) {
    const uint8_t * p = src;
    int64_t         i = 0;
#if GT_HAS_AVX512
    for (; i + 16 <= n; i += 16)
        _mm512_storeu_ps(dst + i, _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *) (p + 2 * i))));
#elif GT_HAS_AVX2
    for (; i + 8 <= n; i += 8)
        _mm256_storeu_ps(dst + i, _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *) (p + 2 * i))));
#endif
    for (; i < n; i++) dst[i] = gt_half_at(p + 2 * i);
}

static void gt_unpack_bf16(const void * src, float * dst, int64_t n) {
    const uint8_t * p = src;
    int64_t         i = 0;
#if GT_HAS_AVX512
    for (; i + 16 <= n; i += 16) {
        __m512i v = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *) (p + 2 * i)));
        _mm512_storeu_si512(dst + i, _mm512_slli_epi32(v, 16));
    }
#endif
    for (; i < n; i++) dst[i] = gt_bits((uint32_t) gt_u16(p + 2 * i) << 16);
}

// Q8_0: f16 d; int8 q[32].
static void gt_unpack_q8_0(const void * src, float * dst, int64_t n) {
    const uint8_t * p = src;
    for (; n > 0; n -= 32, p += 34, dst += 32) {
        float d = gt_half_at(p);
        gt_put16s(dst, gt_load16(p + 2), d);
        gt_put16s(dst + 16, gt_load16(p + 18), d);
    }
}

// Q4_0: f16 d; 16 bytes, low nibbles are elements 0..15, high ones 16..31, less 8.
static void gt_unpack_q4_0(const void * src, float * dst, int64_t n) {
    const uint8_t * p = src;
    for (; n > 0; n -= 32, p += 18, dst += 32) {
        float  d = gt_half_at(p);
        gt_b16 q = gt_load16(p + 2);
        gt_put16s(dst, (q & 15) - 8, d);
        gt_put16s(dst + 16, (q >> 4) - 8, d);
    }
}

// Q4_1: f16 d, m; nibbles as Q4_0.
static void gt_unpack_q4_1(const void * src, float * dst, int64_t n) {
    const uint8_t * p = src;
    for (; n > 0; n -= 32, p += 20, dst += 32) {
        float  d = gt_half_at(p), m = gt_half_at(p + 2);
        gt_b16 q = gt_load16(p + 4);
        gt_put16(dst, q & 15, d, m);
        gt_put16(dst + 16, q >> 4, d, m);
    }
}

// Q5_0: f16 d; 32 fifth bits; nibbles as Q4_0; less 16.
static void gt_unpack_q5_0(const void * src, float * dst, int64_t n) {
    const uint8_t * p = src;
    for (; n > 0; n -= 32, p += 22, dst += 32) {
        float  d = gt_half_at(p);
        gt_b16 q = gt_load16(p + 6);
        gt_put16s(dst, ((q & 15) | gt_bits16(gt_u16(p + 2), 16)) - 16, d);
        gt_put16s(dst + 16, ((q >> 4) | gt_bits16(gt_u16(p + 4), 16)) - 16, d);
    }
}

// Q5_1: f16 d, m; 32 fifth bits; nibbles as Q4_0.
static void gt_unpack_q5_1(const void * src, float * dst, int64_t n) {
    const uint8_t * p = src;
    for (; n > 0; n -= 32, p += 24, dst += 32) {
        float  d = gt_half_at(p), m = gt_half_at(p + 2);
        gt_b16 q = gt_load16(p + 8);
        gt_put16(dst, (q & 15) | gt_bits16(gt_u16(p + 4), 16), d, m);
        gt_put16(dst + 16, (q >> 4) | gt_bits16(gt_u16(p + 6), 16), d, m);
    }
}

// gt_nibbles looks each byte, 0 to 15, up in a table of 16.
GT_INLINE gt_b16 gt_nibbles(gt_b16 table, gt_b16 at) {
#if GT_HAS_AVX2
    return (gt_b16) _mm_shuffle_epi8((__m128i) table, (__m128i) at);
#elif GT_ISA == GT_ISA_NEON
    return (gt_b16) vqtbl1q_u8((uint8x16_t) table, (uint8x16_t) at);
#else
    gt_b16 out;
    for (int i = 0; i < 16; i++) out[i] = table[at[i]];
    return out;
#endif
}

// MXFP4: a byte of exponent, of which 128 is 2^0; nibbles as Q4_0, each a sign and twice a number of 3 bits (E2M1).
static void gt_unpack_mxfp4(const void * src, float * dst, int64_t n) {
    const gt_b16    table = {0, 1, 2, 3, 4, 6, 8, 12, 0, 255, 254, 253, 252, 250, 248, 244};
    const uint8_t * p     = src;
    for (; n > 0; n -= 32, p += 17, dst += 32) {
        const uint32_t e = p[0];
        const float    d = gt_bits(e < 2 ? 0x00200000u << e : (e - 1) << 23); // the first two are no normal numbers
        const gt_b16   q = gt_load16(p + 1);
        gt_put16s(dst, gt_nibbles(table, q & 15), d);
        gt_put16s(dst + 16, gt_nibbles(table, q >> 4), d);
    }
}

// Q2_K, 84 bytes: 16 bytes of a 4-bit scale and a 4-bit minimum for each 16 elements; 64 bytes of 2-bit quants; f16 d,
// dmin.
static void gt_unpack_q2_k(const void * src, float * dst, int64_t n) {
    const uint8_t * p = src;
    for (; n > 0; n -= 256, p += 84) {
        float           d = gt_half_at(p + 80), dmin = gt_half_at(p + 82);
        const uint8_t * sc = p;
        for (int half = 0; half < 2; half++) {
            gt_b16 a = gt_load16(p + 16 + 32 * half), b = gt_load16(p + 32 + 32 * half);
            for (int shift = 0; shift < 8; shift += 2, sc += 2, dst += 32) {
                gt_put16(dst, (a >> shift) & 3, d * (float) (sc[0] & 15), -(dmin * (float) (sc[0] >> 4)));
                gt_put16(dst + 16, (b >> shift) & 3, d * (float) (sc[1] & 15), -(dmin * (float) (sc[1] >> 4)));
            }
        }
    }
}

// Q3_K, 110 bytes: 32 bytes of high bits; 64 bytes of 2 low bits; 16 scales of 6 bits in 12 bytes; f16 d. A clear high
// bit means 4 less.
static void gt_unpack_q3_k(const void * src, float * dst, int64_t n) {
    const uint8_t * p = src;
    for (; n > 0; n -= 256, p += 110) {
        float    d = gt_half_at(p + 108);
        uint32_t u[4];
        int8_t   sc[16];
        memcpy(u, p + 96, 12);
        uint32_t high = u[2];
        u[2]          = ((u[0] >> 4) & 0x0f0f0f0f) | ((high >> 4) & 0x03030303) << 4;
        u[3]          = ((u[1] >> 4) & 0x0f0f0f0f) | ((high >> 6) & 0x03030303) << 4;
        u[0]          = (u[0] & 0x0f0f0f0f) | (high & 0x03030303) << 4;
        u[1]          = (u[1] & 0x0f0f0f0f) | ((high >> 2) & 0x03030303) << 4;
        memcpy(sc, u, 16);
        gt_b16 ha = gt_load16(p), hb = gt_load16(p + 16);
        for (int i = 0; i < 8; i++, dst += 32) { // 32 elements: bits 2(i%4) of the half's bytes, high bit i
            const uint8_t * q = p + 32 + 32 * (i / 4);
            gt_b16          a = (gt_load16(q) >> (2 * (i % 4))) & 3, b = (gt_load16(q + 16) >> (2 * (i % 4))) & 3;
            a -= (((ha >> i) & 1) ^ 1) << 2;
            b -= (((hb >> i) & 1) ^ 1) << 2;
            gt_put16s(dst, a, d * (float) (sc[2 * i] - 32));
            gt_put16s(dst + 16, b, d * (float) (sc[2 * i + 1] - 32));
        }
    }
}

// gt_scales_k4 takes apart the 12 bytes of 6-bit scales sc and minima m of Q4_K and Q5_K, 8 of each.
GT_INLINE void gt_scales_k4(const uint8_t * p, uint8_t sc[8], uint8_t m[8]) {
    uint32_t u[3], s[2], t[2];
    memcpy(u, p, 12);
    s[0] = u[0] & 0x3f3f3f3f;
    s[1] = (u[2] & 0x0f0f0f0f) | ((u[0] >> 6) & 0x03030303) << 4;
    t[0] = u[1] & 0x3f3f3f3f;
    t[1] = ((u[2] >> 4) & 0x0f0f0f0f) | ((u[1] >> 6) & 0x03030303) << 4;
    memcpy(sc, s, 8);
    memcpy(m, t, 8);
}

// Q4_K, 144 bytes: f16 d, dmin; scales; 128 bytes, each 32 hold 64 elements: low nibbles, then high.
static void gt_unpack_q4_k(const void * src, float * dst, int64_t n) {
    const uint8_t * p = src;
    for (; n > 0; n -= 256, p += 144) {
        float   d = gt_half_at(p), dmin = gt_half_at(p + 2);
        uint8_t sc[8], m[8];
        gt_scales_k4(p + 4, sc, m);
        for (int i = 0; i < 8; i += 2, dst += 64) {
            gt_b16 a = gt_load16(p + 16 + 16 * i), b = gt_load16(p + 32 + 16 * i);
            float  d1 = d * (float) sc[i], d2 = d * (float) sc[i + 1];
            float  m1 = -(dmin * (float) m[i]), m2 = -(dmin * (float) m[i + 1]);
            gt_put16(dst, a & 15, d1, m1);
            gt_put16(dst + 16, b & 15, d1, m1);
            gt_put16(dst + 32, a >> 4, d2, m2);
            gt_put16(dst + 48, b >> 4, d2, m2);
        }
    }
}

// Q5_K, 176 bytes: f16 d, dmin; scales; 32 bytes of fifth bits, bit i of byte l for element 32i+l; 128 bytes as Q4_K.
static void gt_unpack_q5_k(const void * src, float * dst, int64_t n) {
    const uint8_t * p = src;
    for (; n > 0; n -= 256, p += 176) {
        float   d = gt_half_at(p), dmin = gt_half_at(p + 2);
        uint8_t sc[8], m[8];
        gt_scales_k4(p + 4, sc, m);
        gt_b16 ha = gt_load16(p + 16), hb = gt_load16(p + 32);
        for (int i = 0; i < 8; i += 2, dst += 64) {
            gt_b16 a = gt_load16(p + 48 + 16 * i), b = gt_load16(p + 64 + 16 * i);
            float  d1 = d * (float) sc[i], d2 = d * (float) sc[i + 1];
            float  m1 = -(dmin * (float) m[i]), m2 = -(dmin * (float) m[i + 1]);
            gt_put16(dst, (a & 15) | ((ha >> i) & 1) << 4, d1, m1);
            gt_put16(dst + 16, (b & 15) | ((hb >> i) & 1) << 4, d1, m1);
            gt_put16(dst + 32, (a >> 4) | ((ha >> (i + 1)) & 1) << 4, d2, m2);
            gt_put16(dst + 48, (b >> 4) | ((hb >> (i + 1)) & 1) << 4, d2, m2);
        }
    }
}

// Q6_K, 210 bytes: 128 bytes of low nibbles; 64 bytes of 2 high bits; 16 int8 scales; f16 d; less 32.
static void gt_unpack_q6_k(const void * src, float * dst, int64_t n) {
    const uint8_t * p = src;
    for (; n > 0; n -= 256, p += 210) {
        float d = gt_half_at(p + 208);
        for (int half = 0; half < 2; half++, dst += 128) {
            const uint8_t * ql = p + 64 * half;
            const int8_t *  sc = (const int8_t *) p + 192 + 8 * half;
            for (int l = 0; l < 2; l++) { // the first and the second 16 of each 32
                gt_b16 a = gt_load16(ql + 16 * l), b = gt_load16(ql + 32 + 16 * l),
                    h = gt_load16(p + 128 + 32 * half + 16 * l);
                float * o = dst + 16 * l;
                gt_put16s(o, ((a & 15) | (h & 3) << 4) - 32, d * (float) sc[l]);
                gt_put16s(o + 32, ((b & 15) | ((h >> 2) & 3) << 4) - 32, d * (float) sc[l + 2]);
                gt_put16s(o + 64, ((a >> 4) | ((h >> 4) & 3) << 4) - 32, d * (float) sc[l + 4]);
                gt_put16s(o + 96, ((b >> 4) | (h >> 6) << 4) - 32, d * (float) sc[l + 6]);
            }
        }
    }
}

// A storage type as the products see it: block elements in bytes bytes, and what turns n elements into floats.
typedef struct gt_store_type {
    int64_t block, bytes;
    void (*unpack)(const void * src, float * dst, int64_t n);
} gt_store_type;

static gt_store_type gt_type_of(int32_t type) {
    switch (type) {
    case GGML_TYPE_F32: return (gt_store_type){1, 4, gt_unpack_f32};
    case GGML_TYPE_F16: return (gt_store_type){1, 2, gt_unpack_f16};
    case GGML_TYPE_BF16: return (gt_store_type){1, 2, gt_unpack_bf16};
    case GGML_TYPE_Q8_0: return (gt_store_type){32, 34, gt_unpack_q8_0};
    case GGML_TYPE_Q4_0: return (gt_store_type){32, 18, gt_unpack_q4_0};
    case GGML_TYPE_Q4_1: return (gt_store_type){32, 20, gt_unpack_q4_1};
    case GGML_TYPE_Q5_0: return (gt_store_type){32, 22, gt_unpack_q5_0};
    case GGML_TYPE_Q5_1: return (gt_store_type){32, 24, gt_unpack_q5_1};
    case GGML_TYPE_MXFP4: return (gt_store_type){32, 17, gt_unpack_mxfp4};
    case GGML_TYPE_Q2_K: return (gt_store_type){256, 84, gt_unpack_q2_k};
    case GGML_TYPE_Q3_K: return (gt_store_type){256, 110, gt_unpack_q3_k};
    case GGML_TYPE_Q4_K: return (gt_store_type){256, 144, gt_unpack_q4_k};
    case GGML_TYPE_Q5_K: return (gt_store_type){256, 176, gt_unpack_q5_k};
    case GGML_TYPE_Q6_K: return (gt_store_type){256, 210, gt_unpack_q6_k};
    default: {
        const struct ggml_type_traits * t = ggml_get_type_traits((enum ggml_type) type);
        return (gt_store_type){t->blck_size, (int64_t) t->type_size, t->to_float};
    }
    }
}

enum { GT_BLOCK_MAX = 256 }; // the longest block of any type; args.h holds types to it

// gt_unpack_range writes elements [k, k+n) of a row of any type; k and n need not be multiples of the block.
static void gt_unpack_range(const gt_store_type * s, const uint8_t * row, int64_t k, int64_t n, float * dst) {
    int64_t skip = k % s->block;
    row += k / s->block * s->bytes;
    while (n > 0) {
        int64_t whole = n / s->block * s->block;
        if (skip == 0 && whole > 0) {
            s->unpack(row, dst, whole);
            row += whole / s->block * s->bytes;
            dst += whole;
            n -= whole;
            continue;
        }
        float   block[GT_BLOCK_MAX];
        int64_t m = s->block - skip < n ? s->block - skip : n;
        s->unpack(row, block, s->block);
        memcpy(dst, block + skip, (size_t) m * sizeof(float));
        row += s->bytes;
        dst += m;
        n -= m;
        skip = 0;
    }
}
