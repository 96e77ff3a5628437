// Attention over trees of tokens. The softmax is computed online (Milakov and Gimelshein 2018;
// blocked as in FlashAttention, Dao et al. 2022): scores exist for one tile and one block of keys at a time. The
// backward passes compute the probabilities again from the log-sum-exp. Inside, scores are in units of log 2, which
// saves exponentials a multiplication; the log-sum-exp that leaves is in nats.
//
// The work is cut into tiles (attn_tile.inc.h), by shapes and tree alone: a tile belongs to one key/value head and one
// segment. A query tile's vectors are GT_VL consecutive tokens of one of the head's query heads, heads of a group
// first, so that a group shares the keys it reads. A tile of queries meets the keys of its own segment, then those of
// its ancestors; one of keys the queries of its segment and of its descendants, runs of neighbours joined. Blocks that
// the tree or the window hides are never visited (attn_sight.inc.h).
//
// Tree: i32 data, {n_seg, then n_seg × (start, end, parent)}: segment s covers tokens [start,end), parent < s or -1.
// Token t of s sees its own segment up to and including t (all of it if bidirectional), and every token of s's
// ancestors. With a window it sees of these the tokens less than `window` positions from it; with a cap scores are
// cap·tanh(score/cap). With sinks a head has one more score, for every token the same, of a key whose value is zero: it
// takes a share of the probability and gives nothing (Xiao et al. 2023, arXiv 2309.17453, learned as in gpt-oss). With
// a rate of dropout each probability is zeroed by chance and the others raised (attn_drop.inc.h); then there is a key,
// i64 [1,1], the last argument of a pass and of its derivatives.
//
// GT_OP_ATTN        a0 out o [d·n_head,T]; a1 out lse [n_head,T]; a2 q [d·n_head,T]; a3 k [d·n_kv,T]; a4 v [d·n_kv,T];
//                   a5 tree i32; a6 sinks [n_head] or absent; a7 key. lse is the log-sum-exp of the scaled scores and
//                   the sink, nats.
// GT_OP_ATTN_DELTA  delta[h,t] = Σ_d do·o.   a0 out delta [n_head,T]; a1 o; a2 do. Of the constants n_head and d.
// GT_OP_ATTN_BACK_Q a0 out dq; a1 q; a2 k; a3 v; a4 lse; a5 delta; a6 do; a7 tree; a8 key.
// GT_OP_ATTN_BACK_KV a0 out dk; a1 out dv; a2 q; a3 k; a4 v; a5 lse; a6 delta; a7 do; a8 tree; a9 key.
// GT_OP_ATTN_SINK_GRAD a0 inout dsinks [n_head], added to; a1 sinks; a2 lse; a3 delta. Of the constants n_head.
#ifndef GT_ATTENTION_INC_H
#define GT_ATTENTION_INC_H

#include "kernels.h"
#include "attn_limits.h"
#include "dropout.inc.h"
#include "softcap.inc.h"

typedef struct gt_attn_constants {
    double  scale;  // factor of the scores
    double  cap;    // which they stay within; 0: they may be any
    double  drop;   // rate of dropout of the probabilities
    int64_t stream; // which mask of the key's, 0 to below 2^32
    int64_t n_head, n_kv, d;
    int64_t window; // positions; 0: a token sees as far as there is
    bool    fast;          // BF16 products where the level has them
    bool    bidirectional; // a token sees the later ones of its segment too
} gt_attn_constants;

#ifdef GT_KERNELS

#include "attn_tile.inc.h"

#define GT_LOG2E 1.44269504088896341f
// The running maximum's beginning. A block of which a lane sees nothing leaves it there, and so must be no infinity,
// whose difference from itself is no number.
#define GT_ATTN_LOWEST (-1e30f)

// Rows of a block of scores: with the widest vectors a block takes 8 KiB, so that it stays in the first-level cache
// beside the tile.
enum { GT_ATTN_BLOCK = 64 };
// Floats of a tile's matrix, of a block of scores, and of a block of rows made ready for the products. A head longer
// than 128 halves the lanes and the rows, one longer than 256 the rows again, and ATTN_BACK_KV, which has four matrices
// to keep, has blocks half as long: no kernel takes more than 170 KiB of stack.
enum {
    GT_ATTN_TILE   = GT_VL * GT_ATTN_MAX_D,
    GT_ATTN_SCORES = GT_ATTN_NV * GT_VL * GT_ATTN_BLOCK,
    GT_ATTN_ROOM   = GT_ATTN_BLOCK * 128,
};

typedef struct gt_attn {
    int64_t         n_head, n_kv, group, d;
    float           scale;
    float           cap;    // in units of log 2; 0: none
    int64_t         window; // 0: none
    int             fast;  // BF16 products; only where the level has them
    int             both;  // a token sees the later ones of its segment too
    int             drop;  // probabilities are zeroed by chance: those whose draw of 24 bits is below the threshold
    int32_t         threshold;
    float           raise; // what is made of the others is multiplied by it; 1 where none is zeroed
    uint64_t        key, stream;
    int64_t         dots;  // what a dot runs over: d numbers, or in the fast mode pairs
    int             nv;    // vectors in a tile
    int64_t         lw;    // floats between a tile's rows
    int64_t         block; // rows of a block of scores
    int32_t         n_seg;
    const int32_t * seg; // n_seg × (start, end, parent)
} gt_attn;

// gt_attn_sizes is all of it but the tree and the key.
static gt_attn gt_attn_sizes(const gt_attn_constants * k) {
    gt_attn at = {.n_head = k->n_head, .n_kv = k->n_kv, .d = k->d, .scale = (float) k->scale};
    at.fast    = GT_HAS_BF16 && k->fast;
    at.both    = k->bidirectional;
    at.cap     = (float) k->cap * GT_LOG2E;
    at.window  = k->window;
    at.dots    = at.fast ? (at.d + 1) / 2 : at.d;
    at.group   = at.n_head / at.n_kv;
    at.nv      = at.d > 128 ? 1 : GT_ATTN_NV;
    at.lw      = at.nv * GT_VL;
    at.block   = at.d > 256 ? GT_ATTN_BLOCK / 4 : at.d > 128 ? GT_ATTN_BLOCK / 2 : GT_ATTN_BLOCK;
    at.drop    = k->drop > 0;
    at.raise   = (float) (1 / (1 - k->drop));
    at.stream  = (uint64_t) k->stream;
    at.threshold = (int32_t) lround(k->drop * (1 << 24));
    return at;
}

static gt_attn gt_attn_of(const gt_call * c, const gt_arg * tree, const gt_arg * key) {
    const gt_attn_constants k = GT_CONSTANTS(attn, c);
    gt_attn                 at = gt_attn_sizes(&k);
    at.n_seg   = ((const int32_t *) tree->data)[0];
    at.seg     = (const int32_t *) tree->data + 1;
    at.key     = at.drop ? (uint64_t) *(const int64_t *) key->data : 0;
    return at;
}

GT_INLINE int64_t gt_seg_start(const gt_attn * at, int64_t s) { return at->seg[3 * s]; }
GT_INLINE int64_t gt_seg_end(const gt_attn * at, int64_t s) { return at->seg[3 * s + 1]; }
GT_INLINE int64_t gt_seg_parent(const gt_attn * at, int64_t s) { return at->seg[3 * s + 2]; }

GT_INLINE int64_t gt_min_i(int64_t a, int64_t b) { return a < b ? a : b; }
GT_INLINE int64_t gt_max_i(int64_t a, int64_t b) { return a > b ? a : b; }

// A gt_rows is one head's rows of an argument: row t begins at p + t·stride.
typedef struct gt_rows {
    float * p;
    int64_t stride; // floats
} gt_rows;

GT_INLINE gt_rows gt_rows_of(const gt_arg * a, int64_t offset) {
                                                                return (gt_rows){(float *) a->data + offset,
                                                                    a->nb1 / 4}; }
GT_INLINE float * gt_row(gt_rows r, int64_t t) { return r.p + t * r.stride; }

// gt_attn_for_dot makes rows [t, t + n) of x ready to be the rows of a dot: as they lie, or, in the fast mode, in room.
static gt_rows gt_attn_for_dot(const gt_attn * at, gt_rows x, int64_t t, int64_t n, float * room) {
    if (!at->fast) return (gt_rows){gt_row(x, t), x.stride};
    gt_attn_halve(room, gt_row(x, t), x.stride, n, at->d);
    return (gt_rows){room, at->dots};
}

// gt_attn_for_sum makes them ready for a sum, in room; in the exact mode a dot can use them too.
static gt_rows gt_attn_for_sum(const gt_attn * at, gt_rows x, int64_t t, int64_t n, float * room) {
    gt_attn_near(at->fast, room, gt_row(x, t), x.stride, n, at->d);
    return (gt_rows){room, at->d};
}

// gt_attn_sums is the number of steps of a sum over n rows.
GT_INLINE int64_t gt_attn_sums(const gt_attn * at, int64_t n) { return at->fast ? (n + 1) / 2 : n; }

// gt_attn_put stores rows k and k + 1 of a sum's right-hand side for one vector; two is 0 if row k is the last. In the
// fast mode they become row k/2, which may lie over rows that are done with.
GT_INLINE void gt_attn_put(int fast, float * s, int64_t lw, int64_t k, gt_vf a, gt_vf b, int two) {
    if (GT_HAS_BF16 && fast) {
        gt_store(s + k / 2 * lw, gt_pairs(a, two ? b : gt_splat(0)));
        return;
    }
    gt_store(s + k * lw, a);
    if (two) gt_store(s + (k + 1) * lw, b);
}

// --- tiles -----------------------------------------------------------------------------------------------------------

// A tile: vector v's lanes are the tokens first[v] + 0, 1, … (the first count[v] of them) of segment seg, head head[v].
typedef struct gt_attn_vecs {
    int     n;
    int64_t seg, kv;
    int64_t head[GT_ATTN_NV], first[GT_ATTN_NV];
    int     count[GT_ATTN_NV];
} gt_attn_vecs;

// gt_attn_vec_count is how many vectors segment s has for one key/value head: queries in GT_VL tokens times the heads
// of a group, keys in GT_VL tokens.
static int64_t gt_attn_vec_count(const gt_attn * at, int64_t s, int keys) {
    int64_t chunks = (gt_seg_end(at, s) - gt_seg_start(at, s) + GT_VL - 1) / GT_VL;
    return keys ? chunks : chunks * at->group;
}

// gt_attn_vecs_of makes the tile of segment s that begins with vector u.
static gt_attn_vecs gt_attn_vecs_of(const gt_attn * at, int64_t kv, int64_t s, int64_t u, int keys) {
    gt_attn_vecs t = {.seg = s, .kv = kv};
    t.n            = (int) gt_min_i(at->nv, gt_attn_vec_count(at, s, keys) - u);
    for (int v = 0; v < t.n; v++) {
        int64_t chunk = keys ? u + v : (u + v) / at->group;
        t.head[v]     = keys ? kv : kv * at->group + (u + v) % at->group;
        t.first[v]    = gt_seg_start(at, s) + chunk * GT_VL;
        t.count[v]    = (int) gt_min_i(GT_VL, gt_seg_end(at, s) - t.first[v]);
    }
    return t;
}

#include "attn_sight.inc.h"

typedef void (*gt_attn_fn)(const gt_call * c, const gt_attn * at, const gt_attn_vecs * t, const uint64_t * desc);

// gt_attn_each calls fn for this thread's tiles. Tiles stand in a fixed order; thread i takes those whose middle,
// measured in cost, lies in the i-th of nth equal parts of the whole: neither the sums nor their order know of threads.
static void gt_attn_each(const gt_call * c, const gt_attn * at, int keys, int ith, int nth, gt_attn_fn fn) {
    uint64_t desc[GT_ATTN_MAX_SEG / 64];
    int64_t  total = 0; // of one head
    for (int64_t s = 0; s < at->n_seg; s++) {
        int64_t n = gt_attn_vec_count(at, s, keys), outside = n ? gt_attn_outside(at, s, keys, desc) : 0;
        for (int64_t u = 0; u < n; u += at->nv) {
            gt_attn_vecs t = gt_attn_vecs_of(at, 0, s, u, keys);
            total += gt_attn_cost(at, &t, outside, desc, keys);
        }
    }
    // Twice the cost, so that a tile's middle is a whole number.
    const int64_t all = 2 * total * at->n_kv;
    const int64_t lo  = (int64_t) ((double) all * ith / nth);
    const int64_t hi  = ith + 1 == nth ? all : (int64_t) ((double) all * (ith + 1) / nth);
    for (int64_t kv = 0; kv < at->n_kv; kv++) {
        int64_t at_cost = 2 * total * kv;
        if (at_cost + 2 * total <= lo || at_cost >= hi) continue;
        for (int64_t s = 0; s < at->n_seg; s++) {
            int64_t n = gt_attn_vec_count(at, s, keys), outside = n ? gt_attn_outside(at, s, keys, desc) : 0;
            for (int64_t u = 0; u < n; u += at->nv) {
                gt_attn_vecs t    = gt_attn_vecs_of(at, kv, s, u, keys);
                int64_t      cost = gt_attn_cost(at, &t, outside, desc, keys), middle = at_cost + cost;
                at_cost += 2 * cost;
                if (middle >= lo && middle < hi) fn(c, at, &t, desc);
            }
        }
    }
}

// gt_attn_lanes reads one number a lane: x[head, token], absent lanes repeating the last.
static gt_vf gt_attn_lanes(const gt_arg * x, int64_t head, int64_t first, int count) {
    gt_vf out = gt_splat(0);
    for (int l = 0; l < GT_VL; l++) out[l] = gt_row(gt_rows_of(x, head), first + (l < count ? l : count - 1))[0];
    return out;
}

// gt_attn_cap bounds n rows of scores of one vector, where they are bounded. One copy of it serves all kernels.
static __attribute__((noinline)) void gt_attn_cap(const gt_attn * at, float * s, int64_t lw, int64_t n) {
    if (!(at->cap > 0)) return;
    const float by = 1 / at->cap;
    for (int64_t k = 0; k < n; k++) gt_store(s + k * lw, gt_softcap(gt_load(s + k * lw), at->cap, by));
}

#include "attn_drop.inc.h"

// --- forward ---------------------------------------------------------------------------------------------------------

// gt_attn_sink is what a head's running maximum begins with, whose running sum then begins with 1: its sink, or the
// beginning of one that has none. A sink that is no number stays none.
GT_INLINE float gt_attn_sink(const gt_arg * sinks, int64_t head) {
    const float s = ((const float *) sinks->data)[head] * GT_LOG2E;
    return s < GT_ATTN_LOWEST ? GT_ATTN_LOWEST : s;
}

// The running state of a tile's online softmax, and the arguments a block needs.
typedef struct gt_attn_state {
    const gt_attn *      at;
    const gt_attn_vecs * t;
    gt_rows              k, v;
    float *              q;            // packed queries [lw, dots]
    float *              o;            // unnormalised output [lw, d]
    float *              s;            // scores [lw, block]
    float *              room;         // GT_ATTN_ROOM: in the fast mode the keys' half, then the values'
    gt_vf                max[GT_ATTN_NV], sum[GT_ATTN_NV];
} gt_attn_state;

// gt_attn_online turns n rows of scores of one vector into 2^(score − max) and carries maximum and sum on. It returns
// the factor by which everything summed before must shrink.
static gt_vf gt_attn_online(int fast, float * s, int64_t lw, int64_t n, gt_vf * max, gt_vf * sum) {
    gt_vf   m0 = *max, m1 = m0, m2 = m0, m3 = m0;
    int64_t k = 0;
    for (; k + 4 <= n; k += 4) {
        m0 = gt_max(m0, gt_load(s + k * lw));
        m1 = gt_max(m1, gt_load(s + (k + 1) * lw));
        m2 = gt_max(m2, gt_load(s + (k + 2) * lw));
        m3 = gt_max(m3, gt_load(s + (k + 3) * lw));
    }
    for (; k < n; k++) m0 = gt_max(m0, gt_load(s + k * lw));
    m0          = gt_max(gt_max(m0, m1), gt_max(m2, m3));
    gt_vf alpha = gt_attn_exp2(*max - m0);
    gt_vf l0 = gt_fma(*sum, alpha, gt_splat(0)), l1 = gt_splat(0); // never one with the sum that follows
    for (k = 0; k + 2 <= n; k += 2) {
        const gt_vf p0 = gt_attn_exp2(gt_load(s + k * lw) - m0), p1 = gt_attn_exp2(gt_load(s + (k + 1) * lw) - m0);
        gt_attn_put(fast, s, lw, k, p0, p1, 1);
        l0 += p0;
        l1 += p1;
    }
    if (k < n) {
        const gt_vf p0 = gt_attn_exp2(gt_load(s + k * lw) - m0);
        gt_attn_put(fast, s, lw, k, p0, p0, 0);
        l0 += p0;
    }
    *max = m0;
    *sum = l0 + l1;
    return alpha;
}

// gt_attn_block lets the vectors from j on meet keys [b0, b1) of a run.
static void gt_attn_block(gt_attn_state * st, int j, int64_t b0, int64_t b1, int64_t shift) {
    const gt_attn *      at = st->at;
    const gt_attn_vecs * t  = st->t;
    const int64_t        lw = at->lw, n = b1 - b0, x = j * GT_VL;
    gt_vf                alpha[GT_ATTN_NV];
    const gt_rows        k = gt_attn_for_dot(at, st->k, b0, n, st->room);
    gt_attn_dot(at->fast, t->n - j, k.p, k.stride, n, at->dots, st->q + x, st->s + x, lw);
    for (int v = j; v < t->n; v++) {
        float * s = st->s + v * GT_VL;
        gt_attn_cap(at, s, lw, n);
        gt_attn_mask(at, s, lw, b0, b1, t->first[v], shift, 0);
        alpha[v - j] = gt_attn_online(at->fast, s, lw, n, &st->max[v], &st->sum[v]);
        if (at->drop) {
            gt_vi kept[GT_ATTN_BLOCK];
            gt_attn_kept(at, t->head[v], b0, n, t->first[v], kept);
            gt_attn_drop(at->fast, s, lw, n, kept);
        }
    }
    const gt_rows v = gt_attn_for_sum(at, st->v, b0, n, at->fast ? st->room + GT_ATTN_ROOM / 2 : st->room);
    gt_attn_sum(at->fast, t->n - j, v.p, v.stride, gt_attn_sums(at, n), at->d, st->s + x, st->o + x, lw, alpha);
}

static void gt_attn_tile(const gt_call * c, const gt_attn * at, const gt_attn_vecs * t, const uint64_t * desc) {
    _Alignas(64) float q[GT_ATTN_TILE], o[GT_ATTN_TILE], s[GT_ATTN_SCORES], room[GT_ATTN_ROOM];
    (void) desc;
    const gt_arg * a  = c->a;
    gt_attn_state  st = {.at = at, .t = t, .q = q, .o = o, .s = s, .room = room};
    st.k = gt_rows_of(&a[3], t->kv * at->d);
    st.v = gt_rows_of(&a[4], t->kv * at->d);
    for (int v = 0; v < t->n; v++) {
        gt_rows in = gt_rows_of(&a[2], t->head[v] * at->d);
        gt_attn_pack(at->fast, q + v * GT_VL, at->lw, gt_row(in, t->first[v]), in.stride, t->count[v], at->d,
                     at->scale * GT_LOG2E);
        st.max[v] = gt_splat(a[6].data ? gt_attn_sink(&a[6], t->head[v]) : GT_ATTN_LOWEST);
        st.sum[v] = gt_splat(a[6].data ? 1 : 0);
    }
    memset(o, 0, (size_t) (at->lw * at->d) * sizeof(float));
    for (gt_attn_run r = GT_ATTN_RUN; gt_attn_keys_run(at, t, &r);) {
        for (int64_t b0 = r.lo, b1; b0 < r.hi; b0 = b1) {
            int j;
            b1 = gt_attn_keys_block(at, t, b0, r.hi, &j);
            gt_attn_block(&st, j, b0, b1, r.shift);
        }
    }
    for (int v = 0; v < t->n; v++) {
        gt_rows out = gt_rows_of(&a[0], t->head[v] * at->d), lse = gt_rows_of(&a[1], t->head[v]);
        gt_attn_unpack(gt_row(out, t->first[v]), out.stride, o + v * GT_VL, at->lw, t->count[v], at->d,
                       at->raise / st.sum[v]);
        for (int l = 0; l < t->count[v]; l++)
            gt_row(lse, t->first[v] + l)[0] = st.max[v][l] / GT_LOG2E + logf(st.sum[v][l]);
    }
}

static void gt_k_attn(const gt_call * c, int ith, int nth) {
    gt_attn at = gt_attn_of(c, &c->a[5], &c->a[7]);
    gt_attn_each(c, &at, 0, ith, nth, gt_attn_tile);
}

#include "attn_back.inc.h"

#endif

#ifdef GT_CHECKS

// tree_fault checks that the segments cover the tokens [0, t) in order and that parents come first. It reads the tree:
// a kernel follows it through memory without looking.
static const char * tree_fault(const gt_arg * a, int64_t t) {
    if (a->type != GT_I32 || !a->data || a->ne1 != 1 || a->ne0 < 1) return "tree: it is not one row of i32";
    const int32_t * data = a->data;
    if (data[0] < 0 || data[0] > GT_ATTN_MAX_SEG)
        return "tree: it has more than 65536 segments, or fewer than none";
    if (a->ne0 < 1 + 3 * (int64_t) data[0]) return "tree: it ends before its last segment";
    int64_t at = 0;
    for (int64_t s = 0; s < data[0]; s++) {
        const int32_t * seg = data + 1 + 3 * s;
        if (seg[0] != at || seg[1] < seg[0]) return "tree: its segments do not follow each other";
        if (seg[2] < -1 || seg[2] >= s) return "tree: a segment's parent does not come before it";
        at = seg[1];
    }
    return at == t ? NULL : "tree: its segments do not cover the tokens";
}

static const char * sinks_fault(const gt_arg * a, int64_t n_head) {
    return a->data && !gt_is_vector(a, n_head) ? "attention: the sinks are not one number a head" : NULL;
}

static const char * heads_fault(const gt_attn_constants * k) {
    const int64_t n_head = k->n_head, n_kv = k->n_kv, d = k->d;
    if (n_head < 1 || n_head > 65536 || n_kv < 1 || n_kv > n_head || n_head % n_kv) {
        return "attention: the number of heads is no multiple of the number of key/value heads";
    }
    if (d < 1 || d > GT_ATTN_MAX_D) return "attention: a head's length is not within 1 and 512";
    if (k->cap != 0 && cap_fault(k->cap)) return "attention: what scores stay within is no positive number";
    if (!(k->drop >= 0 && k->drop < 1)) return "attention: the rate of dropout is not within 0 and 1";
    if (k->stream < 0 || k->stream > UINT32_MAX) return "attention: the stream of dropout is not within 0 and 2^32";
    if (k->window < 0 || k->window > INT32_MAX) return "attention: the window is below 0, or absurdly wide";
    return isfinite(k->scale) ? NULL : "attention: the scale is not finite";
}

static const char * drop_fault(const gt_attn_constants * k, const gt_arg * key) {
    return k->drop > 0 && !(key->data && gt_is_matrix(key, GT_I64, 1, 1)) ? "attention: the key is not one i64" : NULL;
}

const char * gt_check_attn(const gt_call * c) {
    const gt_attn_constants k = GT_CONSTANTS(attn, c);
    const gt_arg * a     = c->a;
    const char *   fault = heads_fault(&k);
    if (fault) return fault;
    const int64_t n_head = k.n_head, t = a[2].ne1, q = n_head * k.d, kv = k.n_kv * k.d;
    if (!gt_is_f32(&a[0], q, t) || !gt_is_f32(&a[2], q, t)) return "attention: o or q is not f32 [d·n_head, tokens]";
    if (!gt_is_f32(&a[1], n_head, t)) return "attention: lse is not f32 [n_head, tokens]";
    if (!gt_is_f32(&a[3], kv, t) || !gt_is_f32(&a[4], kv, t)) return "attention: k or v is not f32 [d·n_kv, tokens]";
    if (!gt_all_apart(c, 0) || !gt_all_apart(c, 1)) return "attention: an output overlaps another argument";
    GT_TRY(sinks_fault(&a[6], n_head));
    GT_TRY(drop_fault(&k, &a[7]));
    return tree_fault(&a[5], t);
}

const char * gt_check_attn_delta(const gt_call * c) {
    const gt_attn_constants k = GT_CONSTANTS(attn, c);
    const gt_arg * a      = c->a;
    const int64_t  n_head = k.n_head, d = k.d, t = a[1].ne1;
    if (n_head < 1 || n_head > 65536 || d < 1 || d > GT_ATTN_MAX_D)
        return "attention: heads or their length are out of range";
    if (!gt_is_f32(&a[0], n_head, t)) return "attention: delta is not f32 [n_head, tokens]";
    if (!gt_is_f32(&a[1], n_head * d, t) || !gt_is_f32(&a[2], n_head * d, t))
        return "attention: o or its gradient is not f32 [d·n_head, tokens]";
    return gt_all_apart(c, 0) ? NULL : "attention: delta overlaps another argument";
}

const char * gt_check_attn_sink_grad(const gt_call * c) {
    const int64_t n_head = GT_CONSTANTS(attn, c).n_head, t = c->a[2].ne1;
    if (n_head < 1 || n_head > 65536) return "attention: heads are out of range";
    if (!gt_is_vector(&c->a[0], n_head) || !gt_is_vector(&c->a[1], n_head))
        return "attention: the sinks or their gradient are not one number a head";
    if (!gt_is_f32(&c->a[2], n_head, t) || !gt_is_f32(&c->a[3], n_head, t))
        return "attention: lse or delta is not f32 [n_head, tokens]";
    return gt_all_apart(c, 0) ? NULL : "attention: a gradient overlaps another argument";
}

// back_fault checks what both backward passes share; i is the index of q, the first of q, k, v, lse, delta, do, tree,
// key.
static const char * back_fault(const gt_call * c, int i) {
    const gt_attn_constants k = GT_CONSTANTS(attn, c);
    const gt_arg * a     = c->a + i;
    const char *   fault = heads_fault(&k);
    if (fault) return fault;
    const int64_t n_head = k.n_head, t = a[0].ne1, q = n_head * k.d, kv = k.n_kv * k.d;
    if (!gt_is_f32(&a[0], q, t) || !gt_is_f32(&a[5], q, t))
        return "attention: q or o's gradient is not f32 [d·n_head, tokens]";
    if (!gt_is_f32(&a[1], kv, t) || !gt_is_f32(&a[2], kv, t)) return "attention: k or v is not f32 [d·n_kv, tokens]";
    if (!gt_is_f32(&a[3], n_head, t) || !gt_is_f32(&a[4], n_head, t))
        return "attention: lse or delta is not f32 [n_head, tokens]";
    for (int j = 0; j < i; j++) {
        if (!gt_all_apart(c, j)) return "attention: a gradient overlaps another argument";
    }
    GT_TRY(drop_fault(&k, &a[7]));
    return tree_fault(&a[6], t);
}

const char * gt_check_attn_back_q(const gt_call * c) {
    if (!gt_is_like(&c->a[0], &c->a[1])) return "attention: q's gradient is not shaped like q";
    return back_fault(c, 1);
}

const char * gt_check_attn_back_kv(const gt_call * c) {
    if (!gt_is_like(&c->a[0], &c->a[3]) || !gt_is_like(&c->a[1], &c->a[4]))
        return "attention: k's or v's gradient is not shaped like it";
    return back_fault(c, 2);
}

#endif

#endif
