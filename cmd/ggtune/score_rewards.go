package main

import (
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/ggtune/ggtune/finetune/config"
	"github.com/ggtune/ggtune/finetune/run"
	"github.com/ggtune/ggtune/internal/count"
)

// scoreByRewards prints what the rewards of reinforcement learning say of given answers, before hours are spent on
// them.
func scoreByRewards(c *cli.Context, cfg *config.Config) error {
	for _, name := range []string{"adapter", "head"} {
		if c.IsSet(name) {
			return usagef("score: --%s is of a reward model, and --reward asks without one; leave one of them out",
				name)
		}
	}
	for _, spec := range cfg.Reward {
		if dir, ok := strings.CutPrefix(spec, config.RewardModel+"="); ok {
			return usagef("score: --reward %s is a reward model, whose scores are shown by: ggtune score -m MODEL "+
				"-a %s -d FILE", spec, shellWord(dir))
		}
	}
	note := func(text string) { fmt.Fprintln(c.App.ErrWriter, "note:", text) }
	r, err := cfg.Rewards(note)
	if err != nil {
		return err
	}
	defer r.Close()
	names := r.Names()
	f, err := run.RewardAnswers(c.Context, cfg, r, func(a run.Rewarded) error {
		if c.Bool("json") {
			return printJSON(c.App.Writer, a)
		}
		line := fmt.Sprintf("%10.4f  %s%s", a.Score, a.Source, behind(a.Answer))
		if len(names) > 1 {
			for _, name := range names {
				line += fmt.Sprintf("  %s %.4g", name, a.Rewards[name])
			}
		}
		_, err := fmt.Fprintln(c.App.Writer, line)
		return err
	})
	if err != nil {
		return err
	}
	for _, n := range f.Notes {
		note(n)
	}
	if c.Bool("json") {
		return nil
	}
	fmt.Fprintf(c.App.Writer, "\n%s\n%v\n", count.Of(f.Answers, "answer"), f.Score)
	for _, x := range f.Rewards {
		if len(names) == 1 {
			break
		}
		fmt.Fprintf(c.App.Writer, "  %v\n", x)
	}
	return nil
}
