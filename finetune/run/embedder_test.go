package run

import (
	"context"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/ggtune/ggtune/bindings/llama"
	"github.com/ggtune/ggtune/engine/arch"
	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/engine/verify"
	"github.com/ggtune/ggtune/finetune/corpus"
	"github.com/ggtune/ggtune/finetune/report"
	"github.com/ggtune/ggtune/finetune/vectors"
)

func openEmbedder(t *testing.T, pooling string) (*Embedder, string) {
	t.Helper()
	c := tinyConfig(t, gguf.F32)
	c.Data, c.Pooling, c.Exact, c.DocumentPrefix = nil, pooling, true, "text: "
	e, err := OpenEmbedder(t.Context(), c, "", nil, report.Silent{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	return e, c.Model
}

// TestEmbedderAsLlamaCpp: a text's vector is llama.cpp's, of what its own tokenizer makes of the text and the prefix.
func TestEmbedderAsLlamaCpp(t *testing.T) {
	texts := []corpus.Text{{Source: "1", Text: "once upon a time"}, {Source: "2", Text: "a"},
		{Source: "3", Text: "there was a little girl who had a dog and a cat and a house"}}
	for _, pooling := range []string{"mean", "last", "cls"} {
		e, model := openEmbedder(t, pooling)
		got, err := e.Documents(t.Context(), texts, false)
		if err != nil {
			t.Fatal(err)
		}
		v, err := llama.LoadVocab(model)
		if err != nil {
			t.Fatal(err)
		}
		defer v.Close()
		var tokens [][]int32
		for _, x := range texts {
			ids, err := v.Encode("text: "+x.Text, true, true)
			if err != nil {
				t.Fatal(err)
			}
			tokens = append(tokens, ids)
		}
		p, err := arch.PoolingOf(pooling)
		if err != nil {
			t.Fatal(err)
		}
		want, err := verify.Pooled(context.Background(), model, tokens, p, 1)
		if err != nil {
			t.Fatal(err)
		}
		for i := range texts {
			const noise = 1e-6 // measured 2e-7: of cosines and lengths, which are in 32 bits
			c, length := vectors.Cosine(got.Row(i), want[i]), vectors.Norm(got.Row(i))
			if math.Abs(c-1) > noise || math.Abs(length-1) > noise {
				t.Errorf("pooling %s, text %d: cosine %.9f, length %.9f", pooling, i, c, length)
			}
		}
	}
}

// TestEmbedderAlone: a text's vector is the same to the bit whatever it is computed with.
func TestEmbedderAlone(t *testing.T) {
	e, _ := openEmbedder(t, "mean")
	texts := []corpus.Text{{Source: "1", Text: "once upon a time"}, {Source: "2", Text: "a dog"},
		{Source: "3", Text: "b"}}
	all, err := e.Raw(t.Context(), "", texts, "", false)
	if err != nil {
		t.Fatal(err)
	}
	for i := range texts {
		one, err := e.Raw(t.Context(), "", texts[i:i+1], "", false)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(one.Data, all.Row(i)) {
			t.Errorf("text %d alone: %v, with others: %v", i, one.Data, all.Row(i))
		}
	}
	if _, err := e.Queries(t.Context(), []corpus.Text{{Source: "d.jsonl:3", Text: " \n"}}, false); err == nil ||
		!strings.Contains(err.Error(), "d.jsonl:3: the text is empty") {
		t.Errorf("an empty text: got %v", err)
	}
}
