package merge

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/engine/head"
	"github.com/ggtune/ggtune/engine/synth"
	"github.com/ggtune/ggtune/internal/atomicfile/faultfs"
)

// headed is a model of an architecture, an adapter, and a head that goes with both.
func headed(t *testing.T, arch string) (Config, *head.File) {
	t.Helper()
	base := synth.Temp(t, synth.Tiny(arch, gguf.Q8_0))
	c := Config{Model: base, Adapters: []Adapter{{lora(t, base, 3, nil, nil), 1}}, Report: words, Threads: 1}
	c.Output, c.Head = filepath.Join(t.TempDir(), "out.gguf"), filepath.Join(t.TempDir(), "head.gguf")
	f := open(t, base)
	sum, err := f.SHA256(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	adapted, err := fileSHA256(t.Context(), c.Adapters[0].Path)
	if err != nil {
		t.Fatal(err)
	}
	width, err := f.Int(arch + ".embedding_length")
	if err != nil {
		t.Fatal(err)
	}
	h := &head.File{Arch: arch, Purpose: head.Rerank, Weight: head.New(int(width), 3), Mean: 0.25, Base: sum,
		Adapter: adapted}
	for i := range h.Weight {
		h.Weight[i] *= 10
	}
	if err := h.Save(t.Context(), nil, c.Head); err != nil {
		t.Fatal(err)
	}
	return c, h
}

// TestMergeWithHead: llama.cpp ranks with the model that is written, which is the merged one but for the head.
func TestMergeWithHead(t *testing.T) {
	c, h := headed(t, "qwen3")
	r, err := Merge(t.Context(), c, &said{})
	if err != nil {
		t.Fatal(err)
	}
	if k := r.Ranked; k == nil || k.Mean != 0.25 || !(k.Difference < 1e-5) || k.Labels[0] != "relevant" {
		t.Errorf("the result says %+v", k)
	}
	f := open(t, c.Output)
	rows, _, info := numbers(t, f, head.RankTensor)
	if !slices.Equal(info.Shape, []int64{int64(len(h.Weight)), 2}) || !slices.Equal(rows[:len(h.Weight)], h.Weight) ||
		slices.ContainsFunc(rows[len(h.Weight):], func(x float32) bool { return x != 0 }) {
		t.Errorf("the head is %v of shape %v", rows[:4], info.Shape)
	}
	labels, err := f.Strings("qwen3.classifier.output_labels")
	if err != nil || !slices.Equal(labels, []string{"relevant", "irrelevant"}) {
		t.Errorf("labels %v, %v", labels, err)
	}
	if kind, err := f.Uint32("qwen3.pooling_type"); err != nil || kind != 4 {
		t.Errorf("pooling %d, %v", kind, err)
	}
	c.Output, c.Head = filepath.Join(t.TempDir(), "plain.gguf"), ""
	if r, err := Merge(t.Context(), c, &said{}); err != nil || r.Ranked != nil {
		t.Fatalf("without the head: %+v, %v", r.Ranked, err)
	}
	plain := open(t, c.Output)
	if len(f.Tensors) != len(plain.Tensors)+1 {
		t.Errorf("%d tensors with the head, %d without", len(f.Tensors), len(plain.Tensors))
	}
	for i := range plain.Tensors {
		_, want, _ := numbers(t, plain, plain.Tensors[i].Name)
		if _, got, _ := numbers(t, f, plain.Tensors[i].Name); !slices.Equal(got, want) {
			t.Errorf("%s is another with the head", plain.Tensors[i].Name)
		}
	}
}

func TestHeadRefused(t *testing.T) {
	c, _ := headed(t, "llama")
	refused := func(want string, c Config) {
		t.Helper()
		_, err := Merge(t.Context(), c, &said{})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
		if left, err := os.ReadDir(filepath.Dir(c.Output)); err != nil || len(left) != 0 {
			t.Errorf("%v is left behind: %v", left, err)
		}
	}
	refused(`llama.cpp reads a classification head of other architectures than "llama"`, c)
	c, h := headed(t, "qwen3")
	two := c
	two.Adapters = []Adapter{c.Adapters[0], c.Adapters[0]}
	refused("a head belongs to the one adapter", two)
	half := c
	half.Adapters = []Adapter{{c.Adapters[0].Path, 0.5}}
	refused("with scale 1", half)
	missing := c
	missing.Head = filepath.Join(t.TempDir(), "none.gguf")
	refused("none.gguf", missing)
	h.Adapter = strings.Repeat("0", 64)
	if err := h.Save(t.Context(), nil, c.Head); err != nil {
		t.Fatal(err)
	}
	refused("with another adapter", c)
	c.Head = c.Adapters[0].Path
	refused("not a head", c)
}

// TestHeadFaults: whatever file operation fails, there is the whole model or nothing.
func TestHeadFaults(t *testing.T) {
	c, _ := headed(t, "qwen3")
	count := faultfs.New(nil, 0, faultfs.Fail, nil)
	c.FS = count
	if _, err := Merge(t.Context(), c, &said{}); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Dir(c.Output)
	for at := 1; at < count.Ops(); at++ { // the last flushes the directory: the file is there then
		if err := os.Remove(c.Output); err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		c.FS = faultfs.New(nil, at, faultfs.Fail, nil)
		if _, err := Merge(t.Context(), c, &said{}); err == nil {
			t.Errorf("operation %d, %s, fails, and nobody says so", at, count.Log()[at-1])
		}
		nothingLeft(t, dir)
	}
}
