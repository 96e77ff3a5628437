// The part of llama.cpp's C interface that ggtune calls. Of the module (third_party/ggml) it is declared in our own
// words: its llama.h is the authority, and drift_test.go holds this file to it. An installed llama.cpp is compiled
// against its own; what differs from build to build is in llama/builds.h.
#ifndef GT_LLAMAAPI_H
#define GT_LLAMAAPI_H

#include "ggmlapi.h"

#ifdef GT_SYSTEM_LLAMA

#include <llama.h>

#else

#ifdef __cplusplus
extern "C" {
#endif

struct llama_adapter_lora;
struct llama_context;
struct llama_memory_i;
struct llama_model;
struct llama_model_kv_override;
struct llama_model_tensor_buft_override;
struct llama_sampler;
struct llama_vocab;

typedef struct llama_memory_i * llama_memory_t;
typedef int32_t llama_pos;
typedef int32_t llama_token;
typedef int32_t llama_seq_id;
typedef bool (*llama_progress_callback)(float progress, void * user_data);

#define GT_LIST_llama_vocab_type(X) \
    X(LLAMA_VOCAB_TYPE_NONE, 0)     \
    X(LLAMA_VOCAB_TYPE_SPM, 1)      \
    X(LLAMA_VOCAB_TYPE_BPE, 2)      \
    X(LLAMA_VOCAB_TYPE_WPM, 3)      \
    X(LLAMA_VOCAB_TYPE_UGM, 4)      \
    X(LLAMA_VOCAB_TYPE_RWKV, 5)     \
    X(LLAMA_VOCAB_TYPE_PLAMO2, 6)
GT_ENUM(llama_vocab_type, GT_LIST_llama_vocab_type)

#define GT_LIST_llama_token_attr(X)        \
    X(LLAMA_TOKEN_ATTR_UNDEFINED, 0)       \
    X(LLAMA_TOKEN_ATTR_UNKNOWN, 1)         \
    X(LLAMA_TOKEN_ATTR_UNUSED, 2)          \
    X(LLAMA_TOKEN_ATTR_NORMAL, 4)          \
    X(LLAMA_TOKEN_ATTR_CONTROL, 8)         \
    X(LLAMA_TOKEN_ATTR_USER_DEFINED, 16)   \
    X(LLAMA_TOKEN_ATTR_BYTE, 32)
GT_ENUM(llama_token_attr, GT_LIST_llama_token_attr)

#define GT_LIST_llama_rope_scaling_type(X)      \
    X(LLAMA_ROPE_SCALING_TYPE_UNSPECIFIED, -1)  \
    X(LLAMA_ROPE_SCALING_TYPE_NONE, 0)
GT_ENUM(llama_rope_scaling_type, GT_LIST_llama_rope_scaling_type)

#define GT_LIST_llama_pooling_type(X)      \
    X(LLAMA_POOLING_TYPE_UNSPECIFIED, -1)  \
    X(LLAMA_POOLING_TYPE_NONE, 0)          \
    X(LLAMA_POOLING_TYPE_RANK, 4)
GT_ENUM(llama_pooling_type, GT_LIST_llama_pooling_type)

#define GT_LIST_llama_attention_type(X)      \
    X(LLAMA_ATTENTION_TYPE_UNSPECIFIED, -1)  \
    X(LLAMA_ATTENTION_TYPE_CAUSAL, 0)
GT_ENUM(llama_attention_type, GT_LIST_llama_attention_type)

#define GT_LIST_llama_flash_attn_type(X)   \
    X(LLAMA_FLASH_ATTN_TYPE_AUTO, -1)      \
    X(LLAMA_FLASH_ATTN_TYPE_DISABLED, 0)   \
    X(LLAMA_FLASH_ATTN_TYPE_ENABLED, 1)
GT_ENUM(llama_flash_attn_type, GT_LIST_llama_flash_attn_type)

#define GT_LIST_llama_split_mode(X) \
    X(LLAMA_SPLIT_MODE_NONE, 0)     \
    X(LLAMA_SPLIT_MODE_LAYER, 1)    \
    X(LLAMA_SPLIT_MODE_ROW, 2)
GT_ENUM(llama_split_mode, GT_LIST_llama_split_mode)

#define GT_LIST_llama_batch(F)                  \
    F(llama_batch, int32_t, n_tokens, )         \
    F(llama_batch, llama_token *, token, )      \
    F(llama_batch, float *, embd, )             \
    F(llama_batch, llama_pos *, pos, )          \
    F(llama_batch, int32_t *, n_seq_id, )       \
    F(llama_batch, llama_seq_id **, seq_id, )   \
    F(llama_batch, int8_t *, logits, )
GT_STRUCT(llama_batch, GT_LIST_llama_batch)

#define GT_LIST_llama_model_params(F)                                                                      \
    F(llama_model_params, ggml_backend_dev_t *, devices, )                                                 \
    F(llama_model_params, const struct llama_model_tensor_buft_override *, tensor_buft_overrides, )        \
    F(llama_model_params, int32_t, n_gpu_layers, )                                                         \
    F(llama_model_params, enum llama_split_mode, split_mode, )                                             \
    F(llama_model_params, int32_t, main_gpu, )                                                             \
    F(llama_model_params, const float *, tensor_split, )                                                   \
    F(llama_model_params, llama_progress_callback, progress_callback, )                                    \
    F(llama_model_params, void *, progress_callback_user_data, )                                           \
    F(llama_model_params, const struct llama_model_kv_override *, kv_overrides, )                          \
    F(llama_model_params, bool, vocab_only, )                                                              \
    F(llama_model_params, bool, use_mmap, )                                                                \
    F(llama_model_params, bool, use_mlock, )                                                               \
    F(llama_model_params, bool, check_tensors, )                                                           \
    F(llama_model_params, bool, use_extra_bufts, )                                                         \
    F(llama_model_params, bool, no_host, )                                                                 \
    F(llama_model_params, bool, no_alloc, )
GT_STRUCT(llama_model_params, GT_LIST_llama_model_params)

#define GT_LIST_llama_context_params(F)                                                 \
    F(llama_context_params, uint32_t, n_ctx, )                                          \
    F(llama_context_params, uint32_t, n_batch, )                                        \
    F(llama_context_params, uint32_t, n_ubatch, )                                       \
    F(llama_context_params, uint32_t, n_seq_max, )                                      \
    F(llama_context_params, int32_t, n_threads, )                                       \
    F(llama_context_params, int32_t, n_threads_batch, )                                 \
    F(llama_context_params, enum llama_rope_scaling_type, rope_scaling_type, )          \
    F(llama_context_params, enum llama_pooling_type, pooling_type, )                    \
    F(llama_context_params, enum llama_attention_type, attention_type, )                \
    F(llama_context_params, enum llama_flash_attn_type, flash_attn_type, )              \
    F(llama_context_params, float, rope_freq_base, )                                    \
    F(llama_context_params, float, rope_freq_scale, )                                   \
    F(llama_context_params, float, yarn_ext_factor, )                                   \
    F(llama_context_params, float, yarn_attn_factor, )                                  \
    F(llama_context_params, float, yarn_beta_fast, )                                    \
    F(llama_context_params, float, yarn_beta_slow, )                                    \
    F(llama_context_params, uint32_t, yarn_orig_ctx, )                                  \
    F(llama_context_params, float, defrag_thold, )                                      \
    F(llama_context_params, ggml_backend_sched_eval_callback, cb_eval, )                \
    F(llama_context_params, void *, cb_eval_user_data, )                                \
    F(llama_context_params, enum ggml_type, type_k, )                                   \
    F(llama_context_params, enum ggml_type, type_v, )                                   \
    F(llama_context_params, ggml_abort_callback, abort_callback, )                      \
    F(llama_context_params, void *, abort_callback_data, )                              \
    F(llama_context_params, bool, embeddings, )                                         \
    F(llama_context_params, bool, offload_kqv, )                                        \
    F(llama_context_params, bool, no_perf, )                                            \
    F(llama_context_params, bool, op_offload, )                                         \
    F(llama_context_params, bool, swa_full, )                                           \
    F(llama_context_params, bool, kv_unified, )
GT_STRUCT(llama_context_params, GT_LIST_llama_context_params)

#define GT_LIST_llama_sampler_chain_params(F) F(llama_sampler_chain_params, bool, no_perf, )
GT_STRUCT(llama_sampler_chain_params, GT_LIST_llama_sampler_chain_params)

// Library.
void   llama_backend_init(void);
size_t llama_max_parallel_sequences(void);
void llama_log_set(ggml_log_callback log_callback, void * user_data); // sets ggml's as well

// Models.
struct llama_model_params  llama_model_default_params(void);
struct llama_model *       llama_model_load_from_file(const char * path_model, struct llama_model_params params);
void                       llama_model_free(struct llama_model * model);
const struct llama_vocab * llama_model_get_vocab(const struct llama_model * model);
int32_t                    llama_model_n_ctx_train(const struct llama_model * model);
int32_t                    llama_model_n_embd(const struct llama_model * model);
uint32_t                   llama_model_n_cls_out(const struct llama_model * model);
int32_t                    llama_model_n_layer(const struct llama_model * model);
const char *               llama_print_system_info(void);
int                        llama_split_path(char * split_path, size_t maxlen, const char * path_prefix, int split_no,
                                            int split_count);
int                        llama_split_prefix(char * split_prefix, size_t maxlen, const char * split_path, int split_no,
                                              int split_count);
uint64_t                   llama_model_size(const struct llama_model * model);
uint64_t                   llama_model_n_params(const struct llama_model * model);
bool                       llama_model_has_encoder(const struct llama_model * model);
bool                       llama_model_has_decoder(const struct llama_model * model);

// Adapters. Freeing the model frees its adapters' tensors only through llama_adapter_lora_free.
struct llama_adapter_lora * llama_adapter_lora_init(struct llama_model * model, const char * path_lora);
void                        llama_adapter_lora_free(struct llama_adapter_lora * adapter);
int32_t                     llama_set_adapter_lora(struct llama_context * ctx, struct llama_adapter_lora * adapter,
                                                   float scale);

// Contexts.
struct llama_context_params llama_context_default_params(void);
struct llama_context *      llama_init_from_model(struct llama_model * model, struct llama_context_params params);
void                        llama_free(struct llama_context * ctx);
void                        llama_memory_breakdown_print(const struct llama_context * ctx);
uint32_t                    llama_n_ctx(const struct llama_context * ctx);
uint32_t                    llama_n_batch(const struct llama_context * ctx);
llama_memory_t              llama_get_memory(const struct llama_context * ctx);
void                        llama_memory_clear(llama_memory_t mem, bool data);
bool                        llama_memory_seq_rm(llama_memory_t mem, llama_seq_id seq_id, llama_pos p0, llama_pos p1);
void                        llama_memory_seq_cp(llama_memory_t mem, llama_seq_id seq_id_src, llama_seq_id seq_id_dst,
                                                llama_pos p0, llama_pos p1);
void                        llama_set_n_threads(struct llama_context * ctx, int32_t n_threads, int32_t n_threads_batch);
void                        llama_attach_threadpool(struct llama_context * ctx, ggml_threadpool_t threadpool,
                                                    ggml_threadpool_t threadpool_batch);
int32_t                     llama_decode(struct llama_context * ctx, struct llama_batch batch);
void                        llama_synchronize(struct llama_context * ctx);
float *                     llama_get_logits_ith(struct llama_context * ctx, int32_t i);
float *                     llama_get_embeddings_ith(struct llama_context * ctx, int32_t i);
float *                     llama_get_embeddings_seq(struct llama_context * ctx, llama_seq_id seq_id);
size_t                      llama_state_seq_get_size(struct llama_context * ctx, llama_seq_id seq_id);
size_t                      llama_state_seq_get_data(struct llama_context * ctx, uint8_t * dst, size_t size,
                                                     llama_seq_id seq_id);
size_t                      llama_state_seq_set_data(struct llama_context * ctx, const uint8_t * src, size_t size,
                                                     llama_seq_id dest_seq_id);

// Vocabularies.
enum llama_vocab_type llama_vocab_type(const struct llama_vocab * vocab);
int32_t               llama_vocab_n_tokens(const struct llama_vocab * vocab);
const char *          llama_vocab_get_text(const struct llama_vocab * vocab, llama_token token);
enum llama_token_attr llama_vocab_get_attr(const struct llama_vocab * vocab, llama_token token);
bool                  llama_vocab_is_eog(const struct llama_vocab * vocab, llama_token token);
bool                  llama_vocab_is_control(const struct llama_vocab * vocab, llama_token token);
llama_token           llama_vocab_bos(const struct llama_vocab * vocab);
llama_token           llama_vocab_eos(const struct llama_vocab * vocab);
llama_token           llama_vocab_eot(const struct llama_vocab * vocab);
llama_token           llama_vocab_sep(const struct llama_vocab * vocab);
llama_token           llama_vocab_pad(const struct llama_vocab * vocab);
bool                  llama_vocab_get_add_bos(const struct llama_vocab * vocab);
bool                  llama_vocab_get_add_eos(const struct llama_vocab * vocab);
int32_t               llama_tokenize(const struct llama_vocab * vocab, const char * text, int32_t text_len,
                                     llama_token * tokens, int32_t n_tokens_max, bool add_special, bool parse_special);
int32_t               llama_token_to_piece(const struct llama_vocab * vocab, llama_token token, char * buf,
                                           int32_t length, int32_t lstrip, bool special);

// Samplers. A sampler added to a chain belongs to it.
struct llama_sampler_chain_params llama_sampler_chain_default_params(void);
struct llama_sampler *            llama_sampler_chain_init(struct llama_sampler_chain_params params);
void                              llama_sampler_chain_add(struct llama_sampler * chain, struct llama_sampler * smpl);
struct llama_sampler *            llama_sampler_init_greedy(void);
struct llama_sampler *            llama_sampler_init_dist(uint32_t seed);
struct llama_sampler *            llama_sampler_init_top_k(int32_t k);
struct llama_sampler *            llama_sampler_init_top_p(float p, size_t min_keep);
struct llama_sampler *            llama_sampler_init_min_p(float p, size_t min_keep);
struct llama_sampler *            llama_sampler_init_temp(float t);
struct llama_sampler *            llama_sampler_init_penalties(int32_t penalty_last_n, float penalty_repeat,
                                                               float penalty_freq, float penalty_present);
llama_token                       llama_sampler_sample(struct llama_sampler * smpl, struct llama_context * ctx,
                                                       int32_t idx);
void                              llama_sampler_accept(struct llama_sampler * smpl, llama_token token);
void                              llama_sampler_reset(struct llama_sampler * smpl);
void                              llama_sampler_free(struct llama_sampler * smpl);

#ifdef __cplusplus
}
#endif

#endif
#endif
