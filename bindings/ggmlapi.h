// The part of ggml's C interface that ggtune calls. Of the module (third_party/ggml) it is declared in our own words:
// its ggml.h, ggml-cpu.h and ggml-backend.h are the authority, and drift_test.go holds this file to them. An installed
// ggml has headers of its own, which may differ from build to build: those are used.
#ifndef GT_GGMLAPI_H
#define GT_GGMLAPI_H

#ifdef GT_SYSTEM_LLAMA

#include <ggml-backend.h>
#include <ggml-cpu.h>
#include <ggml.h>
#include <gguf.h>

#else

#include "declare.h"

#ifdef __cplusplus
extern "C" {
#endif

struct ggml_backend_buffer;
struct ggml_backend_buffer_type;
struct ggml_backend_device;
struct ggml_cgraph;
struct ggml_context;
struct ggml_threadpool;
struct gguf_context;

GT_CONST(GGML_MAX_N_THREADS, 512) // the size of a thread pool's affinity mask
GT_CONST(GGML_N_TASKS_MAX, -1)    // "as many tasks as there are threads"

GT_CONST(GGML_MAX_DIMS, 4)
GT_CONST(GGML_MAX_SRC, 10)
GT_CONST(GGML_MAX_NAME, 64)
GT_CONST(GGML_MAX_OP_PARAMS, 64) // bytes

#define GT_LIST_ggml_status(X)      \
    X(GGML_STATUS_ALLOC_FAILED, -2) \
    X(GGML_STATUS_FAILED, -1)       \
    X(GGML_STATUS_SUCCESS, 0)       \
    X(GGML_STATUS_ABORTED, 1)
GT_ENUM(ggml_status, GT_LIST_ggml_status)

// 4, 5, 31 to 33 and 36 to 38 were storage types once; no file may hold them now.
#define GT_LIST_ggml_type(X)                                                                                           \
    X(GGML_TYPE_F32, 0) X(GGML_TYPE_F16, 1) X(GGML_TYPE_Q4_0, 2) X(GGML_TYPE_Q4_1, 3) X(GGML_TYPE_Q5_0, 6)             \
    X(GGML_TYPE_Q5_1, 7) X(GGML_TYPE_Q8_0, 8) X(GGML_TYPE_Q8_1, 9) X(GGML_TYPE_Q2_K, 10) X(GGML_TYPE_Q3_K, 11)         \
    X(GGML_TYPE_Q4_K, 12) X(GGML_TYPE_Q5_K, 13) X(GGML_TYPE_Q6_K, 14) X(GGML_TYPE_Q8_K, 15) X(GGML_TYPE_IQ2_XXS, 16)   \
    X(GGML_TYPE_IQ2_XS, 17) X(GGML_TYPE_IQ3_XXS, 18) X(GGML_TYPE_IQ1_S, 19) X(GGML_TYPE_IQ4_NL, 20)                    \
    X(GGML_TYPE_IQ3_S, 21) X(GGML_TYPE_IQ2_S, 22) X(GGML_TYPE_IQ4_XS, 23) X(GGML_TYPE_I8, 24) X(GGML_TYPE_I16, 25)     \
    X(GGML_TYPE_I32, 26) X(GGML_TYPE_I64, 27) X(GGML_TYPE_F64, 28) X(GGML_TYPE_IQ1_M, 29) X(GGML_TYPE_BF16, 30)        \
    X(GGML_TYPE_TQ1_0, 34) X(GGML_TYPE_TQ2_0, 35) X(GGML_TYPE_MXFP4, 39) X(GGML_TYPE_COUNT, 40)
GT_ENUM(ggml_type, GT_LIST_ggml_type)

#define GT_LIST_ggml_log_level(X) \
    X(GGML_LOG_LEVEL_NONE, 0)     \
    X(GGML_LOG_LEVEL_DEBUG, 1)    \
    X(GGML_LOG_LEVEL_INFO, 2)     \
    X(GGML_LOG_LEVEL_WARN, 3)     \
    X(GGML_LOG_LEVEL_ERROR, 4)    \
    X(GGML_LOG_LEVEL_CONT, 5)
GT_ENUM(ggml_log_level, GT_LIST_ggml_log_level)

#define GT_LIST_ggml_sched_priority(X) \
    X(GGML_SCHED_PRIO_LOW, -1)         \
    X(GGML_SCHED_PRIO_NORMAL, 0)       \
    X(GGML_SCHED_PRIO_MEDIUM, 1)       \
    X(GGML_SCHED_PRIO_HIGH, 2)         \
    X(GGML_SCHED_PRIO_REALTIME, 3)
GT_ENUM(ggml_sched_priority, GT_LIST_ggml_sched_priority)

#define GT_LIST_gguf_type(X)  \
    X(GGUF_TYPE_UINT16, 2)    \
    X(GGUF_TYPE_UINT32, 4)    \
    X(GGUF_TYPE_INT32, 5)     \
    X(GGUF_TYPE_FLOAT32, 6)   \
    X(GGUF_TYPE_STRING, 8)    \
    X(GGUF_TYPE_ARRAY, 9)
GT_ENUM(gguf_type, GT_LIST_gguf_type)

#define GT_LIST_ggml_op(X) X(GGML_OP_NONE, 0)
GT_ENUM(ggml_op, GT_LIST_ggml_op)

// What an adapter's numbers are found by: nothing of llama.cpp's interface leads to them.
#define GT_LIST_ggml_tensor(F)                                                  \
    F(ggml_tensor, enum ggml_type, type, )                                      \
    F(ggml_tensor, struct ggml_backend_buffer *, buffer, )                      \
    F(ggml_tensor, int64_t, ne, [GGML_MAX_DIMS])                                \
    F(ggml_tensor, size_t, nb, [GGML_MAX_DIMS])                                 \
    F(ggml_tensor, enum ggml_op, op, )                                          \
    F(ggml_tensor, int32_t, op_params, [GGML_MAX_OP_PARAMS / sizeof(int32_t)])  \
    F(ggml_tensor, int32_t, flags, )                                            \
    F(ggml_tensor, struct ggml_tensor *, src, [GGML_MAX_SRC])                   \
    F(ggml_tensor, struct ggml_tensor *, view_src, )                            \
    F(ggml_tensor, size_t, view_offs, )                                         \
    F(ggml_tensor, void *, data, )                                              \
    F(ggml_tensor, char, name, [GGML_MAX_NAME])                                 \
    F(ggml_tensor, void *, extra, )                                             \
    F(ggml_tensor, char, padding, [8])
GT_STRUCT(ggml_tensor, GT_LIST_ggml_tensor)

typedef bool (*ggml_abort_callback)(void * data);             // true stops a computation
typedef void (*ggml_abort_callback_t)(const char * message);  // told of a failed assertion before the process ends
typedef void (*ggml_log_callback)(enum ggml_log_level level, const char * text, void * user_data);
typedef void (*ggml_custom_op_t)(struct ggml_tensor * dst, int ith, int nth, void * userdata);
typedef void (*ggml_to_float_t)(const void * x, float * y, int64_t k);
typedef void (*ggml_from_float_t)(const float * x, void * y, int64_t k);
typedef bool (*ggml_backend_sched_eval_callback)(struct ggml_tensor * t, bool ask, void * user_data);
typedef struct ggml_backend_device *      ggml_backend_dev_t;
typedef struct ggml_backend_buffer_type * ggml_backend_buffer_type_t;
typedef struct ggml_threadpool *          ggml_threadpool_t;

#define GT_LIST_ggml_init_params(F)                  \
    F(ggml_init_params, size_t, mem_size, )          \
    F(ggml_init_params, void *, mem_buffer, )        \
    F(ggml_init_params, bool, no_alloc, )
GT_STRUCT(ggml_init_params, GT_LIST_ggml_init_params)

#define GT_LIST_gguf_init_params(F)                  \
    F(gguf_init_params, bool, no_alloc, )            \
    F(gguf_init_params, struct ggml_context **, ctx, )
GT_STRUCT(gguf_init_params, GT_LIST_gguf_init_params)

#define GT_LIST_ggml_threadpool_params(F)                             \
    F(ggml_threadpool_params, bool, cpumask, [GGML_MAX_N_THREADS])    \
    F(ggml_threadpool_params, int, n_threads, )                       \
    F(ggml_threadpool_params, enum ggml_sched_priority, prio, )       \
    F(ggml_threadpool_params, uint32_t, poll, )                       \
    F(ggml_threadpool_params, bool, strict_cpu, )                     \
    F(ggml_threadpool_params, bool, paused, )
GT_STRUCT(ggml_threadpool_params, GT_LIST_ggml_threadpool_params)

#define GT_LIST_ggml_cplan(F)                                \
    F(ggml_cplan, size_t, work_size, )                       \
    F(ggml_cplan, uint8_t *, work_data, )                    \
    F(ggml_cplan, int, n_threads, )                          \
    F(ggml_cplan, struct ggml_threadpool *, threadpool, )    \
    F(ggml_cplan, ggml_abort_callback, abort_callback, )     \
    F(ggml_cplan, void *, abort_callback_data, )
GT_STRUCT(ggml_cplan, GT_LIST_ggml_cplan)

#define GT_LIST_ggml_type_traits(F)                            \
    F(ggml_type_traits, const char *, type_name, )             \
    F(ggml_type_traits, int64_t, blck_size, )                  \
    F(ggml_type_traits, int64_t, blck_size_interleave, )       \
    F(ggml_type_traits, size_t, type_size, )                   \
    F(ggml_type_traits, bool, is_quantized, )                  \
    F(ggml_type_traits, ggml_to_float_t, to_float, )           \
    F(ggml_type_traits, ggml_from_float_t, from_float_ref, )
GT_STRUCT(ggml_type_traits, GT_LIST_ggml_type_traits)

// Library.
ggml_abort_callback_t ggml_set_abort_callback(ggml_abort_callback_t callback);
const char *          ggml_status_to_string(enum ggml_status status);
void                  ggml_cpu_init(void);

// Contexts and graphs. Everything in a context lies in its one buffer.
struct ggml_context * ggml_init(struct ggml_init_params params);
void                  ggml_free(struct ggml_context * ctx);
size_t                ggml_tensor_overhead(void);
size_t                ggml_graph_overhead_custom(size_t size, bool grads);
struct ggml_cgraph *  ggml_new_graph_custom(struct ggml_context * ctx, size_t size, bool grads);
void                  ggml_build_forward_expand(struct ggml_cgraph * cgraph, struct ggml_tensor * tensor);
struct ggml_tensor *  ggml_custom_4d(struct ggml_context * ctx, enum ggml_type type, int64_t ne0, int64_t ne1,
                                     int64_t ne2, int64_t ne3, struct ggml_tensor ** args, int n_args,
                                     ggml_custom_op_t fun, int n_tasks,
                                     void * userdata);

int64_t               ggml_nelements(const struct ggml_tensor * tensor);
void                  ggml_backend_tensor_set(struct ggml_tensor * tensor, const void * data, size_t offset,
                                              size_t size);

// Threads and computing.
void                     ggml_threadpool_params_init(struct ggml_threadpool_params * p, int n_threads);
struct ggml_threadpool * ggml_threadpool_new(struct ggml_threadpool_params * params);
void                     ggml_threadpool_free(struct ggml_threadpool * threadpool);
struct ggml_cplan        ggml_graph_plan(const struct ggml_cgraph * cgraph, int n_threads,
                                         struct ggml_threadpool * threadpool);
enum ggml_status         ggml_graph_compute(struct ggml_cgraph * cgraph, struct ggml_cplan * cplan);

// Storage types. The traits of a number at or beyond GGML_TYPE_COUNT must not be asked for: ggml asserts.
const struct ggml_type_traits * ggml_get_type_traits(enum ggml_type type);
bool                            ggml_quantize_requires_imatrix(enum ggml_type type);
size_t                          ggml_quantize_chunk(enum ggml_type type, const float * src, void * dst, int64_t start,
                                                    int64_t nrows, int64_t n_per_row, const float * imatrix);

// Metadata of GGUF files, as far as llama.cpp trusts it and we must look first. gguf_find_key and gguf_find_tensor
// return -1 for what is not there.
struct gguf_context * gguf_init_from_file(const char * fname, struct gguf_init_params params);
void                  gguf_free(struct gguf_context * ctx);
int64_t               gguf_find_key(const struct gguf_context * ctx, const char * key);
enum gguf_type        gguf_get_kv_type(const struct gguf_context * ctx, int64_t key_id);
enum gguf_type        gguf_get_arr_type(const struct gguf_context * ctx, int64_t key_id);
size_t                gguf_get_arr_n(const struct gguf_context * ctx, int64_t key_id);
const char *          gguf_get_val_str(const struct gguf_context * ctx, int64_t key_id);
uint16_t              gguf_get_val_u16(const struct gguf_context * ctx, int64_t key_id);
int64_t               gguf_find_tensor(const struct gguf_context * ctx, const char * name);

#ifdef __cplusplus
}
#endif

#endif
#endif
