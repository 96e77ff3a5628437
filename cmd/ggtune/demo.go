package main

import (
	"bufio"
	"context"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/ggtune/ggtune/bindings/llama"
	"github.com/ggtune/ggtune/finetune/config"
	"github.com/ggtune/ggtune/finetune/encode"
	"github.com/ggtune/ggtune/finetune/generate"
	"github.com/ggtune/ggtune/finetune/report"
	"github.com/ggtune/ggtune/finetune/run"
	"github.com/ggtune/ggtune/finetune/template"
)

// demoFiles are a model of two million parameters in q8_0, made from nothing by scripts/make_demo.sh, and a dataset
// that teaches it to answer as a pirate.
//
//go:embed demo/base.gguf demo/train.jsonl demo/heldout.jsonl
var demoFiles embed.FS

// demoQuestions is how many held-out questions are asked before and after.
const demoQuestions = 3

func demoCommand() *cli.Command {
	return &cli.Command{
		Name:      "demo",
		Usage:     "fine-tune the very small model inside this binary: about a minute, nothing to download",
		UsageText: "[-o DIRECTORY]",
		Description: "The model knows a few hundred simple facts in plain English and nothing else; it was made from " +
			"nothing by ggtune itself.\n" +
			"The demo trains a LoRA adapter on 640 questions answered as a pirate would, and shows what that does to " +
			"questions it was\n" +
			"not trained on. The files stay in the directory, to try the other commands on.",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "output", Aliases: []string{"o"},
				Usage: "`DIRECTORY` for the model, the data and the run; it must not exist", Value: "ggtune-demo"},
			seedFlag(), threadsFlag(), jsonFlag(),
		},
		Action: demoAction,
	}
}

// demoResult is what the demo shows.
type demoResult struct {
	Model          string       `json:"model"`
	Adapter        string       `json:"adapter"`
	Data           string       `json:"data"`
	EvalData       string       `json:"eval_data"`
	EvalLossBefore *float64     `json:"eval_loss_before"` // nats per counted token of held-out rows
	EvalLossAfter  *float64     `json:"eval_loss_after"`
	Seconds        float64      `json:"seconds"` // of training
	Answers        []demoAnswer `json:"answers"`
}

type demoAnswer struct {
	Prompt string `json:"prompt"`
	Before string `json:"before"`
	After  string `json:"after"`
}

func demoAction(c *cli.Context) error {
	if err := noArguments(c); err != nil {
		return err
	}
	n, err := threads(c)
	if err != nil {
		return err
	}
	dir := c.String("output")
	if err := writeDemoFiles(dir); err != nil {
		return err
	}
	say := c.App.Writer
	if c.Bool("json") {
		say = c.App.ErrWriter
	}
	fmt.Fprintf(say,
		"ggtune demo: a LoRA adapter on a very small model (2 million parameters, q8_0, made by ggtune itself),\n"+
			"which is to answer as a pirate. The files are in %s.\n\n", dir)
	r := demoResult{Model: filepath.Join(dir, "base.gguf"), Data: filepath.Join(dir, "train.jsonl"),
		EvalData: filepath.Join(dir, "heldout.jsonl")}
	rep := report.NewTerminal(say, screen(say))
	s, err := run.Train(c.Context, demoConfig(c, dir, n), rep)
	rep.Close()
	if err != nil {
		return err
	}
	r.Adapter, r.EvalLossBefore, r.EvalLossAfter, r.Seconds = s.Result, s.EvalLossBefore, s.EvalLossAfter, s.Seconds
	if r.Answers, err = demoAnswers(c.Context, r, n); err != nil {
		return err
	}
	if c.Bool("json") {
		return printJSON(c.App.Writer, r)
	}
	r.print(c)
	return nil
}

// writeDemoFiles lays the embedded files into a new directory.
func writeDemoFiles(dir string) error {
	if err := os.MkdirAll(filepath.Dir(filepath.Clean(dir)), 0o777); err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	if err := os.Mkdir(dir, 0o777); errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("demo: %s exists; remove it, or give another directory with -o", dir)
	} else if err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	for _, name := range []string{"base.gguf", "train.jsonl", "heldout.jsonl"} {
		b, err := demoFiles.ReadFile("demo/" + name)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o666); err != nil {
			return fmt.Errorf("demo: %w", err)
		}
	}
	return nil
}

// demoConfig is a usual LoRA run; only the learning rate is higher than for models of a useful size.
func demoConfig(c *cli.Context, dir string, threads int) config.Config {
	cfg := config.Default()
	cfg.Model = filepath.Join(dir, "base.gguf")
	cfg.Data = []string{filepath.Join(dir, "train.jsonl")}
	cfg.EvalData = []string{filepath.Join(dir, "heldout.jsonl")}
	cfg.Output = filepath.Join(dir, "run")
	cfg.SeqLen, cfg.Packing, cfg.Batch = 256, encode.BestFit.String(), 4
	cfg.Accum, cfg.Epochs = config.Fixed(1), config.Fixed(10)
	cfg.LR, cfg.Dropout = config.Fixed(2e-3), 0.1
	cfg.Seed, cfg.Threads = c.Uint64("seed"), threads
	return cfg
}

// demoAnswers asks held-out questions without the adapter and with it.
func demoAnswers(ctx context.Context, r demoResult, threads int) ([]demoAnswer, error) {
	questions, err := firstQuestions(r.EvalData, demoQuestions)
	if err != nil {
		return nil, err
	}
	g, err := generate.Open(generate.Config{Model: r.Model, Adapters: []generate.Adapter{{Path: r.Adapter, Scale: 1}},
		Threads: threads})
	if err != nil {
		return nil, err
	}
	defer g.Close()
	chat, err := g.Chat("")
	if err != nil {
		return nil, err
	}
	answers := make([]demoAnswer, len(questions))
	for _, on := range []int{generate.Base, 0} {
		if err := g.Use(on); err != nil {
			return nil, err
		}
		for i, q := range questions {
			tokens, err := chat.Prompt([]template.Message{{Role: "user", Content: q}})
			if err != nil {
				return nil, err
			}
			const longest = 64 // tokens; the answers of the data have at most 50
			text, err := g.Continue(ctx, tokens, longest, llama.Greedy(), nil)
			if err != nil {
				return nil, err
			}
			answers[i].Prompt = q
			if on != generate.Base {
				answers[i].After = text.Text
			} else {
				answers[i].Before = text.Text
			}
		}
	}
	return answers, nil
}

// firstQuestions reads the first n prompts of a dataset of messages.
func firstQuestions(path string, n int) ([]string, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var out []string
	lines := bufio.NewScanner(f)
	for len(out) < n && lines.Scan() {
		var row struct {
			Messages []struct{ Role, Content string }
		}
		if err := json.Unmarshal(lines.Bytes(), &row); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		if len(row.Messages) > 0 {
			out = append(out, row.Messages[0].Content)
		}
	}
	return out, lines.Err()
}

func (r *demoResult) print(c *cli.Context) {
	w := c.App.Writer
	if r.EvalLossBefore != nil && r.EvalLossAfter != nil {
		fmt.Fprintf(w, "\nloss on held-out rows: %.3f before, %.3f after (nats per token)\n", *r.EvalLossBefore,
			*r.EvalLossAfter)
	}
	fmt.Fprintln(w, "\nQuestions that were not trained on (so small a model is wrong now and then):")
	for _, a := range r.Answers {
		fmt.Fprintf(w, "\n  %s\n    before: %s\n    after:  %s\n", a.Prompt, strings.TrimSpace(a.Before),
			strings.TrimSpace(a.After))
	}
	fmt.Fprintf(w, "\nThe adapter is %s, in llama.cpp's format. Try:\n\n"+
		"  %[5]s chat -m %[2]s -a %[1]s\n"+
		"  %[5]s eval -m %[2]s -a %[1]s -d %[3]s\n"+
		"  %[5]s inspect %[4]s -m %[2]s --rows 2\n", r.Adapter, r.Model, r.EvalData, r.Data, os.Args[0])
}
