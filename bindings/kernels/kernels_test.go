package kernels

import (
	"reflect"
	"strings"
	"testing"
	"unsafe"
)

// TestLayout holds Arg and Call to the C structures they mirror.
func TestLayout(t *testing.T) {
	arg, call, off := layout()
	if got := unsafe.Sizeof(Arg{}); got != arg {
		t.Errorf("Arg has %d bytes, gt_arg %d", got, arg)
	}
	if got := unsafe.Sizeof(Call{}); got != call {
		t.Errorf("Call has %d bytes, gt_call %d", got, call)
	}
	var c Call
	got := [4]uintptr{
		unsafe.Offsetof(c.Op), unsafe.Offsetof(c.NArgs), unsafe.Offsetof(c.A), unsafe.Offsetof(c.constants),
	}
	if got != off {
		t.Errorf("Call's fields lie at %v, gt_call's at %v", got, off)
	}
}

// named are a structure's fields without padding.
func named(t reflect.Type) []reflect.StructField {
	var out []reflect.StructField
	for i := range t.NumField() {
		if f := t.Field(i); f.Name != "_" {
			out = append(out, f)
		}
	}
	return out
}

// TestMirrors holds the constants' structures in Go to those in C, field by field.
func TestMirrors(t *testing.T) {
	plain := func(name string) string { return strings.ToLower(strings.ReplaceAll(name, "_", "")) }
	for name, m := range mirrors {
		inGo, inC := named(m[0]), named(m[1])
		if m[0].Size() != m[1].Size() || len(inGo) != len(inC) {
			t.Errorf("%s: %d fields of %d bytes, in C %d of %d", name, len(inGo), m[0].Size(), len(inC), m[1].Size())
			continue
		}
		for i, g := range inGo {
			c := inC[i]
			if plain(g.Name) != plain(c.Name) || g.Offset != c.Offset || g.Type.Kind() != c.Type.Kind() {
				t.Errorf("%s: field %d is %s %v at %d, in C %s %v at %d", name, i, g.Name, g.Type.Kind(), g.Offset,
					c.Name, c.Type.Kind(), c.Offset)
			}
		}
	}
	for _, op := range Ops() {
		if _, ok := mirrors[op.String()]; !ok {
			t.Errorf("%v is not named in Go", op)
		}
	}
}

func TestLevels(t *testing.T) {
	levels := Levels()
	if len(levels) == 0 || levels[0] != Portable {
		t.Fatalf("levels %v do not begin with %v", levels, Portable)
	}
	if got, want := CurrentLevel(), levels[len(levels)-1]; got != want {
		t.Errorf("level in use is %v, want the best, %v", got, want)
	}
	if err := SetLevel(99); err == nil {
		t.Error("level 99 was accepted")
	}
}

func TestCheckRefuses(t *testing.T) {
	for _, c := range []Call{{Op: 0}, {Op: -1}, {Op: Op(len(Ops()) + 1)}, {Op: 1 << 20}, {Op: OpPack.Op, NArgs: 11},
		{Op: OpPack.Op, NArgs: -1}} {
		if err := Check(&c); err == nil {
			t.Errorf("operation %d with %d arguments was accepted", c.Op, c.NArgs)
		}
	}
}
