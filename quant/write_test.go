package quant

import (
	"bytes"
	"context"
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ggtune/ggtune/bindings/ggml"
	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/internal/atomicfile/faultfs"
	"github.com/ggtune/ggtune/quant/mix"
)

// twice are a file's rows, of which one tensor is multiplied by 2.
type twice struct {
	Rows
	tensor int
}

func (r twice) Unchanged(i int) bool { return i != r.tensor }

func (r twice) Read(i int, at int64, dst []float32) error {
	if err := r.Rows.Read(i, at, dst); err != nil {
		return err
	}
	if i == r.tensor {
		for j := range dst {
			dst[j] *= 2
		}
	}
	return nil
}

// Rows that a caller makes are written in the file's own types; what they leave alone is copied.
func TestWriteRows(t *testing.T) {
	src := write(t, source(t, nil), mix.Q80)
	p, err := Keep(src)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "out.gguf")
	metadata := func(w *gguf.Writer) { w.SetString("general.name", "twice") }
	r, err := Write(context.Background(), p, twice{FileRows(src), 0}, path, Output{Metadata: metadata})
	if err != nil {
		t.Fatal(err)
	}
	out := open(t, path)
	for i, name := range []string{"blk.0.attn_q.weight", "blk.0.ffn_down.weight", "output_norm.weight"} {
		factor := map[int]float32{0: 2}[i] + map[int]float32{1: 1, 2: 1}[i]
		x, y := floats(t, src, name), floats(t, out, name)
		for j := range x {
			if y[j] != factor*x[j] { // q8_0 doubles exactly: its scales do
				t.Fatalf("%s[%d]: got %v, want %v times %v", name, j, y[j], factor, x[j])
			}
		}
		if out.Tensors[i].Type != src.Tensors[i].Type {
			t.Errorf("%s: got type %s, want it kept, %s", name, out.Tensors[i].Type, src.Tensors[i].Type)
		}
		if wrote := r.Losses[i].Signal > 0; wrote != (i == 0) {
			t.Errorf("%s: got loss %+v, want one of what was written anew alone", name, r.Losses[i])
		}
	}
	if ft, err := out.Uint32("general.file_type"); err != nil || ft != mix.Q80.FileType {
		t.Errorf("file type: got %d, %v, want it kept", ft, err)
	}
	if name, err := out.String("general.name"); err != nil || name != "twice" {
		t.Errorf("metadata: got %q, %v, want what was set", name, err)
	}
}

// What is copied is looked through as well: the first weight that is no number is named, whatever the threads, and
// nothing is left.
func TestWriteRefusesNotFinite(t *testing.T) {
	const row, rows = 256, 1200 // 5 pieces
	nan := float32(math.NaN())
	for name, tc := range map[string]struct {
		spoiled []int
		want    string
	}{
		"one":     {[]int{row*rows - 1}, "element 307199 is NaN; the file is damaged or the model diverged"},
		"several": {[]int{row*rows - 1, row * 700, row*rows/2 + 5}, "element 153605 is NaN"},
	} {
		t.Run(name, func(t *testing.T) {
			x := make([]float32, row*rows)
			for _, i := range tc.spoiled {
				x[i] = nan
			}
			var w gguf.Writer
			w.SetString("general.architecture", "llama")
			path := filepath.Join(t.TempDir(), "model.gguf")
			if err := errors.Join(w.AddFloats("blk.0.ffn_up.weight", []int64{row, rows}, x),
				w.WriteFile(context.Background(), nil, path)); err != nil {
				t.Fatal(err)
			}
			src := open(t, path)
			p, err := Keep(src)
			if err != nil {
				t.Fatal(err)
			}
			for _, threads := range []int{1, 4} {
				out := filepath.Join(t.TempDir(), "out.gguf")
				_, err := Write(context.Background(), p, FileRows(src), out, Output{Threads: threads})
				if err == nil || !strings.Contains(err.Error(), `tensor "blk.0.ffn_up.weight": `+tc.want) {
					t.Errorf("%d threads: got %v, want %q", threads, err, tc.want)
				}
				if left, _ := os.ReadDir(filepath.Dir(out)); len(left) != 0 {
					t.Errorf("left behind: %v", left)
				}
			}
		})
	}
}

// A matrix converted in pieces by many threads has the bytes of the whole, and its loss is that of what is read back.
func TestWriteInPieces(t *testing.T) {
	const row, rows = 256, 1200 // 5 pieces
	x := make([]float32, row*rows)
	for i := range x {
		x[i] = float32(math.Sin(float64(i * i)))
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
	src := open(t, path)
	p, err := Keep(src)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Set(0, gguf.Q3_K); err != nil {
		t.Fatal(err)
	}
	want, err := ggml.Quantize(ggml.Q3_K, x, row)
	if err != nil {
		t.Fatal(err)
	}
	for _, threads := range []int{1, 3, 16} {
		var done []int64
		path := filepath.Join(t.TempDir(), "out.gguf")
		r, err := Write(context.Background(), p, FileRows(src), path, Output{Threads: threads,
			Progress: func(n, total int64) {
				if total != row*rows {
					t.Errorf("progress: got %d in all, want %d", total, row*rows)
				}
				done = append(done, n)
			}})
		if err != nil {
			t.Fatal(err)
		}
		out := open(t, path)
		got, err := out.Data(&out.Tensors[0])
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%d threads: the bytes differ from those of the whole matrix", threads)
		}
		if len(done) != 5 || done[4] != row*rows {
			t.Errorf("%d threads: progress: got %d, want 5 pieces up to %d", threads, done, row*rows)
		}
		var e, s float64
		for i, y := range floats(t, out, "blk.0.ffn_up.weight") {
			e += (float64(x[i]) - float64(y)) * (float64(x[i]) - float64(y))
			s += float64(x[i]) * float64(x[i])
		}
		if want := math.Sqrt(e / s); math.Abs(r.Total.RMS()/want-1) > 1e-9 || want < 0.05 {
			t.Errorf("%d threads: got a loss of %v, want %v", threads, r.Total.RMS(), want)
		}
	}
}

// Whatever fails, and whenever a write is stopped, nothing is left behind.
func TestWriteFails(t *testing.T) {
	src := source(t, nil)
	p, err := NewPlan(src, Choice{Mix: mix.F16})
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name string
		do   func(path string) error
		want string
	}{
		{"a full disk", func(path string) error {
			_, err := Write(context.Background(), p, FileRows(src), path,
				Output{FS: faultfs.New(nil, 3, faultfs.Fail, errors.New("no space left"))})
			return err
		}, "no space left"},
		{"a stop", func(path string) error {
			ctx, stop := context.WithCancelCause(context.Background())
			_, err := Write(ctx, p, FileRows(src), path, Output{Progress: func(int64, int64) {
				stop(errors.New("enough"))
			}})
			return err
		}, "enough"},
		{"rows that cannot be read", func(path string) error {
			_, err := Write(context.Background(), p, broken{FileRows(src)}, path, Output{})
			return err
		}, "no rows today"},
	} {
		path := filepath.Join(t.TempDir(), "out.gguf")
		if err := tc.do(path); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: got %v, want %q", tc.name, err, tc.want)
		}
		if left, _ := os.ReadDir(filepath.Dir(path)); len(left) != 0 {
			t.Errorf("%s: %d files left behind, want none", tc.name, len(left))
		}
	}
}

type broken struct{ Rows }

func (broken) Read(int, int64, []float32) error { return errors.New("no rows today") }
