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

// One shard's results for c tokens in the scratch: per token the shift m and Σ exp(l - m), then per numbers a token:
// the targets' logits (of those that the shard has) and what is left of the sum without them, then the rows
// Σ exp(l - m)·W and Σ exp(l - m)·W2. In floats, a whole number of cache lines.
static inline int64_t gt_head_shard_floats(int64_t k, int64_t r, int64_t c, int64_t per, int back) {
    int64_t n = c * (2 + per + (back ? k + r : 0));
    return (n + 15) / 16 * 16;
}

// The same of GT_OP_HEAD_TOP: the shift and the sum, then the many largest logits, then their rows.
static inline int64_t gt_head_top_floats(int64_t c, int64_t many) { return (c * (2 + 2 * many) + 15) / 16 * 16; }

#endif
