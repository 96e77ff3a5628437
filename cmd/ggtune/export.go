package main

import (
	"fmt"

	"github.com/urfave/cli/v2"

	"github.com/ggtune/ggtune/finetune/export"
	"github.com/ggtune/ggtune/finetune/report"
)

func exportCommand() *cli.Command {
	return &cli.Command{
		Name:      "export",
		Usage:     "write the folder from which Ollama creates a model",
		UsageText: "-m base.gguf [-a run] --dir DIR [--ollama NAME]",
		Description: "Writes a Modelfile, and the model with the adapter merged into it: Ollama from 0.34.1 on " +
			"creates no model with ADAPTER.\n" +
			"TEMPLATE is written where a translation of the chat template renders 20 conversations byte for byte as " +
			"the template does,\n" +
			"else none, and that is said. DIR must not exist.\n\n" +
			"  ggtune export -m base.gguf -a run --dir cow --ollama cow\n" +
			"  ggtune export -m base.gguf -a run --dir cow --apart   # for an older Ollama",
		Flags: []cli.Flag{
			modelFlag(), adapterFlag(),
			&cli.StringFlag{Name: "dir", Usage: "`DIRECTORY` to write"},
			&cli.BoolFlag{Name: "apart", Usage: "leave the adapter beside the model, as ADAPTER"},
			&cli.StringFlag{Name: "ollama", Usage: "have Ollama's create make the model `NAME` of it"},
			threadsFlag(), jsonFlag(),
		},
		Action: exportAction,
	}
}

func exportAction(c *cli.Context) error {
	if err := noArguments(c); err != nil {
		return err
	}
	cfg := export.Config{Adapter: c.String("adapter"), Apart: c.Bool("apart")}
	var err error
	if cfg.Model, err = required(c, "model", "base.gguf"); err != nil {
		return err
	}
	if cfg.Dir, err = required(c, "dir", "exported"); err != nil {
		return err
	}
	if cfg.Apart && cfg.Adapter == "" {
		return usagef("export: --apart is for an adapter, and none is given (-a)")
	}
	if cfg.Threads, err = threads(c); err != nil {
		return err
	}
	rep := report.NewTerminal(c.App.ErrWriter, screen(c.App.ErrWriter))
	defer rep.Close()
	r, err := export.Export(c.Context, cfg, rep)
	if err != nil {
		return err
	}
	rep.Close()
	if c.Bool("json") {
		if err := printJSON(c.App.Writer, r); err != nil {
			return err
		}
	} else {
		fmt.Fprintf(c.App.Writer, "wrote %s\n\n%s", r.Dir, r.Modelfile)
		printNotes(c.App.ErrWriter, r.Notes)
	}
	if name := c.String("ollama"); name != "" {
		return export.Create(c.Context, name, r.Dir, c.App.ErrWriter)
	}
	return nil
}
