// Which tokens a tile meets, and what of them its lanes see; included by attention.inc.h.
//
// With a window a token sees those alone that are less than `window` positions before it, or behind it where tokens see
// both ways. Positions go on from a segment's parent, so that of other branches only those tokens are counted which are
// on the way. What no lane sees is left out in whole blocks, counted from a segment's first token as they are without a
// window: to a lane that sees nothing of a block it makes no difference, to the bit, whether the block is met.
#ifndef GT_ATTN_SIGHT_INC_H
#define GT_ATTN_SIGHT_INC_H

GT_INLINE int64_t gt_seg_length(const gt_attn * at, int64_t s) { return gt_seg_end(at, s) - gt_seg_start(at, s); }

// gt_attn_outside counts the tokens of other segments that segment s meets where there is no window: of its ancestors,
// or, for keys, of its descendants, whose bits are set in desc.
static int64_t gt_attn_outside(const gt_attn * at, int64_t s, int keys, uint64_t * desc) {
    int64_t n = 0;
    if (!keys) {
        for (int64_t a = gt_seg_parent(at, s); a >= 0; a = gt_seg_parent(at, a)) n += gt_seg_length(at, a);
        return n;
    }
    memset(desc, 0, (size_t) (at->n_seg + 63) / 64 * 8);
    for (int64_t r = s + 1; r < at->n_seg; r++) {
        int64_t p = gt_seg_parent(at, r);
        if (p != s && (p < s || !(desc[p / 64] >> (p % 64) & 1))) continue;
        desc[r / 64] |= (uint64_t) 1 << (r % 64);
        n += gt_seg_length(at, r);
    }
    return n;
}

GT_INLINE int gt_attn_is_under(const uint64_t * desc, int64_t r) { return (int) (desc[r / 64] >> (r % 64) & 1); }

// gt_attn_shift is what must be added to a token of r, a descendant of s, so that positions between s and r are told by
// a difference of tokens.
static int64_t gt_attn_shift(const gt_attn * at, int64_t s, int64_t r) {
    int64_t begin = gt_seg_end(at, s);
    for (int64_t a = gt_seg_parent(at, r); a != s; a = gt_seg_parent(at, a)) begin += gt_seg_length(at, a);
    return begin - gt_seg_start(at, r);
}

// gt_attn_behind is the token behind a tile's last one.
GT_INLINE int64_t gt_attn_behind(const gt_attn_vecs * t) { return t->first[t->n - 1] + t->count[t->n - 1]; }

// gt_attn_cost estimates a tile's work: its vectors times the rows they meet.
static int64_t gt_attn_cost(const gt_attn * at, const gt_attn_vecs * t, int64_t outside, const uint64_t * desc,
                            int keys) {
    const int64_t first = t->first[0], behind = gt_attn_behind(t);
    int64_t       lo = gt_seg_start(at, t->seg), hi = gt_seg_end(at, t->seg);
    if (keys && at->window) {
        const int64_t end = behind - 1 + at->window; // of what sees the tile's last key
        outside = 0;
        for (int64_t r = t->seg + 1; r < at->n_seg; r++) {
            if (!gt_attn_is_under(desc, r)) continue;
            int64_t seen = end - gt_attn_shift(at, t->seg, r) - gt_seg_start(at, r);
            outside += gt_max_i(0, gt_min_i(seen, gt_seg_length(at, r)));
        }
        hi = gt_min_i(hi, end);
    } else if (at->window) {
        outside = gt_max_i(0, gt_min_i(outside, at->window - 1 - (first - lo)));
        lo      = gt_max_i(lo, first - at->window + 1);
    }
    if (at->both && at->window && keys) lo = gt_max_i(lo, first - at->window + 1);
    if (at->both && at->window && !keys) hi = gt_min_i(hi, behind - 1 + at->window);
    if (!at->both && keys) lo = first;
    if (!at->both && !keys) hi = behind;
    return t->n * (keys ? at->group : 1) * (outside + hi - lo);
}

// gt_attn_mask_far hides, of what gt_attn_mask does, the lanes a window or more behind a row or (before) before it.
static void gt_attn_mask_far(const gt_attn * at, float * s, int64_t lw, int64_t b0, int64_t b1, int64_t first,
                             int64_t shift, int before) {
    gt_vi lane;
    for (int i = 0; i < GT_VL; i++) lane[i] = i;
    const gt_vf   hidden = gt_splat(-INFINITY);
    const int64_t lo     = before ? gt_max_i(b0, first + at->window - shift) : b0;
    const int64_t hi     = before ? b1 : gt_min_i(b1, first + GT_VL - at->window - shift);
    for (int64_t k = lo; k < hi; k++) {
        float * p    = s + (k - b0) * lw;
        int32_t edge = (int32_t) (k + shift - first + (before ? -at->window : at->window));
        gt_vi   seen = before ? lane > edge : lane < edge;
        gt_store(p, gt_select(seen, gt_load(p), hidden));
    }
}

// gt_attn_mask hides, in one vector of scores of rows [b0, b1), the lanes that the tree or the window hides: lanes are
// the tokens first, first+1, …; rows are keys and lanes see no later row, or (keys_are_lanes) rows are queries and
// lanes are seen by no earlier row; where tokens see both ways the window alone hides. What belongs to another branch
// is not met at all. shift is a run's (gt_attn_shift).
static void gt_attn_mask(const gt_attn * at, float * s, int64_t lw, int64_t b0, int64_t b1, int64_t first,
                         int64_t shift, int keys_are_lanes) {
    if (at->window) gt_attn_mask_far(at, s, lw, b0, b1, first, shift, keys_are_lanes);
    if (at->window && at->both) gt_attn_mask_far(at, s, lw, b0, b1, first, shift, !keys_are_lanes);
    if (at->both) return;
    gt_vi lane;
    for (int i = 0; i < GT_VL; i++) lane[i] = i;
    const gt_vf hidden = gt_splat(-INFINITY);
    int64_t     lo = keys_are_lanes ? b0 : gt_max_i(b0, first + 1);
    int64_t     hi = keys_are_lanes ? gt_min_i(b1, first + GT_VL - 1) : b1;
    for (int64_t k = lo; k < hi; k++) {
        float * p    = s + (k - b0) * lw;
        int32_t edge = (int32_t) (k - first);
        gt_vi   seen = keys_are_lanes ? lane <= edge : lane >= edge;
        gt_store(p, gt_select(seen, gt_load(p), hidden));
    }
}

// gt_attn_keys_block returns the end of the block of keys that begins at b0, at most hi, and in *j the first vector
// whose tokens see b0 (hi lies behind the tile's last token). A block ends where a vector's sight ends, so that no
// vector is given keys that all its lanes are blind to. None ends where tokens see both ways.
static int64_t gt_attn_keys_block(const gt_attn * at, const gt_attn_vecs * t, int64_t b0, int64_t hi, int * j) {
    int v = 0;
    *j    = 0;
    if (at->both) return gt_min_i(b0 + at->block, hi);
    while (v + 1 < t->n && t->first[v] + GT_VL <= b0) v++;
    *j = v;
    return gt_min_i(gt_min_i(b0 + at->block, hi), t->first[v] + GT_VL);
}

// A gt_attn_run is a run of keys [lo, hi) that a tile of queries meets; the first is GT_ATTN_RUN.
typedef struct gt_attn_run {
    int64_t next;  // the segment to go on with; -1 before the first, -2 behind the last
    int64_t begin; // of the last one: its first token, with shift added
    int64_t lo, hi;
    int64_t shift; // as gt_attn_shift's, to the other side
} gt_attn_run;

#define GT_ATTN_RUN ((gt_attn_run){.next = -1})

// gt_attn_keys_run steps to the next run of keys that the tile of t sees: first its own segment's, as far as it sees,
// then its ancestors', nearest first. Neighbours are not joined, so that blocks fall alike wherever in a row a segment
// lies: what a token sees is summed in an order that follows from that alone. It returns 0 when there is none left.
static int gt_attn_keys_run(const gt_attn * at, const gt_attn_vecs * t, gt_attn_run * r) {
    if (r->next == -2) return 0;
    const int     own = r->next == -1;
    const int64_t s   = own ? t->seg : r->next, up = gt_seg_parent(at, s);
    r->lo    = gt_seg_start(at, s);
    r->hi    = own && !at->both ? gt_attn_behind(t) : gt_seg_end(at, s);
    r->shift = own ? 0 : r->begin - gt_seg_end(at, s);
    r->begin = r->lo + r->shift;
    r->next  = up < 0 ? -2 : up;
    if (!at->window) return 1;
    if (own && at->both) {
        const int64_t ahead = gt_attn_behind(t) - 1 + at->window - r->lo;
        r->hi = gt_min_i(r->hi, r->lo + (ahead + at->block - 1) / at->block * at->block);
    }
    const int64_t seen = t->first[0] - at->window + 1 - r->shift;
    if (seen >= r->hi) return 0; // nor anything before it
    if (seen > r->lo) r->lo += (seen - r->lo) / at->block * at->block;
    return 1;
}

#endif
