package checkpoint

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/ggtune/ggtune/engine/backend"
	"github.com/ggtune/ggtune/engine/gguf"
)

// A Tensor is one named run of elements of a storage type. It is saved and filled in pieces, so that its memory may be
// a device's and no second copy of it is made.
type Tensor struct {
	Name   string
	Type   gguf.Type
	N      int64 // elements: a whole number of Type's blocks
	Memory Memory
}

// Memory is where the bytes of a tensor lie, little-endian as in GGUF. A piece begins and ends with whole blocks, at
// bytes from the tensor's beginning.
type Memory interface {
	Read(piece []byte, at int64) error
	Write(piece []byte, at int64) error
}

// Floats is a tensor of numbers in Go's memory.
func Floats(name string, v []float32) Tensor {
	return Tensor{Name: name, Type: gguf.F32, N: int64(len(v)), Memory: floats(v)}
}

// DeviceFloats is a tensor of numbers in a device's memory.
func DeviceFloats(name string, f backend.Floats) Tensor {
	return Tensor{Name: name, Type: gguf.Type(f.Type), N: f.N, Memory: f}
}

type floats []float32

func (f floats) Read(piece []byte, at int64) error {
	for i := range len(piece) / 4 {
		binary.LittleEndian.PutUint32(piece[4*i:], math.Float32bits(f[int(at)/4+i]))
	}
	return nil
}

func (f floats) Write(piece []byte, at int64) error {
	for i := range len(piece) / 4 {
		f[int(at)/4+i] = math.Float32frombits(binary.LittleEndian.Uint32(piece[4*i:]))
	}
	return nil
}

// bytesOf is the number of bytes of n elements, ok whether that is at most limit and n a whole number of blocks.
func bytesOf(t gguf.Type, n, limit int64) (bytes int64, ok bool) {
	block, each := int64(t.BlockSize()), int64(t.BlockBytes())
	if block == 0 || n < 0 || n%block != 0 || n/block > limit/each {
		return 0, false
	}
	return n / block * each, true
}

// pieces calls do for each piece of a tensor in turn, with a buffer of its length.
func (t *Tensor) pieces(do func(piece []byte, at int64) error) error {
	left, ok := bytesOf(t.Type, t.N, math.MaxInt64)
	if !ok {
		return fmt.Errorf("tensor %q has %d elements of type %s: no whole number of blocks", t.Name, t.N, t.Type)
	}
	each := int64(t.Type.BlockBytes())
	piece := make([]byte, min(left, max(1<<16/each, 1)*each))
	for at := int64(0); left > 0; {
		piece = piece[:min(left, int64(len(piece)))]
		if err := do(piece, at); err != nil {
			return fmt.Errorf("tensor %q: %w", t.Name, err)
		}
		at, left = at+int64(len(piece)), left-int64(len(piece))
	}
	return nil
}
