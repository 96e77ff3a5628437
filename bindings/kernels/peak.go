package kernels

/*
#include "peak.h"
*/
import "C"

import (
	"errors"
	"fmt"
	"sync"
	"time"
)

// A Format is a number format that CPUs multiply.
type Format int

// The formats. Products of F32 and BF16 are summed in F32, those of INT16 and INT8 in 32-bit integers.
const (
	FormatF32   Format = C.GT_FORMAT_F32
	FormatBF16  Format = C.GT_FORMAT_BF16
	FormatInt16 Format = C.GT_FORMAT_INT16
	FormatInt8  Format = C.GT_FORMAT_INT8
)

// Formats lists them.
func Formats() []Format { return []Format{FormatF32, FormatBF16, FormatInt16, FormatInt8} }

func (f Format) String() string {
	switch f {
	case FormatF32:
		return "f32"
	case FormatBF16:
		return "bf16"
	case FormatInt16:
		return "int16"
	case FormatInt8:
		return "int8"
	}
	return fmt.Sprintf("format(%d)", int(f))
}

// ErrFormat is the error of Peak for a format that this CPU has no instruction for.
var ErrFormat = errors.New("no instruction of this CPU multiplies it")

// Peak measures how fast this CPU multiplies and adds numbers of a format in registers, in operations a second (a
// multiplication and an addition are two), with all threads together: the limit of any product. It takes about d of
// each thread's processor time, in which what other processes do does not count; more threads than cores give more than
// the machine can do.
func Peak(f Format, threads int, d time.Duration) (float64, error) {
	if threads < 1 {
		return 0, fmt.Errorf("peak of %v: %d threads: want 1 or more", f, threads)
	}
	if C.gt_peak_has(C.int(f)) == 0 {
		return 0, fmt.Errorf("peak of %v: %w", f, ErrFormat)
	}
	rates := make([]float64, threads)
	var wg sync.WaitGroup
	for i := range rates {
		wg.Go(func() { rates[i] = float64(C.gt_peak(C.int(f), C.double(d.Seconds()))) })
	}
	wg.Wait()
	total := 0.0
	for _, r := range rates {
		total += r
	}
	return total, nil
}
