// Package safetensors knows the bytes of a safetensors file (huggingface/safetensors, README, "Format"): a length, a
// header in JSON, and the tensors' numbers behind it. It does not know what tensors mean.
//
// Files come from strangers: no length, offset or shape in them is trusted, and as the reference implementation has it,
// every byte behind the header belongs to exactly one tensor.
package safetensors

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"sort"

	"github.com/ggtune/ggtune/internal/regular"
)

// Errors of Open, beside those of the file system.
var (
	ErrMalformed = errors.New("malformed safetensors file")
	ErrTruncated = errors.New("truncated safetensors file")
)

// maxHeader is the most bytes of a header: the reference implementation's bound. Headers of large models have 1 MB.
const maxHeader = 100 << 20

// A Tensor is one of a file.
type Tensor struct {
	Name  string
	DType DType
	Shape []int64 // outermost first, as in PyTorch; none for a scalar

	offset int64 // from the start of the file
	size   int64 // bytes
}

// Elements is the number of elements.
func (t *Tensor) Elements() int64 {
	n := int64(1)
	for _, d := range t.Shape {
		n *= d
	}
	return n
}

// Size is the number of bytes.
func (t *Tensor) Size() int64 { return t.size }

// A File is an open safetensors file. Nothing but its header is in memory. It is safe for concurrent use.
type File struct {
	Tensors  []Tensor          // in the order of their bytes
	Metadata map[string]string // "__metadata__" of the header

	path   string
	f      *os.File
	size   int64
	byName map[string]int
}

// Open reads a file's header. The error matches ErrMalformed, ErrTruncated or one of the file system.
func Open(path string) (*File, error) {
	f, err := regular.Open(path)
	if err != nil {
		return nil, err
	}
	out := &File{path: path, f: f}
	if err := out.readHeader(); err != nil {
		f.Close()
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return out, nil
}

func (f *File) readHeader() error {
	st, err := f.f.Stat()
	if err != nil {
		return err
	}
	head, err := headerBytes(f.f, st.Size())
	if err != nil {
		return err
	}
	if f.Metadata, f.Tensors, err = parseHeader(head); err != nil {
		return err
	}
	f.size = st.Size()
	f.byName = make(map[string]int, len(f.Tensors))
	sort.SliceStable(f.Tensors, func(i, j int) bool {
		a, b := &f.Tensors[i], &f.Tensors[j]
		return a.offset < b.offset || a.offset == b.offset && a.size < b.size // an empty one ends where it begins
	})
	return f.place(8+int64(len(head)), st.Size())
}

// headerBytes reads the header of a file of that size.
func headerBytes(r io.ReaderAt, size int64) ([]byte, error) {
	var length [8]byte
	if size < int64(len(length)) {
		return nil, fmt.Errorf("%w: it has %d bytes, and begins with a length of 8; download it again", ErrTruncated,
			size)
	}
	if _, err := r.ReadAt(length[:], 0); err != nil {
		return nil, err
	}
	n := binary.LittleEndian.Uint64(length[:])
	switch {
	case n > maxHeader:
		return nil, fmt.Errorf("%w: its header would have %d bytes, more than the %d that the format allows; "+
			"is it a safetensors file?", ErrMalformed, n, maxHeader)
	case n < 2:
		return nil, fmt.Errorf("%w: its header has %d bytes, and no JSON object is that short", ErrMalformed, n)
	case int64(n) > size-8:
		return nil, fmt.Errorf("%w: its header has %d bytes, and only %d follow; download it again", ErrTruncated, n,
			size-8)
	}
	head := make([]byte, n)
	if _, err := r.ReadAt(head, 8); err != nil {
		return nil, err
	}
	return head, nil
}

// place makes the tensors' offsets those of the file, and demands that they lie one behind the other to its end.
func (f *File) place(begin, size int64) error {
	at := int64(0)
	for i := range f.Tensors {
		t := &f.Tensors[i]
		if t.offset != at {
			what := "between it and the tensor before"
			if t.offset < at {
				what = "and overlaps the tensor before"
			}
			return fmt.Errorf("%w: tensor %q begins at byte %d of the data, expected %d: a gap %s", ErrMalformed,
				t.Name, t.offset, at, what)
		}
		if at > math.MaxInt64-t.size {
			return fmt.Errorf("%w: tensor %q ends beyond 64 bits", ErrMalformed, t.Name)
		}
		at += t.size
		t.offset += begin
		f.byName[t.Name] = i
	}
	switch have := size - begin; {
	case at > have:
		return fmt.Errorf("%w: its tensors have %d bytes, and only %d are there; download it again", ErrTruncated, at,
			have)
	case at < have:
		return fmt.Errorf("%w: its tensors have %d bytes, and %d are there", ErrMalformed, at, have)
	}
	return nil
}

// Path is the file's name.
func (f *File) Path() string { return f.path }

// Size is the file's number of bytes.
func (f *File) Size() int64 { return f.size }

// Tensor finds a tensor by its exact name; nil if there is none.
func (f *File) Tensor(name string) *Tensor {
	i, ok := f.byName[name]
	if !ok {
		return nil
	}
	return &f.Tensors[i]
}

// Reader reads a tensor's bytes. t must be one of f.Tensors.
func (f *File) Reader(t *Tensor) *io.SectionReader { return io.NewSectionReader(f.f, t.offset, t.size) }

// ReadFloats reads len(dst) elements of a tensor from element at on, as float32.
func (f *File) ReadFloats(dst []float32, t *Tensor, at int64) error {
	if !t.DType.IsFloat() {
		return fmt.Errorf("%s: tensor %q is %s; expected numbers of %s", f.path, t.Name, t.DType, floatNames())
	}
	if at < 0 || at > t.Elements()-int64(len(dst)) {
		return fmt.Errorf("%s: tensor %q has %d elements, not %d from %d on", f.path, t.Name, t.Elements(), len(dst),
			at)
	}
	width := t.DType.Bytes()
	const piece = 1 << 14
	buf := make([]byte, min(len(dst), piece)*width)
	for len(dst) > 0 {
		n := min(len(dst), piece)
		if _, err := f.f.ReadAt(buf[:n*width], t.offset+at*int64(width)); err != nil {
			return fmt.Errorf("%s: tensor %q: %w", f.path, t.Name, err)
		}
		t.DType.decode(dst[:n], buf)
		dst, at = dst[n:], at+int64(n)
	}
	return nil
}

// Close closes the file. It may be called again and on nil.
func (f *File) Close() error {
	if f == nil || f.f == nil {
		return nil
	}
	err := f.f.Close()
	f.f = nil
	return err
}
