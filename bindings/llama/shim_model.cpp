// Models, vocabularies and adapters.
#include "builds.h"
#include "shim_internal.h"

#include <climits>
#include <cstring>
#ifdef __GLIBC__
#include <malloc.h>
#endif
#include <mutex>
#include <pthread.h>

namespace {

// bytes_missing finds the bytes that no token of a byte-level BPE vocabulary stands for. Such vocabularies write a byte
// as one printable character: itself where it is printable in Latin-1, else U+0100 and up, in order (Radford et al.
// 2019, GPT-2).
void bytes_missing(const struct llama_vocab * vocab, int32_t n, bool * missing) {
    int byte_of[0x180]; // code point → byte
    for (int & b : byte_of) {
        b = -1;
    }
    int next = 0x100;
    for (int b = 0; b < 256; b++) {
        bool printable = (b >= 0x21 && b <= 0x7e) || (b >= 0xa1 && b <= 0xac) || b >= 0xae;
        byte_of[printable ? b : next++] = b;
    }
    for (int b = 0; b < 256; b++) {
        missing[b] = true;
    }
    for (int32_t i = 0; i < n; i++) {
        const unsigned char * s = (const unsigned char *)llama_vocab_get_text(vocab, i);
        size_t len = s ? strlen((const char *)s) : 0;
        int    c   = len == 1 && s[0] < 0x80 ? s[0] : len == 2 &&
            (s[0] & 0xe0) == 0xc0 ? (s[0] & 0x1f) << 6 | (s[1] & 0x3f) : -1;
        if (c >= 0 && c < 0x180 && byte_of[c] >= 0) {
            missing[byte_of[c]] = false;
        }
    }
}

// check_size refuses vocabularies in which the special tokens that llama.cpp presumes, where a file names none, are out
// of range: it reads beyond the list's end.
int check_size(const struct gguf_context * file, size_t tokens, gt_status * st) {
    int64_t id = gguf_find_key(file, "tokenizer.ggml.model");
    if (id < 0 || gguf_get_kv_type(file, id) != GGUF_TYPE_STRING) {
        return GT_OK; // llama.cpp says what it thinks of that
    }
    const char * model = gguf_get_val_str(file, id);
    struct {
        const char * model;
        size_t       least; // one more than the largest token presumed
    } const kinds[] = {{"llama", 3}, {"bert", 104}, {"gpt2", 12}, {"t5", 3}, {"plamo2", 4}};
    for (const auto & k : kinds) {
        if (!strcmp(model, k.model) && tokens < k.least) {
            return gt_fail(st, GT_INVALID,
                           "the vocabulary has %zu tokens; llama.cpp takes a tokenizer of the kind \"%s\" "
                           "to have at least %zu", tokens, model, k.least);
        }
    }
    return GT_OK;
}

// check_arch refuses what the Go module's llama.cpp knows by its name, and yet opens no file of: of a dense LFM2 it
// looks for a tensor "output_norm" without ".weight" (mended in llama.cpp's pull request 18105). It would be found out
// when a run is done, for vocabularies it opens.
int check_arch(const struct gguf_context * file, gt_status * st) {
#ifndef GT_SYSTEM_LLAMA
    int64_t id = gguf_find_key(file, "general.architecture");
    if (id >= 0 && gguf_get_kv_type(file, id) == GGUF_TYPE_STRING && !strcmp(gguf_get_val_str(file, id), "lfm2")) {
        return gt_fail(st, GT_FAILED, "unknown model architecture: 'lfm2'");
    }
#else
    (void)file, (void)st;
#endif
    return GT_OK;
}

// The metadata of a GGUF file.
class metadata {
    struct gguf_context * ptr;

public:
    explicit metadata(const char * path) {
        struct gguf_init_params params = {};
        params.no_alloc = true;
        ptr             = gguf_init_from_file(path, params);
    }
    ~metadata() { gguf_free(ptr); } // NULL is allowed
    metadata(const metadata &) = delete;

    const struct gguf_context * get() const { return ptr; }
    bool                        has(const char * tensor) const { return ptr && gguf_find_tensor(ptr, tensor) >= 0; }
};

// has_tensor looks through the files of the model whose first is file, at path.
bool has_tensor(const char * path, const metadata & file, const char * name) {
    if (file.has(name)) {
        return true;
    }
    const int64_t id = gguf_find_key(file.get(), "split.count");
    if (id < 0 || gguf_get_kv_type(file.get(), id) != GGUF_TYPE_UINT16) {
        return false;
    }
    const int n = gguf_get_val_u16(file.get(), id);
    char      prefix[PATH_MAX], part[PATH_MAX];
    if (llama_split_prefix(prefix, sizeof(prefix), path, 0, n) <= 0) {
        return false;
    }
    for (int i = 1; i < n; i++) {
        llama_split_path(part, sizeof(part), prefix, i, n);
        if (metadata(part).has(name)) {
            return true;
        }
    }
    return false;
}

// check_tokenizer looks at what llama.cpp takes on trust: it reads scores and token types as arrays of float and int32
// that are as long as the list of tokens, whatever they are.
int check_tokenizer(const struct gguf_context * file, gt_status * st) {
    int64_t tokens = gguf_find_key(file, "tokenizer.ggml.tokens");
    struct {
        const char *   key;
        enum gguf_type type, or_type;
        bool           per_token;
    } const arrays[] = {
        {"tokenizer.ggml.tokens", GGUF_TYPE_STRING, GGUF_TYPE_STRING, true},
        {"tokenizer.ggml.merges", GGUF_TYPE_STRING, GGUF_TYPE_STRING, false},
        {"tokenizer.ggml.scores", GGUF_TYPE_FLOAT32, GGUF_TYPE_FLOAT32, true},
        {"tokenizer.ggml.token_type", GGUF_TYPE_INT32, GGUF_TYPE_UINT32, true},
    };
    for (const auto & a : arrays) {
        int64_t id = gguf_find_key(file, a.key);
        if (id < 0) {
            continue;
        }
        if (gguf_get_kv_type(file, id) != GGUF_TYPE_ARRAY ||
            (gguf_get_arr_type(file, id) != a.type && gguf_get_arr_type(file, id) != a.or_type)) {
            return gt_fail(st, GT_INVALID, "the metadata %s is not an array of %s", a.key,
                           a.type == GGUF_TYPE_STRING ? "strings" : a.type == GGUF_TYPE_FLOAT32 ? "float32" : "int32");
        }
        size_t n = gguf_get_arr_n(file, id);
        if (a.per_token && (tokens < 0 || n != gguf_get_arr_n(file, tokens))) {
            return gt_fail(st, GT_INVALID, "the metadata %s has %zu entries for %zu tokens; want one for each", a.key,
                           n, tokens < 0 ? 0 : gguf_get_arr_n(file, tokens));
        }
    }
    return tokens < 0 ? GT_OK : check_size(file, gguf_get_arr_n(file, tokens), st);
}

// describe fills info; ranks says whether the model has a classification head.
void describe(const gt_model * m, bool ranks, gt_model_info * info) {
    *info             = gt_model_info{};
    info->n_ranks     = ranks ? (int32_t)llama_model_n_cls_out(m->model) : 0;
    info->n_ctx_train = llama_model_n_ctx_train(m->model);
    info->n_embd      = llama_model_n_embd(m->model);
    info->n_layer     = llama_model_n_layer(m->model);
    info->size        = llama_model_size(m->model);
    info->n_params    = llama_model_n_params(m->model);
    info->generates   = llama_model_has_decoder(m->model) && !llama_model_has_encoder(m->model);
    info->vocab_type  = llama_vocab_type(m->vocab);
    info->n_vocab     = m->n_vocab;
    info->bos         = llama_vocab_bos(m->vocab);
    info->eos         = llama_vocab_eos(m->vocab);
    info->eot         = llama_vocab_eot(m->vocab);
    info->sep         = llama_vocab_sep(m->vocab);
    info->pad         = llama_vocab_pad(m->vocab);
    info->add_bos     = llama_vocab_get_add_bos(m->vocab);
    info->add_eos     = llama_vocab_get_add_eos(m->vocab);
    info->unk         = -1;
    if (info->vocab_type == LLAMA_VOCAB_TYPE_NONE) {
        return; // llama.cpp asserts when such a vocabulary is asked for a token
    }
    for (int32_t i = 0; i < m->n_vocab && info->unk < 0; i++) {
        if (llama_vocab_get_attr(m->vocab, i) & LLAMA_TOKEN_ATTR_UNKNOWN) {
            info->unk = i;
        }
    }
    if (info->vocab_type == LLAMA_VOCAB_TYPE_BPE) {
        bytes_missing(m->vocab, m->n_vocab, info->missing_byte);
    }
}

} // namespace

int gt_features(const char ** out, gt_status * st) {
    return gt::guard(st, [&]() -> int {
        *out = llama_print_system_info();
        return GT_OK;
    });
}

int gt_describe_build(gt_build * out, gt_status * st) {
    return gt::guard(st, [&]() -> int {
        *out = {"", "", ""};
#ifdef GT_SYSTEM_LLAMA
        *out = {llama_version(), ggml_version(), ggml_commit()};
#endif
        return GT_OK;
    });
}

int gt_model_open(const char * path, const gt_model_options * o, gt_model ** out, gt_model_info * info,
                  gt_status * st) {
    *out = nullptr;
    return gt::guard(st, [&]() -> int {
        static std::once_flag once;
        std::call_once(once, llama_backend_init);
        const metadata file(path);
        if (!file.get()) {
            return GT_FAILED; // the guard adds what was logged
        }
        if (int code = check_tokenizer(file.get(), st)) {
            return code;
        }
        if (int code = check_arch(file.get(), st)) {
            return code;
        }
        struct llama_model_params params = llama_model_default_params();
        params.vocab_only      = o->vocab_only;
        gt::set_mmap(params, o->use_mmap, 0);
        params.use_extra_bufts = o->use_extra_bufts;
        params.no_alloc        = o->no_alloc;
        params.n_gpu_layers    = o->n_gpu_layers;
        // llama.cpp's own callback for progress writes dots to the log
        params.progress_callback = [](float, void *) { return true; };
        gt_model * m = new gt_model;
        try {
            m->model = llama_model_load_from_file(path, params);
            if (m->model) {
                m->vocab   = llama_model_get_vocab(m->model);
                m->n_vocab = llama_vocab_n_tokens(m->vocab);
                describe(m, !o->vocab_only && has_tensor(path, file, "cls.output.weight"), info);
            }
        } catch (...) {
            gt_model_release(m);
            throw;
        }
        if (!m->model) {
            gt_model_release(m);
            return GT_FAILED; // the guard adds what was logged
        }
        *out = m;
        return GT_OK;
    });
}

void gt_model_release(gt_model * m) {
    if (m && --m->refs == 0) {
        if (m->model) {
            llama_model_free(m->model);
        }
        delete m;
    }
}

int gt_model_flags(gt_model * m, uint8_t * flags, gt_status * st) {
    return gt::guard(st, [&]() -> int {
        for (int32_t i = 0; i < m->n_vocab; i++) {
            int attr = llama_vocab_get_attr(m->vocab, i);
            int f    = 0;
            f |= llama_vocab_is_eog(m->vocab, i) ? GT_TOKEN_EOG : 0;
            f |= llama_vocab_is_control(m->vocab, i) ? GT_TOKEN_CONTROL : 0;
            f |= attr & LLAMA_TOKEN_ATTR_BYTE ? GT_TOKEN_BYTE : 0;
            f |= attr & LLAMA_TOKEN_ATTR_UNKNOWN ? GT_TOKEN_UNKNOWN : 0;
            f |= attr & LLAMA_TOKEN_ATTR_USER_DEFINED ? GT_TOKEN_USER_DEFINED : 0;
            f |= attr & LLAMA_TOKEN_ATTR_NORMAL ? GT_TOKEN_NORMAL : 0;
            flags[i] = (uint8_t)f;
        }
        return GT_OK;
    });
}

namespace {

// wanted turns llama.cpp's answer, a count or minus the count that would have fitted, into the count.
int wanted(int32_t got, const char * what, int32_t * n, gt_status * st) {
    if (got == INT32_MIN) {
        return gt_fail(st, GT_INVALID, "%s would be longer than 2^31", what);
    }
    *n = got < 0 ? -got : got;
    return GT_OK;
}

} // namespace

namespace {

struct encode_call {
    gt_model *   m;
    const char * text;
    int32_t      len;
    bool         add_special, parse_special;
    int32_t *    tokens;
    int32_t      cap;
    int32_t *    n;
    gt_status *  st;
};

void * encode(void * data) {
    encode_call * c = (encode_call *)data;
    gt::guard(c->st, [&]() -> int {
        return wanted(llama_tokenize(c->m->vocab, c->text, c->len, c->tokens, c->cap, c->add_special, c->parse_special),
                      "the token sequence", c->n, c->st);
    });
    return nullptr;
}

// Most byte-level BPE tokenizers split text with std::regex, whose matcher calls itself once per character: a run of
// 100,000 letters overflows an ordinary thread's 8 MB (measured: 100 to 400 bytes of stack a byte of text). So text
// longer than plain_text bytes is split on a thread whose stack has stack_per_byte bytes for each; what is not touched
// costs no memory.
enum { plain_text = 2048, stack_per_byte = 1024, stack_base = 8 << 20 };

// trim_from is the length, in bytes, from which it is worth the time to give memory back (0.1 s of tokenizing, 1 ms of
// trimming).
enum { trim_from = 128 << 10 };

int encode_deep(encode_call * c) {
    pthread_attr_t attr;
    pthread_t      thread;
    size_t         stack = stack_base + (size_t)c->len * stack_per_byte;
    if (pthread_attr_init(&attr) != 0) {
        return gt_fail(c->st, GT_NO_MEMORY, "out of memory");
    }
    int err = pthread_attr_setstacksize(&attr, stack);
    if (err == 0) {
        err = pthread_create(&thread, &attr, encode, c);
    }
    pthread_attr_destroy(&attr);
    if (err != 0) {
        return gt_fail(c->st, GT_NO_MEMORY,
                       "no address space for a stack of %zu bytes, which splitting %d bytes of text may need (%s)",
                       stack, c->len, strerror(err));
    }
    pthread_join(thread, nullptr);
    return c->st->code;
}

} // namespace

int gt_encode(gt_model * m, const char * text, int32_t len, bool add_special, bool parse_special, int32_t * tokens,
              int32_t cap, int32_t * n, gt_status * st) {
    encode_call call = {m, text, len, add_special, parse_special, tokens, cap, n, st};
    if (len > plain_text && llama_vocab_type(m->vocab) == LLAMA_VOCAB_TYPE_BPE) {
        encode_deep(&call);
    } else {
        encode(&call);
    }
#ifdef __GLIBC__
    // Each thread that was here has an arena of its own, and each would keep what a long text takes, 150 bytes for each
    // of its own.
    if (len >= trim_from) {
        malloc_trim(0);
    }
#endif
    return st->code;
}

int gt_piece(gt_model * m, int32_t token, bool special, char * buf, int32_t cap, int32_t * n, gt_status * st) {
    return gt::guard(st, [&]() -> int {
        return wanted(llama_token_to_piece(m->vocab, token, buf, cap, 0, special), "the token's text", n, st);
    });
}

int gt_decode(gt_model * m, const int32_t * tokens, int32_t n_tokens, bool special, char * buf, int32_t cap,
              int64_t * n, gt_status * st) {
    return gt::guard(st, [&]() -> int {
        *n = 0;
        for (int32_t i = 0; i < n_tokens; i++) {
            int64_t room = cap - *n;
            int32_t one  = 0;
            if (int code =
                wanted(llama_token_to_piece(m->vocab, tokens[i], buf + (room > 0 ? *n : 0),
                room > 0 ? (int32_t)room : 0, 0, special),
                                  "the token's text", &one, st)) {
                return code;
            }
            *n += one;
        }
        return GT_OK;
    });
}

int gt_adapter_open(gt_model * m, const char * path, gt_adapter ** out, gt_status * st) {
    *out = nullptr;
    return gt::guard(st, [&]() -> int {
        std::lock_guard<std::mutex> lock(m->tensors);
        struct llama_adapter_lora * adapter = llama_adapter_lora_init(m->model, path);
        if (!adapter) {
            return GT_FAILED; // the guard adds what was logged
        }
        gt_adapter * a = new (std::nothrow) gt_adapter;
        if (!a) {
            llama_adapter_lora_free(adapter);
            throw std::bad_alloc();
        }
        a->model   = m;
        a->adapter = adapter;
        m->refs++;
        *out = a;
        return GT_OK;
    });
}

void gt_adapter_retain(gt_adapter * a) { a->refs++; }

void gt_adapter_release(gt_adapter * a) {
    if (a && --a->refs == 0) {
        llama_adapter_lora_free(a->adapter);
        gt_model_release(a->model);
        delete a;
    }
}
