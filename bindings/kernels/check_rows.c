// Checks of the arguments of everything that goes row by row.
#include <math.h>

#include "check_args.h"
#include "rope_limits.h"

static int is_vector(const gt_arg * a, int64_t n) { return gt_is_f32(a, n, 1); }

// inputs_like checks that arguments first to last are f32 of a0's shape and that a0 names either the same numbers as each of
// them or none of theirs.
static const char * inputs_like(const gt_call * c, int first, int last) {
    const gt_arg * out = &c->a[0];
    if (!gt_is_f32(out, out->ne0, out->ne1)) return "the output is not f32";
    for (int i = first; i <= last; i++) {
        if (!gt_is_like(&c->a[i], out)) return "an input is not f32 of the output's shape";
        if (!gt_same_or_apart(out, &c->a[i])) return "the output overlaps a part of an input";
    }
    return NULL;
}

const char * gt_check_add(const gt_call * c) {
    if (!isfinite(c->f[0])) return "add: the factor is not finite";
    return inputs_like(c, 1, 2);
}

const char * gt_check_bias_grad(const gt_call * c) {
    if (!gt_is_f32(&c->a[1], c->a[1].ne0, c->a[1].ne1)) return "bias_grad: the gradient is not f32";
    if (!is_vector(&c->a[0], c->a[1].ne0)) return "bias_grad: the bias's gradient is not f32 [n]";
    return gt_apart(&c->a[0], &c->a[1]) ? NULL : "bias_grad: the arguments overlap";
}

const char * gt_check_copy(const gt_call * c) { return inputs_like(c, 1, 1); }

const char * gt_check_zero(const gt_call * c) { return inputs_like(c, 1, 0); }

static const char * norm_fault(const gt_call * c, const gt_arg * x, const gt_arg * w) {
    if (!(c->f[0] >= 0 && c->f[0] < 1)) return "norm: eps is not within 0 and 1";
    if (x->ne0 < 1) return "norm: rows are empty";
    return is_vector(w, x->ne0) ? NULL : "norm: the weight is not f32 [n]";
}

const char * gt_check_rms_norm(const gt_call * c) {
    const char * fault = norm_fault(c, &c->a[1], &c->a[2]);
    if (!fault && !gt_apart(&c->a[0], &c->a[2])) fault = "norm: the output overlaps the weight";
    return fault ? fault : inputs_like(c, 1, 1);
}

const char * gt_check_layer_norm(const gt_call * c) {
    const char * fault = gt_check_rms_norm(c);
    if (fault || !c->a[3].data) return fault;
    if (!is_vector(&c->a[3], c->a[1].ne0)) return "norm: the bias is not f32 [n]";
    return gt_apart(&c->a[0], &c->a[3]) ? NULL : "norm: the output overlaps the bias";
}

const char * gt_check_rms_norm_back(const gt_call * c) {
    const char * fault = gt_check_rms_norm(c);
    if (!fault && c->i[0] && !gt_apart(&c->a[0], &c->a[1])) fault = "norm: a gradient added to cannot be the input";
    return fault ? fault : inputs_like(c, 3, 3);
}

const char * gt_check_layer_norm_back(const gt_call * c) { return gt_check_rms_norm_back(c); }

const char * gt_check_rms_norm_grad(const gt_call * c) {
    const char * fault = norm_fault(c, &c->a[1], &c->a[0]);
    if (fault) return fault;
    if (!gt_is_like(&c->a[1], &c->a[2]) || c->a[1].type != GT_F32) return "norm: input and gradient are not f32 of one shape";
    return gt_all_apart(c, 0) ? NULL : "norm: the weight's gradient overlaps another argument";
}

const char * gt_check_layer_norm_grad(const gt_call * c) {
    const char * fault = norm_fault(c, &c->a[2], &c->a[0]);
    if (fault) return fault;
    if (!gt_is_like(&c->a[2], &c->a[3]) || c->a[2].type != GT_F32) return "norm: input and gradient are not f32 of one shape";
    if (c->a[1].data && !is_vector(&c->a[1], c->a[2].ne0)) return "norm: the bias's gradient is not f32 [n]";
    return gt_all_apart(c, 0) && gt_all_apart(c, 1) ? NULL : "norm: a parameter's gradient overlaps another argument";
}

const char * gt_check_rope(const gt_call * c) {
    const int64_t n_head = c->i[0], d = c->i[1], n_rot = c->i[2];
    if (n_head < 1 || n_head > 65536 || d < 1 || d > 65536 || c->a[0].ne0 != n_head * d) {
        return "rope: rows are not n_head heads of d numbers";
    }
    if (n_rot < 2 || n_rot > d || n_rot > GT_ROPE_MAX || n_rot % 2) return "rope: n_rot is odd or not within 2, d and 1024";
    if (c->i[3] != 0 && c->i[3] != 2) return "rope: the mode is neither 0 (adjacent pairs) nor 2 (halves)";
    if (!(c->f[0] > 0) || !(c->f[1] > 0) || !isfinite(c->f[0]) || !isfinite(c->f[1]) || !isfinite(c->f[3])) {
        return "rope: a frequency base or scale is not a positive number";
    }
    if (c->f[2] != 0 && (c->i[5] < 1 || !(c->f[4] > 0) || !(c->f[5] > 0) || !(c->f[0] > 1))) {
        return "rope: YaRN needs the original context length, both betas and a frequency base above 1";
    }
    if (!gt_is_matrix(&c->a[2], GT_I32, 1, c->a[0].ne1)) return "rope: the positions are not i32 [1, tokens]";
    if (c->a[3].data && (c->a[3].type != GT_F32 || c->a[3].ne0 < n_rot / 2)) return "rope: there are fewer frequency factors than pairs";
    return inputs_like(c, 1, 1);
}

const char * gt_check_swiglu(const gt_call * c) { return inputs_like(c, 1, 2); }

const char * gt_check_swiglu_back(const gt_call * c) {
    if (!gt_is_like(&c->a[1], &c->a[0]) || !gt_apart(&c->a[0], &c->a[1])) return "swiglu: the two gradients overlap or differ in shape";
    for (int i = 2; i <= 4; i++) {
        if (!gt_same_or_apart(&c->a[1], &c->a[i])) return "swiglu: the output overlaps a part of an input";
    }
    return inputs_like(c, 2, 4);
}

const char * gt_check_gelu(const gt_call * c) { return inputs_like(c, 1, 1); }

const char * gt_check_gelu_back(const gt_call * c) { return inputs_like(c, 1, 2); }

const char * gt_check_dropout(const gt_call * c) {
    if (!(c->f[0] >= 0 && c->f[0] < 1)) return "dropout: the rate is not within 0 and 1";
    return inputs_like(c, 1, 1);
}

const char * gt_check_adamw(const gt_call * c) {
    for (int i = 1; i < 4; i++) {
        if (!gt_is_like(&c->a[i], &c->a[0])) return "adamw: an argument is not f32 of the parameters' shape";
    }
    if (!gt_is_f32(&c->a[0], c->a[0].ne0, c->a[0].ne1)) return "adamw: the parameters are not f32";
    if (!gt_is_f32(&c->a[4], 1, c->a[0].ne1)) return "adamw: the verdicts are not f32, one a row";
    for (int i = 0; i < 5; i++) {
        if (!gt_all_apart(c, i)) return "adamw: arguments overlap";
    }
    return NULL;
}

const char * gt_check_squares(const gt_call * c) {
    if (!gt_is_f32(&c->a[1], c->a[1].ne0, c->a[1].ne1)) return "squares: the numbers are not f32";
    if (!gt_is_f32(&c->a[0], 2, c->a[1].ne1)) return "squares: the sums are not two numbers a row";
    return gt_apart(&c->a[0], &c->a[1]) ? NULL : "squares: the arguments overlap";
}
