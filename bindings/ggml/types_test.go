package ggml

import (
	"errors"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"unsafe"

	"github.com/ggtune/ggtune/bindings"
	"github.com/ggtune/ggtune/engine/gguf"
)

// The GGUF package has a table of its own, so as to need no C: the two must agree on every type.
func TestTypesEqualGGUF(t *testing.T) {
	for i := range typeCount {
		g, b := gguf.Type(i), Type(i)
		if !b.Known() {
			if g.Known() {
				t.Errorf("type %d: gguf knows it as %v, ggml does not", i, g)
			}
			continue
		}
		if !g.Known() {
			continue // the table need not hold types that no file stores
		}
		// What ggml cannot turn into numbers it has no product for either.
		if g.Multiplies() != b.Dequantizes() {
			t.Errorf("type %v: gguf says that it multiplies: %v; ggml that it turns into numbers: %v", g,
				g.Multiplies(), b.Dequantizes())
		}
		if int64(g.BlockSize()) != b.BlockSize() || int64(g.BlockBytes()) != b.TypeSize() ||
			!strings.EqualFold(g.String(), b.String()) {
			t.Errorf("type %d: gguf has %v %d/%d, ggml %v %d/%d", i, g, g.BlockSize(), g.BlockBytes(), b, b.BlockSize(),
				b.TypeSize())
		}
	}
	for _, g := range gguf.Types() {
		if !Type(g).Known() {
			t.Errorf("gguf's type %v (%d) is none of ggml's", g, g)
		}
	}
}

var slowType = map[string]bool{"iq1_m": true, "iq2_s": true}

// Quantize then Dequantize returns the numbers to within what the type's bits allow: 2^-bits of a block's range, where
// the loose factors are for types that choose from a table.
func TestQuantizeRoundTrip(t *testing.T) {
	worst := map[string]float64{ // relative root mean square error, measured and rounded up
		"f32": 0, "f16": 3e-4, "bf16": 2e-3, "q8_0": 6e-3, "q6_K": 0.02, "q5_K": 0.04, "q5_1": 0.04, "q5_0": 0.05,
		"q4_K": 0.09,
		"q4_1": 0.09, "q4_0": 0.1, "iq4_nl": 0.1, "iq4_xs": 0.1, "mxfp4": 0.15, "q3_K": 0.2, "iq3_s": 0.25,
		"iq3_xxs": 0.3, "q2_K": 0.35,
		"iq2_s": 0.4, "tq1_0": 0.9, "tq2_0": 0.9, "iq1_m": 0.6,
	}
	const n, rows = 512, 3
	r := rand.New(rand.NewPCG(1, 2))
	src := make([]float32, n*rows)
	for i := range src {
		src[i] = float32(r.NormFloat64())
	}
	for _, typ := range Types() {
		if !typ.Quantizes() || typ.NeedsImportance() {
			continue
		}
		t.Run(typ.String(), func(t *testing.T) {
			if slowType[typ.String()] && !slowTests {
				t.Skip("ggml takes seconds to make this type's search table; run with -tags slow")
			}
			q, err := Quantize(typ, src, n)
			if err != nil {
				t.Fatal(err)
			}
			got, err := Dequantize(typ, q, n*rows)
			if err != nil {
				t.Fatal(err)
			}
			var num, den float64
			for i := range src {
				d := float64(got[i] - src[i])
				num, den = num+d*d, den+float64(src[i])*float64(src[i])
			}
			limit, ok := worst[typ.String()]
			if e := math.Sqrt(num / den); !ok || !(e <= limit) {
				t.Errorf("relative error %.4f, want at most %v", e, limit)
			}
		})
	}
}

func TestTypeRefusals(t *testing.T) {
	row := make([]float32, 256)
	bad := append([]float32(nil), row...)
	bad[200] = float32(math.NaN())
	for name, f := range map[string]func() error{
		"unknown type":          func() error { _, err := Quantize(99, row, 256); return err },
		"negative type":         func() error { _, err := Dequantize(-1, nil, 0); return err },
		"type of the past":      func() error { _, err := Dequantize(4, nil, 0); return err },
		"importance matrix":     func() error { _, err := Quantize(16, row, 256); return err },
		"importance too short":  func() error { return QuantizeTo(Q4_K, make([]byte, 144), row, 256, row[:255]) },
		"importance not finite": func() error { return QuantizeTo(Q4_K, make([]byte, 144), row, 256, bad) },
		"room too small":        func() error { return QuantizeTo(Q4_K, make([]byte, 143), row, 256, nil) },
		"integers":              func() error { _, err := Quantize(I32, row, 256); return err },
		"dequantize integers":   func() error { _, err := Dequantize(I32, make([]byte, 1024), 256); return err },
		"no whole block":        func() error { _, err := Quantize(Q4_K, row[:128], 128); return err },
		"no whole row":          func() error { _, err := Quantize(Q8_0, row, 96); return err },
		"row of nothing":        func() error { _, err := Quantize(Q8_0, row, 0); return err },
		"not a number":          func() error { _, err := Quantize(Q8_0, bad, 256); return err },
		"bytes too few":         func() error { _, err := Dequantize(Q8_0, make([]byte, 33), 32); return err },
		"elements negative":     func() error { _, err := Dequantize(F32, nil, -1); return err },
		"elements beyond sane":  func() error { _, err := F32.RowSize(math.MaxInt64); return err },
	} {
		if err := f(); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	for _, typ := range []Type{F32, Q8_0} {
		if q, err := Quantize(typ, nil, 256); err != nil || len(q) != 0 {
			t.Errorf("no rows of %v: got %d bytes, %v", typ, len(q), err)
		}
		if f, err := Dequantize(typ, nil, 0); err != nil || len(f) != 0 {
			t.Errorf("no elements of %v: got %d, %v", typ, len(f), err)
		}
	}
}

func TestArena(t *testing.T) {
	a := NewArena()
	b, err := a.Bytes(1000)
	if err != nil {
		t.Fatal(err)
	}
	f, err := a.Float32s(17)
	if err != nil {
		t.Fatal(err)
	}
	for i := range b {
		if b[i] != 0 {
			t.Fatalf("byte %d of a new block is %d", i, b[i])
		}
		b[i] = 255
	}
	f[16] = 1
	for _, p := range []uintptr{uintptr(unsafe.Pointer(&b[0])), uintptr(unsafe.Pointer(&f[0]))} {
		if p%Alignment != 0 {
			t.Errorf("a block at %#x, want a multiple of %d", p, Alignment)
		}
	}
	if a.InUse() != 1068 || a.Peak() != 1068 {
		t.Errorf("got %d bytes in use and %d at most, want 1068", a.InUse(), a.Peak())
	}
	a.Free(unsafe.Pointer(&b[0]))
	a.Free(nil)
	if a.InUse() != 68 || a.Peak() != 1068 {
		t.Errorf("after Free: got %d bytes in use and %d at most, want 68 and 1068", a.InUse(), a.Peak())
	}
	func() {
		defer func() {
			if recover() == nil {
				t.Error("freeing what is no block did not panic")
			}
		}()
		a.Free(unsafe.Pointer(&f[1]))
	}()
	big, err := a.Bytes(3<<20 + 5) // a mapping of its own
	if err != nil {
		t.Fatal(err)
	}
	if big[0] != 0 || big[len(big)-1] != 0 || uintptr(unsafe.Pointer(&big[0]))%Alignment != 0 {
		t.Error("a large block is not zeroed and aligned")
	}
	big[len(big)-1] = 1
	a.Free(unsafe.Pointer(&big[0]))
	if a.InUse() != 68 || a.Peak() != 68+3<<20+5 {
		t.Errorf("after a large block: got %d bytes in use and %d at most, want 68 and %d", a.InUse(), a.Peak(),
			68+3<<20+5)
	}
	if e, err := a.Bytes(0); err != nil || e == nil || len(e) != 0 {
		t.Errorf("no bytes: got %v, %v", e, err)
	}
	for _, n := range []int64{-1, math.MaxInt64} {
		if _, err := a.Bytes(n); err == nil {
			t.Errorf("%d bytes were allocated", n)
		}
	}
	if _, err := a.Bytes(1 << 60); !errors.Is(err, bindings.ErrNoMemory) {
		t.Errorf("2^60 bytes: got %v, want ErrNoMemory", err)
	}
	for range 2 {
		if err := a.Close(); err != nil {
			t.Error(err)
		}
	}
	if _, err := a.Int32s(1); !errors.Is(err, bindings.ErrClosed) {
		t.Errorf("after Close: got %v, want ErrClosed", err)
	}
	if a.InUse() != 0 {
		t.Errorf("after Close: %d bytes in use", a.InUse())
	}
}
