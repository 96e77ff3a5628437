package main

import (
	"context"
	"encoding/binary"
	"math"
	"strconv"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/ggtune/ggtune/engine/gguf"
)

func init() { scriptCommands["spoil"] = scriptSpoil }

// scriptSpoil: `spoil FROM TO TENSOR NUMBER|TYPE` copies a GGUF file with all elements of an f32 tensor replaced by a
// number, which may be nan, or with its bytes declared to be of another type of the same size.
func scriptSpoil(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 4 {
		ts.Fatalf("usage: spoil FROM TO TENSOR NUMBER|TYPE")
	}
	f, err := gguf.Open(ts.MkAbs(args[0]))
	ts.Check(err)
	defer f.Close()
	_, err = f.Tensor(args[2])
	ts.Check(err)
	var w gguf.Writer
	w.CopyMetadata(f)
	for i := range f.Tensors {
		t := &f.Tensors[i]
		if t.Name != args[2] {
			ts.Check(w.AddFrom(f, t))
			continue
		}
		data, err := f.Data(t)
		ts.Check(err)
		typ, b := t.Type, append([]byte(nil), data...)
		if x, err := strconv.ParseFloat(args[3], 64); err != nil {
			typ, err = gguf.ParseType(args[3])
			ts.Check(err)
		} else {
			for at := 0; at < len(b); at += 4 {
				binary.LittleEndian.PutUint32(b[at:], math.Float32bits(float32(x)))
			}
		}
		ts.Check(w.AddBytes(t.Name, typ, t.Shape, b))
	}
	ts.Check(w.WriteFile(context.Background(), nil, ts.MkAbs(args[1])))
}
