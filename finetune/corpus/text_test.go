package corpus

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ggtune/ggtune/engine"
	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/engine/synth"
	"github.com/ggtune/ggtune/finetune/config"
	"github.com/ggtune/ggtune/finetune/encode"
	"github.com/ggtune/ggtune/finetune/method"
)

const barTemplate = `{% for m in messages %}[{{ m.role }}] {{ m.content }}|{% endfor %}` +
	`{% if add_generation_prompt %}[assistant] {% endif %}`

// textOf opens a tiny model with the given template and reads the data written in lines.
func textOf(t *testing.T, template string, change func(c *config.Config), lines ...string) (*Reader, *Rows, error) {
	t.Helper()
	return textFor(t, nil, template, change, lines...)
}

// textFor is textOf for a method that need not be registered; nil: the one that the configuration names.
func textFor(t *testing.T, how *method.Method, template string, change func(c *config.Config),
	lines ...string) (*Reader, *Rows, error) {
	t.Helper()
	spec := synth.Tiny("llama", gguf.F32)
	spec.ChatTemplate = template
	c := config.Default()
	c.Model = synth.Temp(t, spec)
	path := filepath.Join(t.TempDir(), "data.jsonl")
	if err := os.WriteFile(path, []byte(strings.Join(lines, "\n")), 0o666); err != nil {
		t.Fatal(err)
	}
	c.Data = []string{path}
	if change != nil {
		change(&c)
	}
	m, err := engine.Open(c.Model)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	if how == nil {
		if how, err = c.Loss(); err != nil {
			t.Fatal(err)
		}
	}
	s, err := Open(&c, m, how)
	if err != nil {
		return nil, nil, err
	}
	t.Cleanup(func() { s.Close() })
	r, err := s.Read(t.Context())
	return s, r, err
}

// countedText spells the counted tokens of an item.
func countedText(s *Reader, it *encode.Item) string {
	var b strings.Builder
	for i, id := range it.Tokens {
		if it.Counted[i] {
			b.WriteString(s.text.enc.Piece(id))
		}
	}
	return b.String()
}

// TestMasks: what counts in each kind of example, by mask and method.
func TestMasks(t *testing.T) {
	chat := `{"messages": [{"role": "user", "content": "ab"}, {"role": "assistant", "content": "cd"}, {"role": ` +
		`"user", "content": "ef"}, {"role": "assistant", "content": "gh"}]}`
	pair := `{"prompt": "ab", "completion": " cd"}`
	text := `{"text": "ab cd"}`
	for _, tc := range []struct {
		name, line string
		change     func(c *config.Config)
		with, not  []string
	}{
		{"every answer", chat, nil, []string{"cd", "gh"}, []string{"ab", "ef", "user"}},
		{"last answer", chat, func(c *config.Config) { c.Mask = "last" }, []string{"gh"}, []string{"cd", "ab"}},
		{"everything", chat, func(c *config.Config) { c.Mask = "all" }, []string{"ab", "cd", "[user]", "gh"}, nil},
		{"cpt of a conversation", chat, func(c *config.Config) { c.Method = "cpt" },
			[]string{"ab", "cd", "[user]", "gh"}, nil},
		{"completion", pair, nil, []string{"cd"}, []string{"ab"}},
		{"cpt of a completion", pair, func(c *config.Config) { c.Method = "cpt" }, []string{"b cd"}, nil},
		{"text", text, nil, []string{"b cd"}, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s, r, err := textOf(t, barTemplate, tc.change, tc.line)
			if err != nil {
				t.Fatal(err)
			}
			got := countedText(s, &r.Train.Items[0])
			for _, w := range tc.with {
				if !strings.Contains(got, w) {
					t.Errorf("%q counts, which lacks %q", got, w)
				}
			}
			for _, w := range tc.not {
				if strings.Contains(got, w) {
					t.Errorf("%q counts, which holds %q", got, w)
				}
			}
		})
	}
}

// TestDataNotes: what is left out or stands in is said, with its place.
func TestDataNotes(t *testing.T) {
	chat := `{"messages": [{"role": "user", "content": "ab"}, {"role": "assistant", "content": "cd"}]}`
	long := fmt.Sprintf(`{"messages": [{"role": "user", "content": %q}, {"role": "assistant", "content": "cd"}]}`,
		strings.Repeat("word ", 60))
	_, r, err := textOf(t, "", func(c *config.Config) { c.SeqLen = 32 }, chat, long)
	if err != nil {
		t.Fatal(err)
	}
	notes := strings.Join(r.Notes, "\n")
	for _, want := range []string{"has no chat template", "left out: 1 example whose prompt fills a row of 32 tokens",
		"data.jsonl:2"} {
		if !strings.Contains(notes, want) {
			t.Errorf("notes %q lack %q", notes, want)
		}
	}
	if c := r.Train.Counts; c.Examples != 2 || c.DroppedCut != 1 || c.Items != 1 {
		t.Errorf("counts %+v", c)
	}
	_, _, err = textOf(t, `{{ raise_exception("no") }}`, nil, chat)
	if err == nil || !strings.Contains(err.Error(), "data.jsonl:1") || !strings.Contains(err.Error(), "--template") {
		t.Errorf("a template that fails: got %v", err)
	}
	if _, _, err = textOf(t, barTemplate, func(c *config.Config) { c.Template = "chatmll" }, chat); err == nil ||
		!strings.Contains(err.Error(), `"chatml"`) {
		t.Errorf("an unknown template: got %v", err)
	}
}

// TestSplitIsDisjoint: held-out examples are not trained on, and together they are all.
func TestSplitIsDisjoint(t *testing.T) {
	var lines []string
	for i := range 20 {
		lines = append(lines, fmt.Sprintf(`{"prompt": "p%d", "completion": " c%d"}`, i, i))
	}
	_, r, err := textOf(t, "", func(c *config.Config) { c.EvalSplit = config.Fixed(0.25) }, lines...)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[int]int{}
	for _, d := range []*encode.Dataset{r.Train, r.Held} {
		for _, it := range d.Items {
			seen[it.Source.Line]++
		}
	}
	if len(seen) != 20 || len(r.Held.Items) != 5 || len(r.Train.Items) != 15 {
		t.Errorf("%d held out, %d trained, lines %v", len(r.Held.Items), len(r.Train.Items), seen)
	}
	tokens, _ := r.Probe(0)
	if r.HeldRows.Rows() == 0 || tokens == nil {
		t.Error("no held-out rows, or no probe")
	}
	_, _, err = textOf(t, "", func(c *config.Config) { c.EvalSplit = config.Fixed(0.5) }, lines[0])
	if err == nil || !strings.Contains(err.Error(), "at least 2") {
		t.Errorf("one example to split: got %v", err)
	}
}

// TestLearnedPositions: where positions are learned, examples end at the last of them.
func TestLearnedPositions(t *testing.T) {
	gpt2 := synth.Temp(t, synth.Tiny("gpt2", gguf.F32)) // context 128
	long := fmt.Sprintf(`{"text": %q}`, strings.Repeat("a b c ", 200))
	_, r, err := textOf(t, "", func(c *config.Config) { c.Model, c.SeqLen = gpt2, 300 }, long)
	if err != nil {
		t.Fatal(err)
	}
	for _, it := range r.Train.Items {
		if len(it.Tokens) > 128 {
			t.Errorf("an example of %d tokens", len(it.Tokens))
		}
	}
	if !strings.Contains(strings.Join(r.Notes, "\n"), "128 positions") {
		t.Errorf("notes %q", r.Notes)
	}
	_, r, err = textOf(t, "", func(c *config.Config) { c.SeqLen = 300 }, long)
	if err != nil || !strings.Contains(strings.Join(r.Notes, "\n"), "was trained to read 128 at once") {
		t.Errorf("beyond a llama's context: notes %q, %v", r.Notes, err)
	}
}

// TestRoomNotes: a row length that is more than the model was trained for, or than any example takes, is said.
func TestRoomNotes(t *testing.T) {
	usual := config.Default().SeqLen
	for _, tc := range []struct {
		name                             string
		seqLen, context, longest, widest int
		packing                          string
		want                             string
	}{
		{"usual", usual, 4 * usual, 100, 100, "best-fit", ""},
		{"the usual length", usual, usual / 2, 100, 100, "best-fit", ""},
		{"more than it was trained for", 4096, 2048, 100, 120, "best-fit",
			"more than the 2048 tokens that m.gguf was trained to read at once; the longest example has 100"},
		{"the same, and it does not say", 4096, 0, 100, 120, "best-fit",
			"the longest has 120 tokens, and only rows that hold several"},
		{"more than any takes, packed", 1024, 2048, 100, 120, "sequential",
			"the longest has 120 tokens, and only rows that hold several"},
		{"more than any takes, each in a row", 1024, 2048, 100, 120, "none",
			"the longest has 120 tokens, and only rows that hold several"},
		{"as the longest", 120, 2048, 100, 120, "best-fit", ""},
		{"nothing is left", 1024, 2048, 0, 0, "best-fit", ""},
	} {
		c := config.Default()
		c.SeqLen, c.Packing = tc.seqLen, tc.packing
		r := &Reader{cfg: &c, context: tc.context, limit: encode.Limits{SeqLen: tc.seqLen},
			text: &text{model: "m.gguf"}}
		got := strings.Join(r.roomNotes(tc.longest, tc.widest), "\n")
		if (got == "") != (tc.want == "") || !strings.Contains(got, tc.want) {
			t.Errorf("%s: got %q, want %q", tc.name, got, tc.want)
		}
	}
}
