// How GT_OP_HEAD cuts its work: by shapes alone, so that checks, sizes and kernels agree and no result depends on
// threads.
#ifndef GT_HEAD_SHAPE_H
#define GT_HEAD_SHAPE_H

#include "level.h"

// 256 tokens: enough to make unpacking the vocabulary cheap, few enough that a thread's tile of logits (256 KiB) and
// the shards' mean rows stay small. 16 shards keep 2, 4, 8 and 16 threads equally busy.
enum { GT_HEAD_CHUNK = 256, GT_HEAD_SHARDS = 16, GT_HEAD_BLOCK = 256 };

static inline int gt_head_shards(int64_t v) {
    int64_t blocks = (v + GT_HEAD_BLOCK - 1) / GT_HEAD_BLOCK;
    return blocks < GT_HEAD_SHARDS ? (int) blocks : GT_HEAD_SHARDS;
}

// One shard's results for c tokens in the scratch, in floats: per token the shift m and Σ exp(l - m), then per numbers
// a token: the targets' logits (of those that the shard has) and what is left of the sum without them; with entropy
// lean: Σ exp(l - m)·(l - m); then, with back, the rows e: Σ exp(l - m)·W and e2: Σ exp(l - m)·W2, and with entropy the
// rows f and f2, which have the factor (l - m) too.
typedef struct gt_head_shard {
    float * m, *sum, *outs, *lean, *e, *e2, *f, *f2;
    int64_t per;
} gt_head_shard;

static inline gt_head_shard gt_head_shard_at(float * at, int64_t k, int64_t r, int64_t c, int64_t per, int entropy) {
    gt_head_shard s = {.m = at, .sum = at + c, .outs = at + 2 * c, .lean = at + (2 + per) * c, .per = per};
    s.e = s.lean + (entropy ? c : 0), s.e2 = s.e + c * k, s.f = s.e2 + c * r, s.f2 = s.f + c * k;
    return s;
}

// A whole number of cache lines.
static inline int64_t gt_head_shard_floats(int64_t k, int64_t r, int64_t c, int64_t per, int back, int entropy) {
    int64_t n = c * (2 + per + entropy + (back ? (k + r) * (1 + entropy) : 0));
    return (n + 15) / 16 * 16;
}

// The same of GT_OP_HEAD_TOP: the shift and the sum, then the many largest logits, then their rows.
static inline int64_t gt_head_top_floats(int64_t c, int64_t many) { return (c * (2 + 2 * many) + 15) / 16 * 16; }

#endif
