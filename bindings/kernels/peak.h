// The most multiplications a CPU can do: loops that touch nothing but registers, for `bench` to hold the kernels
// against.
#ifndef GT_PEAK_H
#define GT_PEAK_H

#include <stdint.h>

#include "formats.h"

// gt_peak_has says whether this CPU multiplies the format (GT_FORMAT_*) with an instruction of its own. F32 always.
int gt_peak_has(int format);

// gt_peak runs the best loop this CPU has for the format for about seconds of processor time and returns operations a
// second of it (a multiplication and an addition are two) of the calling thread, or 0 where gt_peak_has says no.
double gt_peak(int format, double seconds);

#endif
