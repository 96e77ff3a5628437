package main

import (
	"fmt"
	"os"

	"github.com/urfave/cli/v2"

	"github.com/ggtune/ggtune/finetune/rundir"
	"github.com/ggtune/ggtune/finetune/watch"
	"github.com/ggtune/ggtune/internal/fileerr"
)

func watchCommand() *cli.Command {
	return &cli.Command{
		Name:      "watch",
		Usage:     "show a run in the browser, while it goes on or later",
		UsageText: "RUN [options]",
		Description: "Serves a page to this machine only: losses, speed, memory, samples, settings, as they come.\n" +
			"The page can ask a run that is under way to save and stop, in whichever process it is, and let one " +
			"that\n" +
			"was stopped go on, in this one.\n\n" +
			"  ggtune watch run\n" +
			"  ggtune train -m model.gguf -d data.jsonl -o run --page",
		Flags:  append(pageFlags(), notifyFlag(), jsonFlag()),
		Action: watchAction,
	}
}

func watchAction(c *cli.Context) error {
	dir, err := oneRun(c)
	if err != nil {
		return err
	}
	if err := checkPort(c); err != nil {
		return err
	}
	rep, failed := reporter(c)
	err = watchRun(c, dir, rep, nil, func(url string) error {
		return showAddress(c, url, map[string]string{"url": url, "run": dir})
	})
	if werr := failed(); werr != nil {
		return werr
	}
	return err
}

// oneRun gives the argument of a command that takes a run's directory.
func oneRun(c *cli.Context) (string, error) {
	if c.NArg() != 1 {
		return "", usagef("%s: expected one directory of a run, got %d arguments; such as: ggtune %[1]s run",
			c.Command.Name, c.NArg())
	}
	dir := c.Args().First()
	if st, err := os.Stat(dir); err != nil {
		return "", fmt.Errorf("%s: %w", c.Command.Name, fileerr.Open(dir, err))
	} else if !st.IsDir() {
		return "", fmt.Errorf("%s: %s is a file; name the directory of a run, as --output of train has it",
			c.Command.Name, dir)
	}
	if !watch.IsRun(dir) && !rundir.Running(dir) {
		return "", fmt.Errorf("%s: %s holds no run: neither %s nor %s is there; name the directory that --output of "+
			"train has", c.Command.Name, dir, rundir.Settings, rundir.Metrics)
	}
	return dir, nil
}
