package main

import (
	"fmt"
	"slices"

	"github.com/urfave/cli/v2"

	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/finetune/create"
	"github.com/ggtune/ggtune/internal/count"
)

func newCommand() *cli.Command {
	size := func(name, usage string) cli.Flag {
		return &cli.IntFlag{Name: name, Usage: usage + "; 0: as --like has"}
	}
	return &cli.Command{
		Name:      "new",
		Usage:     "make a model from nothing, to be trained whole",
		UsageText: "--like model.gguf -o new.gguf [--layers N] [--width N] [options]",
		Description: "The new model has the architecture, the vocabulary and the chat template of a model at hand, " +
			"a shape of its own,\nand numbers by chance, as GPT-2 and Llama begin. With another width, heads and " +
			"inner width keep their proportion\nto it. llama.cpp loads it and computes the same.\n\n" +
			"  ggtune new --like SmolLM2-135M.gguf --layers 6 --width 288 -o small.gguf\n" +
			"  ggtune train -m small.gguf -d text.txt -o run --tune full --method cpt",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "like", Usage: "GGUF model `FILE` that it takes after"},
			&cli.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: "write the model to `FILE`"},
			size("layers", "`N` layers"),
			size("width", "`N` numbers a token (n_embd)"),
			size("heads", "`N` attention heads"),
			size("kv-heads", "`N` heads of keys and values"),
			size("ffn", "`N` numbers within the feed-forward part (n_ff)"),
			size("context", "`N` tokens to be read at once"),
			&cli.StringFlag{Name: "type", Usage: "storage `TYPE` of matrices: f32, f16 or bf16", Value: "f32"},
			seedFlag(), threadsFlag(),
			&cli.BoolFlag{Name: "force", Usage: "replace the output if it exists"},
			jsonFlag(),
		},
		Action: newAction,
	}
}

func newAction(c *cli.Context) error {
	if err := noArguments(c); err != nil {
		return err
	}
	job, err := newJob(c)
	if err != nil {
		return err
	}
	if err := refuseExisting(c, job.Output); err != nil {
		return err
	}
	made := busy(c, "make "+job.Output)
	r, err := create.Make(c.Context, job)
	made()
	if err != nil {
		return err
	}
	if c.Bool("json") {
		return printJSON(c.App.Writer, r)
	}
	fmt.Fprintf(c.App.Writer, "wrote %s: %s, %s of %d numbers, %s of %d (%d of keys), inner width %d, context %d, "+
		"vocabulary %d: %s in %s\n", r.Output, r.Arch, count.Of(r.Layers, "layer"), r.Width, count.Of(r.Heads, "head"),
		r.Head, r.KVHeads, r.FFN, r.Context, r.Vocab, count.Of(r.Params, "parameter"), r.Type)
	return nil
}

// newJob reads the options.
func newJob(c *cli.Context) (job create.Job, err error) {
	if job.Like, err = required(c, "like", "model.gguf"); err != nil {
		return job, err
	}
	if job.Output, err = required(c, "output", "new.gguf"); err != nil {
		return job, err
	}
	for name, to := range map[string]*int{"layers": &job.Layers, "width": &job.Width, "heads": &job.Heads,
		"kv-heads": &job.KVHeads, "ffn": &job.FFN, "context": &job.Context} {
		if *to = c.Int(name); *to < 0 || name == "context" && *to == 1 {
			return job, usagef("new: --%s is %d, expected 0 (as --like has) or more%s", name, *to,
				map[bool]string{true: " than 1"}[name == "context"])
		}
	}
	job.Type, err = gguf.ParseType(c.String("type"))
	if err != nil || !slices.Contains(create.Types(), job.Type) {
		return job, usagef("new: --type is %s; a model begins as f32, f16 or bf16: make it so, train it, and quantize "+
			"it then", c.String("type"))
	}
	if job.Threads, err = threads(c); err != nil {
		return job, err
	}
	job.Seed = c.Uint64("seed")
	return job, nil
}
