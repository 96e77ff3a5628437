package config

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/ggtune/ggtune/finetune/method"
)

// TestAuto: a number is written as one and the word in quotes, both are read, and nothing else is.
func TestAuto(t *testing.T) {
	for _, tc := range []struct{ text, wrong string }{
		{text: `"auto"`}, {text: "0.25"}, {text: "0"}, {text: "1e-07"},
		{text: `"0.25"`, wrong: "run.toml:1: eval_split"}, {text: `"most"`, wrong: "run.toml:1: eval_split"},
		{text: "true", wrong: "eval_split"},
		{text: "nan", wrong: "eval_split"}, {text: "[0.1]", wrong: "eval_split"},
	} {
		c := Default()
		_, err := c.ParseTOML("eval_split = "+tc.text+"\n", "run.toml")
		if tc.wrong != "" {
			if err == nil || !strings.Contains(err.Error(), tc.wrong) ||
				!strings.Contains(err.Error(), `eval_split is neither a number nor "auto"`) {
				t.Errorf("%s: got %v, want %q and what is expected", tc.text, err, tc.wrong)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", tc.text, err)
			continue
		}
		if b, err := c.EvalSplit.MarshalTOML(); err != nil || string(b) != tc.text {
			t.Errorf("got %s, %v, want %s", b, err, tc.text)
		}
	}
	var every Auto[int]
	if err := every.Set("2.5"); err == nil || !strings.Contains(err.Error(), "a whole number") {
		t.Errorf("2.5 steps: got %v", err)
	}
	if err := every.Set("12"); err != nil || every != Fixed(12) || every.String() != "12" {
		t.Errorf("got %v, %v", every, err)
	}
}

// TestHeld: how many examples are held out.
func TestHeld(t *testing.T) {
	auto := Auto[float64]{Auto: true}
	for _, tc := range []struct {
		split   Auto[float64]
		data    []string
		n, want int
	}{
		{auto, nil, 0, 0}, {auto, nil, 99, 0}, {auto, nil, 100, 8}, {auto, nil, 159, 8}, {auto, nil, 170, 9},
		{auto, nil, 1000, 50},
		{auto, nil, 4000, 200}, {auto, nil, 1_000_000, 200}, {auto, []string{"held.jsonl"}, 1000, 0},
		{Fixed(0.0), nil, 1000, 0}, {Fixed(0.1), nil, 40, 4}, {Fixed(0.01), nil, 5, 1},
		{Fixed(0.99), nil, 5, 4}, {Fixed(0.5), nil, 1, 0},
	} {
		c := Config{EvalSplit: tc.split, EvalData: tc.data}
		if got := c.Held(tc.n); got != tc.want {
			t.Errorf("%v of %d, other data %v: got %d, want %d", tc.split, tc.n, tc.data, got, tc.want)
		}
	}
}

// TestEvalSteps: a run of enough steps is measured 10 to 19 times beside its start, a shorter one after each step.
func TestEvalSteps(t *testing.T) {
	c := Default()
	for steps := 1; steps < 3000; steps++ {
		every := c.EvalSteps(steps)
		if n := steps / every; n < min(steps, autoEvaluations) || n >= 2*autoEvaluations {
			t.Fatalf("%d steps, every %d: %d evaluations", steps, every, n)
		}
	}
	c.EvalEvery = Fixed(7)
	if got := c.EvalSteps(1000); got != 7 {
		t.Errorf("got %d, want what was asked for", got)
	}
}

// TestGroupTokens: so many tokens of answers share a row, and an update has as many micro-batches as they can make.
func TestGroupTokens(t *testing.T) {
	how, err := method.Get("grpo")
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range []struct{ answers, tokens, most, batch, row, micros int }{
		{8, 128, 8192, 1, 1024, 8}, {64, 512, 8192, 1, 8192, 32}, {64, 512, 0, 1, 32768, 8}, {64, 512, 1, 1, 1024, 256},
		{64, 512, 8192, 3, 8192, 11}, {65, 512, 8192, 1, 8192, 40}, {1, 512, 100, 1, 512, 8}, {9, 100, 399, 1, 399, 24},
	} {
		c := Default()
		c.NumGenerations, c.MaxCompletion, c.GroupTokens, c.Batch = Fixed(x.answers), x.tokens, x.most, x.batch
		if row, micros := c.RowAnswers(), c.Micros(how); row != x.row || micros != x.micros {
			t.Errorf("%+v: rows of %d, %d micro-batches", x, row, micros)
		}
	}
}

// TestParseRun: what a run's file does not name was not known when it was written, and means what it meant then; what
// it names counts.
func TestParseRun(t *testing.T) {
	c, err := ParseRun("rank = 3\n", "run.toml")
	if err != nil {
		t.Fatal(err)
	}
	want := Default()
	want.Rank, want.EvalSplit, want.EvalEvery, want.ControlTokens = 3, Fixed(0.0), Fixed(0), "plain"
	want.SampleEvery, want.EvalShare, want.RankedRows = Fixed(0), 1, "pair"
	want.GroupTokens = 0
	want.Packing, want.Accum, want.Epochs = "best-fit", Fixed(4), Fixed(3)
	if !reflect.DeepEqual(*c, want) {
		t.Errorf("got\n%+v, want\n%+v", *c, want)
	}
	for _, name := range []string{"sft", "dpo", "grpo"} { // what an older run did is no fault of its method's
		older := Before()
		older.Model, older.Data, older.Output, older.Method = "m.gguf", []string{"d.jsonl"}, "run", name
		if err := older.Validate(); err != nil && strings.Contains(err.Error(), "--group-tokens") {
			t.Errorf("%s: %v", name, err)
		}
	}
	now := validConfig()
	text, err := now.TOML()
	if err != nil {
		t.Fatal(err)
	}
	if c, err = ParseRun(string(text), "run.toml"); err != nil || c.EvalSplit != now.EvalSplit ||
		c.EvalEvery != now.EvalEvery {
		t.Errorf("a run of this version: got %v and %v, %v", c.EvalSplit, c.EvalEvery, err)
	}
	// A damaged one is no setting that the user gave.
	var settings *Error
	if _, err := ParseRun("rank = 3\nra", "run.toml"); err == nil || errors.As(err, &settings) {
		t.Errorf("damaged: got %T %v", err, err)
	}
}

// TestNeedHeld: what measures on held-out examples is refused once it is known that there are none.
func TestNeedHeld(t *testing.T) {
	c := validConfig()
	if err := c.NeedHeld(false); err != nil {
		t.Errorf("nothing asked for: %v", err)
	}
	c.Patience, c.Best, c.EvalEvery = 2, true, Fixed(3)
	if err := c.Validate(); err != nil {
		t.Errorf("there may be some: %v", err)
	}
	err := c.NeedHeld(false)
	for _, want := range []string{"--patience is 2", "--best", "--eval-every is 3"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	if err := c.NeedHeld(true); err != nil {
		t.Error(err)
	}
}

// TestSampleSteps: answers are written at evaluations, or as often as was asked, whether or not there are any.
func TestSampleSteps(t *testing.T) {
	c := Default()
	if !c.Samples() || c.SampleSteps(1000) != c.EvalSteps(1000) {
		t.Errorf("got every %d steps, want %d, that of evaluations", c.SampleSteps(1000), c.EvalSteps(1000))
	}
	c.SampleEvery = Fixed(7)
	if got := c.SampleSteps(1000); !c.Samples() || got != 7 {
		t.Errorf("got every %d steps, want what was asked for", got)
	}
	c.SampleEvery = Fixed(0)
	if c.Samples() {
		t.Error("0 means never")
	}
}

// TestSampleFaults: options of samples that contradict each other or others.
func TestSampleFaults(t *testing.T) {
	ask := func(c *Config) { c.SamplePrompts = []string{"what?"} }
	for _, tc := range []struct {
		says   string
		change func(c *Config)
	}{
		{"", ask},
		{"", func(c *Config) { c.Full = true }}, // auto: a note says why there are none
		{"", func(c *Config) { c.SampleEvery = Fixed(0) }},
		{"--sample-every is -1", func(c *Config) { c.SampleEvery = Fixed(-1) }},
		{"--sample-tokens is 0", func(c *Config) { c.SampleTokens = 0 }},
		{"--sample-temp is -1", func(c *Config) { c.SampleTemp = -1 }},
		{"--sample-share is 0", func(c *Config) { c.SampleShare = 0 }},
		{"--sample-share is 1.5", func(c *Config) { c.SampleShare = 1.5 }},
		{"--sample-prompts is given with --sample-every 0", func(c *Config) { ask(c); c.SampleEvery = Fixed(0) }},
		{"--sample-prompts is given with --tune full", func(c *Config) { ask(c); c.Full = true }},
		{"--sample-every is given with --tune full", func(c *Config) { c.SampleEvery, c.Full = Fixed(5), true }},
		{"--sample-every is 5", func(c *Config) { c.SampleEvery, c.EvalSplit = Fixed(5), Fixed(0.0) }},
		{"", func(c *Config) { ask(c); c.SampleEvery, c.EvalSplit = Fixed(5), Fixed(0.0) }},
	} {
		c := validConfig()
		tc.change(&c)
		switch err := c.Validate(); {
		case tc.says == "" && err != nil:
			t.Errorf("%v", err)
		case tc.says != "" && (err == nil || !strings.Contains(err.Error(), tc.says)):
			t.Errorf("got %v, want %q", err, tc.says)
		}
	}
}

// TestWithin: evaluations that nobody asked for become fewer, and then smaller, until they take no more than their
// share; what was asked for stays.
func TestWithin(t *testing.T) {
	every, split := Auto[int]{Auto: true}, Auto[float64]{Auto: true}
	for _, tc := range []struct {
		name           string
		change         func(c *Config)
		steps, rows    int
		trained        float64 // rows
		every, measure int
	}{
		{"a usual run", nil, 750, 50, 3000, 75, 50},
		{"a step of 4 of 1,000 rows", nil, 1, 50, 4, 1, 8},
		{"16 steps", nil, 16, 200, 64, 4, 9},          // 48 rows may be read
		{"16 larger steps", nil, 16, 200, 256, 4, 38}, // 192
		{"64 steps", nil, 64, 200, 1024, 16, 153},     // 768
		{"200 steps", nil, 200, 50, 500, 34, 50},      // 375
		{"few rows", nil, 16, 3, 16, 6, 3},            // 12
		{"no limit", func(c *Config) { c.EvalShare = 1 }, 16, 200, 64, 1, 200},
		{"another share", func(c *Config) { c.EvalShare = 0.5 }, 16, 200, 256, 4, 153}, // 768
		{"so often", func(c *Config) { c.EvalEvery = Fixed(2) }, 16, 200, 256, 2, 21},  // in 9 times 192
		{"start and end", func(c *Config) { c.EvalEvery = Fixed(0) }, 16, 200, 64, 0, 24},
		{"so many", func(c *Config) { c.EvalRows = 100 }, 16, 100, 256, 16, 100},
		{"so large a part", func(c *Config) { c.EvalSplit = Fixed(0.2) }, 16, 100, 400, 8, 100}, // 300
		{"other data", func(c *Config) { c.EvalData = []string{"x"} }, 16, 100, 256, 16, 100},
		{"all as asked", func(c *Config) { c.EvalSplit, c.EvalEvery = Fixed(0.2), Fixed(1) }, 16, 100, 16, 1, 100},
	} {
		c := Default()
		c.EvalEvery, c.EvalSplit = every, split
		if tc.change != nil {
			tc.change(&c)
		}
		if e, m := c.Within(tc.steps, tc.rows, tc.trained); e != tc.every || m != tc.measure {
			t.Errorf("%s: got every %d steps %d rows, want %d and %d", tc.name, e, m, tc.every, tc.measure)
		}
	}
}
