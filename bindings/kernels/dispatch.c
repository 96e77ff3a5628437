// The way from a gt_call to the code that runs it.
//
// Every kernel is written once, in a *.inc.h file, with the vectors of vec.h, and compiled once per instruction set:
// each kern_<level>.c sets the compiler's target, then includes kern.inc.h, which includes vec.h and all *.inc.h.
// Everything in there is static, so names need no suffix; a level exports only its gt_table_<level>, an array of
// functions by operation number. So even a plain `go build` for baseline x86-64 carries all x86 levels, and gt_level
// picks one.
//
// To add an operation "foo":
//   1. add X(GT_OP_FOO, foo) to the list in ops.h;
//   2. write foo.inc.h, or add to a file of its family, and list a new file in ops.inc.h. It holds
//      - what the operation computes, from which arguments;
//      - its constants, if it has any: gt_foo_constants;
//      - under #ifdef GT_KERNELS   static void gt_k_foo(const gt_call * c, int ith, int nth). It may use vec.h, its
//      GT_HAS_…,
//        gt_share and gt_scratch; code for one level goes inside #if GT_HAS_…, never inside #ifdef __AVX512F__;
//      - under #ifdef GT_CHECKS    const char * gt_check_foo(const gt_call * c), with args.h. gt_check has by then
//      looked at what
//        holds for every argument: see arg_fault;
//   3. name it for Go, with its constants: foo.go.
// A name missing anywhere is a compile or link error, an operation without a test at every level a failing test.
#include "level.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif

#define GT_DECLARE(op, name) const char * gt_check_##name(const gt_call * call);
GT_OPS(GT_DECLARE)

#define GT_CHECK_ENTRY(op, name) [op] = gt_check_##name,
static const gt_checker checkers[GT_OP_END] = {GT_OPS(GT_CHECK_ENTRY)};

const char * gt_op_name(int op) {
#define GT_NAME_ENTRY(op, name) [op] = #name,
    static const char * const names[GT_OP_END] = {GT_OPS(GT_NAME_ENTRY)};
    return op > GT_OP_NONE && op < GT_OP_END ? names[op] : NULL;
}

_Static_assert(GT_ISA_PORTABLE == GT_LEVEL_PORTABLE && GT_ISA_AVX2 == GT_LEVEL_AVX2 &&
               GT_ISA_AVX2_VNNI == GT_LEVEL_AVX2_VNNI &&
                   GT_ISA_AVX512 == GT_LEVEL_AVX512 && GT_ISA_AVX512_VNNI == GT_LEVEL_AVX512_VNNI &&
                   GT_ISA_AVX512_BF16 == GT_LEVEL_AVX512_BF16 && GT_ISA_NEON == GT_LEVEL_NEON &&
                   (int) GT_LEVEL_NEON < (int) GT_LEVELS,
               "levels and their preprocessor twins must agree");

#if defined(__x86_64__)
int gt_has_avx_vnni(void) {
    unsigned a, b, c, d;
    return __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a >> 4 & 1);
}
#endif

static const gt_table * table_of(int level) {
    switch (level) {
    case GT_LEVEL_PORTABLE: return &gt_table_portable;
#if defined(__x86_64__)
    case GT_LEVEL_AVX2:
        return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
        __builtin_cpu_supports("bmi2") ? &gt_table_avx2 : NULL;
    case GT_LEVEL_AVX2_VNNI: return gt_has_avx_vnni() && table_of(GT_LEVEL_AVX2) ? &gt_table_avx2_vnni : NULL;
    case GT_LEVEL_AVX512:
        return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512dq") &&
                       __builtin_cpu_supports("avx512vl") && table_of(GT_LEVEL_AVX2)
                   ? &gt_table_avx512
                   : NULL;
    case GT_LEVEL_AVX512_VNNI:
        return __builtin_cpu_supports("avx512vnni") && table_of(GT_LEVEL_AVX512) ? &gt_table_avx512_vnni : NULL;
    case GT_LEVEL_AVX512_BF16:
        return __builtin_cpu_supports("avx512bf16") && table_of(GT_LEVEL_AVX512) ? &gt_table_avx512_bf16 : NULL;
#endif
#if defined(__aarch64__)
    case GT_LEVEL_NEON: return &gt_table_neon;
#endif
    default: return NULL;
    }
}

static int              current = -1;
static const gt_table * table;

// The first choice is made before main: after that only gt_set_level writes these two.
__attribute__((constructor)) static void choose(void) {
#if defined(__x86_64__)
    __builtin_cpu_init();
#endif
    for (int level = GT_LEVELS - 1; level >= 0; level--) {
        if (gt_set_level(level) == 0) return;
    }
}

int gt_level(void) { return current; }

int gt_set_level(int level) {
    const gt_table * t = table_of(level);
    if (!t) return -1;
    current = level;
    table   = t;
    return 0;
}

const char * gt_level_name(int level) {
    static const char * const names[GT_LEVELS] =
        {"portable", "avx2", "avx2_vnni", "avx512", "avx512_vnni", "avx512_bf16", "neon"};
    return level >= 0 && level < GT_LEVELS ? names[level] : "unknown";
}

void gt_run(const gt_call * call, int ith, int nth) { table->run[call->op](call, ith, nth); }

size_t gt_packed_bytes(int64_t k, int64_t t) { return table->packed_bytes(k, t); }

int gt_packed_format(void) { return table->packed_format; }

// arg_fault looks at what every present argument must have: sizes that are not negative and do not overflow, and rows
// that do not overlap. How large an element is depends on the type and is left to the operation's own check.
static const char * arg_fault(const gt_arg * a) {
    const int64_t most = (int64_t) 1 << 40;
    if (a->ne0 < 0 || a->ne1 < 0 || a->ne2 < 0 || a->nb1 < 0 || a->nb2 < 0) return "an argument has a negative size";
    if (a->ne0 > most || a->ne1 > most || a->ne2 > most || a->nb1 > most || a->nb2 > most)
        return "an argument has an absurd size";
    if ((a->type == GT_F32 || a->type == GT_I32) && a->data) {
        if (a->ne1 > 1 && a->nb1 < a->ne0 * 4) return "rows of an argument overlap";
        if (((uintptr_t) a->data & 3) || (a->ne1 > 1 && (a->nb1 & 3)))
            return "a 4-byte argument is not aligned to 4 bytes";
    }
    if ((a->type == GT_F64 || a->type == GT_I64) && a->data) {
        if (a->ne1 > 1 && a->nb1 < a->ne0 * 8) return "rows of an argument overlap";
        if (((uintptr_t) a->data & 7) || (a->ne1 > 1 && (a->nb1 & 7)))
            return "an 8-byte argument is not aligned to 8 bytes";
    }
    return NULL;
}

const char * gt_check(const gt_call * call) {
    if (call->op <= GT_OP_NONE || call->op >= GT_OP_END) return "unknown operation";
    if (call->n_args < 0 || call->n_args > GT_MAX_ARGS) return "the number of arguments is out of range";
    for (int i = 0; i < GT_MAX_ARGS; i++) {
        if (i >= call->n_args && call->a[i].data) return "an argument lies beyond n_args";
        const char * fault = arg_fault(&call->a[i]);
        if (fault) return fault;
    }
    return checkers[call->op](call);
}
