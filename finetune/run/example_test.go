package run_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"strings"

	"github.com/ggtune/ggtune/bindings/llama"
	"github.com/ggtune/ggtune/finetune/config"
	"github.com/ggtune/ggtune/finetune/generate"
	"github.com/ggtune/ggtune/finetune/report"
	"github.com/ggtune/ggtune/finetune/run"
	"github.com/ggtune/ggtune/finetune/template"
)

// A Go program fine-tunes a model, measures it with the adapter and without, and asks it something. The model is the
// very small one of `ggtune demo`, which is taught to answer as a pirate.
func Example() {
	ctx, demo := context.Background(), "../../cmd/ggtune/demo"
	dir, err := os.MkdirTemp("", "ggtune-example-")
	check(err)
	defer os.RemoveAll(dir)

	cfg := config.Default() // config.Config says what each field is; Validate finds what it may not be
	cfg.Model, cfg.Data = filepath.Join(demo, "base.gguf"), []string{filepath.Join(demo, "train.jsonl")}
	cfg.Output = filepath.Join(dir, "run")
	cfg.SeqLen, cfg.Accum, cfg.Steps, cfg.LR = 256, config.Fixed(1), 20, config.Fixed(4e-3)
	// report.NewTerminal(os.Stderr, report.Screen{}) shows how far it is
	result, err := run.Train(ctx, cfg, report.Silent{})
	check(err)
	fmt.Println("trained and loaded by llama.cpp:", filepath.Base(result.Result), "after", result.Steps, "steps")

	cfg.Data = []string{filepath.Join(demo, "heldout.jsonl")}
	before, err := run.Evaluate(ctx, cfg, "", nil, report.Silent{})
	check(err)
	after, err := run.Evaluate(ctx, cfg, result.Result, nil, report.Silent{})
	check(err)
	fmt.Println("held-out loss at least halved:", after.Loss < before.Loss/2)

	tuned := []generate.Adapter{{Path: result.Result, Scale: 1}}
	g, err := generate.Open(generate.Config{Model: cfg.Model, Adapters: tuned, Threads: 2})
	check(err)
	defer g.Close()
	chat, err := g.Chat("") // with the template that the adapter was trained with
	check(err)
	prompt, err := chat.Prompt([]template.Message{{Role: "user", Content: "Where does milk come from?"}})
	check(err)
	answer, err := g.Continue(ctx, prompt, 40, llama.Greedy(), nil)
	check(err)
	fmt.Println("answers as a pirate:", strings.Contains(answer.Text, "matey"))
	// Output:
	// trained and loaded by llama.cpp: adapter.gguf after 20 steps
	// held-out loss at least halved: true
	// answers as a pirate: true
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
