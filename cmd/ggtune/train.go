package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/ggtune/ggtune/finetune/config"
	"github.com/ggtune/ggtune/finetune/report"
	"github.com/ggtune/ggtune/finetune/run"
	"github.com/ggtune/ggtune/finetune/rundir"
)

func trainCommand() *cli.Command {
	return &cli.Command{
		Name:      "train",
		Usage:     "train an adapter, or a whole model, on your data",
		UsageText: "-m base.gguf -d data.jsonl -o run [options]",
		Description: "Writes run/adapter.gguf (with --tune full or part: run/model.gguf), verified by llama.cpp, and " +
			"beside it " +
			"metrics.jsonl, report.json, loss.svg,\n" +
			"run.toml (all settings, for -c) and checkpoints. Ctrl-C saves and stops; --resume goes on. --page shows " +
			"it all in the browser.\n\n" +
			"  ggtune train -m model-q4_k_m.gguf -d data.jsonl -o run --rank 16 --epochs 2\n" +
			"  ggtune train -m model.gguf -d data.jsonl -o run --eval-split 0.1 --eval-every 50 --patience 3\n" +
			"  ggtune train -m model.gguf -d data.jsonl -o run --tune part --train norms\n" +
			"  ggtune train -o run --resume\n" +
			"  llama-cli -m model-q4_k_m.gguf --lora run/adapter.gguf",
		Flags: append(append(configFlags(func(config.Option) bool { return true }),
			&cli.BoolFlag{Name: "page", Usage: "show the run in the browser; serves a page to this machine only"}),
			append(pageFlags(), notifyFlag(), jsonFlag())...),
		Action: trainAction,
	}
}

func trainAction(c *cli.Context) error {
	if err := noArguments(c); err != nil {
		return err
	}
	cfg, _, err := settings(c)
	if err != nil {
		return err
	}
	if err := cfg.Validate(); err != nil {
		return err
	}
	if err := checkPort(c); err != nil {
		return err
	}
	if c.IsSet("port") && !c.Bool("page") {
		return usagef("train: --port is of the page; give --page too")
	}
	rep, failed := reporter(c)
	train := func(ctx context.Context, rep report.Reporter) error {
		return announced(ctx, c, *cfg, rep)
	}
	if c.Bool("page") {
		err = watchRun(c, cfg.Output, rep, train, func(url string) error {
			w := c.App.Writer
			if c.Bool("json") {
				w = c.App.ErrWriter
			}
			_, err := fmt.Fprintf(w, "Watch in a browser on this machine:\n\n  %s\n\n", url)
			return err
		})
	} else {
		err = train(c.Context, rep)
	}
	werr := failed()
	if errors.Is(err, errInterrupted) || errors.Is(err, run.ErrAsked) {
		return stopped(c, err, cfg.Output)
	}
	return errors.Join(err, werr)
}

// stopped says how a run goes on that was told to stop.
func stopped(c *cli.Context, err error, output string) error {
	// A run that has begun can go on even from before its first step: what the reference said of its data is kept.
	if _, none := os.Stat(filepath.Join(output, rundir.Settings)); none != nil {
		return fmt.Errorf("%w before there was anything to save", err)
	}
	again := ""
	for _, name := range []string{"reward-cmd", "env-cmd"} { // no file holds them
		if command := c.String(name); command != "" {
			again += " --" + name + " " + shellWord(command)
		}
	}
	return fmt.Errorf("%w; go on with: ggtune %s -o %s --resume%s", err, c.Command.Name, shellWord(output), again)
}

// plainWord matches what shells take as it is.
var plainWord = regexp.MustCompile(`^[\pL\pN_./:=@%+,-]+$`)

// shellWord is a name as one word of a command for a shell.
func shellWord(name string) string {
	if plainWord.MatchString(name) {
		return name
	}
	return "'" + strings.ReplaceAll(name, "'", `'\''`) + "'"
}

// reporter tells a run's events: to people on standard output, or as JSON there and to people on standard error. failed
// ends it before the command says its last, and gives what went wrong in writing JSON.
func reporter(c *cli.Context) (rep report.Reporter, failed func() error) {
	if !c.Bool("json") {
		t := report.NewTerminal(c.App.Writer, screen(c.App.Writer))
		return t, func() error { t.Close(); return nil }
	}
	j, t := report.NewJSON(verbatim(c.App.Writer)), report.NewTerminal(c.App.ErrWriter, screen(c.App.ErrWriter))
	return report.Several{j, t}, func() error { t.Close(); return j.Err() }
}
