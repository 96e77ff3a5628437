package safetensors

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// raw is a file of a header and so many bytes of data.
func raw(header string, data int) []byte {
	b := binary.LittleEndian.AppendUint64(nil, uint64(len(header)))
	return append(append(b, header...), make([]byte, data)...)
}

func temp(t testing.TB, b []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "a.safetensors")
	if err := os.WriteFile(path, b, 0o666); err != nil {
		t.Fatal(err)
	}
	return path
}

func small(t testing.TB) *Writer {
	t.Helper()
	w := &Writer{Metadata: map[string]string{"format": "pt"}}
	err := errors.Join(w.AddFloats("b", []int64{2, 3}, []float32{1, 2, 3, 4, 5, -6}),
		w.AddFloats("empty", []int64{0, 3}, nil), w.AddFloats("a", nil, []float32{7}))
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func encode(t testing.TB, w *Writer) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := w.Write(context.Background(), &b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestWriteRead(t *testing.T) {
	b := encode(t, small(t))
	want := `{"__metadata__":{"format":"pt"},"b":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},` +
		`"empty":{"dtype":"F32","shape":[0,3],"data_offsets":[24,24]},` +
		`"a":{"dtype":"F32","shape":[],"data_offsets":[24,28]}}`
	if n := binary.LittleEndian.Uint64(b); n%8 != 0 || strings.TrimRight(string(b[8:8+n]), " ") != want {
		t.Errorf("header of %d bytes %q,\nwant %q and spaces to a multiple of 8", n, b[8:8+n], want)
	}
	f, err := Open(temp(t, b))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	got := make([]float32, 2)
	if err := f.ReadFloats(got, f.Tensor("b"), 4); err != nil || got[0] != 5 || got[1] != -6 {
		t.Errorf("elements 4 and 5 of b are %v (%v), want 5 and -6", got, err)
	}
	if err := f.ReadFloats(got, f.Tensor("b"), 5); err == nil {
		t.Error("elements beyond the end were read")
	}
	if text, err := io.ReadAll(f.Reader(f.Tensor("a"))); err != nil || !bytes.Equal(text, b[len(b)-4:]) {
		t.Errorf("a's bytes are %v (%v)", text, err)
	}
	if d := cmp.Diff(map[string]string{"format": "pt"}, f.Metadata); d != "" || f.Tensor("c") != nil {
		t.Errorf("metadata (-want +got):\n%s", d)
	}
}

// TestOpenRefuses: a header that lies is refused by kind, and says where.
func TestOpenRefuses(t *testing.T) {
	entry := func(name, dtype, shape, offsets string) string {
		return fmt.Sprintf(`"%s":{"dtype":"%s","shape":%s,"data_offsets":%s}`, name, dtype, shape, offsets)
	}
	one := entry("a", "F32", "[2]", "[0,8]")
	for name, tt := range map[string]struct {
		file []byte
		kind error
		want string
	}{
		"empty":           {nil, ErrTruncated, "0 bytes"},
		"huge header":     {binary.LittleEndian.AppendUint64(nil, math.MaxUint64), ErrMalformed, "18446744073"},
		"header cut":      {raw("{"+one+"}", 8)[:30], ErrTruncated, "only 22 follow"},
		"no object":       {raw("[1,2]", 0), ErrMalformed, "no JSON object"},
		"no header":       {raw("", 0), ErrMalformed, "0 bytes"},
		"broken JSON":     {raw(`{"a":`, 0), ErrMalformed, `"a"`},
		"not closed":      {raw("{"+one, 8), ErrMalformed, "header"},
		"two objects":     {raw("{"+one+"}{}", 8), ErrMalformed, "more than one"},
		"twice":           {raw("{"+one+","+one+"}", 8), ErrMalformed, `"a" twice`},
		"unknown dtype":   {raw("{"+entry("a", "Q4", "[2]", "[0,8]")+"}", 8), ErrMalformed, `"Q4", unknown; known: B`},
		"no shape":        {raw(`{"a":{"dtype":"F32","data_offsets":[0,4]}}`, 4), ErrMalformed, "lacks"},
		"a shape below 0": {raw("{"+entry("a", "F32", "[-2]", "[0,8]")+"}", 8), ErrMalformed, "[-2]"},
		"a shape too large": {raw("{"+entry("a", "F32", "[4294967296,4294967296]", "[0,8]")+"}", 8), ErrMalformed,
			"overflows"},
		"half a byte":           {raw("{"+entry("a", "F4", "[3]", "[0,1]")+"}", 1), ErrMalformed, "no whole bytes"},
		"no whole number":       {raw("{"+entry("a", "F32", "[2.5]", "[0,8]")+"}", 8), ErrMalformed, "2.5"},
		"shape and length":      {raw("{"+entry("a", "F32", "[3]", "[0,8]")+"}", 8), ErrMalformed, "12 bytes by"},
		"ends before it begins": {raw("{"+entry("a", "F32", "[0]", "[8,4]")+"}", 8), ErrMalformed, "[8 4]"},
		"overlap":               {raw("{"+one+","+entry("b", "F32", "[2]", "[4,12]")+"}", 12), ErrMalformed, "over"},
		"gap":                   {raw("{"+one+","+entry("b", "F32", "[2]", "[12,20]")+"}", 20), ErrMalformed, "gap"},
		"cut":                   {raw("{"+one+"}", 7), ErrTruncated, "8 bytes, and only 7"},
		"bytes behind":          {raw("{"+one+"}", 9), ErrMalformed, "8 bytes, and 9"},
		"metadata":              {raw(`{"__metadata__":{"a":1},`+one+"}", 8), ErrMalformed, "__metadata__"},
	} {
		t.Run(name, func(t *testing.T) {
			path := temp(t, tt.file)
			_, err := Open(path)
			if !errors.Is(err, tt.kind) || !strings.Contains(err.Error(), tt.want) ||
				!strings.Contains(err.Error(), path) {
				t.Errorf("got %v, want %q of kind %v, and the file's name", err, tt.want, tt.kind)
			}
		})
	}
}

// TestFloats: every float type is read exactly, the halves' subnormals and infinities too.
func TestFloats(t *testing.T) {
	for _, tt := range []struct {
		dtype DType
		bytes []byte
		want  []float32
	}{
		{F32, binary.LittleEndian.AppendUint32(nil, math.Float32bits(-1.25)), []float32{-1.25}},
		{F64, binary.LittleEndian.AppendUint64(nil, math.Float64bits(0.1)), []float32{0.1}},
		{BF16, []byte{0x80, 0x3f, 0x01, 0x80}, []float32{1, -0x1p-133}},
		{F16, []byte{0x00, 0x3c, 0x01, 0x80, 0xff, 0x03, 0x00, 0x04, 0xff, 0x7b, 0x00, 0xfc, 0x55, 0x35},
			[]float32{1, -0x1p-24, 1023 * 0x1p-24, 0x1p-14, 65504, float32(math.Inf(-1)), 0x555p-12}},
	} {
		w := &Writer{}
		n := int64(len(tt.want))
		err := w.Add("x", tt.dtype, []int64{n}, func(dst io.Writer) error { _, err := dst.Write(tt.bytes); return err })
		if err != nil {
			t.Fatal(err)
		}
		f, err := Open(temp(t, encode(t, w)))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		got := make([]float32, n)
		if err := f.ReadFloats(got, f.Tensor("x"), 0); err != nil || !cmp.Equal(got, tt.want) {
			t.Errorf("%s: %v (%v), want %v", tt.dtype, got, err, tt.want)
		}
	}
	f, err := Open(temp(t, raw(`{"a":{"dtype":"I32","shape":[1],"data_offsets":[0,4]}}`, 4)))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.ReadFloats(make([]float32, 1), f.Tensor("a"), 0); err == nil || !strings.Contains(err.Error(), "I32") {
		t.Errorf("whole numbers were read: %v", err)
	}
}

func TestWriterRefuses(t *testing.T) {
	w := small(t)
	short := func(dst io.Writer) error { _, err := dst.Write([]byte{1}); return err }
	for name, err := range map[string]error{
		"twice":    w.AddFloats("a", nil, []float32{1}),
		"metadata": w.AddFloats("__metadata__", nil, []float32{1}),
		"dtype":    w.Add("c", "Q4", nil, short),
		"shape":    w.Add("c", F32, []int64{-1}, short),
		"too much": w.Add("c", F32, []int64{math.MaxInt64 / 4}, short),
	} {
		if err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if err := w.Add("c", F32, nil, short); err != nil {
		t.Fatal(err)
	}
	if err := w.Write(context.Background(), io.Discard); err == nil || !strings.Contains(err.Error(), "wrote 1 bytes") {
		t.Errorf("a source that wrote too little: %v", err)
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	why := errors.New("stopped")
	cancel(why)
	if err := small(t).Write(ctx, io.Discard); !errors.Is(err, why) {
		t.Errorf("got %v, want the cause", err)
	}
}

// FuzzOpen: no file panics; what is refused is refused by kind; what is accepted is written and read again to the same.
func FuzzOpen(f *testing.F) {
	good := encode(f, small(f))
	f.Add(good)
	f.Add(good[:len(good)/2])
	f.Add(raw(`{"a":{"dtype":"F16","shape":[2],"data_offsets":[0,4]}}`, 4))
	dir := f.TempDir()
	path, second := filepath.Join(dir, "a"), filepath.Join(dir, "b")
	f.Fuzz(func(t *testing.T, b []byte) {
		if err := os.WriteFile(path, b, 0o666); err != nil {
			t.Fatal(err)
		}
		one, err := Open(path)
		if err != nil {
			if !errors.Is(err, ErrMalformed) && !errors.Is(err, ErrTruncated) {
				t.Fatalf("an error of no kind: %v", err)
			}
			return
		}
		defer one.Close()
		w := &Writer{Metadata: one.Metadata}
		for i := range one.Tensors {
			ti := &one.Tensors[i]
			err := w.Add(ti.Name, ti.DType, ti.Shape, func(dst io.Writer) error {
				_, err := io.Copy(dst, one.Reader(ti))
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			if ti.DType.IsFloat() && ti.Elements() > 0 {
				if err := one.ReadFloats(make([]float32, 1), ti, ti.Elements()-1); err != nil {
					t.Fatal(err)
				}
			}
		}
		again := encode(t, w)
		if err := os.WriteFile(second, again, 0o666); err != nil {
			t.Fatal(err)
		}
		two, err := Open(second)
		if err != nil {
			t.Fatalf("what was written is refused: %v", err)
		}
		defer two.Close()
		w2 := &Writer{Metadata: two.Metadata}
		for i := range two.Tensors {
			ti := &two.Tensors[i]
			if err := w2.Add(ti.Name, ti.DType, ti.Shape, func(dst io.Writer) error {
				_, err := io.Copy(dst, two.Reader(ti))
				return err
			}); err != nil {
				t.Fatal(err)
			}
		}
		if !bytes.Equal(again, encode(t, w2)) {
			t.Fatal("written twice, it differs")
		}
	})
}
