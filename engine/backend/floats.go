package backend

import (
	"fmt"
	"math"
	"slices"
	"unsafe"

	"github.com/ggtune/ggtune/engine/graph"
)

// Floats are N numbers, one after the other, in a backend's memory. Its zero value is none.
type Floats struct {
	Backend Backend
	At      Place
	N       int64
	Type    int32 // graph.F32, or graph.BF16, to which what is written is rounded
}

// NewFloats allocates n F32 numbers, all zero. Who allocates frees the block At.Mem.
func NewFloats(b Backend, n int64) (Floats, error) { return NewFloatsOf(b, n, graph.F32) }

// NewFloatsOf is NewFloats of a type.
func NewFloatsOf(b Backend, n int64, typ int32) (Floats, error) {
	m, err := b.Alloc(graph.TypeBytes(typ) * n)
	if err != nil {
		return Floats{}, err
	}
	return Floats{Backend: b, At: Place{Mem: m}, N: n, Type: typ}, nil
}

// Bytes is their size.
func (f Floats) Bytes() int64 { return f.each() * f.N }

func (f Floats) each() int64 { return graph.TypeBytes(f.Type) }

// Part is n numbers of f, from one on.
func (f Floats) Part(from, n int64) Floats {
	if from < 0 || n < 0 || from > f.N-n {
		panic(fmt.Sprintf("backend: numbers %d to %d of %d", from, from+n, f.N))
	}
	return Floats{f.Backend, f.At.Add(f.each() * from), n, f.Type}
}

// Upload writes numbers from one on.
func (f Floats) Upload(src []float32, from int64) error {
	if f.Type == graph.F32 {
		return f.Write(BytesOf(src), 4*from)
	}
	half := make([]uint16, min(len(src), halves))
	for some := range slices.Chunk(src, halves) {
		for i, x := range some {
			half[i] = toBF16(x)
		}
		if err := f.Write(BytesOf(half[:len(some)]), 2*from); err != nil {
			return err
		}
		from += int64(len(some))
	}
	return nil
}

// halves is how many BF16 numbers are converted at a time.
const halves = 1 << 15

// Download reads numbers from one on.
func (f Floats) Download(dst []float32, from int64) error {
	if f.Type == graph.F32 {
		return f.Read(BytesOf(dst), 4*from)
	}
	half := make([]uint16, min(len(dst), halves))
	for some := range slices.Chunk(dst, halves) {
		if err := f.Read(BytesOf(half[:len(some)]), 2*from); err != nil {
			return err
		}
		for i := range some {
			some[i] = math.Float32frombits(uint32(half[i]) << 16)
		}
		from += int64(len(some))
	}
	return nil
}

// toBF16 rounds to the nearest, and of two as near to the even one.
func toBF16(x float32) uint16 {
	b := math.Float32bits(x)
	if x != x {
		return uint16(b>>16) | 0x40 // quiet, whatever lies below
	}
	return uint16((b + 0x7fff + b>>16&1) >> 16)
}

// All downloads all numbers.
func (f Floats) All() ([]float32, error) {
	out := make([]float32, f.N)
	return out, f.Download(out, 0)
}

// Zero clears them.
func (f Floats) Zero() error { return f.Backend.Zero(f.At, f.Bytes()) }

// Read copies bytes out, from byte at on; with Write it makes f what a checkpoint's tensor lies in.
func (f Floats) Read(dst []byte, at int64) error {
	if err := f.within(at, len(dst)); err != nil {
		return err
	}
	return f.Backend.Download(dst, f.At.Add(at))
}

// Write copies bytes in, from byte at on.
func (f Floats) Write(src []byte, at int64) error {
	if err := f.within(at, len(src)); err != nil {
		return err
	}
	return f.Backend.Upload(f.At.Add(at), src)
}

func (f Floats) within(at int64, n int) error {
	if at < 0 || at > f.Bytes()-int64(n) {
		return fmt.Errorf("backend: bytes %d to %d of %d numbers", at, at+int64(n), f.N)
	}
	return nil
}

// Host is F32 numbers where they lie, valid until their block is freed. The backend must be a Host.
func (f Floats) Host() ([]float32, error) {
	if f.Type != graph.F32 {
		return nil, fmt.Errorf("backend: numbers of type %d are seen as F32", f.Type)
	}
	h, ok := f.Backend.(Host)
	if !ok {
		return nil, fmt.Errorf("backend: the memory of device %s is not the process's", f.Backend.Name())
	}
	b, err := h.HostBytes(f.At, 4*f.N)
	if err != nil {
		return nil, err
	}
	return unsafe.Slice((*float32)(unsafe.Pointer(unsafe.SliceData(b))), f.N), nil
}

// BytesOf sees numbers as the bytes they are, which Upload and Download take.
func BytesOf[T uint16 | int32 | int64 | float32](v []T) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(v))), len(v)*int(unsafe.Sizeof(*new(T))))
}
