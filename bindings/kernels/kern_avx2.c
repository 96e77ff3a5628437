// AVX2 with FMA and F16C: x86 since 2013.
// With -march=native on a CPU that has more, the compiler would use more.
#if defined(__x86_64__) || defined(_M_X64)
#ifdef __clang__
#pragma clang attribute push(__attribute__((target("avx2,fma,f16c,bmi,bmi2,no-avx512f"))), apply_to = function)
#else
#pragma GCC target("avx2,fma,f16c,bmi,bmi2,no-avx512f")
#endif
#define GT_ISA 1
#define GT_TABLE gt_table_avx2
#include "kern.inc.h"
#ifdef __clang__
#pragma clang attribute pop
#endif
#endif
