package main

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"
)

func testApp() *cli.App {
	return &cli.App{Name: "ggtune", Commands: []*cli.Command{{Name: "do", Flags: []cli.Flag{
		&cli.StringFlag{Name: "model", Aliases: []string{"m"}},
		&cli.StringSliceFlag{Name: "data", Aliases: []string{"d"}},
		&cli.Float64Flag{Name: "temp"},
		&cli.BoolFlag{Name: "json"},
	}}}}
}

func TestArrange(t *testing.T) {
	for _, tc := range []struct {
		name       string
		args, want []string
	}{
		{"options first", []string{"do", "-m", "a", "x"}, []string{"do", "-m", "a", "--", "x"}},
		{"options last", []string{"do", "x", "--json", "-m", "a"}, []string{"do", "--json", "-m", "a", "--", "x"}},
		{"joined value", []string{"do", "x", "--model=a=b", "y"}, []string{"do", "--model=a=b", "--", "x", "y"}},
		{"a value like an option", []string{"do", "--temp", "-1", "-m", "--json"},
			[]string{"do", "--temp", "-1", "-m", "--json", "--"}},
		{"after two dashes all are arguments", []string{"do", "x", "--", "-m", "--nonsense"},
			[]string{"do", "--", "x", "-m", "--nonsense"}},
		{"a dash is an argument", []string{"do", "-", "--json"}, []string{"do", "--json", "--", "-"}},
		{"another command's", []string{"other", "--nonsense"}, []string{"other", "--nonsense"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := arrange(testApp(), append([]string{"ggtune"}, tc.args...))
			if want := append([]string{"ggtune"}, tc.want...); err != nil || !slices.Equal(got, want) {
				t.Errorf("got %q, %v, want %q", got, err, want)
			}
		})
	}
}

func TestArrangeErrors(t *testing.T) {
	for _, tc := range []struct {
		name string
		args []string
		want string
	}{
		{"a slip", []string{"do", "--modle", "a"},
			"do: unknown option --modle; did you mean --model? (`ggtune do --help` lists all)"},
		{"a slip with a value", []string{"do", "--modle=a"},
			"do: unknown option --modle; did you mean --model? (`ggtune do --help` lists all)"},
		{"no slip", []string{"do", "--quantum"}, "do: unknown option --quantum (`ggtune do --help` lists all)"},
		{"no value", []string{"do", "x", "--model"}, "do: option --model needs a value"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := arrange(testApp(), append([]string{"ggtune"}, tc.args...))
			if usage := (usageError{}); err == nil || !errors.As(err, &usage) || err.Error() != tc.want {
				t.Errorf("got %v, want %s", err, tc.want)
			}
		})
	}
}

// Users come with the option names of other tools.
func TestOptionsOfOtherTools(t *testing.T) {
	for _, tc := range []struct {
		command, option, want string
		slip                  bool
	}{
		{"train", "--lora-alpha", "--alpha", false},
		{"train", "--lora_alpha=16", "--alpha", false},
		{"train", "--lora-aplha", "--alpha", true},
		{"train", "--lora-rank", "--rank", false},
		{"train", "--lora-r", "--rank", false},
		{"train", "--lora-dropout", "--dropout", false},
		{"train", "--target-modules", "--targets", false},
		{"train", "--batch-size", "--batch", false},
		{"train", "--per-device-train-batch-size", "--batch", false},
		{"train", "--per_device_train_batch_size", "--batch", false},
		{"train", "--gradient-accumulation-steps", "--accum", false},
		{"train", "--learning-rate", "--lr", false},
		{"train", "--lr-scheduler-type", "--schedule", false},
		{"train", "--warmup-ratio", "--warmup", false},
		{"train", "--warmup-steps", "--warmup", false},
		{"train", "--num-train-epochs", "--epochs", false},
		{"train", "--max-steps", "--steps", false},
		{"train", "--max-seq-length", "--seq-len", false},
		{"train", "--max-length", "--seq-len", false},
		{"train", "--output-dir", "--output", false},
		{"train", "--lora", "--init-adapter", false},
		{"train", "-a", "--init-adapter", false},
		{"train", "--kto_desirable_weight", "--desirable-weight", false},
		{"train", "--dpo-beta", "--beta", false},
		{"train", "--train-on-inputs", "--mask", false},
		{"train", "--random_state", "--seed", false},
		{"train", "--cutoff-len", "--seq-len", false},
		{"train", "--iters", "--steps", false},
		{"train", "--cliprange", "--epsilon", false},
		{"train", "--init_kl_coef", "--kl-coef", false},
		{"train", "--gae-lambda", "--lam", false},
		{"train", "--generation_batch_size", "--rollout-prompts", false},
		{"train", "--max-prompt-length", "--seq-len", false},
		{"plan", "--lora-alpha", "--alpha", false},
		{"eval", "--max-length", "--seq-len", false},
		{"generate", "--temperature", "--temp", false},
		{"generate", "--ctx-size", "--ctx", false},
		{"chat", "-c", "--ctx", false},
		{"rate", "--n-predict", "--predict", false},
		{"train", "--gpu", "--device", false},
		{"train", "-ngl", "--device", false},
		{"plan", "--n-gpu-layers", "--device", false},
		{"generate", "--n_gpu_layers", "--device", false},
		{"train", "--gradient-checkpointing", "--memory", false},
		{"train", "--val-split", "--eval-split", false},
		{"generate", "--lora-alpha", "", false},
		{"generate", "--learning-rate", "", false},
		{"quantize", "-c", "", false},
	} {
		t.Run(tc.command+tc.option, func(t *testing.T) {
			_, err := arrange(newApp(nil, nil, nil), []string{"ggtune", tc.command, tc.option, "1"})
			if err == nil {
				t.Fatal("no error")
			}
			say := "; ggtune calls it "
			if tc.slip {
				say = "; did you mean "
			}
			_, hint, found := strings.Cut(err.Error(), say)
			if got, _, _ := strings.Cut(hint, " ("); got != tc.want || found != (tc.want != "") {
				t.Errorf("got %v, want %q", err, tc.want)
			}
		})
	}
	// Ours may be in another unit: the hint says what it takes.
	_, err := arrange(newApp(nil, nil, nil), []string{"ggtune", "train", "--warmup-ratio", "0.1"})
	want := "train: unknown option --warmup-ratio; ggtune calls it --warmup (rise at the start, over N steps, " +
		"fewer than all, or a fraction of all below 1) " +
		"(`ggtune train --help` lists all)"
	if err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

// An entry that no command can use is a slip in the table.
func TestOtherNamesAreOfUse(t *testing.T) {
	for ours, others := range otherNames() {
		for _, other := range others {
			if !slices.ContainsFunc(commands(), func(c *cli.Command) bool {
				options := takesValue(c)
				_, has := options[ours]
				_, taken := options[other]
				return has && !taken
			}) {
				t.Errorf("%s for %s: no command has the one without the other", other, ours)
			}
		}
	}
}

// File names may hold commas: a repeated option is the only way to give several.
func TestSliceOptionKeepsCommas(t *testing.T) {
	app := newApp(nil, nil, nil)
	var got []string
	app.Commands = testApp().Commands
	app.Commands[0].Action = func(c *cli.Context) error { got = c.StringSlice("data"); return nil }
	if err := app.Run([]string{"ggtune", "do", "-d", "a,b.jsonl", "-d", "c.jsonl"}); err != nil {
		t.Fatal(err)
	}
	if want := []string{"a,b.jsonl", "c.jsonl"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// cli panics over a name that is taken twice, but only when the command is run.
func TestOptionNamesAreUnique(t *testing.T) {
	for _, c := range commands() {
		taken := map[string]bool{"help": true, "h": true}
		for _, f := range c.Flags {
			for _, n := range f.Names() {
				if taken[n] {
					t.Errorf("%s: option %s is there twice", c.Name, dashes(n))
				}
				taken[n] = true
			}
		}
	}
}
