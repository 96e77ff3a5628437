package kernels

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"unsafe"
)

// TestMaster: of BF16 parameters an operation writes what it writes of F32 ones, rounded by the draws of the reference,
// whatever the level and the threads, and says which rows are no longer finite.
func TestMaster(t *testing.T) {
	atEveryLevel(t, func(t *testing.T) {
		for name, call := range masterCalls() {
			for _, s := range [][2]int{{1, 1}, {200, 3}, {256, 2}} {
				for _, threads := range []int{1, 3} {
					checkMaster(t, fmt.Sprint(name, " ", s), s[0], s[1], threads, call)
				}
			}
		}
	})
}

// masterCalls make a call of each operation that takes parameters, of x, its key and its verdicts, n numbers a row.
func masterCalls() map[string]func(n, rows int, x, key, bad Arg) Call {
	r := func() *rand.Rand { return rand.New(rand.NewPCG(51, 52)) }
	m := func(n, rows int, k uint64) Arg {
		x := randomMatrix(rand.New(rand.NewPCG(k, 53)), n, rows)
		for i := range x.v {
			x.v[i] = abs32(x.v[i]) + 0.1
		}
		return x.arg()
	}
	sums := func(rows int) Arg {
		v := slices.Repeat([]float64{3}, rows)
		return Matrix(unsafe.Pointer(&v[0]), F64, 1, int64(rows), 8)
	}
	return map[string]func(n, rows int, x, key, bad Arg) Call{
		"adamw": func(n, rows int, x, key, bad Arg) Call {
			f := AdamWConstants{Scale: 0.7, Beta1: 0.9, Beta2: 0.99, Keep: 0.999, Rate: 1e-3, Correct2: 0.3, Eps: 1e-8}
			return OpAdamW.Call(None{}, x, m(n, rows, 1), m(n, rows, 2), randomMatrix(r(), n, rows).arg(),
				Constants(&f), key, bad)
		},
		"adamw8": func(n, rows int, x, key, bad Arg) Call {
			f := AdamWConstants{Scale: 0.7, Beta1: 0.9, Beta2: 0.99, Keep: 0.999, Rate: 1e-3, Correct2: 0.3, Eps: 1e-8}
			words, tables := (n+3)/4, newMatrix(256, 2)
			for i := range 256 {
				tables.row(0)[i], tables.row(1)[i] = float32(i-128)/128, float32(i)/255
			}
			codes := func() Arg {
				c := make([]int32, words*rows)
				return Matrix(unsafe.Pointer(&c[0]), I32, int64(words), int64(rows), 4*int64(words))
			}
			return OpAdamW8.Call(None{}, x, codes(), codes(), m(1, rows, 1), m(1, rows, 2),
				randomMatrix(r(), n, rows).arg(), Constants(&f), tables.arg(), key, bad)
		},
		"lion": func(n, rows int, x, key, bad Arg) Call {
			f := LionConstants{Scale: 0.7, Beta1: 0.9, Beta2: 0.99, Keep: 0.999, Rate: 1e-3}
			return OpLion.Call(None{}, x, m(n, rows, 1), randomMatrix(r(), n, rows).arg(), Constants(&f), key, bad)
		},
		"adafactor": func(n, rows int, x, key, bad Arg) Call {
			f := AdafactorConstants{Scale: 0.7, Decay: 0.4, Eps: 1e-3, Keep: 0.999, Rate: 1e-3, Clip: 1}
			return OpAdafactor.Call(None{}, x, m(1, rows, 1), m(n, 1, 2), randomMatrix(r(), n, rows).arg(), sums(rows),
				Constants(&f), key, bad)
		},
		"muon": func(n, rows int, x, key, bad Arg) Call {
			f := MuonConstants{Scale: 0.7, Momentum: 0.9, Keep: 0.999, Rate: 1e-3}
			return OpMuon.Call(None{}, x, randomMatrix(r(), n, rows).arg(), Constants(&f), key, bad)
		},
	}
}

func checkMaster(t *testing.T, what string, n, rows, threads int, of func(n, rows int, x, key, bad Arg) Call) {
	t.Helper()
	const guard16, more = 0x7fc5, 2
	wide, bad, half := randomMatrix(rand.New(rand.NewPCG(54, 55)), n, rows), newMatrix(1, rows),
		slices.Repeat([]uint16{guard16}, rows*(n+more))
	for row := range rows {
		for i, x := range wide.row(row) {
			b := uint16(math.Float32bits(x) >> 16)
			half[row*(n+more)+i], wide.row(row)[i] = b, math.Float32frombits(uint32(b)<<16)
		}
	}
	spoil := rows > 1 // the last number is one that is none
	if spoil {
		half[(rows-1)*(n+more)+n-1] = 0x7f80
		wide.row(rows - 1)[n-1] = float32(math.Inf(1))
	}
	key := [2]int64{-7, 1 << 33}
	call := of(n, rows, wide.arg(), Arg{}, bad.arg())
	if err := runCall(&call, threads); err != nil {
		t.Fatal(what, err)
	}
	call = of(n, rows, Matrix(unsafe.Pointer(&half[0]), BF16, int64(n), int64(rows), 2*int64(n+more)),
		Matrix(unsafe.Pointer(&key[0]), I64, 2, 1, 16), bad.arg())
	if err := runCall(&call, threads); err != nil {
		t.Fatal(what, err)
	}
	for row := range rows {
		for i, x := range wide.row(row) {
			want := math.Float32bits(x)
			if x-x == 0 {
				want += drawn(key[0], 0, uint64(key[1])+uint64(row*n+i)) >> 16
			}
			if got := half[row*(n+more)+i]; got != uint16(want>>16) && x == x {
				t.Fatalf("%s: number %d of row %d is %#x, want %#x of %v", what, i, row, got, uint16(want>>16), x)
			}
		}
		if row < rows && (half[row*(n+more)+n] != guard16 || half[row*(n+more)+n+1] != guard16) {
			t.Fatalf("%s: what lies behind row %d was overwritten", what, row)
		}
		if b := bad.row(row)[0]; (b != b) != (spoil && row == rows-1) {
			t.Errorf("%s: row %d's verdict is %v", what, row, b)
		}
	}
}

// TestMasterRefuses: BF16 parameters without a key, F32 ones with one.
func TestMasterRefuses(t *testing.T) {
	x, half, key, bad := newMatrix(4, 1), make([]uint16, 4), make([]int64, 2), newMatrix(1, 1)
	keyed, bf16 := Matrix(unsafe.Pointer(&key[0]), I64, 2, 1, 16), Matrix(unsafe.Pointer(&half[0]), BF16, 4, 1, 8)
	for name, of := range masterCalls() {
		for _, call := range []Call{of(4, 1, bf16, Arg{}, bad.arg()), of(4, 1, x.arg(), keyed, bad.arg())} {
			if err := Run(&call, 1); err == nil {
				t.Errorf("%s: a key beside F32, or none beside BF16, is taken", name)
			}
		}
	}
}
