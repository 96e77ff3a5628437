// The objects behind shim.h (C++ only).
#ifndef GT_SHIM_INTERNAL_H
#define GT_SHIM_INTERNAL_H

#include "shim.h"

#include "../guard.h"
#include "../llamaapi.h"

#include <atomic>
#include <mutex>
#include <vector>

struct gt_model {
    std::atomic<int>           refs{1};
    struct llama_model *       model = nullptr;
    const struct llama_vocab * vocab = nullptr;
    int32_t                    n_vocab = 0;
    size_t                     n_tensors = 0; // of its own, once make_room has counted them
    std::mutex                 tensors;       // whoever reads or extends llama.cpp's list of them
};

struct gt_adapter {
    std::atomic<int>            refs{1};
    gt_model *                  model   = nullptr;
    struct llama_adapter_lora * adapter = nullptr;
};

struct gt_context {
    gt_model *                model = nullptr;
    struct llama_context *    ctx   = nullptr;
    struct ggml_threadpool *  pool  = nullptr;
    gt_context_options        options = {};
    std::vector<gt_adapter *> adapters;
    std::vector<float>        scales; // of the adapters
    bool                      off = false; // they are not applied to what is read now
    std::vector<struct ggml_tensor *> found; // of the one adapter in use, once looked for
    std::vector<llama_pos>    pos;
    std::vector<int8_t>       all; // marks every token
    std::vector<int32_t>      n_seq_id;
    std::vector<llama_seq_id> seqs;
    std::vector<llama_seq_id *> seq_id; // into seqs
    int32_t                   n_batch = 0;
    int32_t                   threads = 0; // of those in options, so many compute
    int32_t                   stop    = 0;
};

struct gt_sampler {
    struct llama_sampler * chain = nullptr;
};

#endif
