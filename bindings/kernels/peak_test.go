package kernels

import (
	"errors"
	"testing"
	"time"
)

// TestPeak holds the loops to what any CPU can do at all: a loop that the compiler had emptied would be far above, one
// that waited for memory or for its own sums far below.
func TestPeak(t *testing.T) {
	const lowest, highest = 0.2e9, 20e12 // operations a second of one thread
	rates := map[Format]float64{}
	for _, f := range Formats() {
		r, err := best(f)
		if f != FormatF32 && errors.Is(err, ErrFormat) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if r < lowest || r > highest {
			t.Errorf("%v: %.3g operations a second, want %.3g to %.3g", f, r, lowest, highest)
		}
		rates[f] = r
	}
	// BF16 need not be faster: Intel's Emerald Rapids does half as many operations in it as in F32 (0.49 to 0.51
	// measured), AMD's Zen 5 nearly twice as many. A loop that waited for its own sums would be at a twelfth.
	if b, ok := rates[FormatBF16]; ok && b < rates[FormatF32]/4 {
		t.Errorf("bf16 runs at %.3g operations a second, f32 at %.3g", b, rates[FormatF32])
	}
	t.Logf("%v", rates)
}

// best is the highest of a few measurements: whatever else the machine does can only make one lower.
func best(f Format) (rate float64, err error) {
	for range 5 {
		r, err := Peak(f, 1, 5*time.Millisecond)
		if err != nil {
			return 0, err
		}
		rate = max(rate, r)
	}
	return rate, nil
}

func TestPeakRefuses(t *testing.T) {
	if _, err := Peak(FormatF32, 0, time.Millisecond); err == nil {
		t.Error("0 threads were accepted")
	}
	if _, err := Peak(Format(99), 1, time.Millisecond); !errors.Is(err, ErrFormat) {
		t.Errorf("format 99: error %v, want %v", err, ErrFormat)
	}
}
