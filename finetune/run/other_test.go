package run

import (
	"encoding/json"
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/engine/synth"
	"github.com/ggtune/ggtune/finetune/config"
	"github.com/ggtune/ggtune/finetune/corpus"
	"github.com/ggtune/ggtune/finetune/report"
)

// otherVectors is the tolerance of vectors of texts that share a pass with others, relative to the largest number:
// sums may go in another order. Measured 0.
const otherVectors = 1e-5

// otherConfig is a run by a method that learns from another embedder, with another kind of tokens.
func otherConfig(t *testing.T, how string, name func(c *config.Config) *string) config.Config {
	t.Helper()
	c := vectorConfig(t, how)
	*name(&c) = synth.Temp(t, synth.Tiny("bert", gguf.F32))
	c.Steps, c.QueryPrefix, c.DocumentPrefix = 4, "q: ", "d: "
	return c
}

func guideOf(c *config.Config) *string   { return &c.Guide }
func teacherOf(c *config.Config) *string { return &c.Teacher }

// TestOtherReads: the reference's vectors are those that a guide, or a teacher, makes of the texts with their prefixes,
// of each text once.
func TestOtherReads(t *testing.T) {
	otherReads(t, "gist", guideOf)
	otherReads(t, "distill-kl", teacherOf)
}

func otherReads(t *testing.T, how string, name func(c *config.Config) *string) {
	t.Helper()
	c := otherConfig(t, how, name)
	f, err := os.OpenFile(c.Data[0], os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	again := strings.Split(readFile(t, c.Data[0]), "\n")[0]
	_, err = f.WriteString(strings.Replace(again, "two", "four", 1) + "\n")
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
	r := begun(t, c, func(*run) {})
	g := config.Default()
	g.Model, g.Threads, g.SeqLen, g.QueryPrefix, g.DocumentPrefix = *name(&c), 1, c.SeqLen, c.QueryPrefix,
		c.DocumentPrefix
	e, err := OpenEmbedder(t.Context(), g, "", nil, report.Silent{})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	lines := strings.Split(readFile(t, c.Data[0]), "\n")
	width, worst, size := e.m.model.HParams().NEmbd, 0.0, 0.0
	texts := map[string]bool{} // of all the data, with their prefixes
	for _, line := range lines[:len(lines)-1] {
		var x struct{ Anchor, Positive, Negative string }
		if err := json.Unmarshal([]byte(line), &x); err != nil {
			t.Fatal(err)
		}
		texts["q: "+x.Anchor], texts["d: "+x.Positive], texts["d: "+x.Negative] = true, true, true
	}
	for i, it := range r.rows.Train.Items {
		var x struct{ Anchor, Positive, Negative string }
		if err := json.Unmarshal([]byte(lines[it.Source.Line-1]), &x); err != nil {
			t.Fatal(err)
		}
		for k, text := range []string{x.Anchor, x.Positive, x.Negative} {
			prefix := map[bool]string{true: "q: ", false: "d: "}[k == 0]
			want, err := e.Raw(t.Context(), "", []corpus.Text{{Source: "x", Text: text}}, prefix, false)
			if err != nil {
				t.Fatal(err)
			}
			got := r.refs.train.said[r.refs.train.start[i]+k*width:][:width]
			for d, w := range want.Row(0) {
				worst, size = max(worst, math.Abs(float64(got[d]-w))), max(size, math.Abs(float64(w)))
			}
		}
	}
	if made, all := len(r.refs.train.made), 3*(len(lines)-1); made != len(texts) || made != all-2 {
		t.Errorf("vectors were made of %d texts, want of %d, two of which are twice among %d", made, len(texts), all)
	}
	if t.Logf("%.2g of %.2g apart", worst, size); !(worst <= otherVectors*size) {
		t.Errorf("vectors are %g apart of %g", worst, size)
	}
}

// TestGuideResumes: a run with a guide ends in the same bits after a stop, and goes on with no other guide.
func TestGuideResumes(t *testing.T) {
	c := otherConfig(t, "gist", guideOf)
	c.RefCache = filepath.Join(t.TempDir(), "kept.bin")
	straight := c
	straight.Output = filepath.Join(t.TempDir(), "straight")
	mustTrain(t, straight)
	stopAndResume(t, c, func(e report.Event) bool {
		s, ok := e.(report.Step)
		return ok && s.Step == 2
	}, func() {
		resumed, err := ResumeConfig(c.Output)
		if err != nil {
			t.Fatal(err)
		}
		resumed.Guide = c.Model
		if _, err := Train(t.Context(), *resumed, report.Silent{}); err == nil ||
			!strings.Contains(err.Error(), "--guide: ") {
			t.Errorf("a guide that is no embedder: %v", err)
		}
		resumed.Guide = ""
		if _, err := Train(t.Context(), *resumed, report.Silent{}); err == nil ||
			!strings.Contains(err.Error(), "--guide: none is not the one the run began with ("+c.Guide) {
			t.Errorf("no guide any more: %v", err)
		}
	})
	sameResult(t, c.Output, straight.Output)
}
