package rate

import (
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func origins(a, b string, c Choice) Record {
	answer := func(name string) Answer {
		x := Answer{Text: name, Name: name, ModelSHA256: "m"}
		if name != "base" {
			x.AdapterSHA256 = &name
		}
		return x
	}
	r := Record{Answers: []Answer{answer(a), answer(b)}, Choice: c}
	if c == Edit {
		text, from := "x", 0
		r.Edited, r.EditedFrom = &text, &from
	}
	r.settle()
	return r
}

func TestWinRates(t *testing.T) {
	s := Summarize([]Record{
		// 2 won, 1 lost, 1 tie
		origins("base", "x.gguf", B), origins("x.gguf", "base", A), origins("x.gguf", "base", B),
		origins("base", "x.gguf", Tie),
		// do not count
		origins("base", "x.gguf", Bad), origins("base", "x.gguf", Skip), origins("base", "x.gguf", Edit),
		origins("x.gguf", "x.gguf", A), // no difference to measure
		origins("y.gguf", "x.gguf", A), origins("x.gguf", "y.gguf", B),
	})
	if len(s.WinRates) != 2 {
		t.Fatalf("got %d rates, want 2: %v", len(s.WinRates), s.WinRates)
	}
	w := s.WinRates[0]
	if w.Of != "x.gguf" || w.Against != "base" || w.Wins != 2 || w.Losses != 1 || w.Ties != 1 || w.Rate != 0.625 {
		t.Errorf("got %+v", w)
	}
	// Two adapters are named in one order, whichever was shown first.
	if w := s.WinRates[1]; w.Of != "x.gguf" || w.Against != "y.gguf" || w.Losses != 2 || w.Rate != 0 || w.Low != 0 {
		t.Errorf("got %+v", w)
	}
	if s.Rated != 10 || s.A != 3 || s.B != 3 || s.Tie != 1 || s.Bad != 1 || s.Edit != 1 || s.Skip != 1 || s.Pairs != 7 {
		t.Errorf("got %+v", s)
	}
	text := s.String()
	for _, want := range []string{"rated              10", "pairs to train on  7",
		"x.gguf beats base in 62.5% of 4 pairs (95% interval ", "1 tied, which counts half"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in:\n%s", want, text)
		}
	}
	if empty := Summarize(nil); empty.WinRates == nil || empty.String() != "rated  0\n" {
		t.Errorf("of nothing: %q", empty.String())
	}
}

// The numbers are R's prop.test(x, n, correct = FALSE).
func TestWilson(t *testing.T) {
	const tolerance = 5e-7 // of the digits recorded
	for _, tt := range []struct{ x, n, low, high float64 }{
		{8, 10, 0.4901625, 0.9433178}, {0, 10, 0, 0.2775328}, {10, 10, 0.7224672, 1}, {50, 100, 0.4038315, 0.5961685},
		{1, 1, 0.2065493, 1},
	} {
		low, high := wilson(tt.x/tt.n, tt.n)
		if math.Abs(low-tt.low) > tolerance || math.Abs(high-tt.high) > tolerance {
			t.Errorf("%v of %v: got %.7f to %.7f, want %.7f to %.7f", tt.x, tt.n, low, high, tt.low, tt.high)
		}
	}
}

func TestReadChoices(t *testing.T) {
	path := filepath.Join(t.TempDir(), "c.jsonl")
	s, _ := openStore(t, nil, path)
	for i := range 3 {
		if err := s.Add(record(i, A)); err != nil {
			t.Fatal(err)
		}
	}
	// While it is being written: no lock is asked for, and a line that is not whole is not yet one.
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString(`{"prompt": "hal`); err != nil {
		t.Fatal(err)
	}
	if got, err := ReadChoices(path); err != nil || len(got) != 3 {
		t.Errorf("got %d, %v; want 3", len(got), err)
	}
	if _, err := f.WriteString("\n"); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadChoices(path); err == nil || !strings.Contains(err.Error(), "c.jsonl:4: ") {
		t.Errorf("a broken line: got %v, want its place", err)
	}
}

func TestReport(t *testing.T) {
	r := Report{Model: "m.gguf", Names: [2]string{"base", "<x>.gguf"}, Sampled: "greedy",
		Failed: []string{"f:3: too long \u202e"}}
	for i := range 2 {
		rec := record(i, "")
		rec.Answers[1] = Answer{Text: "<script>", Stop: "length", Tokens: 9}
		r.Records = append(r.Records, rec)
	}
	r.Records = append(r.Records,
		Record{Prompt: Prompt{Text: "raw"}, Answers: []Answer{{Text: "same"}, {Text: "same"}}})
	var b strings.Builder
	if err := r.WriteHTML(&b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"&lt;x&gt;.gguf", "&lt;script&gt;", "cut off after 9 tokens",
		"In 1 both answers are equal", `Not answered: f:3: too long \u202e`, "default-src 'none'"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("the page has no %q", want)
		}
	}
	if strings.Contains(b.String(), "http://") || strings.Contains(b.String(), "https://") {
		t.Error("the page names another resource")
	}
	// What it writes, rate reads.
	lines, err := r.JSONL()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "r.jsonl")
	if err := os.WriteFile(path, lines, 0o666); err != nil {
		t.Fatal(err)
	}
	p, err := ReadPrompts(t.Context(), []string{path}, PromptOptions{})
	if err != nil || len(p.Items) != 2 || p.Items[0].Answers == nil || p.Items[0].Answers[1].Text != "<script>" ||
		len(p.Dropped) != 1 || p.Dropped[0].Reason != "two equal answers" {
		t.Errorf("read as prompts: %+v, %v", p, err)
	}
}
