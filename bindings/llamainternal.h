// What ggtune takes from llama.cpp beside llama.h (C++ only), in our own words: no header that is installed has it. Of
// the module's, llama-model.h is the authority, and drift_test.go holds this file to it. llama/builds.h takes what a
// build has.
#ifndef GT_LLAMAINTERNAL_H
#define GT_LLAMAINTERNAL_H

#include <cstddef>
#include <map>
#include <string>
#include <utility>
#include <vector>

struct ggml_backend_buffer_type;
struct ggml_tensor;
struct llama_context;
struct llama_model;

// The model's tensors by name, borrowed. Their number alone decides how many nodes a graph of the model may have.
const std::vector<std::pair<std::string,
    struct ggml_tensor *>> & llama_internal_get_tensor_map(const struct llama_model * model);

#ifdef GT_SYSTEM_LLAMA

// What a model and a context take by kind of memory, from llama-ext.h. A test of bindings/llama holds the figures to
// what a context that computes takes.
struct llama_memory_breakdown_data {
    size_t model, context, compute; // bytes
};
std::map<struct ggml_backend_buffer_type *, llama_memory_breakdown_data> llama_get_memory_breakdown(
    const struct llama_context * ctx);

#endif
#endif
