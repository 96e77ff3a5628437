package corpus

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/ggtune/ggtune/bindings/llama"
	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/engine/synth"
	"github.com/ggtune/ggtune/finetune/config"
	"github.com/ggtune/ggtune/finetune/data"
	"github.com/ggtune/ggtune/finetune/encode"
	"github.com/ggtune/ggtune/finetune/method"
	"github.com/ggtune/ggtune/internal/count"
	"github.com/ggtune/ggtune/internal/setting"
	"github.com/ggtune/ggtune/internal/testdata"
)

var (
	pairs    = &method.Method{Name: "pairs", Need: method.Pairs}
	verdicts = &method.Method{Name: "verdicts", Need: method.Verdicts}
)

// branches spells the segments of a tree, counted tokens in brackets.
func branches(s *Reader, it *encode.Item) []string {
	var out []string
	for _, g := range it.Segments {
		var b strings.Builder
		for i := g.Start; i < g.Start+g.Len; i++ {
			if it.Counted[i] {
				fmt.Fprintf(&b, "[%s]", s.text.enc.Piece(it.Tokens[i]))
			} else {
				b.WriteString(s.text.enc.Piece(it.Tokens[i]))
			}
		}
		out = append(out, b.String())
	}
	return out
}

const chatTurns = `[{"role": "user", "content": "ab"}, {"role": "assistant", "content": "cd"}, {"role": "user", ` +
	`"content": "ef"}]`

// TestPairs: a preference becomes its prompt and two answers, of which no word of the prompt counts.
func TestPairs(t *testing.T) {
	chat := `{"prompt": ` + chatTurns + `, "chosen": [{"role": "assistant", "content": "gh"}], "rejected": ` +
		`[{"role": "assistant", "content": "gi"}, {"role": "user", "content": "jk"}, {"role": "assistant", ` +
		`"content": "lm"}]}`
	root := "<s> [user] ab|[assistant] cd|[user] ef|[assistant] "
	for _, tc := range []struct {
		name, line string
		want       []string
	}{
		{"literal", `{"prompt": "ab", "chosen": " cd", "rejected": " ce"}`,
			[]string{"<s> ab", "[ ][c][d][</s>]", "[ ][c][e][</s>]"}},
		{"empty prompt", `{"prompt": "", "chosen": "cd", "rejected": "ce"}`,
			[]string{"<s>", "[ ][c][d][</s>]", "[ ][c][e][</s>]"}},
		{"messages", chat, []string{root, "[g][h][|][</s>]", "[g][i][|][user] jk|[assistant] [l][m][|][</s>]"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s, r, err := textFor(t, pairs, barTemplate, nil, tc.line)
			if err != nil {
				t.Fatal(err)
			}
			if got := branches(s, &r.Train.Items[0]); !slices.Equal(got, tc.want) {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}

// TestCutOff: the end of an answer that was cut off does not count.
func TestCutOff(t *testing.T) {
	for prompt, want := range map[string][]string{
		`"ab"`:    {"<s> ab", "[ ][c][</s>]", "[ ][d]</s>"},
		chatTurns: {"<s> [user] ab|[assistant] cd|[user] ef|[assistant] ", "[ ][c][|][</s>]", "[ ][d]|"},
	} {
		s, r, err := textFor(t, pairs, barTemplate, nil,
			`{"prompt": `+prompt+`, "answers": [{"text": " d", "stop": "length"}, {"text": " c", "stop": "end"}], `+
				`"choice": "b"}`)
		if err != nil {
			t.Fatal(err)
		}
		if got := branches(s, &r.Train.Items[0]); !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
		if notes := strings.Join(r.Notes, "\n"); !strings.Contains(notes,
			"1 example: an answer was cut off when it was written; its end is not trained on; the first at ") {
			t.Errorf("notes %q", notes)
		}
	}
}

// TestVerdicts: each verdict stands with its label beside the next answer to another prompt.
func TestVerdicts(t *testing.T) {
	s, r, err := textFor(t, verdicts, barTemplate, nil,
		`{"prompt": "ab", "completion": " c", "label": true}`,
		`{"prompt": "ab", "completion": " d", "label": false}`,
		`{"prompt": `+chatTurns+`, "completion": [{"role": "assistant", "content": "e"}], "label": true}`)
	if err != nil {
		t.Fatal(err)
	}
	chat := "<s> [user] ab|[assistant] cd|[user] ef|[assistant] "
	for i, want := range []struct {
		label    float64
		branches []string
	}{
		{1, []string{"<s> ab", "[ ][c][</s>]", "[e][</s>]"}},
		{0, []string{"<s> ab", "[ ][d][</s>]", "[e][</s>]"}},
		{1, []string{chat, "[e][|][</s>]", "[ ][c][|][</s>]"}},
	} {
		it := &r.Train.Items[i]
		if got := branches(s, it); it.Label != want.label || !slices.Equal(got, want.branches) {
			t.Errorf("example %d: got %g, %q, want %g, %q", i, it.Label, got, want.label, want.branches)
		}
	}
}

// TestPairsAsVerdicts: pairs serve a method that learns from verdicts.
func TestPairsAsVerdicts(t *testing.T) {
	_, r, err := textFor(t, verdicts, "", nil, `{"prompt": "ab", "chosen": " c", "rejected": " d"}`,
		`{"prompt": "cd", "chosen": " e", "rejected": " f"}`)
	if err != nil {
		t.Fatal(err)
	}
	if a, b := r.Train.Classes(); a != 2 || b != 2 {
		t.Errorf("got %d desirable and %d undesirable, want 2 of each", a, b)
	}
}

func TestBadJudgements(t *testing.T) {
	good := `{"prompt": "ab", "completion": " c", "label": true}`
	for _, tc := range []struct {
		name   string
		how    *method.Method
		change func(c *config.Config)
		lines  []string
		want   string
	}{
		{"one verdict", verdicts, nil, []string{good}, "data.jsonl:1: every verdict (1) is on one answer, and " +
			"verdicts sets each beside the answer to another example"},
		{"one answer", verdicts, nil, []string{good, `{"prompt": "cd", "completion": " c", "label": false}`},
			"every verdict (2) is on one answer"},
		{"one class", verdicts, nil, []string{good, `{"prompt": "cd", "completion": " d", "label": true}`},
			"data.jsonl:1: every answer that is left (2) is desirable, and --method verdicts needs both kinds: add " +
				"undesirable ones, labelled false"},
		{"the other class", verdicts, nil, []string{`{"prompt": "cd", "completion": " c", "label": false}`,
			`{"prompt": "cd", "completion": " d", "label": false}`},
			"is undesirable, and --method verdicts needs both kinds: add desirable ones, labelled true"},
		{"plain data", pairs, nil, []string{`{"prompt": "cd", "completion": " c"}`}, "learns from pairs"},
		{"all too long", pairs, func(c *config.Config) { c.SeqLen = 8 },
			[]string{`{"prompt": "ab", "chosen": " cdefgh", "rejected": " d"}`}, "--seq-len 14 takes them in"},
		{"nothing to split", pairs, func(c *config.Config) { c.EvalSplit = config.Fixed(0.5) },
			[]string{`{"prompt": "ab", "chosen": " c", "rejected": " d"}`}, "part of 1 example; at least 2"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, _, err := textFor(t, tc.how, "", tc.change, tc.lines...)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got  %v\nwant %s", err, tc.want)
			}
		})
	}
}

// TestTreeNotes: what is left out or cut for its length is said, with what would take it in.
func TestTreeNotes(t *testing.T) {
	long := `{"prompt": "cd", "chosen": " cdefghijklmnop", "rejected": " d"}`
	_, r, err := textFor(t, pairs, "", func(c *config.Config) { c.SeqLen = 16 },
		`{"prompt": "ab", "chosen": " c", "rejected": " d"}`, long)
	if err != nil {
		t.Fatal(err)
	}
	if c := r.Train.Counts; c.DroppedLong != 1 || c.Items != 1 {
		t.Errorf("counts %+v", c)
	}
	want := "longer than a row of 16 tokens (answers that are compared are not cut); the first is"
	if notes := strings.Join(r.Notes, "\n"); !strings.Contains(notes, want) ||
		!strings.Contains(notes, "data.jsonl:2; --seq-len 23 takes all in") {
		t.Errorf("notes %q", notes)
	}
	_, r, err = textFor(t, verdicts, "", func(c *config.Config) { c.SeqLen = 14 },
		`{"prompt": "ab", "completion": " c", "label": false}`,
		`{"prompt": "cd", "completion": " efghij", "label": true}`)
	if err != nil {
		t.Fatal(err)
	}
	if notes := strings.Join(r.Notes, "\n"); !strings.Contains(notes,
		"beside 1 verdict the other example's answer is cut") {
		t.Errorf("notes %q", notes)
	}
}

// TestEmptyPrompt: where the model writes no token before the text, an example with an empty prompt is left out,
// counted and told of, like any other that cannot be used; it is refused only if that is asked for, or if nothing else
// is there.
func TestEmptyPrompt(t *testing.T) {
	noBOS := func(c *config.Config) { c.Model = synth.Temp(t, synth.Tiny("qwen2", gguf.F32)) }
	strict := func(c *config.Config) { noBOS(c); c.Strict = true }
	empty := `{"prompt": "", "chosen": "cd", "rejected": "xy"}`
	good := []string{`{"prompt": "ab", "chosen": " c", "rejected": " d"}`,
		`{"prompt": "ef", "chosen": " e", "rejected": " f"}`}
	for _, tc := range []struct {
		name    string
		how     *method.Method
		change  func(c *config.Config)
		lines   []string
		dropped int
		err     string
	}{
		{"pairs", pairs, noBOS, append(good[:2:2], empty), 1, ""},
		{"verdicts", verdicts, noBOS, append(good[:2:2], empty), 2, ""},
		{"strict", pairs, strict, append(good[:2:2], empty), 0, "data.jsonl:3: its answers have no token before them"},
		{"no other", pairs, noBOS, []string{empty}, 0, "none of 1 example is left: 1 with no token before the " +
			"answers"},
		{"with BOS", pairs, nil, append(good[:2:2], empty), 0, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, r, err := textFor(t, tc.how, "", tc.change, tc.lines...)
			if tc.err != "" {
				if err == nil || !strings.Contains(err.Error(), tc.err) {
					t.Errorf("got  %v\nwant %s", err, tc.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			c := r.Train.Counts
			if c.DroppedBare != tc.dropped || c.Examples != c.Items+tc.dropped {
				t.Errorf("got %+v, want %d dropped", c, tc.dropped)
			}
			note := fmt.Sprintf("left out: %s whose answers have no token before them to be predicted from",
				count.Of(tc.dropped, "example"))
			if notes := strings.Join(r.Notes, "\n"); tc.dropped > 0 &&
				(!strings.Contains(notes, note) || !strings.Contains(notes, "data.jsonl:3")) {
				t.Errorf("notes %q", notes)
			}
		})
	}
}

// TestLists: the answers of a ranked list share a tree, the best first, each once; their pairs keep weights and
// margins. With --ranked-rows pair each pair is a tree, and so is what older runs did.
func TestLists(t *testing.T) {
	const line = `{"prompt": "ab", "responses": [" c", " d", " e", " c"], "scores": [1, 3, 3, 2]}`
	weighed := &method.Method{Name: "weighed", Need: method.Pairs, Weighs: true, Value: method.AtEnds,
		Loss: func(*method.Inputs, setting.Values) (method.Result, error) { return method.Result{}, nil }}
	_, r, err := textFor(t, weighed, "{% for m in messages %}{{ m.role }} {{ m.content }}|{% endfor %}"+
		"{% if add_generation_prompt %}assistant {% endif %}", nil, line, line)
	if err != nil {
		t.Fatal(err)
	}
	if n := len(r.Train.Items); n != 2 || r.Train.Counts.Examples-r.Train.Counts.DroppedRead != 8 {
		t.Fatalf("%d items, %+v", n, r.Train.Counts)
	}
	// "d" and "e" tie; "c" is one answer, though it comes twice: against itself it is no pair.
	it := r.Train.Items[1]
	want := []encode.Pair{{Chosen: 1, Rejected: 3, Weight: 0.25}, {Chosen: 2, Rejected: 3, Weight: 0.25},
		{Chosen: 1, Rejected: 3, Weight: 0.25}, {Chosen: 2, Rejected: 3, Weight: 0.25}}
	if len(it.Segments) != 4 || !slices.Equal(it.Pairs, want) || it.Prompt == [32]byte{} {
		t.Errorf("%d segments, pairs %v, want 4 and %v", len(it.Segments), it.Pairs, want)
	}
	for _, apart := range []config.Config{{RankedRows: "pair"}, config.Before()} {
		_, r, err = textFor(t, weighed, barTemplate, func(c *config.Config) { c.RankedRows = apart.RankedRows }, line)
		if err != nil {
			t.Fatal(err)
		}
		for _, it := range r.Train.Items {
			want := []encode.Pair{{Chosen: 1, Rejected: 2, Weight: 0.25}}
			if len(it.Segments) != 3 || !slices.Equal(it.Pairs, want) {
				t.Errorf("of a pair: %d segments, %v", len(it.Segments), it.Pairs)
			}
		}
		if n := len(r.Train.Items); n != 4 {
			t.Errorf("%d pairs, want 4", n)
		}
	}
}

// TestLongLists: a list that is longer than a row becomes several trees that fit, with all its pairs; two answers that
// no row holds are left out and counted.
func TestLongLists(t *testing.T) {
	var responses, scores []string
	for i := range 9 {
		responses = append(responses, fmt.Sprintf(`"%s"`, strings.Repeat(string(rune('a'+i)), 3+i)))
		scores = append(scores, fmt.Sprint(i))
	}
	line := fmt.Sprintf(`{"prompt": "p", "responses": [%s], "scores": [%s]}`, strings.Join(responses, ", "),
		strings.Join(scores, ", "))
	for _, c := range []struct{ room, dropped int }{{200, 0}, {60, 0}, {40, 12}} {
		_, apart, err := textFor(t, pairs, barTemplate, func(cfg *config.Config) {
			cfg.SeqLen, cfg.RankedRows = c.room, "pair"
		}, line)
		if err != nil {
			t.Fatal(err)
		}
		if d := apart.Train.Counts.DroppedLong; d != c.dropped {
			t.Errorf("rows of %d: of pairs %d are left out, want %d", c.room, d, c.dropped)
		}
		_, r, err := textFor(t, pairs, barTemplate, func(cfg *config.Config) { cfg.SeqLen = c.room }, line)
		if err != nil {
			t.Fatal(err)
		}
		n, longest := 0, 0
		for _, it := range r.Train.Items {
			n, longest = n+len(it.Pairs), max(longest, len(it.Tokens))
		}
		if d := r.Train.Counts.DroppedLong; d != c.dropped || n != 36-d || longest > c.room {
			t.Errorf("rows of %d: %d of 36 pairs in %d trees of at most %d tokens, %d left out, want %d", c.room, n,
				len(r.Train.Items), longest, d, c.dropped)
		}
		if one := len(r.Train.Items) == 1; one != (c.room == 200) {
			t.Errorf("rows of %d: %d trees", c.room, len(r.Train.Items))
		}
	}
}

// TestSplitKeepsPrompts: no prompt is both trained on and held out; where there is only one, no record is.
func TestSplitKeepsPrompts(t *testing.T) {
	var lines, same []string
	for i := range 30 {
		lines = append(lines, fmt.Sprintf(`{"prompt": "p%d", "chosen": " c%d", "rejected": " d%d"}`, i%10, i, i))
		same = append(same, fmt.Sprintf(`{"prompt": "p", "responses": ["c%d", "d%d", "e%d"], "scores": [1, 2, 3]}`,
			i, i, i))
	}
	for _, tc := range []struct {
		name  string
		lines []string
		group func(line int) int
		held  int
	}{
		{"prompts", lines, func(line int) int { return (line - 1) % 10 }, 6},
		{"one prompt", same, func(line int) int { return line }, 6},
	} {
		_, r, err := textFor(t, pairs, barTemplate, func(c *config.Config) { c.EvalSplit = config.Fixed(0.2) },
			tc.lines...)
		if err != nil {
			t.Fatal(err)
		}
		trained := map[int]bool{}
		for _, it := range r.Train.Items {
			trained[tc.group(it.Source.Line)] = true
		}
		for _, it := range r.Held.Items {
			if trained[tc.group(it.Source.Line)] {
				t.Errorf("%s: %s is held out, and its like are trained on", tc.name, it.Source)
			}
		}
		if len(r.Held.Items) != tc.held {
			t.Errorf("%s: %d held out, want %d", tc.name, len(r.Held.Items), tc.held)
		}
	}
}

// TestRealPreferences encodes real preferences with published templates and their tokenizers: a tree reads along each
// answer what the conversation reads alone, one BOS, and counts the answer and its end, nothing else.
func TestRealPreferences(t *testing.T) {
	for _, c := range []struct{ template, vocab string }{
		{"Qwen-Qwen2.5-7B-Instruct", "rebuilt-qwen2.5"},
		{"Qwen-Qwen3-0.6B", "rebuilt-qwen2.5"},
		{"meta-llama-Llama-3.2-3B-Instruct", "rebuilt-llama3.2"},
		{"microsoft-Phi-3.5-mini-instruct", "ggml-vocab-phi-3"},
	} {
		t.Run(c.template, func(t *testing.T) {
			source, err := os.ReadFile(testdata.Path(t, "templates", c.template+".jinja"))
			if err != nil {
				t.Fatal(err)
			}
			path := testdata.Path(t, "tokenizers", c.vocab+".gguf")
			v, err := llama.LoadVocab(path)
			if err != nil {
				t.Fatal(err)
			}
			defer v.Close()
			cfg := config.Default()
			s := &Reader{cfg: &cfg, text: &text{vocab: v, model: path, own: string(source)},
				limit: encode.Limits{SeqLen: 1 << 20}}
			if err := s.text.open(); err != nil {
				t.Fatal(err)
			}
			for _, f := range []struct {
				file string
				want data.Want
			}{
				{"dpo_en_demo.json", data.WantPairs}, {"dpo_zh_demo.json", data.WantPairs},
				{"v1_dpo_demo.jsonl", data.WantPairs},
				{"llms_from_scratch_preference.json", data.WantPairs},
				{"alpaca_eval_gpt4_judged.jsonl", data.WantPairs},
				{"mctaco_answer_pairs.jsonl", data.WantPairs}, {"kto_en_demo.json", data.WantVerdicts},
				{"mctaco_answers_kto.jsonl", data.WantVerdicts},
			} {
				ds, err := data.Open(context.Background(), []string{testdata.Path(t, "preference", f.file)},
					data.Options{Want: f.want})
				if err != nil {
					t.Fatal(err)
				}
				for i := 0; i < ds.Len(); i += max(ds.Len()/10, 1) {
					x, err := ds.At(i)
					if err != nil {
						t.Fatal(err)
					}
					y, err := ds.At((i + 7) % ds.Len())
					if err != nil {
						t.Fatal(err)
					}
					checkTree(t, s, &x, &y)
				}
				ds.Close()
			}
		})
	}
}

// checkTree checks the tree of a pair, or of a verdict beside another.
func checkTree(t *testing.T, s *Reader, x, other *data.Example) {
	t.Helper()
	answers := x.Answers
	tree, err := s.tree(x)
	if x.Kind == data.KindVerdict {
		answers = []data.Answer{x.Answers[0], other.Answers[0]}
		tree, err = s.verdict(x, other)
	}
	if err != nil {
		t.Fatal(err)
	}
	root := tree.Segments[0]
	for i := range answers {
		alone, err := s.text.answered(x, &answers[i])
		if err != nil {
			t.Fatal(err)
		}
		g := tree.Segments[i+1]
		if got := slices.Concat(tree.Tokens[:root.Len], tree.Tokens[g.Start:g.Start+g.Len]); !slices.Equal(got,
			alone.Tokens) {
			t.Fatalf("%s: the tree reads %v, alone %v", x.Source, got, alone.Tokens)
		}
		if got := slices.Concat(tree.Counted[:root.Len], tree.Counted[g.Start:g.Start+g.Len]); !slices.Equal(got,
			alone.Counted) {
			t.Fatalf("%s: the tree counts %v, alone %v", x.Source, got, alone.Counted)
		}
		if bos := s.text.vocab.BOS(); s.text.vocab.AddBOS() &&
			(alone.Tokens[0] != bos || slices.Contains(alone.Tokens[1:], bos)) {
			t.Errorf("%s: not one BOS: %v", x.Source, alone.Tokens)
		}
		counted, last := "", int32(-1)
		for k := g.Start; k < g.Start+g.Len; k++ {
			if tree.Counted[k] {
				counted, last = counted+s.text.enc.Piece(tree.Tokens[k]), tree.Tokens[k]
			}
		}
		said := answers[i].Text
		if m := answers[i].Messages; m != nil {
			said = m[len(m)-1].Content
		}
		if !strings.Contains(counted, strings.TrimSpace(said)) || !s.text.vocab.IsEOG(last) {
			t.Errorf("%s: counted is %q, which lacks %q or its end", x.Source, counted, said)
		}
		if extra := len(counted) - len(said); extra > 48 { // a mark or two, and a template's empty reasoning
			t.Errorf("%s: counted is %q, %d bytes more than %q", x.Source, counted, extra, said)
		}
	}
	// The root is all that is shared before the answers.
	a, b := tree.Segments[1], tree.Segments[2]
	if tree.Tokens[a.Start] == tree.Tokens[b.Start] && !tree.Counted[a.Start] && !tree.Counted[b.Start] {
		t.Errorf("%s: the root of %d tokens leaves out a shared one", x.Source, root.Len)
	}
}

// TestInspectChoices: data of preferences is shown as what it is where no method is named.
func TestInspectChoices(t *testing.T) {
	s, _, err := textFor(t, pairs, barTemplate, nil, `{"prompt": "ab", "chosen": " cd", "rejected": " ce"}`)
	if err != nil {
		t.Fatal(err)
	}
	v, err := Inspect(t.Context(), s.cfg, 1)
	if err != nil {
		t.Fatal(err)
	}
	if len(v.Notes) == 0 || v.Notes[0] != "the data holds pairs, and is shown as --method dpo reads it" ||
		len(v.Examples[0].Answers) != 2 {
		t.Errorf("notes %q, examples %+v", v.Notes, v.Examples)
	}
	it := v.Rows[0].Items[0]
	parts := make([]string, 3)
	for _, tok := range it.Tokens {
		parts[tok.Segment] += tok.Text
	}
	if !slices.Equal(it.Segments, []string{"prompt", "chosen", "rejected"}) ||
		!slices.Equal(parts, []string{"<s> ab", " cd</s>", " ce</s>"}) {
		t.Errorf("got %q: %q", it.Segments, parts)
	}
}
