package run

import (
	"bytes"
	"encoding/json"
	"flag"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ggtune/ggtune/bindings/llama"
	"github.com/ggtune/ggtune/engine/arch"
	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/engine/synth"
	"github.com/ggtune/ggtune/engine/verify"
	"github.com/ggtune/ggtune/finetune/config"
	"github.com/ggtune/ggtune/finetune/report"
	"github.com/ggtune/ggtune/quant/imatrix"
)

// The files of testdata/imatrix are llama-imatrix's own, of the llama.cpp that llama-cpp-python 0.3.36 carries (cmake
// -DCMAKE_BUILD_TYPE=Release -DGGML_NATIVE=ON --target llama-imatrix). To record them again:
//
//	go test ./finetune/run -run TestImportanceRecorded -llama-imatrix /path/to/llama-imatrix
var llamaImatrix = flag.String("llama-imatrix", "", "record testdata/imatrix with this program of llama.cpp's")

// recordedTokens are those of a row, which is a chunk to llama-imatrix.
const recordedTokens = 32

// sumsTolerance is how far, relative to a tensor's largest, sums of squares may be from llama.cpp's, which adds up f32
// in f32, 7e-7 was measured; gpt2's GELU it takes from a table of f16 numbers, with which 1.4e-4 was measured.
const (
	sumsTolerance = 3e-6
	geluTolerance = 5e-4
)

// unrecorded are architectures of which the tool's own sums are still to come.
var unrecorded = map[string]bool{"gemma2": true, "gemma3": true, "smollm3": true, "olmo2": true, "granite": true,
	"ernie4_5": true, "hunyuan-dense": true, "exaone4": true, "cohere2": true, "starcoder2": true, "stablelm": true,
	"phi3": true, "mistral3": true, "glm4": true, "qwen3moe": true, "gpt-oss": true,
	"olmoe": true, "granitemoe": true, "gemma4": true, "lfm2": true}

// TestImportanceRecorded: over the same text the sums and counts of ggtune imatrix are those that llama.cpp's own tool
// wrote, for every architecture; its file is the same when it is written again, and its older form weighs the same.
func TestImportanceRecorded(t *testing.T) {
	for _, name := range arch.Predicting() {
		t.Run(name, func(t *testing.T) {
			spec := synth.Tiny(name, gguf.F32)
			spec.Tokenizer = synth.Qwen2 // which adds no BOS: llama-imatrix puts one over a chunk's first token
			model := verify.NeedLlama(t, synth.Temp(t, spec))
			dir := t.TempDir()
			rows := recordedRows(t, model)
			recorded := filepath.Join("testdata", "imatrix", name+".gguf")
			if unrecorded[name] && *llamaImatrix == "" {
				t.Skip("llama.cpp's tool has not been run over it yet (-llama-imatrix); engine/verify holds it to a " +
					"collector in llama.cpp")
			}
			if *llamaImatrix != "" {
				recordImatrix(t, dir, model, rows, recorded)
			}
			want, err := imatrix.Read(recorded)
			if err != nil {
				t.Fatal(err)
			}
			cfg := config.Default()
			cfg.Model, cfg.Threads, cfg.Exact, cfg.SeqLen, cfg.Packing = model, 1, true, recordedTokens, "none"
			cfg.Data = []string{filepath.Join(dir, "rows.jsonl")}
			var lines bytes.Buffer
			for _, row := range rows {
				if err := json.NewEncoder(&lines).Encode(map[string]string{"text": row}); err != nil {
					t.Fatal(err)
				}
			}
			if err := os.WriteFile(cfg.Data[0], lines.Bytes(), 0o666); err != nil {
				t.Fatal(err)
			}
			got, e, err := Importance(t.Context(), cfg, report.Silent{})
			if err != nil {
				t.Fatal(err)
			}
			if e.Tokens != len(rows)*recordedTokens || want.Chunks != len(rows) || want.ChunkSize != recordedTokens {
				t.Fatalf("%d tokens here, %d chunks of %d there, want %d rows", e.Tokens, want.Chunks, want.ChunkSize,
					len(rows))
			}
			sameSums(t, got, want, map[bool]float64{true: geluTolerance, false: sumsTolerance}[name == "gpt2"])
			old, err := imatrix.Read(oldForm(recorded))
			if err != nil {
				t.Fatal(err)
			}
			sameWeights(t, old.Weights(), want.Weights())
			written := filepath.Join(dir, "again.gguf")
			if err := want.WriteFile(t.Context(), nil, written); err != nil {
				t.Fatal(err)
			}
			sameTensors(t, written, recorded)
		})
	}
}

// recordedRows are texts of so many tokens each with the one that ends them.
func recordedRows(t *testing.T, model string) (rows []string) {
	t.Helper()
	v, err := llama.LoadVocab(model)
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	text := strings.Repeat("The king had a hat & a horse; 1 day he lost both, and nobody knew. ", 8)
	for len(rows) < 4 {
		n := 1
		for ; ; n++ {
			tokens, err := v.Encode(text[:n], false, false)
			if err != nil {
				t.Fatal(err)
			}
			if len(tokens) == recordedTokens-1 {
				break
			}
		}
		rows, text = append(rows, text[:n]), text[n:]
	}
	return rows
}

// recordImatrix runs llama.cpp's tool: in f32 throughout, as exact mode computes.
func recordImatrix(t *testing.T, dir, model string, rows []string, out string) {
	t.Helper()
	const end = "<|im_end|>"
	text := strings.Join(rows, end) + end
	if err := os.WriteFile(filepath.Join(dir, "calibration.txt"), []byte(text), 0o666); err != nil {
		t.Fatal(err)
	}
	out, err := filepath.Abs(out)
	if err != nil {
		t.Fatal(err)
	}
	for format, out := range map[string]string{"gguf": out, "dat": oldForm(out)} {
		cmd := exec.Command(*llamaImatrix, "-m", model, "-f", "calibration.txt", "--parse-special", "-c", "32", "-b",
			"32", "-ctk", "f32", "-ctv", "f32", "-fa", "off", "-t", "1", "--output-format", format, "-o", out)
		cmd.Dir = dir
		if text, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %v\n%s", cmd.Args, err, text)
		}
	}
}

// oldForm is where the same matrix is in the form of before 2025.
func oldForm(path string) string { return strings.TrimSuffix(path, ".gguf") + ".dat" }

// sameWeights compares what quantizing takes of two matrices: the older form has means of f32, multiplied again.
func sameWeights(t *testing.T, got, want map[string][]float32) {
	t.Helper()
	const rounding = 1e-6
	if d := cmp.Diff(want, got, cmp.Comparer(func(x, y float32) bool {
		return math.Abs(float64(x-y)) <= rounding*math.Abs(float64(x))
	})); d != "" {
		t.Errorf("weights of the older form (-want +got):\n%s", d)
	}
}

func sameSums(t *testing.T, got, want *imatrix.Matrix, tolerance float64) {
	t.Helper()
	theirs := map[string]imatrix.Entry{}
	for _, e := range want.Entries {
		theirs[e.Tensor] = e
	}
	if len(got.Entries) != len(theirs) {
		t.Errorf("got %d entries, want %d", len(got.Entries), len(theirs))
	}
	for _, e := range got.Entries {
		w := theirs[e.Tensor]
		if d := cmp.Diff(w.Counts, e.Counts); d != "" || len(w.Sums) != len(e.Sums) {
			t.Errorf("%s: got %d sums, want %d; counts (-want +got):\n%s", e.Tensor, len(e.Sums), len(w.Sums), d)
			continue
		}
		far, most := 0.0, 0.0
		for i, x := range w.Sums {
			far, most = max(far, math.Abs(float64(e.Sums[i])-float64(x))), max(most, float64(x))
		}
		if !(far <= tolerance*most) {
			t.Errorf("%s: sums differ by %.2g of their largest, want at most %.2g", e.Tensor, far/most, tolerance)
		}
	}
}

// sameTensors compares two importance matrices as files: tensors in any order, their bytes, and the metadata.
func sameTensors(t *testing.T, got, want string) {
	t.Helper()
	var files [2]*gguf.File
	for i, path := range []string{got, want} {
		var err error
		if files[i], err = gguf.Open(path); err != nil {
			t.Fatal(err)
		}
		defer files[i].Close()
	}
	g, w := files[0], files[1]
	if d := cmp.Diff(w.KVs(), g.KVs()); d != "" {
		t.Errorf("metadata (-want +got):\n%s", d)
	}
	if len(g.Tensors) != len(w.Tensors) {
		t.Errorf("%d tensors, want %d", len(g.Tensors), len(w.Tensors))
	}
	for i := range w.Tensors {
		want := &w.Tensors[i]
		got, err := g.Tensor(want.Name)
		if err != nil {
			t.Error(err)
			continue
		}
		x, err := w.Data(want)
		if err != nil {
			t.Fatal(err)
		}
		y, err := g.Data(got)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want.Shape, got.Shape); d != "" || got.Type != want.Type || !bytes.Equal(x, y) {
			t.Errorf("%s: it is another when it is written again: shape (-want +got) %s, type %s, want %s", want.Name,
				d, got.Type, want.Type)
		}
	}
}
