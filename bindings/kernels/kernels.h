// The border of ggtune's CPU kernels: one call describes one operation on rows of numbers, and any number of threads
// execute it together.
//
// A matrix is a run of rows: ne0 contiguous elements a row, ne1 rows, nb1 bytes from one row to the next (ggml's order:
// [ne0, ne1], ne0 fastest). T stands for tokens, K for a linear layer's inputs, N for its outputs.
//
// Every kernel is called as fn(call, ith, nth) by each of nth threads at once, with no barrier inside: what one thread
// writes, no other thread of the same call reads. The result does not depend on nth, to the last bit: every output
// element is summed in an order fixed by the shapes alone. Buffers belong to the caller; kernels keep no pointer and
// allocate nothing but a work area per thread, 0.6 to 2 MB, that lives as long as the thread (gt_scratch in level.h).
#ifndef GT_KERNELS_H
#define GT_KERNELS_H

#include <stddef.h>
#include <stdint.h>

#include "formats.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { GT_MAX_ARGS = 10 };

// Element types of an argument. 0..39 are ggml's own type numbers (ggml_type); the rest are ours.
enum {
    GT_F32  = 0,
    GT_F16  = 1,
    GT_BF16 = 30,
    GT_I32  = 26,
    GT_PACKED = 100, // activations prepared by GT_OP_PACK for the fast mode; the layout is the kernels' own
};

typedef struct gt_arg {
    void *  data; // NULL: the argument is absent
    int64_t ne0;
    int64_t ne1;
    int64_t nb1;
    int32_t type;
    int32_t pad;
} gt_arg;

typedef struct gt_call {
    int32_t op;
    int32_t n_args;
    gt_arg  a[GT_MAX_ARGS];
    double  f[8];
    int64_t i[8];
} gt_call;

// In the table: a0.. are arguments, [rows] their shapes, "in" is read, "out" written, "inout" both. Types are f32 unless
// said otherwise; W is any type ggml can dequantize. "acc" (where listed): 0 the output is overwritten, 1 added to.
enum {
    // --- products (gemm_ops.inc.h, gemm_head.inc.h) --------------------------------------------------------------
    // GT_OP_PACK        a0 out packed [K,T]; a1 in x [K,T]. Size of a0: gt_packed_bytes(K, T).
    GT_OP_PACK = 1,
    // GT_OP_LINEAR      y = f0·W x + bias (+ y if acc).      a0 y [N,T]; a1 x [K,T] f32 (exact) or packed (fast);
    //                   a2 W [K,N]; a3 bias [N] or absent. i0 acc.
    //                   A second pair, for an adapter's s·B(Ax) in the same pass over y: a4 x2 [r,T], a5 W2 [r,N], both or
    //                   neither; adds f1·W2 x2.
    GT_OP_LINEAR,
    // GT_OP_LINEAR_T    dx = f0·Wᵀ dy (+ dx if acc).          a0 dx [K,T]; a1 dy [N,T] f32 (exact) or packed (fast); a2 W [K,N]. i0 acc.
    //                   A second pair: a4 dy2 [r,T], a5 W2 [K,r]; adds f1·W2ᵀ dy2.
    GT_OP_LINEAR_T,
    // GT_OP_OUTER       dW = f0·Σ_t dy[n,t]·x[k,t] (+ dW if acc).  a0 dW [K,N]; a1 x [K,T]; a2 dy [N,T]; i0 acc; i1: 1 fast (BF16
    //                   products where the level has them), 0 exact.
    GT_OP_OUTER,
    // GT_OP_HEAD        The output head and the softmax, with no logits stored. For each of C counted tokens, over the
    //                   vocabulary v in [0,V): l_v = W_v·h + W2_v·h2; lse = log Σ exp l_v; logp = l_target − lse;
    //                   e = Σ softmax(l)_v W_v (and e2 with W2): the softmax's mean row, from which GT_OP_HEAD_BACK makes the
    //                   gradient for any coefficient without a second pass over the vocabulary.
    //                   a0 out logp [C,1]; a1 out lse [C,1]; a2 out e [K,C] or absent (no backward wanted); a3 in h [K,C] f32;
    //                   a4 in W [K,V]; a5 in targets i32 [C,1]; a6 in h2 [r,C] or absent; a7 in W2 f32 [r,V]; a8 out e2 [r,C];
    //                   a9 scratch, gt_head_scratch_bytes(...). i0: 1 exact (f32 products), 0 fast.
    //                   The vocabulary is cut into shards whose number depends on shapes alone; GT_OP_HEAD writes each
    //                   shard's maximum, sum and mean row into the scratch, GT_OP_HEAD_MERGE (same arguments) joins them
    //                   in order. At most gt_head_chunk() tokens a call; more are done by further pairs of calls on sub-ranges.
    GT_OP_HEAD,
    GT_OP_HEAD_MERGE,
    // GT_OP_HEAD_BACK   dh[:,c] = coef[c]·(W_target(c) − e[:,c]); dh2 likewise.  a0 out dh [K,C]; a1 in e; a2 in coef [C,1];
    //                   a3 in W; a4 in targets; a5 out dh2 [r,C] or absent; a6 in e2; a7 in W2.
    GT_OP_HEAD_BACK,
    // GT_OP_HEAD_GRAD_W dW[v] (+)= Σ_c coef[c]·(1[v=target(c)] − softmax_v(c))·h[:,c], and dW2 with h2; logits recomputed
    //                   shard by shard.   a0 inout dW f32 [K,V] or absent; a1 inout dW2 f32 [r,V] or absent; a2 h; a3 W;
    //                   a4 targets; a5 lse; a6 coef; a7 h2; a8 W2. i0 exact. Always accumulates.
    GT_OP_HEAD_GRAD_W,

    // --- attention (attention.inc.h) -----------------------------------------------------------------------------
    // Tree: i32 data, {n_seg, then n_seg × (start, end, parent)}: segment s covers tokens [start,end), parent < s or -1.
    // Token t of s sees its own segment up to and including t, and every token of s's ancestors.
    // GT_OP_ATTN        a0 out o [d·n_head,T]; a1 out lse [n_head,T]; a2 q [d·n_head,T]; a3 k [d·n_kv,T]; a4 v [d·n_kv,T];
    //                   a5 tree i32. f0 scale. i0 n_head, i1 n_kv, i2 d, i3 mode: 0 exact (f32 products), 1 fast (BF16
    //                   products where the level has them). lse is the log-sum-exp of the scaled scores, nats.
    GT_OP_ATTN = 20,
    // GT_OP_ATTN_DELTA  delta[h,t] = Σ_d do·o.   a0 out delta [n_head,T]; a1 o; a2 do. i0 n_head, i2 d.
    GT_OP_ATTN_DELTA,
    // GT_OP_ATTN_BACK_Q a0 out dq; a1 q; a2 k; a3 v; a4 lse; a5 delta; a6 do; a7 tree. f0, i0..i3 as GT_OP_ATTN.
    GT_OP_ATTN_BACK_Q,
    // GT_OP_ATTN_BACK_KV a0 out dk; a1 out dv; a2 q; a3 k; a4 v; a5 lse; a6 delta; a7 do; a8 tree. As above.
    GT_OP_ATTN_BACK_KV,

    // --- everything row by row (rows.inc.h; GT_OP_ROWS*: gemm_ops.inc.h) --------------------------------------
    // GT_OP_ADD         a0 out = a1 + f0·a2. Same shapes; a0 may be a1.
    GT_OP_ADD = 40,
    // GT_OP_BIAS_GRAD   a0 inout db [n] += Σ_t a1 [n,T].
    GT_OP_BIAS_GRAD,
    // GT_OP_COPY        a0 out [n,T] = a1 [n,T] (rows of either may be slices of wider rows). i0 acc.
    GT_OP_COPY,
    // GT_OP_ZERO        a0 out = 0.
    GT_OP_ZERO,
    // GT_OP_RMS_NORM    a0 out y [n,R]; a1 x [n,R]; a2 w [n] f32. f0 eps. y = x/√(mean x²+eps)·w.
    GT_OP_RMS_NORM,
    // GT_OP_RMS_NORM_BACK  a0 out dx; a1 x; a2 w; a3 dy. f0 eps, i0 acc.
    GT_OP_RMS_NORM_BACK,
    // GT_OP_RMS_NORM_GRAD  a0 inout dw [n] += Σ_rows dy·x/rms; a1 x; a2 dy. f0 eps.
    GT_OP_RMS_NORM_GRAD,
    // GT_OP_LAYER_NORM  a0 out y; a1 x; a2 w; a3 b or absent. f0 eps.
    GT_OP_LAYER_NORM,
    // GT_OP_LAYER_NORM_BACK  a0 out dx; a1 x; a2 w; a3 dy. f0 eps, i0 acc.
    GT_OP_LAYER_NORM_BACK,
    // GT_OP_LAYER_NORM_GRAD  a0 inout dw [n]; a1 inout db [n] or absent; a2 x; a3 dy. f0 eps.
    GT_OP_LAYER_NORM_GRAD,
    // GT_OP_ROPE        a0 out; a1 x [d·n_head,T] (a0 may be a1); a2 pos i32 [T,1]; a3 frequency factors f32 [n_rot/2] or absent.
    //                   f0 freq_base, f1 freq_scale, f2 ext_factor, f3 attn_factor, f4 beta_fast, f5 beta_slow.
    //                   i0 n_head, i1 d, i2 n_rot, i3 mode (0 adjacent pairs, 2 halves: ggml's NORMAL and NEOX), i4 inverse, i5 n_ctx_orig.
    GT_OP_ROPE,
    // GT_OP_SWIGLU      a0 out = silu(a1)·a2.    GT_OP_SWIGLU_BACK a0 out dg; a1 out du; a2 g; a3 u; a4 dout.
    GT_OP_SWIGLU,
    GT_OP_SWIGLU_BACK,
    // GT_OP_GELU        a0 out = gelu_tanh(a1).  GT_OP_GELU_BACK a0 out dx; a1 x; a2 dout.
    GT_OP_GELU,
    GT_OP_GELU_BACK,
    // GT_OP_DROPOUT     a0 out = a1·mask/(1−f0); the mask is a counter-based function of (i0 seed, i1 stream, element's index
    //                   ne0·row+col). A backward pass is the same call on the gradient. a0 may be a1.
    GT_OP_DROPOUT,
    // GT_OP_ROWS        a0 out [K,T] = rows ids[t] of the table.  a1 table, any type [K,V]; a2 ids i32 [T,1].
    GT_OP_ROWS,
    // GT_OP_ROWS_ADD    a0 inout table f32 [K,V]: row ids[t] += a1 [K,T], in order of t; a2 ids. (f0 scale)
    GT_OP_ROWS_ADD,
    // GT_OP_ADAMW       One update of AdamW (Loshchilov and Hutter 2019, algorithm 2), computed in F64: with g = f0·a3,
    //                   m = f1·m + (1−f1)·g, v = f2·v + (1−f2)·g², x = f3·x − f4·m/(√v/f5 + f6).
    //                   a0 inout x [n,R]; a1 inout m; a2 inout v; a3 gradient; a4 out [1,R]: 0, or no number if one of the row's is
    //                   not finite after.
    GT_OP_ADAMW,
    // GT_OP_SQUARES     a0 out [2,R]: each row's Σx² in F64, a double's 8 bytes.  a1 x [n,R].
    GT_OP_SQUARES,
};

// gt_run executes this thread's share of call. It is the only entry the thread pool calls.
void gt_run(const gt_call * call, int ith, int nth);

// gt_check returns NULL if the call's shapes, types and pointers are ones its kernel handles, else a static message. The
// caller checks before it runs: a kernel itself trusts its arguments.
const char * gt_check(const gt_call * call);

size_t gt_packed_bytes(int64_t k, int64_t t);
// The format of packed activations at the current level, GT_FORMAT_*: what products of the fast mode are made of.
int gt_packed_format(void);
// Scratch of GT_OP_HEAD for at most c tokens a call; r is 0 without the second pair; back: 1 if e is wanted.
size_t gt_head_scratch_bytes(int64_t k, int64_t r, int64_t v, int64_t c, int back);
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
// gt_set_level forces a level (tests and `bench`); returns 0, or -1 if the CPU or the build lacks it. Not to be called while kernels run.
int          gt_set_level(int level);

#ifdef __cplusplus
}
#endif
#endif
