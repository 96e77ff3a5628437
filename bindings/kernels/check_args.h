// What the checks of row operations and attention ask of an argument.
#ifndef GT_CHECK_ARGS_H
#define GT_CHECK_ARGS_H

#include "level.h"

// gt_is_matrix: present (an empty one may lie nowhere), of the type, [ne0, ne1].
static inline int gt_is_matrix(const gt_arg * a, int32_t type, int64_t ne0, int64_t ne1) {
    if (a->ne0 != ne0 || a->ne1 != ne1) return 0;
    return a->type == type && (a->data || ne0 == 0 || ne1 == 0);
}

static inline int gt_is_f32(const gt_arg * a, int64_t ne0, int64_t ne1) { return gt_is_matrix(a, GT_F32, ne0, ne1); }

// gt_is_like: f32 and of the same shape as b.
static inline int gt_is_like(const gt_arg * a, const gt_arg * b) { return gt_is_f32(a, b->ne0, b->ne1); }

// gt_same: both name the same numbers.
static inline int gt_same(const gt_arg * a, const gt_arg * b) {
    return a->data == b->data && a->ne0 == b->ne0 && a->ne1 == b->ne1 && (a->nb1 == b->nb1 || a->ne1 <= 1);
}

// gt_apart: no number of one 4-byte argument is part of the other. Slices of the same wider rows lie apart though their
// addresses interleave.
static inline int gt_apart(const gt_arg * a, const gt_arg * b) {
    if (!a->data || !b->data || !a->ne0 || !b->ne0 || !a->ne1 || !b->ne1) return 1;
    const uintptr_t pa = (uintptr_t) a->data, pb = (uintptr_t) b->data;
    const uintptr_t la = (uintptr_t) a->ne0 * 4, lb = (uintptr_t) b->ne0 * 4;
    if (pa + (uintptr_t) (a->ne1 - 1) * (uintptr_t) a->nb1 + la <= pb) return 1;
    if (pb + (uintptr_t) (b->ne1 - 1) * (uintptr_t) b->nb1 + lb <= pa) return 1;
    if (a->nb1 != b->nb1 || a->ne1 <= 1 || b->ne1 <= 1) return 0;
    const uintptr_t n = (uintptr_t) a->nb1;
    return (pb - pa) % n >= la && (pa - pb) % n >= lb;
}

static inline int gt_same_or_apart(const gt_arg * a, const gt_arg * b) { return gt_same(a, b) || gt_apart(a, b); }

// gt_all_apart: argument i is apart from every other argument of the call.
static inline int gt_all_apart(const gt_call * c, int i) {
    for (int j = 0; j < c->n_args; j++) {
        if (j != i && !gt_apart(&c->a[i], &c->a[j])) return 0;
    }
    return 1;
}

#endif
