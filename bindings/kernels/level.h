// How the kernels are compiled once per instruction set and found at run time. dispatch.c tells the whole story.
#ifndef GT_LEVEL_H
#define GT_LEVEL_H

#include "kernels.h"

// The same numbers as GT_LEVEL_*, for the preprocessor, which knows no enum (dispatch.c asserts that they agree).
#define GT_ISA_PORTABLE 0
#define GT_ISA_AVX2 1
#define GT_ISA_AVX2_VNNI 2
#define GT_ISA_AVX512 3
#define GT_ISA_AVX512_VNNI 4
#define GT_ISA_AVX512_BF16 5
#define GT_ISA_NEON 6

enum { GT_LEVELS = 7 };

typedef void (*gt_kernel)(const gt_call * call, int ith, int nth);
typedef const char * (*gt_checker)(const gt_call * call);

// One level's kernels by operation number, and what the level decides beside them.
typedef struct gt_table {
    gt_kernel run[GT_OP_END];
    size_t (*packed_bytes)(int64_t k, int64_t t);
    int packed_format; // GT_FORMAT_*
} gt_table;

extern const gt_table gt_table_portable;
extern const gt_table gt_table_avx2;
extern const gt_table gt_table_avx2_vnni;
extern const gt_table gt_table_avx512;
extern const gt_table gt_table_avx512_vnni;
extern const gt_table gt_table_avx512_bf16;
extern const gt_table gt_table_neon;

#if defined(__x86_64__)
// gt_has_avx_vnni says whether the CPU has the 256-bit dot products: not every compiler's __builtin_cpu_supports knows
// the name.
int gt_has_avx_vnni(void);
#endif

// gt_scratch returns this thread's own work area of at least size bytes, aligned to 64, with unspecified contents. It
// belongs to the thread and is freed when the thread ends; the next gt_scratch call of the same thread may return the
// same memory, so one kernel asks once. Without memory for it the process ends with a message: a kernel has no way to
// report, and to go on would mean wrong numbers.
void * gt_scratch(size_t size);

// gt_share gives thread ith of nth its half-open range [*lo, *hi) of n units, each range a multiple of align long save
// the last. The ranges of all threads follow each other and cover [0, n).
static inline void gt_share(int64_t n, int64_t align, int ith, int nth, int64_t * lo, int64_t * hi) {
    int64_t units = (n + align - 1) / align;
    int64_t a = units * ith / nth * align, b = units * (ith + 1) / nth * align;
    *lo = a < n ? a : n;
    *hi = b < n ? b : n;
}

#endif
