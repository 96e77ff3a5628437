// AVX2 with 16-bit dot products: Intel since Alder Lake (2021).
// With -march=native on a CPU that has more, the compiler would use more.
#if defined(__x86_64__) || defined(_M_X64)
#ifdef __clang__
#pragma clang attribute push(__attribute__((target("avxvnni,avx2,fma,f16c,bmi,bmi2,no-avx512f"))), apply_to = function)
#else
#pragma GCC target("avxvnni,avx2,fma,f16c,bmi,bmi2,no-avx512f")
#endif
#define GT_ISA 2
#define GT_TABLE gt_table_avx2_vnni
#include "kern.inc.h"
#ifdef __clang__
#pragma clang attribute pop
#endif
#endif
