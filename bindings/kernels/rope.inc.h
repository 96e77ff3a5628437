// Rotary position embeddings (Su et al. 2021) with frequency factors and YaRN (Peng et al. 2023), as ggml computes them
// (ggml-cpu/ops.cpp: ggml_rope_cache_init, rope_yarn; ggml.c: ggml_rope_yarn_corr_dims): angles grow by an F32 product
// from pair to pair, so that ours carry the same rounding.
//
// A temperature by position (llama.cpp's llm_graph_input_attn_temp; Llama 4, Ministral 3) multiplies heads by
// 1 + temp·ln(1 + ⌊pos/temp_len⌋) as they are rotated: it costs no pass of its own.
//
// GT_OP_ROPE a0 out; a1 x [d·n_head,T] (a0 may be a1); a2 pos i32 [T,1]; a3 frequency factors f32 [n_rot/2] or absent.
#ifndef GT_ROPE_INC_H
#define GT_ROPE_INC_H

#include "kernels.h"

typedef struct gt_rope_constants {
    double  freq_base, freq_scale, ext_factor, attn_factor, beta_fast, beta_slow, temp;
    int64_t n_head, d, n_rot, n_ctx_orig, temp_len;
    bool    neox;    // pairs are halves (ggml's NEOX), not neighbours (NORMAL)
    bool    inverse; // rotate back
} gt_rope_constants;

// The longest rotation one call may ask for: a token's table of cosines and sines lies on the stack.
enum { GT_ROPE_MAX = 1024 };

#ifdef GT_KERNELS

typedef struct gt_rope {
    int64_t       n_rot;
    float         theta_scale, freq_scale, ext_factor, attn_factor, sign;
    float         low, high; // the pairs between which YaRN goes from extrapolation to interpolation
    const float * factors;   // [n_rot/2] or NULL
} gt_rope;

// gt_rope_corr is the pair (a real number) that turns `turns` times within the original context.
static float gt_rope_corr(int64_t n_rot, int64_t n_ctx_orig, float turns, float base) {
    return (float) n_rot * logf((float) n_ctx_orig / (turns * 2 * 3.14159265358979323846f)) / (2 * logf(base));
}

static gt_rope gt_rope_of(const gt_rope_constants * k, const float * factors) {
    const float base = (float) k->freq_base;
    gt_rope     p    = {
               .n_rot       = k->n_rot,
               .theta_scale = powf(base, -2.0f / (float) k->n_rot),
               .freq_scale  = (float) k->freq_scale,
               .ext_factor  = (float) k->ext_factor,
               .attn_factor = (float) k->attn_factor,
               .sign        = k->inverse ? -1.0f : 1.0f,
               .factors     = factors,
    };
    if (p.ext_factor != 0) {
        p.low  = fmaxf(0, floorf(gt_rope_corr(p.n_rot, k->n_ctx_orig, (float) k->beta_fast, base)));
        p.high = fminf((float) p.n_rot - 1, ceilf(gt_rope_corr(p.n_rot, k->n_ctx_orig, (float) k->beta_slow, base)));
        // YaRN's attention temperature, folded into the rotation.
        p.attn_factor *= 1.0f + 0.1f * logf(1.0f / p.freq_scale);
    }
    return p;
}

// gt_rope_temp is the temperature at a position.
static float gt_rope_temp(const gt_rope_constants * k, int32_t pos) {
    if (k->temp == 0) return 1;
    return (float) (1 + k->temp * log(1 + floor((double) pos / (double) k->temp_len)));
}

// gt_rope_table fills cos[i] and sin[i] for pair i of n_rot/2 at a position, times size.
static void gt_rope_table(const gt_rope * p, int32_t pos, float size, float * cs, float * sn) {
    float theta = (float) pos;
    size *= p->attn_factor;
    for (int64_t i = 0; i < p->n_rot / 2; i++) {
        const float extrap = theta / (p->factors ? p->factors[i] : 1.0f);
        float       angle  = p->freq_scale * extrap;
        if (p->ext_factor != 0) {
            const float y    = ((float) i - p->low) / fmaxf(0.001f, p->high - p->low);
            const float ramp = (1 - fminf(1, fmaxf(0, y))) * p->ext_factor;
            angle            = angle * (1 - ramp) + extrap * ramp;
        }
        cs[i] = cosf(angle) * size;
        sn[i] = sinf(angle) * size * p->sign;
        theta *= p->theta_scale;
    }
}

// gt_swap_pairs exchanges the two numbers of each adjacent pair.
GT_INLINE gt_vf gt_swap_pairs(gt_vf v) {
#if GT_VL == 4
    return GT_SHUFFLE2(v, v, 1, 0, 3, 2);
#elif GT_VL == 8
    return GT_SHUFFLE2(v, v, 1, 0, 3, 2, 5, 4, 7, 6);
#else
    return GT_SHUFFLE2(v, v, 1, 0, 3, 2, 5, 4, 7, 6, 9, 8, 11, 10, 13, 12, 15, 14);
#endif
}

// gt_rope_pairs rotates adjacent pairs; cs and sn hold each number twice, the first of a pair's sines negated.
static void gt_rope_pairs(float * y, const float * x, int64_t n_rot, const float * cs, const float * sn) {
    GT_EACH(n_rot, {
        gt_vf v = GT_LD(x);
        GT_ST(y, v * GT_LD(cs) + gt_swap_pairs(v) * GT_LD(sn));
    });
}

// gt_rope_halves rotates number i with number i + n_rot/2.
static void gt_rope_halves(float * y, const float * x, int64_t n_rot, const float * cs, const float * sn) {
    const int64_t half = n_rot / 2;
    const float * xh   = x + half;
    float *       yh   = y + half;
    GT_EACH(half, {
        gt_vf a = GT_LD(x), b = GT_LD(xh), co = GT_LD(cs), si = GT_LD(sn);
        GT_ST(y, a * co - b * si);
        GT_ST(yh, b * co + a * si);
    });
}

static void gt_k_rope(const gt_call * c, int ith, int nth) {
    const gt_rope_constants k = GT_CONSTANTS(rope, c);
    const gt_rope p      = gt_rope_of(&k, c->a[3].data);
    const int64_t n_head = k.n_head, d = k.d, half = p.n_rot / 2;
    float         cs[GT_ROPE_MAX], sn[GT_ROPE_MAX];
    GT_EACH_ROW(&c->a[0], {
        const int32_t pos  = *(const int32_t *) gt_arg_row(&c->a[2], r);
        const float   temp = gt_rope_temp(&k, pos);
        gt_rope_table(&p, pos, temp, cs, sn);
        if (!k.neox) {
            for (int64_t i = half - 1; i >= 0; i--) {
                cs[2 * i] = cs[2 * i + 1] = cs[i];
                sn[2 * i + 1]             = sn[i];
                sn[2 * i]                 = -sn[2 * i + 1];
            }
        }
        for (int64_t h = 0; h < n_head; h++) {
            float *       y = gt_arg_row(&c->a[0], r) + h * d;
            const float * x = gt_arg_row(&c->a[1], r) + h * d;
            if (!k.neox) {
                gt_rope_pairs(y, x, p.n_rot, cs, sn);
            } else {
                gt_rope_halves(y, x, p.n_rot, cs, sn);
            }
            if (temp != 1) {
                for (int64_t i = p.n_rot; i < d; i++) y[i] = temp * x[i];
            } else if (y != x && d > p.n_rot) {
                memcpy(y + p.n_rot, x + p.n_rot, (size_t) (d - p.n_rot) * sizeof(float));
            }
        }
    });
}

#endif

#ifdef GT_CHECKS

const char * gt_check_rope(const gt_call * c) {
    const gt_rope_constants k = GT_CONSTANTS(rope, c);
    const int64_t n_head = k.n_head, d = k.d, n_rot = k.n_rot;
    if (n_head < 1 || n_head > 65536 || d < 1 || d > 65536 || c->a[0].ne0 != n_head * d) {
        return "rope: rows are not n_head heads of d numbers";
    }
    if (n_rot < 2 || n_rot > d || n_rot > GT_ROPE_MAX || n_rot % 2)
        return "rope: n_rot is odd or not within 2, d and 1024";
    if (!(k.freq_base > 0) || !(k.freq_scale > 0) || !isfinite(k.freq_base) || !isfinite(k.freq_scale) ||
        !isfinite(k.attn_factor)) {
        return "rope: a frequency base or scale is not a positive number";
    }
    if (k.ext_factor != 0 && (k.n_ctx_orig < 1 || !(k.beta_fast > 0) || !(k.beta_slow > 0) || !(k.freq_base > 1))) {
        return "rope: YaRN needs the original context length, both betas and a frequency base above 1";
    }
    if (!isfinite(k.temp) || (k.temp != 0 && k.temp_len < 1)) {
        return "rope: a temperature by position needs a finite factor and a length of 1 or more";
    }
    if (!gt_is_matrix(&c->a[2], GT_I32, 1, c->a[0].ne1)) return "rope: the positions are not i32 [1, tokens]";
    if (c->a[3].data && (c->a[3].type != GT_F32 || c->a[3].ne0 < n_rot / 2))
        return "rope: there are fewer frequency factors than pairs";
    return gt_inputs_like(c, 1, 1);
}

#endif

#endif
