package embed

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ggtune/ggtune/engine"
	"github.com/ggtune/ggtune/engine/safetensors"
	"github.com/ggtune/ggtune/finetune/vectors"
)

// a reader's vector of a text is its length and its first token.
type reader struct {
	passes int
	most   int // tokens of a pass
	bad    int32
}

func (r *reader) Forward(_ context.Context, b *engine.Batch, o engine.Options) (engine.Outputs, error) {
	r.passes++
	var out []float32
	for _, row := range b.Rows {
		r.most = max(r.most, len(row.Tokens))
		for _, i := range row.Pooled {
			s := row.Segments[i]
			if s.Parent != -1 {
				return nil, errors.New("texts see each other")
			}
			v := []float32{float32(s.Len), float32(row.Tokens[s.Start])}
			if row.Tokens[s.Start] == r.bad {
				v[1] = float32(math.NaN())
			}
			out = append(out, v...)
		}
	}
	return engine.Outputs{engine.Pooled: out}, nil
}

// TestAll: each text gets its own vector, whatever shares a pass with it, and passes are no longer than they may be.
func TestAll(t *testing.T) {
	var texts [][]int32
	for i := range 400 {
		texts = append(texts, slices.Repeat([]int32{int32(i)}, 1+i*37%90))
	}
	texts = append(texts, slices.Repeat([]int32{7}, passTokens+500))
	r, done := &reader{bad: -1}, 0
	m, err := All(t.Context(), r, texts, Options{Progress: func(n int) { done = n }})
	if err != nil {
		t.Fatal(err)
	}
	for i, x := range texts {
		if want := []float32{float32(len(x)), float32(x[0])}; !slices.Equal(m.Row(i), want) {
			t.Fatalf("text %d: got %v, want %v", i, m.Row(i), want)
		}
	}
	if done != len(texts) || r.most != passTokens+500 || r.passes > 25 {
		t.Errorf("%d texts done in %d passes of up to %d tokens", done, r.passes, r.most)
	}
	r.bad = 3
	if _, err := All(t.Context(), r, texts, Options{}); err == nil || !strings.Contains(err.Error(), "text 4 is no "+
		"number") {
		t.Errorf("a vector of no number: got %v", err)
	}
	for _, none := range [][][]int32{nil, {{1}, {}}} {
		if _, err := All(t.Context(), r, none, Options{}); err == nil {
			t.Errorf("%v: accepted", none)
		}
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	stop := errors.New("stop")
	cancel(stop)
	if _, err := All(ctx, r, texts, Options{}); !errors.Is(err, stop) {
		t.Errorf("cancelled: got %v", err)
	}
}

// TestWriteFile: each form holds the numbers. The bytes before those of .npy are numpy.save's (NumPy 2.4).
func TestWriteFile(t *testing.T) {
	m := vectors.Matrix{Width: 3, Data: []float32{1, -2, 0.5, 4, 5, 6}}
	dir := t.TempDir()
	write := func(name string) string {
		t.Helper()
		path := filepath.Join(dir, name)
		err := WriteFile(t.Context(), path, m, func(i int) Line {
			return Line{Source: "x:1", Text: "<a>", Vector: m.Row(i)}
		})
		if err != nil {
			t.Fatal(err)
		}
		return path
	}
	b, err := os.ReadFile(write("x.npy"))
	if err != nil {
		t.Fatal(err)
	}
	head := "\x93NUMPY\x01\x00v\x00{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }"
	head += strings.Repeat(" ", 127-len(head)) + "\n"
	if !bytes.HasPrefix(b, []byte(head)) || len(b) != len(head)+24 || math.Float32frombits(
		uint32(b[132])|uint32(b[133])<<8|uint32(b[134])<<16|uint32(b[135])<<24) != -2 {
		t.Errorf("npy: got %q", b)
	}
	f, err := safetensors.Open(write("x.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	got := make([]float32, 6)
	if x := f.Tensor("embeddings"); x == nil || !slices.Equal(x.Shape, []int64{2, 3}) {
		t.Errorf("safetensors: got %+v", x)
	} else if err := f.ReadFloats(got, x, 0); err != nil || !slices.Equal(got, m.Data) {
		t.Errorf("safetensors: got %v, %v", got, err)
	}
	text, err := os.ReadFile(write("x.JSONL"))
	if err != nil {
		t.Fatal(err)
	}
	var l Line
	if err := json.Unmarshal(bytes.Split(text, []byte("\n"))[1], &l); err != nil || l.Text != "<a>" ||
		!slices.Equal(l.Vector, m.Row(1)) || bytes.Contains(text, []byte(`\u003c`)) {
		t.Errorf("jsonl: got %s, %v", text, err)
	}
	if err := CheckName("x.csv"); err == nil || !strings.Contains(err.Error(), ".npy, .safetensors, .jsonl") {
		t.Errorf("got %v", err)
	}
}
