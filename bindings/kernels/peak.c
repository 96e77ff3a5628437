// Each instruction that multiplies has one loop, the text of peak.inc.h, compiled for it alone; which one runs is found
// on the CPU itself, not from the level in use: the peak is the machine's.
#include "peak.h"
#include "level.h"

#include <string.h>
#include <time.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif
#if defined(__aarch64__)
#include <arm_neon.h>
#endif

typedef double (*gt_peak_loop)(int64_t steps);

#if defined(__x86_64__)

#define GT_PEAK_NAME f32_avx512
#define GT_PEAK_TARGET __attribute__((target("avx512f")))
#define GT_PEAK_V __m512
#define GT_PEAK_X __m512
#define GT_PEAK_ONE _mm512_set1_ps(1e-3f)
#define GT_PEAK_REG "v"
#define GT_PEAK_OPS 32
#define GT_PEAK_STEP(acc, x, y) acc = _mm512_fmadd_ps(x, y, acc)
#include "peak.inc.h"

#define GT_PEAK_NAME f32_fma
#define GT_PEAK_TARGET __attribute__((target("avx2,fma")))
#define GT_PEAK_V __m256
#define GT_PEAK_X __m256
#define GT_PEAK_ONE _mm256_set1_ps(1e-3f)
#define GT_PEAK_REG "x"
#define GT_PEAK_OPS 16
#define GT_PEAK_STEP(acc, x, y) acc = _mm256_fmadd_ps(x, y, acc)
#include "peak.inc.h"

#define GT_PEAK_NAME f32_sse
#define GT_PEAK_TARGET
#define GT_PEAK_V __m128
#define GT_PEAK_X __m128
#define GT_PEAK_ONE _mm_set1_ps(1e-3f)
#define GT_PEAK_REG "x"
#define GT_PEAK_OPS 8
#define GT_PEAK_STEP(acc, x, y) acc = _mm_add_ps(acc, _mm_mul_ps(x, y))
#include "peak.inc.h"

// 0x3a83 is 0.001 in bf16.
#define GT_PEAK_NAME bf16_avx512
#define GT_PEAK_TARGET __attribute__((target("avx512f,avx512bf16")))
#define GT_PEAK_V __m512
#define GT_PEAK_X __m512i
#define GT_PEAK_ONE _mm512_set1_epi32(0x3a833a83)
#define GT_PEAK_REG "v"
#define GT_PEAK_OPS 64
#define GT_PEAK_STEP(acc, x, y) acc = _mm512_dpbf16_ps(acc, (__m512bh) (x), (__m512bh) (y))
#include "peak.inc.h"

#define GT_PEAK_NAME int16_avx512_vnni
#define GT_PEAK_TARGET __attribute__((target("avx512f,avx512vnni")))
#define GT_PEAK_V __m512i
#define GT_PEAK_X __m512i
#define GT_PEAK_ONE _mm512_set1_epi32(0x00010001)
#define GT_PEAK_REG "v"
#define GT_PEAK_OPS 64
#define GT_PEAK_STEP(acc, x, y) acc = _mm512_dpwssd_epi32(acc, x, y)
#include "peak.inc.h"

// Without a dot product two instructions do its work.
#define GT_PEAK_NAME int16_avx512
#define GT_PEAK_TARGET __attribute__((target("avx512f,avx512bw")))
#define GT_PEAK_V __m512i
#define GT_PEAK_X __m512i
#define GT_PEAK_ONE _mm512_set1_epi32(0x00010001)
#define GT_PEAK_REG "v"
#define GT_PEAK_OPS 64
#define GT_PEAK_STEP(acc, x, y) acc = _mm512_add_epi32(acc, _mm512_madd_epi16(x, y))
#include "peak.inc.h"

#define GT_PEAK_NAME int16_avx_vnni
#define GT_PEAK_TARGET __attribute__((target("avx2,avxvnni")))
#define GT_PEAK_V __m256i
#define GT_PEAK_X __m256i
#define GT_PEAK_ONE _mm256_set1_epi32(0x00010001)
#define GT_PEAK_REG "x"
#define GT_PEAK_OPS 32
#define GT_PEAK_STEP(acc, x, y) acc = _mm256_dpwssd_avx_epi32(acc, x, y)
#include "peak.inc.h"

#define GT_PEAK_NAME int16_avx2
#define GT_PEAK_TARGET __attribute__((target("avx2")))
#define GT_PEAK_V __m256i
#define GT_PEAK_X __m256i
#define GT_PEAK_ONE _mm256_set1_epi32(0x00010001)
#define GT_PEAK_REG "x"
#define GT_PEAK_OPS 32
#define GT_PEAK_STEP(acc, x, y) acc = _mm256_add_epi32(acc, _mm256_madd_epi16(x, y))
#include "peak.inc.h"

#define GT_PEAK_NAME int8_avx512
#define GT_PEAK_TARGET __attribute__((target("avx512f,avx512vnni")))
#define GT_PEAK_V __m512i
#define GT_PEAK_X __m512i
#define GT_PEAK_ONE _mm512_set1_epi32(0x01010101)
#define GT_PEAK_REG "v"
#define GT_PEAK_OPS 128
#define GT_PEAK_STEP(acc, x, y) acc = _mm512_dpbusd_epi32(acc, x, y)
#include "peak.inc.h"

// Without a dot product of bytes three instructions do its work: products in pairs, pairs in fours, and the sum.
#define GT_PEAK_NAME int8_avx2
#define GT_PEAK_TARGET __attribute__((target("avx2")))
#define GT_PEAK_V __m256i
#define GT_PEAK_X __m256i
#define GT_PEAK_ONE _mm256_set1_epi32(0x01010101)
#define GT_PEAK_REG "x"
#define GT_PEAK_OPS 64
#define GT_PEAK_STEP(acc, x, y) acc = _mm256_add_epi32(acc, _mm256_madd_epi16(_mm256_maddubs_epi16(x, y), y))
#include "peak.inc.h"

static gt_peak_loop loop_of(int format) {
    __builtin_cpu_init();
    switch (format) {
    case GT_FORMAT_F32:
        if (__builtin_cpu_supports("avx512f")) return f32_avx512;
        return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") ? f32_fma : f32_sse;
    case GT_FORMAT_BF16: return __builtin_cpu_supports("avx512bf16") ? bf16_avx512 : NULL;
    case GT_FORMAT_INT16:
        if (__builtin_cpu_supports("avx512vnni")) return int16_avx512_vnni;
        if (__builtin_cpu_supports("avx512bw")) return int16_avx512;
        if (gt_has_avx_vnni() && __builtin_cpu_supports("avx2")) return int16_avx_vnni;
        return __builtin_cpu_supports("avx2") ? int16_avx2 : NULL;
    case GT_FORMAT_INT8:
        if (__builtin_cpu_supports("avx512vnni")) return int8_avx512;
        return __builtin_cpu_supports("avx2") ? int8_avx2 : NULL;
    default: return NULL;
    }
}

#elif defined(__aarch64__)

#define GT_PEAK_NAME f32_neon
#define GT_PEAK_TARGET
#define GT_PEAK_V float32x4_t
#define GT_PEAK_X float32x4_t
#define GT_PEAK_ONE vdupq_n_f32(1e-3f)
#define GT_PEAK_REG "w"
#define GT_PEAK_OPS 8
#define GT_PEAK_STEP(acc, x, y) acc = vfmaq_f32(acc, x, y)
#include "peak.inc.h"

// Which of these a CPU has is known here only from how this file is compiled (-march=native, or Apple's default).
#if defined(__ARM_FEATURE_BF16_VECTOR_ARITHMETIC)
#define GT_PEAK_NAME bf16_neon
#define GT_PEAK_TARGET
#define GT_PEAK_V float32x4_t
#define GT_PEAK_X bfloat16x8_t
#define GT_PEAK_ONE vreinterpretq_bf16_u16(vdupq_n_u16(0x3a83))
#define GT_PEAK_REG "w"
#define GT_PEAK_OPS 16
#define GT_PEAK_STEP(acc, x, y) acc = vbfdotq_f32(acc, x, y)
#include "peak.inc.h"
#endif

#if defined(__ARM_FEATURE_DOTPROD)
#define GT_PEAK_NAME int8_neon
#define GT_PEAK_TARGET
#define GT_PEAK_V int32x4_t
#define GT_PEAK_X int8x16_t
#define GT_PEAK_ONE vdupq_n_s8(1)
#define GT_PEAK_REG "w"
#define GT_PEAK_OPS 32
#define GT_PEAK_STEP(acc, x, y) acc = vdotq_s32(acc, x, y)
#include "peak.inc.h"
#endif

static gt_peak_loop loop_of(int format) {
    switch (format) {
    case GT_FORMAT_F32: return f32_neon;
#if defined(__ARM_FEATURE_BF16_VECTOR_ARITHMETIC)
    case GT_FORMAT_BF16: return bf16_neon;
#endif
#if defined(__ARM_FEATURE_DOTPROD)
    case GT_FORMAT_INT8: return int8_neon;
#endif
    default: return NULL;
    }
}

#else

typedef float gt_peak_v4 __attribute__((vector_size(16)));

#define GT_PEAK_NAME f32_plain
#define GT_PEAK_TARGET
#define GT_PEAK_V gt_peak_v4
#define GT_PEAK_X gt_peak_v4
#define GT_PEAK_ONE ((gt_peak_v4){1e-3f, 1e-3f, 1e-3f, 1e-3f})
#define GT_PEAK_REG "m" // the name of a vector register is not known here
#define GT_PEAK_OPS 8
#define GT_PEAK_STEP(acc, x, y) acc += x * y
#include "peak.inc.h"

static gt_peak_loop loop_of(int format) { return format == GT_FORMAT_F32 ? f32_plain : NULL; }

#endif

// The processor's time, not the clock's: what other processes take is no property of the machine.
static double seconds_now(void) {
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double) t.tv_sec + 1e-9 * (double) t.tv_nsec;
}

int gt_peak_has(int format) { return loop_of(format) != NULL; }

double gt_peak(int format, double seconds) {
    gt_peak_loop loop = loop_of(format);
    if (!loop) return 0;
    const int64_t steps = 20000; // about 0.1 ms: the time is looked at often enough, and costs nothing beside it
    loop(steps);                 // wakes the wide units up
    double from = seconds_now(), to = from, ops = 0;
    while (to - from < seconds || ops == 0) {
        ops += loop(steps);
        to = seconds_now();
    }
    return ops / (to - from);
}
