package kernels

// #include "kernels.h"
import "C"

import (
	"fmt"
	"reflect"
	"unsafe"
)

// Op is an operation's number.
type Op int32

func (op Op) String() string {
	if name := C.gt_op_name(C.int(op)); name != nil {
		return C.GoString(name)
	}
	return fmt.Sprintf("operation %d", int32(op))
}

// Ops lists all operations.
func Ops() []Op {
	var out []Op
	for op := Op(C.GT_OP_NONE + 1); op < C.GT_OP_END; op++ {
		out = append(out, op)
	}
	return out
}

// A Kernel is an operation with its constants' type K, which mirrors the C structure that the kernel reads. What it
// computes and from which arguments is said where it stands, in a file of ops.inc.h.
type Kernel[K any] struct{ Op Op }

// None is the constants' type of an operation that has none.
type None struct{}

// Call makes a call with these constants and arguments; the zero Arg is absent.
func (k Kernel[K]) Call(constants K, args ...Arg) Call {
	c := Call{Op: k.Op, NArgs: int32(len(args))}
	copy(c.A[:], args)
	*(*K)(unsafe.Pointer(&c.constants)) = constants
	return c
}

// mirrors are types of constants in Go and in C, for the test that holds one to the other.
var mirrors = map[string][2]reflect.Type{}

// mirror says that a Go type lies in memory as a C type does.
func mirror[K, KC any](name string) bool {
	mirrors[name] = [2]reflect.Type{reflect.TypeFor[K](), reflect.TypeFor[KC]()}
	return true
}

// kernel names an operation whose constants are K in Go and KC in C.
func kernel[K, KC any](op Op) Kernel[K] {
	mirror[K, KC](op.String())
	return Kernel[K]{op}
}

// plain names an operation without constants.
func plain(op Op) Kernel[None] { return kernel[None, None](op) }
