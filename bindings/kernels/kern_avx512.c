// AVX-512 without dot products: Skylake-X.
#if defined(__x86_64__) || defined(_M_X64)
#ifdef __clang__
#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c,bmi,bmi2"))), apply_to = function)
#else
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c,bmi,bmi2")
#endif
#define GT_ISA 3
#define GT_TABLE gt_table_avx512
#include "kern.inc.h"
#ifdef __clang__
#pragma clang attribute pop
#endif
#endif
