package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/urfave/cli/v2"

	"github.com/ggtune/ggtune/finetune/rate"
	"github.com/ggtune/ggtune/finetune/rate/answer"
	"github.com/ggtune/ggtune/finetune/rate/page"
	"github.com/ggtune/ggtune/internal/loopback"
)

func rateCommand() *cli.Command {
	return &cli.Command{
		Name:      "rate",
		Usage:     "compare answers, and keep your choices as training data",
		UsageText: "-m model.gguf [-a adapter.gguf [--adapter-b other.gguf]] [-d prompts] -o choices.jsonl [options]",
		Description: "Shows two answers to each prompt, in an order that tells nothing, and saves which one you " +
			"prefer, at once. The page is\n" +
			"served to this machine only. Start again with the same -o to go on.\n\n" +
			"The two answers are two samplings of the model; with -a, the model without and with the adapter; with " +
			"--adapter-b as well,\n" +
			"two adapters (the same one twice: two samplings of it). Prompts are lines of text, the prompts of any " +
			"training data,\n" +
			"pairs that `ggtune compare` wrote (then no model is needed), or what you type on the page.\n" +
			"--answers 4 lets four be ranked, --stars gives each one to five; both are lists that a reward model and " +
			"DPO read.\n" +
			"With --head, the run of a reward model, the next pair is one that it is least sure of.\n\n" +
			"  ggtune rate  -m model.gguf -d prompts.txt -o choices.jsonl\n" +
			"  ggtune rate  -m model.gguf -a run/adapter.gguf -d prompts.jsonl -o choices.jsonl --tty\n" +
			"  ggtune train -m model.gguf -d choices.jsonl -o run --method dpo",
		Flags: append(append([]cli.Flag{modelFlag(), adapterFlag()}, rateFlags()...),
			append(pairFlags(1), threadsFlag(), deviceFlag(), jsonFlag())...),
		Action: rateAction,
	}
}

func rateFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "adapter-b", Aliases: []string{"a2"},
			Usage: "a second LoRA adapter `FILE`, to compare with --adapter"},
		&cli.StringFlag{Name: "output", Aliases: []string{"o"},
			Usage: "`FILE` of choices; one that exists is gone on with"},
		&cli.IntFlag{Name: "answers", Usage: fmt.Sprintf("let `N` answers be written to each prompt, 2 to %d; more "+
			"than two are ranked", rate.MaxAnswers), Value: 2},
		&cli.BoolFlag{Name: "stars", Usage: fmt.Sprintf("give each answer 1 to %d stars", rate.MostStars)},
		&cli.StringFlag{Name: "head", Usage: "the run `DIRECTORY` of a reward model over --model: what it is " +
			"least sure of comes next"},
		&cli.BoolFlag{Name: "tty", Usage: "rate here in the terminal, without a page"},
		&cli.IntFlag{Name: "port", Usage: "serve the page on port `N` of 127.0.0.1; 0: any free one"},
	}
}

// pairFlags are those of commands that let two sides answer prompts.
func pairFlags(temp float64) []cli.Flag {
	flags := []cli.Flag{
		&cli.StringSliceFlag{Name: "data", Aliases: []string{"d"}, Usage: "`FILE` of prompts; may be given again"},
		&cli.IntFlag{Name: "limit", Usage: "take the first `N` prompts; 0: all"},
		&cli.BoolFlag{Name: "raw", Usage: "prompts are literal text to continue, without a chat template"},
		&cli.StringFlag{Name: "system", Usage: "the system message `TEXT` before prompts that have none"},
		&cli.StringFlag{Name: "template",
			Usage: "the Jinja template in `FILE`, or a built-in one by name, instead of the model's own"},
		&cli.IntFlag{Name: "predict", Aliases: []string{"n"},
			Usage: "at most `N` tokens an answer; 0: until the model ends it", Value: 512},
		&cli.IntFlag{Name: "ctx", Usage: "context of `N` tokens; 0: what the model was trained for, at most 4096"},
		&cli.Float64Flag{Name: "scale", Usage: "multiply the first adapter's effect by `X`", Value: 1},
		&cli.Float64Flag{Name: "scale-b", Usage: "multiply the second adapter's effect by `X`", Value: 1},
	}
	for _, f := range append(samplingFlags(), seedFlag()) {
		if x, ok := f.(*cli.Float64Flag); ok && x.Name == "temp" {
			x.Value = temp
		}
		flags = append(flags, f)
	}
	return flags
}

// pairSettings reads pairFlags, and all else that says who answers.
func pairSettings(c *cli.Context, sides [2]answer.Side) (answer.Config, error) {
	cfg := answer.Config{Model: c.String("model"), Sides: sides, Template: c.String("template"), Raw: c.Bool("raw"),
		Seed: c.Uint64("seed"), Max: c.Int("predict"), Ctx: c.Int("ctx")}
	for _, name := range []string{"predict", "ctx", "limit"} {
		if c.Int(name) < 0 {
			return cfg, usagef("%s: --%s is %d, expected 0 or more", c.Command.Name, name, c.Int(name))
		}
	}
	for _, name := range []string{"system", "template"} {
		if c.Bool("raw") && c.IsSet(name) {
			return cfg, usagef("%s: --%s has no effect on literal text; leave out --raw", c.Command.Name, name)
		}
	}
	for i, name := range []string{"scale", "scale-b"} {
		if c.IsSet(name) && sides[i].Adapter == "" && (i == 1 || sides[1].Adapter == "") {
			return cfg, usagef("%s: --%s needs an adapter to scale", c.Command.Name, name)
		}
	}
	if err := checkDevice(c); err != nil {
		return cfg, err
	}
	var err error
	if cfg.Threads, err = threads(c); err != nil {
		return cfg, err
	}
	cfg.Sampling, err = sampling(c)
	return cfg, err
}

// rateSides says who answers: a model twice, without and with an adapter, or with two.
func rateSides(c *cli.Context) ([2]answer.Side, error) {
	a, b := c.String("adapter"), c.String("adapter-b")
	switch {
	case a == "" && b != "":
		return [2]answer.Side{}, usagef("rate: --adapter-b is the second adapter; name the first with -a, or this " +
			"one with -a to compare it with the model")
	case a == "":
		return [2]answer.Side{}, nil
	case b == "":
		return [2]answer.Side{{}, {Adapter: a, Scale: float32(c.Float64("scale"))}}, nil
	}
	sides := [2]answer.Side{{Adapter: a, Scale: float32(c.Float64("scale"))},
		{Adapter: b, Scale: float32(c.Float64("scale-b"))}}
	if a == b && !c.IsSet("scale-b") {
		sides[1].Scale = sides[0].Scale // two samplings of it
	}
	return sides, nil
}

// readPrompts reads what -d names, and says what is left out; with fresh, all of it is answered anew.
func readPrompts(c *cli.Context, fresh bool) ([]rate.Item, error) {
	paths := c.StringSlice("data")
	if len(paths) == 0 {
		return nil, nil
	}
	p, err := rate.ReadPrompts(c.Context, paths,
		rate.PromptOptions{Raw: c.Bool("raw"), System: c.String("system"), Limit: c.Int("limit"), Fresh: fresh})
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENAMETOOLONG) {
		return nil, fmt.Errorf("%w; --data names a file: write prompts into one, each on a line, and name that", err)
	}
	if err != nil {
		return nil, err
	}
	for _, d := range p.Dropped {
		fmt.Fprintf(c.App.ErrWriter, "note: %d left out: %s (%s)\n", d.Count, d.Reason, strings.Join(d.First, ", "))
	}
	return p.Items, nil
}

// sameFile gives the path among paths that is the file of the other name, or "".
func sameFile(paths []string, name string) string {
	a, err := os.Stat(name)
	if err != nil {
		return ""
	}
	for _, path := range paths {
		if b, err := os.Stat(path); err == nil && os.SameFile(a, b) {
			return path
		}
	}
	return ""
}

// rateResult is the last JSON line.
type rateResult struct {
	Output *string `json:"output"` // null: nothing was rated, and there is no such file
	rate.Summary
}

func rateAction(c *cli.Context) (err error) {
	if err := noArguments(c); err != nil {
		return err
	}
	output, err := required(c, "output", "choices.jsonl")
	if err != nil {
		return err
	}
	sides, err := rateSides(c)
	if err != nil {
		return err
	}
	cfg, err := pairSettings(c, sides)
	if err != nil {
		return err
	}
	n := c.Int("answers")
	if n < 2 || n > rate.MaxAnswers {
		return usagef("rate: --answers is %d, expected 2 to %d", n, rate.MaxAnswers)
	}
	if cfg.Sampling.Temp == 0 && n > 2 {
		return usagef("rate: at --temp 0 a model gives one answer, and --answers asks for %d; raise --temp", n)
	}
	if cfg.Sampling.Temp == 0 && sides[0] == sides[1] {
		return usagef("rate: at --temp 0 the same model gives the same answer twice; raise it, or name an adapter to " +
			"compare with")
	}
	if p := c.Int("port"); p < 0 || p > 65535 {
		return usagef("rate: --port is %d, expected 0 to 65535", p)
	}
	if c.Bool("tty") && c.IsSet("port") {
		return usagef("rate: --port is of the page, and --tty rates without one; give one of them")
	}
	if same := sameFile(c.StringSlice("data"), output); same != "" {
		return usagef("rate: --data and --output are both %s; name another file for the choices", same)
	}
	items, err := readPrompts(c, false)
	if err != nil {
		return err
	}
	unanswered := func(it rate.Item) bool { return it.Answers == nil }
	if cfg.Model == "" && (len(items) == 0 || slices.ContainsFunc(items, unanswered)) {
		return fmt.Errorf("%w: there are prompts to answer", missing(c, "model", "model.gguf"))
	}
	scorer, err := openScorer(c, cfg)
	if err != nil {
		return err
	}
	defer func() {
		if cerr := scorer.Close(); cerr != nil {
			err = errors.Join(err, cerr)
		}
	}()
	store, notes, err := rate.OpenStore(nil, output)
	if err != nil {
		return err
	}
	defer func() {
		if cerr := store.Close(); cerr != nil { // joined with nothing, an interruption would be no longer one
			err = errors.Join(err, cerr)
		}
	}()
	for _, n := range notes {
		fmt.Fprintln(c.App.ErrWriter, "note:", n)
	}
	how := rate.Config{Seed: cfg.Seed, Raw: cfg.Raw, System: c.String("system"), CanWrite: cfg.Model != "",
		Answers: n, Stars: c.Bool("stars")}
	if scorer != nil {
		how.Scorer = rewardScorer{scorer}
	}
	s := rate.NewSession(store, items, how)
	if err := rateSession(c, s, cfg, len(items)); err != nil && !interruptedBy(c.Context, err) {
		return err
	}
	return rateSummary(c, s, output)
}

// interruptedBy says that err is no more than the end of ctx.
func interruptedBy(ctx context.Context, err error) bool {
	return ctx.Err() != nil && errors.Is(err, context.Cause(ctx))
}

// rateSummary says what has been rated, and with which error, if any, the command ends.
func rateSummary(c *cli.Context, s *rate.Session, output string) error {
	sum := s.Summary()
	view, _ := s.View()
	for _, why := range view.Failed {
		fmt.Fprintln(c.App.ErrWriter, "note: not answered:", why)
	}
	written := &output
	if _, err := os.Stat(output); errors.Is(err, fs.ErrNotExist) {
		written = nil // the first choice makes it
	}
	switch {
	case c.Bool("json"):
		if err := printJSON(c.App.Writer, rateResult{written, sum}); err != nil {
			return err
		}
	case written == nil:
		fmt.Fprintf(c.App.Writer, "\nno choice was made, so %s was not written\n%s", output, sum)
	default:
		fmt.Fprintf(c.App.Writer, "\n%s\n%s", output, sum)
	}
	if sum.Failed > 0 && sum.Rated == 0 && sum.Left == 0 && sum.Dropped == 0 {
		return fmt.Errorf("%s: no prompt could be answered; the notes above say why", output)
	}
	return context.Cause(c.Context)
}

// rateSession opens the model, if there is something to write, and lets it write while the person rates.
func rateSession(c *cli.Context, s *rate.Session, cfg answer.Config, given int) (err error) {
	view, _ := s.View()
	if given > 0 && view.Complete() {
		fmt.Fprintln(c.App.ErrWriter,
			"all prompts are rated already; give more with -d, or leave out -d to type your own")
		return nil
	}
	ctx, cancel := context.WithCancelCause(c.Context)
	defer cancel(nil)
	if cfg.Model != "" {
		authors, err := openAuthors(c, cfg)
		if err != nil {
			return err
		}
		written := make(chan error, 1)
		go func() {
			err := s.Write(ctx, authors)
			cancel(err) // no answers will come: the person need not wait
			written <- err
		}()
		// Before the model is closed.
		defer func() {
			cancel(nil)
			<-written
			err = errors.Join(err, authors.Close())
		}()
	}
	if c.Bool("tty") {
		return rateTTY(ctx, c, s, given > 0)
	}
	return ratePage(ctx, c, s, given > 0)
}

// openAuthors opens those who answer, and says what of their templates and bases the user should know.
func openAuthors(c *cli.Context, cfg answer.Config) (*answer.Authors, error) {
	loaded := busy(c, "load "+cfg.Model)
	defer loaded()
	a, err := answer.Open(c.Context, cfg)
	if err != nil {
		return nil, err
	}
	notes, err := a.BaseNotes(c.Context)
	if err != nil {
		return nil, errors.Join(err, a.Close())
	}
	loaded()
	for _, n := range append(a.Notes, notes...) {
		fmt.Fprintln(c.App.ErrWriter, "note:", n)
	}
	return a, nil
}

func ratePage(ctx context.Context, c *cli.Context, s *rate.Session, finish bool) error {
	file := c.String("output")
	if abs, err := filepath.Abs(file); err == nil {
		file = abs
	}
	l, err := loopback.Listen(c.Int("port"))
	if err != nil {
		return err
	}
	p := page.New(s, page.Config{File: file, Finish: finish})
	url := p.URL(l)
	if c.Bool("json") {
		err = printJSON(c.App.Writer, map[string]string{"url": url, "output": file})
	} else {
		_, err = fmt.Fprintf(c.App.Writer, "Rate in a browser on this machine:\n\n  %s\n\nEvery choice is saved at "+
			"once in %s. Ctrl-C ends; the same command goes on.\n", url, file)
	}
	if err != nil {
		return errors.Join(err, l.Close())
	}
	return p.Serve(ctx, l)
}
