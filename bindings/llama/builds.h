// What differs from one build of llama.cpp to another (C++ only). The compiler finds which of the ways below a build
// has: of two overloads the one that takes an int is chosen where it compiles, else the one that takes a long.
// third_party/ggml/README.md lists the builds that were tried.
#ifndef GT_BUILDS_H
#define GT_BUILDS_H

#include "shim_internal.h"

#include "../llamainternal.h"

#include <algorithm>
#include <vector>

// llama_version, where llama.h lacks it: an overload that is no template is preferred.
template <typename = void> const char * llama_version(int = 0) { return ""; }

namespace gt {

// set_mmap has a model's file mapped into memory, or read.
template <typename P> auto set_mmap(P & params, bool on, int) -> decltype(params.use_mmap, void()) {
    params.use_mmap = on;
}
template <typename P> void set_mmap(P & params, bool on, long) {
    params.load_mode = decltype(params.load_mode)(on ? 1 : 0); // LLAMA_LOAD_MODE_MMAP, LLAMA_LOAD_MODE_NONE
}

// set_adapters applies adapters to a context that has none; 0 is success.
template <typename C, typename A>
auto set_adapters(C * ctx, std::vector<A *> & list, std::vector<float> & scales, int)
    -> decltype(llama_set_adapters_lora(ctx, list.data(), list.size(), scales.data())) {
    return llama_set_adapters_lora(ctx, list.data(), list.size(), scales.data());
}
template <typename C, typename A>
int32_t set_adapters(C * ctx, std::vector<A *> & list, std::vector<float> & scales, long) {
    int32_t code = 0;
    for (size_t i = 0; i < list.size() && code == 0; i++) {
        code = llama_set_adapter_lora(ctx, list[i], scales[i]);
    }
    return code;
}

// make_room lets graphs of the model have nodes enough for that many adapters. A llama.cpp that takes all adapters at
// once counts their nodes. One from before allows 8 nodes for each of the model's tensors, which the model itself takes
// up, and counts none of an adapter's (llama_context::graph_max_nodes): it asserts when it computes. An adapter makes 4
// nodes and 2 inputs for each tensor that it changes, and changes none twice. So its list of tensors is extended by
// some without a name, which nothing looks for.
template <typename C>
auto make_room(gt_model &, size_t, C * ctx, int)
    -> decltype(llama_set_adapters_lora(ctx, nullptr, 0, nullptr), void()) {
    (void)ctx; // nor is there one: its type is what the compiler looks at
}
template <typename C> void make_room(gt_model & m, size_t adapters, C *, long) {
    // the interface has it const; the model, whose own it is, is not
    auto & list = const_cast<std::vector<std::pair<std::string,
        struct ggml_tensor *>> &>(llama_internal_get_tensor_map(m.model));
    if (m.n_tensors == 0) {
        m.n_tensors = list.size();
    }
    list.resize(std::max(list.size(), m.n_tensors * (1 + adapters)));
}

// penalties makes a sampler that divides the logits of the last tokens. What llama.cpp asks the size of the vocabulary
// for is sampling within a model's graph, which ggtune does not do.
inline struct llama_sampler * penalties(struct llama_sampler * (*make)(int32_t, float, float, float), int32_t last,
                                        float repeat) {
    return make(last, repeat, 0.0f, 0.0f);
}
inline struct llama_sampler * penalties(struct llama_sampler * (*make)(int32_t, int32_t, float, float, float),
                                        int32_t last, float repeat) {
    return make(0, last, repeat, 0.0f, 0.0f);
}

// memory_rows is gt_context_memory.
template <typename C>
auto memory_rows(C * ctx, gt_memory *, int32_t, int) -> decltype(llama_memory_breakdown_print(ctx), int32_t()) {
    llama_memory_breakdown_print(ctx);
    return -1;
}
template <typename C> int32_t memory_rows(C * ctx, gt_memory * rows, int32_t cap, long) {
    int32_t n = 0;
    for (const auto & one : llama_get_memory_breakdown(ctx)) {
        if (n < cap) {
            rows[n] = {ggml_backend_buft_is_host(one.first), (int64_t)one.second.model, (int64_t)one.second.context,
                       (int64_t)one.second.compute};
        }
        n++;
    }
    return n;
}

} // namespace gt
#endif
