package gguf

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// raw builds files that the Writer would not.
type raw struct{ bytes.Buffer }

func (r *raw) u32(x uint32) *raw { binary.Write(r, binary.LittleEndian, x); return r }
func (r *raw) u64(x uint64) *raw { binary.Write(r, binary.LittleEndian, x); return r }
func (r *raw) str(s string) *raw { r.u64(uint64(len(s))).WriteString(s); return r }
func (r *raw) pad(n int) []byte  { r.Write(make([]byte, n)); return r.Bytes() }

func head(version uint32, tensors, kvs uint64) *raw {
	r := &raw{}
	r.WriteString("GGUF")
	return r.u32(version).u64(tensors).u64(kvs)
}

// tensor appends a tensor's description.
func (r *raw) tensor(name string, typ Type, off uint64, dims ...uint64) *raw {
	r.str(name).u32(uint32(len(dims)))
	for _, d := range dims {
		r.u64(d)
	}
	return r.u32(uint32(typ)).u64(off)
}

// Every way a file can be wrong gets its own words, and no panic.
func TestMalformed(t *testing.T) {
	good := encode(t, small(t))
	kv := func(key string) *raw { return head(3, 0, 1).str(key) }
	for _, tt := range []struct {
		name string
		b    []byte
		is   error
		want string
	}{
		{"empty", nil, ErrNotGGUF, "it is empty"},
		{"zip", []byte("PK\x03\x04 and so on"), ErrNotGGUF, "PyTorch"},
		{"pickle", []byte("\x80\x02}q\x00"), ErrNotGGUF, "PyTorch"},
		{"safetensors", append([]byte{40, 0, 0, 0, 0, 0, 0, 0}, `{"__metadata__":{}}`...), ErrNotGGUF, "safetensors"},
		{"web page", []byte("\n<!DOCTYPE html><html>"), ErrNotGGUF, "web page"},
		{"git-lfs", []byte("version https://git-lfs.github.com/spec/v1\noid sha256:"), ErrNotGGUF, "git lfs pull"},
		{"gzip", []byte("\x1f\x8b\x08"), ErrNotGGUF, "unpack"},
		{"JSON", []byte(`{"messages": []}`), ErrNotGGUF, "JSON"},
		{"zeros", make([]byte, 100), ErrNotGGUF, "interrupted download"},
		{"ggjt", []byte("tjgg\x03\x00\x00\x00"), ErrNotGGUF, "ggjt"},
		{"other", []byte("hello, this is text"), ErrNotGGUF, `"hello, this is t"`},
		{"magic alone", []byte("GGUF"), ErrTruncated, "truncated GGUF file: at byte 4: the version takes 4 bytes, of " +
			"which the file has 0; the file is incomplete or damaged, download it again"},
		{"version 1", head(1, 0, 0).pad(0), ErrMalformed, "version 1"},
		{"version 9", head(9, 0, 0).pad(0), ErrMalformed, "versions 2 and 3 are read"},
		{"version 0", head(0, 0, 0).pad(0), ErrMalformed, "versions 2 and 3 are read"},
		{"big endian", head(0x03000000, 0, 0).pad(0), ErrMalformed, "version 3 of a big-endian file"},
		{"tensor count", head(3, math.MaxUint64, 0).pad(100), ErrTruncated, "tensors announced"},
		{"metadata count", head(3, 0, 1<<40).pad(100), ErrTruncated, "metadata entries announced"},
		{"key length", head(3, 0, 1).u64(1 << 62).pad(50), ErrTruncated, "the key of metadata entry 0"},
		{"empty key", head(3, 0, 1).str("").u32(0).pad(50), ErrMalformed, "empty key"},
		{"duplicate key", head(3, 0, 2).str("a").u32(7).pad(1), ErrTruncated, ""},
		{"value type", kv("a").u32(13).pad(50), ErrMalformed, "value type 13"},
		{"string length", kv("a").u32(8).u64(math.MaxUint64).pad(50), ErrTruncated, `the value of "a"`},
		{"array of arrays", kv("a").u32(9).u32(9).u64(1).pad(50), ErrMalformed, "array of arrays"},
		{"array type", kv("a").u32(9).u32(99).u64(1).pad(50), ErrMalformed, "value type 99"},
		{"array length", kv("a").u32(9).u32(6).u64(1 << 61).pad(50), ErrTruncated,
			"float32, which takes more than the 50 bytes that remain;"},
		{"array length that wraps", kv("a").u32(9).u32(12).u64(1<<61 + 1).pad(50), ErrTruncated,
			"float64, which takes more than the 50 bytes that remain;"},
		{"array of strings", kv("a").u32(9).u32(8).u64(3).u64(5).pad(20), ErrTruncated, `element 2 of "a"`},
		{"alignment 0", kv(keyAlignment).u32(4).u32(0).pad(0), ErrMalformed, "power of two"},
		{"alignment 48", kv(keyAlignment).u32(4).u32(48).pad(0), ErrMalformed, "power of two"},
		{"alignment 8", kv(keyAlignment).u32(4).u32(8).pad(0), ErrMalformed, "at least 32"},
		{"alignment of another type", kv(keyAlignment).u32(10).u64(32).pad(0), ErrMalformed, "expected uint32"},
		{"tensor name length", head(3, 1, 0).u64(1 << 63).pad(90), ErrTruncated, "the name of tensor 0"},
		{"long tensor name", head(3, 1, 0).tensor(strings.Repeat("x", 64), F32, 0, 1).pad(99), ErrMalformed,
			"64 bytes"},
		{"tensor name with zero", head(3, 1, 0).tensor("a\x00b", F32, 0, 1).pad(99), ErrMalformed, "zero byte"},
		{"duplicate tensor", head(3, 2, 0).tensor("a", F32, 0, 1).tensor("a", F32, 32, 1).pad(99), ErrMalformed,
			`"a" stands twice`},
		{"five dimensions", head(3, 1, 0).tensor("a", F32, 0, 1, 1, 1, 1, 1).pad(99), ErrMalformed, "5 dimensions"},
		{"a billion dimensions", head(3, 1, 0).str("a").u32(1 << 30).pad(99), ErrMalformed, "1073741824 dimensions"},
		{"zero dimension", head(3, 1, 0).tensor("a", F32, 0, 4, 0).pad(99), ErrMalformed, "must be positive"},
		{"negative dimension", head(3, 1, 0).tensor("a", F32, 0, 1<<63).pad(99), ErrMalformed, "must be positive"},
		{"product overflows", head(3, 1, 0).tensor("a", F32, 0, 1<<32, 1<<32).pad(99), ErrMalformed, "overflows"},
		{"bytes overflow", head(3, 1, 0).tensor("a", F64, 0, 1<<61).pad(99), ErrMalformed, "overflows"},
		{"huge tensor", head(3, 1, 0).tensor("a", I8, 0, 1<<62+1).pad(99), ErrMalformed, "beyond any file"},
		{"unknown type", head(3, 1, 0).tensor("blk.0.attn_q.weight", 77, 0, 1).pad(99), ErrMalformed,
			`tensor "blk.0.attn_q.weight" is storage type 77, unknown; known: f32, f16, q4_0`},
		{"removed type", head(3, 1, 0).tensor("a", 31, 0, 32).pad(99), ErrMalformed, "q4_0_4_4"},
		{"broken row", head(3, 1, 0).tensor("a", Q4_K, 0, 255).pad(999), ErrMalformed, "multiple of 256"},
		{"offset beyond", head(3, 1, 0).tensor("a", F32, 1<<40, 1).pad(99), ErrMalformed,
			"offset 1099511627776, expected 0"},
		{"offset near the top", head(3, 1, 0).tensor("a", F32, math.MaxUint64-3, 1).pad(99), ErrMalformed,
			"offset 18446744073709551612, expected 0"},
		{"overlap", head(3, 2, 0).tensor("a", F32, 0, 64).tensor("b", F32, 128, 64).pad(999), ErrMalformed,
			"offset 128, expected 256"},
		{"gap", head(3, 2, 0).tensor("a", F32, 0, 1).tensor("b", F32, 64, 1).pad(999), ErrMalformed,
			"offset 64, expected 32"},
		{"data cut", good[:len(good)-40], ErrTruncated, "too early"},
		{"header cut", good[:300], ErrTruncated, "download it again"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := save(t, tt.b)
			f, err := Open(path)
			if err == nil {
				f.Close()
				t.Fatal("accepted")
			}
			if !errors.Is(err, tt.is) || !strings.Contains(err.Error(), tt.want) ||
				!strings.HasPrefix(err.Error(), path) {
				t.Errorf("got %v\nwant %q, matching %v, beginning with the file's name", err, tt.want, tt.is)
			}
		})
	}
	dup := head(3, 0, 2).str("a").u32(7)
	dup.WriteByte(1)
	dup.str("a").u32(7).WriteByte(1)
	if _, err := Open(save(t, dup.Bytes())); !errors.Is(err, ErrMalformed) ||
		!strings.Contains(err.Error(), `"a" stands twice`) {
		t.Errorf("duplicate key: got %v", err)
	}
}

// A file cut anywhere is refused as truncated.
func TestEveryTruncation(t *testing.T) {
	good := encode(t, small(t))
	last := len(good) - 14 // the last tensor has 210 bytes, padded to 224
	for n := 1; n < len(good); n++ {
		_, err := parse(good[:n:n])
		switch {
		case n < 4:
			if !errors.Is(err, ErrNotGGUF) {
				t.Fatalf("%d bytes: got %v, want ErrNotGGUF", n, err)
			}
		case n < last:
			if !errors.Is(err, ErrTruncated) {
				t.Fatalf("%d of %d bytes: got %v, want ErrTruncated", n, len(good), err)
			}
		case err != nil: // only the last tensor's padding is missing
			t.Fatalf("%d of %d bytes: got %v, want none", n, len(good), err)
		}
	}
}

// A small file that announces much must not make us allocate much.
func TestMemoryBounded(t *testing.T) {
	r := head(3, 0, 1).str("a").u32(9).u32(8).u64(1 << 20)
	b := r.pad(1<<20 - 100)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if _, err := parse(b); !errors.Is(err, ErrTruncated) {
		t.Fatalf("got %v, want ErrTruncated", err)
	}
	runtime.ReadMemStats(&after)
	if got := after.TotalAlloc - before.TotalAlloc; got > 1<<16 {
		t.Errorf("refusing it allocated %d bytes", got)
	}
	// And one that is what it says costs a small multiple of its size.
	b = head(3, 0, 1).str("a").u32(9).u32(8).u64(1 << 17).pad(8 << 17)
	runtime.ReadMemStats(&before)
	if _, err := parse(b); err != nil {
		t.Fatal(err)
	}
	runtime.ReadMemStats(&after)
	if got := after.TotalAlloc - before.TotalAlloc; got > uint64(2*len(b)) {
		t.Errorf("reading %d bytes allocated %d", len(b), got)
	}
}

func TestOpenOther(t *testing.T) {
	dir := t.TempDir()
	for path, want := range map[string]string{
		dir:                               "it is a directory",
		filepath.Join(dir, "missing"):     "check the name",
		os.DevNull:                        "not a regular file",
		filepath.Join(dir, "no", "where"): "check the name",
	} {
		if _, err := Open(path); err == nil || !strings.Contains(err.Error(), want) ||
			!strings.Contains(err.Error(), path) {
			t.Errorf("%s: got %v, want %q", path, err, want)
		}
	}
	path := save(t, encode(t, small(t)))
	if err := os.Chmod(path, 0); err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() == 0 {
		t.Log("root may read anything: the permission message is not checked")
	} else if _, err := Open(path); err == nil || !strings.Contains(err.Error(), "permissions") {
		t.Errorf("unreadable: got %v", err)
	}
}

// splitFiles writes a model of three parts and returns their paths.
func splitFiles(t *testing.T, dir string) []string {
	t.Helper()
	var paths []string
	for i := range 3 {
		w := &Writer{}
		w.Set(keySplitNo, NumberValue(uint16(i)))
		w.Set(keySplitCount, NumberValue(uint16(3)))
		w.Set(keySplitTensors, NumberValue(int32(3)))
		if i == 0 {
			w.SetString("general.architecture", "llama")
		}
		if err := w.AddFloats(fmt.Sprintf("t%d", i), []int64{2}, []float32{float32(i), 9}); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, fmt.Sprintf("m-%05d-of-00003.gguf", i+1))
		if err := os.WriteFile(path, encode(t, w), 0o666); err != nil {
			t.Fatal(err)
		}
		paths = append(paths, path)
	}
	return paths
}

func TestSplit(t *testing.T) {
	paths := splitFiles(t, t.TempDir())
	for _, p := range paths { // whichever part is named
		f, err := Open(p)
		if err != nil {
			t.Fatal(err)
		}
		if f.Path() != paths[0] || len(f.Parts()) != 3 || len(f.Tensors) != 3 {
			t.Errorf("%s: path %s, %d parts, %d tensors", p, f.Path(), len(f.Parts()), len(f.Tensors))
		}
		if a, err := f.Architecture(); a != "llama" || err != nil {
			t.Errorf("%s: architecture %q, %v", p, a, err)
		}
		for i := range f.Tensors {
			b, err := f.Data(&f.Tensors[i])
			if err != nil || math.Float32frombits(binary.LittleEndian.Uint32(b)) != float32(i) {
				t.Errorf("%s: tensor %d: got %x, %v", p, i, b, err)
			}
		}
		// Written again, it is one file.
		one := open(t, rewrite(t, f))
		if len(one.Parts()) != 1 || len(one.Tensors) != 3 || one.Has(keySplitCount) {
			t.Errorf("written again: %d parts, %d tensors", len(one.Parts()), len(one.Tensors))
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestSplitFaults(t *testing.T) {
	for _, tt := range []struct {
		name, want string
		spoil      func(t *testing.T, paths []string) (open string)
	}{
		{"missing part", "m-00002-of-00003.gguf; download", func(t *testing.T, p []string) string {
			os.Remove(p[1])
			return p[0]
		}},
		{"renamed part", "rename it to x-00001-of-00003.gguf", func(t *testing.T, p []string) string {
			path := filepath.Join(filepath.Dir(p[0]), "x.gguf")
			os.Rename(p[0], path)
			return path
		}},
		{"wrong number in the name", "it holds part 2 of 3", func(t *testing.T, p []string) string {
			os.Rename(p[1], p[0])
			return p[0]
		}},
		{"part in the wrong place", "expected part 3 of 3, but it holds part 2", func(t *testing.T, p []string) string {
			b, _ := os.ReadFile(p[1])
			os.WriteFile(p[2], b, 0o666)
			return p[0]
		}},
		{"part truncated", "m-00003-of-00003.gguf: truncated", func(t *testing.T, p []string) string {
			b, _ := os.ReadFile(p[2])
			os.WriteFile(p[2], b[:len(b)-30], 0o666)
			return p[1]
		}},
		{"tensor twice", `"t0" is in both`, func(t *testing.T, p []string) string {
			w := &Writer{}
			w.Set(keySplitNo, NumberValue(uint16(1)))
			w.Set(keySplitCount, NumberValue(uint16(3)))
			if err := w.AddFloats("t0", []int64{1}, []float32{1}); err != nil {
				t.Fatal(err)
			}
			os.WriteFile(p[1], encode(t, w), 0o666)
			return p[0]
		}},
		{"tensor missing", "hold 2 tensors, but split.tensors.count says 3", func(t *testing.T, p []string) string {
			w := &Writer{}
			w.Set(keySplitNo, NumberValue(uint16(1)))
			w.Set(keySplitCount, NumberValue(uint16(3)))
			os.WriteFile(p[1], encode(t, w), 0o666)
			return p[0]
		}},
		{"number beyond count", "part 7 (split.no) of 3", func(t *testing.T, p []string) string {
			w := &Writer{}
			w.Set(keySplitNo, NumberValue(uint16(7)))
			w.Set(keySplitCount, NumberValue(uint16(3)))
			os.WriteFile(p[1], encode(t, w), 0o666)
			return p[1]
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := tt.spoil(t, splitFiles(t, t.TempDir()))
			f, err := Open(path)
			if err == nil {
				f.Close()
				t.Fatal("accepted")
			}
			if !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}
