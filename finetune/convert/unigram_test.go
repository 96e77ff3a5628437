package convert_test

import (
	"context"
	"encoding/json"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ggtune/ggtune/bindings/llama"
	"github.com/ggtune/ggtune/engine/arch"
	"github.com/ggtune/ggtune/finetune/convert"
)

// vectorNoise bounds how far numbers of vectors of length √n may be from transformers'. Measured: 5e-4, which is
// llama.cpp's table of GELU in f16.
const vectorNoise = 2e-3

// TestUnigramsInLlamaCpp: with the converted file llama.cpp makes the tokens that SentencePiece makes, in many
// languages (engine/hub's TestUnigram has where Hugging Face's tokenizers departs from these), and of those the vector
// that transformers makes: positions begin where they should, behind the padding token of an XLM-RoBERTa, and at the
// table's first row of a BERT with such a vocabulary.
func TestUnigramsInLlamaCpp(t *testing.T) {
	for _, name := range []string{"xlmr", "e5"} {
		t.Run(name, func(t *testing.T) {
			var theirs struct {
				Texts         []string
				IDs           [][]int32
				SentencePiece [][]int32
				Mean          []float64
			}
			if err := json.Unmarshal(read(t, filepath.Join(recorded, name+".words.json")), &theirs); err != nil {
				t.Fatal(err)
			}
			out := filepath.Join(t.TempDir(), "model.gguf")
			job := convert.ModelJob{In: filepath.Join(recorded, name), Out: out, Type: "f32"}
			if _, err := convert.Model(context.Background(), job); err != nil {
				t.Fatal(err)
			}
			m, err := llama.OpenModel(out, llama.VerifyModelOptions())
			if err != nil {
				t.Fatal(err)
			}
			defer m.Close()
			for i, text := range theirs.Texts {
				want := theirs.SentencePiece[i]
				if strings.Contains(text, "<s>") { // which SentencePiece takes for text
					want = theirs.IDs[i]
				}
				if got, err := m.Vocab().Encode(text, false, true); err != nil || !slices.Equal(got, want) {
					t.Errorf("%q: %v (%v), want %v", text, got, err, want)
				}
			}
			got := meanByLlama(t, m, theirs.Texts[0])
			if far := farthest(got, theirs.Mean); !(far <= vectorNoise) {
				t.Errorf("llama.cpp's vector is up to %g from transformers': %v, want %v", far, got, theirs.Mean)
			} else {
				t.Logf("numbers of the vector differ by up to %.2g", far)
			}
		})
	}
}

// meanByLlama gives llama.cpp's vector of a text.
func meanByLlama(t *testing.T, m *llama.Model, text string) []float32 {
	t.Helper()
	ids, err := m.Vocab().Encode(text, true, true)
	if err != nil {
		t.Fatal(err)
	}
	o := llama.VerifyContextOptions(len(ids), 1)
	o.Gives, o.Pooling = llama.GivesPooled, int(arch.PoolMean)
	c, err := m.NewContext(o)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	v, err := c.Pooled(context.Background(), ids)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// farthest is the largest difference of two vectors' numbers.
func farthest(got []float32, want []float64) (far float64) {
	if len(got) != len(want) {
		return math.Inf(1)
	}
	for i := range want {
		far = max(far, math.Abs(float64(got[i])-want[i]))
	}
	return far
}
