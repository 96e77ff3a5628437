// Rows of tables.
//
// GT_OP_ROWS        a0 out [K,T] = rows ids[t] of the table.  a1 table, any type [K,V]; a2 ids i32 [T,1].
// GT_OP_ROWS_ADD    a0 inout table f32 [K,V]: row ids[t] += scale·a1 [K,T], in order of t; a2 ids.
#ifndef GT_ROWS_INC_H
#define GT_ROWS_INC_H

#include "kernels.h"

typedef struct gt_rows_add_constants {
    double scale;
} gt_rows_add_constants;

#ifdef GT_KERNELS

static void gt_k_rows(const gt_call * c, int ith, int nth) {
    const gt_arg *  out = &c->a[0], *table = &c->a[1];
    const int32_t * ids = c->a[2].data;
    gt_store_type   s   = gt_type_of(table->type);
    int64_t         lo, hi;
    gt_share(out->ne1, 1, ith, nth, &lo, &hi);
    for (int64_t t = lo; t < hi; t++) {
        gt_unpack_range(&s, (const uint8_t *) table->data + ids[t] * table->nb1, 0, out->ne0,
                        (float *) ((char *) out->data + t * out->nb1));
    }
}

// Threads share the columns, so that rows with the same id are added in order of t whatever the number of threads.
static void gt_k_rows_add(const gt_call * c, int ith, int nth) {
    const gt_arg *  table = &c->a[0], *x = &c->a[1];
    const int32_t * ids   = c->a[2].data;
    float           f     = (float) GT_CONSTANTS(rows_add, c).scale;
    int64_t         lo, hi;
    gt_share(table->ne0, 16, ith, nth, &lo, &hi);
    for (int64_t t = 0; t < x->ne1; t++) {
        float *       to  = (float *) ((char *) table->data + ids[t] * table->nb1);
        const float * add = (const float *) ((const char *) x->data + t * x->nb1);
        for (int64_t k = lo; k < hi; k++) to[k] += f * add[k];
    }
}

#endif

#ifdef GT_CHECKS

const char * gt_check_rows(const gt_call * c) {
    GT_TRY(gt_weights_fault(&c->a[1]));
    GT_TRY(gt_f32_fault(&c->a[0], c->a[1].ne0, c->a[0].ne1));
    GT_TRY(gt_ids_fault(&c->a[2], c->a[0].ne1));
    return gt_outputs_fault(c, 1);
}

const char * gt_check_rows_add(const gt_call * c) {
    GT_TRY(gt_f32_fault(&c->a[0], c->a[1].ne0, c->a[0].ne1));
    GT_TRY(gt_f32_fault(&c->a[1], c->a[1].ne0, c->a[1].ne1));
    GT_TRY(gt_ids_fault(&c->a[2], c->a[1].ne1));
    return gt_outputs_fault(c, 1);
}

#endif

#endif
