package parity

import (
	"encoding/binary"
	"errors"
	"math"
	"math/rand/v2"

	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/engine/graph"
	"github.com/ggtune/ggtune/engine/synth"
)

// A key names a bound value: by its name, or, of what the forward graph computes and the backward graph reads, by its
// ID there.
type key struct {
	kind graph.Kind
	name string
	id   graph.ID
}

func keyOf(forward bool, id graph.ID, v *graph.Value) key {
	switch {
	case v.Kind == graph.Saved:
		return key{kind: graph.Temp, id: v.Ref}
	case v.Kind == graph.Temp && forward:
		return key{kind: graph.Temp, id: id}
	case v.Kind == graph.Temp:
		return key{kind: graph.Saved, id: id} // an output of the backward graph
	}
	return key{kind: v.Kind, name: v.Name}
}

// A Builder builds a case's graph of values that it fills with numbers, the same ones every time.
type Builder struct {
	G    *graph.Graph
	data map[key][]byte
	errs []error
}

func (b *Builder) fault() error { return errors.Join(append(b.errs, b.G.Err())...) }

func (b *Builder) bound(kind graph.Kind, name string, typ int32, s graph.Shape, data []byte) graph.ID {
	b.data[key{kind: kind, name: name}] = data
	return b.G.Bound(graph.Value{Name: name, Kind: kind, Type: typ, Shape: s, Ref: graph.None})
}

// seed makes the numbers of values of different names differ.
func seed(name string) uint64 {
	h := uint64(1469598103934665603)
	for _, c := range []byte(name) {
		h = (h ^ uint64(c)) * 1099511628211
	}
	return h
}

// normals are n bell-shaped F32 numbers.
func normals(n int64, seed uint64) []byte {
	r := rand.New(rand.NewPCG(seed, 1))
	var b []byte
	for range n {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(float32(r.NormFloat64())))
	}
	return b
}

// X is an input x.
func (b *Builder) X(ne0, ne1 int64) graph.ID { return b.Input("x", graph.Matrix(ne0, ne1)) }

// Input is an F32 input, whose gradient is compared.
func (b *Builder) Input(name string, s graph.Shape) graph.ID {
	return b.bound(graph.Input, name, graph.F32, s, normals(s.Elements(), seed(name)))
}

// Param is a trained matrix, whose gradient is compared.
func (b *Builder) Param(name string, ne0, ne1 int64) graph.ID {
	return b.Params(name, graph.Matrix(ne0, ne1))
}

// State is what an optimizer keeps, from numbers that are not negative.
func (b *Builder) State(name string, ne0, ne1 int64) graph.ID {
	data := normals(ne0*ne1, seed(name))
	for i := 3; i < len(data); i += 4 {
		data[i] &^= 0x80
	}
	return b.bound(graph.State, name, graph.F32, graph.Matrix(ne0, ne1), data)
}

// Master is what an optimizer trains: a State, or the same numbers in BF16 with a key.
func (b *Builder) Master(name string, typ int32, ne0, ne1 int64) graph.Master {
	if typ == graph.F32 {
		return graph.Master{X: b.State(name, ne0, ne1), Key: graph.None}
	}
	var data []byte
	for wide := normals(ne0*ne1, seed(name)); len(wide) > 0; wide = wide[4:] {
		data = append(data, wide[2], wide[3])
	}
	key := binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64(nil, seed(name)), 77)
	return graph.Master{X: b.bound(graph.State, name, graph.BF16, graph.Matrix(ne0, ne1), data),
		Key: b.bound(graph.Input, name+" key", graph.I64, graph.Matrix(graph.MasterKeyNumbers, 1), key)}
}

// Codes are I32 numbers of four codes each, a byte a code, that an optimizer keeps.
func (b *Builder) Codes(name string, ne0, ne1 int64) graph.ID {
	return b.bound(graph.State, name, graph.I32, graph.Matrix(ne0, ne1), normals(ne0*ne1, seed(name)))
}

// Rising are rows of numbers that rise evenly to 1: the first from −1, the others from 0.
func (b *Builder) Rising(name string, ne0, ne1 int64) graph.ID {
	var data []byte
	for i := range ne0 * ne1 {
		x := float32(i%ne0) / float32(ne0-1)
		if i < ne0 {
			x = 2*x - 1
		}
		data = binary.LittleEndian.AppendUint32(data, math.Float32bits(x))
	}
	return b.bound(graph.Input, name, graph.F32, graph.Matrix(ne0, ne1), data)
}

// Params are trained matrices, whose gradients are compared.
func (b *Builder) Params(name string, s graph.Shape) graph.ID {
	return b.bound(graph.Param, name, graph.F32, s, normals(s.Elements(), seed(name)))
}

// Weight is a frozen matrix of a storage type, of deviation 1/√ne0.
func (b *Builder) Weight(name string, typ gguf.Type, ne0, ne1 int64) graph.ID {
	return b.Weights(name, typ, graph.Matrix(ne0, ne1))
}

// Weights are frozen matrices of a storage type.
func (b *Builder) Weights(name string, typ gguf.Type, s graph.Shape) graph.ID {
	data, err := synth.Numbers(typ, s.Elements(), 1/math.Sqrt(float64(s[0])), seed(name))
	b.errs = append(b.errs, err)
	return b.bound(graph.Weight, name, int32(typ), s, data)
}

// Ints is an I32 input of one number a row.
func (b *Builder) Ints(name string, v ...int32) graph.ID { return b.Table(name, 1, v...) }

// Table is an I32 input in rows of ne0.
func (b *Builder) Table(name string, ne0 int64, v ...int32) graph.ID {
	var data []byte
	for _, x := range v {
		data = binary.LittleEndian.AppendUint32(data, uint32(x))
	}
	return b.bound(graph.Input, name, graph.I32, graph.Matrix(ne0, int64(len(v))/ne0), data)
}

// Key is an I64 input of one number.
func (b *Builder) Key(name string, v int64) graph.ID {
	return b.bound(graph.Input, name, graph.I64, graph.Matrix(1, 1), binary.LittleEndian.AppendUint64(nil, uint64(v)))
}

// Doubles is an F64 input.
func (b *Builder) Doubles(name string, v ...float64) graph.ID {
	var data []byte
	for _, x := range v {
		data = binary.LittleEndian.AppendUint64(data, math.Float64bits(x))
	}
	return b.bound(graph.Input, name, graph.F64, graph.Matrix(int64(len(v)), 1), data)
}

// differentiated says whether the case is of operations that have derivatives.
func (b *Builder) differentiated() bool {
	for _, n := range b.G.Nodes {
		if n.Op.NoGrad {
			return false
		}
	}
	return true
}

// wanted are the inputs whose gradients are compared.
func (b *Builder) wanted() (out []graph.ID) {
	for i := range b.G.Values {
		if v := &b.G.Values[i]; v.Kind == graph.Input && v.Type == graph.F32 {
			out = append(out, graph.ID(i))
		}
	}
	return out
}

// floats reads F32, BF16 or F64 numbers, or the codes of I32 ones.
func floats(b []byte, typ int32) []float64 {
	var out []float64
	if typ == graph.I32 {
		for _, code := range b {
			out = append(out, float64(code))
		}
		return out
	}
	for ; len(b) > 0; b = b[graph.TypeBytes(typ):] {
		switch typ {
		case graph.F64:
			out = append(out, math.Float64frombits(binary.LittleEndian.Uint64(b)))
		case graph.BF16:
			out = append(out, float64(math.Float32frombits(uint32(binary.LittleEndian.Uint16(b))<<16)))
		default:
			out = append(out, float64(math.Float32frombits(binary.LittleEndian.Uint32(b))))
		}
	}
	return out
}
