// Attention of new tokens to keys and values that are kept from call to call: what writes a text token by token.
//
// Every output is the same bits as GT_OP_ATTN's over the whole tree. There lanes are tokens, of which a text that grows
// has one; here they are keys in a dot and elements of a head in a sum, and each number is still the same chain of the
// same operations: products with a query from its first element on; keys from a segment's first on, in the same blocks
// (gt_next_cut); even and odd keys of a block summed apart.
//
// What is kept of a layer lies in pages, each a block of keys and values of all key/value heads: of each head first its
// keys, [element][key], then its values, [key][element], rows padded to GT_KV_PAD. In the fast mode, where the level
// has BF16 products, both are BF16 in the pairs of its products, along a key and across two values; else they are f32.
// A segment's tokens fill its pages in order.
//
// Table: i32 data, {n_tok, n_seg, n_list, then n_tok × (segment, offset), then n_seg × (parent, length, first), then
// n_list pages}: new token t is token offset of its segment; a segment has length tokens, the new ones included, its
// pages begin at first of the list, and it follows its parent (an earlier segment, or -1) whole. What is behind the
// list is not read. New tokens of one segment stand in order.
//
// GT_OP_ATTN_KEEP   a0 inout kept [elements of a page, pages] bf16 (fast) or f32; a1 k [d·n_kv,T]; a2 v [d·n_kv,T]; a3
//                   table: puts each new token's key and value in its place.
// GT_OP_ATTN_NEXT   a0 out o [d·n_head,T]; a1 q [d·n_head,T]; a2 kept; a3 table; a4 sinks [n_head] or absent.
#ifndef GT_ATTN_NEXT_INC_H
#define GT_ATTN_NEXT_INC_H

#include "attention.inc.h"

// Elements to which a head's rows are padded: the most lanes a vector has.
enum { GT_KV_PAD = 16 };

// gt_kv_block is the number of tokens of a page: those of a block of keys of GT_OP_ATTN.
static inline int64_t gt_kv_block(int64_t d) { return d > 256 ? 16 : d > 128 ? 32 : 64; }

// gt_kv_half is the number of elements of a page that the keys, or the values, of one head take.
static inline int64_t gt_kv_half(int64_t d) { return (d + GT_KV_PAD - 1) / GT_KV_PAD * GT_KV_PAD * gt_kv_block(d); }

// A gt_kv_table is a table's parts.
typedef struct gt_kv_table {
    int64_t         n_tok, n_seg, n_list;
    const int32_t * tok, *seg, *list;
} gt_kv_table;

static inline gt_kv_table gt_kv_table_of(const gt_arg * a) {
    const int32_t * d = a->data;
    gt_kv_table     t = {.n_tok = d[0], .n_seg = d[1], .n_list = d[2]};
    t.tok  = d + 3;
    t.seg  = t.tok + 2 * t.n_tok;
    t.list = t.seg + 3 * t.n_seg;
    return t;
}

#ifdef GT_KERNELS

_Static_assert(GT_ATTN_BLOCK == 64, "a page is a block of GT_OP_ATTN");
_Static_assert(GT_KV_PAD % GT_VL == 0, "rows of values are read in whole vectors");

typedef struct gt_next {
    gt_attn     at;
    gt_kv_table table;
    char *      pages;
    int64_t     page; // bytes
    int64_t     half; // floats of a head's keys, or of its values
    int64_t     wide; // floats of a row of values
} gt_next;

static gt_next gt_next_of(const gt_call * c, const gt_arg * pages, const gt_arg * table) {
    const gt_attn_constants k = GT_CONSTANTS(attn, c);
    gt_next n = {.table = gt_kv_table_of(table), .pages = pages->data, .page = pages->nb1};
    n.at        = gt_attn_sizes(&k);
    n.half      = gt_kv_half(n.at.d) / (n.at.fast ? 2 : 1);
    n.wide      = (n.at.d + GT_KV_PAD - 1) / GT_KV_PAD * GT_KV_PAD;
    return n;
}

// gt_next_keys is where the keys of a head lie in page i of a list; its values lie n->half behind them.
GT_INLINE float * gt_next_keys(const gt_next * n, int64_t i, int64_t kv) {
    return (float *) (n->pages + n->table.list[i] * n->page) + 2 * kv * n->half;
}

// --- keep ------------------------------------------------------------------------------------------------------------

// gt_keep_value puts a value in row r of a page's. In the fast mode it is the first or the second of a row of pairs; as
// the first it clears the second, which is not there yet: whatever was, times zero, must be zero.
static void gt_keep_value(const gt_next * n, float * rows, int64_t r, const float * v) {
    const int64_t d = n->at.d;
    if (!n->at.fast) {
        memcpy(rows + r * n->wide, v, (size_t) d * sizeof(float));
        return;
    }
    float * to = rows + r / 2 * n->wide;
    for (int64_t i = 0; i < d; i += GT_VL) {
        const int   m = d - i < GT_VL ? (int) (d - i) : GT_VL;
        const gt_vf x = gt_load_n(v + i, m), had = gt_load(to + i);
        gt_store(to + i, r % 2 ? (gt_vf) (((gt_vi) had & 0xffff) | (gt_vi) gt_pairs(gt_splat(0), x))
                               : gt_pairs(x, gt_splat(0)));
    }
}

static void gt_keep_key(const gt_next * n, float * keys, int64_t r, const float * k) {
    float room[GT_ATTN_MAX_D];
    if (n->at.fast) {
        gt_attn_halve(room, k, 0, 1, n->at.d);
        k = room;
    }
    for (int64_t i = 0; i < n->at.dots; i++) keys[i * n->at.block + r] = k[i];
}

// A page's numbers of one head are one thread's: two tokens share a pair.
static void gt_k_attn_keep(const gt_call * c, int ith, int nth) {
    const gt_next n = gt_next_of(c, &c->a[0], &c->a[3]);
    for (int64_t t = 0; t < n.table.n_tok; t++) {
        const int32_t * seg = n.table.seg + 3 * n.table.tok[2 * t];
        const int64_t   at = n.table.tok[2 * t + 1], page = seg[2] + at / n.at.block, r = at % n.at.block;
        for (int64_t kv = 0; kv < n.at.n_kv; kv++) {
            if ((n.table.list[page] + kv) % nth != ith) continue;
            float * keys = gt_next_keys(&n, page, kv);
            gt_keep_key(&n, keys, r, gt_row(gt_rows_of(&c->a[1], kv * n.at.d), t));
            gt_keep_value(&n, keys + n.half, r, gt_row(gt_rows_of(&c->a[2], kv * n.at.d), t));
        }
    }
}

// --- next ------------------------------------------------------------------------------------------------------------

// gt_next_dot_of: s[key] = Σ_i a[i][key]·q[i] for nv vectors of keys.
GT_INLINE void gt_next_dot_of(const int fast, const int nv, const float * a, int64_t ld, int64_t steps, const float * q,
                              float * s) {
    gt_vf acc[4];
#pragma GCC unroll 4
    for (int v = 0; v < nv; v++) acc[v] = gt_splat(0);
    for (int64_t i = 0; i < steps; i++) {
#pragma GCC unroll 4
        for (int v = 0; v < nv; v++) acc[v] = gt_attn_mac(fast, acc[v], q + i, gt_load(a + i * ld + v * GT_VL));
    }
#pragma GCC unroll 4
    for (int v = 0; v < nv; v++) gt_store(s + v * GT_VL, acc[v]);
}

static __attribute__((noinline)) void gt_next_dot(int fast, const float * a, int64_t ld, int64_t keys, int64_t steps,
                                                  const float * q, float * s) {
    for (int64_t k = 0; k < keys;) {
        const int four = keys - k > 3 * GT_VL;
        if (GT_HAS_BF16 && fast) {
            if (four) gt_next_dot_of(1, 4, a + k, ld, steps, q, s + k);
            else gt_next_dot_of(1, 1, a + k, ld, steps, q, s + k);
        } else {
            if (four) gt_next_dot_of(0, 4, a + k, ld, steps, q, s + k);
            else gt_next_dot_of(0, 1, a + k, ld, steps, q, s + k);
        }
        k += four ? 4 * GT_VL : GT_VL;
    }
}

// gt_next_sum_of: o[i] = o[i]·by + Σ_k a[k][i]·p[k] for nv vectors of elements.
GT_INLINE void gt_next_sum_of(const int fast, const int nv, const float * a, int64_t wide, int64_t steps,
                              const float * p, float * o, gt_vf by) {
    gt_vf acc[4];
#pragma GCC unroll 4
    for (int v = 0; v < nv; v++) acc[v] = gt_load(o + v * GT_VL) * by;
    for (int64_t k = 0; k < steps; k++) {
#pragma GCC unroll 4
        for (int v = 0; v < nv; v++) acc[v] = gt_attn_mac(fast, acc[v], p + k, gt_load(a + k * wide + v * GT_VL));
    }
#pragma GCC unroll 4
    for (int v = 0; v < nv; v++) gt_store(o + v * GT_VL, acc[v]);
}

static __attribute__((noinline)) void gt_next_sum(int fast, const float * a, int64_t wide, int64_t steps,
                                                  const float * p, float * o, float alpha) {
    const gt_vf by = gt_splat(alpha);
    for (int64_t i = 0; i < wide;) {
        const int four = wide - i >= 4 * GT_VL;
        if (GT_HAS_BF16 && fast) {
            if (four) gt_next_sum_of(1, 4, a + i, wide, steps, p, o + i, by);
            else gt_next_sum_of(1, 1, a + i, wide, steps, p, o + i, by);
        } else {
            if (four) gt_next_sum_of(0, 4, a + i, wide, steps, p, o + i, by);
            else gt_next_sum_of(0, 1, a + i, wide, steps, p, o + i, by);
        }
        i += four ? 4 * GT_VL : GT_VL;
    }
}

// The running state of one token's softmax in one head: gt_attn_state of one lane.
typedef struct gt_next_state {
    float q[GT_ATTN_MAX_D], o[GT_ATTN_MAX_D]; // the query, scaled, in pairs in the fast mode; unnormalised output
    float s[GT_ATTN_BLOCK];                   // scores, then probabilities
    float p[GT_ATTN_BLOCK];                   // fast: probabilities in pairs
    float max, sum;
} gt_next_state;

// gt_next_online is gt_attn_online for n scores in lanes; what is behind them in the last vector becomes 0.
static float gt_next_online(gt_next_state * st, int64_t n) {
    const int64_t wide = (n + GT_VL - 1) / GT_VL * GT_VL;
    gt_vf         most = gt_splat(st->max);
    for (int64_t k = n; k < wide; k++) st->s[k] = -INFINITY;
    for (int64_t k = 0; k < wide; k += GT_VL) most = gt_max(most, gt_load(st->s + k));
    const gt_vf max   = gt_splat(gt_hmax(most));
    const float alpha = gt_attn_exp2(gt_splat(st->max) - max)[0];
    for (int64_t k = 0; k < wide; k += GT_VL) gt_store(st->s + k, gt_attn_exp2(gt_load(st->s + k) - max));
    float l0 = gt_fma(gt_splat(st->sum), gt_splat(alpha), gt_splat(0))[0], l1 = 0;
    for (int64_t k = 0; k + 1 < n; k += 2) l0 += st->s[k], l1 += st->s[k + 1];
    if (n % 2) l0 += st->s[n - 1];
    st->max = max[0];
    st->sum = l0 + l1;
    return alpha;
}

// gt_next_meet lets a token meet keys [r, r + n) of a page, to the first of which it is blind.
static void gt_next_meet(const gt_next * x, gt_next_state * st, const float * keys, int64_t r, int64_t n,
                         int64_t blind) {
    const gt_attn * at = &x->at;
    gt_next_dot(at->fast, keys + r, at->block, n, at->dots, st->q, st->s);
    gt_attn_cap(at, st->s, GT_VL, (n + GT_VL - 1) / GT_VL);
    for (int64_t k = 0; k < blind; k++) st->s[k] = -INFINITY;
    const float   alpha  = gt_next_online(st, n);
    const float * values = keys + x->half + (at->fast ? r / 2 : r) * x->wide;
#if GT_HAS_BF16
    if (at->fast) {
        gt_to_bf16(st->s, n, st->p);
        gt_next_sum(1, values, x->wide, (n + 1) / 2, st->p, st->o, alpha);
        return;
    }
#endif
    gt_next_sum(0, values, x->wide, n, st->s, st->o, alpha);
}

// gt_next_cut is where GT_OP_ATTN ends a block of the keys of a token's own segment though no page does, or -1: its
// tile may begin with a vector of earlier tokens, and a block ends where that one's sight ends.
static int64_t gt_next_cut(const gt_attn * at, int64_t token, int64_t head) {
    const int64_t chunk = token / GT_VL, u = chunk * at->group + head % at->group;
    return u % at->nv && (u - 1) / at->group != chunk ? chunk * GT_VL : -1;
}

// gt_next_segment lets a token meet the first n keys of a segment, whose pages begin at first of the list, but for
// those before from, which lie outside the window.
static void gt_next_segment(const gt_next * x, gt_next_state * st, int64_t kv, int64_t first, int64_t from, int64_t n,
                            int64_t cut) {
    const int64_t block = x->at.block;
    for (int64_t b0 = 0, b1; b0 < n; b0 = b1) {
        b1 = gt_min_i((b0 / block + 1) * block, n);
        if (cut > b0) b1 = gt_min_i(b1, cut);
        if (b1 <= from) continue;
        gt_next_meet(x, st, gt_next_keys(x, first + b0 / block, kv), b0 % block, b1 - b0, gt_max_i(0, from - b0));
    }
}

static void gt_next_token(const gt_call * c, const gt_next * x, int64_t t, int64_t head) {
    const gt_attn * at = &x->at;
    const int64_t   kv = head / at->group, d = at->d, token = x->table.tok[2 * t + 1];
    const float *   q = gt_row(gt_rows_of(&c->a[1], head * d), t);
    float *         o = gt_row(gt_rows_of(&c->a[0], head * d), t);
    _Alignas(64) gt_next_state st;
    st.max = c->a[4].data ? gt_attn_sink(&c->a[4], head) : GT_ATTN_LOWEST;
    st.sum = c->a[4].data ? 1 : 0;
    memset(st.o, 0, sizeof st.o);
    for (int64_t i = 0; i < d; i += GT_VL) {
        const int m = d - i < GT_VL ? (int) (d - i) : GT_VL;
        gt_store(st.q + i, gt_load_n(q + i, m) * gt_splat(at->scale * GT_LOG2E));
    }
#if GT_HAS_BF16
    if (at->fast) gt_to_bf16(st.q, d, st.q);
#endif
    int64_t n = token + 1, cut = gt_next_cut(at, token, head), left = at->window ? at->window : INT64_MAX;
    for (int64_t s = x->table.tok[2 * t]; s >= 0 && left > 0; cut = -1) {
        const int32_t * seg = x->table.seg + 3 * s;
        gt_next_segment(x, &st, kv, seg[2], gt_max_i(0, n - left), n, cut);
        left -= n;
        s = seg[0];
        if (s >= 0) n = x->table.seg[3 * s + 1];
    }
    const gt_vf by = 1.0f / gt_splat(st.sum);
    for (int64_t i = 0; i < d; i += GT_VL) {
        const int m = d - i < GT_VL ? (int) (d - i) : GT_VL;
        gt_store_n(o + i, gt_load(st.o + i) * by, m);
    }
}

// A token's heads go round the threads: of a text that is read, later tokens have more to meet.
static void gt_k_attn_next(const gt_call * c, int ith, int nth) {
    const gt_next x = gt_next_of(c, &c->a[2], &c->a[3]);
    for (int64_t i = ith; i < x.table.n_tok * x.at.n_head; i += nth)
        gt_next_token(c, &x, i / x.at.n_head, i % x.at.n_head);
}

#endif

#ifdef GT_CHECKS

// kv_table_fault checks a table of t new tokens that names pages below n. It reads the table: a kernel follows it
// through memory without looking.
static const char * kv_table_fault(const gt_arg * a, int64_t t, int64_t n, int64_t block) {
    if (a->type != GT_I32 || !a->data || a->ne1 != 1 || a->ne0 < 3) return "attention: the table is not one row of i32";
    const int32_t * data = a->data;
    if (data[0] != t || data[1] < 0 || data[2] < 0) return "attention: the table is not of the new tokens";
    if (a->ne0 < 3 + 2 * (int64_t) data[0] + 3 * (int64_t) data[1] + data[2])
        return "attention: the table is cut short";
    const gt_kv_table x = gt_kv_table_of(a);
    for (int64_t s = 0; s < x.n_seg; s++) {
        const int32_t * seg = x.seg + 3 * s;
        if (seg[0] < -1 || seg[0] >= s) return "attention: a segment's parent does not come before it";
        if (seg[1] < 0 || seg[2] < 0 || seg[2] + (seg[1] + block - 1) / block > x.n_list)
            return "attention: a segment has too few pages";
    }
    for (int64_t i = 0; i < x.n_list; i++) {
        if (x.list[i] < 0 || x.list[i] >= n) return "attention: a page of the table is not there";
    }
    for (int64_t i = 0; i < t; i++) {
        const int32_t seg = x.tok[2 * i], at = x.tok[2 * i + 1];
        if (seg < 0 || seg >= x.n_seg || at < 0 || at >= x.seg[3 * seg + 1])
            return "attention: a new token lies in no segment";
        if (i > 0 && x.tok[2 * i - 2] == seg && x.tok[2 * i - 1] != at - 1)
            return "attention: new tokens of a segment do not follow each other";
    }
    return NULL;
}

// kept_fault looks at the pages, and at the table, of t new tokens.
static const char * kept_fault(const gt_call * c, const gt_arg * pages, const gt_arg * table, int64_t t) {
    const gt_attn_constants k = GT_CONSTANTS(attn, c);
    GT_TRY(heads_fault(&k));
    if (k.bidirectional) return "attention: tokens that see later ones are not written one after the other";
    if (k.drop > 0) return "attention: nothing is dropped where tokens are written one after the other";
    const int fast = k.fast && gt_packed_format() == GT_FORMAT_BF16;
    if (!gt_is_matrix(pages, fast ? GT_BF16 : GT_F32, 2 * k.n_kv * gt_kv_half(k.d), pages->ne1))
        return "attention: what is kept is not in pages of this level's numbers";
    if (pages->nb1 % 4 || (uintptr_t) pages->data % 4) return "attention: pages are not aligned to 4 bytes";
    return kv_table_fault(table, t, pages->ne1, gt_kv_block(k.d));
}

const char * gt_check_attn_keep(const gt_call * c) {
    const gt_attn_constants k = GT_CONSTANTS(attn, c);
    const int64_t           t = c->a[1].ne1;
    if (!gt_is_f32(&c->a[1], k.n_kv * k.d, t) || !gt_is_f32(&c->a[2], k.n_kv * k.d, t))
        return "attention: k or v is not f32 [d·n_kv, tokens]";
    if (!gt_all_apart(c, 0)) return "attention: an output overlaps another argument";
    return kept_fault(c, &c->a[0], &c->a[3], t);
}

const char * gt_check_attn_next(const gt_call * c) {
    const gt_attn_constants k = GT_CONSTANTS(attn, c);
    const int64_t           t = c->a[1].ne1;
    if (!gt_is_f32(&c->a[0], k.n_head * k.d, t) || !gt_is_f32(&c->a[1], k.n_head * k.d, t))
        return "attention: o or q is not f32 [d·n_head, tokens]";
    if (!gt_all_apart(c, 0)) return "attention: an output overlaps another argument";
    GT_TRY(sinks_fault(&c->a[4], k.n_head));
    return kept_fault(c, &c->a[2], &c->a[3], t);
}

int64_t gt_kv_page(int64_t d, int64_t n_kv) { return 2 * n_kv * gt_kv_half(d); }

int64_t gt_kv_tokens(int64_t d) { return gt_kv_block(d); }

#endif

#endif
