package data

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/format"
)

// writeValue writes a Parquet value as the JSON that the row would have in a JSONL file: the fields of a struct in
// the order of the schema, without those that are null, because a struct has the fields of all rows and is padded
// with nulls.
func writeValue(b *bytes.Buffer, n parquet.Node, v any) error {
	switch v := v.(type) {
	case nil:
		b.WriteString("null")
	case string:
		writeBytes(b, n, v)
	case []byte:
		writeBytes(b, n, string(v))
	case float32:
		return writeFloat(b, float64(v), v)
	case float64:
		return writeFloat(b, v, v)
	case []any:
		return writeList(b, elementOf(n), v)
	case map[string]any:
		return writeStruct(b, n, v)
	default:
		if m := reflect.ValueOf(v); m.Kind() == reflect.Map {
			return writeMap(b, n, m)
		}
		doc, err := json.Marshal(v)
		b.Write(doc)
		return err
	}
	return nil
}

func writeList(b *bytes.Buffer, element parquet.Node, list []any) error {
	b.WriteByte('[')
	for i, x := range list {
		if i > 0 {
			b.WriteByte(',')
		}
		if err := writeValue(b, element, x); err != nil {
			return err
		}
	}
	b.WriteByte(']')
	return nil
}

func writeStruct(b *bytes.Buffer, n parquet.Node, m map[string]any) error {
	if list, element, ok := wrapped(n, m); ok {
		return writeList(b, element, list)
	}
	fields := fieldsOf(n)
	if !slices.ContainsFunc(fields, func(f parquet.Field) bool { _, ok := m[f.Name()]; return ok }) {
		return writeMap(b, n, reflect.ValueOf(m))
	}
	b.WriteByte('{')
	first := true
	for _, f := range fields {
		v := m[f.Name()]
		if v == nil {
			continue
		}
		if !first {
			b.WriteByte(',')
		}
		first = false
		writeString(b, f.Name())
		b.WriteByte(':')
		if err := writeValue(b, f, v); err != nil {
			return err
		}
	}
	b.WriteByte('}')
	return nil
}

// writeMap writes a column of maps, which the library gives without an order, by its keys.
func writeMap(b *bytes.Buffer, n parquet.Node, m reflect.Value) error {
	value := n
	if kv := fieldsOf(n); len(kv) == 1 && len(fieldsOf(kv[0])) == 2 {
		value = fieldsOf(kv[0])[1]
	}
	keys := m.MapKeys()
	slices.SortFunc(keys, func(x, y reflect.Value) int { return strings.Compare(fmt.Sprint(x), fmt.Sprint(y)) })
	b.WriteByte('{')
	for i, k := range keys {
		if i > 0 {
			b.WriteByte(',')
		}
		writeString(b, fmt.Sprint(k))
		b.WriteByte(':')
		if err := writeValue(b, value, m.MapIndex(k).Interface()); err != nil {
			return err
		}
	}
	b.WriteByte('}')
	return nil
}

func fieldsOf(n parquet.Node) []parquet.Field {
	if n.Leaf() {
		return nil
	}
	return n.Fields()
}

// elementOf gives the node of a list's elements: lists are wrapped, {"list": [{"element": x}]}, and the library takes
// the wrapping off the values, not off the schema.
func elementOf(n parquet.Node) parquet.Node {
	outer := fieldsOf(n)
	if len(outer) != 1 || !outer[0].Repeated() {
		return n
	}
	if inner := fieldsOf(outer[0]); len(inner) == 1 {
		return inner[0]
	}
	return outer[0]
}

// wrapped takes the wrapping off a list that is not declared as one.
func wrapped(n parquet.Node, m map[string]any) (list []any, element parquet.Node, ok bool) {
	outer := fieldsOf(n)
	if len(m) != 1 || len(outer) != 1 || outer[0].Name() != "list" || !outer[0].Repeated() {
		return nil, nil, false
	}
	list, ok = m["list"].([]any)
	inner := fieldsOf(outer[0])
	if len(inner) != 1 || !slices.Contains([]string{"element", "item", "array"}, inner[0].Name()) {
		return list, outer[0], ok
	}
	bare := make([]any, len(list))
	for i, x := range list {
		bare[i] = x
		if e, is := x.(map[string]any); is {
			bare[i] = e[inner[0].Name()]
		}
	}
	return bare, inner[0], ok
}

// writeFloat writes a number. What JSON does not have, NaN as pandas writes a missing value, is null.
func writeFloat(b *bytes.Buffer, x float64, as any) error {
	if math.IsNaN(x) || math.IsInf(x, 0) {
		b.WriteString("null")
		return nil
	}
	doc, err := json.Marshal(as)
	b.Write(doc)
	return err
}

// writeBytes writes a byte string as the text it is. Bytes that are no UTF-8 are kept in a column declared to be
// text, so that they are refused as in any other file; in one of plain bytes, such as an image, they make an object
// that no text is read from.
func writeBytes(b *bytes.Buffer, n parquet.Node, v string) {
	text := false
	if t := n.Type().LogicalType(); t != nil {
		_, text = t.Value.(*format.StringType)
	}
	if text || utf8.ValidString(v) {
		writeString(b, v)
		return
	}
	fmt.Fprintf(b, `{"bytes":%d}`, len(v))
}

// writeString writes a JSON string and leaves every byte that JSON allows as it is.
func writeString(b *bytes.Buffer, s string) {
	b.WriteByte('"')
	for i := range len(s) {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			b.WriteByte('\\')
			b.WriteByte(c)
		case c == '\n':
			b.WriteString(`\n`)
		case c < ' ':
			fmt.Fprintf(b, `\u%04x`, c)
		default:
			b.WriteByte(c)
		}
	}
	b.WriteByte('"')
}
