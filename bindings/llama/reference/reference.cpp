#include "reference.h"

#include "../../guard.h"
#include "api.h"

#include <map>
#include <string>
#include <type_traits>
#include <unordered_map>
#include <utility>
#include <vector>

namespace {

struct sum {
    std::vector<float>   values; // of one matrix after the other
    std::vector<int64_t> counts; // of each
};

} // namespace

struct gt_sums {
    std::map<std::string, sum> of;
    std::vector<float>         row;
    std::vector<int32_t>       experts;
};

namespace {

// quantize runs the quantizer. One build of llama.cpp takes the importance matrix as a list that ends with an entry
// without a name, an older one as a map: the compiler finds which.
template <typename P>
auto quantize(const char * in, const char * out, P & p, const gt_weights * weights, int64_t n, int)
    -> decltype(p.imatrix->name, int()) {
    std::vector<std::remove_cv_t<std::remove_pointer_t<decltype(p.imatrix)>>> list((size_t)n + 1);
    for (int64_t i = 0; i < n; i++) {
        list[(size_t)i] = {weights[i].name, weights[i].values, (size_t)weights[i].n};
    }
    p.imatrix = weights ? list.data() : nullptr;
    return (int)llama_model_quantize(in, out, &p);
}

template <typename P>
int quantize(const char * in, const char * out, P & p, const gt_weights * weights, int64_t n, long) {
    std::unordered_map<std::string, std::vector<float>> map;
    for (int64_t i = 0; i < n; i++) {
        map[weights[i].name].assign(weights[i].values, weights[i].values + weights[i].n);
    }
    p.imatrix = weights ? &map : nullptr;
    return (int)llama_model_quantize(in, out, &p);
}

// collect adds the squares of what each matrix of a layer, or the output, is multiplied with.
bool collect(struct ggml_tensor * t, bool ask, void * data) {
    const std::string op = ggml_op_name(t->op);
    if (op != "MUL_MAT" && op != "MUL_MAT_ID") {
        return !ask;
    }
    if (ask) {
        return true;
    }
    const struct ggml_tensor * w = t->src[0];
    const struct ggml_tensor * x = t->src[1];
    const std::string          name = w->name;
    if (name.find(".weight") == std::string::npos || x->type != GGML_TYPE_F32) {
        return true; // queries with keys, scores with values
    }
    gt_sums *    sums = (gt_sums *)data;
    sum &        s    = sums->of[name];
    const size_t n    = (size_t)x->ne[0];
    s.values.resize(n * (size_t)w->ne[2]);
    s.counts.resize((size_t)w->ne[2]);
    sums->row.resize(n);
    auto add = [&](size_t expert, size_t offset) {
        ggml_backend_tensor_get(x, sums->row.data(), offset, n * sizeof(float));
        for (size_t j = 0; j < n; j++) {
            s.values[expert * n + j] += sums->row[j] * sums->row[j];
        }
        s.counts[expert]++;
    };
    if (op == "MUL_MAT") {
        for (int64_t i = 0; i < x->ne[1]; i++) {
            add(0, (size_t)i * x->nb[1]);
        }
        return true;
    }
    // x [n, choices or 1, tokens], ids [choices, tokens]
    const struct ggml_tensor * ids = t->src[2];
    sums->experts.resize((size_t)ids->ne[0]);
    for (int64_t i = 0; i < ids->ne[1]; i++) {
        ggml_backend_tensor_get(ids, sums->experts.data(), (size_t)i * ids->nb[1],
                                sums->experts.size() * sizeof(int32_t));
        for (int64_t k = 0; k < ids->ne[0]; k++) {
            add((size_t)sums->experts[(size_t)k], (size_t)(k % x->ne[1]) * x->nb[1] + (size_t)i * x->nb[2]);
        }
    }
    return true;
}

int run(const char * path, const int32_t * tokens, int32_t n, gt_sums * sums, gt_status * st) {
    llama_backend_init();
    struct llama_model_params mp = llama_model_default_params();
    mp.use_extra_bufts           = false;
    mp.progress_callback         = [](float, void *) { return true; };
    struct llama_model * model   = llama_model_load_from_file(path, mp);
    if (!model) {
        return GT_FAILED;
    }
    struct llama_context_params cp = llama_context_default_params();
    cp.n_ctx                       = (uint32_t)n;
    cp.n_batch = cp.n_ubatch       = (uint32_t)n;
    cp.n_threads = cp.n_threads_batch = 1;
    cp.flash_attn_type             = LLAMA_FLASH_ATTN_TYPE_DISABLED;
    cp.type_k = cp.type_v          = GGML_TYPE_F32;
    cp.cb_eval                     = collect;
    cp.cb_eval_user_data           = sums;
    struct llama_context * ctx     = llama_init_from_model(model, cp);
    if (!ctx) {
        llama_model_free(model);
        return GT_FAILED;
    }
    sums->of.clear(); // what the context tried out for itself
    std::vector<int32_t>        toks(tokens, tokens + n);
    std::vector<llama_pos>      pos((size_t)n);
    std::vector<int8_t>         want((size_t)n, 1); // else only the last row reaches the last layer's feed-forward part
    for (int32_t i = 0; i < n; i++) {
        pos[(size_t)i] = i;
    }
    struct llama_batch batch = {};
    batch.n_tokens           = n;
    batch.token              = toks.data();
    batch.pos                = pos.data();
    batch.logits             = want.data();
    int code                 = llama_decode(ctx, batch);
    llama_free(ctx);
    llama_model_free(model);
    return code == 0 ? GT_OK : gt_fail(st, GT_FAILED, "llama_decode: %d", code);
}

} // namespace

int gt_ref_quantize(const char * in, const char * out, int32_t file_type, bool requantize, const gt_weights * weights,
                    int64_t n, gt_status * st) {
    return gt::guard(st, [&]() -> int {
        struct llama_model_quantize_params p = llama_model_quantize_default_params();
        p.nthread          = 1; // in this thread: the guard reaches no other
        p.ftype            = (enum llama_ftype)file_type;
        p.allow_requantize = requantize;
        return quantize(in, out, p, weights, n, 0) == 0 ? GT_OK : GT_FAILED;
    });
}

int gt_ref_activations(const char * model, const int32_t * tokens, int32_t n, gt_sums ** out, gt_status * st) {
    *out = new gt_sums;
    return gt::guard(st, [&]() -> int { return run(model, tokens, n, *out, st); });
}

gt_weights gt_ref_sum(const gt_sums * s, int64_t i, const int64_t ** counts, int64_t * n) {
    for (const auto & one : s->of) {
        if (i-- == 0) {
            *counts = one.second.counts.data();
            *n      = (int64_t)one.second.counts.size();
            return {one.first.c_str(), one.second.values.data(), (int64_t)one.second.values.size()};
        }
    }
    return {nullptr, nullptr, 0};
}

void gt_ref_free(gt_sums * s) { delete s; }
