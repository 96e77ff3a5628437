package gguf

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"strings"
)

// ValueType is the type of a metadata value (enum gguf_type in gguf.h).
type ValueType uint32

// The metadata value types.
const (
	Uint8   ValueType = 0
	Int8    ValueType = 1
	Uint16  ValueType = 2
	Int16   ValueType = 3
	Uint32  ValueType = 4
	Int32   ValueType = 5
	Float32 ValueType = 6
	Bool    ValueType = 7
	String  ValueType = 8
	Array   ValueType = 9
	Uint64  ValueType = 10
	Int64   ValueType = 11
	Float64 ValueType = 12
)

var valueTypes = [...]struct {
	name string
	size int // bytes; 0 where it varies
}{
	{"uint8", 1}, {"int8", 1}, {"uint16", 2}, {"int16", 2}, {"uint32", 4}, {"int32", 4}, {"float32", 4},
	{"bool", 1}, {"string", 0}, {"array", 0}, {"uint64", 8}, {"int64", 8}, {"float64", 8},
}

// String names the type as the GGUF specification does.
func (t ValueType) String() string {
	if int(t) < len(valueTypes) {
		return valueTypes[t].name
	}
	return fmt.Sprintf("value type %d", uint32(t))
}

func (t ValueType) known() bool { return int(t) < len(valueTypes) }

// isInt says whether t is an integer type of any width.
func (t ValueType) isInt() bool {
	return t <= Int32 || t == Uint64 || t == Int64
}

// A Value is one metadata value, kept as the bytes a file holds, so that writing it again changes nothing. The zero
// Value is not valid. Values are not changed after they are made and may be shared.
type Value struct {
	typ  ValueType
	elem ValueType // of an array
	n    int       // elements of an array
	raw  []byte    // without type tags, string length or array header
}

// A KV is one metadata entry.
type KV struct {
	Key   string
	Value Value
}

// valid says whether a constructor or the parser made v: the zero Value has no bytes.
func (v Value) valid() bool {
	return v.typ == String || v.typ == Array || v.typ.known() && len(v.raw) == valueTypes[v.typ].size
}

// Equal says whether two values have the same type and bytes.
func (v Value) Equal(o Value) bool {
	return v.typ == o.typ && v.elem == o.elem && v.n == o.n && bytes.Equal(v.raw, o.raw)
}

// Type is the value's type; Array for arrays.
func (v Value) Type() ValueType { return v.typ }

// Elem is the type of an array's elements, and the value's own type otherwise.
func (v Value) Elem() ValueType {
	if v.typ == Array {
		return v.elem
	}
	return v.typ
}

// Len is the number of elements of an array, and 1 otherwise.
func (v Value) Len() int {
	if v.typ == Array {
		return v.n
	}
	return 1
}

// TypeName is the type with the element type and length of an array: "array of 32000 string".
func (v Value) TypeName() string {
	if v.typ == Array {
		return fmt.Sprintf("array of %d %s", v.n, v.elem)
	}
	return v.typ.String()
}

// number is any fixed-size type a value may hold.
type number interface {
	uint8 | int8 | uint16 | int16 | uint32 | int32 | uint64 | int64 | float32 | float64
}

func typeOf[T number]() ValueType {
	switch any(T(0)).(type) {
	case uint8:
		return Uint8
	case int8:
		return Int8
	case uint16:
		return Uint16
	case int16:
		return Int16
	case uint32:
		return Uint32
	case int32:
		return Int32
	case uint64:
		return Uint64
	case int64:
		return Int64
	case float32:
		return Float32
	default:
		return Float64
	}
}

// NumberValue makes a value of exactly T's type.
func NumberValue[T number](x T) Value {
	raw, _ := binary.Append(nil, binary.LittleEndian, x) // cannot fail for these types
	return Value{typ: typeOf[T](), raw: raw}
}

// NumbersValue makes an array of exactly T's type.
func NumbersValue[T number](xs []T) Value {
	raw, _ := binary.Append(nil, binary.LittleEndian, xs)
	return Value{typ: Array, elem: typeOf[T](), n: len(xs), raw: raw}
}

// BoolValue makes a bool value.
func BoolValue(b bool) Value {
	if b {
		return Value{typ: Bool, raw: []byte{1}}
	}
	return Value{typ: Bool, raw: []byte{0}}
}

// BoolsValue makes an array of bools.
func BoolsValue(bs []bool) Value {
	raw := make([]byte, len(bs))
	for i, b := range bs {
		raw[i] = BoolValue(b).raw[0]
	}
	return Value{typ: Array, elem: Bool, n: len(bs), raw: raw}
}

// StringValue makes a string value.
func StringValue(s string) Value { return Value{typ: String, raw: []byte(s)} }

// StringsValue makes an array of strings.
func StringsValue(ss []string) Value {
	size := 0
	for _, s := range ss {
		size += 8 + len(s)
	}
	raw := make([]byte, 0, size)
	for _, s := range ss {
		raw = binary.LittleEndian.AppendUint64(raw, uint64(len(s)))
		raw = append(raw, s...)
	}
	return Value{typ: Array, elem: String, n: len(ss), raw: raw}
}

// appendTo appends the value with its type tags, as it stands in a file.
func (v Value) appendTo(b []byte) []byte {
	b = binary.LittleEndian.AppendUint32(b, uint32(v.typ))
	switch v.typ {
	case String:
		b = binary.LittleEndian.AppendUint64(b, uint64(len(v.raw)))
	case Array:
		b = binary.LittleEndian.AppendUint32(b, uint32(v.elem))
		b = binary.LittleEndian.AppendUint64(b, uint64(v.n))
	}
	return append(b, v.raw...)
}

// intAt decodes an integer; ok is false if it does not fit int64.
func intAt(t ValueType, b []byte) (x int64, ok bool) {
	switch t {
	case Uint8:
		return int64(b[0]), true
	case Int8:
		return int64(int8(b[0])), true
	case Uint16:
		return int64(binary.LittleEndian.Uint16(b)), true
	case Int16:
		return int64(int16(binary.LittleEndian.Uint16(b))), true
	case Uint32:
		return int64(binary.LittleEndian.Uint32(b)), true
	case Int32:
		return int64(int32(binary.LittleEndian.Uint32(b))), true
	case Uint64:
		u := binary.LittleEndian.Uint64(b)
		return int64(u), u <= math.MaxInt64
	case Int64:
		return int64(binary.LittleEndian.Uint64(b)), true
	}
	return 0, false
}

func floatAt(t ValueType, b []byte) float64 {
	if t == Float32 {
		return float64(math.Float32frombits(binary.LittleEndian.Uint32(b)))
	}
	return math.Float64frombits(binary.LittleEndian.Uint64(b))
}

// strings decodes an array of strings; the lengths were checked when the value was made.
func (v Value) strings() []string {
	out := make([]string, v.n)
	b := v.raw
	for i := range out {
		n := binary.LittleEndian.Uint64(b)
		out[i] = string(b[8 : 8+n])
		b = b[8+n:]
	}
	return out
}

// Any is the value as a Go value of the type that corresponds: uint32, string, []string, []float32, …
func (v Value) Any() any {
	if v.typ == Array {
		return v.anySlice()
	}
	switch v.typ {
	case String:
		return string(v.raw)
	case Bool:
		return v.raw[0] != 0
	}
	return numberAny(v.typ, v.raw)
}

func numberAny(t ValueType, b []byte) any {
	switch t {
	case Float32:
		return float32(floatAt(t, b))
	case Float64:
		return floatAt(t, b)
	case Uint64:
		return binary.LittleEndian.Uint64(b)
	}
	x, _ := intAt(t, b)
	switch t {
	case Uint8:
		return uint8(x)
	case Int8:
		return int8(x)
	case Uint16:
		return uint16(x)
	case Int16:
		return int16(x)
	case Uint32:
		return uint32(x)
	case Int32:
		return int32(x)
	}
	return x
}

func (v Value) anySlice() any {
	switch v.elem {
	case String:
		return v.strings()
	case Bool:
		out := make([]bool, v.n)
		for i := range out {
			out[i] = v.raw[i] != 0
		}
		return out
	case Uint8:
		return append([]uint8{}, v.raw...)
	case Int8:
		return decodeAll[int8](v)
	case Uint16:
		return decodeAll[uint16](v)
	case Int16:
		return decodeAll[int16](v)
	case Uint32:
		return decodeAll[uint32](v)
	case Int32:
		return decodeAll[int32](v)
	case Uint64:
		return decodeAll[uint64](v)
	case Int64:
		return decodeAll[int64](v)
	case Float32:
		return decodeAll[float32](v)
	default:
		return decodeAll[float64](v)
	}
}

func decodeAll[T number](v Value) []T {
	out := make([]T, v.n)
	// raw holds exactly n elements: checked when the value was made.
	if _, err := binary.Decode(v.raw, binary.LittleEndian, out); err != nil {
		panic(fmt.Sprintf("gguf: %s value holds %d bytes: %v", v.TypeName(), len(v.raw), err))
	}
	return out
}

// String shows the value in one short line: strings quoted and cut at 60 characters, arrays with their first elements.
func (v Value) String() string {
	switch {
	case v.typ == String:
		return quoteShort(string(v.raw))
	case v.typ != Array:
		return fmt.Sprint(v.Any())
	}
	const show = 4
	short := v.head(show)
	var parts []string
	switch xs := short.Any().(type) {
	case []string:
		for _, s := range xs {
			parts = append(parts, quoteShort(s))
		}
	default:
		parts = append(parts, strings.Trim(strings.ReplaceAll(fmt.Sprint(xs), " ", ", "), "[]"))
	}
	if v.n > show {
		parts = append(parts, "…")
	}
	return fmt.Sprintf("[%s] (%d %s)", strings.Join(parts, ", "), v.n, v.elem)
}

// head is the array cut to its first n elements.
func (v Value) head(n int) Value {
	if v.n <= n {
		return v
	}
	v.n = n
	if v.elem != String {
		v.raw = v.raw[:n*valueTypes[v.elem].size]
	}
	return v
}

func quoteShort(s string) string {
	r := []rune(s)
	if len(r) > 60 {
		return fmt.Sprintf("%q…", string(r[:60]))
	}
	return fmt.Sprintf("%q", s)
}
