package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/ggtune/ggtune/finetune/budget"
	"github.com/ggtune/ggtune/finetune/config"
	"github.com/ggtune/ggtune/internal/count"
)

func planCommand() *cli.Command {
	return &cli.Command{
		Name:      "plan",
		Usage:     "say what a training run would take: memory, time, the batch that fits",
		UsageText: "-m base.gguf [-d data.jsonl] [options of train]",
		Description: "Takes the options of train and trains nothing. Without data, rows of --seq-len tokens are " +
			"assumed. Exit code 1 if the run\n" +
			"does not fit, with what would.\n\n" +
			"  ggtune plan -m model-q4_k_m.gguf -d data.jsonl --rank 16 --seq-len 1024",
		Flags: append(configFlags(func(o config.Option) bool { return o.Name != "output" && o.Name != "resume" }),
			&cli.BoolFlag{Name: "no-time", Usage: "do not measure how fast the model trains"}, jsonFlag()),
		Action: planAction,
	}
}

func planAction(c *cli.Context) error {
	if err := noArguments(c); err != nil {
		return err
	}
	cfg, _, err := settings(c)
	if err != nil {
		return err
	}
	planned := busy(c, "read and measure")
	f, err := budget.NewForecast(c.Context, *cfg, !c.Bool("no-time"))
	planned()
	if f != nil {
		if c.Bool("json") {
			if jsonErr := printJSON(c.App.Writer, f); jsonErr != nil {
				return jsonErr
			}
		} else {
			var table strings.Builder
			printForecast(&table, f)
			printTable(c.App.Writer, table.String())
		}
	}
	return err
}

func printForecast(w io.Writer, f *budget.Forecast) {
	line := func(name, format string, args ...any) {
		fmt.Fprintf(w, "%-30s %s\n", name, fmt.Sprintf(format, args...))
	}
	line("model", "%s (%s), %s, mapped", f.Model, f.Types, byteCount(f.ModelBytes))
	line("trained", "%s", count.Of(f.Trained, "parameter"))
	for i, chosen := range f.Chosen {
		line([]string{"chosen", ""}[min(i, 1)], "%s", chosen)
	}
	for i, m := range f.Mixed {
		line([]string{"mixed in", ""}[min(i, 1)], "%s", m)
	}
	line("largest micro-batch", "%s, %d counted", count.Of(f.Tokens, "token"), f.Counted)
	line("parameters and gradients", "%s", byteCount(f.ParamBytes))
	if f.Dequantized > 0 {
		line("of it, dequantized weights", "%s (%s, as %s)", byteCount(f.DequantizedBytes),
			count.Of(f.Dequantized, "tensor"), f.Master)
	}
	line("the optimizer's state", "%s", byteCount(f.OptimizerBytes))
	line("work area", "%s", byteCount(f.WorkBytes))
	again := ""
	if f.KeptLayers < f.Layers {
		again = "; the others are computed again"
	}
	line("kept activations", "%s (%d of %d layers%s)", byteCount(f.ActivationBytes), f.KeptLayers, f.Layers, again)
	if f.SampleBytes > 0 {
		line("llama.cpp, for samples", "%s", byteCount(f.SampleBytes))
	}
	if f.RolloutBytes > 0 {
		copies := ""
		if f.RolloutRepackedBytes > 0 {
			copies = ", copies of weights " + byteCount(f.RolloutRepackedBytes)
		}
		line("llama.cpp, to write answers", "%s (keys and values of %d at a time %s%s)", byteCount(f.RolloutBytes),
			f.RolloutParallel, byteCount(f.RolloutKVBytes), copies)
	}
	if f.TeacherWorkBytes > 0 {
		line("the teacher, beside its file", "%s (%s, mapped)", byteCount(f.TeacherWorkBytes),
			byteCount(f.TeacherFileBytes))
	}
	line("together, beside the model", "%s", byteCount(f.TotalBytes))
	if f.StartBytes > 0 {
		line("before, to make the start", "%s", byteCount(f.StartBytes))
	}
	if f.PeakBytes > 0 {
		line("of the process, at most", "%s", byteCount(f.PeakBytes))
	}
	if f.FreeBytes > 0 {
		line("free", "%s", byteCount(f.FreeBytes))
	}
	line("largest batch that fits", "%s", count.Of(f.LargestBatch, "row"))
	if f.GenerateBytes > 0 {
		line("to generate, beside the model", "%s, of it repacked weights %s", byteCount(f.GenerateBytes),
			byteCount(f.RepackedBytes))
	}
	if f.Steps != nil {
		most := ""
		if f.RolloutParallel > 0 && f.AnswerTokens == nil { // answers are taken to be as long as they may be
			most = "at most "
		}
		line("run", "%s, %s%s", count.Of(*f.Steps, "step"), most, count.Of(*f.RunTokens, "token"))
	}
	if f.DiskBytes != nil {
		line("on disk, at most", "%s", byteCount(*f.DiskBytes))
	}
	if f.TeacherBytes != nil {
		line("of it, the teacher's predictions", "%s", byteCount(*f.TeacherBytes))
	}
	if f.TokPerS != nil {
		line("speed", "about %.0f tok/s, measured on rows like the run's", *f.TokPerS)
	}
	if f.WriteTokPerS != nil {
		line("of writing answers", "about %.0f tok/s, of %.0f tokens each as training starts", *f.WriteTokPerS,
			*f.AnswerTokens)
	}
	about := func(name string, seconds *float64) {
		if seconds != nil {
			line(name, "about %v", time.Duration(*seconds*float64(time.Second)).Round(time.Second))
		}
	}
	about("time", f.Seconds)
	pass := "of it, the reference pass"
	if f.TeacherBytes != nil || f.TeacherWorkBytes > 0 {
		pass = "of it, the teacher's pass"
	}
	about(pass, f.ReferenceSeconds)
	about("of it, writing answers", f.RolloutSeconds)
	about("of it, evaluations", f.EvalSeconds)
}
