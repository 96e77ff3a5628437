// Checks of the products' arguments.
#include "../ggmlapi.h"
#include "check_args.h"
#include "head_shape.h"

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

// check_outputs looks whether the arguments whose bits are set in outs, which are written, lie apart from all others of
// 4-byte elements. Stored weights are read-only files.
static const char * check_outputs(const gt_call * c, unsigned outs) {
    for (int i = 0; i < c->n_args; i++) {
        for (int j = 0; j < c->n_args; j++) {
            int plain = c->a[j].type == GT_F32 || c->a[j].type == GT_I32;
            if ((outs >> i & 1) && i != j && plain && !gt_apart(&c->a[i], &c->a[j])) return "an output overlaps another argument";
        }
    }
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
    TRY(check_outputs(c, 1));
    if (c->a[3].data) TRY(transposed ? "the transposed product takes no bias" : check_f32(&c->a[3], out, 1));
    const gt_arg * w2 = &c->a[5];
    if (!w2->data) return c->a[4].data ? "the second pair's matrix is absent" : NULL;
    TRY(check_weights(w2));
    if ((transposed ? w2->ne0 : w2->ne1) != out) return "the second pair's sizes do not fit";
    TRY(check_acts(&c->a[4], transposed ? w2->ne1 : w2->ne0, t));
    return NULL;
}

const char * gt_check_linear(const gt_call * c) { return check_linear(c, 0); }

const char * gt_check_linear_t(const gt_call * c) { return check_linear(c, 1); }

const char * gt_check_outer(const gt_call * c) {
    int64_t t = c->a[1].ne1;
    TRY(check_f32(&c->a[0], c->a[1].ne0, c->a[2].ne0));
    TRY(check_f32(&c->a[1], c->a[1].ne0, t));
    TRY(check_f32(&c->a[2], c->a[2].ne0, t));
    return check_outputs(c, 1);
}

const char * gt_check_rows(const gt_call * c) {
    TRY(check_weights(&c->a[1]));
    TRY(check_f32(&c->a[0], c->a[1].ne0, c->a[0].ne1));
    TRY(check_ids(&c->a[2], c->a[0].ne1));
    return check_outputs(c, 1);
}

const char * gt_check_rows_add(const gt_call * c) {
    TRY(check_f32(&c->a[0], c->a[1].ne0, c->a[0].ne1));
    TRY(check_f32(&c->a[1], c->a[1].ne0, c->a[1].ne1));
    TRY(check_ids(&c->a[2], c->a[1].ne1));
    return check_outputs(c, 1);
}

int64_t gt_head_chunk(void) { return GT_HEAD_CHUNK; }

size_t gt_head_scratch_bytes(int64_t k, int64_t r, int64_t v, int64_t c, int back) {
    return (size_t) (gt_head_shards(v) * gt_head_shard_floats(k, r, c, back)) * sizeof(float);
}

// check_vector looks at n floats in one row.
static const char * check_vector(const gt_arg * a, int64_t n) { return check_f32(a, n, 1); }

// check_head_inputs looks at the head's matrix and tokens, and at the second pair where there is one.
static const char * check_head_inputs(const gt_arg * h, const gt_arg * w, const gt_arg * targets, const gt_arg * h2, const gt_arg * w2) {
    TRY(check_weights(w));
    if (w->ne1 < 1 || w->ne0 < 1) return "the output head is empty";
    if (w->ne1 > INT32_MAX) return "the output head has more rows than a token number can name";
    TRY(check_f32(h, w->ne0, h->ne1));
    TRY(check_ids(targets, h->ne1));
    if (!h2->data && !w2->data) return NULL;
    TRY(check_f32(w2, w2->ne0, w->ne1));
    if (w2->ne0 < 1) return "the second pair is empty";
    return check_f32(h2, w2->ne0, h->ne1);
}

const char * gt_check_head(const gt_call * c) {
    const gt_arg * w = &c->a[4];
    int64_t        n = c->a[3].ne1, r = c->a[6].data ? c->a[7].ne0 : 0;
    TRY(check_head_inputs(&c->a[3], w, &c->a[5], &c->a[6], &c->a[7]));
    if (n > GT_HEAD_CHUNK) return "the output head takes at most gt_head_chunk tokens a call";
    TRY(check_vector(&c->a[0], n));
    TRY(check_vector(&c->a[1], n));
    if (c->a[2].data) {
        TRY(check_f32(&c->a[2], w->ne0, n));
        if (r) TRY(check_f32(&c->a[8], r, n));
    }
    const gt_arg * s = &c->a[9];
    if (!s->data && n) return "the output head's scratch is absent";
    if (s->type != GT_F32) return "an argument that must be f32 is not";
    if (s->ne1 != 1) return "the output head's scratch is not one row";
    int small = (size_t) s->ne0 * sizeof(float) < gt_head_scratch_bytes(w->ne0, r, w->ne1, n, c->a[2].data != NULL);
    if (small) return "the output head's scratch is too small";
    return check_outputs(c, 1 << 0 | 1 << 1 | 1 << 2 | 1 << 8 | 1 << 9);
}

const char * gt_check_head_merge(const gt_call * c) { return gt_check_head(c); }

const char * gt_check_head_back(const gt_call * c) {
    const gt_arg * w = &c->a[3];
    int64_t        n = c->a[0].ne1;
    TRY(check_weights(w));
    TRY(check_f32(&c->a[0], w->ne0, n));
    TRY(check_f32(&c->a[1], w->ne0, n));
    TRY(check_vector(&c->a[2], n));
    TRY(check_ids(&c->a[4], n));
    TRY(check_outputs(c, 1 << 0 | 1 << 5));
    if (!c->a[5].data) return NULL;
    TRY(check_f32(&c->a[7], c->a[7].ne0, w->ne1));
    TRY(check_f32(&c->a[5], c->a[7].ne0, n));
    return check_f32(&c->a[6], c->a[7].ne0, n);
}

const char * gt_check_head_grad_w(const gt_call * c) {
    const gt_arg *h = &c->a[2], *w = &c->a[3];
    TRY(check_head_inputs(h, w, &c->a[4], &c->a[7], &c->a[8]));
    TRY(check_vector(&c->a[5], h->ne1));
    TRY(check_vector(&c->a[6], h->ne1));
    TRY(check_outputs(c, 1 << 0 | 1 << 1));
    if (c->a[0].data) TRY(check_f32(&c->a[0], w->ne0, w->ne1));
    if (c->a[1].data && !c->a[7].data) return "a gradient of the second pair is asked for, but there is none";
    return c->a[1].data ? check_f32(&c->a[1], c->a[8].ne0, w->ne1) : NULL;
}
