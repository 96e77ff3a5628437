package main

import (
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"math"
	"strconv"
	"strings"
	"syscall"

	"github.com/urfave/cli/v2"

	"github.com/ggtune/ggtune/finetune/config"
	"github.com/ggtune/ggtune/finetune/run"
	"github.com/ggtune/ggtune/internal/setting"
)

// configFlags makes one flag for each option that keep admits, with the defaults shown in the help, and -c for a file
// of settings.
func configFlags(keep func(config.Option) bool) []cli.Flag {
	defaults := config.Default()
	flags := []cli.Flag{&cli.StringFlag{Name: "config", Aliases: []string{"c"},
		Usage: "TOML `FILE` of settings; options given here go before it", Category: "Files"}}
	for _, o := range defaults.Options() {
		if keep(o) {
			flags = append(flags, configFlag(o))
		}
	}
	return flags
}

func configFlag(o config.Option) cli.Flag {
	switch v := o.Value.(type) {
	case *string:
		return &cli.StringFlag{Name: o.Name, Aliases: o.Aliases, Usage: o.Usage, Value: *v, Category: o.Group}
	case *[]string:
		return &cli.StringSliceFlag{Name: o.Name, Aliases: o.Aliases, Usage: o.Usage, Category: o.Group}
	case *int:
		return &cli.IntFlag{Name: o.Name, Aliases: o.Aliases, Usage: o.Usage, Value: *v, Category: o.Group}
	case *uint64:
		return &cli.Uint64Flag{Name: o.Name, Aliases: o.Aliases, Usage: o.Usage, Value: *v, Category: o.Group}
	case *float64:
		return &cli.Float64Flag{Name: o.Name, Aliases: o.Aliases, Usage: o.Usage, Value: *v, Category: o.Group}
	case *[]float64:
		return &cli.StringSliceFlag{Name: o.Name, Aliases: o.Aliases, Usage: o.Usage, Category: o.Group}
	case *bool:
		return &cli.BoolFlag{Name: o.Name, Aliases: o.Aliases, Usage: o.Usage, Value: *v, Category: o.Group}
	}
	if v, ok := o.Value.(flag.Value); ok {
		return &cli.StringFlag{Name: o.Name, Aliases: o.Aliases, Usage: o.Usage, DefaultText: v.String(),
			Category: o.Group}
	}
	if s, ok := o.Value.(setting.Slot); ok {
		x, known := s.Get()
		if s.Setting.Words != nil {
			f := &cli.StringFlag{Name: o.Name, Aliases: o.Aliases, Usage: o.Usage, DefaultText: o.Unset,
				Category: o.Group}
			if known {
				f.DefaultText = s.Setting.Text(x)
			}
			return f
		}
		f := &cli.Float64Flag{Name: o.Name, Aliases: o.Aliases, Usage: o.Usage, Value: x, Category: o.Group}
		if !known {
			f.DefaultText = o.Unset
		}
		return f
	}
	panic(fmt.Sprintf("option %s points to a %T", o.Name, o.Value))
}

// settings resolves those of a command: defaults (with --resume, what the run began with), then the file of -c, then
// the options given. given says whether the user chose one, by an option or in that file.
func settings(c *cli.Context) (cfg *config.Config, given func(option string) bool, err error) {
	if cfg, err = startingPoint(c); err != nil {
		return nil, nil, err
	}
	var named config.Named
	if path := c.String("config"); path != "" {
		if named, err = cfg.LoadTOML(path); err != nil {
			return nil, nil, err
		}
	}
	return cfg, func(option string) bool { return named[option] || c.IsSet(option) }, setGiven(c, cfg)
}

// startingPoint gives the settings that others are set on top of.
func startingPoint(c *cli.Context) (*config.Config, error) {
	alone := c.String("config") == "" && !c.IsSet("model") // nothing else says what to train
	output := c.String("output")
	if c.Bool("resume") && output == "" && alone {
		return nil, usagef("%s: --resume: which run? name its directory with --output, such as --output run",
			c.Command.Name)
	}
	if c.Bool("resume") && output != "" {
		began, err := run.ResumeConfig(output)
		none := errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR)
		switch {
		case none && alone:
			return nil, usagef("%s: --resume finds no run in %s: %w; name the run's directory with --output",
				c.Command.Name, output, err)
		case !none: // else the run may have been stopped before it wrote anything
			return began, err
		}
	}
	cfg := config.Default()
	return &cfg, nil
}

// setGiven writes the options that were given into cfg.
func setGiven(c *cli.Context, cfg *config.Config) (err error) {
	for _, o := range cfg.Options() {
		if !c.IsSet(o.Name) {
			continue
		}
		switch v := o.Value.(type) {
		case *string:
			*v = c.String(o.Name)
		case *[]string:
			*v = c.StringSlice(o.Name)
			if v == &cfg.Targets || v == &cfg.Train { // names of roles, not of files: commas part them
				*v = listed(*v)
			}
		case *int:
			*v = c.Int(o.Name)
		case *uint64:
			*v = c.Uint64(o.Name)
		case *float64:
			*v = c.Float64(o.Name)
			err = noNaN(c, o, *v)
		case *[]float64:
			*v = nil
			for _, word := range listed(c.StringSlice(o.Name)) {
				x, err := strconv.ParseFloat(word, 64)
				if err != nil {
					return usagef("%s: %s %q is no list of numbers; expected such as %s", c.Command.Name,
						dashes(o.Name), word, o.Example)
				}
				*v = append(*v, x)
			}
		case *bool:
			*v = c.Bool(o.Name)
		case flag.Value: // a number, or auto
			if err := v.Set(c.String(o.Name)); err != nil {
				return usagef("%s: %s: %w", c.Command.Name, dashes(o.Name), err)
			}
		case setting.Slot:
			err = setSetting(c, o, v)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func setSetting(c *cli.Context, o config.Option, s setting.Slot) error {
	if s.Setting.Words == nil {
		x := c.Float64(o.Name)
		s.Set(x)
		return noNaN(c, o, x)
	}
	x, err := s.Setting.Parse(c.String(o.Name))
	if err != nil {
		return usagef("%s: %w", c.Command.Name, err)
	}
	s.Set(x)
	return nil
}

func noNaN(c *cli.Context, o config.Option, x float64) error {
	if math.IsNaN(x) {
		return usagef("%s: %s is NaN; expected a number", c.Command.Name, dashes(o.Name))
	}
	return nil
}

// listed parts words at commas and spaces.
func listed(words []string) []string {
	return strings.FieldsFunc(strings.Join(words, ","), func(r rune) bool { return r == ',' || r == ' ' })
}
