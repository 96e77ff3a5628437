package quant

import (
	"bytes"
	"context"
	"errors"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/ggtune/ggtune/engine/gguf"
)

// large writes a model of one matrix, large enough for Rounding to look at some of its rows only, with rows of
// different sizes.
func large(t *testing.T) *gguf.File {
	t.Helper()
	const row, rows = 256, 2000
	x := make([]float32, row*rows)
	for i := range x {
		x[i] = float32(math.Sin(float64(i*i))) * float32(1+i/row%7)
	}
	var w gguf.Writer
	w.SetString("general.architecture", "llama")
	if err := w.AddFloats("blk.0.ffn_up.weight", []int64{row, rows}, x); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "model.gguf")
	if err := w.WriteFile(context.Background(), nil, path); err != nil {
		t.Fatal(err)
	}
	return open(t, path)
}

// TestRounding: the errors are those that Write makes, weighted, whatever the threads; Tensor has Write's bytes.
func TestRounding(t *testing.T) {
	types := []gguf.Type{gguf.Q3_K, gguf.Q8_0}
	columns := make([]float64, 256)
	for i := range columns {
		columns[i] = 3
	}
	ctx := context.Background()
	f := large(t)
	got, err := Rounding(ctx, f, FileRows(f), 0, types, nil, Weighting{Columns: columns}, 1)
	if err != nil {
		t.Fatal(err)
	}
	again, err := Rounding(ctx, f, FileRows(f), 0, types, nil, Weighting{Columns: columns}, 5)
	if err != nil || again[0] != got[0] || again[1] != got[1] {
		t.Errorf("5 threads: got %v, %v, want %v", again, err, got)
	}
	for j, to := range types {
		p, err := Keep(f)
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Set(0, to); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(t.TempDir(), "out.gguf")
		r, err := Write(ctx, p, FileRows(f), path, Output{})
		if err != nil {
			t.Fatal(err)
		}
		if want := 3 * r.Total.Error; math.Abs(got[j]/want-1) > 0.03 { // of a quarter of the rows; measured 0.4 %
			t.Errorf("%s: got an error of %g, want %g", to, got[j], want)
		}
		out := open(t, path)
		want, err := out.Data(&out.Tensors[0])
		if err != nil {
			t.Fatal(err)
		}
		data := make([]byte, p.Changes[0].ToBytes)
		if err := Tensor(ctx, f, FileRows(f), 0, to, nil, data, 2); err != nil || !bytes.Equal(data, want) {
			t.Errorf("%s: Tensor gives other bytes than Write (%v)", to, err)
		}
		if err := Tensor(ctx, f, FileRows(f), 0, to, nil, data[1:], 2); err == nil {
			t.Errorf("%s: no error for too little room", to)
		}
	}
}

// TestRoundingOfRows: rows count by their weights, and one that weighs nothing not at all.
func TestRoundingOfRows(t *testing.T) {
	f := large(t)
	sums := make([]float64, 2)
	for k, weights := range [][]float64{make([]float64, 2000), make([]float64, 2000)} {
		for i := range weights {
			if i%7 == 6*k { // the smallest rows, or the largest, which are 7 times as large
				weights[i] = 1
			}
		}
		got, err := Rounding(context.Background(), f, FileRows(f), 0, []gguf.Type{gguf.Q4_K}, nil,
			Weighting{Rows: weights}, 2)
		if err != nil {
			t.Fatal(err)
		}
		sums[k] = got[0]
	}
	if ratio := sums[1] / sums[0]; ratio < 45 || ratio > 53 {
		t.Errorf("rows 7 times as large have errors %g times as large, want 49 times", ratio)
	}
}

func TestRoundingFails(t *testing.T) {
	f := source(t, func(name string, x []float32) { x[7] = 1e20 })
	got, err := Rounding(context.Background(), f, FileRows(f), 0, []gguf.Type{gguf.F16, gguf.BF16}, nil, Weighting{}, 1)
	if err != nil || !(got[0] > 1e100) || !(got[1] < 1e40) {
		t.Errorf("a number beyond f16: got %v, %v, want a cost that no other reaches", got, err)
	}
	f = source(t, func(name string, x []float32) { x[7] = float32(math.NaN()) })
	ctx := context.Background()
	if _, err := Rounding(ctx, f, FileRows(f), 0, []gguf.Type{gguf.F16}, nil, Weighting{}, 1); err == nil {
		t.Error("NaN is rounded")
	}
	ctx, stop := context.WithCancelCause(context.Background())
	stop(errors.New("enough"))
	if _, err := Rounding(ctx, f, FileRows(f), 0, []gguf.Type{gguf.F16}, nil, Weighting{}, 1); err == nil ||
		err.Error() != "enough" {
		t.Errorf("a stop: got %v", err)
	}
}

// TestFileBytes: the size is known before.
func TestFileBytes(t *testing.T) {
	f := source(t, nil)
	p, err := Keep(f)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Set(0, gguf.Q4_0); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "out.gguf")
	if _, err := Write(context.Background(), p, FileRows(f), path, Output{}); err != nil {
		t.Fatal(err)
	}
	if got, err := p.FileBytes(); err != nil || got != sizeOf(t, path) {
		t.Errorf("got %d bytes, %v, want %d", got, err, sizeOf(t, path))
	}
}

func sizeOf(t *testing.T, path string) int64 {
	t.Helper()
	st, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return st.Size()
}
