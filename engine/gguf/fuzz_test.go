package gguf

import (
	"bytes"
	"context"
	"errors"
	"testing"
)

// FuzzParse: no input panics; what is refused is refused by kind; what is accepted can be read in every way, and
// written and read again to the same.
func FuzzParse(f *testing.F) {
	good := encode(f, small(f))
	f.Add(good)
	f.Add(good[:len(good)/2])
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := parse(b)
		if err != nil {
			if !errors.Is(err, ErrNotGGUF) && !errors.Is(err, ErrTruncated) && !errors.Is(err, ErrMalformed) {
				t.Fatalf("an error of no kind: %v", err)
			}
			return
		}
		w := &Writer{}
		for _, kv := range h.kvs {
			_ = kv.Value.String()
			_ = kv.Value.Any()
			w.Set(kv.Key, kv.Value)
		}
		for _, ti := range h.tensors {
			if ti.Offset < 0 || ti.Size <= 0 || ti.Offset > int64(len(b))-ti.Size || ti.Offset%minAlignment != 0 {
				t.Fatalf("tensor %q at %d+%d of %d bytes", ti.Name, ti.Offset, ti.Size, len(b))
			}
			if err := w.AddBytes(ti.Name, ti.Type, ti.Shape, b[ti.Offset:ti.Offset+ti.Size]); err != nil {
				t.Fatal(err)
			}
		}
		first := encode(t, w)
		again, err := parse(first)
		if err != nil {
			t.Fatalf("what was written is refused: %v", err)
		}
		if len(again.kvs) != len(h.kvs) || len(again.tensors) != len(h.tensors) {
			t.Fatalf("%d keys and %d tensors became %d and %d", len(h.kvs), len(h.tensors), len(again.kvs),
				len(again.tensors))
		}
		for i, ti := range again.tensors {
			was := h.tensors[i]
			if ti.Name != was.Name ||
				!bytes.Equal(first[ti.Offset:ti.Offset+ti.Size], b[was.Offset:was.Offset+was.Size]) {
				t.Fatalf("tensor %q changed", was.Name)
			}
		}
		var second bytes.Buffer
		if _, err := w.Write(context.Background(), &second); err != nil || !bytes.Equal(first, second.Bytes()) {
			t.Fatalf("written twice, it differs: %v", err)
		}
	})
}
