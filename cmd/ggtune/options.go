package main

import (
	"fmt"
	"slices"

	"github.com/urfave/cli/v2"

	"github.com/ggtune/ggtune/bindings/llama"
	"github.com/ggtune/ggtune/finetune/budget"
	"github.com/ggtune/ggtune/finetune/config"
	"github.com/ggtune/ggtune/internal/registry"
)

// Options that several commands share, each made in one place.

func modelFlag() cli.Flag {
	return &cli.StringFlag{Name: "model", Aliases: []string{"m"}, Usage: "GGUF model `FILE`"}
}

func adapterFlag() cli.Flag {
	return &cli.GenericFlag{Name: "adapter", Aliases: []string{"a", "lora"}, Value: &one{},
		Usage: "LoRA adapter: a `FILE`, or the directory of a run or checkpoint"}
}

// one is the value of an option of which there may be several for other commands: the last would win unseen.
type one struct{ text string }

func (o *one) String() string { return o.text }

// Set is called for each of the option's names, with the same text.
func (o *one) Set(text string) error {
	if o.text != "" && text != o.text {
		return fmt.Errorf("%s is given already, and now %s; ggtune merge and ggtune adapter make one of several",
			o.text, text)
	}
	o.text = text
	return nil
}

func threadsFlag() cli.Flag {
	return &cli.IntFlag{Name: "threads", Aliases: []string{"t"}, Usage: "`N` threads; 0: one for each physical core"}
}

func seedFlag() cli.Flag {
	return &cli.Uint64Flag{Name: "seed", Aliases: []string{"s"}, Usage: "seed of every random choice", Value: 1}
}

func deviceFlag() cli.Flag {
	return &cli.StringFlag{Name: "device", Usage: "what computes: cpu", Value: "cpu"}
}

// samplingFlags choose how the next token is drawn, with llama.cpp's names and defaults.
func samplingFlags() []cli.Flag {
	d := llama.DefaultSampling(0)
	return []cli.Flag{
		&cli.Float64Flag{Name: "temp", Usage: "temperature; 0 takes the most likely token", Value: round(d.Temp)},
		&cli.IntFlag{Name: "top-k", Usage: "draw from the `K` most likely tokens; 0: all", Value: d.TopK},
		&cli.Float64Flag{Name: "top-p",
			Usage: "draw from the most likely tokens that together have probability `P`; 1: all", Value: round(d.TopP)},
		&cli.Float64Flag{Name: "min-p", Usage: "leave out tokens less likely than `P` times the most likely",
			Value: round(d.MinP)},
		&cli.Float64Flag{Name: "repeat-penalty", Usage: "divide the logits of recent tokens; 1: off",
			Value: round(d.RepeatPenalty)},
		&cli.IntFlag{Name: "repeat-last-n", Usage: "how many tokens are recent", Value: d.RepeatLastN},
	}
}

// round shows a float32 default as it is written, not as 0.05000000074505806.
func round(x float32) float64 { return float64(int(x*10000+0.5)) / 10000 }

func sampling(c *cli.Context) (llama.Sampling, error) {
	s := llama.Sampling{Temp: float32(c.Float64("temp")), TopK: c.Int("top-k"), TopP: float32(c.Float64("top-p")),
		MinP:          float32(c.Float64("min-p")),
		RepeatPenalty: float32(c.Float64("repeat-penalty")), RepeatLastN: c.Int("repeat-last-n"),
		Seed: uint32(c.Uint64("seed"))}
	if err := s.Validate(); err != nil {
		return s, usagef("%s: %w", c.Command.Name, err)
	}
	return s, nil
}

// required gives the value of an option that the command cannot do without.
func required(c *cli.Context, name, example string) (string, error) {
	if v := c.String(name); v != "" {
		return v, nil
	}
	return "", missing(c, name, example)
}

func missing(c *cli.Context, name, example string) error {
	return usagef("%s: option %s is missing, such as %[2]s %s", c.Command.Name, dashes(name), example)
}

// noArguments refuses words that no option takes: a forgotten dash would otherwise go unseen.
func noArguments(c *cli.Context) error {
	if c.NArg() == 0 {
		return nil
	}
	return usagef(
		"%s: unexpected argument %q; what %[1]s needs is given with options (`ggtune %[1]s --help` lists them)",
		c.Command.Name, c.Args().First())
}

func checkDevice(c *cli.Context) error {
	d := c.String("device")
	if slices.Contains(config.Devices(), d) {
		return nil
	}
	return usagef("%s: %w", c.Command.Name, &registry.UnknownError{Kind: "device", Name: d, Known: config.Devices()})
}

// threads resolves --threads: physical cores do the work; two threads on one core only wait for each other.
func threads(c *cli.Context) (int, error) {
	n := c.Int("threads")
	switch {
	case n < 0 || n > config.MaxThreads:
		return 0, usagef("%s: --threads is %d, expected 0 to %d (0: one for each physical core)", c.Command.Name, n,
			config.MaxThreads)
	case n > 0:
		return n, nil
	}
	return budget.PhysicalCores(), nil
}
