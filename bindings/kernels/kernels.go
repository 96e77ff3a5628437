package kernels

/*
#cgo CFLAGS: -std=gnu11 -O3 -Wall -Wextra -Wno-unused-function
#cgo LDFLAGS: -lm
#include "kernels.h"
*/
import "C"

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"unsafe"
)

// MaxArgs is the most arguments a call has.
const MaxArgs = C.GT_MAX_ARGS

// Type is an argument's element type: ggml's own type number, or Packed.
type Type int32

// The element types that kernels name themselves; a weight may be of any other type ggml can dequantize.
const (
	F32    Type = C.GT_F32
	F16    Type = C.GT_F16
	BF16   Type = C.GT_BF16
	I32    Type = C.GT_I32
	I64    Type = C.GT_I64
	F64    Type = C.GT_F64
	Packed Type = C.GT_PACKED
)

// Arg is one argument of a call: Ne1 rows of Ne0 contiguous elements, Nb1 bytes apart, and Ne2 such matrices, Nb2 bytes
// apart. It mirrors gt_arg. Data is borrowed: nil means the argument is absent.
type Arg struct {
	Data unsafe.Pointer
	Ne0  int64
	Ne1  int64
	Ne2  int64
	Nb1  int64
	Nb2  int64
	Type Type
	_    int32
}

// Matrix is the argument of ne1 rows of ne0 elements, nb1 bytes apart.
func Matrix(data unsafe.Pointer, typ Type, ne0, ne1, nb1 int64) Arg {
	return Arg{Data: data, Ne0: ne0, Ne1: ne1, Ne2: 1, Nb1: nb1, Nb2: nb1 * ne1, Type: typ}
}

// Call is one operation on its arguments. It mirrors gt_call byte for byte, so that an array of calls can be handed to
// the thread pool as it is. Make it with Kernel.Call.
type Call struct {
	Op        Op
	NArgs     int32
	A         [MaxArgs]Arg
	constants [16]int64
}

// Level is an instruction-set level: the same kernels compiled for what a CPU offers.
type Level int32

// The levels. Portable is the reference.
const (
	Portable   Level = C.GT_LEVEL_PORTABLE
	AVX2       Level = C.GT_LEVEL_AVX2
	AVX2VNNI   Level = C.GT_LEVEL_AVX2_VNNI
	AVX512     Level = C.GT_LEVEL_AVX512
	AVX512VNNI Level = C.GT_LEVEL_AVX512_VNNI
	AVX512BF16 Level = C.GT_LEVEL_AVX512_BF16
	NEON       Level = C.GT_LEVEL_NEON
)

// String returns the level's name as `bench` prints it.
func (l Level) String() string { return C.GoString(C.gt_level_name(C.int(l))) }

// CurrentLevel returns the level in use: at start the best one this CPU has.
func CurrentLevel() Level { return Level(C.gt_level()) }

// ErrLevel is the error of SetLevel for a level that the CPU or the build lacks.
var ErrLevel = errors.New("instruction-set level not available")

// SetLevel forces a level, for tests and `bench`. It must not be called while kernels run, and what OpPack wrote at one
// level cannot be read at another.
func SetLevel(l Level) error {
	if C.gt_set_level(C.int(l)) != 0 {
		return fmt.Errorf("kernels: level %v: %w on this CPU", l, ErrLevel)
	}
	return nil
}

// LevelNamed finds a level of Levels by its name. Like Levels it must not be called while kernels run.
func LevelNamed(name string) (Level, error) {
	var have []string
	for _, l := range Levels() {
		if l.String() == name {
			return l, nil
		}
		have = append(have, l.String())
	}
	return 0, fmt.Errorf("level %q: %w on this CPU; it has: %s", name, ErrLevel, strings.Join(have, ", "))
}

// Levels returns the levels this CPU and build have, the portable one first. It must not be called while kernels run.
func Levels() []Level {
	was := CurrentLevel()
	var out []Level
	for l := Portable; l <= NEON; l++ {
		if C.gt_set_level(C.int(l)) == 0 {
			out = append(out, l)
		}
	}
	C.gt_set_level(C.int(was))
	return out
}

// Check reports why the call's shapes, types or pointers are none its kernel handles. A kernel itself trusts its
// arguments, so a call is checked before it first runs.
func Check(c *Call) error {
	var pin runtime.Pinner
	defer pin.Unpin()
	pinArgs(&pin, c)
	if msg := C.gt_check((*C.gt_call)(unsafe.Pointer(c))); msg != nil {
		return fmt.Errorf("kernels: %v: %s", c.Op, C.GoString(msg))
	}
	return nil
}

// Run checks the call and runs the shares of all n threads one after the other, in the calling goroutine. It is for
// tests and small work; the thread pool calls gt_run itself. Data may point to Go memory.
func Run(c *Call, n int) error {
	if err := Check(c); err != nil {
		return err
	}
	var pin runtime.Pinner
	defer pin.Unpin()
	pinArgs(&pin, c)
	for i := range n {
		C.gt_run((*C.gt_call)(unsafe.Pointer(c)), C.int(i), C.int(n))
	}
	return nil
}

func pinArgs(pin *runtime.Pinner, c *Call) {
	for i := range c.A {
		if c.A[i].Data != nil {
			pin.Pin(c.A[i].Data)
		}
	}
}

// layout returns the C structures' sizes and the offsets of gt_call's fields, for the test that holds Arg and Call to
// them.
func layout() (arg, call uintptr, offsets [4]uintptr) {
	var c C.gt_call
	return C.sizeof_gt_arg, C.sizeof_gt_call, [4]uintptr{
		unsafe.Offsetof(c.op), unsafe.Offsetof(c.n_args), unsafe.Offsetof(c.a), unsafe.Offsetof(c.constants),
	}
}
