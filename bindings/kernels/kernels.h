// The border of ggtune's CPU kernels: one call describes one operation on rows of numbers, and any number of threads
// execute it together.
//
// An argument is a run of rows: ne0 contiguous elements a row, ne1 rows, nb1 bytes from one row to the next; and ne2
// such matrices, nb2 bytes apart, which is 1 for all that today's operations take (ggml's order: [ne0, ne1, ne2], ne0
// fastest). T stands for tokens, K for a linear layer's inputs, N for its outputs.
//
// What an operation computes, from which arguments and constants, is said where its kernel and its check stand: a file
// of ops.inc.h. There a0.. are arguments, [rows] their shapes, "in" is read, "out" written, "inout" both. Types are f32
// unless said otherwise; W is any type ggml can dequantize. acc: 0 the output is overwritten, 1 added to.
//
// Every kernel is called as fn(call, ith, nth) by each of nth threads at once, with no barrier inside: what one thread
// writes, no other thread of the same call reads. The result does not depend on nth, to the last bit: every output
// element is summed in an order fixed by the shapes alone. Buffers belong to the caller; kernels keep no pointer and
// allocate nothing but a work area per thread, 0.6 to 2 MB, that lives as long as the thread (gt_scratch in level.h).
#ifndef GT_KERNELS_H
#define GT_KERNELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "formats.h"
#include "ops.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { GT_MAX_ARGS = 13 };

// Element types of an argument. 0..39 are ggml's own type numbers (ggml_type); the rest are ours.
enum {
    GT_F32  = 0,
    GT_F16  = 1,
    GT_BF16 = 30,
    GT_I32  = 26,
    GT_I64  = 27,
    GT_F64  = 28,
    GT_PACKED = 100, // activations prepared by GT_OP_PACK for the fast mode; the layout is the kernels' own
};

typedef struct gt_arg {
    void *  data; // NULL: the argument is absent
    int64_t ne0;
    int64_t ne1;
    int64_t ne2;
    int64_t nb1;
    int64_t nb2;
    int32_t type;
    int32_t pad;
} gt_arg;

typedef struct gt_call {
    int32_t op;
    int32_t n_args;
    gt_arg  a[GT_MAX_ARGS];
    int64_t constants[16]; // the operation's own gt_<name>_constants: see GT_CONSTANTS
} gt_call;

// GT_CONSTANTS gives the constants of a call of the operation, a gt_<name>_constants.
#define GT_CONSTANTS(name, call)                                                       \
    ({                                                                                 \
        gt_##name##_constants k_;                                                      \
        _Static_assert(sizeof k_ <= sizeof (call)->constants, "constants too large");  \
        memcpy(&k_, (call)->constants, sizeof k_);                                     \
        k_;                                                                            \
    })

// The operations' numbers: see ops.h.
#define GT_NUMBER(op, name) op,
enum { GT_OP_NONE, GT_OPS(GT_NUMBER) GT_OP_END };
#undef GT_NUMBER

// gt_op_name is the name of an operation's number, or NULL.
const char * gt_op_name(int op);

// gt_run executes this thread's share of call. It is the only entry the thread pool calls.
void gt_run(const gt_call * call, int ith, int nth);

// gt_check returns NULL if the call's shapes, types and pointers are ones its kernel handles, else a static message.
// The caller checks before it runs: a kernel itself trusts its arguments.
const char * gt_check(const gt_call * call);

size_t gt_packed_bytes(int64_t k, int64_t t);
// The format of packed activations at the current level, GT_FORMAT_*: what products of the fast mode are made of.
int gt_packed_format(void);
// Scratch of GT_OP_HEAD for at most c tokens a call that gives per numbers a token; r is 0 without the second pair;
// back: 1 if e is wanted; entropy: 1 if it is.
size_t gt_head_scratch_bytes(int64_t k, int64_t r, int64_t v, int64_t c, int64_t per, int back, int entropy);
// Scratch of GT_OP_HEAD_TOP for the many largest logits of at most c tokens a call.
size_t gt_head_top_scratch_bytes(int64_t v, int64_t c, int64_t many);
// Scratch of GT_OP_HEAD_DRAW for at most c tokens a call.
size_t gt_head_draw_scratch_bytes(int64_t k, int64_t r, int64_t v, int64_t c);
// What GT_OP_ATTN_KEEP keeps of n_kv heads of d elements: the numbers of a page, and the tokens of one.
int64_t gt_kv_page(int64_t d, int64_t n_kv);
int64_t gt_kv_tokens(int64_t d);
// The most tokens one GT_OP_HEAD call takes.
int64_t gt_head_chunk(void);

// Instruction-set levels, chosen once at start by what the CPU offers. GT_LEVEL_PORTABLE is the reference.
enum {
    GT_LEVEL_PORTABLE = 0,
    GT_LEVEL_AVX2,
    GT_LEVEL_AVX2_VNNI,
    GT_LEVEL_AVX512,
    GT_LEVEL_AVX512_VNNI,
    GT_LEVEL_AVX512_BF16,
    GT_LEVEL_NEON,
};
int          gt_level(void);
const char * gt_level_name(int level);
// gt_set_level forces a level (tests and `bench`); returns 0, or -1 if the CPU or the build lacks it. Not to be called
// while kernels run.
int          gt_set_level(int level);

#ifdef __cplusplus
}
#endif
#endif
