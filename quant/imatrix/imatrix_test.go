package imatrix

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ggtune/ggtune/engine/gguf"
)

func example() *Matrix {
	return &Matrix{Datasets: []string{"text.txt"}, Chunks: 3, ChunkSize: 512, Entries: []Entry{
		{Tensor: "blk.0.attn_q.weight", Sums: []float32{3, 6, 0}, Counts: []float32{3}},
		// Of two experts, one was never asked.
		{Tensor: "blk.0.ffn_down_exps.weight", Sums: []float32{8, 2, 0, 0}, Counts: []float32{2, 0}},
	}}
}

func TestRoundTrip(t *testing.T) {
	path := filepath.Join(t.TempDir(), "i.gguf")
	if err := example().WriteFile(context.Background(), nil, path); err != nil {
		t.Fatal(err)
	}
	got, err := Read(path)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(example(), got); d != "" {
		t.Errorf("read back (-want +got):\n%s", d)
	}
	want := map[string][]float32{"blk.0.attn_q.weight": {1, 2, 0}, "blk.0.ffn_down_exps.weight": {4, 1, 1, 1}}
	if d := cmp.Diff(want, got.Weights()); d != "" {
		t.Errorf("weights (-want +got):\n%s", d)
	}
	// What llama.cpp's quantizer looks for.
	f, err := gguf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, key := range []string{"general.type", "imatrix.datasets", "imatrix.chunk_count", "imatrix.chunk_size"} {
		if !f.Has(key) {
			t.Errorf("no key %s", key)
		}
	}
	for i, name := range []string{"blk.0.attn_q.weight.in_sum2", "blk.0.attn_q.weight.counts",
		"blk.0.ffn_down_exps.weight.in_sum2", "blk.0.ffn_down_exps.weight.counts"} {
		if f.Tensors[i].Name != name {
			t.Errorf("tensor %d is %s, want %s", i, f.Tensors[i].Name, name)
		}
	}
}

// old is a file of the older form: values are means times the number of chunks.
func old(tail bool) []byte {
	var b bytes.Buffer
	put := func(v any) { binary.Write(&b, binary.LittleEndian, v) }
	text := func(s string) {
		put(int32(len(s)))
		b.WriteString(s)
	}
	put(int32(2))
	text("blk.0.attn_q.weight")
	put(int32(3))
	put(int32(3))
	put([]float32{3, 6, 0})
	text("blk.0.attn_k.weight")
	put(int32(0))
	put(int32(1))
	put([]float32{5})
	if tail {
		put(int32(3))
		text("calibration.txt")
	}
	return b.Bytes()
}

func readBytes(t testing.TB, b []byte) (*Matrix, error) {
	path := filepath.Join(t.TempDir(), "imatrix.dat")
	if err := os.WriteFile(path, b, 0o666); err != nil {
		t.Fatal(err)
	}
	return Read(path)
}

func TestReadOld(t *testing.T) {
	for _, tail := range []bool{false, true} {
		m, err := readBytes(t, old(tail))
		if err != nil {
			t.Fatal(err)
		}
		want := map[string][]float32{"blk.0.attn_q.weight": {1, 2, 0}, "blk.0.attn_k.weight": {5}}
		if d := cmp.Diff(want, m.Weights()); d != "" {
			t.Errorf("weights (-want +got):\n%s", d)
		}
		if named := len(m.Datasets) == 1 && m.Datasets[0] == "calibration.txt" && m.Chunks == 3; named != tail {
			t.Errorf("got texts %q and %d chunks, want those of the file", m.Datasets, m.Chunks)
		}
	}
	// Cut off anywhere but where the oldest files end, it is refused.
	whole, ends := old(true), len(old(false))
	for n := range whole {
		if _, err := readBytes(t, whole[:n]); (err == nil) != (n == ends) || err != nil && !errors.Is(err, ErrFormat) {
			t.Errorf("%d bytes of %d: got %v", n, len(whole), err)
		}
	}
}

func TestRefused(t *testing.T) {
	change := func(edit func(m *Matrix)) func() error {
		return func() error {
			m := example()
			edit(m)
			path := filepath.Join(t.TempDir(), "i.gguf")
			if err := m.WriteFile(context.Background(), nil, path); err != nil {
				return err
			}
			_, err := Read(path)
			return err
		}
	}
	for name, tc := range map[string]struct {
		do   func() error
		want string
	}{
		"negative": {change(func(m *Matrix) { m.Entries[0].Sums[1] = -1 }), `-1 among the sums and counts for "blk.0`},
		"NaN":      {change(func(m *Matrix) { m.Entries[0].Counts[0] = float32(math.NaN()) }), "NaN among"},
		"empty":    {change(func(m *Matrix) { m.Entries = nil }), "it has no entries"},
		"a model": {func() error {
			var w gguf.Writer
			w.SetString("general.architecture", "llama")
			path := filepath.Join(t.TempDir(), "m.gguf")
			if err := errors.Join(w.AddFloats("output.weight", []int64{1}, []float32{1}),
				w.WriteFile(context.Background(), nil, path)); err != nil {
				return err
			}
			_, err := Read(path)
			return err
		}, `it is a GGUF file of the kind "model"; ggtune imatrix makes one`},
		"text": {func() error { _, err := readBytes(t, []byte("it is a text, and a long one")); return err },
			"it is damaged, or another kind of file"},
		"lies": {func() error {
			b := old(false)
			binary.LittleEndian.PutUint32(b[4:], 1<<30)
			_, err := readBytes(t, b)
			return err
		}, "the name of entry 1 takes 1073741824 bytes of the"},
	} {
		if err := tc.do(); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: got %v, want %q", name, err, tc.want)
		}
	}
}

// Whatever a file holds, it is read or refused.
func FuzzReadOld(f *testing.F) {
	f.Add(old(true))
	f.Add(old(false))
	f.Add([]byte{1, 0, 0, 0, 255, 255, 255, 127, 0, 0, 0, 0, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := readOld(bytes.NewReader(b), int64(len(b)))
		if err == nil {
			err = m.check()
		}
		if err != nil {
			return
		}
		for name, w := range m.Weights() {
			for _, x := range w {
				if !(x >= 0) {
					t.Errorf("%q weighs %v", name, x)
				}
			}
		}
	})
}
