package kernels

import (
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
	got := [5]uintptr{
		unsafe.Offsetof(c.Op), unsafe.Offsetof(c.NArgs), unsafe.Offsetof(c.A), unsafe.Offsetof(c.F), unsafe.Offsetof(c.I),
	}
	if got != off {
		t.Errorf("Call's fields lie at %v, gt_call's at %v", got, off)
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
	for _, c := range []Call{{Op: 0}, {Op: -1}, {Op: 19}, {Op: 1 << 20}, {Op: OpPack, NArgs: 11}, {Op: OpPack, NArgs: -1}} {
		if err := Check(&c); err == nil {
			t.Errorf("operation %d with %d arguments was accepted", c.Op, c.NArgs)
		}
	}
}
