// The C face of our shim around llama.cpp. Every function that can fail returns a code of status.h and fills st; none
// lets an exception pass. Arguments are borrowed for the call unless said otherwise. Sizes and token numbers are
// checked by the Go side; the shim trusts them.
#ifndef GT_SHIM_H
#define GT_SHIM_H

#include "../status.h"

#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

// Objects. A context and an adapter each hold a reference to their model, so that the order in which a garbage
// collector lets go of them does not matter. The release functions accept NULL.
typedef struct gt_model   gt_model;
typedef struct gt_adapter gt_adapter;
typedef struct gt_context gt_context;
typedef struct gt_sampler gt_sampler;

typedef struct gt_model_options {
    bool    vocab_only;
    bool    use_mmap;
    bool    use_extra_bufts;
    bool    no_alloc; // only say what would be allocated (gt_context_memory); use_mmap must be off
    int32_t n_gpu_layers;
} gt_model_options;

typedef struct gt_model_info {
    int32_t  n_ctx_train, n_embd, n_layer;
    int32_t  n_ranks; // numbers of its classification head, 0 where it has none
    uint64_t size;     // bytes of tensors
    uint64_t n_params;
    bool     generates; // has a decoder and no encoder
    int32_t  vocab_type;
    int32_t  n_vocab;
    int32_t  bos, eos, eot, sep, pad, unk; // -1 where absent
    bool     add_bos, add_eos;
    // byte-level BPE only: no token stands for this byte, which llama.cpp then drops silently
    bool     missing_byte[256];
} gt_model_info;

// What gt_model_flags says of a token.
enum { GT_TOKEN_EOG = 1, GT_TOKEN_CONTROL = 2, GT_TOKEN_BYTE = 4, GT_TOKEN_UNKNOWN = 8, GT_TOKEN_USER_DEFINED = 16,
      GT_TOKEN_NORMAL = 32 };

// gt_features sets *out to the CPU features that ggml was compiled with, as "CPU : AVX2 = 1 | … | ". llama.cpp writes
// into one string of its own: copy it before the next call.
int  gt_features(const char ** out, gt_status * st);

// What an installed llama.cpp says of its build: its version, empty where it does not say, and ggml's version and
// commit. All is empty of the module's.
typedef struct gt_build {
    const char *llama, *ggml, *commit;
} gt_build;

int  gt_describe_build(gt_build * out, gt_status * st);

int  gt_model_open(const char * path, const gt_model_options * options, gt_model ** out, gt_model_info * info,
                   gt_status * st);
void gt_model_release(gt_model * m);
// flags has room for n_vocab bytes.
int  gt_model_flags(gt_model * m, uint8_t * flags, gt_status * st);

// gt_encode writes at most cap token ids and sets *n to how many there are; if *n > cap, tokens holds none of them.
int gt_encode(gt_model * m, const char * text, int32_t len, bool add_special, bool parse_special, int32_t * tokens,
              int32_t cap, int32_t * n, gt_status * st);
// gt_piece and gt_decode write at most cap bytes and set *n to how many there are; if *n > cap, buf holds nothing of
// use.
int gt_piece(gt_model * m, int32_t token, bool special, char * buf, int32_t cap, int32_t * n, gt_status * st);
int gt_decode(gt_model * m, const int32_t * tokens, int32_t n_tokens, bool special, char * buf, int32_t cap,
              int64_t * n, gt_status * st);

typedef struct gt_context_options {
    uint32_t n_ctx, n_batch, n_ubatch; // tokens; n_ctx of each sequence
    uint32_t n_seq;                    // sequences
    int32_t  threads;
    int32_t  flash_attn;     // llama_flash_attn_type
    int32_t  type_k, type_v; // ggml_type
    int32_t  gives;          // GT_GIVES_*
    int32_t  pooling;        // of GT_GIVES_POOLED: llama_pooling_type, −1 for the model's own
} gt_context_options;

// What a context gives of the tokens that are wanted: their logits [n_vocab]; the state after the output norm [n_embd];
// or, of the last alone, the numbers of the model's classification head for all that has been read [n_ranks], or one
// vector of it [n_embd]. Only the latter is given by models that keep no memory of tokens; what is read must then be
// a whole text, n_ubatch tokens at most.
enum { GT_GIVES_LOGITS, GT_GIVES_STATES, GT_GIVES_RANKS, GT_GIVES_POOLED };

// gt_max_sequences is the most that n_seq may be.
int32_t    gt_max_sequences(void);
// gt_context_open sets *n_ctx to how many tokens each sequence has room for.
int        gt_context_open(gt_model * m, const gt_context_options * options, gt_context ** out, int32_t * n_ctx,
                           gt_status * st);
void       gt_context_release(gt_context * c);
int32_t *  gt_context_stop_flag(gt_context * c); // lives as long as c; any thread may set it to 1 atomically
// gt_context_set_threads has so many of the options' threads compute, 1 or more.
int        gt_context_set_threads(gt_context * c, int32_t threads, gt_status * st);
// gt_context_forget forgets all tokens of all sequences.
int        gt_context_forget(gt_context * c, gt_status * st);
// gt_context_keep forgets all tokens of a sequence but the first n.
int        gt_context_keep(gt_context * c, int32_t seq, int32_t n, gt_status * st);
// gt_context_copy lets one sequence hold what another does, and nothing else.
int        gt_context_copy(gt_context * c, int32_t from, int32_t to, gt_status * st);
// gt_context_eval_each reads n tokens, at most n_batch, each at a position of a sequence: the one behind what that
// sequence holds. want[i] asks for the logits of token i. After an error, sequences may hold some of the tokens.
int        gt_context_eval_each(gt_context * c, const int32_t * tokens, const int32_t * pos, const int32_t * seq,
                                const int8_t * want, int32_t n, gt_status * st);
// gt_context_row sets *row to the logits of token i of the last tokens that were read, which must have been wanted.
// They lie there until the next tokens are read.
int        gt_context_row(gt_context * c, int32_t i, const float ** row, gt_status * st);
// gt_context_eval appends n tokens, at most n_batch, to sequence 0 at position pos. want[i] asks for the logits of
// token i, or for what else the context gives. out is NULL, or room for as many rows of it as are wanted, in their
// order. The last row of logits wanted is what gt_sampler_sample samples from.
int        gt_context_eval(gt_context * c, const int32_t * tokens, int32_t n, int32_t pos, const int8_t * want,
                           float * out, gt_status * st);
// gt_context_prompt_time forgets everything, then reads n arbitrary tokens with logits of the last, or what else the
// context gives of them, and sets *ns to how long that took.
int        gt_context_prompt_time(gt_context * c, int32_t n, int64_t * ns, gt_status * st);
// gt_heap_bytes is what the C library has given out on its heap, but for what it maps apart; 0 where it does not say.
int64_t    gt_heap_bytes(void);

// What the model and a context take in one kind of memory, in bytes.
typedef struct gt_memory {
    bool    host; // ordinary memory, in which a mapped file's weights are
    int64_t model, context, compute;
} gt_memory;

// gt_context_memory sets *n to how many kinds there are, and writes at most cap of them; or to -1 where llama.cpp
// writes them to the log alone, as a table in MiB.
int        gt_context_memory(gt_context * c, gt_memory * rows, int32_t cap, int32_t * n, gt_status * st);
// gt_context_set_adapters replaces the adapters in use and forgets everything. The context holds them until the next
// call or its release. After a failure it can only be released.
int        gt_context_set_adapters(gt_context * c, gt_adapter ** adapters, const float * scales, int32_t n,
                                   gt_status * st);
// gt_context_apply says whether the adapters in use apply to what is read from now on; the n_read tokens that have been
// read, into the only sequence, stay as they were computed. After a failure it can only be released.
int        gt_context_apply(gt_context * c, bool on, int32_t n_read, gt_status * st);


// gt_context_find finds the numbers of the one adapter in use by a computation, and forgets everything; *n is how many
// tensors there are. It is needed once after each gt_context_set_adapters. After a failure other than GT_ABORTED the
// context can only be released.
int          gt_context_find(gt_context * c, int32_t * n, gt_status * st);
// gt_context_found gives what was found: a name, which lives as long as the adapter, and a number of floats.
const char * gt_context_found(gt_context * c, int32_t i, int64_t * floats);
// gt_context_overwrite replaces all floats of what was found. Nothing is forgotten by it: the caller does that.
int          gt_context_overwrite(gt_context * c, int32_t i, const float * values, gt_status * st);

int  gt_adapter_open(gt_model * m, const char * path, gt_adapter ** out, gt_status * st);
void gt_adapter_retain(gt_adapter * a);
void gt_adapter_release(gt_adapter * a);

typedef struct gt_sampler_options {
    float    temp; // 0 or below: the most likely token
    int32_t  top_k;
    float    top_p, min_p;
    uint32_t seed;
    float    repeat_penalty;
    int32_t  repeat_last_n; // tokens
} gt_sampler_options;

int  gt_sampler_new(const gt_sampler_options * options, gt_sampler ** out, gt_status * st);
void gt_sampler_release(gt_sampler * s);
int  gt_sampler_accept(gt_sampler * s, const int32_t * tokens, int32_t n, gt_status * st);
int  gt_sampler_reset(gt_sampler * s, gt_status * st);
// gt_sampler_sample draws from the last logits that c computed, and accepts the token.
int  gt_sampler_sample(gt_sampler * s, gt_context * c, int32_t * token, gt_status * st);

#ifdef __cplusplus
}
#endif
#endif
