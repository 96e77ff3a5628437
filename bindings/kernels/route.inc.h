// Which experts a token goes to, and with what weight (Shazeer et al. 2017, section 2.1; llama.cpp's build_moe_ffn).
//
// E stands for the experts, k for those of a token, R = k·T for the rows of all tokens, sorted by expert.
//
// GT_OP_TOP_K       a0 out i32 [k,T]: the k largest of a1 [E,T], the largest first, of equal ones the first.
// GT_OP_GROUP       a0 out at i32 [k,T]: the row of each choice; a1 out from i32 [R]: the token of each row; a2 out
//                   starts i32 [E+1]: where an expert's rows begin; a3 chosen i32 [k,T]. Rows of one expert are in
//                   order of their tokens.
// GT_OP_GATING      a0 out w [k,T] = scale·p, or scale·p/max(Σp, 2^-14) if norm, with p of the chosen; a1 logits [E,T];
//                   a2 chosen i32 [k,T]. kind: what p is, GT_GATE_*.
// GT_OP_GATING_BACK a0 out dlogits [E,T]; a1 logits; a2 chosen; a3 dw [k,T].
#ifndef GT_ROUTE_INC_H
#define GT_ROUTE_INC_H

#include "kernels.h"

enum {
    GT_GATE_SOFTMAX = 0,    // of all experts
    GT_GATE_SOFTMAX_CHOSEN, // of the chosen ones alone
    GT_GATE_SIGMOID,
    GT_GATE_END,
};

typedef struct gt_gating_constants {
    double  scale;
    int64_t kind;
    bool    norm;
} gt_gating_constants;

// As many experts as llama.cpp takes (LLAMA_MAX_EXPERTS): tables of them lie on the stack.
enum { GT_EXPERTS_MAX = 512 };

#ifdef GT_KERNELS

GT_INLINE int32_t * gt_int_row(const gt_arg * a, int64_t r) { return (int32_t *) ((char *) a->data + r * a->nb1); }

// What is no number is never larger, so that k experts are chosen whatever the logits.
static void gt_k_top_k(const gt_call * c, int ith, int nth) {
    const int64_t k = c->a[0].ne0, experts = c->a[1].ne0;
    GT_EACH_ROW(&c->a[0], {
        const float * x  = gt_arg_row(&c->a[1], r);
        int32_t *     to = gt_int_row(&c->a[0], r);
        bool          taken[GT_EXPERTS_MAX] = {false};
        for (int64_t j = 0; j < k; j++) {
            int64_t best = -1;
            for (int64_t e = 0; e < experts; e++) {
                if (!taken[e] && (best < 0 || x[e] > x[best])) best = e;
            }
            taken[best] = true;
            to[j]       = (int32_t) best;
        }
    });
}

// One thread counts: it is one pass over k·T numbers.
static void gt_k_group(const gt_call * c, int ith, int nth) {
    const int64_t k = c->a[0].ne0, tokens = c->a[0].ne1, experts = c->a[2].ne0 - 1;
    int32_t *     from = c->a[1].data, *starts = c->a[2].data, next[GT_EXPERTS_MAX];
    if (ith != 0) return;
    (void) nth;
    memset(starts, 0, (size_t) (experts + 1) * sizeof *starts);
    for (int64_t t = 0; t < tokens; t++) {
        for (int64_t j = 0; j < k; j++) starts[gt_int_row(&c->a[3], t)[j] + 1]++;
    }
    for (int64_t e = 0; e < experts; e++) {
        next[e] = starts[e];
        starts[e + 1] += starts[e];
    }
    for (int64_t t = 0; t < tokens; t++) {
        for (int64_t j = 0; j < k; j++) {
            const int32_t row       = next[gt_int_row(&c->a[3], t)[j]]++;
            gt_int_row(&c->a[0], t)[j] = row;
            from[row]               = (int32_t) t;
        }
    }
}

// What a token's gating is made of.
typedef struct gt_gates {
    const float *   x; // logits
    const int32_t * chosen;
    int64_t         experts, k;
    float           most, all; // of a softmax: the largest logit and the sum over what it is taken of
    float           sum;       // what the chosen are divided by
    bool            bounded;   // sum is the bound
} gt_gates;

// gt_gate is p of an expert.
GT_INLINE float gt_gate(const gt_gates * g, int64_t kind, float x) {
    return kind == GT_GATE_SIGMOID ? 1 / (1 + expf(-x)) : expf(x - g->most) / g->all;
}

static gt_gates gt_gates_of(const gt_call * c, const gt_gating_constants * q, int64_t t) {
    gt_gates g = {.x = gt_arg_row(&c->a[1], t), .chosen = gt_int_row(&c->a[2], t), .experts = c->a[1].ne0,
                  .k = c->a[2].ne0, .most = -INFINITY, .sum = 1};
    const bool    some = q->kind == GT_GATE_SOFTMAX_CHOSEN;
    const int64_t n    = some ? g.k : g.experts;
    for (int64_t i = 0; q->kind != GT_GATE_SIGMOID && i < n; i++) {
        const float x = g.x[some ? g.chosen[i] : i];
        g.most        = x > g.most ? x : g.most;
    }
    for (int64_t i = 0; q->kind != GT_GATE_SIGMOID && i < n; i++) g.all += expf(g.x[some ? g.chosen[i] : i] - g.most);
    if (!q->norm) return g;
    g.sum = 0;
    for (int64_t j = 0; j < g.k; j++) g.sum += gt_gate(&g, q->kind, g.x[g.chosen[j]]);
    g.bounded = g.sum < 6.103515625e-5f;
    if (g.bounded) g.sum = 6.103515625e-5f;
    return g;
}

static void gt_k_gating(const gt_call * c, int ith, int nth) {
    const gt_gating_constants q = GT_CONSTANTS(gating, c);
    GT_EACH_ROW(&c->a[0], {
        const gt_gates g = gt_gates_of(c, &q, r);
        float *        w = gt_arg_row(&c->a[0], r);
        for (int64_t j = 0; j < g.k; j++)
            w[j] = (float) q.scale * (gt_gate(&g, q.kind, g.x[g.chosen[j]]) / g.sum);
    });
}

// w_j = s·p_j/S: d(p_j) = s/S·(d(w_j) − Σ_i d(w_i)·p_i/S), the second term where S is the sum of the chosen. Softmax:
// d(x_e) = p_e·(d(p_e) − Σ_j d(p_j)·p_j), with d(p_e) 0 for those not chosen; sigmoid: d(x_e) = p_e·(1 − p_e)·d(p_e).
static void gt_k_gating_back(const gt_call * c, int ith, int nth) {
    const gt_gating_constants q = GT_CONSTANTS(gating, c);
    GT_EACH_ROW(&c->a[0], {
        const gt_gates g   = gt_gates_of(c, &q, r);
        float *        dx  = gt_arg_row(&c->a[0], r);
        const float *  dw  = gt_arg_row(&c->a[3], r);
        float          own = 0;
        float          all = 0;
        for (int64_t j = 0; q.norm && !g.bounded && j < g.k; j++)
            own += dw[j] * (gt_gate(&g, q.kind, g.x[g.chosen[j]]) / g.sum);
        const float s = (float) q.scale / g.sum;
        for (int64_t j = 0; j < g.k; j++) all += s * (dw[j] - own) * gt_gate(&g, q.kind, g.x[g.chosen[j]]);
        for (int64_t e = 0; e < g.experts; e++)
            dx[e] = q.kind == GT_GATE_SOFTMAX ? -gt_gate(&g, q.kind, g.x[e]) * all : 0;
        for (int64_t j = 0; j < g.k; j++) {
            const float p  = gt_gate(&g, q.kind, g.x[g.chosen[j]]);
            const float dp = s * (dw[j] - own);
            dx[g.chosen[j]] = q.kind == GT_GATE_SIGMOID ? p * (1 - p) * dp : p * (dp - all);
        }
    });
}

#endif

#ifdef GT_CHECKS

static const char * gt_choice_fault(const gt_arg * chosen, int64_t experts) {
    if (experts < 1 || experts > GT_EXPERTS_MAX) return "the number of experts is not 1 to 512";
    if (!gt_is_matrix(chosen, GT_I32, chosen->ne0, chosen->ne1)) return "the choice is not i32 [k,T]";
    return chosen->ne0 < 1 || chosen->ne0 > experts ? "a token chooses no expert, or more than there are" : NULL;
}

const char * gt_check_top_k(const gt_call * c) {
    GT_TRY(gt_choice_fault(&c->a[0], c->a[1].ne0));
    GT_TRY(gt_f32_fault(&c->a[1], c->a[1].ne0, c->a[0].ne1));
    return gt_outputs_fault(c, 1);
}

const char * gt_check_group(const gt_call * c) {
    const int64_t k = c->a[3].ne0, tokens = c->a[3].ne1;
    GT_TRY(gt_choice_fault(&c->a[3], c->a[2].ne0 - 1));
    if (!gt_is_matrix(&c->a[0], GT_I32, k, tokens)) return "the rows of the choices are not i32 [k,T]";
    GT_TRY(gt_ids_fault(&c->a[1], k * tokens));
    GT_TRY(gt_ids_fault(&c->a[2], c->a[2].ne0));
    return gt_outputs_fault(c, 7);
}

static const char * gating_fault(const gt_call * c, const gt_arg * w) {
    const gt_gating_constants q = GT_CONSTANTS(gating, c);
    if (q.kind < 0 || q.kind >= GT_GATE_END) return "the kind of gating is not known";
    if (!isfinite(q.scale)) return "the scale of gate weights is not finite";
    GT_TRY(gt_choice_fault(&c->a[2], c->a[1].ne0));
    GT_TRY(gt_f32_fault(&c->a[1], c->a[1].ne0, c->a[2].ne1));
    GT_TRY(gt_f32_fault(w, c->a[2].ne0, c->a[2].ne1));
    return gt_outputs_fault(c, 1);
}

const char * gt_check_gating(const gt_call * c) { return gating_fault(c, &c->a[0]); }

const char * gt_check_gating_back(const gt_call * c) {
    GT_TRY(gt_f32_fault(&c->a[0], c->a[1].ne0, c->a[1].ne1));
    return gating_fault(c, &c->a[3]);
}

#endif

#endif
