package gguf

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
)

// Errors to match with errors.Is. Every message names the file, what was found, what was expected and how to mend it.
var (
	ErrNotGGUF   = errors.New("not a GGUF file")
	ErrTruncated = errors.New("truncated GGUF file")
	ErrMalformed = errors.New("malformed GGUF file")
	ErrClosed    = errors.New("the GGUF file is closed")
	ErrNoKey     = errors.New("metadata key is missing")
	ErrNoTensor  = errors.New("no such tensor")
)

const (
	magic = "GGUF"
	// maxDims and maxName are GGML_MAX_DIMS and GGML_MAX_NAME-1: llama.cpp refuses more, and so must we, for it reads
	// the same files.
	maxDims = 4
	maxName = 63
	// defaultAlignment is GGUF_DEFAULT_ALIGNMENT, and minAlignment ggml's TENSOR_ALIGNMENT: ggml asserts that a mapped
	// buffer begins at a multiple of it, so a smaller alignment would end the process.
	defaultAlignment = 32
	minAlignment     = 32
	keyAlignment     = "general.alignment"
	// The least bytes a metadata entry (8+1+4+1) and a tensor entry (8+1+4+4+8, without dimensions) take: counts beyond
	// what the rest of the file can hold are refused before anything is allocated.
	minKVBytes     = 14
	minTensorBytes = 25
)

// A fault is a malformed place in a file: an offset, what is wrong there, and what to do about it.
type fault struct {
	kind error
	at   int
	msg  string
}

func (e *fault) Error() string { return fmt.Sprintf("%v: at byte %d: %s", e.kind, e.at, e.msg) }
func (e *fault) Unwrap() error { return e.kind }

// reader walks the header. Its methods check every length against what remains.
type reader struct {
	b   []byte // the whole file
	pos int
}

func (r *reader) remaining() int { return len(r.b) - r.pos }

func (r *reader) fail(format string, args ...any) error {
	return &fault{ErrMalformed, r.pos, fmt.Sprintf(format, args...)}
}

// short is the error for a file that ends before what it announces.
func (r *reader) short(format string, args ...any) error {
	return &fault{ErrTruncated, r.pos, fmt.Sprintf(format, args...) +
		"; the file is incomplete or damaged, download it again"}
}

func (r *reader) take(n uint64, what string) ([]byte, error) {
	if n > uint64(r.remaining()) {
		return nil, r.short("%s takes %d bytes, of which the file has %d", what, n, r.remaining())
	}
	b := r.b[r.pos : r.pos+int(n)]
	r.pos += int(n)
	return b, nil
}

func (r *reader) u32(what string) (uint32, error) {
	b, err := r.take(4, what)
	if err != nil {
		return 0, err
	}
	return binary.LittleEndian.Uint32(b), nil
}

func (r *reader) u64(what string) (uint64, error) {
	b, err := r.take(8, what)
	if err != nil {
		return 0, err
	}
	return binary.LittleEndian.Uint64(b), nil
}

func (r *reader) str(what string) ([]byte, error) {
	n, err := r.u64("the length of " + what)
	if err != nil {
		return nil, err
	}
	return r.take(n, what)
}

// header is one file's parsed header. It holds copies, no views of the mapping.
type header struct {
	version   uint32
	kvs       []KV
	tensors   []TensorInfo
	alignment int64
}

// parse reads the header of a whole GGUF file and checks that all tensors lie inside it.
func parse(b []byte) (*header, error) {
	if len(b) == 0 {
		return nil, fmt.Errorf("%w: it is empty; download it again", ErrNotGGUF)
	}
	if !bytes.HasPrefix(b, []byte(magic)) {
		return nil, fmt.Errorf("%w: expected it to begin with \"GGUF\", but it looks like %s", ErrNotGGUF, sniff(b))
	}
	r := &reader{b: b, pos: len(magic)}
	h := &header{}
	nTensors, nKV, err := r.counts(h)
	if err != nil {
		return nil, err
	}
	if h.kvs, err = r.metadata(nKV); err != nil {
		return nil, err
	}
	if h.alignment, err = alignmentOf(h.kvs); err != nil {
		return nil, err
	}
	if h.tensors, err = r.tensorInfos(nTensors); err != nil {
		return nil, err
	}
	return h, h.place(int64(r.pos), int64(len(b)))
}

func (r *reader) counts(h *header) (nTensors, nKV uint64, err error) {
	if h.version, err = r.u32("the version"); err != nil {
		return 0, 0, err
	}
	switch {
	case h.version&0xffff == 0 && h.version != 0:
		return 0, 0, r.fail("version %d, which is version %d of a big-endian file; get the little-endian file",
			h.version, bits.ReverseBytes32(h.version))
	case h.version == 1:
		return 0, 0, r.fail("GGUF version 1 of 2023, which is no longer read; get a newer GGUF of the model")
	case h.version < 2 || h.version > 3:
		return 0, 0, r.fail("GGUF version %d; versions 2 and 3 are read", h.version)
	}
	if nTensors, err = r.u64("the number of tensors"); err != nil {
		return 0, 0, err
	}
	if nKV, err = r.u64("the number of metadata entries"); err != nil {
		return 0, 0, err
	}
	if most := uint64(r.remaining() / minTensorBytes); nTensors > most {
		return 0, 0, r.short("%d tensors announced, but the %d bytes that remain can describe %d at most", nTensors,
			r.remaining(), most)
	}
	if most := uint64(r.remaining() / minKVBytes); nKV > most {
		return 0, 0, r.short("%d metadata entries announced, but the %d bytes that remain can hold %d at most", nKV,
			r.remaining(), most)
	}
	return nTensors, nKV, nil
}

func (r *reader) metadata(n uint64) ([]KV, error) {
	var kvs []KV // grows as entries are found: a count alone must not allocate
	seen := map[string]bool{}
	for i := range n {
		key, err := r.str(fmt.Sprintf("the key of metadata entry %d", i))
		if err != nil {
			return nil, err
		}
		switch {
		case len(key) == 0:
			return nil, r.fail("metadata entry %d has an empty key", i)
		case seen[string(key)]:
			return nil, r.fail("metadata key %q stands twice", key)
		}
		v, err := r.value(string(key))
		if err != nil {
			return nil, err
		}
		kvs = append(kvs, KV{Key: string(key), Value: v})
		seen[string(key)] = true
	}
	return kvs, nil
}

func (r *reader) value(key string) (Value, error) {
	what := fmt.Sprintf("the value of %q", key)
	t, err := r.u32(what)
	if err != nil {
		return Value{}, err
	}
	v := Value{typ: ValueType(t)}
	switch {
	case !v.typ.known():
		return Value{}, r.fail("metadata key %q has value type %d; types 0 to %d exist", key, t, len(valueTypes)-1)
	case v.typ == Array:
		return r.array(key, what)
	case v.typ == String:
		v.raw, err = r.str(what)
	default:
		v.raw, err = r.take(uint64(valueTypes[v.typ].size), what)
	}
	v.raw = bytes.Clone(v.raw)
	return v, err
}

func (r *reader) array(key, what string) (Value, error) {
	et, err := r.u32(what)
	if err != nil {
		return Value{}, err
	}
	n, err := r.u64("the length of " + what)
	if err != nil {
		return Value{}, err
	}
	v := Value{typ: Array, elem: ValueType(et)}
	switch {
	case v.elem == Array:
		return Value{}, r.fail("metadata key %q is an array of arrays, which llama.cpp does not read either", key)
	case !v.elem.known():
		return Value{},
			r.fail("metadata key %q is an array of value type %d; types 0 to %d exist", key, et, len(valueTypes)-1)
	}
	size := uint64(valueTypes[v.elem].size)
	if v.elem == String {
		size = 8 // at least, for its length
	}
	if n > uint64(r.remaining())/size {
		return Value{},
			r.short("%s is an array of %d %s, which takes more than the %d bytes that remain", what, n, v.elem,
				r.remaining())
	}
	v.n = int(n)
	start := r.pos
	if v.elem == String {
		for i := range n {
			if err := r.skipString(i, key); err != nil {
				return Value{}, err
			}
		}
	} else if _, err := r.take(n*size, what); err != nil {
		return Value{}, err
	}
	v.raw = bytes.Clone(r.b[start:r.pos])
	return v, nil
}

// skipString passes element i of an array of strings. Vocabularies have a quarter of a million: only a failure makes
// words.
func (r *reader) skipString(i uint64, key string) error {
	if r.remaining() >= 8 {
		if n := binary.LittleEndian.Uint64(r.b[r.pos:]); n <= uint64(r.remaining()-8) {
			r.pos += 8 + int(n)
			return nil
		}
	}
	_, err := r.str(fmt.Sprintf("element %d of %q", i, key))
	return err
}

func alignmentOf(kvs []KV) (int64, error) {
	for _, kv := range kvs {
		if kv.Key != keyAlignment {
			continue
		}
		// ggml asserts the exact type.
		if kv.Value.typ != Uint32 {
			return 0, fmt.Errorf("%w: %s is %s, expected uint32", ErrMalformed, keyAlignment, kv.Value.TypeName())
		}
		a := int64(binary.LittleEndian.Uint32(kv.Value.raw))
		if a < minAlignment || a&(a-1) != 0 {
			return 0, fmt.Errorf(
				"%w: %s is %d, expected a power of two of at least %d; make the file again with alignment %d",
				ErrMalformed, keyAlignment, a, minAlignment, defaultAlignment)
		}
		return a, nil
	}
	return defaultAlignment, nil
}

func (r *reader) tensorInfos(n uint64) ([]TensorInfo, error) {
	var ts []TensorInfo
	seen := map[string]bool{}
	for i := range n {
		name, err := r.str(fmt.Sprintf("the name of tensor %d", i))
		if err != nil {
			return nil, err
		}
		switch {
		case len(name) == 0 || len(name) > maxName || bytes.IndexByte(name, 0) >= 0:
			return nil, r.fail("tensor %d has the name %s of %d bytes; names have 1 to %d bytes and no zero byte", i,
				quoteShort(string(name)), len(name), maxName)
		case seen[string(name)]:
			return nil, r.fail("tensor %q stands twice", name)
		}
		t := TensorInfo{Name: string(name)}
		if err := r.tensorInfo(&t); err != nil {
			return nil, err
		}
		ts = append(ts, t)
		seen[t.Name] = true
	}
	return ts, nil
}

func (r *reader) tensorInfo(t *TensorInfo) error {
	what := fmt.Sprintf("the description of tensor %q", t.Name)
	dims, err := r.u32(what)
	if err != nil {
		return err
	}
	if dims > maxDims {
		return r.fail("tensor %q has %d dimensions; at most %d exist", t.Name, dims, maxDims)
	}
	t.Shape = make([]int64, dims)
	for i := range t.Shape {
		d, err := r.u64(what)
		if err != nil {
			return err
		}
		t.Shape[i] = int64(d) // beyond int64 it turns negative, which Size refuses
	}
	typ, err := r.u32(what)
	if err != nil {
		return err
	}
	t.Type = Type(typ)
	off, err := r.u64(what)
	if err != nil {
		return err
	}
	t.Offset = int64(off) // relative for now; place checks it
	if t.Size, err = t.Type.Size(t.Shape); err != nil {
		return r.fail("tensor %q %v", t.Name, err)
	}
	return nil
}

// place turns the tensors' offsets into file offsets and checks that they follow one another, padded to the alignment,
// as ggml demands, and lie inside the file: so none overlap.
func (h *header) place(headerEnd, fileSize int64) error {
	pad := func(n int64) int64 { return (n + h.alignment - 1) &^ (h.alignment - 1) }
	data := pad(headerEnd)
	next := int64(0)
	end := headerEnd
	for i := range h.tensors {
		t := &h.tensors[i]
		if t.Offset != next {
			return fmt.Errorf(
				"%w: tensor %q has offset %d, expected %d: tensors must follow one another, padded to %d bytes",
				ErrMalformed, t.Name, uint64(t.Offset), next, h.alignment)
		}
		// Each size is below 2^63, and next stays within a file's size plus one tensor until it is refused: no overflow
		// beyond this check.
		if t.Size > (1<<62)-next-data {
			return fmt.Errorf("%w: tensor %q of shape %v would end beyond any file", ErrMalformed, t.Name, t.Shape)
		}
		end = data + next + t.Size
		t.Offset = data + next
		next = pad(next + t.Size)
	}
	if end > fileSize {
		return fmt.Errorf("%w: its header describes %d bytes, but it has %d: it ends %d too early; download it again",
			ErrTruncated, end, fileSize, end-fileSize)
	}
	return nil
}
