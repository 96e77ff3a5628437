package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/ggtune/ggtune/engine/adapter"
	"github.com/ggtune/ggtune/engine/hub"
	"github.com/ggtune/ggtune/finetune/convert"
	"github.com/ggtune/ggtune/internal/count"
)

func convertCommand() *cli.Command {
	return &cli.Command{
		Name:      "convert",
		Usage:     "turn a Hugging Face folder or an adapter of PEFT's into GGUF, or an adapter back",
		UsageText: "IN [-m base.gguf] -o OUT",
		Description: "IN is the folder of a model (config.json, tokenizer.json, safetensors), and OUT a GGUF file; " +
			"or the directory of an adapter of PEFT's, and OUT a GGUF file; or an adapter of ggtune's, or a run, " +
			"and OUT a directory for PEFT, which must not exist. With adapters -m names the base.\n\n" +
			"No Python is needed. What has no place in the other form is refused, and so is a tokenizer that " +
			"llama.cpp would read otherwise.\n\n" +
			"  ggtune convert SmolLM2-135M/ -o smollm2.gguf\n" +
			"  ggtune convert peft-adapter/ -m base.gguf -o adapter.gguf\n" +
			"  ggtune convert run/adapter.gguf -m base.gguf -o peft-adapter/ --base HuggingFaceTB/SmolLM2-135M",
		Flags: []cli.Flag{
			modelFlag(),
			&cli.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: "`FILE` or directory to write"},
			&cli.StringFlag{Name: "type", Usage: "of a model: storage `TYPE` of matrices, f32, f16 or bf16; " +
				"without it, that of most weights"},
			&cli.StringFlag{Name: "base", Usage: "to PEFT: what Hugging Face calls the base (`NAME` or directory)"},
			&cli.BoolFlag{Name: "force", Usage: "replace a file OUT if it exists"},
			jsonFlag(),
		},
		Action: convertAction,
	}
}

func convertAction(c *cli.Context) error {
	if c.NArg() != 1 {
		return usagef("convert: %s given, expected one: ggtune convert IN [-m base.gguf] -o OUT",
			count.Of(c.NArg(), "argument"))
	}
	in := c.Args().First()
	switch model := hub.Is(in) && !adapter.IsPEFT(in); {
	case c.String("output") == "":
		return usagef("convert: no output given; name it with -o")
	case model && (c.String("model") != "" || c.String("base") != ""):
		return usagef("convert: %s is a model's folder; -m and --base are for adapters", in)
	case model:
		return convertModel(c, convert.ModelJob{In: in, Out: c.String("output"), Type: c.String("type")})
	case c.String("type") != "":
		return usagef("convert: --type is for models; adapters are f32")
	case c.String("model") == "":
		return usagef("convert: no model given; an adapter is converted beside its base: -m base.gguf (a model's "+
			"folder has a config.json, and %s has none)", in)
	}
	job := convert.AdapterJob{In: in, Model: c.String("model"), Out: c.String("output"),
		Base: c.String("base")}
	if adapter.IsPEFT(job.In) {
		if job.Base != "" {
			return usagef("convert: --base is for PEFT's settings; a GGUF file has the base's name from them")
		}
		if err := refuseExisting(c, job.Out); err != nil {
			return err
		}
	}
	r, err := convert.Adapter(c.Context, job)
	if err != nil {
		return err
	}
	if c.Bool("json") {
		return printJSON(c.App.Writer, r)
	}
	ranks := strings.Trim(fmt.Sprint(r.Ranks), "[]")
	fmt.Fprintf(c.App.Writer, "wrote %s: %s, rank %s, alpha %g\n", r.Output, count.Of(r.Pairs, "LoRA pair"),
		strings.ReplaceAll(ranks, " ", ", "), r.Alpha)
	printNotes(c.App.ErrWriter, r.Notes)
	return nil
}

// convertedTypes are those that a model's matrices may get.
func convertedTypes() []string { return []string{"f32", "f16", "bf16"} }

func convertModel(c *cli.Context, job convert.ModelJob) error {
	if err := refuseExisting(c, job.Out); err != nil {
		return err
	}
	if !slices.Contains(append(convertedTypes(), ""), strings.ToLower(job.Type)) {
		return usagef("convert: --type is %s, expected f32, f16 or bf16; ggtune quantize makes smaller ones of the "+
			"file", job.Type)
	}
	written := busy(c, "write "+job.Out)
	r, err := convert.Model(c.Context, job)
	written()
	if err != nil {
		return err
	}
	if c.Bool("json") {
		return printJSON(c.App.Writer, r)
	}
	fmt.Fprintf(c.App.Writer, "wrote %s: %s, %s, %s, %s\n", r.Output, r.Arch, r.Type, count.Of(r.Tensors, "tensor"),
		byteCount(r.Bytes))
	fmt.Fprintf(c.App.Writer, "tokenizer: llama.cpp and tokenizer.json made the same %s of a text\n",
		count.Of(r.Compared, "token"))
	printNotes(c.App.ErrWriter, r.Notes)
	return nil
}
