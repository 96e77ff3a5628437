package main

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/ggtune/ggtune/engine/adapter"
	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/engine/hub"
	"github.com/ggtune/ggtune/finetune/convert"
	"github.com/ggtune/ggtune/internal/count"
)

func convertCommand() *cli.Command {
	return &cli.Command{
		Name:      "convert",
		Usage:     "turn a Hugging Face folder or an adapter of PEFT's into GGUF, or back",
		UsageText: "IN [-m base.gguf] -o OUT",
		Description: "IN is the folder of a model (config.json, tokenizer.json, safetensors), and OUT a GGUF file; " +
			"or a model as a GGUF file, and OUT such a folder; or the directory of an adapter of PEFT's, and OUT a " +
			"GGUF file; or an adapter of ggtune's, or a run, and OUT a directory for PEFT. Directories must not " +
			"exist. With adapters -m names the base.\n\n" +
			"No Python is needed. What has no place in the other form is refused, and so is a tokenizer that " +
			"llama.cpp would read otherwise.\n\n" +
			"  ggtune convert SmolLM2-135M/ -o smollm2.gguf\n" +
			"  ggtune convert smollm2-q4_k_m.gguf -o SmolLM2/ --type bf16\n" +
			"  ggtune convert peft-adapter/ -m base.gguf -o adapter.gguf\n" +
			"  ggtune convert run/adapter.gguf -m base.gguf -o peft-adapter/ --base HuggingFaceTB/SmolLM2-135M",
		Flags: []cli.Flag{
			modelFlag(),
			&cli.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: "`FILE` or directory to write"},
			&cli.StringFlag{Name: "type", Usage: "of a model: storage `TYPE` of matrices, f32, f16 or bf16; " +
				"without it, that of most weights, and f16 for those that are quantized; of an adapter's GGUF file: " +
				"f32, or f16 in half of the bytes"},
			&cli.StringFlag{Name: "split-size", Usage: "of a folder: files of weights of at most `SIZE` (300M, 2G)",
				DefaultText: "5G"},
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
	folder := hub.Is(in) && !adapter.IsPEFT(in)
	file := !folder && c.String("model") == "" && isModel(in)
	switch {
	case c.String("output") == "":
		return usagef("convert: no output given; name it with -o")
	case (folder || file) && (c.String("model") != "" || c.String("base") != ""):
		return usagef("convert: %s is a model; -m and --base are for adapters", in)
	case !file && c.String("split-size") != "":
		return usagef("convert: --split-size is for the folder of a model; ggtune quantize splits GGUF files")
	case file && c.Bool("force"):
		return onlyFiles(c)
	case folder || file:
		return convertModel(c, in, folder)
	case c.String("type") != "" && !adapter.IsPEFT(in):
		return usagef("convert: --type is for models, and for GGUF files of adapters; PEFT's are written in f32")
	case c.Bool("force") && !adapter.IsPEFT(in):
		return onlyFiles(c)
	case c.String("model") == "":
		return usagef("convert: no base given; %s is no model (a GGUF file, or a folder with a config.json), and an "+
			"adapter is converted beside its base: -m base.gguf", in)
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
		if c.String("type") != "" {
			var err error
			if job.Type, err = adapterType(c); err != nil {
				return err
			}
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

// onlyFiles refuses --force for a directory: whatever stood in one would be gone.
func onlyFiles(c *cli.Context) error {
	return usagef("convert: --force replaces files; %s is to be a directory, which must not exist", c.String("output"))
}

// convertedTypes are those that a model's matrices may get.
func convertedTypes() []string { return []string{"f32", "f16", "bf16"} }

// isModel says whether a file is, or would be, that of a model: an adapter says that it is one.
func isModel(path string) bool {
	if st, err := os.Stat(path); err == nil && st.IsDir() {
		return false
	}
	f, err := gguf.Open(path)
	if err != nil {
		return true // the conversion tells what is wrong with it
	}
	defer f.Close()
	return !f.IsAdapter()
}

// convertModel converts a folder to a file, or a file to a folder.
func convertModel(c *cli.Context, in string, folder bool) error {
	out, typ := c.String("output"), c.String("type")
	if !slices.Contains(append(convertedTypes(), ""), strings.ToLower(typ)) {
		return usagef("convert: --type is %s, expected f32, f16 or bf16; ggtune quantize makes smaller ones of the "+
			"file", typ)
	}
	var partBytes int64
	if s := c.String("split-size"); s != "" {
		var err error
		if partBytes, err = parseSize(s); err != nil {
			return usagef("convert: --split-size %w", err)
		}
	}
	if folder {
		if err := refuseExisting(c, out); err != nil {
			return err
		}
	}
	written := busy(c, "write "+out)
	var r *convert.ModelResult
	var err error
	if folder {
		r, err = convert.Model(c.Context, convert.ModelJob{In: in, Out: out, Type: typ})
	} else {
		r, err = convert.Folder(c.Context, convert.FolderJob{In: in, Out: out, Type: typ, PartBytes: partBytes})
	}
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
