#include "pool.h"

#include "../ggmlapi.h"
#include "../guard.h"

#include <chrono>
#include <cstdlib>
#include <vector>

namespace {

// One node of the graph: which call it runs, and where its beginning is noted (or NULL).
struct node {
    const gt_call * call;
    int64_t *       begin;
};

int64_t now() {
    return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// run_node is the custom operator: every thread of the pool enters it for each node, and ggml's barrier separates nodes.
// dst is a placeholder. Nothing may be thrown from here: the frames above are C on threads that nobody guards.
void run_node(struct ggml_tensor *, int ith, int nth, void * userdata) {
    const node * n = (const node *)userdata;
    if (n->begin && ith == 0) {
        *n->begin = now();
    }
    gt_run(n->call, ith, nth);
}

} // namespace

struct gt_pool {
    int                      threads = 0;
    struct ggml_threadpool * pool    = nullptr;
    struct ggml_context *    ctx     = nullptr; // holds the graph's metadata; emptied, not freed, between runs
    int64_t                  room    = 0;       // nodes that ctx has room for
    std::vector<node>        nodes;             // room of them
    int32_t                  stop    = 0;

    ~gt_pool() {
        ggml_threadpool_free(pool);
        ggml_free(ctx);
    }
};

namespace {

bool stopped(void * data) { return __atomic_load_n((int32_t *)data, __ATOMIC_RELAXED) != 0; }

// grow makes room for n nodes. It at least doubles, so that metadata is allocated a few times in a pool's life.
void grow(gt_pool * p, int64_t n) {
    if (n <= p->room) {
        return;
    }
    int64_t room = p->room ? p->room : 64;
    while (room < n) {
        room *= 2;
    }
    struct ggml_init_params params = {};
    // a node's tensor holds no data: 16 bytes more cover the alignment of each object
    params.mem_size = ggml_graph_overhead_custom((size_t)room, false) + (size_t)room * (ggml_tensor_overhead() + 16) + 64;
    params.no_alloc = true;
    std::vector<node> nodes((size_t)room);
    struct ggml_context * ctx = ggml_init(params);
    if (!ctx) {
        throw std::bad_alloc();
    }
    ggml_free(p->ctx);
    p->ctx  = ctx;
    p->room = room;
    p->nodes.swap(nodes);
}

// build makes the graph: one node per call, in the order given. The calls' buffers are not ggml tensors: ggml looks at a
// custom operator's sources on no path of the CPU backend, and at thousands of calls a step they would cost memory and time.
struct ggml_cgraph * build(gt_pool * p, const gt_call * calls, int64_t n, int64_t * begin) {
    ggml_reset(p->ctx);
    struct ggml_cgraph * graph = ggml_new_graph_custom(p->ctx, (size_t)n, false);
    if (!graph) {
        throw std::bad_alloc();
    }
    for (int64_t i = 0; i < n; i++) {
        p->nodes[i].call  = calls + i;
        p->nodes[i].begin = begin ? begin + i : nullptr;
        // one byte, because ggml skips nodes without elements
        struct ggml_tensor * t = ggml_custom_4d(p->ctx, GGML_TYPE_I8, 1, 1, 1, 1, nullptr, 0, run_node, GGML_N_TASKS_MAX, &p->nodes[i]);
        // appended as it is: ggml_build_forward_expand would order nodes by their sources instead
        ggml_graph_add_node(graph, t);
    }
    return graph;
}

int compute(gt_pool * p, struct ggml_cgraph * graph, gt_status * st) {
    struct ggml_cplan plan = ggml_graph_plan(graph, p->threads, p->pool);
    if (plan.work_size != 0) {
        return gt_fail(st, GT_FAILED, "ggml wants a work buffer of %zu bytes for custom operators, which need none", plan.work_size);
    }
    plan.abort_callback      = stopped;
    plan.abort_callback_data = &p->stop;
    enum ggml_status status  = ggml_graph_compute(graph, &plan);
    switch (status) {
    case GGML_STATUS_SUCCESS: return GT_OK;
    case GGML_STATUS_ABORTED:
        __atomic_store_n(&p->stop, 0, __ATOMIC_RELAXED);
        return gt_fail(st, GT_ABORTED, "stopped on request");
    case GGML_STATUS_ALLOC_FAILED: return gt_fail(st, GT_NO_MEMORY, "out of memory");
    default: return gt_fail(st, GT_FAILED, "ggml reports: %s", ggml_status_to_string(status));
    }
}

} // namespace

int gt_pool_new(int threads, gt_pool ** out, gt_status * st) {
    *out = nullptr;
    return gt::guard(st, [&]() -> int {
        ggml_cpu_init();
        gt_pool * p = new gt_pool;
        p->threads  = threads;
        try {
            struct ggml_threadpool_params params;
            ggml_threadpool_params_init(&params, threads);
            params.poll = 0; // between graphs workers sleep at once: Go has work of its own for the cores
            p->pool     = ggml_threadpool_new(&params);
            if (!p->pool) {
                throw std::bad_alloc();
            }
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
        grow(p, n);
        int code = compute(p, build(p, calls, n, begin), st);
        if (begin) {
            begin[n] = now();
        }
        for (int64_t i = 0; i < n; i++) { // the arrays are Go's: no pointer to them outlives the call
            p->nodes[i] = node{nullptr, nullptr};
        }
        return code;
    });
}

int32_t * gt_pool_stop_flag(gt_pool * p) { return &p->stop; }

void gt_pool_free(gt_pool * p) { delete p; }
