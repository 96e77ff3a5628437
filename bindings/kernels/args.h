// What the checks ask of arguments.
#ifndef GT_ARGS_H
#define GT_ARGS_H

#include <math.h>

#include "../ggmlapi.h"
#include "level.h"

// gt_is_matrix: present (an empty one may lie nowhere), of the type, [ne0, ne1].
static inline int gt_is_matrix(const gt_arg * a, int32_t type, int64_t ne0, int64_t ne1) {
    if (a->ne0 != ne0 || a->ne1 != ne1 || (a->data && a->ne2 != 1)) return 0;
    return a->type == type && (a->data || ne0 == 0 || ne1 == 0);
}

static inline int gt_is_f32(const gt_arg * a, int64_t ne0, int64_t ne1) { return gt_is_matrix(a, GT_F32, ne0, ne1); }

// gt_is_like: f32 and of the same shape as b.
static inline int gt_is_like(const gt_arg * a, const gt_arg * b) { return gt_is_f32(a, b->ne0, b->ne1); }

// gt_same: both name the same numbers.
static inline int gt_same(const gt_arg * a, const gt_arg * b) {
    return a->data == b->data && a->ne0 == b->ne0 && a->ne1 == b->ne1 && (a->nb1 == b->nb1 || a->ne1 <= 1);
}

// gt_element is the size of a number of an argument that is no stored weight.
static inline uintptr_t gt_element(const gt_arg * a) {
    return a->type == GT_F64 || a->type == GT_I64 ? 8 : a->type == GT_BF16 || a->type == GT_F16 ? 2 : 4;
}

// gt_apart: no number of one argument is part of the other. Slices of the same wider rows lie apart though their
// addresses interleave.
static inline int gt_apart(const gt_arg * a, const gt_arg * b) {
    if (!a->data || !b->data || !a->ne0 || !b->ne0 || !a->ne1 || !b->ne1) return 1;
    const uintptr_t pa = (uintptr_t) a->data, pb = (uintptr_t) b->data;
    const uintptr_t la = (uintptr_t) a->ne0 * gt_element(a), lb = (uintptr_t) b->ne0 * gt_element(b);
    if (pa + (uintptr_t) (a->ne1 - 1) * (uintptr_t) a->nb1 + la <= pb) return 1;
    if (pb + (uintptr_t) (b->ne1 - 1) * (uintptr_t) b->nb1 + lb <= pa) return 1;
    if (a->nb1 != b->nb1 || a->ne1 <= 1 || b->ne1 <= 1) return 0;
    const uintptr_t n = (uintptr_t) a->nb1;
    const uintptr_t d = pb >= pa ? (pb - pa) % n : (n - (pa - pb) % n) % n; // where b's rows begin in a's
    return d >= la && d + lb <= n;
}

static inline int gt_same_or_apart(const gt_arg * a, const gt_arg * b) { return gt_same(a, b) || gt_apart(a, b); }

// gt_all_apart: argument i is apart from every other argument of the call.
static inline int gt_all_apart(const gt_call * c, int i) {
    for (int j = 0; j < c->n_args; j++) {
        if (j != i && !gt_apart(&c->a[i], &c->a[j])) return 0;
    }
    return 1;
}

static inline int gt_is_vector(const gt_arg * a, int64_t n) { return gt_is_f32(a, n, 1); }

// gt_inputs_like checks that arguments first to last are f32 of a0's shape and that a0 names either the same numbers as
// each of them or none of theirs.
static inline const char * gt_inputs_like(const gt_call * c, int first, int last) {
    const gt_arg * out = &c->a[0];
    if (!gt_is_f32(out, out->ne0, out->ne1)) return "the output is not f32";
    for (int i = first; i <= last; i++) {
        if (!gt_is_like(&c->a[i], out)) return "an input is not f32 of the output's shape";
        if (!gt_same_or_apart(out, &c->a[i])) return "the output overlaps a part of an input";
    }
    return NULL;
}

// --- faults, as messages -------------------------------------------------------------------------------------------

// gt_known_weights says whether type is one the unpackers know: one of ggml's that it can turn into floats.
static inline int gt_known_weights(int32_t type) {
    if (type == GT_F32 || type == GT_F16 || type == GT_BF16) return 1;
    if (type < 0 || type >= GGML_TYPE_COUNT) return 0;
    const struct ggml_type_traits * t = ggml_get_type_traits((enum ggml_type) type);
    return t && t->is_quantized && t->to_float && t->blck_size > 0 && t->blck_size <= 256 && 256 % t->blck_size == 0;
}

static inline const char * gt_weights_fault(const gt_arg * w) {
    if (!gt_known_weights(w->type)) return "the matrix has a type that cannot be turned into floats";
    const struct ggml_type_traits * t = ggml_get_type_traits((enum ggml_type) w->type);
    if (w->data && w->ne2 != 1) return "the matrix has a third dimension";
    if (w->ne0 % t->blck_size) return "the matrix's rows are not a whole number of its type's blocks";
    if (w->ne1 > 1 && w->nb1 < w->ne0 / t->blck_size * (int64_t) t->type_size) return "rows of the matrix overlap";
    if (!w->data && w->ne0 && w->ne1) return "the matrix is absent";
    return NULL;
}

// gt_f32_fault looks at a float matrix that must be there with the given sizes.
static inline const char * gt_f32_fault(const gt_arg * a, int64_t ne0, int64_t ne1) {
    if (a->type != GT_F32) return "an argument that must be f32 is not";
    if (a->ne0 != ne0 || a->ne1 != ne1 || (a->data && a->ne2 != 1)) return "the arguments' sizes do not fit together";
    if (!a->data && ne0 && ne1) return "an argument is absent";
    return NULL;
}

static inline const char * gt_acts_fault(const gt_arg * a, int64_t ne0, int64_t ne1) {
    if (a->type != GT_PACKED) return gt_f32_fault(a, ne0, ne1);
    if (a->ne0 != ne0 || a->ne1 != ne1 || (a->data && a->ne2 != 1)) return "the arguments' sizes do not fit together";
    if (!a->data && ne0 && ne1) return "an argument is absent";
    if ((uintptr_t) a->data & 3) return "packed activations are not aligned to 4 bytes";
    return NULL;
}

static inline const char * gt_ids_fault(const gt_arg * a, int64_t n) {
    if (a->type != GT_I32) return "an argument that must be i32 is not";
    if (a->ne0 != n || a->ne1 != 1 || (a->data && a->ne2 != 1)) return "the arguments' sizes do not fit together";
    if (!a->data && n) return "an argument is absent";
    return NULL;
}

// gt_outputs_fault looks whether the arguments whose bits are set in outs, which are written, lie apart from all others
// of 4-byte elements. Stored weights are read-only files.
static inline const char * gt_outputs_fault(const gt_call * c, unsigned outs) {
    for (int i = 0; i < c->n_args; i++) {
        for (int j = 0; j < c->n_args; j++) {
            int plain = c->a[j].type == GT_F32 || c->a[j].type == GT_I32;
            if ((outs >> i & 1) && i != j && plain && !gt_apart(&c->a[i], &c->a[j]))
                return "an output overlaps another argument";
        }
    }
    return NULL;
}

// GT_TRY returns the fault that x finds.
#define GT_TRY(x)                   \
    do {                            \
        const char * fault_ = (x);  \
        if (fault_) return fault_;  \
    } while (0)

// gt_vector_fault looks at n floats in one row.
static inline const char * gt_vector_fault(const gt_arg * a, int64_t n) { return gt_f32_fault(a, n, 1); }

#endif
