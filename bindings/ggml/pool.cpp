#include "pool.h"

#include "../ggmlapi.h"
#include "../guard.h"

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>

#if defined(__x86_64__) || defined(__i386__)
#include <immintrin.h>
#endif

namespace {

int64_t now() {
    using namespace std::chrono;
    return duration_cast<nanoseconds>(steady_clock::now().time_since_epoch()).count();
}

void relax() {
#if defined(__x86_64__) || defined(__i386__)
    _mm_pause();
#elif defined(__aarch64__)
    __asm__ __volatile__("yield" ::: "memory");
#endif
}

// A barrier that all of n threads must reach before any goes on. It spins for some tens of microseconds, which is what
// a well-balanced kernel needs, and then sleeps. ggml's own barrier, which separates the nodes of a graph, only spins:
// on a machine that is also doing something else, the thread that is waited for may be waiting for the very core that
// the waiting wastes (measured with 3 threads on 2 busy cores: 35 ms a barrier, against 0.1 ms with this one).
class barrier {
    static const int        spins = 1000;
    std::atomic<int>        arrived{0}, sleepers{0};
    std::atomic<unsigned>   phase{0};
    std::mutex              mutex;
    std::condition_variable cond;

public:
    void wait(int n) {
        if (n == 1) {
            return;
        }
        const unsigned before = phase.load();
        if (arrived.fetch_add(1) == n - 1) {
            arrived.store(0);
            phase.store(before + 1);
            // A thread about to sleep counts itself before it looks at the phase a last time, and this looks at the
            // count after it set the phase: one of the two sees the other.
            if (sleepers.load() > 0) {
                std::lock_guard<std::mutex> lock(mutex);
                cond.notify_all();
            }
            return;
        }
        for (int i = 0; i < spins; i++) {
            if (phase.load(std::memory_order_acquire) != before) {
                return;
            }
            relax();
        }
        std::unique_lock<std::mutex> lock(mutex);
        sleepers++;
        cond.wait(lock, [&] { return phase.load() != before; });
        sleepers--;
    }
};

} // namespace

struct gt_pool {
    int                      threads = 0;
    struct ggml_threadpool * pool    = nullptr;
    struct ggml_context *    ctx     = nullptr; // holds the graph's metadata
    struct ggml_cgraph *     graph   = nullptr; // one node, which run_calls computes
    int32_t                  stop    = 0;

    // the run under way
    barrier         gate;
    const gt_call * calls = nullptr;
    int64_t         n     = 0;
    int64_t *       begin = nullptr;
    // The call after which the run was stopped, or -1. Thread 0 alone writes it, before the barrier of that call. It is
    // a number and not a flag because a thread that leaves one barrier late may read it when thread 0 is at the next
    // call already.
    std::atomic<int64_t> ended{-1};

    ~gt_pool() {
        ggml_threadpool_free(pool);
        ggml_free(ctx);
    }
};

namespace {

// run_calls is the custom operator, entered once a run by every thread of the pool. dst is a placeholder. Nothing may
// be thrown from here: the frames above are C on threads that nobody guards.
void run_calls(struct ggml_tensor *, int ith, int nth, void * userdata) {
    gt_pool * p = (gt_pool *)userdata;
    for (int64_t i = 0; i < p->n; i++) {
        if (p->begin && ith == 0) {
            p->begin[i] = now();
        }
        gt_run(p->calls + i, ith, nth);
        if (ith == 0 && i + 1 < p->n && __atomic_load_n(&p->stop, __ATOMIC_RELAXED)) {
            p->ended.store(i);
        }
        p->gate.wait(nth);
        if (p->ended.load() == i) {
            break;
        }
    }
    if (p->begin && ith == 0) {
        p->begin[p->n] = now();
    }
}

// open starts the threads and makes the graph. The calls' buffers are no tensors of it: ggml looks at a custom
// operator's sources on no path of the CPU backend.
void open(gt_pool * p) {
    struct ggml_threadpool_params params;
    ggml_threadpool_params_init(&params, p->threads);
    params.poll = 0; // between runs workers sleep at once: Go has work of its own for the cores
    p->pool     = ggml_threadpool_new(&params);
    if (!p->pool) {
        throw std::bad_alloc();
    }
    struct ggml_init_params init = {};
    // 64 bytes cover the alignment of the two objects
    init.mem_size = ggml_graph_overhead_custom(1, false) + ggml_tensor_overhead() + 64;
    init.no_alloc = true;
    p->ctx        = ggml_init(init);
    if (!p->ctx || !(p->graph = ggml_new_graph_custom(p->ctx, 1, false))) {
        throw std::bad_alloc();
    }
    // one byte, because ggml skips nodes without elements
    ggml_build_forward_expand(p->graph, ggml_custom_4d(p->ctx, GGML_TYPE_I8, 1, 1, 1, 1, nullptr, 0, run_calls,
                                                       GGML_N_TASKS_MAX, p));
}

int compute(gt_pool * p, gt_status * st) {
    struct ggml_cplan plan = ggml_graph_plan(p->graph, p->threads, p->pool);
    if (plan.work_size != 0) {
        return gt_fail(st, GT_FAILED, "ggml wants a work buffer of %zu bytes for a custom operator, which needs none",
                       plan.work_size);
    }
    enum ggml_status status = ggml_graph_compute(p->graph, &plan);
    switch (status) {
    case GGML_STATUS_SUCCESS: break;
    case GGML_STATUS_ALLOC_FAILED: return gt_fail(st, GT_NO_MEMORY, "out of memory");
    default: return gt_fail(st, GT_FAILED, "ggml reports: %s", ggml_status_to_string(status));
    }
    if (p->ended.load() >= 0) {
        __atomic_store_n(&p->stop, 0, __ATOMIC_RELAXED);
        return gt_fail(st, GT_ABORTED, "stopped on request");
    }
    return GT_OK;
}

} // namespace

int gt_pool_new(int threads, gt_pool ** out, gt_status * st) {
    *out = nullptr;
    return gt::guard(st, [&]() -> int {
        ggml_cpu_init();
        gt_pool * p = new gt_pool;
        p->threads  = threads;
        try {
            open(p);
        } catch (...) {
            delete p;
            throw;
        }
        *out = p;
        return GT_OK;
    });
}

int gt_pool_run(gt_pool * p, const gt_call * calls, int64_t n, int64_t * begin, int64_t * bad, gt_status * st) {
    *bad = -1;
    return gt::guard(st, [&]() -> int {
        for (int64_t i = 0; i < n; i++) {
            if (const char * message = gt_check(calls + i)) {
                *bad = i;
                return gt_fail(st, GT_INVALID, "%s", message);
            }
        }
        p->calls = calls;
        p->n     = n;
        p->begin = begin;
        p->ended = -1;
        int code = compute(p, st);
        p->calls = nullptr; // the arrays are Go's: no pointer to them outlives the call
        p->begin = nullptr;
        return code;
    });
}

int32_t * gt_pool_stop_flag(gt_pool * p) { return &p->stop; }

void gt_pool_free(gt_pool * p) { delete p; }
