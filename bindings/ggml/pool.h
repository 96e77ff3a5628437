// The thread pool: runs an array of our kernel calls as a ggml graph. See pool.go for the contract.
#ifndef GT_POOL_H
#define GT_POOL_H

#include "../kernels/kernels.h"
#include "../status.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct gt_pool gt_pool;

// gt_pool_new creates a pool of threads threads, the caller's among them. On success *out is owned by the caller.
int gt_pool_new(int threads, gt_pool ** out, gt_status * st);

// gt_pool_run computes calls[0..n) in this order. calls is borrowed. begin is NULL or borrowed room for n+1 times:
// begin[i] is when call i began, begin[n] when the last ended, in nanoseconds of a monotonic clock. bad receives the
// index of the call that gt_check refuses (then nothing is run), or -1.
int gt_pool_run(gt_pool * p, const gt_call * calls, int64_t n, int64_t * begin, int64_t * bad, gt_status * st);

// gt_pool_stop_flag returns the pool's stop flag, which lives as long as the pool. Any thread may set it to 1
// atomically: the run under way, or else the next one, ends after the call it is at, unless that is its last. The run
// that obeys clears it.
int32_t * gt_pool_stop_flag(gt_pool * p);

void gt_pool_free(gt_pool * p); // NULL is allowed

#ifdef __cplusplus
}
#endif
#endif
