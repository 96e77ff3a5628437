// The operations made of gt_multiply, and the rows of tables.

// Floats that one token takes in packed form; INT16's scales follow behind the last token's.
GT_INLINE int64_t gt_packed_floats(int64_t k) { return GT_HAS_PAIRS ? (k + 1) / 2 : k; }

static size_t gt_k_packed_bytes(int64_t k, int64_t t) {
    return (size_t) ((gt_packed_floats(k) + (GT_HAS_I16 ? gt_int16_segments(k) : 0)) * t) * sizeof(float);
}

// gt_pack_block packs mr tokens whose rows begin at src, ld floats apart; their scales are tokens apart from segment to segment.
static void gt_pack_block(const float * src, int64_t ld, int mr, int64_t k, float * dst, float * scales, int64_t tokens) {
#if GT_HAS_PAIRS
    if (mr > GT_MR) __builtin_unreachable(); // compilers warn of the rows beyond otherwise
    float rows[GT_MR * 136]; // 256 numbers a row, and 16 more bytes, lest rows share cache sets
    for (int64_t i = 0; i < k; i += 256) {
        int64_t n = k - i < 256 ? k - i : 256;
        for (int r = 0; r < mr; r++) {
            if (i + 256 < k) gt_prefetch((const uint8_t *) (src + r * ld + i + 256), 1024);
            gt_to_pairs(src + r * ld + i, n, GT_RANGE_ACTS, rows + r * 136, scales + i / GT_KC_INT16 * tokens + r);
        }
        gt_turn(rows, 136, mr, (n + 1) / 2, dst + i / 2 * mr, mr);
    }
#else
    (void) scales, (void) tokens;
    for (int r = 0; r < mr; r += GT_VL) gt_turn(src + r * ld, ld, mr - r < GT_VL ? mr - r : GT_VL, k, dst + r, mr);
#endif
}

// gt_pack packs the tokens of blocks [b0, b1) of x [k,t].
static void gt_pack(const float * x, int64_t ld, int64_t k, int64_t t, int64_t b0, int64_t b1, float * dst) {
    for (int64_t b = b0; b < b1; b++) {
        int64_t s = gt_block_start(t, b), e = gt_block_start(t, b + 1);
        gt_pack_block(x + s * ld, ld, (int) (e - s), k, dst + s * gt_packed_floats(k), dst + t * gt_packed_floats(k) + s, t);
    }
}

static void gt_k_pack(const gt_call * c, int ith, int nth) {
    const gt_arg * x = &c->a[1];
    int64_t        b0, b1;
    if (x->ne1 == 0) return;
    gt_share(gt_blocks(x->ne1), 1, ith, nth, &b0, &b1);
    gt_pack(x->data, x->nb1 / 4, x->ne0, x->ne1, b0, b1, c->a[0].data);
}

// gt_term_of builds the term f·(activations x) (matrix w).
static gt_term gt_term_of(const gt_arg * x, const gt_arg * w, int rows_are_outputs, float f) {
    gt_term e = {.reduction = x->ne0, .f = f};
    e.a = (gt_acts){GT_A_ROWS, x->data, x->nb1, NULL};
    if (x->type == GT_PACKED) {
        const int64_t floats = gt_packed_floats(x->ne0);
        e.a      = (gt_acts){GT_A_PACKED, x->data, floats, (const float *) x->data + floats * x->ne1};
        e.format = GT_PACKED_FORMAT;
    }
    e.b = (gt_weights){gt_type_of(w->type), w->data, w->nb1, rows_are_outputs};
    return e;
}

static gt_product gt_product_of(const gt_arg * y, int acc) {
    return (gt_product){.c = y->data, .ldc = y->nb1 / 4, .tokens = y->ne1, .cols = y->ne0, .acc = acc};
}

static void gt_linear(const gt_call * c, int rows_are_outputs, int ith, int nth) {
    gt_product p = gt_product_of(&c->a[0], c->i[0] != 0);
    p.bias       = rows_are_outputs ? c->a[3].data : NULL;
    p.n_terms    = c->a[5].data ? 2 : 1;
    p.term[0]    = gt_term_of(&c->a[1], &c->a[2], rows_are_outputs, (float) c->f[0]);
    if (p.n_terms == 2) p.term[1] = gt_term_of(&c->a[4], &c->a[5], rows_are_outputs, (float) c->f[1]);
    gt_multiply_share(&p, ith, nth);
}

static void gt_k_linear(const gt_call * c, int ith, int nth) { gt_linear(c, 1, ith, nth); }

static void gt_k_linear_t(const gt_call * c, int ith, int nth) { gt_linear(c, 0, ith, nth); }

// dW [K,N] is a product whose tokens are the N outputs and whose reduction is over the tokens: lanes run along K straight
// through the rows of x.
static void gt_k_outer(const gt_call * c, int ith, int nth) {
    const gt_arg * x = &c->a[1], *dy = &c->a[2];
    gt_product     p = gt_product_of(&c->a[0], c->i[0] != 0);
    p.n_terms        = 1;
    p.term[0]        = (gt_term){{GT_A_COLS, dy->data, dy->nb1, NULL}, {gt_type_of(x->type), x->data, x->nb1, 0}, x->ne1,
                                 GT_HAS_BF16 && c->i[1] ? GT_FORMAT_BF16 : GT_FORMAT_F32, (float) c->f[0]};
    gt_multiply_share(&p, ith, nth);
}

static void gt_k_rows(const gt_call * c, int ith, int nth) {
    const gt_arg *  out = &c->a[0], *table = &c->a[1];
    const int32_t * ids = c->a[2].data;
    gt_store_type   s   = gt_type_of(table->type);
    int64_t         lo, hi;
    gt_share(out->ne1, 1, ith, nth, &lo, &hi);
    for (int64_t t = lo; t < hi; t++) {
        gt_unpack_range(&s, (const uint8_t *) table->data + ids[t] * table->nb1, 0, out->ne0, (float *) ((char *) out->data + t * out->nb1));
    }
}

// Threads share the columns, so that rows with the same id are added in order of t whatever the number of threads.
static void gt_k_rows_add(const gt_call * c, int ith, int nth) {
    const gt_arg *  table = &c->a[0], *x = &c->a[1];
    const int32_t * ids   = c->a[2].data;
    float           f     = (float) c->f[0];
    int64_t         lo, hi;
    gt_share(table->ne0, 16, ith, nth, &lo, &hi);
    for (int64_t t = 0; t < x->ne1; t++) {
        float *       to  = (float *) ((char *) table->data + ids[t] * table->nb1);
        const float * add = (const float *) ((const char *) x->data + t * x->nb1);
        for (int64_t k = lo; k < hi; k++) to[k] += f * add[k];
    }
}
