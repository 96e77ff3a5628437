// What the tests' reference calls of llama.cpp beside llamaapi.h, in our own words; the module's headers are the
// authority, and drift_test.go of bindings holds this file to them. An installed llama.cpp has headers of its own.
#ifndef GT_REFERENCE_API_H
#define GT_REFERENCE_API_H

#include "../../llamaapi.h"

#ifndef GT_SYSTEM_LLAMA

#ifdef __cplusplus
extern "C" {
#endif

#define GT_LIST_llama_ftype(X) X(LLAMA_FTYPE_ALL_F32, 0) X(LLAMA_FTYPE_MOSTLY_MXFP4_MOE, 38)
GT_ENUM(llama_ftype, GT_LIST_llama_ftype)

#define GT_LIST_llama_model_quantize_params(F)                          \
    F(llama_model_quantize_params, int32_t, nthread, )                  \
    F(llama_model_quantize_params, enum llama_ftype, ftype, )           \
    F(llama_model_quantize_params, enum ggml_type, output_tensor_type, ) \
    F(llama_model_quantize_params, enum ggml_type, token_embedding_type, ) \
    F(llama_model_quantize_params, bool, allow_requantize, )            \
    F(llama_model_quantize_params, bool, quantize_output_tensor, )      \
    F(llama_model_quantize_params, bool, only_copy, )                   \
    F(llama_model_quantize_params, bool, pure, )                        \
    F(llama_model_quantize_params, bool, keep_split, )                  \
    F(llama_model_quantize_params, void *, imatrix, )                   \
    F(llama_model_quantize_params, void *, kv_overrides, )              \
    F(llama_model_quantize_params, void *, tensor_types, )              \
    F(llama_model_quantize_params, void *, prune_layers, )
GT_STRUCT(llama_model_quantize_params, GT_LIST_llama_model_quantize_params)

struct llama_model_quantize_params llama_model_quantize_default_params(void);
uint32_t llama_model_quantize(const char * fname_inp, const char * fname_out,
                              const struct llama_model_quantize_params * params);

const char * ggml_op_name(enum ggml_op op);
void         ggml_backend_tensor_get(const struct ggml_tensor * tensor, void * data, size_t offset, size_t size);

#ifdef __cplusplus
}
#endif

#endif
#endif
