// Checks of the products' arguments.
#include "../ggmlapi.h"
#include "level.h"

// known_weights says whether type is one the unpackers know: one of ggml's that it can turn into floats.
static int known_weights(int32_t type) {
    if (type == GT_F32 || type == GT_F16 || type == GT_BF16) return 1;
    if (type < 0 || type >= GGML_TYPE_COUNT) return 0;
    const struct ggml_type_traits * t = ggml_get_type_traits((enum ggml_type) type);
    return t && t->is_quantized && t->to_float && t->blck_size > 0 && t->blck_size <= 256 && 256 % t->blck_size == 0;
}

static const char * check_weights(const gt_arg * w) {
    if (!known_weights(w->type)) return "the matrix has a type that cannot be turned into floats";
    const struct ggml_type_traits * t = ggml_get_type_traits((enum ggml_type) w->type);
    if (w->ne0 % t->blck_size) return "the matrix's rows are not a whole number of its type's blocks";
    if (w->ne1 > 1 && w->nb1 < w->ne0 / t->blck_size * (int64_t) t->type_size) return "rows of the matrix overlap";
    if (!w->data && w->ne0 && w->ne1) return "the matrix is absent";
    return NULL;
}

// check_f32 looks at a float matrix that must be there with the given sizes.
static const char * check_f32(const gt_arg * a, int64_t ne0, int64_t ne1) {
    if (a->type != GT_F32) return "an argument that must be f32 is not";
    if (a->ne0 != ne0 || a->ne1 != ne1) return "the arguments' sizes do not fit together";
    if (!a->data && ne0 && ne1) return "an argument is absent";
    return NULL;
}

static const char * check_acts(const gt_arg * a, int64_t ne0, int64_t ne1) {
    if (a->type != GT_PACKED) return check_f32(a, ne0, ne1);
    if (a->ne0 != ne0 || a->ne1 != ne1) return "the arguments' sizes do not fit together";
    if (!a->data && ne0 && ne1) return "an argument is absent";
    if ((uintptr_t) a->data & 3) return "packed activations are not aligned to 4 bytes";
    return NULL;
}

static const char * check_ids(const gt_arg * a, int64_t n) {
    if (a->type != GT_I32) return "an argument that must be i32 is not";
    if (a->ne0 != n || a->ne1 != 1) return "the arguments' sizes do not fit together";
    if (!a->data && n) return "an argument is absent";
    return NULL;
}

#define TRY(x)                      \
    do {                            \
        const char * fault_ = (x);  \
        if (fault_) return fault_;  \
    } while (0)

const char * gt_check_pack(const gt_call * c) {
    if (c->a[0].type != GT_PACKED) return "the output of a packing must be of the packed type";
    TRY(check_acts(&c->a[0], c->a[1].ne0, c->a[1].ne1));
    return check_f32(&c->a[1], c->a[1].ne0, c->a[1].ne1);
}

static const char * check_linear(const gt_call * c, int transposed) {
    const gt_arg * w = &c->a[2];
    int64_t        t = c->a[0].ne1, in = transposed ? w->ne1 : w->ne0, out = transposed ? w->ne0 : w->ne1;
    TRY(check_weights(w));
    TRY(check_f32(&c->a[0], out, t));
    TRY(check_acts(&c->a[1], in, t));
    if (c->a[3].data) TRY(transposed ? "the transposed product takes no bias" : check_f32(&c->a[3], out, 1));
    return NULL;
}

const char * gt_check_linear(const gt_call * c) { return check_linear(c, 0); }

const char * gt_check_linear_t(const gt_call * c) { return check_linear(c, 1); }

const char * gt_check_outer(const gt_call * c) {
    int64_t t = c->a[1].ne1;
    TRY(check_f32(&c->a[0], c->a[1].ne0, c->a[2].ne0));
    TRY(check_f32(&c->a[1], c->a[1].ne0, t));
    return check_f32(&c->a[2], c->a[2].ne0, t);
}

const char * gt_check_rows(const gt_call * c) {
    TRY(check_weights(&c->a[1]));
    TRY(check_f32(&c->a[0], c->a[1].ne0, c->a[0].ne1));
    return check_ids(&c->a[2], c->a[0].ne1);
}

const char * gt_check_rows_add(const gt_call * c) {
    TRY(check_f32(&c->a[0], c->a[1].ne0, c->a[0].ne1));
    TRY(check_f32(&c->a[1], c->a[1].ne0, c->a[1].ne1));
    return check_ids(&c->a[2], c->a[1].ne1);
}
