package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/urfave/cli/v2"

	"github.com/ggtune/ggtune/finetune/checkpoint"
	"github.com/ggtune/ggtune/internal/count"
	"github.com/ggtune/ggtune/internal/fileerr"
	"github.com/ggtune/ggtune/internal/regular"
)

func inspectCommand() *cli.Command {
	return &cli.Command{
		Name:      "inspect",
		Usage:     "say what a model, adapter, dataset or run is",
		UsageText: "[options] FILE-OR-DIRECTORY",
		Description: "A model: sizes, storage types, tokenizer, template, what can be trained. An adapter: its base, " +
			"rank, targets;\n" +
			"a checkpoint is inspected by its adapter.\n" +
			"A dataset: its format and counts; with -m also the rows, each token with its text and whether it is " +
			"trained on.\n" +
			"A run directory: how far it came and what it reached.\n\n" +
			"  ggtune inspect model.gguf --tensors\n" +
			"  ggtune inspect run/adapter.gguf\n" +
			"  ggtune inspect data.jsonl -m model.gguf --rows 3",
		Flags:  append(inspectFlags(), jsonFlag()),
		Action: inspectAction,
	}
}

func inspectFlags() []cli.Flag {
	return append([]cli.Flag{
		&cli.BoolFlag{Name: "tensors", Usage: "model or adapter: list every tensor"},
		&cli.BoolFlag{Name: "metadata", Usage: "model or adapter: list every metadata key"},
		&cli.BoolFlag{Name: "print-template", Usage: "model: print its chat template"},
		&cli.BoolFlag{Name: "hash", Usage: "model or adapter: print the SHA-256 of the file (reads all of it)"},
		&cli.IntFlag{Name: "rows", Usage: "data: show the first `N` examples, with -m rows", Value: 2},
	}, configFlags(inspectOptions)...)
}

func inspectAction(c *cli.Context) error {
	if c.NArg() != 1 {
		return usagef("inspect: %s given, expected one: ggtune inspect FILE", count.Of(c.NArg(), "argument"))
	}
	path := c.Args().First()
	st, err := os.Stat(path)
	if err != nil {
		return fileerr.Open(path, err)
	}
	if st.IsDir() {
		if checkpoint.Is(path) {
			file, err := checkpoint.FindAdapter(path)
			if err != nil {
				return fmt.Errorf("%w; its run is inspected: ggtune inspect %s", err, filepath.Join(path, "..", ".."))
			}
			return inspectGGUF(c, file)
		}
		if _, err := os.Stat(filepath.Join(path, "run.toml")); err == nil {
			return inspectRun(c, path)
		}
		return inspectData(c, path)
	}
	isGGUF, err := looksLikeGGUF(path)
	if err != nil {
		return err
	}
	if isGGUF {
		return inspectGGUF(c, path)
	}
	return inspectData(c, path)
}

// looksLikeGGUF tells a GGUF from a dataset: by its first bytes, or, for a damaged one, by its name.
func looksLikeGGUF(path string) (bool, error) {
	if filepath.Ext(path) == ".gguf" {
		return true, nil
	}
	f, err := regular.Open(path)
	if err != nil {
		return false, err
	}
	defer f.Close()
	head := make([]byte, 4)
	n, err := io.ReadFull(f, head)
	if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
		return false, fmt.Errorf("read %s: %w", path, err)
	}
	return bytes.Equal(head[:n], []byte("GGUF")), nil
}
