// What ggtune takes from llama.cpp beside llama.h (C++ only), in our own words; llama-model.h of the pinned supplier is
// the authority, and drift_test.go holds this file to it.
#ifndef GT_LLAMAINTERNAL_H
#define GT_LLAMAINTERNAL_H

#include <string>
#include <utility>
#include <vector>

struct ggml_tensor;
struct llama_model;

// The model's tensors by name, borrowed. Their number alone decides how many nodes a graph of the model may have.
const std::vector<std::pair<std::string,
    struct ggml_tensor *>> & llama_internal_get_tensor_map(const struct llama_model * model);

#endif
