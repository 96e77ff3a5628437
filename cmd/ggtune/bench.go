package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"text/tabwriter"

	"github.com/urfave/cli/v2"

	"github.com/ggtune/ggtune/finetune/bench"
	"github.com/ggtune/ggtune/internal/count"
	"github.com/ggtune/ggtune/internal/regular"
)

func benchCommand() *cli.Command {
	names, about := bench.CaseNames()
	var cases strings.Builder
	for i, n := range names {
		fmt.Fprintf(&cases, "  %-10s %s\n", n, about[i])
	}
	return &cli.Command{
		Name:      "bench",
		Usage:     "measure training speed beside llama.cpp's prompt speed",
		UsageText: "(-m model.gguf | --shape NAME --type TYPE) [options]",
		Description: "llama.cpp's reading of a prompt of 512 tokens, our forward pass and our training steps take " +
			"turns in one process, with the\n" +
			"same threads. R is tokens trained a second ÷ tokens read a second. A shape's weights are generated: " +
			"nothing to download.\n" +
			"Cases:\n" + cases.String() + "\n" +
			"--rollout measures how fast answers are written, as for reinforcement learning: 8 of 100 tokens to a " +
			"prompt of 200 tokens,\n" +
			"all at a time and one after the other, with llama.cpp's copies of weights and without.\n\n" +
			"  ggtune bench -m model.gguf\n" +
			"  ggtune bench --shape tinyllama-1.1b --type q8_0 --type q4_K_M --json > now.json\n" +
			"  ggtune bench --shape tinyllama-1.1b --type q8_0 --compare before.json",
		Flags:  benchFlags(),
		Action: benchAction,
	}
}

func benchFlags() []cli.Flag {
	d := bench.DefaultConfig()
	return []cli.Flag{
		&cli.StringSliceFlag{Name: "model", Aliases: []string{"m"}, Usage: "GGUF model `FILE`; may be given again"},
		&cli.StringSliceFlag{Name: "shape", Usage: "generate weights in the shape `NAME`: " +
			strings.Join(bench.Shapes(), ", ") + "; may be given again"},
		&cli.StringSliceFlag{Name: "type",
			Usage: "with --shape: storage `TYPE` or mix, such as q8_0 or q4_K_M; may be given again"},
		&cli.StringFlag{Name: "cases", Usage: "measure these `CASES`, with commas between",
			Value: strings.Join(bench.DefaultCases(), ",")},
		&cli.IntFlag{Name: "rounds", Usage: "measure `N` times, after one round that warms up", Value: d.Rounds},
		&cli.IntFlag{Name: "tokens", Usage: "rows of `N` tokens", Value: d.Tokens},
		&cli.IntFlag{Name: "rank", Aliases: []string{"r"}, Usage: "rank `N` of the adapter", Value: d.Rank},
		&cli.IntFlag{Name: "memory", Usage: "keep activations in at most this many `MB`; 0: half of what is free"},
		&cli.StringFlag{Name: "level", Usage: "compute with our kernels for the instruction set `NAME`, such as " +
			"avx2, which a lesser CPU would run; llama.cpp's stays as it is compiled (-march) (default: the best the " +
			"CPU has)"},
		&cli.StringFlag{Name: "compare", Usage: "set the ratios beside those of `FILE`, written by --json; exit code " +
			"1 if one fell by more than --tolerance"},
		&cli.Float64Flag{Name: "tolerance", Usage: "with --compare: the `FRACTION` of a ratio that may be lost",
			Value: 0.1},
		&cli.BoolFlag{Name: "rollout", Usage: "measure how fast answers are written, in place of training"},
		threadsFlag(), deviceFlag(), jsonFlag(),
		// How bench measures memory: it runs itself with this option, and that process only trains.
		&cli.StringFlag{Name: "train", Hidden: true},
	}
}

func benchAction(c *cli.Context) error {
	if err := noArguments(c); err != nil {
		return err
	}
	if c.IsSet("train") {
		return benchTrain(c)
	}
	if err := checkDevice(c); err != nil {
		return err
	}
	cfg, err := benchConfig(c)
	if err != nil {
		return err
	}
	var old *bench.Report
	if path := c.String("compare"); path != "" { // before anything is measured
		if old, err = readReport(path); err != nil {
			return err
		}
	}
	r, err := bench.Run(c.Context, *cfg)
	if err != nil {
		return err
	}
	text := c.App.Writer
	if c.Bool("json") {
		text = c.App.ErrWriter
		err = printJSON(c.App.Writer, r)
	} else {
		err = printReport(text, r)
	}
	if err != nil || old == nil {
		return err
	}
	changes, err := bench.Compare(old, r, c.Float64("tolerance"))
	return errors.Join(printChanges(text, changes), err)
}

func benchConfig(c *cli.Context) (*bench.Config, error) {
	cfg := bench.DefaultConfig()
	for _, path := range c.StringSlice("model") {
		cfg.Targets = append(cfg.Targets, bench.Target{Path: path})
	}
	shapes, types := c.StringSlice("shape"), c.StringSlice("type")
	switch {
	case len(shapes) == 0 && len(types) > 0:
		return nil, usagef("bench: --type needs a --shape; a model file has its own types")
	case len(shapes) > 0 && len(types) == 0:
		return nil, missing(c, "type", "q8_0")
	case len(shapes) == 0 && len(cfg.Targets) == 0:
		return nil, usagef("bench: give a model, -m model.gguf, or a shape, --shape %s --type q8_0", bench.Shapes()[0])
	case c.Int("memory") < 0:
		return nil, usagef("bench: --memory is %d, expected megabytes, or 0 for half of what is free", c.Int("memory"))
	case c.Bool("rollout") && benchTrains(c) != "":
		return nil, usagef("bench: --%s has no effect with --rollout, which trains nothing", benchTrains(c))
	case c.IsSet("tolerance") && !c.IsSet("compare"):
		return nil, usagef("bench: --tolerance has no effect without --compare")
	}
	for _, s := range shapes {
		for _, t := range types {
			cfg.Targets = append(cfg.Targets, bench.Target{Shape: s, Type: t})
		}
	}
	cfg.Cases = strings.FieldsFunc(c.String("cases"), func(r rune) bool { return r == ',' || r == ' ' })
	cfg.Rounds, cfg.Tokens, cfg.Rank, cfg.KeepBytes = c.Int("rounds"), c.Int("tokens"), c.Int("rank"),
		int64(c.Int("memory"))*1e6
	cfg.Level, cfg.Rollout = c.String("level"), c.Bool("rollout")
	var err error
	if cfg.Threads, err = threads(c); err != nil {
		return nil, err
	}
	if err := cfg.Validate(); err != nil {
		return nil, usagef("bench: %w", err)
	}
	cfg.Train = trainElsewhere
	if w := c.App.ErrWriter; isTerminal(w) {
		cfg.Progress = func(what string) { fmt.Fprintln(w, what) }
	}
	return &cfg, nil
}

// benchTrains is an option that was given and concerns training alone.
func benchTrains(c *cli.Context) string {
	for _, name := range []string{"cases", "tokens", "memory", "level", "compare", "tolerance"} {
		if c.IsSet(name) {
			return name
		}
	}
	return ""
}

// trainPeak is what the process that only trains prints.
type trainPeak struct {
	PeakBytes int64 `json:"peak_bytes"`
}

// trainElsewhere runs this program again, as a process that only trains.
func trainElsewhere(ctx context.Context, t bench.Train) (int64, error) {
	self, err := os.Executable()
	if err != nil {
		return 0, err
	}
	config, err := json.Marshal(t)
	if err != nil {
		return 0, err
	}
	cmd := exec.CommandContext(ctx, self, "bench", "--train", string(config))
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return 0, context.Cause(ctx)
		}
		return 0, fmt.Errorf("%w: %s", err, strings.TrimPrefix(strings.TrimSpace(stderr.String()), "ggtune: "))
	}
	var p trainPeak
	if err := json.Unmarshal(stdout.Bytes(), &p); err != nil {
		return 0, fmt.Errorf("its answer: %w", err)
	}
	return p.PeakBytes, nil
}

// benchTrain is the process that only trains.
func benchTrain(c *cli.Context) error {
	var t bench.Train
	if err := json.Unmarshal([]byte(c.String("train")), &t); err != nil {
		return usagef("bench: --train: %w", err)
	}
	peak, err := bench.TrainPeak(c.Context, t)
	if err != nil {
		return err
	}
	return printJSON(c.App.Writer, trainPeak{peak})
}

func readReport(path string) (*bench.Report, error) {
	b, err := regular.Read(path, maxSmall)
	if err != nil {
		return nil, err
	}
	var r bench.Report
	if err := json.Unmarshal(b, &r); err != nil {
		return nil, fmt.Errorf("%s: %w; expected what ggtune bench --json prints", path, err)
	}
	return &r, nil
}

// printReport writes the report for people: the machine, then each model's cases and where their time goes.
func printReport(out io.Writer, r *bench.Report) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(w, "%s, %s, %s, kernels %s, load average %.1f\n", r.CPU, count.Of(r.Cores, "core"),
		count.Of(r.Threads, "thread"), r.Level, r.Load)
	if len(r.Peaks) > 0 {
		fmt.Fprint(w, "multiply rate in registers:")
		for _, p := range r.Peaks {
			fmt.Fprintf(w, " %s %.0f", p.Format, p.GFLOPS)
		}
		fmt.Fprintf(w, " GFLOP/s; products are %s\n", r.Product)
	}
	if r.Warning != "" {
		fmt.Fprintf(w, "warning: %s\n", r.Warning)
	}
	for from := 0; from < len(r.Cases); {
		to := from + 1
		for to < len(r.Cases) && r.Cases[to].Model == r.Cases[from].Model && r.Cases[to].Type == r.Cases[from].Type {
			to++
		}
		printModel(w, r.Cases[from:to])
		from = to
	}
	for i := range r.Rollouts {
		printRollout(w, &r.Rollouts[i], i == 0 || r.Rollouts[i].Repacked)
	}
	return w.Flush()
}

// printRollout writes one way of writing answers, under what the model's have in common for the first.
func printRollout(w io.Writer, r *bench.Rollout, first bool) {
	if first {
		fmt.Fprintf(w, "\n%s %s, file of %s, adapter of rank %d: %d answers of %s to a prompt of %s; medians, least "+
			"to greatest in brackets\n", r.Model, r.Type, byteCount(r.FileBytes), r.Rank, r.Answers,
			count.Of(r.Tokens, "token"), count.Of(r.Prompt, "token"))
		fmt.Fprintf(w, "written by\tone at a time, tok/s\t%d at a time, tok/s\tratio\treads, tok/s\tratio\t"+
			"memory beside the file\t\n", r.Answers)
	}
	by := r.Engine
	if by == "llama.cpp" && r.Repacked {
		by += ", weights repacked"
	}
	fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t\n", by, speed(r.One, r.OneRange),
		speed(r.All, r.AllRange), ratio(r.Ratio, r.RatioRange), speed(r.PP, r.PPRange),
		ratio(r.OfPrompt, r.OfPromptRange), byteCount(r.RepackedBytes+r.KVBytes))
}

func ratio(median float64, spread [2]float64) string {
	return fmt.Sprintf("%.2f (%.2f–%.2f)", median, spread[0], spread[1])
}

// printModel writes the cases of one model. tabwriter aligns columns that end in a tab.
func printModel(w io.Writer, cases []bench.Case) {
	c := &cases[0]
	fmt.Fprintf(w, "\n%s %s, file of %s; medians, least to greatest in brackets\n", c.Model, c.Type,
		byteCount(c.FileBytes))
	fmt.Fprint(w, "case\tllama.cpp tok/s\tforward tok/s\ttrain tok/s\tR\tcounted tok/s\tlayers kept\tpeak memory\t\n")
	for i := range cases {
		c := &cases[i]
		peak := "-"
		if c.PeakBytes != nil {
			peak = byteCount(*c.PeakBytes)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%.1f\t%d/%d\t%s\t\n", c.Case, speed(c.PP, c.PPRange),
			speed(c.Forward, c.ForwardRange),
			speed(c.Training, c.TrainingRange),
			fmt.Sprintf("%.3f (%.3f–%.3f)", c.Ratio, c.RatioRange[0], c.RatioRange[1]),
			c.CountedRate, c.KeptLayers, c.Layers, peak)
	}
	for i := range cases {
		c := &cases[i]
		if c.Against != nil {
			fmt.Fprintf(w, "\n%s: a step takes %.3f times that of %s", c.Case, *c.Against, c.Than)
		}
		if c.Reference != nil {
			fmt.Fprintf(w, "; the reference model reads %.1f tok/s, %.3f times our forward", *c.Reference,
				*c.Reference/c.Forward)
		}
		if c.Against != nil {
			fmt.Fprintln(w)
		}
	}
	fmt.Fprint(w, "\nshare of a step (of the machine's peak)\t")
	for i := range cases {
		fmt.Fprintf(w, "%s\t", cases[i].Case)
	}
	for p := range cases[0].Phases {
		fmt.Fprintf(w, "\n%s\t", cases[0].Phases[p].Phase)
		for i := range cases {
			ph := &cases[i].Phases[p]
			s := fmt.Sprintf("%.1f%%", 100*ph.Share)
			if ph.OfPeak != nil {
				s += fmt.Sprintf(" (%.0f%%)", 100**ph.OfPeak)
			}
			fmt.Fprintf(w, "%s\t", s)
		}
	}
	fmt.Fprintln(w)
}

func speed(median float64, spread [2]float64) string {
	return fmt.Sprintf("%.1f (%.1f–%.1f)", median, spread[0], spread[1])
}

func printChanges(out io.Writer, changes []bench.Change) error {
	if len(changes) == 0 {
		return nil
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(w, "\nmodel\ttype\tcase\tR before\tR now\tchange\t\t\n")
	for _, ch := range changes {
		verdict := ""
		if ch.Fell {
			verdict = "slower"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%.3f\t%.3f\t%+.1f%%\t%s\t\n", ch.Model, ch.Type, ch.Case, ch.Old, ch.New,
			100*(ch.New/ch.Old-1), verdict)
	}
	return w.Flush()
}
