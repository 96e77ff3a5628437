// The body of one loop of peak.c. Before it is included these are defined:
//   GT_PEAK_NAME    the function's name
//   GT_PEAK_TARGET  the compiler's target attribute, or nothing
//   GT_PEAK_V       the type of an accumulator, one vector register
//   GT_PEAK_OPS     operations of one step: a multiplication and an addition are two
//   GT_PEAK_STEP    adds x·y to acc, in which x and y are GT_PEAK_X
//   GT_PEAK_X       the type of the operands
//   GT_PEAK_ONE     an expression of type GT_PEAK_X: the operands' value, small and not zero
//   GT_PEAK_REG     the assembler constraint of a vector register, "v" or "w"
//
// GT_PEAK_CHAINS accumulators are independent: more than any CPU's latency times its pipes (5 cycles × 2 on Zen 4, 4 ×
// 4 on recent Arm cores), and with the operands few enough for 16 registers. Nothing but registers is touched.
#define GT_PEAK_CHAINS 12

static GT_PEAK_TARGET double GT_PEAK_NAME(int64_t steps) {
    GT_PEAK_V acc[GT_PEAK_CHAINS];
    GT_PEAK_X x = GT_PEAK_ONE, y = GT_PEAK_ONE;
    memset(acc, 0, sizeof acc);
    // Equal accumulators would be computed once for all: each must look different.
    for (int i = 0; i < GT_PEAK_CHAINS; i++) __asm__ volatile("" : "+" GT_PEAK_REG(acc[i]));
    for (int64_t s = 0; s < steps; s++) {
#pragma GCC unroll 12
        for (int i = 0; i < GT_PEAK_CHAINS; i++) {
            // The compiler must believe that the operands change, or it would compute what does not depend on acc only
            // once.
            __asm__ volatile("" : "+" GT_PEAK_REG(x), "+" GT_PEAK_REG(y));
            GT_PEAK_STEP(acc[i], x, y);
        }
    }
    // Keeps the sums alive.
    for (int i = 0; i < GT_PEAK_CHAINS; i++) __asm__ volatile("" : : GT_PEAK_REG(acc[i]));
    return (double) steps * GT_PEAK_CHAINS * GT_PEAK_OPS;
}

#undef GT_PEAK_NAME
#undef GT_PEAK_TARGET
#undef GT_PEAK_V
#undef GT_PEAK_X
#undef GT_PEAK_OPS
#undef GT_PEAK_STEP
#undef GT_PEAK_ONE
#undef GT_PEAK_REG
#undef GT_PEAK_CHAINS
