package gguf

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ggtune/ggtune/internal/atomicfile"
	"github.com/ggtune/ggtune/internal/atomicfile/faultfs"
)

// small is a file with every kind of metadata and a few tensors.
func small(t testing.TB) *Writer {
	t.Helper()
	w := &Writer{}
	w.SetString("general.architecture", "llama")
	w.Set("a.u8", NumberValue(uint8(200)))
	w.Set("a.i8", NumberValue(int8(-5)))
	w.Set("a.u16", NumberValue(uint16(60000)))
	w.Set("a.i16", NumberValue(int16(-300)))
	w.SetUint32("a.u32", 4_000_000_000)
	w.Set("a.i32", NumberValue(int32(-7)))
	w.Set("a.u64", NumberValue(uint64(1<<63)))
	w.Set("a.i64", NumberValue(int64(-1<<40)))
	w.SetFloat32("a.f32", 0.5)
	w.Set("a.f64", NumberValue(0.25))
	w.SetBool("a.bool", true)
	w.SetStrings("a.strings", []string{"", "x", "▁the"})
	w.Set("a.floats", NumbersValue([]float32{1, 2, -3}))
	w.Set("a.doubles", NumbersValue([]float64{1, 2.5}))
	w.Set("a.ints", NumbersValue([]int32{-1, 2}))
	w.Set("a.empty", NumbersValue([]uint16{}))
	add := func(name string, typ Type, shape ...int64) {
		size, err := typ.Size(shape)
		if err != nil {
			t.Fatal(err)
		}
		data := make([]byte, size)
		for i := range data {
			data[i] = byte(i*7 + len(name))
		}
		if err := w.AddBytes(name, typ, shape, data); err != nil {
			t.Fatal(err)
		}
	}
	add("token_embd.weight", F32, 3, 5)
	add("scalar", F32)
	add("blk.0.attn_q.weight", Q4_0, 64, 2)
	add("four", I8, 1, 2, 3, 4)
	add("blk.0.ffn_down.weight", Q6_K, 256, 1)
	return w
}

func encode(t testing.TB, w *Writer) []byte {
	t.Helper()
	var b bytes.Buffer
	if _, err := w.Write(context.Background(), &b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func save(t testing.TB, b []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "m.gguf")
	if err := os.WriteFile(path, b, 0o666); err != nil {
		t.Fatal(err)
	}
	return path
}

func open(t testing.TB, b []byte) *File {
	t.Helper()
	f, err := Open(save(t, b))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func TestGetters(t *testing.T) {
	f := open(t, encode(t, small(t)))
	type result struct {
		v   any
		err string // part of the message; empty: none
	}
	call := func(v any, err error) result {
		if err != nil {
			return result{nil, err.Error()}
		}
		return result{v, ""}
	}
	for _, tt := range []struct {
		name      string
		got, want result
	}{
		{"string", call(f.String("general.architecture")), result{"llama", ""}},
		{"architecture", call(f.Architecture()), result{"llama", ""}},
		{"int of u8", call(f.Int("a.u8")), result{int64(200), ""}},
		{"int of i8", call(f.Int("a.i8")), result{int64(-5), ""}},
		{"int of u16", call(f.Int("a.u16")), result{int64(60000), ""}},
		{"int of i16", call(f.Int("a.i16")), result{int64(-300), ""}},
		{"int of u32", call(f.Int("a.u32")), result{int64(4_000_000_000), ""}},
		{"int of i64", call(f.Int("a.i64")), result{int64(-1 << 40), ""}},
		{"int of u64 too large", call(f.Int("a.u64")), result{nil, `"a.u64" is 9223372036854775808, expected at most`}},
		{"uint32 of u16", call(f.Uint32("a.u16")), result{uint32(60000), ""}},
		{"uint32 of negative", call(f.Uint32("a.i32")), result{nil, `"a.i32" is -7, expected 0 to`}},
		{"uint32 of string", call(f.Uint32("general.architecture")), result{nil, "is string, expected an integer"}},
		{"uint32 of array", call(f.Uint32("a.ints")), result{nil, "is array of 2 int32, expected an integer"}},
		{"float32", call(f.Float32("a.f32")), result{float32(0.5), ""}},
		{"float32 of f64", call(f.Float32("a.f64")), result{float32(0.25), ""}},
		{"float32 of int", call(f.Float32("a.u8")), result{nil, "is uint8, expected float32"}},
		{"bool", call(f.Bool("a.bool")), result{true, ""}},
		{"bool of int", call(f.Bool("a.u8")), result{nil, "is uint8, expected bool"}},
		{"strings", call(f.Strings("a.strings")), result{[]string{"", "x", "▁the"}, ""}},
		{"strings of string", call(f.Strings("general.architecture")),
			result{nil, "is string, expected array of string"}},
		{"floats", call(f.Floats("a.floats")), result{[]float32{1, 2, -3}, ""}},
		{"floats of f64", call(f.Floats("a.doubles")), result{[]float32{1, 2.5}, ""}},
		{"floats of ints", call(f.Floats("a.ints")), result{nil, "is array of 2 int32, expected array of float32"}},
		{"ints", call(f.Ints("a.ints")), result{[]int64{-1, 2}, ""}},
		{"ints empty", call(f.Ints("a.empty")), result{[]int64{}, ""}},
		{"missing", call(f.String("no.key")), result{nil, `"no.key": metadata key is missing`}},
		{"default", call(f.Uint32Or("no.key", 7)), result{uint32(7), ""}},
		{"default unused", call(f.Uint32Or("a.u16", 7)), result{uint32(60000), ""}},
		{"default of wrong type", call(f.Float32Or("a.u8", 7)), result{nil, "expected float32"}},
		{"default string", call(f.StringOr("no.key", "d")), result{"d", ""}},
		{"default bool", call(f.BoolOr("no.key", true)), result{true, ""}},
	} {
		if !reflect.DeepEqual(tt.got.v, tt.want.v) || !strings.Contains(tt.got.err, tt.want.err) || tt.want.err == "" &&
			tt.got.err != "" {
			t.Errorf("%s: got %v %q, want %v %q", tt.name, tt.got.v, tt.got.err, tt.want.v, tt.want.err)
		}
	}
	if _, err := f.Bool("no.key"); !errors.Is(err, ErrNoKey) {
		t.Errorf("missing key: got %v, want ErrNoKey", err)
	}
}

func TestValues(t *testing.T) {
	f := open(t, encode(t, small(t)))
	var got []string
	for _, kv := range f.KVs() {
		got = append(got, kv.Key+" "+kv.Value.TypeName()+" "+kv.Value.String())
	}
	want := []string{
		`general.architecture string "llama"`, "a.u8 uint8 200", "a.i8 int8 -5", "a.u16 uint16 60000",
		"a.i16 int16 -300",
		"a.u32 uint32 4000000000", "a.i32 int32 -7", "a.u64 uint64 9223372036854775808", "a.i64 int64 -1099511627776",
		"a.f32 float32 0.5", "a.f64 float64 0.25", "a.bool bool true",
		`a.strings array of 3 string ["", "x", "▁the"] (3 string)`,
		"a.floats array of 3 float32 [1, 2, -3] (3 float32)",
		"a.doubles array of 2 float64 [1, 2.5] (2 float64)", "a.ints array of 2 int32 [-1, 2] (2 int32)",
		"a.empty array of 0 uint16 [] (0 uint16)",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("metadata (-want +got):\n%s", d)
	}
	long := NumbersValue([]uint8{1, 2, 3, 4, 5})
	if got, want := long.String(), "[1, 2, 3, 4, …] (5 uint8)"; got != want {
		t.Errorf("long array: got %s, want %s", got, want)
	}
	if got := StringValue(strings.Repeat("é", 100)).String(); len([]rune(got)) != 63 {
		t.Errorf("long string: got %s", got)
	}
}

func TestTensors(t *testing.T) {
	b := encode(t, small(t))
	f := open(t, b)
	for i := range f.Tensors {
		info := &f.Tensors[i]
		data, err := f.Data(info)
		if err != nil {
			t.Fatal(err)
		}
		if info.Offset%32 != 0 || int64(len(data)) != info.Size || data[0] != byte(len(info.Name)) {
			t.Errorf("%s: offset %d, %d bytes, first %d", info.Name, info.Offset, len(data), data[0])
		}
	}
	if q, err := f.Tensor("blk.0.attn_q.weight"); err != nil || q.Type != Q4_0 || q.Elements() != 128 || q.Size != 72 {
		t.Errorf("attn_q: got %+v, %v", q, err)
	}
	if _, err := f.Tensor("blk.0.attn_k.weight"); !errors.Is(err, ErrNoTensor) ||
		!strings.Contains(err.Error(), `nearest: "blk.0.attn_q.weight"`) {
		t.Errorf("missing tensor: got %v", err)
	}
	if f.HasTensor("x") || !f.HasTensor("four") {
		t.Error("HasTensor")
	}
	if _, err := f.Data(&TensorInfo{Name: "x", Offset: int64(len(b)) - 1, Size: 2}); err == nil {
		t.Error("a tensor beyond the file was given out")
	}
	if _, err := f.Data(&TensorInfo{Name: "x", Part: 1}); err == nil {
		t.Error("a tensor of a part that is not there was given out")
	}
	if f.IsAdapter() || f.IsVocabOnly() || f.HasTokenizer() || f.Bytes() != int64(len(b)) {
		t.Errorf("adapter %v, vocabulary %v, tokenizer %v, %d bytes", f.IsAdapter(), f.IsVocabOnly(), f.HasTokenizer(),
			f.Bytes())
	}
}

func TestKinds(t *testing.T) {
	w := &Writer{}
	w.SetString("general.type", "adapter")
	w.SetString("tokenizer.ggml.model", "llama")
	w.SetStrings("tokenizer.ggml.tokens", []string{"a"})
	if f := open(t, encode(t, w)); !f.IsAdapter() || !f.IsVocabOnly() || !f.HasTokenizer() {
		t.Errorf("adapter %v, vocabulary %v, tokenizer %v; want all true", f.IsAdapter(), f.IsVocabOnly(),
			f.HasTokenizer())
	}
}

func TestClose(t *testing.T) {
	f := open(t, encode(t, small(t)))
	info := f.Tensors[0]
	for range 2 {
		if err := f.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	}
	if _, err := f.Data(&info); !errors.Is(err, ErrClosed) {
		t.Errorf("Data after Close: got %v, want ErrClosed", err)
	}
	if _, err := f.SHA256(context.Background()); !errors.Is(err, ErrClosed) {
		t.Errorf("SHA256 after Close: got %v, want ErrClosed", err)
	}
	if s, err := f.String("general.architecture"); s != "llama" || err != nil {
		t.Errorf("metadata after Close: got %q, %v", s, err)
	}
	var none *File
	if err := none.Close(); err != nil {
		t.Errorf("Close of nil: %v", err)
	}
}

func TestSHA256(t *testing.T) {
	f := open(t, encode(t, small(t)))
	ctx, cancel := context.WithCancelCause(context.Background())
	stop := errors.New("stop")
	cancel(stop)
	if _, err := f.SHA256(ctx); err != stop {
		t.Errorf("cancelled: got %v, want the cause", err)
	}
}

// randomWriter makes a random but valid file.
func randomWriter(rng *rand.Rand) *Writer {
	w := &Writer{}
	str := func(n int) string {
		b := make([]byte, rng.IntN(n))
		for i := range b {
			b[i] = byte(rng.Uint32())
		}
		return string(b)
	}
	for i := range rng.IntN(12) {
		key := string(rune('a'+i)) + str(20)
		switch rng.IntN(6) {
		case 0:
			w.SetString(key, str(50))
		case 1:
			w.SetUint32(key, rng.Uint32())
		case 2:
			w.SetStrings(key, []string{str(9), str(9), str(9)}[:rng.IntN(4)])
		case 3:
			w.Set(key, NumbersValue([]int64{rng.Int64(), -rng.Int64()}))
		case 4:
			w.SetBool(key, rng.IntN(2) == 0)
		case 5:
			w.SetUint32(keyAlignment, 32<<rng.IntN(4))
		}
	}
	types := Types()
	for i := range rng.IntN(8) {
		typ := types[rng.IntN(len(types))]
		shape := make([]int64, rng.IntN(5))
		for j := range shape {
			shape[j] = 1 + rng.Int64N(4)
		}
		if len(shape) == 0 && typ.BlockSize() > 1 {
			shape = []int64{1}
		}
		if len(shape) > 0 {
			shape[0] *= int64(typ.BlockSize())
		}
		size, err := typ.Size(shape)
		if err != nil {
			panic(err)
		}
		data := make([]byte, size)
		for j := range data {
			data[j] = byte(rng.Uint32())
		}
		if err := w.AddReader(strings.Repeat("t", i+1), typ, shape, bytes.NewReader(data)); err != nil {
			panic(err)
		}
	}
	return w
}

// rewrite copies a file through a Writer.
func rewrite(t testing.TB, f *File) []byte {
	t.Helper()
	w := &Writer{}
	w.CopyMetadata(f)
	for i := range f.Tensors {
		if err := w.AddFrom(f, &f.Tensors[i]); err != nil {
			t.Fatal(err)
		}
	}
	return encode(t, w)
}

// Write, read, write again: the bytes are the same, and so is what was read.
func TestWriteReadIdentity(t *testing.T) {
	for seed := range uint64(200) {
		first := encode(t, randomWriter(rand.New(rand.NewPCG(seed, 1))))
		if again := encode(t, randomWriter(rand.New(rand.NewPCG(seed, 1)))); !bytes.Equal(first, again) {
			t.Fatalf("seed %d: equal contents gave different bytes", seed)
		}
		f := open(t, first)
		if second := rewrite(t, f); !bytes.Equal(first, second) {
			t.Fatalf("seed %d: %d bytes were written again as %d different ones", seed, len(first), len(second))
		}
		f.Close()
	}
}

func TestWriterOrder(t *testing.T) {
	w := &Writer{}
	w.SetUint32("a", 1)
	w.SetUint32("b", 2)
	w.SetUint32("c", 3)
	w.SetUint32("a", 4)
	w.Delete("b")
	w.Delete("none")
	w.SetUint32("c", 5)
	w.SetUint32("b", 6)
	var got []string
	for _, kv := range open(t, encode(t, w)).KVs() {
		got = append(got, kv.Key+kv.Value.String())
	}
	if d := cmp.Diff([]string{"a4", "c5", "b6"}, got); d != "" {
		t.Errorf("metadata (-want +got):\n%s", d)
	}
	if err := w.AddFloats("f", []int64{3}, []float32{1, 2, 3}); err != nil {
		t.Fatal(err)
	}
	infos, err := w.Tensors()
	if err != nil {
		t.Fatal(err)
	}
	f := open(t, encode(t, w))
	if d := cmp.Diff(f.Tensors, infos); d != "" {
		t.Errorf("announced tensors (-read +announced):\n%s", d)
	}
	data, err := f.Data(&f.Tensors[0])
	if err != nil {
		t.Fatal(err)
	}
	want, _ := binary.Append(nil, binary.LittleEndian, []float32{1, 2, 3})
	if !bytes.Equal(data, want) {
		t.Errorf("floats: got %x, want %x", data, want)
	}
}

func TestWriterRefusals(t *testing.T) {
	none := func(io.Writer) error { return nil }
	w := &Writer{}
	if err := w.Add("taken", F32, []int64{1}, none); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, want string
		err        error
	}{
		{"empty name", "0 bytes", w.Add("", F32, []int64{1}, none)},
		{"long name", "64 bytes", w.Add(strings.Repeat("x", 64), F32, []int64{1}, none)},
		{"taken name", "already added", w.Add("taken", F32, []int64{1}, none)},
		{"unknown type", "storage type 77, unknown", w.Add("x", Type(77), []int64{1}, none)},
		{"five dimensions", "5 dimensions", w.Add("x", F32, []int64{1, 1, 1, 1, 1}, none)},
		{"zero dimension", "must be positive", w.Add("x", F32, []int64{0}, none)},
		{"broken row", "multiple of 32", w.Add("x", Q8_0, []int64{33}, none)},
	} {
		if tt.err == nil || !strings.Contains(tt.err.Error(), tt.want) {
			t.Errorf("%s: got %v, want %q", tt.name, tt.err, tt.want)
		}
	}
	if _, err := w.Write(context.Background(), io.Discard); err == nil ||
		!strings.Contains(err.Error(), "wrote 0 bytes, expected 4") {
		t.Errorf("short source: got %v", err)
	}
	for key, v := range map[string]Value{"": BoolValue(true), "zero": {}, keyAlignment: NumberValue(uint32(33))} {
		w := &Writer{}
		w.Set(key, v)
		if _, err := w.Write(context.Background(), io.Discard); err == nil {
			t.Errorf("metadata %q: %v was written", key, v)
		}
	}
}

// A cancelled or failing write leaves nothing, and the old file as it was.
func TestWriteFileFaults(t *testing.T) {
	w := small(t)
	want := encode(t, w)
	for at := 1; ; at++ {
		path := save(t, []byte("old"))
		ffs := faultfs.New(nil, at, faultfs.Kill, nil)
		err := w.WriteFile(context.Background(), ffs, path)
		got, rerr := os.ReadFile(path)
		if rerr != nil || err == nil && !bytes.Equal(got, want) || !bytes.Equal(got, want) && string(got) != "old" {
			t.Fatalf("operation %d: error %v, then the file has %d bytes, %v", at, err, len(got), rerr)
		}
		if !ffs.Hit() {
			if err != nil {
				t.Fatal(err)
			}
			break
		}
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	stop := errors.New("stop")
	cancel(stop)
	path := filepath.Join(t.TempDir(), "x.gguf")
	if err := w.WriteFile(ctx, nil, path); !errors.Is(err, stop) {
		t.Errorf("cancelled: got %v, want the cause", err)
	}
	if entries, _ := os.ReadDir(filepath.Dir(path)); len(entries) > 0 {
		t.Errorf("cancelled: %v left", entries)
	}
}

func TestCheckModel(t *testing.T) {
	for name, tt := range map[string]struct {
		kind    string
		tensors bool
		want    string // empty: a model
	}{
		"a model":      {"model", true, ""},
		"no type":      {"", true, ""},
		"an adapter":   {"adapter", true, "an adapter, not a model"},
		"a vocabulary": {"model", false, "a vocabulary but no tensors"},
	} {
		t.Run(name, func(t *testing.T) {
			var w Writer
			if tt.kind != "" {
				w.SetString("general.type", tt.kind)
			}
			if tt.tensors {
				if err := w.AddFloats("x", []int64{1}, []float32{1}); err != nil {
					t.Fatal(err)
				}
			}
			path := filepath.Join(t.TempDir(), "x.gguf")
			if err := w.WriteFile(context.Background(), atomicfile.OS, path); err != nil {
				t.Fatal(err)
			}
			f, err := Open(path)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			err = f.CheckModel()
			if tt.want == "" {
				if err != nil {
					t.Errorf("refused: %v", err)
				}
			} else if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), path) {
				t.Errorf("got %v, want an error about %s that says %q", err, path, tt.want)
			}
		})
	}
}
