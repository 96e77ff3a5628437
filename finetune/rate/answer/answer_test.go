package answer

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/ggtune/ggtune/bindings/llama"
	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/engine/synth"
	"github.com/ggtune/ggtune/finetune/rate"
)

func config(t *testing.T) Config {
	t.Helper()
	s := synth.Tiny("qwen2", gguf.F32)
	s.ChatTemplate, s.Tokenizer = synth.ChatML, synth.Qwen2
	sampling := llama.DefaultSampling(0)
	sampling.Temp = 1
	return Config{Model: synth.Temp(t, s), Sampling: sampling, Seed: 1, Max: 8, Threads: 1}
}

func open(t *testing.T, cfg Config) *Authors {
	t.Helper()
	a, err := Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close() })
	return a
}

var asked = rate.Prompt{Messages: []rate.Message{{Role: "user", Content: "hello"}}}

func ask(t *testing.T, a *Authors, id string, side, try int) rate.Answer {
	t.Helper()
	var streamed strings.Builder
	x, err := a.Answer(t.Context(), asked, id, side, try, func(s string) { streamed.WriteString(s) })
	if err != nil {
		t.Fatal(err)
	}
	if streamed.String() != x.Text {
		t.Errorf("streamed %q, want %q", streamed.String(), x.Text)
	}
	return x
}

// What an answer says of its making makes it again; another side or try draws otherwise.
func TestAnswersAreMadeAgain(t *testing.T) {
	cfg := config(t)
	a := open(t, cfg)
	first := ask(t, a, "id", 0, 0)
	if again := ask(t, a, "id", 0, 0); again != first {
		t.Errorf("asked again: got %+v, want %+v", again, first)
	}
	if first.Temp != 1 || first.TopK != 40 || first.MaxTokens != 8 || first.Tokens == 0 || first.Stop == "" ||
		first.Name != "base" ||
		first.AdapterSHA256 != nil || len(first.ModelSHA256) != 64 || first.Template == "" ||
		len(first.TemplateHash) != 64 {
		t.Errorf("the answer says of itself: %+v", first)
	}
	for _, other := range []rate.Answer{ask(t, a, "id", 1, 0), ask(t, a, "id", 0, 1), ask(t, a, "other", 0, 0)} {
		if other.Seed == first.Seed || other.Text == first.Text {
			t.Errorf("another side, try or prompt: seed %d, text %q as before", other.Seed, other.Text)
		}
	}
	cfg.OneSeed = true
	b := open(t, cfg)
	if x, y := ask(t, b, "id", 0, 0), ask(t, b, "id", 1, 0); x.Seed != y.Seed || x.Text != y.Text {
		t.Errorf("one seed: %d and %d", x.Seed, y.Seed)
	}
	if !a.Varies() {
		t.Error("at temperature 1 another try can give another answer")
	}
	cfg.Sampling.Temp = 0
	if open(t, cfg).Varies() {
		t.Error("at temperature 0 another try cannot give another answer")
	}
}

// A prompt that cannot be answered says so as one that others need not suffer for; a cancelled one does not.
func TestPromptErrors(t *testing.T) {
	cfg := config(t)
	cfg.Ctx = 16
	a := open(t, cfg)
	var prompt *rate.PromptError
	long := rate.Prompt{Messages: []rate.Message{{Role: "user", Content: strings.Repeat("many words ", 50)}}}
	if _, err := a.Answer(t.Context(), long, "id", 0, 0, nil); !errors.As(err, &prompt) {
		t.Errorf("too long: got %v, want a PromptError", err)
	}
	stopped := errors.New("stopped")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(stopped)
	short := Config{Model: cfg.Model, Sampling: cfg.Sampling, Max: 8, Threads: 1, Raw: true}
	if _, err := open(t, short).Answer(ctx, rate.Prompt{Text: "a"}, "id", 0, 0, nil); !errors.Is(err, stopped) ||
		errors.As(err, &prompt) {
		t.Errorf("cancelled: got %v, want the cause", err)
	}
	if _, err := open(t, short).Answer(t.Context(), rate.Prompt{}, "id", 0, 0, nil); err == nil {
		t.Error("an empty literal prompt is answered")
	}
}

func TestCompare(t *testing.T) {
	cfg := config(t)
	cfg.Ctx = 64
	a := open(t, cfg)
	items := []rate.Item{{Prompt: asked},
		{Prompt: rate.Prompt{Messages: []rate.Message{{Role: "user", Content: strings.Repeat("many words ", 50)}}}},
		{Prompt: asked}}
	var failed, answered []int
	err := a.Compare(t.Context(), items, func(i int, r rate.Record, err error) error {
		if err != nil {
			failed = append(failed, i)
			return nil
		}
		answered = append(answered, i)
		if r.Choice != "" || r.About.ID == "" || r.Answers[0].Tokens == 0 || r.Answers[1].Tokens == 0 {
			t.Errorf("pair %d: %+v", i, r)
		}
		return nil
	})
	if err != nil || len(failed) != 1 || failed[0] != 1 || len(answered) != 2 {
		t.Errorf("got %v, answered %v, failed %v", err, answered, failed)
	}
	enough := errors.New("enough")
	if err := a.Compare(t.Context(), items, func(int, rate.Record, error) error { return enough }); err != enough {
		t.Errorf("got %v, want the error of yield", err)
	}
}

func TestOpenRefuses(t *testing.T) {
	cfg := config(t)
	for name, tt := range map[string]struct {
		change func(*Config)
		want   string
	}{
		"no model":   {func(c *Config) { c.Model = "none.gguf" }, "none.gguf"},
		"no adapter": {func(c *Config) { c.Sides[1].Adapter = "none.gguf" }, "none.gguf"},
		"template":   {func(c *Config) { c.Template = "none.jinja" }, "unknown chat template"},
		"sampling":   {func(c *Config) { c.Sampling.TopP = 2 }, "top-p"},
		"length":     {func(c *Config) { c.Max = -1 }, "at most -1 tokens an answer"},
	} {
		t.Run(name, func(t *testing.T) {
			c := cfg
			tt.change(&c)
			a, err := Open(t.Context(), c)
			if a != nil || err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}
