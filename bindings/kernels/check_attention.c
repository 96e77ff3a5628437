// Checks of attention's arguments.
#include <math.h>

#include "attn_limits.h"
#include "check_args.h"

// tree_fault checks that the segments cover the tokens [0, t) in order and that parents come first. It reads the tree: a
// kernel follows it through memory without looking.
static const char * tree_fault(const gt_arg * a, int64_t t) {
    if (a->type != GT_I32 || !a->data || a->ne1 != 1 || a->ne0 < 1) return "attention: the tree is not one row of i32";
    const int32_t * data = a->data;
    if (data[0] < 0 || data[0] > GT_ATTN_MAX_SEG) return "attention: the tree has more than 65536 segments, or fewer than none";
    if (a->ne0 < 1 + 3 * (int64_t) data[0]) return "attention: the tree ends before its last segment";
    int64_t at = 0;
    for (int64_t s = 0; s < data[0]; s++) {
        const int32_t * seg = data + 1 + 3 * s;
        if (seg[0] != at || seg[1] < seg[0]) return "attention: the tree's segments do not follow each other";
        if (seg[2] < -1 || seg[2] >= s) return "attention: a segment's parent does not come before it";
        at = seg[1];
    }
    return at == t ? NULL : "attention: the tree's segments do not cover the tokens";
}

static const char * heads_fault(const gt_call * c) {
    const int64_t n_head = c->i[0], n_kv = c->i[1], d = c->i[2];
    if (n_head < 1 || n_head > 65536 || n_kv < 1 || n_kv > n_head || n_head % n_kv) {
        return "attention: the number of heads is no multiple of the number of key/value heads";
    }
    if (d < 1 || d > GT_ATTN_MAX_D) return "attention: a head's length is not within 1 and 256";
    if (c->i[3] != 0 && c->i[3] != 1) return "attention: the mode is neither 0 (exact) nor 1 (fast)";
    return isfinite(c->f[0]) ? NULL : "attention: the scale is not finite";
}

const char * gt_check_attn(const gt_call * c) {
    const gt_arg * a     = c->a;
    const char *   fault = heads_fault(c);
    if (fault) return fault;
    const int64_t n_head = c->i[0], t = a[2].ne1, q = n_head * c->i[2], kv = c->i[1] * c->i[2];
    if (!gt_is_f32(&a[0], q, t) || !gt_is_f32(&a[2], q, t)) return "attention: o or q is not f32 [d·n_head, tokens]";
    if (!gt_is_f32(&a[1], n_head, t)) return "attention: lse is not f32 [n_head, tokens]";
    if (!gt_is_f32(&a[3], kv, t) || !gt_is_f32(&a[4], kv, t)) return "attention: k or v is not f32 [d·n_kv, tokens]";
    if (!gt_all_apart(c, 0) || !gt_all_apart(c, 1)) return "attention: an output overlaps another argument";
    return tree_fault(&a[5], t);
}

const char * gt_check_attn_delta(const gt_call * c) {
    const gt_arg * a      = c->a;
    const int64_t  n_head = c->i[0], d = c->i[2], t = a[1].ne1;
    if (n_head < 1 || n_head > 65536 || d < 1 || d > GT_ATTN_MAX_D) return "attention: heads or their length are out of range";
    if (!gt_is_f32(&a[0], n_head, t)) return "attention: delta is not f32 [n_head, tokens]";
    if (!gt_is_f32(&a[1], n_head * d, t) || !gt_is_f32(&a[2], n_head * d, t)) return "attention: o or its gradient is not f32 [d·n_head, tokens]";
    return gt_all_apart(c, 0) ? NULL : "attention: delta overlaps another argument";
}

// back_fault checks what both backward passes share; i is the index of q, the first of q, k, v, lse, delta, do, tree.
static const char * back_fault(const gt_call * c, int i) {
    const gt_arg * a     = c->a + i;
    const char *   fault = heads_fault(c);
    if (fault) return fault;
    const int64_t n_head = c->i[0], t = a[0].ne1, q = n_head * c->i[2], kv = c->i[1] * c->i[2];
    if (!gt_is_f32(&a[0], q, t) || !gt_is_f32(&a[5], q, t)) return "attention: q or o's gradient is not f32 [d·n_head, tokens]";
    if (!gt_is_f32(&a[1], kv, t) || !gt_is_f32(&a[2], kv, t)) return "attention: k or v is not f32 [d·n_kv, tokens]";
    if (!gt_is_f32(&a[3], n_head, t) || !gt_is_f32(&a[4], n_head, t)) return "attention: lse or delta is not f32 [n_head, tokens]";
    for (int j = 0; j < i; j++) {
        if (!gt_all_apart(c, j)) return "attention: a gradient overlaps another argument";
    }
    return tree_fault(&a[6], t);
}

const char * gt_check_attn_back_q(const gt_call * c) {
    if (!gt_is_like(&c->a[0], &c->a[1])) return "attention: q's gradient is not shaped like q";
    return back_fault(c, 1);
}

const char * gt_check_attn_back_kv(const gt_call * c) {
    if (!gt_is_like(&c->a[0], &c->a[3]) || !gt_is_like(&c->a[1], &c->a[4])) return "attention: k's or v's gradient is not shaped like it";
    return back_fault(c, 2);
}
