// Contexts and samplers.
#include "builds.h"
#include "shim_internal.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstring>

#ifdef __GLIBC__
#include <malloc.h>
#endif

namespace {

bool stopped(void * data) { return __atomic_load_n((int32_t *)data, __ATOMIC_RELAXED) != 0; }

bool is_half(const char * name) {
    const size_t n = strlen(name), k = strlen(".lora_a");
    return n > k && (!strcmp(name + n - k, ".lora_a") || !strcmp(name + n - k, ".lora_b"));
}

// look is asked of each node of a graph whether it is wanted, and looks instead at what the node is computed from.
bool look(struct ggml_tensor * t, bool, void * data) {
    gt_context * c = (gt_context *)data;
    for (struct ggml_tensor * s : t->src) {
        if (s && is_half(s->name) && std::find(c->found.begin(), c->found.end(), s) == c->found.end()) {
            c->found.push_back(s);
        }
    }
    return false;
}

// reopen makes c->ctx, in place of the one there was. It leaves NULL where llama.cpp reports failure.
void reopen(gt_context * c, bool looking = false) {
    if (c->ctx) {
        llama_free(c->ctx);
        c->ctx = nullptr;
    }
    const gt_context_options & o = c->options;
    struct llama_context_params params = llama_context_default_params();
    params.n_ctx               = o.n_ctx * o.n_seq;
    params.n_seq_max           = o.n_seq;
    params.n_batch             = o.n_batch;
    params.n_ubatch            = o.n_ubatch;
    params.n_threads           = c->threads;
    params.n_threads_batch     = c->threads;
    params.flash_attn_type     = (enum llama_flash_attn_type)o.flash_attn;
    params.type_k              = (enum ggml_type)o.type_k;
    params.type_v              = (enum ggml_type)o.type_v;
    params.embeddings          = o.gives != GT_GIVES_LOGITS;
    if (params.embeddings) {
        params.pooling_type = o.gives == GT_GIVES_RANKS    ? LLAMA_POOLING_TYPE_RANK
                              : o.gives == GT_GIVES_POOLED ? (enum llama_pooling_type)o.pooling
                                                           : LLAMA_POOLING_TYPE_NONE;
    }
    params.cb_eval             = looking ? look : nullptr;
    params.cb_eval_user_data   = c;
    params.abort_callback      = stopped;
    params.abort_callback_data = &c->stop;
    std::lock_guard<std::mutex> lock(c->model->tensors);
    gt::make_room(*c->model, c->adapters.size(), c->ctx, 0);
    c->ctx = llama_init_from_model(c->model->model, params);
    if (c->ctx) {
        llama_attach_threadpool(c->ctx, c->pool, c->pool);
        c->n_batch = (int32_t)llama_n_batch(c->ctx);
    }
}

// restart makes a new c->ctx with the adapters in use. llama.cpp keeps the graph of its last computation for the next
// one of equal size, and does not notice that adapters have changed (it compares the address of their list): they would
// be ignored. A new context has no graph to keep.
int restart(gt_context * c, bool looking, gt_status * st) {
    reopen(c, looking);
    if (!c->ctx) {
        return GT_FAILED; // the guard adds what was logged
    }
    if (c->off || c->adapters.empty()) {
        return GT_OK;
    }
    std::vector<struct llama_adapter_lora *> list;
    for (const gt_adapter * a : c->adapters) {
        list.push_back(a->adapter);
    }
    if (gt::set_adapters(c->ctx, list, c->scales, 0) != 0) {
        return gt_fail(st, GT_FAILED, "llama.cpp refuses the adapters");
    }
    return GT_OK;
}

void open_context(gt_context * c) {
    struct ggml_threadpool_params pool;
    ggml_threadpool_params_init(&pool, c->options.threads);
    pool.poll = 0; // idle workers sleep: another context, or our own kernels, may want the cores
    c->pool   = ggml_threadpool_new(&pool);
    if (!c->pool) {
        throw std::bad_alloc();
    }
    reopen(c);
}

// decode reads a batch.
int decode(gt_context * c, const struct llama_batch & batch, gt_status * st) {
    switch (int32_t r = llama_decode(c->ctx, batch)) {
    case 0: break;
    case 1: return gt_fail(st, GT_FAILED, "the context has no room for %d more tokens", batch.n_tokens);
    case 2: return gt_fail(st, GT_ABORTED, "stopped on request");
    case -1: return gt_fail(st, GT_INVALID, "llama.cpp refuses the tokens");
    case -2: return gt_fail(st, GT_NO_MEMORY, "out of memory");
    default: return gt_fail(st, GT_FAILED, "llama.cpp reports status %d", r);
    }
    llama_synchronize(c->ctx);
    return GT_OK;
}

// eval appends tokens to sequence 0 at position pos, one batch.
int eval(gt_context * c, const int32_t * tokens, int32_t n, int32_t pos, const int8_t * want, gt_status * st) {
    c->pos.resize((size_t)n);
    for (int32_t i = 0; i < n; i++) {
        c->pos[(size_t)i] = pos + i;
    }
    struct llama_batch batch = {};
    batch.n_tokens = n;
    // the interface lacks const; llama.cpp reads these
    batch.token  = const_cast<llama_token *>(tokens);
    batch.logits = const_cast<int8_t *>(want);
    batch.pos    = c->pos.data();
    if (c->options.gives != GT_GIVES_LOGITS) { // it computes all of them then, and warns where not all are asked for
        c->all.assign((size_t)n, 1);
        batch.logits = c->all.data();
    }
    return decode(c, batch, st);
}

// row gives what the context gives of token i of the batch, and how many numbers that is.
const float * row_of(gt_context * c, int32_t i, size_t * n) {
    switch (c->options.gives) {
    case GT_GIVES_STATES:
        *n = (size_t)llama_model_n_embd(c->model->model);
        return llama_get_embeddings_ith(c->ctx, i);
    case GT_GIVES_RANKS:
        *n = (size_t)llama_model_n_cls_out(c->model->model);
        return llama_get_embeddings_seq(c->ctx, 0);
    case GT_GIVES_POOLED:
        *n = (size_t)llama_model_n_embd(c->model->model);
        return llama_get_embeddings_seq(c->ctx, 0);
    default:
        *n = (size_t)c->model->n_vocab;
        return llama_get_logits_ith(c->ctx, i);
    }
}

} // namespace

int gt_context_open(gt_model * m, const gt_context_options * o, gt_context ** out, int32_t * n_ctx, gt_status * st) {
    *out = nullptr;
    return gt::guard(st, [&]() -> int {
        gt_context * c = new gt_context;
        c->model       = m;
        c->options     = *o;
        c->threads     = o->threads;
        m->refs++;
        try {
            open_context(c);
        } catch (...) {
            gt_context_release(c);
            throw;
        }
        if (!c->ctx) {
            gt_context_release(c);
            return GT_FAILED; // the guard adds what was logged
        }
        if (!llama_get_memory(c->ctx) && o->gives != GT_GIVES_POOLED) {
            gt_context_release(c);
            return gt_fail(st, GT_FAILED, "the model keeps no memory of earlier tokens, so it cannot generate");
        }
        *n_ctx = (int32_t)(llama_n_ctx(c->ctx) / o->n_seq);
        *out   = c;
        return GT_OK;
    });
}

void gt_context_release(gt_context * c) {
    if (!c) {
        return;
    }
    if (c->ctx) {
        llama_free(c->ctx);
    }
    ggml_threadpool_free(c->pool); // NULL is allowed
    for (gt_adapter * a : c->adapters) {
        gt_adapter_release(a);
    }
    gt_model_release(c->model);
    delete c;
}

int gt_context_set_threads(gt_context * c, int32_t threads, gt_status * st) {
    return gt::guard(st, [&]() -> int {
        c->threads = threads;
        llama_set_n_threads(c->ctx, threads, threads);
        return GT_OK;
    });
}

int32_t * gt_context_stop_flag(gt_context * c) { return &c->stop; }

int64_t gt_heap_bytes(void) {
#if defined(__GLIBC__) && __GLIBC_PREREQ(2, 33)
    // Without what it has mapped apart: llama.cpp reserves tables for the largest graph there can be, and hardly
    // touches them.
    return (int64_t)mallinfo2().uordblks;
#else
    return 0;
#endif
}

int gt_context_memory(gt_context * c, gt_memory * rows, int32_t cap, int32_t * n, gt_status * st) {
    return gt::guard(st, [&]() -> int {
        *n = gt::memory_rows(c->ctx, rows, cap, 0);
        return GT_OK;
    });
}

int32_t gt_max_sequences(void) { return (int32_t)llama_max_parallel_sequences(); }

int gt_context_forget(gt_context * c, gt_status * st) {
    return gt::guard(st, [&]() -> int {
        if (llama_memory_t memory = llama_get_memory(c->ctx)) {
            llama_memory_clear(memory, false);
        }
        return GT_OK;
    });
}

int gt_context_keep(gt_context * c, int32_t seq, int32_t n, gt_status * st) {
    return gt::guard(st, [&]() -> int {
        if (!llama_memory_seq_rm(llama_get_memory(c->ctx), seq, n, -1)) {
            return gt_fail(st, GT_FAILED, "this kind of model cannot forget only a part of its tokens");
        }
        return GT_OK;
    });
}

int gt_context_copy(gt_context * c, int32_t from, int32_t to, gt_status * st) {
    return gt::guard(st, [&]() -> int {
        // Each sequence has memory of its own, of which llama.cpp copies all or nothing.
        llama_memory_seq_cp(llama_get_memory(c->ctx), from, to, -1, -1);
        return GT_OK;
    });
}

int gt_context_eval_each(gt_context * c, const int32_t * tokens, const int32_t * pos, const int32_t * seq,
                         const int8_t * want, int32_t n, gt_status * st) {
    return gt::guard(st, [&]() -> int {
        c->n_seq_id.assign((size_t)n, 1);
        c->seqs.assign(seq, seq + n);
        c->seq_id.resize((size_t)n);
        for (size_t i = 0; i < (size_t)n; i++) {
            c->seq_id[i] = &c->seqs[i];
        }
        struct llama_batch batch = {};
        batch.n_tokens = n;
        // the interface lacks const; llama.cpp reads these
        batch.token    = const_cast<llama_token *>(tokens);
        batch.pos      = const_cast<llama_pos *>(pos);
        batch.n_seq_id = c->n_seq_id.data();
        batch.seq_id   = c->seq_id.data();
        batch.logits   = const_cast<int8_t *>(want);
        return decode(c, batch, st);
    });
}

int gt_context_row(gt_context * c, int32_t i, const float ** row, gt_status * st) {
    *row = nullptr;
    return gt::guard(st, [&]() -> int {
        if (!(*row = llama_get_logits_ith(c->ctx, i))) {
            return gt_fail(st, GT_FAILED, "there are no logits for token %d of the batch", i);
        }
        return GT_OK;
    });
}

int gt_context_eval(gt_context * c, const int32_t * tokens, int32_t n, int32_t pos, const int8_t * want, float * out,
                    gt_status * st) {
    return gt::guard(st, [&]() -> int {
        if (int code = eval(c, tokens, n, pos, want, st)) {
            return code;
        }
        for (int32_t i = 0; out && i < n; i++) {
            if (!want[i]) {
                continue;
            }
            size_t        width = 0;
            const float * row   = row_of(c, i, &width);
            if (!row) {
                return gt_fail(st, GT_FAILED, "llama.cpp gives nothing for token %d of the batch", i);
            }
            memcpy(out, row, width * sizeof(float));
            out += width;
        }
        return GT_OK;
    });
}

int gt_context_prompt_time(gt_context * c, int32_t n, int64_t * ns, gt_status * st) {
    return gt::guard(st, [&]() -> int {
        std::vector<int32_t> tokens((size_t)n);
        std::vector<int8_t>  want((size_t)n, 0);
        want[(size_t)n - 1] = 1;
        uint32_t x = 1; // any tokens will do; the same ones each time
        for (int32_t & t : tokens) {
            x = x * 1664525u + 1013904223u;
            t = (int32_t)((x >> 8) % (uint32_t)c->model->n_vocab);
        }
        if (llama_memory_t memory = llama_get_memory(c->ctx)) {
            llama_memory_clear(memory, false);
        }
        auto begin = std::chrono::steady_clock::now();
        for (int32_t i = 0; i < n; i += c->n_batch) {
            int32_t k = n - i < c->n_batch ? n - i : c->n_batch;
            if (int code = eval(c, &tokens[(size_t)i], k, i, &want[(size_t)i], st)) {
                return code;
            }
        }
        *ns = std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now() - begin).count();
        return GT_OK;
    });
}

int gt_context_set_adapters(gt_context * c, gt_adapter ** adapters, const float * scales, int32_t n, gt_status * st) {
    return gt::guard(st, [&]() -> int {
        if (c->ctx) {
            llama_free(c->ctx); // before the adapters that it applies
            c->ctx = nullptr;
        }
        std::vector<gt_adapter *> held(adapters, adapters + n);
        c->scales.assign(scales, scales + n);
        c->off = false;
        c->found.clear();
        for (gt_adapter * a : held) {
            a->refs++;
        }
        c->adapters.swap(held);
        for (gt_adapter * a : held) {
            gt_adapter_release(a);
        }
        return restart(c, false, st);
    });
}

int gt_context_apply(gt_context * c, bool on, int32_t n_read, gt_status * st) {
    return gt::guard(st, [&]() -> int {
        // A new context is the only one that notices the change (see restart): it takes over what has been read.
        std::vector<uint8_t> read;
        if (n_read > 0) {
            read.resize(llama_state_seq_get_size(c->ctx, 0));
            if (llama_state_seq_get_data(c->ctx, read.data(), read.size(), 0) != read.size()) {
                return gt_fail(st, GT_FAILED, "llama.cpp does not give what it has read");
            }
        }
        c->off = !on;
        if (int code = restart(c, false, st)) {
            return code;
        }
        if (n_read > 0 && llama_state_seq_set_data(c->ctx, read.data(), read.size(), 0) != read.size()) {
            return gt_fail(st, GT_FAILED, "llama.cpp does not take back what it has read");
        }
        return GT_OK;
    });
}

int gt_context_find(gt_context * c, int32_t * n, gt_status * st) {
    return gt::guard(st, [&]() -> int {
        c->found.clear();
        c->off = false;
        if (int code = restart(c, true, st)) {
            return code;
        }
        // Any token passes through every tensor that a decoder has.
        const int32_t token   = 0;
        const int8_t  want    = 1;
        const int     decoded = eval(c, &token, 1, 0, &want, st);
        if (decoded) {
            c->found.clear();
        }
        // What follows is to be computed as a context without a look computes it.
        if (int code = restart(c, false, st)) {
            return code;
        }
        *n = (int32_t)c->found.size();
        return decoded;
    });
}

const char * gt_context_found(gt_context * c, int32_t i, int64_t * floats) {
    struct ggml_tensor * t = c->found[(size_t)i];
    *floats = t->type == GGML_TYPE_F32 ? ggml_nelements(t) : 0; // no number of floats fits another type
    return t->name;
}

int gt_context_overwrite(gt_context * c, int32_t i, const float * values, gt_status * st) {
    return gt::guard(st, [&]() -> int {
        struct ggml_tensor * t = c->found[(size_t)i];
        ggml_backend_tensor_set(t, values, 0, (size_t)ggml_nelements(t) * sizeof(float));
        return GT_OK;
    });
}

int gt_sampler_new(const gt_sampler_options * o, gt_sampler ** out, gt_status * st) {
    *out = nullptr;
    return gt::guard(st, [&]() -> int {
        struct llama_sampler * chain = llama_sampler_chain_init(llama_sampler_chain_default_params());
        auto add = [&](struct llama_sampler * s) { llama_sampler_chain_add(chain, s); };
        // the order of llama.cpp's own tools
        if (o->repeat_penalty != 1.0f && o->repeat_last_n != 0) {
            add(gt::penalties(llama_sampler_init_penalties, o->repeat_last_n, o->repeat_penalty));
        }
        if (o->temp <= 0.0f) {
            add(llama_sampler_init_greedy());
        } else {
            add(llama_sampler_init_top_k(o->top_k));
            add(llama_sampler_init_top_p(o->top_p, 1));
            add(llama_sampler_init_min_p(o->min_p, 1));
            add(llama_sampler_init_temp(o->temp));
            add(llama_sampler_init_dist(o->seed));
        }
        *out          = new gt_sampler;
        (*out)->chain = chain;
        return GT_OK;
    });
}

void gt_sampler_release(gt_sampler * s) {
    if (s) {
        llama_sampler_free(s->chain);
        delete s;
    }
}

int gt_sampler_accept(gt_sampler * s, const int32_t * tokens, int32_t n, gt_status * st) {
    return gt::guard(st, [&]() -> int {
        for (int32_t i = 0; i < n; i++) {
            llama_sampler_accept(s->chain, tokens[i]);
        }
        return GT_OK;
    });
}

int gt_sampler_reset(gt_sampler * s, gt_status * st) {
    return gt::guard(st, [&]() -> int {
        llama_sampler_reset(s->chain);
        return GT_OK;
    });
}

namespace {

// predicts says whether logits are a distribution: a number is the largest, so that no NaN and no positive infinity is
// among them. llama.cpp's samplers end the process where the sum of the probabilities is no number.
bool predicts(const float * logits, int32_t n) {
    float largest = -INFINITY;
    bool  numbers = true;
    for (int32_t i = 0; i < n; i++) {
        numbers = numbers && logits[i] < INFINITY; // false for NaN
        largest = logits[i] > largest ? logits[i] : largest;
    }
    return numbers && largest > -INFINITY;
}

} // namespace

int gt_sampler_sample(gt_sampler * s, gt_context * c, int32_t * token, gt_status * st) {
    return gt::guard(st, [&]() -> int {
        const float * logits = llama_get_logits_ith(c->ctx, -1);
        if (!logits) {
            return gt_fail(st, GT_FAILED, "there are no logits to draw from");
        }
        if (!predicts(logits, c->model->n_vocab)) {
            return gt_fail(st, GT_NOT_FINITE, "the model's prediction is no number");
        }
        *token = llama_sampler_sample(s->chain, c->ctx, -1);
        return GT_OK;
    });
}
