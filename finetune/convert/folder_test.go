package convert_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ggtune/ggtune/bindings/llama"
	"github.com/ggtune/ggtune/engine/arch"
	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/engine/synth"
	"github.com/ggtune/ggtune/finetune/convert"
	"github.com/ggtune/ggtune/quant"
)

// folders are the recorded files and how their folders were made (scripts/record_folder.py).
var folders = map[string]convert.FolderJob{"llama": {PartBytes: 40e3}, "llama_spm": {}, "qwen2": {}, "qwen3": {},
	"gpt2": {}, "mistral": {}}

// saved makes the folder of a recorded file. That of llama_spm is made of its own folder: llama.cpp's converter gives
// all its tokens one score, which is no order of merges.
func saved(t *testing.T, name string) (source, dir string) {
	t.Helper()
	source = filepath.Join(recorded, name+".gguf")
	if name == "llama_spm" {
		source = filepath.Join(t.TempDir(), name+".gguf")
		if _, err := convert.Model(context.Background(),
			convert.ModelJob{In: filepath.Join(recorded, name), Out: source}); err != nil {
			t.Fatal(err)
		}
	}
	job := folders[name]
	job.In, job.Out = source, filepath.Join(t.TempDir(), name)
	r, err := convert.Folder(context.Background(), job)
	if err != nil {
		t.Fatal(err)
	}
	for _, note := range r.Notes {
		if !strings.HasPrefix(note, "beside added tokens") {
			t.Errorf("%s: left out: %s", name, note)
		}
	}
	return source, job.Out
}

// hubOf gives how Hugging Face has an architecture.
func hubOf(t *testing.T, name string) arch.Hub {
	t.Helper()
	a, err := arch.Get(name)
	if err != nil {
		t.Fatal(err)
	}
	return a.Hub
}

// TestNoFolder: a model of an architecture whose folders are not known is refused, and leaves nothing behind.
func TestNoFolder(t *testing.T) {
	in, out := synth.Temp(t, synth.Tiny("gemma3", gguf.F32)), filepath.Join(t.TempDir(), "folder")
	_, err := convert.Folder(context.Background(), convert.FolderJob{In: in, Out: out})
	if err == nil || !strings.Contains(err.Error(), "models of gemma3 are not carried over") {
		t.Errorf("got %v", err)
	}
	if _, err := os.Stat(out); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("something is there: %v", err)
	}
}

// TestFolderBack: of every architecture, the file that a folder was made of comes back, byte for byte.
func TestFolderBack(t *testing.T) {
	for _, name := range arch.Names() {
		if _, ok := folders[name]; !ok && hubOf(t, name).Folders() {
			t.Errorf("architecture %s has no folder here", name)
		}
	}
	for name := range folders {
		t.Run(name, func(t *testing.T) {
			source, dir := saved(t, name)
			out := filepath.Join(t.TempDir(), "model.gguf")
			if _, err := convert.Model(context.Background(), convert.ModelJob{In: dir, Out: out}); err != nil {
				t.Fatal(err)
			}
			if name == "mistral" { // whose converter knows no post-processor, and scores of tokens that no merge makes
				want := []string{"tokenizer.ggml.add_sep_token", "tokenizer.ggml.scores"}
				if got := differences(t, out, source); !slices.Equal(got, want) {
					t.Errorf("what came back differs in %q, want %q", got, want)
				}
				return
			}
			if !bytes.Equal(read(t, out), read(t, source)) {
				t.Errorf("another file came back; %v", differences(t, out, source))
			}
		})
	}
}

// TestFolderDefinition: tokenizer.json is the one that the recorded file was made of, but for what a file does not hold
// and changes no token; Llama 3's ignore_merges, which small vocabularies lack; and merges that lead to a token that
// others lead to as well, for llama.cpp joins by scores whatever the parts.
func TestFolderDefinition(t *testing.T) {
	free := cmp.FilterPath(func(p cmp.Path) bool {
		return slices.Contains([]string{`["trim_offsets"]`, `["normalized"]`, `["type_id"]`, `["ignore_merges"]`},
			p.Last().String())
	}, cmp.Ignore())
	for name := range folders {
		if name == "mistral" {
			continue // has none
		}
		t.Run(name, func(t *testing.T) {
			_, dir := saved(t, name)
			got := object(t, filepath.Join(dir, "tokenizer.json"))
			want := object(t, filepath.Join(recorded, name, "tokenizer.json"))
			ours, theirs := merges(got), merges(want)
			if !subsequence(theirs, ours) || name != "llama_spm" && len(ours) != len(theirs) {
				t.Errorf("%d merges that are not, or not in the order of, the model's %d", len(ours), len(theirs))
			}
			if diff := cmp.Diff(want, got, free); diff != "" {
				t.Errorf("tokenizer.json differs from the one of the model (- theirs, + ours):\n%s", diff)
			}
		})
	}
}

// merges takes the merges out of a definition, which writes them as pairs or as one text.
func merges(definition map[string]any) (out []string) {
	model := definition["model"].(map[string]any)
	for _, one := range model["merges"].([]any) {
		if pair, ok := one.([]any); ok {
			one = fmt.Sprintf("%v %v", pair[0], pair[1])
		}
		out = append(out, one.(string))
	}
	delete(model, "merges")
	return out
}

// subsequence says whether all of a list is in another, in its order.
func subsequence(list, of []string) bool {
	for _, one := range of {
		if len(list) > 0 && list[0] == one {
			list = list[1:]
		}
	}
	return len(list) == 0
}

func object(t *testing.T, path string) (m map[string]any) {
	t.Helper()
	if err := json.Unmarshal(read(t, path), &m); err != nil {
		t.Fatal(err)
	}
	return m
}

// logpNoise bounds the root mean square of differences of log-probabilities. Measured: 4e-3 with weights of bf16, with
// which llama.cpp rounds activations too, 4e-4 of f16 and 4e-7 of f32.
const logpNoise = 8e-3

// TestFolderTransformers: transformers reads the folder (recorded of the same bytes): it makes the same tokens of a
// text as llama.cpp does with the file, and computes the same.
func TestFolderTransformers(t *testing.T) {
	for name := range folders {
		t.Run(name, func(t *testing.T) {
			var theirs struct {
				Text, Decoded string
				Files         map[string]string
				IDs           []int32
				SentencePiece []int32
				Logp          []float64
				Template      string `json:"chat_template"`
			}
			if err := json.Unmarshal(read(t, filepath.Join(recorded, name+".folder.json")), &theirs); err != nil {
				t.Fatal(err)
			}
			source, dir := saved(t, name)
			files := map[string]string{}
			list, err := os.ReadDir(dir)
			if err != nil {
				t.Fatal(err)
			}
			for _, one := range list {
				files[one.Name()] = fmt.Sprintf("%x", sha256.Sum256(read(t, filepath.Join(dir, one.Name()))))
			}
			if !maps.Equal(files, theirs.Files) {
				t.Fatalf("the folder is not the one that was recorded (scripts/record_folder.py): %s",
					cmp.Diff(theirs.Files, files))
			}
			f := open(t, source)
			if own, err := f.StringOr("tokenizer.chat_template", ""); err != nil || own != theirs.Template {
				t.Errorf("the template is %q (%v), and transformers has %q", own, err, theirs.Template)
			}
			if theirs.Decoded != theirs.Text {
				t.Errorf("transformers reads %q as %q", theirs.Text, theirs.Decoded)
			}
			ids, logp := byLlama(t, source, theirs.Text)
			if theirs.SentencePiece != nil && !slices.Equal(ids[1:], theirs.SentencePiece) { // behind BOS
				t.Errorf("llama.cpp makes tokens %v, SentencePiece %v", ids, theirs.SentencePiece)
			}
			if !slices.Equal(ids, theirs.IDs) {
				t.Fatalf("llama.cpp makes tokens %v, transformers %v", ids, theirs.IDs)
			}
			sum := 0.0
			for i, x := range logp {
				sum += (x - theirs.Logp[i]) * (x - theirs.Logp[i])
			}
			t.Logf("log-probabilities differ by %g", math.Sqrt(sum/float64(len(logp))))
			if rms := math.Sqrt(sum / float64(len(logp))); !(rms < logpNoise) {
				t.Errorf("log-probabilities differ by %g (RMS), at most %g is rounding", rms, logpNoise)
			}
		})
	}
}

// byLlama gives a text's tokens, and of each but the first its log-probability.
func byLlama(t *testing.T, path, text string) (ids []int32, logp []float64) {
	t.Helper()
	m, err := llama.OpenModel(path, llama.VerifyModelOptions())
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if ids, err = m.Vocab().Encode(text, true, true); err != nil {
		t.Fatal(err)
	}
	c, err := m.NewContext(llama.VerifyContextOptions(64, 1))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	at := make([]int, len(ids)-1)
	for i := range at {
		at[i] = i
	}
	rows, err := c.Logits(context.Background(), ids, at)
	if err != nil {
		t.Fatal(err)
	}
	n := len(rows) / len(at)
	for i := range at {
		row, sum := rows[i*n:(i+1)*n], 0.0
		for _, x := range row {
			sum += math.Exp(float64(x))
		}
		logp = append(logp, float64(row[ids[i+1]])-math.Log(sum))
	}
	return ids, logp
}

// TestFolderOfQuantized: a quantized model's weights come back as they are computed with, and the published merges of
// a vocabulary come out of its scores.
func TestFolderOfQuantized(t *testing.T) {
	const models = "../../../shared/data/models/"
	in := models + "TinyStories-656K/TinyStories-656K-q8_0.gguf"
	if _, err := os.Stat(in); errors.Is(err, fs.ErrNotExist) {
		t.Skipf("%s is not here", in)
	}
	dir, back := filepath.Join(t.TempDir(), "model"), filepath.Join(t.TempDir(), "model.gguf")
	r, err := convert.Folder(context.Background(), convert.FolderJob{In: in, Out: dir, Type: "f32"})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(r.Notes, func(s string) bool { return strings.Contains(s, "weights by 0 %") }) {
		t.Errorf("f32 holds what q8_0 does; the notes are %q", r.Notes)
	}
	if _, err := convert.Model(context.Background(), convert.ModelJob{In: dir, Out: back}); err != nil {
		t.Fatal(err)
	}
	f, g := open(t, in), open(t, back)
	for i := range g.Tensors {
		j := slices.IndexFunc(f.Tensors, func(one gguf.TensorInfo) bool { return one.Name == g.Tensors[i].Name })
		want, got := make([]float32, g.Tensors[i].Elements()), make([]float32, g.Tensors[i].Elements())
		if err := errors.Join(quant.FileRows(f).Read(j, 0, want), quant.FileRows(g).Read(i, 0, got)); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(got, want) {
			t.Errorf("tensor %q is another", g.Tensors[i].Name)
		}
	}
	theirs := merges(object(t, models+"raw/TinyStories-656K/tokenizer.json"))
	ours := merges(object(t, filepath.Join(dir, "tokenizer.json")))
	if len(theirs) < 1000 || !subsequence(theirs, ours) {
		t.Errorf("%d merges that are not, or not in the order of, the published %d", len(ours), len(theirs))
	}
}
