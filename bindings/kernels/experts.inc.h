// Products of rows, sorted by expert, each with its expert's matrix. Experts are one below the other in one stored
// matrix [K,N·E], read where it lies; starts i32 [E+1] says where an expert's rows begin (route.inc.h).
//
// GT_OP_EXPERTS_PACK a0 out packed [K,R]: rows from[i] of a1 x [K,T], or its rows as they are, made ready for the fast
//                   mode expert by expert; a2 from i32 [R] or absent; a3 starts. Size of a0: gt_packed_bytes(K, R).
// GT_OP_EXPERTS     as GT_OP_LINEAR: a0 y [N,R]; a1 x [K,R] f32 or packed; a2 W [K,N·E]; a3 bias [N,E] or absent;
//                   a4, a5 the second pair, [r,R] and [r,N·E], both or neither; a6 starts.
// GT_OP_EXPERTS_T   as GT_OP_LINEAR_T: a0 dx [K,R]; a1 dy [N,R]; a2 W [K,N·E]; a4, a5 the second pair, [r,R] and
//                   [K,r·E]; a6 starts.
// GT_OP_EXPERTS_OUTER a0 inout dW [K,N·E]: += scale·Σ dy·x over each expert's rows; a1 x [K,R]; a2 dy [N,R]; a3 starts.
//                   fast: as GT_OP_OUTER.
// GT_OP_EXPERTS_BIAS_GRAD a0 inout db [N,E] += Σ dy over each expert's rows; a1 dy [N,R]; a2 starts.
#ifndef GT_EXPERTS_INC_H
#define GT_EXPERTS_INC_H

#include "kernels.h"

typedef struct gt_experts_constants {
    double scale, scale2;
    bool   acc;
} gt_experts_constants;

typedef struct gt_experts_outer_constants {
    double scale;
    bool   fast;
} gt_experts_outer_constants;

#ifdef GT_KERNELS

// Floats that a packed row takes with its scales: an expert's rows are packed as a matrix of their own, and lie behind
// those of the experts before it.
GT_INLINE int64_t gt_packed_row(int64_t k) { return gt_packed_floats(k) + (GT_HAS_I16 ? gt_int16_segments(k) : 0); }

// gt_pack_some is gt_pack_block of rows that lie anywhere.
static void gt_pack_some(const float * const * src, int mr, int64_t k, float * dst, float * scales, int64_t tokens) {
    if (mr > GT_MR) __builtin_unreachable(); // compilers warn of the rows beyond otherwise
    enum { LD = 256 + 16 };                  // 16 more, lest rows share cache sets
    float rows[GT_MR * LD] __attribute__((aligned(64)));
    for (int64_t i = 0; i < k; i += 256) {
        const int64_t n = k - i < 256 ? k - i : 256;
#if GT_HAS_PAIRS
        for (int r = 0; r < mr; r++) {
            if (i + 256 < k) gt_prefetch((const uint8_t *) (src[r] + i + 256), 1024);
            gt_to_pairs(src[r] + i, n, GT_RANGE_ACTS, rows + r * LD, scales + i / GT_KC_INT16 * tokens + r);
        }
        gt_turn(rows, LD, mr, (n + 1) / 2, dst + i / 2 * mr, mr);
#else
        for (int r = 0; r < mr; r++) memcpy(rows + r * LD, src[r] + i, (size_t) n * sizeof(float));
        for (int r = 0; r < mr; r += GT_VL)
            gt_turn(rows + r * LD, LD, mr - r < GT_VL ? mr - r : GT_VL, n, dst + i * mr + r, mr);
#endif
    }
    (void) scales, (void) tokens;
}

// Threads share the rows, as far as blocks allow: a block is its thread's in which its first row lies.
static void gt_k_experts_pack(const gt_call * c, int ith, int nth) {
    const gt_arg *  x = &c->a[1];
    const int32_t * from = c->a[2].data, *starts = c->a[3].data;
    const int64_t   k = x->ne0, floats = gt_packed_floats(k), row = gt_packed_row(k);
    int64_t         lo, hi;
    gt_share(c->a[0].ne1, 1, ith, nth, &lo, &hi);
    for (int64_t e = 0; e < c->a[3].ne0 - 1; e++) {
        const int64_t s = starts[e], n = starts[e + 1] - s;
        float *       dst = (float *) c->a[0].data + s * row;
        for (int64_t b = 0; b < gt_blocks(n); b++) {
            const int64_t t = gt_block_start(n, b), mr = gt_block_start(n, b + 1) - t;
            const float * src[GT_MR];
            if (s + t < lo || s + t >= hi) continue;
            for (int64_t r = 0; r < mr; r++) src[r] = gt_arg_row(x, from ? from[s + t + r] : s + t + r);
            gt_pack_some(src, (int) mr, k, dst + t * floats, dst + n * floats + t, n);
        }
    }
}

// gt_expert_term is gt_term_of for one expert of [K,N·E], whose rows are n from s on.
static gt_term gt_expert_term(const gt_arg * x, const gt_arg * w, int rows_are_outputs, float f, int64_t e,
                              int64_t experts, int64_t s, int64_t n) {
    const int64_t height = w->ne1 / experts;
    gt_term       q      = {.reduction = x->ne0, .f = f};
    q.a                  = (gt_acts){GT_A_ROWS, (const uint8_t *) x->data + s * x->nb1, x->nb1, NULL};
    if (x->type == GT_PACKED) {
        const float * rows = (const float *) x->data + s * gt_packed_row(x->ne0);
        q.a      = (gt_acts){GT_A_PACKED, (const uint8_t *) rows, gt_packed_floats(x->ne0),
                             rows + gt_packed_floats(x->ne0) * n};
        q.format = GT_PACKED_FORMAT;
    }
    q.b = (gt_weights){gt_type_of(w->type), (const uint8_t *) w->data + e * height * w->nb1, w->nb1, rows_are_outputs};
    return q;
}

// gt_experts_share multiplies this thread's groups of columns: experts of several rows are cut as others are, and each
// costs its unpacking. A group is its thread's in which its cost begins.
static void gt_experts_share(const gt_call * c, int rows_are_outputs, int ith, int nth) {
    const gt_experts_constants k = GT_CONSTANTS(experts, c);
    const gt_arg *  y = &c->a[0], *bias = &c->a[3];
    const int32_t * starts  = c->a[6].data;
    const int64_t   experts = c->a[6].ne0 - 1, groups = (y->ne0 + GT_NB - 1) / GT_NB;
    int64_t         all = 0, at = 0;
    for (int64_t e = 0; e < experts; e++) {
        if (starts[e + 1] > starts[e]) all += (starts[e + 1] - starts[e] + GT_UNPACK_COST) * groups;
    }
    const int64_t lo = all * ith / nth, hi = all * (ith + 1) / nth;
    gt_area *     area = gt_scratch(sizeof(gt_area));
    for (int64_t e = 0; e < experts && at < hi; e++) {
        const int64_t s = starts[e], n = starts[e + 1] - s, cost = n + GT_UNPACK_COST;
        if (n == 0) continue;
        int64_t first = at >= lo ? 0 : (lo - at + cost - 1) / cost, end = (hi - at + cost - 1) / cost;
        at += cost * groups;
        end = end < groups ? end : groups;
        if (first >= end) continue;
        gt_product p = {.c = gt_arg_row(y, s), .ldc = y->nb1 / 4, .tokens = n, .cols = y->ne0, .acc = k.acc};
        if (rows_are_outputs && bias->data) p.bias = gt_arg_row(bias, e);
        p.n_terms = c->a[5].data ? 2 : 1;
        p.term[0] = gt_expert_term(&c->a[1], &c->a[2], rows_are_outputs, (float) k.scale, e, experts, s, n);
        if (p.n_terms == 2)
            p.term[1] = gt_expert_term(&c->a[4], &c->a[5], rows_are_outputs, (float) k.scale2, e, experts, s, n);
        gt_multiply(&p, 0, gt_blocks(n), first * GT_NB, end < groups ? end * GT_NB : y->ne0, area);
    }
}

static void gt_k_experts(const gt_call * c, int ith, int nth) { gt_experts_share(c, 1, ith, nth); }

static void gt_k_experts_t(const gt_call * c, int ith, int nth) { gt_experts_share(c, 0, ith, nth); }

// Each expert's matrix is shared among the threads: its gradient is that of gt_k_outer over its rows.
static void gt_k_experts_outer(const gt_call * c, int ith, int nth) {
    const gt_experts_outer_constants k = GT_CONSTANTS(experts_outer, c);
    const gt_arg *  dw = &c->a[0], *x = &c->a[1], *dy = &c->a[2];
    const int32_t * starts  = c->a[3].data;
    const int64_t   experts = c->a[3].ne0 - 1, height = dw->ne1 / experts;
    for (int64_t e = 0; e < experts; e++) {
        const int64_t s = starts[e], n = starts[e + 1] - s;
        if (n == 0) continue;
        gt_product p = {.c = gt_arg_row(dw, e * height), .ldc = dw->nb1 / 4, .tokens = height, .cols = dw->ne0,
                        .acc = 1, .n_terms = 1};
        p.term[0]    = (gt_term){{GT_A_COLS, (const uint8_t *) gt_arg_row(dy, s), dy->nb1, NULL},
                                 {gt_type_of(x->type), (const uint8_t *) gt_arg_row(x, s), x->nb1, 0},
                                 n, GT_HAS_BF16 && k.fast ? GT_FORMAT_BF16 : GT_FORMAT_F32, (float) k.scale};
        gt_multiply_share(&p, ith, nth);
    }
}

static void gt_k_experts_bias_grad(const gt_call * c, int ith, int nth) {
    const int32_t * starts = c->a[2].data;
    GT_EACH_ROW(&c->a[0], {
        float * db = gt_arg_row(&c->a[0], r);
        for (int64_t t = starts[r]; t < starts[r + 1]; t++) {
            const float * dy = gt_arg_row(&c->a[1], t);
            GT_EACH(c->a[0].ne0, GT_ST(db, GT_LD(db) + GT_LD(dy)););
        }
    });
}

#endif

#ifdef GT_CHECKS

static const char * gt_starts_fault(const gt_arg * starts) {
    if (starts->ne0 < 2 || starts->ne0 - 1 > GT_EXPERTS_MAX) return "the number of experts is not 1 to 512";
    return gt_ids_fault(starts, starts->ne0);
}

const char * gt_check_experts_pack(const gt_call * c) {
    if (c->a[0].type != GT_PACKED) return "the output of a packing must be of the packed type";
    GT_TRY(gt_acts_fault(&c->a[0], c->a[1].ne0, c->a[0].ne1));
    GT_TRY(gt_f32_fault(&c->a[1], c->a[1].ne0, c->a[2].data ? c->a[1].ne1 : c->a[0].ne1));
    if (c->a[2].data) GT_TRY(gt_ids_fault(&c->a[2], c->a[0].ne1));
    return gt_starts_fault(&c->a[3]);
}

static const char * experts_fault(const gt_call * c, int transposed) {
    const gt_arg *w = &c->a[2], *w2 = &c->a[5];
    const int64_t experts = c->a[6].ne0 - 1, rows = c->a[0].ne1;
    GT_TRY(gt_starts_fault(&c->a[6]));
    GT_TRY(gt_weights_fault(w));
    if (w->ne1 % experts) return "the matrix's rows are not those of so many experts";
    const int64_t height = w->ne1 / experts, out = transposed ? w->ne0 : height;
    GT_TRY(gt_f32_fault(&c->a[0], out, rows));
    GT_TRY(gt_acts_fault(&c->a[1], transposed ? height : w->ne0, rows));
    if (c->a[3].data)
        GT_TRY(transposed ? "the transposed product takes no bias" : gt_f32_fault(&c->a[3], out, experts));
    GT_TRY(gt_outputs_fault(c, 1));
    if (!w2->data) return c->a[4].data ? "the second pair's matrix is absent" : NULL;
    GT_TRY(gt_weights_fault(w2));
    if (w2->ne1 % experts || (transposed ? w2->ne0 : w2->ne1 / experts) != out)
        return "the second pair's sizes do not fit";
    return gt_acts_fault(&c->a[4], transposed ? w2->ne1 / experts : w2->ne0, rows);
}

const char * gt_check_experts(const gt_call * c) { return experts_fault(c, 0); }

const char * gt_check_experts_t(const gt_call * c) { return experts_fault(c, 1); }

const char * gt_check_experts_outer(const gt_call * c) {
    const int64_t experts = c->a[3].ne0 - 1, rows = c->a[1].ne1;
    GT_TRY(gt_starts_fault(&c->a[3]));
    GT_TRY(gt_f32_fault(&c->a[0], c->a[1].ne0, c->a[2].ne0 * experts));
    GT_TRY(gt_f32_fault(&c->a[1], c->a[1].ne0, rows));
    GT_TRY(gt_f32_fault(&c->a[2], c->a[2].ne0, rows));
    return gt_outputs_fault(c, 1);
}

const char * gt_check_experts_bias_grad(const gt_call * c) {
    GT_TRY(gt_starts_fault(&c->a[2]));
    GT_TRY(gt_f32_fault(&c->a[0], c->a[1].ne0, c->a[2].ne0 - 1));
    GT_TRY(gt_f32_fault(&c->a[1], c->a[1].ne0, c->a[1].ne1));
    return gt_outputs_fault(c, 1);
}

#endif

#endif
